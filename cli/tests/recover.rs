//! An app loses two of its three voters for good: its tenant has it recovered from the one that is left, alone or with the
//! operators whom it named; who comes back with an old disk stops.
mod common;

use std::{fs, path::Path, time::Duration};

use common::{
    hedge::{Demo, kill},
    nodes::{self, Running},
    root,
};
use serde_json::Value;

/// Whatever a mesh of five on one machine does by itself, it does within this.
const SOON: Duration = Duration::from_mins(3);

impl Demo {
    fn status(&self, app: &str, through: &Value) -> Value {
        self.person.asks(&["status", app, "--node", control(through)])
    }

    fn voters(&self, app: &str) -> Vec<&Value> {
        let status = self.status(app, &self.nodes()[0]);
        let replicas = status["cells"][0]["replicas"].as_array().unwrap().clone();
        let voters = replicas.iter().filter(|replica| replica["role"] == "voter");
        voters.map(|voter| self.node(voter["node_id"].as_str().unwrap())).collect()
    }

    fn look(&self, app: &str, through: &Value) -> Value {
        self.person.asks(&["recover", app, "--look", "--node", control(through)])
    }
}

fn control(node: &Value) -> &str {
    node["control"].as_str().unwrap()
}

/// A node that was killed starts again from its folder.
fn start_again(demo: &Demo, node: &Value) -> Running {
    let dir = node["dir"].as_str().unwrap();
    let log = fs::OpenOptions::new().append(true).open(Path::new(dir).join("log")).unwrap();
    nodes::run_in(&demo.person, dir, log)
}

fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    nodes::within(SOON, what, is_so);
}

#[test]
fn an_app_goes_on_from_one_of_three_voters_and_who_comes_back_to_its_old_line_stops() {
    let demo = Demo::start("hedge");
    let person = &demo.person;
    for number in 0..20 {
        person.asks(&["kv", "set", "guestbook", &format!("kept/{number:02}"), &format!("value {number}")]);
    }
    let voters = demo.voters("guestbook");
    let (survivor, returns, burns) = (voters[0], voters[1], voters[2]);
    let at = ["--node", control(survivor)];
    let recover = |more: &[&str]| person.types(&[&["recover", "guestbook"], more, &at[..]].concat());
    recover(&["--yes"]).failed(4, &["error[majority]", "nothing is lost"]);

    kill(returns);
    kill(burns);
    fs::remove_dir_all(Path::new(burns["dir"].as_str().unwrap()).join("disk")).unwrap();
    let mut found = Value::Null;
    eventually("the survivor is alone", || {
        found = demo.look("guestbook", survivor);
        found["majority"] == false && found["survivors"][0]["alone_for_ms"].as_u64().is_none_or(|ms| ms > 6_000)
    });
    assert_eq!((&found["line"], &found["voters_there"]), (&1.into(), &1.into()), "{found}");
    assert_eq!(found["survivors"][0]["node_id"], survivor["node_id"], "{found}");
    assert_eq!(found["missing"].as_array().unwrap().len(), 2, "{found}");
    let stranger = person.path("stranger.key");
    person.asks(&["login", "--key", stranger.to_str().unwrap()]);
    recover(&["--yes", "--key", stranger.to_str().unwrap()]).failed(3, &["no app"]);
    recover(&["--accept-fork"]).failed(2, &["error[unconfirmed]", "--yes"]);
    let mut yes = vec!["--yes"];
    if !found["cut_off"].as_array().unwrap().is_empty() {
        recover(&yes).failed(4, &["error[cut]", "--accept-fork"]);
        yes.push("--accept-fork");
    }
    let done = recover(&yes);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);

    eventually("it can be written", || {
        person.types(&["kv", "set", "guestbook", "after", "word", at[0], at[1]]).code == 0
    });
    for number in 0..20 {
        let value = person.types(&["kv", "get", "guestbook", &format!("kept/{number:02}"), at[0], at[1]]);
        assert_eq!(value.out.trim_end(), format!("value {number}"), "{}", value.err);
    }
    let status = demo.status("guestbook", survivor);
    assert_eq!(status["cells"][0]["line"], 2, "{status}");

    let _again = start_again(&demo, returns);
    let log = Path::new(returns["dir"].as_str().unwrap()).join("log");
    eventually("whoever comes back hears that its line has ended", || {
        fs::read_to_string(&log).unwrap().contains("Fenced")
    });
    eventually("it is one of three again", || {
        let status = demo.status("guestbook", survivor);
        let replicas = status["cells"][0]["replicas"].as_array().unwrap();
        replicas.iter().filter(|replica| replica["role"] == "voter").count() == 3
    });
    let value = person.types(&["kv", "get", "guestbook", "after", at[0], at[1]]);
    assert_eq!(value.out.trim_end(), "word", "{}", value.err);
    recover(&["--yes"]).failed(4, &["error[majority]"]);
}

