//! Each mistake: its exit code, and the next command.
use std::net::TcpListener;

use crate::common::Person;

#[test]
fn without_a_node_and_a_demo_the_flag_and_the_demo_are_named() {
    let person = Person::new();
    assert_eq!(person.types(&["login"]).code, 0);
    person.types(&["apps"]).failed(2, &["error[no-node]", "--node", "bocage demo"]);
}

#[test]
fn without_a_key_login_is_named() {
    Person::new().types(&["apps", "--node", "127.0.0.1:1"]).failed(5, &["error[no-key]", "bocage login"]);
}

#[test]
fn a_node_that_is_not_there_is_named_with_its_address() {
    let person = Person::new();
    person.types(&["login"]);
    person.types(&["apps", "--node", "127.0.0.1:1"]).failed(1, &["127.0.0.1:1", "refused", "bocage node run"]);
    person.types(&["apps", "--node", "./no.sock"]).failed(1, &["./no.sock", "bocage node run"]);
}

#[test]
fn a_port_that_speaks_no_control_api_is_an_error_and_no_hang() {
    let person = Person::new();
    person.types(&["login"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nwhat").unwrap();
    });
    person.types(&["apps", "--node", &address]).failed(1, &["404", "control address"]);
    answers.join().unwrap();
}

#[test]
fn what_is_no_address_is_a_usage_error() {
    Person::new().types(&["apps", "--node", "nowhere"]).failed(2, &["host:port"]);
}

#[test]
fn scale_asks_for_a_bound() {
    Person::new().types(&["scale", "app"]).failed(2, &["--min"]);
}

#[test]
fn a_demo_does_not_move_into_a_folder_of_something_else() {
    let person = Person::new();
    person.has("photos/cat.jpg", "meow");
    person.types(&["demo", "--dir", "photos"]).failed(4, &["photos", "holds no demo"]);
    person.types(&["demo", "stop", "--dir", "photos"]).failed(3, &["holds no demo"]);
    person.types(&["demo", "--operators", "2"]).failed(2, &["2", "3..="]);
}

#[test]
fn a_scenario_that_cannot_be_read_is_a_usage_error() {
    let person = Person::new();
    person.types(&["sim", "run", "none.toml"]).failed(2, &["none.toml"]);
    person.has("bad.toml", "name = \"x\"\nduratoin_s = 3\n");
    person.types(&["sim", "run", "bad.toml"]).failed(2, &["duratoin_s"]);
}

#[test]
fn a_verb_with_a_key_of_its_own_still_takes_the_tenants() {
    let person = Person::new();
    person.types(&["login", "--key", "mine.key"]);
    for verb in
        [&["kv", "get", "app", "motto"][..], &["kv", "set", "app", "motto", "x"], &["kv", "delete", "app", "motto"]]
    {
        let rest = ["--key", "mine.key", "--node", "127.0.0.1:1"];
        person.types(&[verb, &rest].concat()).failed(1, &["error[no-node]", "127.0.0.1:1"]);
    }
}
