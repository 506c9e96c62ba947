//! The demo from end to end, as a stranger would try it: five processes, entries through one edge and out of another,
//! every verb once, and the cell's leader killed under a client that writes.
mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{
    Person,
    hedge::{Demo, kill},
};
use serde_json::Value;

/// A write that is not acknowledged so long after the leader's death fails the test; `docs/figures.md` has the figure.
const OUTAGE_MAX: Duration = Duration::from_secs(20);

impl Demo {
    fn status(&self, control: &str) -> Value {
        self.person.asks(&["status", "guestbook", "--node", control])
    }

    /// All entries, through the edge of a node, page by page.
    fn entries(&self, node: &Value) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let text =
                curl(&["--fail", &self.url(node, &format!("/entries?after={after}"))]).expect("entries are read");
            let page: Vec<Value> = serde_json::from_str(&text).unwrap();
            let Some(last) = page.last() else { return all };
            after = last["id"].as_u64().unwrap();
            all.extend(page.iter().map(|entry| (entry["id"].as_u64().unwrap(), text_of(entry))));
        }
    }
}

fn text_of(entry: &Value) -> String {
    entry["text"].as_str().unwrap().to_owned()
}

/// What curl got; `None` when it failed.
fn curl(args: &[&str]) -> Option<String> {
    let ran = Command::new("curl").args(["--silent", "--show-error", "--max-time", "10"]).args(args).output();
    let output = ran.expect("this test needs curl: apt-get install curl");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("the guestbook answers text"))
}

/// Signs the book; the entry's id once it is acknowledged.
fn sign(url: &str, key: &str, text: &str) -> Option<u64> {
    let key = format!("Idempotency-Key: {key}");
    let answer = curl(&["--fail", "-H", &key, "--data-binary", text, url])?;
    serde_json::from_str::<Value>(&answer).ok()?["id"].as_u64()
}

#[test]
fn five_hosters_run_an_app_that_outlives_the_one_who_led_it() {
    let demo = Demo::start("hedge");
    the_document_is_as_promised(&demo);
    entries_go_in_at_one_edge_and_come_out_at_another(&demo);
    every_verb_does_what_it_says(&demo);
    the_leader_dies_under_a_client_that_writes(&demo);
    let stopped = demo.person.asks(&["demo", "stop", "--dir", demo.dir.to_str().unwrap()]);
    assert_eq!(stopped["stopped"], 4, "one was killed before");
    for node in demo.nodes() {
        assert!(!runs(node["pid"].as_u64().unwrap()), "{node}");
    }
}

/// Hosters who have never met do not upgrade on one day.
#[test]
fn hosters_of_this_and_of_the_previous_version_run_an_app_together() {
    let demo = Demo::start_with("mixed", &["--mixed-wire"]);
    let mut spoken = BTreeSet::new();
    for (number, node) in demo.nodes().iter().enumerate() {
        let status = demo.person.asks(&["node", "status", "--node", node["control"].as_str().unwrap()]);
        let at = |peer: &Value| demo.nodes().iter().position(|node| node["node_id"] == peer["node_id"]).unwrap();
        for peer in status["peers"].as_array().unwrap() {
            let both_new = number % 2 == 0 && at(peer) % 2 == 0;
            assert_eq!(peer["wire"], if both_new { 2 } else { 1 }, "{number} to {}", at(peer));
            spoken.insert(peer["wire"].as_u64());
        }
    }
    assert_eq!(spoken.len(), 2, "links of both versions: {spoken:?}");
    entries_go_in_at_one_edge_and_come_out_at_another(&demo);
    every_verb_does_what_it_says(&demo);
    the_leader_dies_under_a_client_that_writes(&demo);
}

fn the_document_is_as_promised(demo: &Demo) {
    assert_eq!(demo.said["dir"], demo.dir.canonicalize().unwrap().to_str().unwrap());
    let laws: Vec<_> = demo.nodes().iter().map(|node| node["jurisdiction"].as_str().unwrap()).collect();
    assert_eq!(laws, ["FR", "FR", "DE", "BE", "CN"]);
    for name in ["operator", "site", "node_id", "control", "edge", "dir"] {
        let values: BTreeSet<_> = demo.nodes().iter().map(|node| node[name].as_str().unwrap()).collect();
        assert_eq!(values.len(), 5, "each has {name} of its own");
    }
    assert!(demo.nodes().iter().all(|node| runs(node["pid"].as_u64().unwrap())));
    let app = &demo.said["app"];
    assert_eq!(app["name"], "guestbook");
    assert!(curl(&["--fail", app["url"].as_str().unwrap()]).unwrap().contains("<html"));
    // To start what runs says so, and changes nothing.
    let again = demo.person.asks(&["demo", "--detach", "--dir", demo.dir.to_str().unwrap()]);
    assert_eq!(again["nodes"], demo.said["nodes"]);
    demo.person.types(&["demo", "--dir", demo.dir.to_str().unwrap()]).failed(4, &["runs in", "demo stop"]);
}

