//! Copies that stand away.
use std::time::Duration;

use super::world::{Knobs, STORE, World};
use crate::{
    cell::{Input, InstanceState, Reached, Write},
    membership::Liveness,
    time::Instant,
};

const PATIENCE: Duration = Duration::from_secs(3);

/// A cell of three with a copy in NL, at site 3, and with two spare hosts another in IT, at site 4.
fn world(knobs: Knobs, spare: usize) -> World {
    let mut world = World::new(7, 3, spare, Knobs { places: true, away: vec!["NL", "IT"], ..knobs });
    let took = world.run_until(Duration::from_mins(1), |world| standing(world).is_some());
    took.expect("a copy comes to stand away, and proves how fresh it is");
    world
}

fn standing(world: &World) -> Option<Instant> {
    world.sites[3].replica.as_ref()?.standing()?.proven
}

fn write(world: &mut World, seq: u64) -> bool {
    let Some(leader) = world.leader() else { return false };
    let put = Write::Set { store: STORE.into(), key: "k".into(), value: b"v".as_slice().into() };
    let command = world.write(seq, vec![put]);
    let request = world.propose(leader, command, PATIENCE);
    world.run_until(PATIENCE, |world| world.outcomes.contains_key(&request));
    matches!(world.outcomes.get(&request), Some(Reached::Yes(_)))
}

fn renew(world: &mut World, serial: u64) {
    let Some(leader) = world.leader() else { return };
    let holders: Vec<_> = world.state(leader).leases().map(|lease| lease.node).collect();
    for node in holders {
        let Some(site) = world.sites.iter().position(|site| site.host.node() == node) else { continue };
        let command = world.sites[site].host.renewal(world.state(leader), serial, InstanceState::Running);
        world.propose(leader, command, PATIENCE);
    }
}

#[test]
fn a_copy_comes_to_stand_where_the_policy_says_away_and_never_votes() {
    let mut world = world(Knobs::default(), 2);
    world.run(Duration::from_secs(10));
    let leader = world.leader().unwrap();
    let state = world.state(leader);
    let mut laws: Vec<_> = state.copies().map(|copy| copy.jurisdiction.to_string()).collect();
    laws.sort_unstable();
    assert_eq!(laws, ["IT", "NL"], "each once");
    assert_eq!(state.target_membership().voters.len(), 3);
    let conf = world.replica(leader).conf();
    assert_eq!((conf.voters.len(), conf.learners.len()), (3, 2));
    let beside = |site: usize| state.leases().any(|lease| lease.node == world.sites[site].host.node());
    assert!(beside(3) && beside(4), "an instance stands beside each");
    world.assert_sound();
}

#[test]
fn what_a_copy_has_proven_is_as_old_as_its_question_and_a_cut_proves_nothing() {
    let mut world = world(Knobs::default(), 1);
    for seq in 1..20 {
        assert!(write(&mut world, seq));
        world.run(Duration::from_millis(500));
    }
    let proven = standing(&world).unwrap();
    assert!(world.now.since(proven) <= Duration::from_secs(6), "it asks every five seconds");
    for other in 0..3 {
        world.cut(3, other, true);
    }
    world.run(Duration::from_secs(1));
    let before = standing(&world).unwrap();
    assert!(write(&mut world, 20), "home goes on");
    world.run(Duration::from_mins(2));
    assert_eq!(standing(&world), Some(before));
    for other in 0..3 {
        world.cut(3, other, false);
    }
    world.run(Duration::from_secs(2));
    for seq in 21..30 {
        assert!(write(&mut world, seq));
        world.run(Duration::from_secs(1));
    }
    assert!(standing(&world).unwrap() > before);
    let leader = world.leader().unwrap();
    assert_eq!(world.applied(3), world.applied(leader));
    world.assert_sound();
}

