//! Three electors, each with a node of his own, decide who belongs, by which rules, and who is called how: by a majority, one
//! after the other, whoever of them is away.
#[path = "common/mod.rs"]
mod common;

use std::process::{Command, Stdio};

use bocage_node::transport::peer_of;
use bocage_protocol::id::NodeId;
use common::{
    Person,
    nodes::{Running, eventually, members, node, node_in, run, with},
    said,
};
use serde_json::Value;

/// Somebody whose node runs.
struct Hoster {
    person: Person,
    running: Option<Running>,
}

impl Hoster {
    fn asks(&self, words: &[&str]) -> Value {
        self.person.asks(&[words, &["--dir", "n"]].concat())
    }

    /// What a person reads of it.
    fn reads(&self, words: &[&str]) -> String {
        let said = self.person.types(&[words, &["--dir", "n"]].concat());
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        said.out + &said.err
    }

    fn fails(&self, code: i32, words: &[&str], because: &[&str]) {
        self.person.types(&[words, &["--dir", "n"]].concat()).failed(code, because);
    }

    fn dies(&mut self) {
        self.running = None;
    }

    fn comes_back(&mut self) {
        self.running = Some(run(&self.person));
        eventually("the node runs", || self.person.types(&["operator", "list", "--dir", "n"]).code == 0);
    }

    /// Where others dial it, with its key.
    fn address(&self) -> String {
        let settings = std::fs::read_to_string(self.person.path("n/bocage.toml")).unwrap();
        let port = settings.split("/udp/").nth(1).unwrap().split('/').next().unwrap();
        let node: NodeId = self.asks(&["node", "status"])["node_id"].as_str().unwrap().parse().unwrap();
        format!("/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{}", peer_of(node).unwrap())
    }

    fn members(&self) -> Vec<String> {
        let mut names = members(&self.person);
        names.sort();
        names
    }
}

/// The founders alder, in FR, birch and cornel, in DE.
fn electors() -> [Hoster; 3] {
    let others = ["birch", "cornel"].map(|name| {
        let person = Person::new();
        person.asks(&with(&["node", "init"], &node_in("DE", name)));
        let card = person.asks(&["keys", "show", "n/keys/operator.key"])["card"].as_str().unwrap().to_owned();
        (person, card)
    });
    let person = Person::new();
    person.asks(&with(&["node", "init"], &node("alder")));
    person.asks(&["mesh", "found", "hedge", "--with", &others[0].1, "--with", &others[1].1, "--dir", "n"]);
    let mut alder = Hoster { person, running: None };
    alder.comes_back();
    let invite = alder.asks(&["mesh", "invite"])["invite"].as_str().unwrap().to_owned();
    let [birch, cornel] = others.map(|(person, _)| {
        let joined = person.asks(&["node", "join", &invite, "--dir", "n"]);
        assert_eq!(joined["member"], true, "a founder is a member: {joined}");
        let mut hoster = Hoster { person, running: None };
        hoster.comes_back();
        hoster
    });
    for hoster in [&alder, &birch, &cornel] {
        assert_eq!(hoster.members(), ["alder", "birch", "cornel"]);
        assert!(hoster.reads(&["operator", "requests"]).contains("Nobody asks"), "nor need a founder ask");
    }
    [alder, birch, cornel]
}

/// Whether these electors are named as not heard yet, in whatever order.
fn waits_for(said: &str, electors: [&str; 2]) -> bool {
    let silent = said.split("Not heard yet: ").nth(1).unwrap_or_default();
    electors.iter().all(|elector| silent.contains(elector))
}

/// Joins with an invite, while the electors do what they do.
fn joins_meanwhile(name: &str, invite: &str, meanwhile: impl FnOnce()) -> Hoster {
    let person = Person::new();
    let flags = node(name);
    let mut command = person.command(&with(&["node", "join", invite, "--output", "json"], &flags));
    let joining = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    meanwhile();
    let joined = said(joining.wait_with_output().unwrap());
    assert_eq!(joined.code, 0, "{}", joined.err);
    let mut hoster = Hoster { person, running: None };
    hoster.comes_back();
    hoster
}

