//! A manifest's mistakes point at the line in the person's own file.
use crate::common::{Person, root};

#[test]
fn a_typo_is_shown_where_it_stands_with_the_nearest_key() {
    let person = Person::new();
    person.has("app/bocage.toml", "app = \"x\"\n\n[component]\npath = \"x.wasm\"\n\n[place]\nhom = [\"FR\"]\n");
    person
        .types(&["plan", "app"])
        .failed(2, &["app/bocage.toml:7:1", "unknown key \"hom\"", "hom = [\"FR\"]", "\"home\""]);
}

#[test]
fn a_wrong_value_is_told_what_was_expected() {
    let person = Person::new();
    person.has("x.toml", "app = \"x\"\n[component]\npath = \"x.wasm\"\n[read]\nmax_staleness = \"soon\"\n");
    person.types(&["deploy", "x.toml"]).failed(2, &["x.toml:5", "\"soon\"", "a duration such as"]);
}

#[test]
fn what_is_missing_is_named() {
    let person = Person::new();
    person.has("x.toml", "app = \"x\"\n");
    person.types(&["deploy", "x.toml"]).failed(2, &["x.toml", "[component]"]);
    person.types(&["deploy", "nowhere.toml"]).failed(3, &["nowhere.toml"]);
    person.has("empty/Cargo.toml", "");
    person.types(&["deploy", "empty"]).failed(3, &["holds no manifest", "bocage.toml"]);
}

#[test]
fn of_several_manifests_the_person_names_one() {
    let person = Person::new();
    person.has("two/a.toml", "");
    person.has("two/b.toml", "");
    person.types(&["deploy", "two"]).failed(2, &["two/a.toml, two/b.toml"]);
}

#[test]
fn a_file_that_is_no_component_is_refused_before_any_node_is_asked() {
    let person = Person::new();
    person.has("x.wasm", b"\0asm\x01\0\0\0");
    person.types(&["deploy", "x.wasm"]).failed(2, &["core WASM module", "wasm32-wasip2"]);
    person.has("y.wasm", "hello");
    person.types(&["deploy", "y.wasm"]).failed(2, &["y.wasm is not a WASM component"]);
}

#[test]
fn what_a_daemon_has_compiled_comes_out_or_a_reason_why_it_cannot_be() {
    let person = Person::new();
    let compiled = |component: &std::path::Path| {
        let component = std::fs::File::open(component).unwrap();
        person.command(&["compile-component"]).stdin(component).output().unwrap()
    };
    let code = compiled(&root().join("examples/guestbook/guestbook.wasm"));
    assert!(code.status.success() && code.stdout.starts_with(b"\x7fELF"), "{code:?}");
    let cut = compiled(&person.has("cut.wasm", b"\0asm\x0d\0\x01\0\x07"));
    let why = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(cut.status.code() == Some(1) && cut.stdout.is_empty() && why.contains("unexpected end"), "{cut:?}");
}

#[test]
fn the_example_is_sound_as_it_lies_in_the_repository() {
    let person = Person::new();
    let guestbook = root().join("examples/guestbook");
    // It gets as far as looking for a node.
    person.types(&["deploy", guestbook.to_str().unwrap(), "--node", "127.0.0.1:1"]).failed(1, &["127.0.0.1:1"]);
}
