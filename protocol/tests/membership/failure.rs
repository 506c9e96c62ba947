//! Who is down, who says so, and what it takes.
use std::collections::BTreeSet;

use bocage_protocol::{
    codec,
    id::{NodeId, OperatorId},
    membership::{Draft, Input, Liveness, Verdict},
    record::{Kind, Scope, Subject},
};

use crate::world::{World, demo, law, ms, node_keys, secs, settled};

fn last_verdict(world: &World, at: NodeId, about: NodeId) -> Option<Liveness> {
    world.hosts[&at].verdicts.iter().rev().find(|(_, node, ..)| *node == about).map(|(_, _, state, _)| *state)
}

pub(crate) fn lie(world: &mut World, liar: NodeId, about: NodeId, incarnation: u64) {
    let verdict = Verdict { about, incarnation, state: Liveness::Down, observer: liar };
    let draft = Draft {
        kind: Kind::VERDICT,
        scope: Scope::Jurisdiction(world.laws[&about]),
        subject: Verdict::subject(about, liar),
        line: 0,
        generation: incarnation,
        lifetime: secs(120),
        content: codec::encode(&verdict),
    };
    world.input(liar, Input::Publish(draft));
}

#[test]
fn a_dead_node_is_down_within_six_seconds_by_the_word_of_several_operators() {
    let mut world = settled(21, 24, &["FR"], 8);
    let victim = node_keys(9).node();
    world.kill(victim, secs(1));
    world.run(secs(6));
    let mut evidence_seen = 0;
    for (node, host) in &world.hosts {
        assert_eq!(last_verdict(&world, *node, victim), Some(Liveness::Down), "{node:?}");
        let (_, _, _, evidence) = host.verdicts.last().unwrap();
        let operators: BTreeSet<OperatorId> = evidence
            .iter()
            .map(|signed| host.member.records().certificate(&NodeId(signed.key().0)).unwrap().operator)
            .collect();
        assert!(operators.len() >= 2);
        assert!(evidence.iter().all(|signed| signed.verify().is_ok()));
        evidence_seen += 1;
    }
    assert_eq!(evidence_seen, 23);
    assert!(world.hosts.values().all(|host| host.verdicts.iter().all(|(_, about, ..)| *about == victim)));
}

#[test]
fn a_node_that_merely_stalled_is_back_within_two_seconds() {
    let mut world = settled(22, 24, &["FR"], 8);
    let stalled = node_keys(9).node();
    world.cut = Box::new(move |a, b| *a == stalled || *b == stalled);
    world.run(secs(8));
    let other = node_keys(10).node();
    assert_eq!(last_verdict(&world, other, stalled), Some(Liveness::Down));
    world.cut = Box::new(|_, _| false);
    world.redial();
    let incarnation = world.hosts[&stalled].member.incarnation();
    world.run(secs(2));
    let back = world
        .alive()
        .into_iter()
        .filter(|node| *node != stalled)
        .all(|node| last_verdict(&world, node, stalled) == Some(Liveness::Alive));
    assert!(back);
    assert!(world.hosts[&stalled].member.incarnation() >= incarnation);
    world.run(secs(10));
    assert_eq!(last_verdict(&world, other, stalled), Some(Liveness::Alive));
}

#[test]
fn who_comes_back_after_its_presence_ended_is_not_counted_as_down_any_more() {
    let mut world = settled(21, 24, &["FR"], 8);
    let victim = node_keys(9).node();
    world.cut = Box::new(move |a, b| *a == victim || *b == victim);
    world.run(secs(200));
    world.cut = Box::new(|_, _| false);
    world.run(secs(30));
    for (node, host) in world.hosts.iter().filter(|(node, _)| **node != victim) {
        assert!(host.verdicts.iter().any(|(_, about, state, _)| (*about, *state) == (victim, Liveness::Down)));
        assert_eq!(last_verdict(&world, *node, victim), Some(Liveness::Alive), "{node:?}");
    }
}

#[test]
fn a_node_that_hears_a_verdict_on_itself_refutes_it() {
    let mut world = settled(23, 12, &["FR"], 6);
    let (liar, about) = (node_keys(1).node(), node_keys(2).node());
    lie(&mut world, liar, about, 1);
    world.run(secs(2));
    assert_eq!(world.hosts[&about].member.incarnation(), 2);
    for node in world.alive() {
        assert_eq!(last_verdict(&world, node, about), None, "{node:?}");
    }
}

