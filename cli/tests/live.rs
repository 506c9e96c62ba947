//! `bocage sim live`: the page, its events and its buttons, as a browser asks for them.
mod common;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use common::{LAB, Person};
use serde_json::Value;

/// Long enough for the slowest machine; only a hang comes to it.
const PATIENCE: Duration = Duration::from_mins(2);

/// The command, which ends with the test.
struct Live {
    child: Child,
    address: String,
    out: BufReader<std::process::ChildStdout>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Live {
    fn begins(person: &Person, speed: &str) -> Self {
        let arguments = ["sim", "live", "lab.toml", "--seed", "7", "--speed", speed];
        let mut child = person.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
        Self { child, address: address.unwrap_or_else(|| panic!("no URL: {line}")).to_owned(), out }
    }

    fn asks(&self, request: &str, host: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    fn answers(&self, request: &str, host: &str, body: &str) -> String {
        let mut answer = String::new();
        self.asks(request, host, body).read_to_string(&mut answer).unwrap();
        answer
    }

    /// Ctrl-C; what the process then comes to.
    fn ends_at_interrupt(mut self) -> (Option<i32>, String) {
        let done = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }

    fn events(&self) -> Events {
        Events(self.asks("GET /events", &self.address, ""))
    }
}

struct Events(BufReader<TcpStream>);

impl Iterator for Events {
    type Item = (String, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let mut name = None;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                name = Some(event.trim().to_owned());
            } else if let (Some(data), Some(name)) = (line.strip_prefix("data: "), &name) {
                return Some((name.clone(), serde_json::from_str(data.trim()).unwrap()));
            }
        }
    }
}

#[test]
fn the_page_needs_nothing_else_and_its_events_end_with_the_hash_of_the_same_run_unseen() {
    let person = Person::new();
    person.has("lab.toml", LAB);
    let unseen = person.asks(&["sim", "run", "lab.toml", "--seed", "7"]);
    let mut live = Live::begins(&person, "max");
    let page = live.answers("GET /", &live.address, "");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("content-security-policy: default-src 'none'"), "{page}");
    for outside in ["src=", "href=", "@import", "url(", "https://", "http://"] {
        assert!(!page.contains(outside), "{outside} leads out of the page");
    }
    // Step by step no scene is missed, however slow the reader.
    live.answers("POST /pace", &live.address, r#"{"do":"pause"}"#);
    let (mut events, mut all_were_up, mut crashed, mut scenes) = (live.events(), false, false, 0);
    let (name, about) = events.next().unwrap();
    assert_eq!((name.as_str(), &about["story"]), ("about", &"Three nodes, one crash.".into()));
    while !crashed {
        let (name, data) = events.next().unwrap();
        match name.as_str() {
            "places" => {
                assert_eq!(data["nodes"].as_array().unwrap().len(), 3);
                assert_eq!(data["areas"], serde_json::json!([{ "jurisdiction": "FR", "city": null }]));
            }
            "scene" => {
                // Before they start they are down as well.
                let conditions = data["conditions"].as_str().unwrap();
                crashed = all_were_up && conditions == "udu";
                all_were_up |= conditions == "uuu";
                scenes += 1;
                assert!(scenes < 60, "no crash was seen");
                live.answers("POST /pace", &live.address, r#"{"do":"step"}"#);
            }
            _ => {}
        }
    }
    live.answers("POST /pace", &live.address, r#"{"do":"go"}"#);
    assert!(events.any(|(name, _)| name == "end"));
    let mut late = live.events();
    let end = late.find(|(name, _)| name == "end").unwrap().1;
    assert_eq!((&end["trace_hash"], &end["exit_code"]), (&unseen["trace_hash"], &0.into()));
    let mut report = String::new();
    while !report.contains("trace ") {
        assert!(live.out.read_line(&mut report).unwrap() > 0, "{report}");
    }
    assert!(report.contains(unseen["trace_hash"].as_str().unwrap()), "{report}");
    assert_eq!(live.ends_at_interrupt().0, Some(0), "the run's own end, once nobody wants its page any more");
}

#[test]
fn a_paused_run_stands_still_and_goes_a_step_at_a_time() {
    let person = Person::new();
    person.has("lab.toml", LAB);
    let live = Live::begins(&person, "20");
    let done = live.answers("POST /pace", &live.address, r#"{"do":"pause"}"#);
    assert!(done.starts_with("HTTP/1.1 204"), "{done}");
    let mut scenes = live.events().filter(|(name, _)| name == "scene").map(|(_, data)| data["at_s"].as_f64().unwrap());
    let first = scenes.next().unwrap();
    for step in 1..=3 {
        live.answers("POST /pace", &live.address, r#"{"do":"step"}"#);
        let at = scenes.next().unwrap();
        assert!((at - first - f64::from(step)).abs() < 1e-6, "from {first} to {at} in {step} steps");
    }
    drop(scenes);
    let again = live.events().find(|(name, _)| name == "scene").unwrap().1;
    assert!((again["at_s"].as_f64().unwrap() - first - 3.0).abs() < 1e-6, "who comes back finds it where it stood");
    let refused = live.answers("POST /pace", &live.address, r#"{"do":"speed","speed":-1.0}"#);
    assert!(refused.starts_with("HTTP/1.1 422"), "{refused}");
}

#[test]
fn a_run_that_is_interrupted_leaves_nothing_behind_that_looks_like_a_result() {
    let person = Person::new();
    person.has("lab.toml", LAB);
    let live = Live::begins(&person, "0.5");
    assert!(live.events().any(|(name, _)| name == "scene"));
    assert_eq!(live.ends_at_interrupt(), (Some(130), String::new()));
    // Not even begun.
    assert_eq!(Live::begins(&person, "max").ends_at_interrupt(), (Some(130), String::new()));
}

#[test]
fn what_a_scenario_says_is_told_as_text_and_stands_in_no_page() {
    let person = Person::new();
    person.has("lab.toml", LAB.replace("Three nodes, one crash.", "<script>alert(1)</script>"));
    let live = Live::begins(&person, "1");
    let page = live.answers("GET /", &live.address, "");
    assert!(!page.contains("alert") && !page.contains("innerHTML") && !page.contains("insertAdjacent"), "{page}");
    let nonce = page.split_once("<script nonce=\"").unwrap().1.split_once('"').unwrap().0;
    assert!(nonce.len() == 32 && page.contains(&format!("script-src 'nonce-{nonce}'")), "{page}");
    assert_eq!(page.matches("<script").count(), 1);
    let about = live.events().next().unwrap();
    assert_eq!((about.0.as_str(), &about.1["story"]), ("about", &"<script>alert(1)</script>".into()));
}

#[test]
fn another_sites_name_that_leads_here_is_sent_away() {
    let person = Person::new();
    person.has("lab.toml", LAB);
    let live = Live::begins(&person, "1");
    for path in ["GET /", "GET /events"] {
        let answer = live.answers(path, "evil.example", "");
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    }
    let answer = live.answers("POST /pace", "evil.example", r#"{"do":"pause"}"#);
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
}

#[test]
fn what_cannot_be_served_is_said() {
    let person = Person::new();
    person.has("lab.toml", LAB);
    let said = person.types(&["sim", "live", "lab.toml", "--speed", "fast"]);
    said.failed(2, &["from 0.01 to 100000, or max"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    person.types(&["sim", "live", "lab.toml", "--port", &port]).failed(1, &["cannot be served", "name another"]);
    person.types(&["sim", "live", "nowhere.toml"]).failed(2, &["cannot read the scenario nowhere.toml"]);
}
