//! Nodes that drain or stop: others lead first, take over, and only then does a replica end.
use std::time::Duration;

use super::world::{Knobs, World};
use crate::{
    cell::{Input, Message, RaftMessage, state::fixture},
    codec::Blob,
    id::ReplicaId,
};

/// A cell of three whose members have agreed on rules that know of draining, with spare hosts and a client.
fn world(seed: u64, spare: usize, loss_per_mille: u64) -> World {
    let knobs = Knobs { places: true, loss_per_mille, ..Knobs::default() };
    let mut world = World::new(seed, 3, spare, knobs);
    let agreed = |world: &World| world.leader().is_some_and(|at| world.state(at).rules() >= 3);
    world.run_until(Duration::from_secs(90), agreed).expect("the members say which rules they support");
    let leader = world.leader().unwrap();
    world.add_impatient_client(leader);
    world.run(Duration::from_millis(300));
    world
}

fn drain(world: &mut World, which: usize) {
    let host = &world.sites[which].host;
    let (node, presence) = (host.node(), host.presence(Some(fixture::FOUNDED)));
    for site in 0..world.sites.len() {
        world.input(site, Input::Drain { node, presence: Some(Box::new(presence.clone())) });
    }
}

#[test]
fn a_leader_that_stops_lets_another_lead_within_a_few_round_trips() {
    for seed in 0..20 {
        let mut world = world(seed, 0, 0);
        let leader = world.leader().unwrap();
        let (term, before) = (world.replica(leader).raw.raft.term, world.acknowledged.len());
        world.input(leader, Input::Depart);
        let moved = |world: &World| world.leader().is_some_and(|now| now != leader);
        let took = world.run_until(Duration::from_secs(5), moved).expect("another leads");
        assert!(took < Duration::from_millis(20), "seed {seed}: {took:?}");
        let next = world.leader().unwrap();
        assert_eq!(world.replica(next).raw.raft.term, term + 1, "one election, won at the first attempt");
        let took = world.run_until(Duration::from_secs(2), |world| world.acknowledged.len() > before + 1);
        assert!(took.is_some_and(|took| took < Duration::from_millis(150)), "seed {seed}: {took:?}");
        world.run(Duration::from_secs(2));
        assert_eq!(world.leader(), Some(next), "and it stays so");
        world.assert_sound();
    }
}

#[test]
fn a_leader_whose_heir_does_not_take_over_goes_on_and_asks_the_next() {
    let mut world = world(3, 0, 0);
    let leader = world.leader().unwrap();
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    // Both look fit; whoever is asked first is dead.
    let heir = others[0];
    world.kill(heir);
    world.input(leader, Input::Depart);
    let moved = |world: &World| world.leader() == Some(others[1]);
    let took = world.run_until(Duration::from_secs(10), moved).expect("the other one leads in the end");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let before = world.acknowledged.len();
    world.run(Duration::from_secs(1));
    assert!(world.acknowledged.len() > before + 5);
    world.assert_sound();
}

#[test]
fn a_drained_node_ends_with_nothing_and_no_acknowledged_write_is_lost() {
    for (seed, loss) in [(1, 0), (2, 0), (3, 20), (4, 50), (5, 100)] {
        let mut world = world(seed, 2, loss);
        let leader = world.leader().unwrap();
        let gone = world.replica(leader).replica();
        drain(&mut world, leader);
        let empty = |world: &World| world.sites[leader].left == Some(gone);
        let took = world.run_until(Duration::from_mins(1), empty);
        assert!(took.is_some(), "seed {seed}, loss {loss}: it holds a replica still");
        assert!(loss > 0 || took < Some(Duration::from_secs(5)), "seed {seed}: {took:?}");
        let now = world.leader().expect("the cell is led");
        let mut voters = world.replica(now).conf().voters.clone();
        voters.sort_unstable();
        assert_eq!(voters.len(), 3);
        assert!(voters.contains(&4) && !voters.contains(&gone.0), "{voters:?}");
        let before = world.acknowledged.len();
        world.run(Duration::from_secs(3));
        assert!(world.acknowledged.len() > before + 5, "seed {seed}: it goes on writing");
        world.assert_sound();
    }
}

#[test]
fn a_forced_vote_is_heard_only_of_whom_the_leader_named() {
    let mut world = world(7, 0, 0);
    let leader = world.leader().unwrap();
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    let (liar, victim) = (others[0], others[1]);
    let term = world.replica(leader).raw.raft.term;
    let last = world.replica(leader).raw.raft.raft_log.last_index();
    let message = |world: &World, kind, to: usize, term, index, context: &[u8]| RaftMessage {
        kind,
        to: world.replica(to).replica().0,
        from: world.replica(liar).replica().0,
        term,
        log_term: term,
        index,
        entries: Vec::new(),
        commit: 0,
        commit_term: 0,
        snapshot: None,
        reject: false,
        reject_hint: 0,
        request_snapshot: 0,
        priority: 0,
        context: Blob::from(context),
    };
    let say = |world: &mut World, to: usize, message: RaftMessage| {
        let (from, line) = (world.sites[liar].host.node(), world.state(to).line());
        world.input(to, Input::Received { from, message: Message::Raft { line, message } });
    };
    let own = world.replica(liar).replica().0;
    for _ in 0..50 {
        // It asks for forced votes, names itself the heir, and hands the victim a lead that it does not have.
        for to in [leader, victim] {
            let vote = message(&world, 5, to, term + 1, last + 100, b"CampaignTransfer");
            say(&mut world, to, vote);
            let notice = message(&world, 13, to, term, own, b"");
            say(&mut world, to, notice);
            let now = message(&world, 14, to, term, 0, b"");
            say(&mut world, to, now);
        }
        world.run(Duration::from_millis(20));
    }
    assert_eq!((world.leader(), world.replica(leader).raw.raft.term), (Some(leader), term), "nobody was moved");
    assert!(world.state(victim).node_of(ReplicaId(own)).is_some());
    world.assert_sound();
}
