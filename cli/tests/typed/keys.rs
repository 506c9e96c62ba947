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