#[test]
fn one_operator_that_lies_evicts_nobody_however_many_nodes_it_has() {
    let mut world = settled(24, 24, &["FR"], 6);
    // Four nodes of one operator, each saying of every other that it is down, again and again.
    let liars: Vec<NodeId> = (0..24).filter(|n| n % 6 == 1).map(|n| node_keys(n).node()).collect();
    for round in 1..=5 {
        for liar in &liars {
            for about in world.alive().into_iter().filter(|node| !liars.contains(node)) {
                lie(&mut world, *liar, about, round);
            }
        }
        world.run(secs(3));
    }
    assert!(world.hosts.values().all(|host| host.verdicts.is_empty()));
}

#[test]
fn a_silent_operator_cannot_evict_a_live_node() {
    let mut world = settled(25, 24, &["FR"], 6);
    // One operator's nodes neither hear nor answer anybody: they are down, all others stay.
    let silent: BTreeSet<NodeId> = (0..24).filter(|n| n % 6 == 1).map(|n| node_keys(n).node()).collect();
    let them = silent.clone();
    world.cut = Box::new(move |a, b| them.contains(a) != them.contains(b));
    world.run(secs(30));
    for (node, host) in world.hosts.iter().filter(|(node, _)| !silent.contains(*node)) {
        let evicted: Vec<_> = host.verdicts.iter().filter(|(_, about, ..)| !silent.contains(about)).collect();
        assert!(evicted.is_empty(), "{node:?}: {evicted:?}");
    }
}

#[test]
fn a_node_that_is_itself_cut_off_accuses_nobody() {
    let mut world = settled(26, 24, &["FR"], 8);
    let alone = node_keys(9).node();
    world.cut = Box::new(move |a, b| *a == alone || *b == alone);
    world.run(secs(15));
    assert!(world.hosts[&alone].verdicts.is_empty());
    let accused = world.hosts[&alone].member.records().of_kind(bocage_protocol::record::Tier::Home, Kind::VERDICT);
    assert_eq!(accused.filter(|record| record.signer().0 == alone.0).count(), 0);
}

#[test]
fn where_an_operator_is_alone_in_its_jurisdiction_those_outside_decide() {
    for (seed, victim) in [(27, 2), (28, 3), (29, 4), (30, 0)] {
        let (mut world, nodes) = demo(seed);
        world.run(secs(2));
        world.give_gates(4);
        // A member of its cell elsewhere wants to know.
        let member = nodes[(victim + 2) % 5];
        world.input(member, Input::Subscribe { subject: Subject(nodes[victim].0), wanted: true });
        world.run(secs(5));
        world.kill(nodes[victim], secs(1));
        world.run(secs(6));
        let state = last_verdict(&world, member, nodes[victim]);
        assert!(matches!(state, Some(Liveness::UnreachableFrom(_))), "victim {victim}: {state:?}");
        let (.., evidence) = world.hosts[&member].verdicts.last().unwrap();
        assert!(evidence.len() >= 2);
    }
}

#[test]
fn a_subscriber_elsewhere_hears_that_a_node_is_down_and_that_it_is_back() {
    let mut world = settled(31, 24, &["FR", "DE"], 8);
    world.give_gates(4);
    let (about, subscriber) = (node_keys(8).node(), node_keys(9).node());
    assert_ne!(world.laws[&about], world.laws[&subscriber]);
    world.links.insert((about.min(subscriber), about.max(subscriber)));
    for (node, peer) in [(about, subscriber), (subscriber, about)] {
        let certificate = Box::new(world.hosts[&peer].identity.signed_certificate().clone());
        world.input(node, Input::PeerUp { peer, certificate });
    }
    world.input(subscriber, Input::Subscribe { subject: Subject(about.0), wanted: true });
    world.run(secs(25));
    world.cut = Box::new(move |a, b| *a == about || *b == about);
    world.run(secs(8));
    assert_eq!(last_verdict(&world, subscriber, about), Some(Liveness::Down));
    world.cut = Box::new(|_, _| false);
    world.redial();
    world.run(secs(3));
    assert_eq!(last_verdict(&world, subscriber, about), Some(Liveness::Alive));
}

#[test]
fn who_asks_about_a_node_no_more_does_not_hold_it_for_down() {
    let (mut world, nodes) = demo(34);
    world.run(secs(2));
    world.give_gates(4);
    let (about, member) = (nodes[2], nodes[4]);
    world.input(member, Input::Subscribe { subject: Subject(about.0), wanted: true });
    world.run(secs(5));
    world.kill(about, secs(1));
    world.run(secs(6));
    assert!(matches!(last_verdict(&world, member, about), Some(Liveness::UnreachableFrom(_))));
    world.input(member, Input::Subscribe { subject: Subject(about.0), wanted: false });
    assert_eq!(last_verdict(&world, member, about), Some(Liveness::Alive), "nobody would tell it otherwise");
}

