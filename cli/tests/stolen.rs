//! Keys that are stolen, on the demo's five processes: from the word of its owner on, how long has the thief? Prints what
//! `docs/figures.md` quotes: `cargo test --release --workspace --test stolen -- --nocapture`.
mod common;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use common::hedge::Demo;
use serde_json::Value;

/// The figure: a stolen key has lost its power everywhere by then.
const POWERLESS_WITHIN: Duration = Duration::from_mins(1);

impl Demo {
    fn text(&self, number: usize, name: &str) -> &str {
        self.nodes()[number][name].as_str().unwrap()
    }

    /// What a node says of itself, through its own socket.
    fn status(&self, number: usize) -> Value {
        self.person.asks(&["node", "status", "--dir", self.text(number, "dir")])
    }

    fn deals_with(&self, number: usize, peer: &str) -> bool {
        self.status(number)["peers"].as_array().unwrap().iter().any(|it| it["node_id"] == peer)
    }

    fn operator_key(&self, number: usize) -> String {
        format!("{}/keys/operator.key", self.text(number, "dir"))
    }
}

/// How long it took until this held.
fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < POWERLESS_WITHIN, "a minute was not enough: {what}");
        thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

#[test]
fn a_stolen_key_loses_its_power_everywhere_within_a_minute() {
    let demo = Demo::start("hedge");
    an_operator_changes_its_key_and_stays_a_member(&demo);
    a_tenant_changes_its_key_and_the_old_one_opens_nothing(&demo);
    a_revoked_node_is_dealt_with_by_nobody(&demo);
}

fn an_operator_changes_its_key_and_stays_a_member(demo: &Demo) {
    let (key, control) = (demo.operator_key(1), demo.text(1, "control"));
    let stolen = demo.person.path("stolen.key");
    fs::copy(&key, &stolen).unwrap();
    let set = |key: &str| demo.person.types(&["offer", "set", "--cpu", "2", "--node", control, "--operator-key", key]);
    assert_eq!(set(stolen.to_str().unwrap()).code, 0, "the copy is as good as the key");
    let rotated = demo.person.asks(&["keys", "rotate", &key]);
    assert_eq!(
        (&rotated["serial"], &rotated["certified"], &rotated["told_running"]),
        (&1.into(), &1.into(), &1.into())
    );
    set(stolen.to_str().unwrap()).failed(5, &["replaced since"]);
    assert_eq!(set(&key).code, 0, "the new key is the operator's");
    let took = until("every node knows the operator's new key", || {
        (0..5).all(|number| demo.status(number)["keys"]["words"].as_u64().unwrap() >= 1)
    });
    println!("an operator's new key is known to five processes after {took:?}");
    // Peers had some seconds to hang up on it, and did not need to.
    thread::sleep(Duration::from_secs(6));
    let own = demo.status(1);
    assert_eq!((&own["keys"]["serial"], &own["keys"]["void"]), (&1.into(), &Value::Null));
    assert!((0..5).filter(|it| *it != 1).any(|it| demo.deals_with(it, demo.text(1, "node_id"))), "{own}");
    demo.person.types(&["keys", "rotate", stolen.to_str().unwrap(), "--node", control]).failed(5, &["replaced"]);
}

fn a_tenant_changes_its_key_and_the_old_one_opens_nothing(demo: &Demo) {
    let control = demo.text(0, "control");
    let stolen = demo.person.path("tenant.stolen");
    fs::copy(demo.person.path("config/bocage/tenant.key"), &stolen).unwrap();
    let by = |key: &str, args: &[&str]| demo.person.types(&[args, &["--node", control, "--key", key]].concat());
    let (stolen, own) = (stolen.to_str().unwrap(), "config/bocage/tenant.key");
    assert_eq!(by(stolen, &["scale", "guestbook", "--min", "1", "--max", "4"]).code, 0);
    let rotated = demo.person.asks(&["keys", "rotate", "--node", control]);
    assert_eq!(rotated["serial"], 1);
    by(stolen, &["status", "guestbook"]).failed(5, &["replaced since"]);
    // The app is the same tenant's as before, and takes the new key's commands as soon as its cell knows it.
    let took = until("the app obeys its tenant's new key", || {
        by(own, &["scale", "guestbook", "--min", "1", "--max", "5"]).code == 0
    });
    println!("an app obeys its tenant's new key after {took:?}");
    assert_eq!(demo.person.asks(&["whoami"])["serial"], 1);
}

fn a_revoked_node_is_dealt_with_by_nobody(demo: &Demo) {
    let (node, key) = (demo.text(3, "node_id"), demo.operator_key(3));
    let others: Vec<usize> = (0..5).filter(|it| *it != 3).collect();
    assert!(others.iter().any(|it| demo.deals_with(*it, node)));
    demo.person.asks(&["keys", "revoke", node, "--operator-key", &key]);
    let took = until("nobody deals with the revoked node", || others.iter().all(|it| !demo.deals_with(*it, node)));
    println!("a revoked node has no link left after {took:?}");
    let own = demo.status(3);
    assert!(own["keys"]["void"].as_str().unwrap().contains("revoked"), "it says so itself: {own}");
}
