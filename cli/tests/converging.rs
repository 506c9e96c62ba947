//! Visits in a store that converges: counted through the edges of several nodes and by its tenant, one of whose nodes is killed and
//! comes back; nothing that was acknowledged is lost, and all say the same.
mod common;

use std::{fs, path::Path, process::Command, time::Duration};

use common::{
    hedge::{Demo, kill},
    nodes, root,
};
use serde_json::Value;

/// Whatever a mesh of five on one machine does by itself, it does within this.
const SOON: Duration = Duration::from_mins(2);

/// What a request gets through the edge of a node; `None` when it failed.
fn through(node: &Value, host: &str, method: &str, path: &str) -> Option<String> {
    let url = format!("http://{}{path}", node["edge"].as_str().unwrap());
    let host = format!("Host: {host}");
    let args = ["--silent", "--max-time", "10", "--fail", "-X", method, "-H", &host, &url];
    let output = Command::new("curl").args(args).output().expect("this test needs curl: apt-get install curl");
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// What the tenant reads of the counter through a node; `None`: that node does not host the app.
fn count(demo: &Demo, node: &Value) -> Option<u64> {
    let get = ["kv", "get", "visits", "count", "--store", "visits", "--output", "json", "--node"];
    let said = demo.person.types(&[&get[..], &[node["control"].as_str().unwrap()]].concat());
    let value: Value = serde_json::from_str(&said.out).ok()?;
    value["value"].as_str()?.parse().ok()
}

#[test]
fn visits_are_counted_at_every_node_and_a_killed_node_loses_none() {
    let demo = Demo::start("hedge");
    let app = root().join("examples/visits");
    let live = demo.person.asks(&["deploy", app.to_str().unwrap()]);
    let host = live["host"].as_str().unwrap().to_owned();
    let (first, second) = (&demo.nodes()[0], &demo.nodes()[1]);

    // A page is read until it is served, a visit is made once: one that fails may have been counted.
    for node in demo.nodes() {
        nodes::within(SOON, "the app is served at every edge", || through(node, &host, "GET", "/").is_some());
        through(node, &host, "POST", "/visits").unwrap();
    }
    let mut visits = demo.nodes().len() as u64;
    through(first, &host, "PUT", "/here/ann").unwrap();
    through(second, &host, "PUT", "/here/bob").unwrap();
    nodes::within(SOON, "all edges say the same", || {
        let expected = format!("{{\"visits\":{visits},\"here\":[\"ann\",\"bob\"]}}");
        demo.nodes().iter().all(|node| through(node, &host, "GET", "/").is_some_and(|it| it == expected))
    });

    // The tenant reads through whoever hosts the app, and is told why nothing is swapped there.
    let hosts: Vec<&Value> = demo.nodes().iter().filter(|node| count(&demo, node) == Some(visits)).collect();
    assert!(hosts.len() >= 3, "three voters and three instances, on three nodes at least");
    let at = ["--store", "visits", "--node", hosts[0]["control"].as_str().unwrap()];
    let types = |words: &[&str]| demo.person.types(&[words, &at[..]].concat());
    let swapped = types(&["kv", "cas", "visits", "count", "--expect", "1", "7"]);
    assert!(swapped.err.contains("one order for all"), "{}", swapped.err);
    types(&["kv", "delete", "visits", "here/bob"]);
    nodes::within(SOON, "what was deleted at one is gone at another", || {
        through(second, &host, "GET", "/").is_some_and(|it| it.contains("[\"ann\"]"))
    });

    // One of them dies right after it has acknowledged, and starts again from its own disk.
    let killed = hosts[1];
    for _ in 0..5 {
        through(killed, &host, "POST", "/visits").unwrap();
        visits += 1;
    }
    kill(killed);
    let other = demo.nodes().iter().find(|node| node["node_id"] != killed["node_id"]).unwrap();
    nodes::within(SOON, "the others go on", || through(other, &host, "GET", "/").is_some());
    let (least, mut most) = (visits, visits);
    for _ in 0..5 {
        most += 1;
        visits += u64::from(through(other, &host, "POST", "/visits").is_some());
    }
    assert!(visits > least, "some of them are counted without it");
    let dir = killed["dir"].as_str().unwrap();
    let log = fs::OpenOptions::new().append(true).open(Path::new(dir).join("log")).unwrap();
    let _again = nodes::run_in(&demo.person, dir, log);
    nodes::within(SOON, "all hosts count all visits", || {
        let counts: Vec<u64> = demo.nodes().iter().filter_map(|node| count(&demo, node)).collect();
        counts.len() >= 3 && counts.iter().all(|it| *it == counts[0]) && (visits..=most).contains(&counts[0])
    });
}
