//! An app goes into a file and begins again from it, whole or not at all.
mod common;

use std::fs;

use common::hedge::Demo;

/// Entry `head` is changed where the archive says how the others are called.
fn damage(bytes: &[u8], what: &[u8], instead: &[u8]) -> Vec<u8> {
    let at = bytes.windows(what.len()).position(|window| window == what).expect("it is in there");
    let mut damaged = bytes.to_vec();
    damaged[at..at + instead.len()].copy_from_slice(instead);
    damaged
}

#[test]
fn an_app_begins_again_from_its_file_with_all_its_state_or_not_at_all() {
    let demo = Demo::start("demo");
    let person = &demo.person;
    for number in 0..70 {
        person.asks(&["kv", "set", "guestbook", &format!("exported/{number:02}"), &format!("value {number}")]);
    }
    let file = person.path("home/guestbook.tar");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let exported = person.asks(&["export", "guestbook", file]);
    assert!(exported["keys"].as_u64().unwrap() >= 70, "{exported}");
    assert!(!fs::exists(format!("{file}.part")).unwrap(), "what came lies in the file now");
    person.types(&["export", "guestbook", file]).failed(4, &["exists already"]);
    // What is written afterwards is not in the file.
    person.asks(&["kv", "set", "guestbook", "exported/00", "changed"]);

    let bytes = fs::read(file).unwrap();
    for (name, damaged, word) in [
        ("half", bytes[..bytes.len() / 2].to_vec(), "no whole bundle"),
        ("other", damage(&bytes, b"value 42", b"value 43"), "not those that the tenant signed"),
        ("named", damage(&bytes, b"component/", b"../../etc/"), "no whole bundle"),
        ("empty", Vec::new(), "it has no head"),
    ] {
        let path = person.path(name);
        fs::write(&path, damaged).unwrap();
        person.types(&["import", path.to_str().unwrap(), "--name", "copy"]).failed(2, &[word, "nothing was changed"]);
    }
    person.types(&["import", file]).failed(4, &["have an app \"guestbook\" here already"]);
    let stranger = person.path("stranger.key");
    person.asks(&["login", "--key", stranger.to_str().unwrap()]);
    let owner = person.asks(&["whoami"])["tenant"].as_str().unwrap().to_owned();
    let key = ["--key", stranger.to_str().unwrap()];
    person.types(&[&["import", file, "--name", "taken"], &key[..]].concat()).failed(5, &["another tenant", "--of"]);

    let live = person.asks(&["import", file, "--name", "copy"]);
    assert_eq!(live["app"], "copy");
    for number in [0, 42, 69] {
        let value = person.types(&["kv", "get", "copy", &format!("exported/{number:02}")]);
        assert_eq!(value.out.trim_end(), format!("value {number}"), "{}", value.err);
    }
    let stores = person.types(&["kv", "list", "copy", "--store", "bocage-import"]);
    assert_eq!(stores.out, "", "the mark of an import under way is gone: {}", stores.err);
    person.types(&["import", file, "--name", "copy"]).failed(4, &["already"]);
    person.asks(&[&["import", file, "--name", "taken", "--of", &owner], &key[..]].concat());
}