#[test]
fn two_of_three_electors_admit_amend_and_exclude_while_the_third_is_dead() {
    let [alder, birch, mut cornel] = electors();
    let invite = cornel.asks(&["mesh", "invite", "--address", &alder.address()])["invite"].as_str().unwrap().to_owned();
    cornel.dies();

    // The node that counts the invite's uses is dead: the other two decide without it.
    let dogrose = joins_meanwhile("dogrose", &invite, || {
        eventually("dogrose's request is heard", || birch.reads(&["operator", "requests"]).contains("dogrose"));
        let one = alder.reads(&["operator", "admit", "dogrose"]);
        assert!(one.contains("dogrose: 1 of 2") && waits_for(&one, ["birch", "cornel"]), "{one}");
        let two = birch.reads(&["operator", "admit", "dogrose"]);
        assert!(two.contains("dogrose: carried"), "{two}");
    });
    for hoster in [&alder, &birch, &dogrose] {
        eventually("everybody counts four", || hoster.members() == ["alder", "birch", "cornel", "dogrose"]);
    }

    let moved = alder.reads(&["charter", "amend", "--admissions", "3", "--without", "cornel"]);
    assert!(moved.contains("Version 1: 1 of 2") && waits_for(&moved, ["birch", "cornel"]), "{moved}");
    let id = moved.split("bocage charter vote ").nth(1).unwrap().trim().to_owned();
    for hoster in [&birch, &dogrose] {
        eventually("the others hear of it", || hoster.reads(&["charter", "show"]).contains(&id));
    }
    dogrose.fails(5, &["charter", "vote", &id], &["dogrose is no elector", "alder, birch, cornel"]);
    let no = birch.reads(&["charter", "vote", &id, "--no"]);
    assert!(no.contains("1 of 2"), "a no is no yes: {no}");
    let yes = birch.reads(&["charter", "vote", &id]);
    assert!(yes.contains("amend: carried"), "and may become one: {yes}");
    let shown = birch.reads(&["charter", "show"]);
    assert!(shown.contains("version 0") && shown.contains("version 1") && shown.contains("3 in 24 hours"), "{shown}");
    birch.fails(3, &["charter", "vote", "zzzz"], &["no motion zzzz", "bocage charter show"]);

    let one = alder.reads(&["operator", "exclude", "dogrose", "--reason", "floods us"]);
    assert!(one.contains("Exclude dogrose: 1 of 2") && one.contains("bocage operator exclude dogrose"), "{one}");
    eventually("birch hears of it", || birch.reads(&["charter", "show"]).contains("exclude"));
    let two = birch.reads(&["operator", "exclude", "dogrose"]);
    assert!(two.contains("Exclude dogrose: carried"), "{two}");
    for hoster in [&alder, &birch] {
        eventually("dogrose counts no more", || hoster.members() == ["alder", "birch", "cornel"]);
    }
    alder.fails(4, &["operator", "exclude", "dogrose"], &["excluded already"]);
    let peers = |hoster: &Hoster| hoster.asks(&["node", "status"])["peers"].as_array().unwrap().len();
    eventually("dogrose is hung up on", || peers(&dogrose) == 0 && peers(&alder) == 1);

    cornel.comes_back();
    eventually("who was away learns all of it", || {
        let shown = cornel.reads(&["charter", "show"]);
        cornel.members() == ["alder", "birch", "cornel"] && shown.contains("version 1") && shown.contains("dogrose")
    });
}

#[test]
fn an_invite_that_two_of_three_cosigned_admits_with_nobody_doing_anything_more() {
    let [alder, birch, _cornel] = electors();
    let made = alder.asks(&["mesh", "invite"]);
    let cosigned = birch.asks(&["mesh", "cosign", made["invite"].as_str().unwrap()]);
    assert_eq!((&cosigned["ballots"], &cosigned["needed"]), (&2.into(), &2.into()), "{cosigned}");
    let dogrose = joins_meanwhile("dogrose", cosigned["invite"].as_str().unwrap(), || {});
    assert_eq!(dogrose.members().len(), 4);
    dogrose.fails(5, &["mesh", "cosign", made["invite"].as_str().unwrap()], &["no elector"]);
}

