//! Followers that fell behind, disks that fail, logs that stay short.
use std::time::Duration;

use super::world::{COUNTER, Knobs, STORE, World, is_timeout};
use crate::{
    cell::{Barrier, CellConfig, Input, Reached, state::fixture},
    id::WriteId,
    refusal::{Certainty, Code},
    store::DiskFault,
};

fn small_log() -> World {
    let config = CellConfig { snapshot_entries: 20, ..CellConfig::default() };
    let mut world = World::new(5, 3, 0, Knobs { config, ..Knobs::default() });
    world.run(Duration::from_millis(300));
    world
}

fn write_some(world: &mut World, from: u64, count: u64) {
    for seq in from..from + count {
        let leader = world.leader().expect("somebody leads");
        let command = world.write(seq, vec![fixture::set(STORE, COUNTER, &seq.to_string())]);
        world.propose(leader, command, Duration::from_secs(5));
        world.run(Duration::from_millis(20));
    }
}

#[test]
fn a_follower_far_behind_fetches_a_snapshot_and_survives_a_restart_after_it() {
    let mut world = small_log();
    let leader = world.leader().unwrap();
    let lost = (leader + 1) % 3;
    world.kill(lost);
    write_some(&mut world, 1, 200);
    world.restart_at(Duration::ZERO, lost);
    let took = world.run_until(Duration::from_secs(10), |world| world.applied(lost) == world.applied(leader));
    assert!(took.is_some_and(|took| took < Duration::from_secs(3)), "{took:?}");
    assert!(world.fetched > 0, "it was behind the log, so it had to fetch");
    // At once, before what it installed is durable; then again, with it on disk.
    for (calm, fetched) in [(0, 2), (300, 2)] {
        world.run(Duration::from_millis(calm));
        world.kill(lost);
        world.restart_at(Duration::from_millis(10), lost);
        world.run(Duration::from_secs(3));
        assert_eq!((world.applied(lost), world.fetched), (world.applied(leader), fetched));
    }
    world.assert_sound();
}

#[test]
fn a_lost_offer_is_repeated_and_a_failed_fetch_tried_again() {
    let mut world = small_log();
    let leader = world.leader().unwrap();
    let lost = (leader + 1) % 3;
    world.kill(lost);
    write_some(&mut world, 1, 100);
    world.knobs.loss_per_mille = 400;
    world.restart_at(Duration::ZERO, lost);
    world.run(Duration::from_secs(3));
    world.knobs.loss_per_mille = 0;
    let leader = world.run_until(Duration::from_secs(3), |world| world.leader().is_some()).and_then(|_| world.leader());
    let leader = leader.unwrap();
    assert!(world.run_until(Duration::from_secs(8), |world| world.applied(lost) == world.applied(leader)).is_some());
    world.assert_sound();
}

#[test]
fn the_log_in_memory_and_on_disk_stays_short() {
    let mut world = small_log();
    write_some(&mut world, 1, 300);
    for site in 0..3 {
        let log = &world.replica(site).raw.raft.raft_log;
        let held = log.last_index() + 1 - log.first_index();
        assert!(held <= 20 + 5 + 1, "site {site} holds {held} entries");
    }
}

#[test]
fn a_replica_whose_disk_failed_acknowledges_nothing_any_more() {
    let mut world = small_log();
    let leader = world.leader().unwrap();
    let command = world.write(1, vec![fixture::set(STORE, COUNTER, "1")]);
    let open = world.propose(leader, command, Duration::from_secs(5));
    world.input(leader, Input::PersistFailed(WriteId(9_999), DiskFault::Full));
    let Some(Reached::No(refusal)) = world.outcomes.get(&open) else { panic!("{:?}", world.outcomes) };
    assert_eq!(refusal.certainty, Certainty::Indefinite);
    let command = world.write(2, vec![fixture::set(STORE, COUNTER, "2")]);
    let refused = world.propose(leader, command, Duration::from_secs(5));
    let Some(Reached::No(refusal)) = world.outcomes.get(&refused) else { panic!("{:?}", world.outcomes) };
    assert_eq!((refusal.code, refusal.certainty), (Code::DiskFailed, Certainty::Definite));
    assert!(world.replica(leader).stopped().is_some());
    // The others go on without it.
    world.run(Duration::from_secs(3));
    assert!(world.leader().is_some_and(|new| new != leader));
}

#[test]
fn a_read_that_asks_for_an_index_waits_for_it_at_any_replica() {
    let mut world = small_log();
    let leader = world.leader().unwrap();
    let follower = (leader + 1) % 3;
    let next = world.applied(leader) + 1;
    let early = world.read(follower, Barrier::AtLeast(next), Duration::from_secs(2));
    let never = world.read(follower, Barrier::AtLeast(next + 1_000), Duration::from_millis(500));
    world.run(Duration::from_millis(100));
    assert!(!world.answers.contains_key(&early));
    write_some(&mut world, 1, 1);
    world.run(Duration::from_secs(1));
    assert!(matches!(world.answers.get(&early), Some(Reached::Yes(answered)) if answered.index >= next));
    assert!(is_timeout(world.answers.get(&never).unwrap()));
}
