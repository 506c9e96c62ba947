//! Membership in a small world: who finds whom, how fast a record spreads and at what price, and what neither a liar, a
//! cut nor garbage can do.
mod world;
mod figures;
mod failure;
mod garbage;
mod keys;
mod liars;

use std::collections::BTreeMap;

use bocage_protocol::{
    id::NodeId,
    membership::{Input, Presence},
    notice::Notice,
    record::{Kind, Scope, Subject, Tier},
};
use world::{World, demo, identity, law, ms, node_keys, secs, settled};

fn binding(world: &mut World, by: NodeId, host: &str) -> Subject {
    let subject = Subject::of(host.as_bytes());
    world.publish(by, Kind::BINDING, Scope::Mesh, subject, host);
    subject
}

#[test]
fn five_nodes_that_know_one_are_all_neighbours_within_a_second() {
    for seed in 1..=5 {
        let (mut world, nodes) = demo(seed);
        world.run(secs(1));
        for node in &nodes {
            assert_eq!(world.hosts[node].member.neighbours().count(), 4, "seed {seed}: {node:?}");
        }
        for (node, other) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
            assert!(world.record(node, Kind::PRESENCE, Subject(other.0)).is_some(), "seed {seed}: {node:?}");
        }
    }
}

#[test]
fn what_is_said_in_a_small_mesh_is_known_in_one_hop() {
    let (mut world, nodes) = demo(1);
    world.run(secs(2));
    let offer = world.offer(nodes[0], "an offer");
    let subject = binding(&mut world, nodes[4], "guestbook.example.org");
    world.run(ms(30));
    assert!(world.hosts[&nodes[1]].learned.contains_key(&offer), "the other node of FR knows the offer");
    for node in &nodes {
        assert!(world.knows(*node, Kind::BINDING, subject, "guestbook.example.org"), "{node:?}");
    }
}

#[test]
fn a_newcomer_is_told_what_was_said_before_it_came() {
    let mut world = settled(2, 20, &["FR", "DE"], 10);
    let nodes = world.alive();
    let said: Vec<Subject> = (0..30).map(|n| binding(&mut world, nodes[n % 20], &format!("host{n}.example"))).collect();
    world.run(secs(10));
    let late = world.start(500, 3, law("DE"));
    world.run(secs(3));
    for (n, subject) in said.iter().enumerate() {
        assert!(world.knows(late, Kind::BINDING, *subject, &format!("host{n}.example")), "host {n}");
    }
    let known = world.hosts[&late].member.records().of_kind(Tier::Home, Kind::PRESENCE).count();
    assert_eq!(known, world.of(law("DE")).len());
}

#[test]
fn a_record_of_a_jurisdiction_never_leaves_it() {
    let mut world = settled(3, 40, &["FR", "DE", "BE", "CN"], 10);
    for node in world.alive() {
        world.offer(node, "mine");
    }
    world.run(secs(15));
    assert_eq!(world.strays, 0);
    for node in world.alive() {
        let records = world.hosts[&node].member.records();
        assert_eq!(records.of_kind(Tier::Home, Kind::OFFER).count(), 10, "{node:?}");
        assert_eq!(records.of_kind(Tier::Asked, Kind::OFFER).count(), 0);
    }
}

#[test]
fn both_sides_of_a_healed_cut_know_what_the_other_said() {
    let mut world = settled(4, 40, &["FR", "DE"], 10);
    let nodes = world.alive();
    let left: std::collections::BTreeSet<NodeId> = nodes[..20].iter().copied().collect();
    let side = left.clone();
    world.cut = Box::new(move |a, b| side.contains(a) != side.contains(b));
    world.apply_cut();
    world.run(secs(60));
    let a = binding(&mut world, nodes[0], "left.example");
    let b = binding(&mut world, nodes[39], "right.example");
    let offers: Vec<NodeId> = nodes.clone();
    for node in &offers {
        world.offer(*node, "during the cut");
    }
    world.run(secs(10));
    assert!(!world.knows(nodes[39], Kind::BINDING, a, "left.example"));
    world.cut = Box::new(|_, _| false);
    world.redial();
    world.run(secs(30));
    for node in &nodes {
        assert!(world.knows(*node, Kind::BINDING, a, "left.example"), "{node:?}");
        assert!(world.knows(*node, Kind::BINDING, b, "right.example"), "{node:?}");
        for other in world.of(world.laws[node]) {
            assert!(world.knows(*node, Kind::OFFER, Subject(other.0), "during the cut"), "{node:?} of {other:?}");
        }
    }
}

