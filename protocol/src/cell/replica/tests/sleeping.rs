//! Cells that fall asleep, and what wakes them.
use std::time::Duration;

use super::world::{Knobs, STORE, World};
use crate::{
    cell::{Answer, Barrier, InstanceState, Message, Reached, Write},
    id::NodeId,
    machine::Machine as _,
};

const PATIENCE: Duration = Duration::from_secs(3);

/// A cell whose hosts renew until all has been announced, and that sleeps then.
fn asleep(knobs: Knobs) -> World {
    let mut world = World::new(5, 3, 1, knobs);
    for round in 1..8 {
        world.run(Duration::from_secs(3));
        renew(&mut world, round);
    }
    let took = world.run_until(Duration::from_secs(20), all_sleep);
    took.expect("a quiet cell falls asleep");
    world
}

fn renew(world: &mut World, serial: u64) {
    let Some(leader) = world.leader() else { return };
    let holders: Vec<NodeId> = world.state(leader).leases().map(|lease| lease.node).collect();
    for node in holders {
        let Some(site) = world.sites.iter().position(|site| site.host.node() == node) else { continue };
        let command = world.sites[site].host.renewal(world.state(leader), serial, InstanceState::Running);
        world.propose(leader, command, PATIENCE);
    }
}

fn all_sleep(world: &World) -> bool {
    (0..3).all(|site| world.sites[site].replica.as_ref().is_some_and(super::super::Replica::is_asleep))
}

fn term(world: &World) -> u64 {
    (0..3).map(|site| world.replica(site).raw.raft.term).max().unwrap()
}

fn write(world: &mut World, site: usize, seq: u64) -> bool {
    let put = Write::Set { store: STORE.into(), key: "k".into(), value: b"v".as_slice().into() };
    let command = world.write(seq, vec![put]);
    let request = world.propose(site, command, PATIENCE);
    world.run_until(PATIENCE, |world| world.outcomes.contains_key(&request));
    matches!(world.outcomes.get(&request), Some(Reached::Yes(_)))
}

#[test]
fn a_quiet_cell_has_no_timer_and_sends_nothing() {
    let mut world = asleep(Knobs::default());
    let (sent, term) = (world.sent, term(&world));
    world.run(Duration::from_hours(2));
    assert_eq!(world.sent, sent);
    for site in 0..3 {
        assert_eq!(world.replica(site).poll_timeout(), None, "site {site}");
    }
    assert_eq!(self::term(&world), term);
    world.assert_sound();
}

#[test]
fn the_first_write_and_the_first_read_wake_it_and_it_falls_asleep_again() {
    let mut world = asleep(Knobs::default());
    let (leader, term) = (world.leader().unwrap(), term(&world));
    for seq in 1..4 {
        world.run(Duration::from_hours(1));
        let before = world.now;
        assert!(write(&mut world, leader, seq));
        assert!(world.now.since(before) < Duration::from_millis(50), "{:?}", world.now.since(before));
        assert!(world.run_until(Duration::from_secs(8), all_sleep).is_some());
        let request = world.read(leader, Barrier::Linear, PATIENCE);
        world.run(Duration::from_millis(50));
        let Some(Reached::Yes(answered)) = world.answers.get(&request) else { panic!("not answered at once") };
        assert!(matches!(answered.answers[0], Answer::Value(_)));
        assert!(world.run_until(Duration::from_secs(8), all_sleep).is_some());
    }
    assert_eq!(self::term(&world), term, "nobody campaigned");
    world.assert_sound();
}

#[test]
fn no_lease_ends_for_a_silence_that_was_the_cells_own() {
    let mut world = asleep(Knobs::default());
    let leader = world.leader().unwrap();
    let before = world.state(leader).leases().count();
    world.run(Duration::from_hours(1));
    // Awake for almost as long as a lease lasts, with nobody renewing.
    for seq in 1..9 {
        assert!(write(&mut world, leader, seq));
        world.run(Duration::from_secs(1));
    }
    assert_eq!(world.state(leader).leases().count(), before);
}