fn entries_go_in_at_one_edge_and_come_out_at_another(demo: &Demo) {
    let [first, last] = [&demo.nodes()[0], &demo.nodes()[4]];
    let id = sign(&demo.url(first, "/entries"), "one", "over HTTP/1.1").unwrap();
    assert_eq!(
        sign(&demo.url(last, "/entries"), "one", "over HTTP/1.1"),
        Some(id),
        "a retry elsewhere is the same entry"
    );
    let h2 =
        ["--http2-prior-knowledge", "--fail", "-w", " %{http_version} %{http_code}", "--data-binary", "over HTTP/2"];
    let answer = curl(&[&h2[..], &[&demo.url(last, "/entries")]].concat()).unwrap();
    assert!(answer.ends_with(" 2 201"), "{answer}");
    let texts: Vec<_> = demo.entries(&demo.nodes()[2]).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["over HTTP/1.1", "over HTTP/2"]);
}

fn every_verb_does_what_it_says(demo: &Demo) {
    let person = &demo.person;
    let control = demo.nodes()[1]["control"].as_str().unwrap();
    let on = |args: &[&str]| person.asks(&[args, &["--node", control]].concat());

    let status = demo.status(control);
    assert_eq!(status["app"], "guestbook");
    let cell = &status["cells"][0];
    assert_eq!((&cell["line"], &cell["grade"]), (&1.into(), &"jurisdiction".into()), "{cell}");
    let replicas = cell["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 3);
    let laws: BTreeSet<_> = replicas.iter().map(|replica| replica["jurisdiction"].as_str().unwrap()).collect();
    assert_eq!(laws, BTreeSet::from(["FR", "DE", "BE"]));
    assert!(replicas.iter().any(|replica| replica["node_id"] == cell["leader"]));
    assert!(replicas.iter().all(|replica| !replica["why"].as_str().unwrap().is_empty()));
    let running = status["instances"].as_array().unwrap().iter().filter(|instance| instance["state"] == "running");
    assert!(running.count() >= 3, "{status}");
    let people = person.types(&["status", "guestbook"]);
    assert!(people.out.contains("leader") && people.out.contains("is home"), "{}", people.out);

    // Without --node, the newest demo is asked.
    let apps = person.asks(&["apps"]);
    assert_eq!((apps.as_array().unwrap().len(), &apps[0]["app"]), (1, &"guestbook".into()));

    let written = on(&["kv", "set", "guestbook", "motto", "fields and hedges", "--store", "notes"]);
    let read = on(&["kv", "get", "guestbook", "motto", "--store", "notes"]);
    assert_eq!((&read["value"], &read["version"]), (&"fields and hedges".into(), &written["number"]));
    let version = read["version"].to_string();
    let cas = ["kv", "cas", "guestbook", "motto", "--store", "notes", "--node", control, "--expect"];
    assert_eq!(person.types(&[&cas[..], &[&version, "hedges"]].concat()).code, 0);
    person.types(&[&cas[..], &[&version, "too late"]].concat()).failed(4, &["expected at version"]);
    let bytes = person.types(&["kv", "get", "guestbook", "motto", "--store", "notes", "--node", control]);
    assert_eq!(bytes.out, "hedges", "the value and no byte more");
    assert_eq!(on(&["kv", "list", "guestbook", "--store", "notes"])["keys"], serde_json::json!(["motto"]));
    on(&["kv", "delete", "guestbook", "motto", "--store", "notes"]);
    person.types(&["kv", "get", "guestbook", "motto", "--store", "notes", "--node", control]).failed(3, &["motto"]);

    on(&["scale", "guestbook", "--max", "7"]);
    assert_eq!(demo.status(control)["scale_max"], 7);

    let secret = person.has("token", "s3cret\n");
    let mut set = person.command(&["secrets", "set", "guestbook", "TOKEN", "--node", control]);
    let set = common::said(set.stdin(std::fs::File::open(secret).unwrap()).output().unwrap());
    assert_eq!(set.code, 0, "{}", set.err);
    assert_eq!(on(&["secrets", "list", "guestbook"]), serde_json::json!(["TOKEN"]));

    let guestbook = common::root().join("examples/guestbook");
    let plan = on(&["plan", guestbook.to_str().unwrap()]);
    assert_eq!(plan["grade"], "jurisdiction");
    let second = on(&["deploy", guestbook.to_str().unwrap()]);
    assert_eq!((&second["app"], &second["release"]), (&"guestbook".into(), &2.into()));
    assert_eq!(second["cell"], cell["cell"]);
    assert_eq!(on(&["rollback", "guestbook", "--to", "1"])["number"], 3);
    let releases = on(&["releases", "guestbook"]);
    assert_eq!(releases.as_array().unwrap().len(), 3);
    assert_eq!((&releases[2]["current"], &releases[2]["rolled_back_to"]), (&true.into(), &1.into()));

    let other = on(&["deploy", guestbook.to_str().unwrap(), "--name", "other"]);
    assert!(curl(&["--fail", other["url"].as_str().unwrap()]).unwrap().contains("<html"));
    person.types(&["rm", "other", "--node", control]).failed(2, &["nobody to ask", "bocage rm other --yes"]);
    on(&["rm", "other", "--yes"]);
    person.types(&["status", "nothing", "--node", control]).failed(3, &["no app \"nothing\"", "bocage apps"]);
    let stranger = Person::new();
    stranger.types(&["login"]);
    stranger.types(&["status", "guestbook", "--node", control]).failed(3, &["no app"]);

    let folder = demo.nodes()[1]["dir"].as_str().unwrap();
    let known = person.asks(&["node", "status", "--dir", folder]);
    assert_eq!((&known["known_nodes"], &known["operator"]), (&2.into(), &"birch".into()), "two of FR");
    person.asks(&["offer", "set", "--dir", folder, "--memory", "2GiB"]);
    assert_eq!(person.asks(&["offer", "show", "--dir", folder])["memory_bytes"], 2u64 << 30);
    assert_eq!(person.types(&["node", "run", "--dir", folder, "--check-config"]).code, 0);
    assert_eq!(person.types(&["logs", "guestbook", "--node", control]).code, 0);
}

fn the_leader_dies_under_a_client_that_writes(demo: &Demo) {
    let before = demo.status(demo.nodes()[4]["control"].as_str().unwrap());
    let leader = before["cells"][0]["leader"].as_str().expect("the cell is led").to_owned();
    let survivor = demo.nodes().iter().find(|node| node["node_id"] != leader.as_str()).unwrap();
    let writing = Arc::new(AtomicBool::new(true));
    let client = {
        let (writing, url) = (Arc::clone(&writing), demo.url(survivor, "/entries"));
        thread::spawn(move || write(&url, &writing))
    };
    thread::sleep(Duration::from_secs(2));
    let killed = Instant::now();
    kill(demo.node(&leader));
    thread::sleep(Duration::from_secs(6));
    writing.store(false, Ordering::Relaxed);
    let acknowledged = client.join().unwrap();

    let after: Vec<_> = acknowledged.iter().filter(|(_, (_, at))| *at > killed).collect();
    assert!(!after.is_empty(), "nothing was acknowledged after the leader's death");
    let outage = after.iter().map(|(_, (_, at))| *at - killed).min().unwrap();
    assert!(outage < OUTAGE_MAX, "{outage:?}");

    let reader = demo.nodes().iter().rfind(|node| node["node_id"] != leader.as_str()).unwrap();
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (id, text) in demo.entries(reader) {
        found.entry(text).or_default().push(id);
    }
    for (text, (id, _)) in &acknowledged {
        assert_eq!(found.get(text), Some(&vec![*id]), "{text} was acknowledged once under {id}");
    }
    let doubled: Vec<_> = found.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");

    let status = demo.status(survivor["control"].as_str().unwrap());
    let now = status["cells"][0]["leader"].as_str().expect("the cell is led again");
    assert_ne!(now, leader);
    // The default node is one that lives.
    assert_eq!(demo.person.asks(&["apps"])[0]["app"], "guestbook");
}

/// Signs the book until told to stop; each entry until it is acknowledged. Text → id and when.
fn write(url: &str, writing: &AtomicBool) -> BTreeMap<String, (u64, Instant)> {
    let mut acknowledged = BTreeMap::new();
    for number in 0.. {
        let text = format!("entry {number}");
        let key = format!("key-{number}");
        let began = Instant::now();
        let id = loop {
            if let Some(id) = sign(url, &key, &text) {
                break id;
            }
            assert!(began.elapsed() < OUTAGE_MAX, "{text} is not acknowledged");
            thread::sleep(Duration::from_millis(50));
        };
        acknowledged.insert(text, (id, Instant::now()));
        if !writing.load(Ordering::Relaxed) {
            break;
        }
    }
    acknowledged
}

/// Whether a process runs; a dead one that nobody waited for does not.
fn runs(pid: u64) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
}

#[test]
fn a_demo_that_stopped_goes_on_with_its_entries() {
    let demo = Demo::start("again");
    let id = sign(&demo.url(&demo.nodes()[0], "/entries"), "k", "written before").unwrap();
    demo.person.asks(&["demo", "stop", "--dir", demo.dir.to_str().unwrap()]);
    let again = demo.person.asks(&["demo", "--detach", "--dir", demo.dir.to_str().unwrap()]);
    assert_eq!(again["app"], demo.said["app"]);
    assert_ne!(again["nodes"][0]["pid"], demo.nodes()[0]["pid"]);
    assert_eq!(demo.entries(&demo.nodes()[3]), [(id, "written before".to_owned())]);
}
