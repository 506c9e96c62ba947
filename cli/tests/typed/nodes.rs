//! A node's folder: made, checked, told whom to dial.
use crate::common::Person;

const FOUND: [&str; 12] =
    ["node", "init", "--dir", "n", "--found", "m", "--name", "alder", "--jurisdiction", "FR", "--site", "home"];

#[test]
fn a_node_is_made_checked_and_told_whom_to_dial() {
    let person = Person::new();
    let made = person.asks(&FOUND);
    let mesh = made["mesh"].as_str().unwrap();
    let checked = person.asks(&["node", "run", "--dir", "n", "--check-config"]);
    assert_eq!(checked["node_id"], made["node_id"]);
    let address = made["address"].as_str().unwrap().replace("ADDRESS", "203.0.113.7");
    let joined = person.asks(&["node", "join", &address, "--mesh", mesh, "--dir", "n"]);
    assert_eq!(joined["added"], 1);
    assert_eq!(person.asks(&["node", "join", &address, "--mesh", mesh, "--dir", "n"])["added"], 0);
    let text = std::fs::read_to_string(person.path("n/bocage.toml")).unwrap();
    assert!(text.starts_with("# A node of a Bocage mesh"), "the comments stay:\n{text}");
    assert!(text.contains(&address), "{text}");
    assert_eq!(person.types(&["node", "run", "--dir", "n", "--check-config"]).code, 0);
}

#[test]
fn a_folder_is_made_once() {
    let person = Person::new();
    person.asks(&FOUND);
    person.types(&FOUND).failed(4, &["holds a node already", "bocage node run --dir n"]);
}

#[test]
fn a_folder_that_is_no_nodes_names_init() {
    Person::new().types(&["node", "run", "--dir", "none"]).failed(3, &["none", "bocage node init --dir none"]);
}

#[test]
fn a_setting_with_a_typo_names_line_and_column() {
    let person = Person::new();
    person.asks(&FOUND);
    let file = person.path("n/bocage.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("[listen]\n", "[listen]\nmdsn = true\n");
    let line = text.lines().position(|line| line.starts_with("mdsn")).unwrap() + 1;
    std::fs::write(&file, text).unwrap();
    let said = person.types(&["node", "run", "--dir", "n", "--check-config"]);
    said.failed(2, &[&format!("bocage.toml:{line}:1"), "mdsn", "--check-config"]);
}

#[test]
fn another_meshs_id_is_refused() {
    let person = Person::new();
    let made = person.asks(&FOUND);
    let other = person.asks(&["login"])["tenant"].as_str().unwrap().to_owned();
    let address = made["address"].as_str().unwrap().replace("ADDRESS", "203.0.113.7");
    person
        .types(&["node", "join", &address, "--mesh", &other, "--dir", "n"])
        .failed(4, &["certified for mesh", "bocage node init"]);
    person.types(&["node", "join", "here", "--mesh", &other, "--dir", "n"]).failed(2, &["\"here\"", "/p2p/"]);
}

#[test]
fn a_node_founds_a_mesh_or_is_of_one_or_waits_to_join() {
    let person = Person::new();
    let node = ["node", "init", "--dir", "n", "--name", "a", "--jurisdiction", "FR", "--site", "s"];
    let both = ["--found", "m", "--mesh", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"];
    person.types(&[&node[..], &both].concat()).failed(2, &["--mesh", "--found"]);
    let made = person.asks(&node);
    assert!(made["mesh"].is_null());
    person
        .types(&["node", "run", "--dir", "n", "--check-config"])
        .failed(4, &["no mesh yet", "bocage node join INVITE"]);
    let founded = person.asks(&["mesh", "found", "hedge", "--dir", "n"]);
    assert_eq!(person.asks(&["node", "run", "--dir", "n", "--check-config"])["mesh"], founded["mesh"]);
    person.types(&["mesh", "found", "again", "--dir", "n"]).failed(4, &["belongs to mesh", "--dir OTHER"]);
}

#[test]
fn what_a_node_needs_is_asked_by_its_flag_where_nobody_can_answer() {
    let person = Person::new();
    person.types(&["node", "init", "--dir", "n"]).failed(2, &["--name is missing", "node init --help"]);
    person
        .types(&["node", "init", "--dir", "n", "--name", "a", "--jurisdiction", "france", "--site", "s"])
        .failed(2, &["france", "two capital letters"]);
    person
        .types(&["node", "init", "--dir", "n", "--name", "a", "--jurisdiction", "QQ", "--site", "s"])
        .failed(2, &["no jurisdiction QQ", "ISO 3166-1"]);
    assert!(!person.path("n").exists(), "nothing was made");
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let person = Person::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    person.asks(&[&FOUND[..], &["--edge", &address, "--port", "0"]].concat());
    person.types(&["node", "run", "--dir", "n"]).failed(1, &["error[port]", &address, "listen.edge"]);
}
