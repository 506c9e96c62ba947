//! Callers: answered once, told whom to ask, never lied to about what may still happen.
use std::time::Duration;

use super::world::{COUNTER, Knobs, STORE, World, counter};
use crate::{
    cell::{Barrier, Outcome, Reached, state::fixture},
    refusal::{Certainty, Code},
};

fn led() -> (World, usize) {
    let mut world = World::new(2, 3, 0, Knobs::default());
    world.run(Duration::from_millis(300));
    let leader = world.leader().expect("a founded cell elects");
    (world, leader)
}

#[test]
fn a_retry_gets_the_first_outcome_without_another_entry() {
    let (mut world, leader) = led();
    let command = world.write(1, vec![fixture::set(STORE, COUNTER, "5")]);
    let first = world.propose(leader, command.clone(), Duration::from_secs(1));
    world.run(Duration::from_millis(50));
    let index = world.replica(leader).raw.raft.raft_log.last_index();
    let again = world.propose(leader, command, Duration::from_secs(1));
    assert_eq!(world.replica(leader).raw.raft.raft_log.last_index(), index);
    let outcome = |world: &World, request| match &world.outcomes[&request] {
        Reached::Yes(applied) => applied.outcome.clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(outcome(&world, first), Outcome::Written { .. }));
    assert_eq!(outcome(&world, first), outcome(&world, again));
}

#[test]
fn who_asks_a_cell_for_a_converging_store_is_told_where_it_is() {
    let mut world = World::new(2, 3, 0, Knobs { converging: vec![STORE], ..Knobs::default() });
    world.run(Duration::from_millis(300));
    let leader = world.leader().expect("a founded cell elects");
    for (at, barrier) in [(leader, Barrier::Linear), ((leader + 1) % 3, Barrier::AtLeast(0))] {
        let asked = world.read(at, barrier, Duration::from_secs(1));
        world.run(Duration::from_millis(100));
        let Reached::No(refusal) = &world.answers[&asked] else { panic!("{:?}", world.answers[&asked]) };
        assert_eq!(refusal.code, Code::NotFound);
        assert!(refusal.detail.contains("only nodes that host the app hold it"), "{}", refusal.detail);
    }
}

#[test]
fn a_follower_names_the_leader() {
    let (mut world, leader) = led();
    let node = world.sites[leader].host.node();
    let command = world.write(1, vec![fixture::set(STORE, COUNTER, "5")]);
    let asked = world.propose((leader + 1) % 3, command, Duration::from_secs(1));
    assert_eq!(world.outcomes[&asked], Reached::NotLeader(Some(node)));
    let read = world.read((leader + 2) % 3, Barrier::Linear, Duration::from_secs(1));
    assert_eq!(world.answers[&read], Reached::NotLeader(Some(node)));
}

#[test]
fn a_proposal_without_a_majority_is_indefinite_at_its_deadline_and_answered_once() {
    let (mut world, leader) = led();
    for other in (0..3).filter(|other| *other != leader) {
        world.cut(leader, other, true);
    }
    let command = world.write(1, vec![fixture::set(STORE, COUNTER, "5")]);
    let asked = world.propose(leader, command, Duration::from_millis(200));
    world.run(Duration::from_millis(260));
    let Reached::No(refusal) = &world.outcomes[&asked] else { panic!("{:?}", world.outcomes[&asked]) };
    assert_eq!(refusal.certainty, Certainty::Indefinite);
    for other in (0..3).filter(|other| *other != leader) {
        world.cut(leader, other, false);
    }
    world.run(Duration::from_secs(3));
    world.assert_sound();
}

#[test]
fn a_single_voter_writes_and_reads() {
    let mut world = World::new(3, 1, 0, Knobs::default());
    world.run(Duration::from_millis(100));
    let command = world.write(1, vec![fixture::set(STORE, COUNTER, "7")]);
    let wrote = world.propose(0, command, Duration::from_secs(1));
    world.run(Duration::from_millis(50));
    assert!(matches!(world.outcomes[&wrote], Reached::Yes(_)));
    let read = world.read(0, Barrier::Linear, Duration::from_secs(1));
    let Reached::Yes(answered) = &world.answers[&read] else { panic!("{:?}", world.answers[&read]) };
    assert_eq!(counter(&answered.answers[0]), 7);
    world.kill(0);
    world.restart_at(Duration::from_millis(10), 0);
    world.run(Duration::from_secs(2));
    let read = world.read(0, Barrier::Linear, Duration::from_secs(1));
    let Reached::Yes(answered) = &world.answers[&read] else { panic!("{:?}", world.answers[&read]) };
    assert_eq!(counter(&answered.answers[0]), 7);
    world.assert_sound();
}

#[test]
fn many_reads_share_a_round() {
    let (mut world, leader) = led();
    let reads: Vec<_> = (0..50).map(|_| world.read(leader, Barrier::Linear, Duration::from_secs(1))).collect();
    let rounds = world.replica(leader).raw.raft.pending_read_count();
    assert_eq!(rounds, 1, "one round is under way, however many wait");
    world.run(Duration::from_millis(20));
    assert!(reads.iter().all(|read| matches!(world.answers.get(read), Some(Reached::Yes(_)))));
}
