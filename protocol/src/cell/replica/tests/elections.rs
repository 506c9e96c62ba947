//! Who leads, and how soon.
use std::time::Duration;

use super::world::{Knobs, World};
use crate::{
    cell::{Barrier, CellConfig, Input, Reached, Replica, state::fixture},
    machine::Machine as _,
    random::Seed,
};

fn led(voters: usize) -> World {
    let mut world = World::new(1, voters, 0, Knobs::default());
    world.run_until(Duration::from_secs(1), |world| world.leader().is_some()).expect("a founded cell elects");
    world.run(Duration::from_millis(500));
    world
}

#[test]
fn a_founding_cell_elects_its_first_member_at_once() {
    for voters in [1, 3, 5] {
        let mut world = World::new(1, voters, 0, Knobs::default());
        let took = world.run_until(Duration::from_secs(2), |world| world.leader().is_some()).unwrap();
        assert!(took < Duration::from_millis(20), "{voters} voters took {took:?}");
        assert_eq!(world.leader(), Some(0));
    }
}

#[test]
fn a_founding_cell_elects_even_if_its_first_member_never_comes() {
    let mut world = World::new(1, 3, 0, Knobs::default());
    world.kill(0);
    let took = world.run_until(Duration::from_secs(3), |world| world.leader().is_some()).unwrap();
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    world.assert_sound();
}

#[test]
fn a_killed_leader_is_replaced_and_the_cell_writes_again_within_a_second() {
    for seed in 0..40 {
        let config = CellConfig::default();
        // On loopback a cell knows of a round trip of well below a tick.
        let mut world = World::near(seed, 3, Knobs { config, ..Knobs::default() });
        world.run_until(Duration::from_secs(1), |world| world.leader().is_some()).unwrap();
        world.run(Duration::from_millis(300 + 37 * seed));
        world.add_impatient_client(1);
        world.run(Duration::from_millis(200));
        let (leader, before) = (world.leader().unwrap(), world.acknowledged.len());
        world.kill(leader);
        let took = world.run_until(Duration::from_secs(5), |world| world.acknowledged.len() > before + 1).unwrap();
        assert!(took <= Duration::from_secs(1), "seed {seed}: {took:?}");
        world.assert_sound();
    }
}

#[test]
fn voters_that_lose_the_link_to_their_leader_do_not_wait_for_its_silence() {
    let mut world = led(3);
    let leader = world.leader().unwrap();
    let node = world.sites[leader].host.node();
    world.kill(leader);
    for site in (0..3).filter(|site| *site != leader) {
        world.input(site, Input::Link { node, up: false });
    }
    let took = world.run_until(Duration::from_secs(3), |world| world.leader().is_some()).unwrap();
    assert!(took < Duration::from_millis(450), "{took:?}");
}

#[test]
fn one_voter_that_loses_the_link_does_not_disturb_a_live_leader() {
    let mut world = led(3);
    let leader = world.leader().unwrap();
    let term = world.replica(leader).raw.raft.term;
    let lonely = (leader + 1) % 3;
    let node = world.sites[leader].host.node();
    world.cut(leader, lonely, true);
    world.input(lonely, Input::Link { node, up: false });
    world.run(Duration::from_secs(10));
    assert_eq!((world.leader(), world.replica(leader).raw.raft.term), (Some(leader), term));
    world.cut(leader, lonely, false);
    world.run(Duration::from_secs(2));
    assert_eq!(world.replica(leader).raw.raft.term, term);
    assert_eq!(world.replica(lonely).leader(), Some(node));
    world.assert_sound();
}

#[test]
fn rafts_own_election_draw_is_never_used() {
    let host = &fixture::hosts(1)[0];
    let genesis = fixture::genesis(std::slice::from_ref(host));
    let world = World::new(1, 1, 0, Knobs::default());
    let mut replica =
        Replica::found(CellConfig::default(), Seed([1; 32]), host.identity(), &genesis, world.clock()).unwrap();
    while replica.poll_output().is_some() {}
    for term in 2..40 {
        replica.raw.raft.become_follower(term, 0);
        let drawn = replica.raw.raft.randomized_election_timeout();
        replica.elections.settle(&mut replica.raw.raft);
        let settled = replica.raw.raft.randomized_election_timeout();
        replica.elections.assert_settled(&replica.raw.raft);
        // A single voter has the first slot, whatever raft drew from the thread's own generator.
        assert_eq!(settled, replica.elections.timing.timeout(0), "raft drew {drawn}");
    }
    let unsettled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for term in 40..60 {
            replica.raw.raft.become_follower(term, 0);
            replica.elections.assert_settled(&replica.raw.raft);
        }
    }));
    assert!(unsettled.is_err(), "a forgotten settling would go unnoticed");
}

#[test]
fn a_leader_whose_clock_runs_ahead_is_not_followed_and_does_not_move_cell_time() {
    let mut world = led(3);
    let fast = world.leader().unwrap();
    world.sites[fast].wall_ahead = Duration::from_mins(1);
    world.add_client(fast);
    world.run(Duration::from_secs(8));
    let leader = world.leader().unwrap();
    assert_ne!(leader, fast);
    assert!(world.acknowledged.len() > 10);
    assert!(world.state(leader).time() <= world.clock().wall);
    world.assert_sound();
}

#[test]
fn a_leader_that_was_cut_off_answers_no_read() {
    let mut world = led(3);
    let old = world.leader().unwrap();
    for other in (0..3).filter(|other| *other != old) {
        world.cut(old, other, true);
    }
    let stale = world.read(old, Barrier::Linear, Duration::from_secs(20));
    world.run(Duration::from_secs(5));
    assert!(matches!(world.answers.get(&stale), Some(Reached::NotLeader(_))), "{:?}", world.answers.get(&stale));
    let new = world.leader().unwrap();
    assert_ne!(new, old);
    let fresh = world.read(new, Barrier::Linear, Duration::from_secs(1));
    world.run(Duration::from_millis(100));
    assert!(matches!(world.answers.get(&fresh), Some(Reached::Yes(_))));
}
