//! A node of a running mesh is recorded while an app on it is written to and another one is deployed through it, is killed, and
//! does the same again on a tape.
mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use common::{
    hedge::{Demo, kill},
    nodes::{self, Running, within},
    root, said,
};
use serde_json::Value;

/// Whatever a mesh of five on one machine does by itself, it does within this.
const SOON: Duration = Duration::from_mins(2);

/// Runs a node of the demo in the place of one that was killed, on a tape.
fn run_taped(demo: &Demo, node: &Value, tape: &str) -> Running {
    let dir = node["dir"].as_str().unwrap();
    let log = fs::File::options().append(true).open(Path::new(dir).join("log")).unwrap();
    let running = nodes::run_with(&demo.person, &["--dir", dir, "--tape", tape], log);
    let status = ["node", "status", "--node", node["control"].as_str().unwrap()];
    within(SOON, "the node runs again", || demo.person.types(&status).code == 0);
    running
}

/// Signs the guestbook through the edge of a node; whether that was acknowledged.
fn sign(demo: &Demo, node: &Value, text: &str) -> bool {
    let url = demo.url(node, "/entries");
    let args = ["--silent", "--max-time", "10", "--fail", "--data-binary", text, &url];
    Command::new("curl").args(args).output().expect("this test needs curl: apt-get install curl").status.success()
}

#[test]
fn a_node_that_was_killed_does_on_its_tape_what_it_did() {
    let demo = Demo::start("hedge");
    let person = &demo.person;
    // One that votes, so it knows an app when it opens.
    let status = person.asks(&["status", "guestbook"]);
    let node = demo.node(status["cells"][0]["replicas"][1]["node_id"].as_str().unwrap());
    assert!(sign(&demo, node, "before the tape"));
    kill(node);

    let mut running = run_taped(&demo, node, "tape");
    within(SOON, "the app is served there", || sign(&demo, node, "once it is back"));
    for number in 0..20 {
        within(SOON, "an entry is taken", || sign(&demo, node, &format!("entry {number}")));
    }
    let app = root().join("examples/visits");
    person.asks(&["deploy", app.to_str().unwrap(), "--node", node["control"].as_str().unwrap()]);
    let file = person.path("tape/00001.tape");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // With what it did meanwhile.
    running.kill();

    let played = person.asks(&["sim", "tape", "tape"]);
    assert_eq!(played["differs"], Value::Null, "{played:#}");
    assert_eq!(played["node"], node["node_id"]);
    assert_eq!(played["same_program"], true, "{played:#}");
    assert!(played["ended"].as_str().unwrap().contains("killed"), "{played:#}");
    let steps = played["steps"].as_u64().unwrap();
    for (kind, least) in
        [("frame: hello", 1), ("frame: gossip", 5), ("frame: cell", 40), ("persisted", 20), ("command", 20)]
    {
        assert!(played["kinds"][kind].as_u64().is_some_and(|count| count >= least), "{kind}: {:#}", played["kinds"]);
    }
    let people = person.types(&["sim", "tape", "tape"]);
    assert_eq!(people.code, 0, "{}{}", people.out, people.err);
    let outputs = played["outputs"].as_u64().unwrap();
    assert!(people.out.starts_with(&format!("{steps} steps, {outputs} outputs: the same\n")), "{}", people.out);

    // One bit.
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() / 4 * 3;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let damaged = person.types(&["sim", "tape", "tape"]);
    damaged.failed(2, &["error[tape]", "00001.tape, byte ", "its bytes are not what was written", "--until "]);
    let until = damaged.err.rsplit_once("--until ").unwrap().1.trim();
    assert_eq!(person.asks(&["sim", "tape", "tape", "--until", until])["steps"].to_string(), until);

    // A folder with a tape in it is not recorded over; one that is, ends as the node does.
    let again = person.command(&["node", "run", "--dir", node["dir"].as_str().unwrap(), "--tape", "tape"]).output();
    said(again.unwrap()).failed(4, &["error[tape]", "tape is not empty", "--tape"]);
    let mut running = run_taped(&demo, node, "another");
    running.stop();
    let played = person.asks(&["sim", "tape", "another"]);
    assert_eq!((&played["ended"], &played["torn_bytes"]), (&"the node stopped".into(), &0.into()), "{played:#}");
    person.types(&["sim", "tape", "nowhere"]).failed(2, &["holds no tape"]);
}