fn answers(edge: &str, host: &str) -> bool {
    let url = format!("http://{edge}/entries");
    let host = format!("Host: {host}");
    let curl = Command::new("curl").args(["-s", "-m", "10", "--fail", "-o", "/dev/null", "-H", &host, &url]).status();
    curl.is_ok_and(|status| status.success())
}

#[test]
fn a_tenant_is_given_a_short_name_by_two_of_three_electors_and_its_app_answers_to_both() {
    let [mut alder, birch, cornel] = electors();
    let place = "[place]\nhome = [\"FR\"]\nvoters = 1\nallow_degraded = true\n";
    let wren = &alder.person;
    wren.has("app.wasm", std::fs::read(common::root().join("examples/guestbook/guestbook.wasm")).unwrap());
    wren.has("bocage.toml", format!("app = \"book\"\n[component]\npath = \"app.wasm\"\n{place}"));
    let deployed = wren.types(&["deploy", "bocage.toml", "--node", "n"]);
    assert_eq!(deployed.code, 0, "{}", deployed.err);
    let me = wren.asks(&["whoami", "--node", "n"])["tenant"].as_str().unwrap().to_owned();
    let own = format!("book.{me}.localhost");
    let edge = birch.asks(&["node", "status"])["edge"].as_str().unwrap().to_owned();
    eventually("the app answers", || answers(&edge, &own));
    assert!(!answers(&edge, "book.bakery.localhost"), "nobody is called bakery");

    wren.types(&["alias", "request", "Bakery!", "--node", "n"]).failed(2, &["no alias", "1 to 63 of a-z"]);
    let asked = wren.asks(&["alias", "request", "bakery", "--node", "n"]);
    assert_eq!((&asked["yes"], &asked["needed"]), (&0.into(), &2.into()), "{asked}");
    let again = wren.asks(&["alias", "request", "bakery", "--node", "n"]);
    assert_eq!(again["motion"], asked["motion"], "asked twice it is one request");
    eventually("birch hears of it", || birch.reads(&["alias", "requests"]).contains("bakery"));
    birch.fails(3, &["alias", "admit", "brewery"], &["no tenant asks for the name brewery", "bocage alias requests"]);
    let one = birch.reads(&["alias", "admit", "bakery"]);
    assert!(one.contains("bakery: 1 of 2") && waits_for(&one, ["alder", "cornel"]), "{one}");

    // Before it is decided another tenant asks for the same name: an elector signs for one of them.
    let finch = &cornel.person;
    finch.asks(&["login", "--name", "finch"]);
    finch.asks(&["alias", "request", "bakery", "--node", "n"]);
    eventually("birch hears of both", || birch.asks(&["alias", "requests"]).as_array().unwrap().len() == 2);
    birch.fails(2, &["alias", "admit", "bakery"], &["more than one tenant asks for bakery", "--tenant ID"]);
    let finchs = finch.asks(&["whoami", "--node", "n"])["tenant"].as_str().unwrap().to_owned();
    birch.fails(4, &["alias", "admit", "bakery", "--tenant", &finchs], &["you said yes already to the name bakery"]);

    eventually("alder hears of both", || alder.asks(&["alias", "requests"]).as_array().unwrap().len() == 2);
    let two = alder.reads(&["alias", "admit", "bakery", "--tenant", &me[..8]]);
    assert!(two.contains("bakery: carried"), "{two}");
    for hoster in [&alder, &birch, &cornel] {
        eventually("everybody knows it", || hoster.reads(&["alias", "list"]).contains("bakery"));
    }
    assert!(answers(&edge, "book.bakery.localhost") && answers(&edge, &own));
    assert!(alder.person.types(&["apps", "--node", "n"]).out.contains("book.bakery.localhost"));
    finch
        .types(&["alias", "request", "bakery", "--node", "n"])
        .failed(4, &["belongs to the tenant", "bocage alias list"]);
    cornel.fails(4, &["alias", "admit", "bakery", "--tenant", &finchs], &["belongs to the tenant"]);

    // No app needs the electors: with two of three gone, a node that restarts serves both hosts.
    drop((birch, cornel));
    alder.dies();
    alder.comes_back();
    let edge = alder.asks(&["node", "status"])["edge"].as_str().unwrap().to_owned();
    eventually("alder's app answers again", || answers(&edge, &own) && answers(&edge, "book.bakery.localhost"));
}