#[test]
fn with_every_bootstrap_node_dead_a_restarted_node_finds_the_mesh_by_its_cache() {
    let mut world = settled(5, 20, &["FR", "DE"], 10);
    world.run(secs(40));
    for n in 0..3 {
        world.kill(node_keys(n).node(), ms(500));
    }
    world.run(secs(5));
    let node = node_keys(7).node();
    let old = world.kill(node, ms(500));
    assert!(old.keyed.keys().all(|key| key.starts_with(b"membership/")));
    world.run(secs(5));
    world.start_with(identity(7, 7, law("DE")), old.keyed, 7);
    world.run(secs(10));
    let member = &world.hosts[&node].member;
    assert!(member.neighbours().count() >= 3);
    for other in world.of(law("DE")) {
        assert!(member.records().find(Tier::Home, Kind::PRESENCE, Subject(other.0)).is_some(), "{other:?}");
    }
}

#[test]
fn a_restarted_node_outranks_what_it_said_before() {
    let (mut world, nodes) = demo(6);
    world.run(secs(3));
    let old = world.kill(nodes[1], ms(500));
    world.run(secs(1));
    world.start_with(identity(1, 1, law("FR")), old.keyed, 1);
    world.run(secs(2));
    let presence = world.record(nodes[0], Kind::PRESENCE, Subject(nodes[1].0)).unwrap();
    assert_eq!(Presence::read(&presence).unwrap().incarnation, 2);
}

#[test]
fn a_node_whose_disk_was_set_back_rises_above_its_own_old_word() {
    let (mut world, nodes) = demo(7);
    world.run(secs(3));
    for _ in 0..2 {
        world.kill(nodes[1], ms(500));
        world.run(secs(1));
        world.start_with(identity(1, 1, law("FR")), BTreeMap::new(), 1);
        world.run(secs(12));
    }
    let (here, there) = (world.hosts[&nodes[1]].member.incarnation(), nodes[0]);
    let presence = world.record(there, Kind::PRESENCE, Subject(nodes[1].0)).unwrap();
    assert_eq!(Presence::read(&presence).unwrap().incarnation, here);
}

#[test]
fn a_node_whose_clock_is_off_signs_nothing_until_it_is_right() {
    let (mut world, nodes) = demo(8);
    world.run(secs(2));
    world.input(nodes[0], Input::ClockOff(true));
    let before = world.record(nodes[0], Kind::PRESENCE, Subject(nodes[0].0)).unwrap();
    world.input(nodes[0], Input::Addresses(vec!["/elsewhere".to_owned()]));
    world.run(secs(70));
    assert_eq!(world.record(nodes[0], Kind::PRESENCE, Subject(nodes[0].0)).unwrap(), before);
    world.input(nodes[0], Input::ClockOff(false));
    world.run(secs(1));
    let presence = world.record(nodes[1], Kind::PRESENCE, Subject(nodes[0].0)).unwrap();
    assert_eq!(Presence::read(&presence).unwrap().addresses, ["/elsewhere"]);
}

#[test]
fn what_is_withdrawn_is_void_everywhere_soon_and_stays_so() {
    let (mut world, nodes) = demo(9);
    world.run(secs(2));
    world.offer(nodes[0], "for a while");
    world.run(secs(20));
    let (scope, subject) = (Scope::Jurisdiction(law("FR")), Subject(nodes[0].0));
    world.input(nodes[0], Input::Withdraw { kind: Kind::OFFER, scope, subject });
    world.run(secs(7));
    for _ in 0..20 {
        assert!(world.record(nodes[1], Kind::OFFER, subject).is_none());
        assert!(world.record(nodes[0], Kind::OFFER, subject).is_none());
        world.run(secs(5));
    }
}

#[test]
fn what_its_signer_stands_by_is_renewed_for_ever_and_what_a_dead_node_said_expires() {
    let (mut world, nodes) = demo(10);
    world.run(secs(2));
    world.offer(nodes[0], "living");
    world.offer(nodes[1], "dying");
    world.run(secs(300));
    assert!(world.knows(nodes[1], Kind::OFFER, Subject(nodes[0].0), "living"));
    world.kill(nodes[1], ms(500));
    world.run(secs(125));
    assert!(world.record(nodes[0], Kind::OFFER, Subject(nodes[1].0)).is_none());
    assert!(world.record(nodes[0], Kind::PRESENCE, Subject(nodes[1].0)).is_none());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = settled(11, 30, &["FR", "DE"], 10);
        let victim = world.alive()[5];
        world.kill(victim, secs(1));
        world.run(secs(20));
        let learned: Vec<_> = world.hosts.values().map(|host| host.learned.clone()).collect();
        (world.messages, learned)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_quiet_mesh_says_little_and_refuses_nothing() {
    let mut world = settled(12, 50, &["FR", "DE"], 12);
    world.run(secs(20));
    let before = world.messages;
    world.run(secs(60));
    let per_node_and_second = (world.messages - before) / 50 / 60;
    assert!(per_node_and_second <= 25, "{per_node_and_second}");
    for host in world.hosts.values() {
        let refused = host.notices.iter().find(|notice| matches!(notice, Notice::RecordRefused { .. }));
        assert_eq!(refused, None);
        assert!(host.verdicts.is_empty(), "{:?}", host.verdicts);
    }
}
