//! A hoster empties a node and leaves: others take over while a client writes, and the node does not come back by itself.
mod common;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::hedge::Demo;
use serde_json::Value;

/// Cells agree on the rules that know of draining within this.
const AGREED_MAX: Duration = Duration::from_mins(2);

impl Demo {
    fn status(&self, through: &Value) -> Value {
        self.person.asks(&["status", "guestbook", "--node", through["control"].as_str().unwrap()])
    }
}

fn curl(args: &[&str]) -> Result<String, String> {
    let ran = Command::new("curl").args(["--silent", "--show-error", "--max-time", "10"]).args(args).output();
    let output = ran.expect("this test needs curl: apt-get install curl");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(out) } else { Err(format!("{out}{}", String::from_utf8_lossy(&output.stderr))) }
}

/// Acknowledged entries, and failures.
type Written = (Vec<(u64, String)>, Vec<String>);

/// Signs the book again and again.
fn writer(url: String, stop: Arc<AtomicBool>) -> thread::JoinHandle<Written> {
    thread::spawn(move || {
        let (mut acknowledged, mut failed) = (Vec::new(), Vec::new());
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let text = format!("entry {number}");
            let key = format!("Idempotency-Key: {text}");
            match curl(&["--fail-with-body", "-H", &key, "--data-binary", &text, &url]) {
                Ok(answer) => {
                    let id = serde_json::from_str::<Value>(&answer).unwrap()["id"].as_u64().unwrap();
                    acknowledged.push((id, text));
                }
                Err(why) => failed.push(format!("{text}: {why}")),
            }
            thread::sleep(Duration::from_millis(20));
        }
        (acknowledged, failed)
    })
}

fn entries(url: &dyn Fn(u64) -> String) -> Vec<(u64, String)> {
    let mut all: Vec<(u64, String)> = Vec::new();
    loop {
        let after = all.last().map_or(0, |(id, _)| *id);
        let page: Vec<Value> = serde_json::from_str(&curl(&["--fail", &url(after)]).unwrap()).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(|it| (it["id"].as_u64().unwrap(), it["text"].as_str().unwrap().to_owned())));
    }
}

#[test]
fn a_node_that_leaves_is_relieved_under_load_and_does_not_come_back_by_itself() {
    let demo = Demo::start("hedge");
    let began = Instant::now();
    let status = loop {
        let status = demo.status(&demo.nodes()[0]);
        if status["cells"][0]["rules"].as_u64() >= Some(3) {
            break status;
        }
        assert!(began.elapsed() < AGREED_MAX, "the members do not say that they know of draining: {status}");
        thread::sleep(Duration::from_millis(500));
    };
    let leader = status["cells"][0]["leader"].as_str().unwrap();
    let leaves = demo.nodes().iter().find(|node| node["node_id"] == leader).unwrap();
    let stays = demo.nodes().iter().find(|node| node["node_id"] != leader).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writer(demo.url(stays, "/entries"), Arc::clone(&stop));

    let dir = leaves["dir"].as_str().unwrap();
    let left = demo.person.asks(&["node", "leave", "--dir", dir, "--deadline", "2m"]);
    assert_eq!((&left["stage"], &left["node_id"]), (&"empty".into(), &leaves["node_id"]), "{left}");
    let proof = &left["handed_over"][0];
    assert_eq!((proof["app"].as_str(), &proof["problem"]), (Some("guestbook"), &Value::Null), "{left}");
    assert_eq!(proof["voters"].as_array().unwrap().len(), 3, "{left}");
    assert!(!proof["voters"].as_array().unwrap().contains(&leaves["node_id"]), "{left}");
    assert!(!proof["instances"].as_array().unwrap().contains(&leaves["node_id"]), "{left}");
    let pid = leaves["pid"].as_u64().unwrap();
    let began = Instant::now();
    while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
        assert!(began.elapsed() < Duration::from_secs(20), "the process of a node that has left ends");
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_secs(2));
    stop.store(true, Ordering::Relaxed);
    let (acknowledged, failed) = writing.join().unwrap();
    assert_eq!(failed, Vec::<String>::new(), "of {} writes", acknowledged.len());
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let found = entries(&|after| demo.url(stays, &format!("/entries?after={after}")));
    for entry in &acknowledged {
        assert!(found.contains(entry), "{entry:?} was acknowledged and is lost");
    }
    let mut texts: Vec<_> = found.iter().map(|(_, text)| text).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), found.len(), "an entry is there twice");

    demo.person.types(&["node", "run", "--dir", dir]).failed(4, &["error[left]", "left.json", "node drain --undo"]);
    the_next_one_is_refused_for_nobody_could_take_over(&demo, stays);
}

/// Four nodes are left, one of them away: three homes for three votes.
fn the_next_one_is_refused_for_nobody_could_take_over(demo: &Demo, through: &Value) {
    let status = demo.status(through);
    let replicas = status["cells"][0]["replicas"].as_array().unwrap();
    let voter = replicas.iter().find(|replica| replica["role"] == "voter").unwrap();
    let node = demo.nodes().iter().find(|node| node["node_id"] == voter["node_id"]).unwrap();
    let dir = node["dir"].as_str().unwrap();
    let refused = demo.person.types(&["node", "drain", "--dir", dir, "--deadline", "3s"]);
    refused.failed(7, &["error[not-drained]", "guestbook", "--as-crash", "--undo"]);
    let shown = demo.person.asks(&["node", "status", "--dir", dir]);
    assert!(shown["draining_since_ms"].as_u64().is_some() && shown["offer"].is_object(), "{shown}");
    let taken = demo.person.asks(&["node", "drain", "--dir", dir, "--deadline", "1s", "--as-crash"]);
    assert_eq!((taken["stage"].as_str(), taken["may_stop"].as_bool()), (Some("as-crash"), Some(true)), "{taken}");
    let undone = demo.person.asks(&["node", "drain", "--dir", dir, "--undo"]);
    assert_eq!(undone["stage"].as_str(), Some("not"), "{undone}");
    assert!(demo.person.asks(&["node", "status", "--dir", dir])["draining_since_ms"].is_null());
}
