//! Whatever crashes, is lost or cut: all replicas apply the same, and no caller is lied to.
use std::time::Duration;

use super::world::{Knobs, World};
use crate::{
    cell::CellConfig,
    planted::{Chosen, Planted},
};

const SEEDS: u64 = 64;

/// Three replicas under crashes, loss, cuts and slow disks, with clients that count; then calm, and all must be heard.
fn stormy(seed: u64) -> World {
    let config = CellConfig { snapshot_entries: 40, ..CellConfig::default() };
    let knobs =
        Knobs { delay_us: (200, 30_000), write_us: (200, 150_000), loss_per_mille: 30, config, ..Knobs::default() };
    let mut world = World::new(seed, 3, 0, knobs);
    for target in 0..4 {
        world.add_client(target % 3);
    }
    for storm in 0..14 {
        let at = Duration::from_millis(800 + storm * 600 + world.rng.below(400));
        let site = world.rng.index(3).unwrap();
        let down = Duration::from_millis(20 + world.rng.below(700));
        world.crash_at(at, site);
        world.restart_at(at + down, site);
    }
    for _ in 0..10 {
        world.run(Duration::from_millis(600));
        let (one, other) = (world.rng.index(3).unwrap(), world.rng.index(3).unwrap());
        world.cut(one, other, true);
        world.run(Duration::from_millis(300));
        world.cut(one, other, false);
    }
    world.knobs.loss_per_mille = 0;
    world.run(Duration::from_secs(3));
    world.stop_clients();
    world
}

#[test]
fn replicas_agree_and_nothing_acknowledged_is_lost_doubled_or_read_stale() {
    let (mut written, mut read) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = stormy(seed);
        assert!(
            world.run_until(Duration::from_secs(5), World::clients_are_idle).is_some(),
            "seed {seed}: a client hangs"
        );
        world.run(Duration::from_secs(1));
        world.assert_sound();
        // Every op was repeated until it was acknowledged: so the values are 1 to n without a gap, each given once.
        let count = i64::try_from(world.acknowledged.len()).unwrap();
        assert_eq!(
            world.acknowledged.last().copied().unwrap_or(0),
            count,
            "seed {seed}: an op was applied twice, or lost"
        );
        let applied: Vec<u64> = (0..3).map(|site| world.applied(site)).collect();
        assert!(applied.iter().all(|index| *index == applied[0]), "seed {seed}: {applied:?}");
        assert!(count > 10, "seed {seed}: only {count} writes");
        written += count;
        read += world.reads;
    }
    assert!(written > 3_000 && read > 1_000, "{written} writes and {read} reads in all");
}

#[test]
fn the_same_seed_gives_the_same_outputs_and_another_seed_others() {
    let trace = |seed| stormy(seed).trace.finalize();
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}

#[test]
fn a_replica_that_sends_before_its_write_is_durable_is_caught() {
    let _hasty = Chosen::new(Some(Planted::HastyAnswer));
    let caught = (0..SEEDS).filter(|seed| {
        let mut world = stormy(*seed);
        world.run(Duration::from_secs(3));
        // Replicas that disagree, a value given twice, a read that forgets what was acknowledged.
        !world.broken.is_empty()
    });
    let caught = caught.count();
    assert!(caught >= 5, "the checkers noticed on {caught} of {SEEDS} seeds only that durability was ignored");
    println!("caught on {caught} of {SEEDS} seeds");
}