/// Seed 19 of `simulator/scenarios/converge.toml`: what had been known of it when it was asked about the first time was counted
/// against it.
#[test]
fn who_asks_again_about_a_node_that_is_back_never_holds_it_for_down() {
    let mut world = settled(35, 24, &["FR", "DE"], 8);
    world.give_gates(4);
    let about = node_keys(8).node();
    // No gate, so nobody is watched by it, which would bring it the same.
    let member = *world.of(world.laws[&node_keys(9).node()]).last().unwrap();
    world.link(about, member);
    world.input(member, Input::Subscribe { subject: Subject(about.0), wanted: true });
    world.run(secs(25));
    let host = world.kill(about, secs(1));
    world.run(secs(8));
    assert_eq!(last_verdict(&world, member, about), Some(Liveness::Down));
    world.input(member, Input::Subscribe { subject: Subject(about.0), wanted: false });
    world.start_with(host.identity, host.keyed, 8);
    world.run(secs(10));
    assert!(world.hosts[&about].member.incarnation() > 1, "what was said of it counts no more");
    world.link(about, member);
    let before = world.hosts[&member].verdicts.len();
    world.input(member, Input::Subscribe { subject: Subject(about.0), wanted: true });
    world.run(secs(10));
    let said: Vec<_> = world.hosts[&member].verdicts[before..].iter().filter(|(_, node, ..)| *node == about).collect();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_subscriber_whose_link_broke_hears_again_what_he_missed() {
    let mut world = settled(35, 24, &["FR", "DE"], 8);
    world.give_gates(4);
    let about = node_keys(8).node();
    // No gate, so nobody is watched by him, which would bring him the same.
    let subscriber = *world.of(world.laws[&node_keys(9).node()]).last().unwrap();
    world.link(about, subscriber);
    world.input(subscriber, Input::Subscribe { subject: Subject(about.0), wanted: true });
    world.run(secs(1));
    // Nobody else may tell him.
    world.cut = Box::new(move |a, b| *a == subscriber || *b == subscriber);
    world.apply_cut();
    let liar = *world.of(world.laws[&about]).iter().find(|node| **node != about).unwrap();
    lie(&mut world, liar, about, 1);
    world.run(secs(2));
    assert_eq!(world.hosts[&about].member.incarnation(), 2, "it refuted the liar");
    world.cut = Box::new(move |a, b| (*a == subscriber) != (*b == subscriber) && *a != about && *b != about);
    world.link(about, subscriber);
    world.run(secs(1));
    let presence = world.record(subscriber, Kind::PRESENCE, Subject(about.0)).unwrap();
    assert_eq!(presence.body.order.generation, 2);
}

#[test]
fn a_subscriber_with_many_links_elsewhere_asks_few() {
    let mut world = settled(33, 40, &["FR", "DE"], 8);
    world.give_gates(4);
    let (about, subscriber) = (node_keys(8).node(), node_keys(9).node());
    let there = world.of(world.laws[&about]);
    assert!(there.len() == 20 && !there.contains(&subscriber));
    for node in &there {
        world.link(*node, subscriber);
    }
    world.run(secs(1));
    world.asked.clear();
    world.input(subscriber, Input::Subscribe { subject: Subject(about.0), wanted: true });
    world.run(ms(60));
    assert!(world.asked.contains(&about), "he knows who watches him");
    assert!((2..=4).contains(&world.asked.len()), "three beside him at most: {:?}", world.asked);
    // Then also those who watch him, and no more.
    world.run(secs(25));
    assert!(world.asked.len() <= 4 + world.config.observers, "{:?}", world.asked);
}

#[test]
fn a_cut_off_jurisdiction_is_unreachable_not_down() {
    let mut world = settled(32, 24, &["FR", "DE", "BE"], 8);
    world.give_gates(4);
    world.run(secs(10));
    let laws = world.laws.clone();
    world.cut = Box::new(move |a, b| (laws[a] == law("FR")) != (laws[b] == law("FR")));
    world.apply_cut();
    world.run(secs(20));
    for host in world.hosts.values() {
        let down = host.verdicts.iter().find(|(_, _, state, _)| *state == Liveness::Down);
        assert_eq!(down, None);
    }
    world.cut = Box::new(|_, _| false);
    world.redial();
    world.run(ms(500));
}