#[test]
fn a_cell_that_loses_its_leader_in_its_sleep_elects_another() {
    let mut world = asleep(Knobs::default());
    let leader = world.leader().unwrap();
    world.kill(leader);
    let other = |world: &World| world.leader().is_some_and(|now| now != leader);
    let took = world.run_until(Duration::from_secs(10), other).expect("the others noticed");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let next = world.leader().unwrap();
    assert!(write(&mut world, next, 1));
    assert!(!world.replica(next).is_asleep(), "it has a voter to replace");
    world.restart_at(Duration::ZERO, leader);
    let took = world.run_until(Duration::from_secs(20), all_sleep);
    assert!(took.is_some(), "whole again, it sleeps");
    world.assert_sound();
}

#[test]
fn members_that_restart_are_told_who_leads_and_the_cell_sleeps_again() {
    for crashed in 0..3 {
        let mut world = asleep(Knobs::default());
        let leader = world.leader().unwrap();
        world.kill(crashed);
        world.restart_at(Duration::from_millis(100), crashed);
        world.run(Duration::from_millis(200));
        assert!(world.run_until(Duration::from_secs(30), all_sleep).is_some(), "member {crashed}");
        let leads = world.leader().unwrap();
        assert!(crashed == leader || leads == leader, "only a leader's own restart costs it the lead");
        assert!(write(&mut world, leads, 1));
        world.assert_sound();
    }
}

#[test]
fn a_cut_in_its_sleep_leaves_the_majority_writing_and_one_leader_after_healing() {
    let mut world = asleep(Knobs::default());
    let leader = world.leader().unwrap();
    let others: Vec<usize> = (0..3).filter(|site| *site != leader).collect();
    for other in &others {
        world.cut(leader, *other, true);
    }
    world.run(Duration::from_secs(5));
    let next = others.iter().copied().find(|site| world.replica(*site).is_leader()).expect("the majority elects");
    assert!(!world.replica(leader).is_leader(), "it saw that it leads nobody");
    assert!(write(&mut world, next, 1));
    for other in &others {
        world.cut(leader, *other, false);
    }
    assert!(world.run_until(Duration::from_secs(30), all_sleep).is_some());
    assert_eq!(world.applied(leader), world.applied(next));
    world.assert_sound();
}

#[test]
fn lost_words_delay_sleep_and_harm_nothing() {
    let mut world = asleep(Knobs { loss_per_mille: 200, ..Knobs::default() });
    let leader = world.leader().unwrap();
    world.run(Duration::from_mins(10));
    assert!(all_sleep(&world) || world.run_until(Duration::from_mins(1), all_sleep).is_some());
    assert_eq!(world.leader(), Some(leader));
    assert!(write(&mut world, leader, 1));
    world.assert_sound();
}

#[test]
fn only_its_leader_puts_a_replica_to_sleep_and_only_where_its_log_ends() {
    let mut world = asleep(Knobs::default());
    let leader = world.leader().unwrap();
    let [one, other] = [(leader + 1) % 3, (leader + 2) % 3];
    assert!(write(&mut world, leader, 1));
    world.run(Duration::from_millis(1_200));
    assert!(!all_sleep(&world) && world.applied(one) == world.applied(leader), "awake, and nothing to do");
    let (line, term, index) = (world.replica(one).line(), term(&world), world.applied(one));
    let said = [
        (other, line, term, index, false),
        (leader, line, term, index + 1, false),
        (leader, line, term, index - 1, false),
        (leader, line, term + 1, index, false),
        (leader, line + 1, term, index, false),
        (leader, line, term, index, true),
    ];
    for (by, line, term, index, sleeps) in said {
        let from = world.sites[by].host.node();
        let message = Message::Sleep { line, term, index };
        world.input(one, super::super::Input::Received { from, message });
        assert_eq!(world.replica(one).is_asleep(), sleeps, "site {by} said {line} {term} {index}");
    }
}
