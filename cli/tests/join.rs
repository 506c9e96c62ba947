//! From an empty machine to a member that hosts, with real processes: founded, invited, joined in two commands; and whatever
//! is wrong is named with what to do, and leaves nothing behind.
#[path = "common/mod.rs"]
mod common;

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use common::{
    Person,
    nodes::{Running, eventually, members, node, run, with},
};

/// Somebody who founded a mesh, and whose node runs.
fn founder() -> (Person, Running) {
    let alder = Person::new();
    alder.asks(&with(&["mesh", "found", "hedge"], &node("alder")));
    let running = run(&alder);
    eventually("alder's node runs", || alder.types(&["operator", "list", "--dir", "n"]).code == 0);
    (alder, running)
}

fn birch_id(birch: &Person) -> String {
    let status = || birch.types(&["node", "status", "--node", "n", "--output", "json"]);
    eventually("birch's node runs", || status().code == 0);
    birch.asks(&["node", "status", "--node", "n"])["node_id"].as_str().unwrap().to_owned()
}

/// Nodes that a plan by this person's node takes into account.
fn candidates(person: &Person) -> Vec<String> {
    person.has("app.wasm", std::fs::read(common::root().join("examples/guestbook/guestbook.wasm")).unwrap());
    let place = "[place]\nhome = [\"FR\"]\nvoters = 1\nallow_degraded = true\n";
    person.has("bocage.toml", format!("app = \"a\"\n[component]\npath = \"app.wasm\"\n{place}"));
    let said = person.types(&["plan", "bocage.toml", "--node", "n", "--output", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
    let nodes = ["placed", "rejected"].map(|list| plan[list].as_array().cloned().unwrap_or_default()).concat();
    nodes.iter().map(|it| it["node_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_commands_make_an_empty_machine_a_member_that_hosts() {
    let (alder, _running) = founder();
    let made = alder.asks(&["mesh", "invite", "--dir", "n", "--expires", "1h"]);
    let invite = made["invite"].as_str().unwrap();

    let birch = Person::new();
    let began = Instant::now();
    let joined = birch.asks(&with(&["node", "join", invite], &node("birch")));
    assert_eq!(joined["member"], true, "{joined}");
    let _birch_runs = run(&birch);
    let birchs = birch_id(&birch);
    eventually("alder's node would place apps at birch's", || candidates(&alder).contains(&birchs));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let mut names = members(&alder);
    names.sort();
    assert_eq!(names, ["alder", "birch"]);
    eventually("birch's node counts birch", || members(&birch).len() == 2);

    let cornel = Person::new();
    let used = cornel.types(&with(&["node", "join", invite], &node("cornel")));
    used.failed(4, &["all its uses were used", "bocage mesh invite", "nothing stays behind"]);
    assert!(!cornel.path("n").exists(), "nothing half-joined stays behind");

    let again = birch.types(&["node", "join", invite, "--dir", "n"]);
    again.failed(4, &["belongs to mesh", "bocage node run"]);
    assert!(birch.path("n/keys/certificate").exists(), "who is a member stays one");

    let excluded = alder.asks(&["operator", "exclude", "birch", "--reason", "a test", "--dir", "n"]);
    assert!(excluded["effective_ms"].is_u64(), "alder is the whole electorate: {excluded}");
    eventually("birch counts no more", || members(&alder) == ["alder"]);
    let amended = alder.asks(&["charter", "amend", "--admissions", "3", "--dir", "n"]);
    assert_eq!((&amended["version"], &amended["yes"]), (&1.into(), &1.into()), "{amended}");
}

#[test]
fn a_node_that_init_made_joins_with_its_own_settings_or_stays_as_it_was() {
    let (alder, running) = founder();
    let made = alder.asks(&["mesh", "invite", "--dir", "n"]);
    let invite = made["invite"].as_str().unwrap();
    let birch = Person::new();
    birch.asks(&with(&["node", "init"], &node("birch")));
    let settings = std::fs::read_to_string(birch.path("n/bocage.toml")).unwrap() + "\n# mine\n";
    std::fs::write(birch.path("n/bocage.toml"), &settings).unwrap();
    birch.types(&["node", "run", "--dir", "n"]).failed(4, &["belongs to no mesh yet", "bocage node join INVITE"]);

    drop(running);
    let alone = birch.types(&["node", "join", invite, "--dir", "n", "--wait", "2"]);
    alone.failed(1, &["no node of the mesh was reached", "nothing stays behind"]);
    assert_eq!(std::fs::read_to_string(birch.path("n/bocage.toml")).unwrap(), settings);
    assert!(!birch.path("n/keys/certificate").exists() && !birch.path("n/disk").exists());
    assert!(birch.path("n/keys/operator.key").exists());

    let _running = run(&alder);
    let joined = birch.asks(&["node", "join", invite, "--dir", "n"]);
    assert_eq!(joined["member"], true, "{joined}");
    let text = std::fs::read_to_string(birch.path("n/bocage.toml")).unwrap();
    assert!(text.ends_with("# mine\n") && text.contains(joined["mesh"].as_str().unwrap()), "{text}");
}

#[test]
fn whatever_is_wrong_before_anybody_is_asked_is_named_and_leaves_nothing_behind() {
    let (alder, _running) = founder();
    let short = alder.asks(&["mesh", "invite", "--dir", "n", "--expires", "1s"]);
    let short = short["invite"].as_str().unwrap();
    let long = alder.asks(&["mesh", "invite", "--dir", "n"]);
    let long = long["invite"].as_str().unwrap();
    let other = Person::new();
    other.asks(&with(&["mesh", "found", "another"], &node("mallow")));
    let other = other.asks(&["node", "run", "--check-config", "--dir", "n"])["mesh"].as_str().unwrap().to_owned();
    std::thread::sleep(Duration::from_millis(1_100));

    let birch = Person::new();
    let flags = node("birch");
    let changed = |flag: &str, value: &str| {
        let mut flags = flags.clone();
        let at = flags.iter().position(|it| it == flag).unwrap();
        flags[at + 1] = value.to_owned();
        flags
    };
    let damaged = &long[..long.len() - 8];
    let swapped = long.replacen('A', "B", 1);
    for (invite, flags, code, words) in [
        (short, flags.clone(), 4, vec!["expired on 2", "set this machine's clock", "ask for a new one"]),
        (damaged, flags.clone(), 2, vec!["no invite", "bocage mesh invite"]),
        (swapped.as_str(), flags.clone(), 0, vec![]),
        (long, changed("--jurisdiction", "XX"), 2, vec!["no jurisdiction XX", "ISO 3166-1"]),
        (long, changed("--jurisdiction", "UK"), 2, vec!["GB"]),
        (long, changed("--cpu", "100000"), 2, vec!["beyond this machine", "--cpu"]),
        (long, changed("--memory", "1000TiB"), 2, vec!["beyond this machine", "--memory"]),
        (long, changed("--disk", "1000TiB"), 2, vec!["beyond this machine", "--disk"]),
        (long, with(&["--mesh", &other], &flags).into_iter().map(str::to_owned).collect(), 4, vec!["not", &other]),
        (long, vec!["--dir".into(), "n".into()], 2, vec!["--name is missing"]),
    ] {
        let said = birch.types(&with(&["node", "join", invite], &flags));
        if code == 0 {
            assert!([2, 4, 5].contains(&said.code), "a changed invite is refused: {}", said.err);
        } else {
            said.failed(code, &words);
        }
        assert!(!birch.path("n").exists(), "{words:?}");
    }
    alder.has("open.key", std::fs::read(alder.path("n/keys/operator.key")).unwrap());
    std::fs::set_permissions(alder.path("open.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = alder.path("open.key").display().to_string();
    let said = birch.types(&with(&["node", "join", long, "--operator-key", &open], &flags));
    said.failed(5, &["others", "chmod 600"]);
    assert!(!birch.path("n").exists());
    alder.types(&["operator", "admit", "nobody", "--dir", "n"]).failed(3, &["nobody", "bocage operator requests"]);
    let stranger = alder.has("other.key", std::fs::read(alder.path("n/keys/operator.key")).unwrap());
    std::fs::remove_file(&stranger).unwrap();
    alder
        .types(&["mesh", "invite", "--dir", "n", "--operator-key", "other.key"])
        .failed(5, &["no key file", "--operator-key"]);
}

/// A folder was copied to a second machine: the key is there twice, and so is the disk.
#[test]
fn a_second_process_in_a_nodes_folder_is_refused_and_told_what_to_do() {
    let (alder, _running) = founder();
    let invite = alder.asks(&["mesh", "invite", "--dir", "n"])["invite"].as_str().unwrap().to_owned();
    let birch = Person::new();
    assert_eq!(birch.asks(&with(&["node", "join", &invite], &node("birch")))["member"], true);
    let _one = run(&birch);
    eventually("it runs", || birch.types(&["node", "status", "--dir", "n"]).code == 0);
    birch.types(&["node", "run", "--dir", "n"]).failed(1, &["in use by another bocage node", "stop that one"]);
}
