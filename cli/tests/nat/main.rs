//! Nodes behind NATs, in network namespaces with nft masquerade, as real processes: through a relay at once, directly where
//! both NATs allow it, and on without the relay. Needs root, iproute2 and nftables; without them it fails and says so.
#[path = "../common/mod.rs"]
mod common;
mod hosters;
mod internet;

use std::time::{Duration, Instant};

use common::Person;
use hosters::{Hoster, Plan, found, until};
use internet::{Internet, Nat};

/// Long enough for any loaded machine; the figures are printed, and held to by `bocage-bench nat`.
const PATIENT: Duration = Duration::from_secs(90);

const APP: &str = "app = \"guestbook\"\n[component]\npath = \"guestbook.wasm\"\n";

fn plan(name: &'static str, jurisdiction: &'static str, host: internet::Host) -> Plan {
    Plan { name, jurisdiction, host, relay: false }
}

/// Deploys the guestbook through a node, and says where it is served.
fn deploy(person: &Person, through: &Hoster, place: &str) -> String {
    let wasm = common::root().join("examples/guestbook/guestbook.wasm");
    std::fs::copy(wasm, person.path("guestbook.wasm")).expect("the example is there");
    person.has("guestbook.toml", format!("{APP}{place}"));
    let node = through.folder.to_str().expect("a path in UTF-8");
    let began = Instant::now();
    loop {
        let said = through.types(person, &["deploy", "guestbook.toml", "--node", node, "--output", "json"]);
        if said.code == 0 {
            let value: serde_json::Value = serde_json::from_str(&said.out).expect("it is JSON");
            return value["host"].as_str().expect("it names the host").to_owned();
        }
        assert!(began.elapsed() < PATIENT, "{}{}\n{}", said.out, said.err, through.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// One relay, and three hosters who can only dial out.
fn three_homes(person: &Person, internet: &mut Internet, nat: Nat) -> Vec<Hoster> {
    let mut plans = vec![Plan { relay: true, ..plan("relay", "FR", internet.public("relay")) }];
    for name in ["alder", "birch", "cornel"] {
        plans.push(plan(name, "FR", internet.at_home(name, nat)));
    }
    let mut hosters = found(person.home.path(), plans);
    hosters.iter_mut().for_each(Hoster::starts);
    hosters
}

const THREE_VOTERS: &str = "[place]\nhome = [\"FR\"]\nvoters = 3\n[scale]\nmin = 3\nmax = 3\n";

/// Everybody at home reaches everybody else at home by one of these paths.
fn all_reach(person: &Person, hosters: &[Hoster], paths: &[&str]) -> bool {
    let homes = &hosters[1..];
    homes.iter().all(|one| {
        let Some(health) = one.health(person) else { return false };
        homes.iter().filter(|other| other.id != one.id).all(|other| {
            health.peers.iter().any(|peer| peer.node_id == other.id && paths.contains(&peer.path.as_str()))
        })
    })
}

#[test]
fn three_nodes_that_can_only_dial_out_form_a_cell_through_a_relay_and_then_directly() {
    let (person, mut internet) = (Person::new(), Internet::new());
    let mut hosters = three_homes(&person, &mut internet, Nat::Steady);
    let began = Instant::now();
    until(&hosters, "all reach each other", PATIENT, || all_reach(&person, &hosters, &["relay", "quic", "tcp"]));
    eprintln!("figure: from start until all three reach each other: {:?}", began.elapsed());
    until(&hosters, "all reach each other directly", PATIENT, || all_reach(&person, &hosters, &["quic"]));
    eprintln!("figure: from start until all three reach each other directly: {:?}", began.elapsed());

    let host = deploy(&person, &hosters[1], THREE_VOTERS);
    for hoster in &hosters[1..] {
        until(&hosters, "it serves", PATIENT, || hoster.http(&host, "/entries").0 == 200);
    }

    // The relay, which is the only bootstrap node too, dies: nothing that ran stops.
    hosters[0].dies();
    for _ in 0..20 {
        for hoster in &hosters[1..] {
            assert_eq!(hoster.http(&host, "/entries").0, 200, "{}{}", hoster.name, hoster.log());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(all_reach(&person, &hosters, &["quic"]), "holes stay open without the relay");
}

#[test]
fn behind_nats_that_cannot_be_punched_the_cell_stands_through_the_relay_and_doctor_says_why() {
    let (person, mut internet) = (Person::new(), Internet::new());
    let hosters = three_homes(&person, &mut internet, Nat::Shifting);
    let began = Instant::now();
    until(&hosters, "all reach each other", PATIENT, || all_reach(&person, &hosters, &["relay"]));
    eprintln!("figure: from start until all three reach each other through the relay: {:?}", began.elapsed());
    let host = deploy(&person, &hosters[1], THREE_VOTERS);
    for hoster in &hosters[1..] {
        until(&hosters, "it serves", PATIENT, || hoster.http(&host, "/entries").0 == 200);
    }
    until(&hosters, "doctor says why", PATIENT, || {
        hosters[1].reaches(&person, &hosters[2]).is_some_and(|peer| {
            peer.path == "relay"
                && peer.relay.as_deref() == Some(hosters[0].id.as_str())
                && peer.why.is_some_and(|why| {
                    ["did not meet", "do not answer", "another port"].iter().any(|it| why.contains(it))
                })
                && peer.advice.is_some_and(|advice| advice.contains("forward UDP port 4001"))
        })
    });
    let relaying = hosters[0].health(&person).and_then(|health| health.relaying).expect("it relays");
    assert!(relaying.circuits >= 3 && relaying.bytes > 10_000, "the relay's bytes are counted: {relaying:?}");
}

#[test]
fn a_node_that_can_only_dial_out_serves_an_app_through_a_relay_and_then_directly() {
    let (person, mut internet) = (Person::new(), Internet::new());
    let plans = vec![
        Plan { relay: true, ..plan("relay", "FR", internet.public("relay")) },
        plan("alder", "DE", internet.at_home("alder", Nat::Steady)),
        plan("birch", "FR", internet.at_home("birch", Nat::Steady)),
    ];
    let mut hosters = found(person.home.path(), plans);
    hosters.iter_mut().for_each(Hoster::starts);
    let only_alder = "[place]\nhome = [\"DE\"]\nvoters = 1\nallow_degraded = true\n[scale]\nmin = 1\nmax = 1\n";
    let host = deploy(&person, &hosters[1], only_alder);
    until(&hosters, "birch's edge finds it", PATIENT, || hosters[2].http(&host, "/entries").0 == 200);

    // Alder's machine restarts: how long until a request that enters at birch is answered by it again?
    hosters[1].dies();
    until(&hosters, "birch notices", PATIENT, || hosters[2].http(&host, "/entries").0 != 200);
    hosters[1].starts();
    let began = Instant::now();
    until(&hosters, "it serves again", PATIENT, || {
        let (status, by) = hosters[2].http(&host, "/entries");
        status == 200 && (by.is_empty() || hosters[1].id.starts_with(&by) || by == hosters[1].id)
    });
    let path = hosters[2].reaches(&person, &hosters[1]).map(|peer| peer.path);
    eprintln!("figure: from the start of its process until it serves: {:?} ({path:?})", began.elapsed());
    until(&hosters, "directly", PATIENT, || {
        hosters[2].reaches(&person, &hosters[1]).is_some_and(|peer| peer.path == "quic")
    });
    eprintln!("figure: from the start of its process until it is reached directly: {:?}", began.elapsed());
    assert_eq!(hosters[2].http(&host, "/entries").0, 200);
}

#[test]
fn every_bootstrap_and_relay_dies_and_members_find_each_other_again_by_their_caches() {
    let (person, mut internet) = (Person::new(), Internet::new());
    let mut plans = vec![Plan { relay: true, ..plan("relay", "FR", internet.public("relay")) }];
    plans.push(plan("alder", "FR", internet.public("alder")));
    plans.push(plan("birch", "FR", internet.public("birch")));
    plans.push(plan("cornel", "FR", internet.at_home("cornel", Nat::Shifting)));
    let mut hosters = found(person.home.path(), plans);
    hosters.iter_mut().for_each(Hoster::starts);
    let host = deploy(&person, &hosters[1], THREE_VOTERS);
    let serve = |hosters: &[Hoster]| hosters[1..].iter().all(|hoster| hoster.http(&host, "/entries").0 == 200);
    until(&hosters, "all serve", PATIENT, || serve(&hosters));
    until(&hosters, "all reach each other directly", PATIENT, || all_reach(&person, &hosters, &["quic"]));
    // What is known of peers is on disk within five seconds.
    std::thread::sleep(Duration::from_secs(6));

    hosters[0].dies();
    for _ in 0..20 {
        assert!(serve(&hosters), "nothing that ran stops: {}", hosters[1].log());
        std::thread::sleep(Duration::from_millis(100));
    }
    for at in [1, 3] {
        hosters[at].dies();
        std::thread::sleep(Duration::from_secs(1));
        hosters[at].starts();
        let began = Instant::now();
        until(&hosters, "it is back without any bootstrap node", PATIENT, || {
            all_reach(&person, &hosters, &["quic"]) && serve(&hosters)
        });
        eprintln!("figure: {} is back by its cache and serves: {:?}", hosters[at].name, began.elapsed());
    }
}
