//! The tenant's key: made once, private, loaded ever after.
use std::os::unix::fs::PermissionsExt as _;

use crate::common::Person;

#[test]
fn login_makes_a_key_once_that_only_its_owner_reads() {
    let person = Person::new();
    let first = person.asks(&["login", "--name", "anna"]);
    assert_eq!(first["made"], true);
    let path = person.path("config/bocage/tenant.key");
    assert_eq!(first["key"], path.to_str().unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let second = person.asks(&["login"]);
    assert_eq!((&second["made"], &second["tenant"]), (&false.into(), &first["tenant"]));
    let who = person.asks(&["whoami"]);
    assert_eq!((&who["tenant"], &who["name"]), (&first["tenant"], &"anna".into()));
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let person = Person::new();
    person.types(&["login"]);
    let path = person.path("config/bocage/tenant.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    person.types(&["whoami"]).failed(5, &["error[no-key]", "chmod 600"]);
}

#[test]
fn another_key_is_another_tenant() {
    let person = Person::new();
    let one = person.asks(&["login"]);
    let other = person.asks(&["login", "--key", "other.key"]);
    assert_ne!(one["tenant"], other["tenant"]);
    let by_environment = person.command(&["whoami", "-o", "json"]).env("BOCAGE_KEY", "other.key").output().unwrap();
    let who: serde_json::Value = serde_json::from_slice(&by_environment.stdout).unwrap();
    assert_eq!(who["tenant"], other["tenant"]);
}

#[test]
fn a_backup_opens_with_its_passphrase_only_and_brings_the_same_key_back() {
    let person = Person::new();
    let made = person.asks(&["login", "--name", "anna"]);
    std::fs::write(person.path("phrase"), "correct horse battery\n").unwrap();
    std::fs::write(person.path("wrong"), "incorrect horse battery\n").unwrap();
    person.asks(&["keys", "backup", "--to", "anna.age", "--passphrase-file", "phrase"]);
    let backup = std::fs::read(person.path("anna.age")).unwrap();
    assert!(backup.starts_with(b"age-encryption.org/v1"), "age itself opens it");
    person
        .types(&["keys", "backup", "--to", "anna.age", "--passphrase-file", "phrase"])
        .failed(4, &["never overwritten"]);
    let wrong = ["keys", "restore", "anna.age", "--to", "back.key", "--passphrase-file", "wrong"];
    person.types(&wrong).failed(5, &["does not open", "another passphrase"]);
    assert!(!person.path("back.key").exists());
    person.asks(&["keys", "restore", "anna.age", "--to", "back.key", "--passphrase-file", "phrase"]);
    let who = person.asks(&["whoami", "--key", "back.key"]);
    assert_eq!(who["tenant"], made["tenant"]);
    assert_eq!(std::fs::metadata(person.path("back.key")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn recovery_keys_are_made_with_the_party_and_lie_apart() {
    let person = Person::new();
    person.types(&["login", "--recovery", "3", "--threshold", "4"]).failed(2, &["--threshold is from 1"]);
    let made = person.asks(&["login", "--name", "anna", "--recovery", "3"]);
    assert_eq!(made["recovery"].as_array().unwrap().len(), 3);
    let shown = person.asks(&["keys", "show"]);
    assert_eq!((&shown["recovery_keys"], &shown["threshold"], &shown["serial"]), (&3.into(), &2.into(), &0.into()));
    assert_eq!(shown["party"], made["tenant"]);
    let apart = person.asks(&["keys", "show", "config/bocage/tenant.key.recovery-2"]);
    assert_eq!((&apart["kind"], &apart["party"]), (&"recovery".into(), &made["tenant"]));
    assert_eq!(person.asks(&["whoami"])["serial"], 0);
}