#[test]
fn a_cell_with_a_far_copy_falls_asleep_and_its_copy_with_it() {
    let far = Knobs { away_us: 120_000, ..Knobs::default() };
    let mut world = world(far, 1);
    // The snapshot that it started from is on offer for a minute.
    for round in 1..25 {
        world.run(Duration::from_secs(3));
        renew(&mut world, round);
    }
    let all = |world: &World| (0..4).all(|site| world.replica(site).is_asleep());
    assert!(world.run_until(Duration::from_secs(20), all).is_some(), "a round trip of 240 ms keeps nobody awake");
    let sent = world.sent;
    world.run(Duration::from_hours(1));
    assert_eq!(world.sent, sent);
    let sleeps: Vec<_> = (0..4).map(|site| world.replica(site).slumber().unwrap()).collect();
    assert!(sleeps.iter().all(|one| *one == sleeps[0]), "all name this very sleep alike");
    let until = world.now;
    world.sites[3].replica.as_mut().unwrap().closed(until);
    assert_eq!(standing(&world), Some(until), "a closed mark proves it without a word of the cell");
    assert!(write(&mut world, 1));
    world.run(Duration::from_millis(500));
    world.sites[3].replica.as_mut().unwrap().closed(until + Duration::from_mins(1));
    assert!(standing(&world).unwrap() < until + Duration::from_mins(1), "awake, no mark counts");
}

#[test]
fn a_copy_that_was_replaced_behind_a_cut_is_told_so_and_ends() {
    // Sites 3 and 8 stand in NL.
    let mut world = World::new(7, 3, 6, Knobs { places: true, away: vec!["NL"], ..Knobs::default() });
    assert!(world.run_until(Duration::from_mins(1), |world| standing(world).is_some()).is_some());
    let (copy, node) = (world.replica(3).replica(), world.sites[3].host.node());
    for other in (0..9).filter(|other| *other != 3) {
        world.cut(3, other, true);
    }
    for site in 0..3 {
        let evidence = [4, 5].iter().map(|other| world.sites[*other].host.verdict(node, Liveness::Down)).collect();
        world.input(site, Input::Link { node, up: false });
        world.input(site, Input::Verdict { node, down: true, evidence });
    }
    // Placement would name it again: it is up, and only cut off.
    let replaced = |world: &World| {
        let leader = world.leader().unwrap_or(0);
        world.state(leader).copies().all(|it| it.replica != copy) && world.state(leader).copies().count() == 1
    };
    assert!(world.run_until(Duration::from_secs(30), replaced).is_some());
    world.run(Duration::from_secs(2));
    assert!(world.sites[8].replica.is_some(), "by the other one under that law");
    assert!(world.sites[3].replica.is_some(), "which it does not know");
    world.run(Duration::from_secs(20));
    for other in (0..9).filter(|other| *other != 3) {
        world.cut(3, other, false);
    }
    let told = |world: &World| world.sites[3].left == Some(copy);
    assert!(world.run_until(Duration::from_secs(5), told).is_some());
    world.assert_sound();
}

#[test]
fn repair_of_voters_comes_first() {
    let mut world = World::new(7, 3, 3, Knobs { places: false, away: vec!["NL"], ..Knobs::default() });
    world.run(Duration::from_secs(20));
    let leader = world.leader().unwrap();
    let lost = (leader + 1) % 3;
    let node = world.sites[lost].host.node();
    world.kill(lost);
    let from = world.sought.len();
    for site in (0..3).filter(|site| *site != lost) {
        let evidence = [4, 5].iter().map(|other| world.sites[*other].host.verdict(node, Liveness::Down)).collect();
        world.input(site, Input::Verdict { node, down: true, evidence });
    }
    world.run(Duration::from_secs(40));
    let roles: Vec<_> = world.sought[from..].iter().map(|(_, need)| need.role).collect();
    assert!(roles.contains(&crate::cell::Seeking::Replica), "{roles:?}");
    assert!(!roles.contains(&crate::cell::Seeking::Copy), "{roles:?}");
}