#[test]
fn an_app_that_names_operators_goes_on_only_with_their_signatures() {
    let demo = Demo::start("named");
    let person = &demo.person;
    let id = |node: &Value| person.asks(&["keys", "show", &key_of(node)])["party"].as_str().unwrap().to_owned();
    let named: Vec<&Value> = demo.nodes()[..3].iter().collect();
    let ids: Vec<String> = named.iter().map(|node| format!("\"{}\"", id(node))).collect();
    let component = root().join("examples/guestbook/guestbook.wasm");
    let manifest = format!(
        "app = \"ledger\"\n[component]\npath = {component:?}\n[recovery]\noperators = [{}]\nthreshold = 2\n",
        ids.join(", ")
    );
    let manifest = person.has("ledger/bocage.toml", manifest);
    person.asks(&["deploy", manifest.to_str().unwrap()]);
    person.asks(&["kv", "set", "ledger", "kept", "word"]);

    let voters = demo.voters("ledger");
    let survivor = voters[0];
    kill(voters[1]);
    kill(voters[2]);
    let mut found = Value::Null;
    eventually("the survivor is alone", || {
        found = demo.look("ledger", survivor);
        found["majority"] == false && found["survivors"][0]["alone_for_ms"].as_u64().is_none_or(|ms| ms > 6_000)
    });
    assert_eq!((&found["threshold"], found["operators"].as_array().unwrap().len()), (&2.into(), 3), "{found}");
    let file = person.path("ledger.recovery");
    let file = file.to_str().unwrap();
    let at = ["--node", control(survivor)];
    let made = person.asks(&[&["recover", "ledger", "--yes", "--accept-fork", "--to", file], &at[..]].concat());
    assert_eq!((&made["line"], &made["threshold"]), (&Value::Null, &2.into()), "{made}");
    let carry_out = |file: &str| person.types(&[&["recover", "ledger", "--with", file], &at[..]].concat());
    let countersign = |node: &Value| {
        person.asks(&["operator", "recover", file, "--yes", "--operator-key", &key_of(node)]);
    };
    carry_out(file).failed(5, &["0 of the operators", "2 of 3 must sign"]);
    countersign(named[0]);
    countersign(named[0]);
    carry_out(file).failed(5, &["1 of the operators"]);
    countersign(&demo.nodes()[4]);
    carry_out(file).failed(5, &["1 of the operators"]);
    let text = fs::read_to_string(file).unwrap();
    for (name, spoilt) in [("half", text[..text.len() / 2].to_owned()), ("changed", text.replacen('A', "B", 40))] {
        let path = person.has(name, spoilt);
        carry_out(path.to_str().unwrap()).failed(2, &["error[recovery]"]);
    }
    countersign(named[2]);
    let done = carry_out(file);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    eventually("what was written is there", || {
        person.types(&["kv", "get", "ledger", "kept", at[0], at[1]]).out.trim_end() == "word"
    });
    assert_eq!(demo.status("ledger", survivor)["cells"][0]["line"], 2);
    carry_out(file).failed(4, &["ends line 1", "on line 2"]);

    let metrics = format!("http://{}/metrics", control(survivor));
    let shown = std::process::Command::new("curl").args(["--silent", &metrics]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let refused = shown.lines().find_map(|line| line.strip_prefix("bocage_recoveries_refused_total "));
    assert!(refused.is_some_and(|count| count.trim().parse::<u64>().unwrap() >= 4), "{shown}");
}

fn key_of(node: &Value) -> String {
    format!("{}/keys/operator.key", node["dir"].as_str().unwrap())
}
