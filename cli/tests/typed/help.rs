use crate::common::Person;

#[test]
fn help_leads_to_examples_and_names_every_exit_code() {
    let said = Person::new().types(&["--help"]);
    assert_eq!(said.code, 0);
    for words in ["bocage demo", "bocage deploy examples/guestbook", "Exit codes: 0 done", "130 interrupted"] {
        assert!(said.out.contains(words), "no {words:?} in:\n{}", said.out);
    }
    assert_eq!(said.err, "");
}

#[test]
fn every_verb_of_the_issue_has_help_and_takes_a_node() {
    let verbs: [&[&str]; 41] = [
        &["demo"],
        &["demo", "stop"],
        &["node", "init"],
        &["node", "run"],
        &["node", "join"],
        &["node", "status"],
        &["offer", "set"],
        &["offer", "show"],
        &["login"],
        &["whoami"],
        &["deploy"],
        &["plan"],
        &["apps"],
        &["status"],
        &["logs"],
        &["scale"],
        &["releases"],
        &["rollback"],
        &["kv"],
        &["kv", "get"],
        &["kv", "set"],
        &["kv", "list"],
        &["kv", "cas"],
        &["kv", "delete"],
        &["secrets"],
        &["secrets", "set"],
        &["secrets", "list"],
        &["rm"],
        &["doctor"],
        &["sim"],
        &["sim", "run"],
        &["sim", "sweep"],
        &["sim", "compare"],
        &["sim", "report"],
        &["sim", "hunt"],
        &["sim", "replay"],
        &["sim", "tape"],
        &["sim", "validate"],
        &["sim", "bench"],
        &["sim", "schema"],
        &["completion"],
    ];
    let person = Person::new();
    for verb in verbs {
        let said = person.types(&[verb, &["--help"]].concat());
        assert_eq!(said.code, 0, "{verb:?}: {}", said.err);
        assert!(said.out.contains("--node <CONTROL>"), "{verb:?}:\n{}", said.out);
    }
}

#[test]
fn a_mistyped_verb_is_told_the_nearest_one() {
    Person::new().types(&["deplyo"]).failed(2, &["deplyo", "deploy"]);
}

#[test]
fn nothing_typed_shows_help_and_is_a_usage_error() {
    assert_eq!(Person::new().types(&[]).code, 2);
}

#[test]
fn the_version_is_one_line() {
    let said = Person::new().types(&["--version"]);
    assert_eq!(said.out.trim(), format!("bocage {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_name_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let said = Person::new().types(&["completion", shell]);
        assert_eq!(said.code, 0);
        assert!(said.out.contains("rollback") && said.out.contains("operators"), "{shell}");
    }
}

#[test]
fn colour_comes_only_when_it_is_asked_for() {
    let person = Person::new();
    let plain = person.types(&["apps"]);
    assert!(!plain.err.contains('\x1b'), "{:?}", plain.err);
    let coloured = person.types(&["apps", "--color", "always"]);
    assert!(coloured.err.contains("\x1b[1;31m"), "{:?}", coloured.err);
}
