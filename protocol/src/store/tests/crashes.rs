//! Power is lost at any moment, and any part of what was not synced with it.
use super::{
    bench::{Bench, append, cell, put, small, snapshot, vote},
    model::Model,
};
use crate::{
    id::{ReadId, WriteId},
    random::{Rng, Seed},
    store::{Input, Rot, StoreConfig, StoreKey},
};

/// A world of one store: what was submitted, and what of it was acknowledged.
struct World {
    bench: Bench,
    rng: Rng,
    /// The state after each batch of this life, the first being what it booted with.
    states: Vec<Model>,
    loads: Vec<(u8, usize)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let rng = Seed([0; 32]).split_for("crashes", &seed.to_le_bytes()).rng();
        Self { bench: Bench::opened(small()), rng, states: vec![Model::default()], loads: Vec::new() }
    }

    fn live(&mut self, steps: u64) {
        for _ in 0..steps {
            match self.rng.below(100) {
                0..35 => {
                    let last = self.states.last().unwrap();
                    let (batch, mut next) = (last.random_batch(&mut self.rng), last.clone());
                    next.apply(&batch);
                    self.states.push(next);
                    self.bench.submit(batch);
                }
                35..40 => {
                    let of = u8::try_from(1 + self.rng.below(6)).unwrap();
                    self.loads.push((of, self.states.len() - 1));
                    let read = ReadId(self.loads.len() as u64 - 1);
                    self.bench.input(Input::Load { read, key: StoreKey::Cell(cell(of)) });
                }
                40..42 => self.bench.rest(),
                _ => {
                    self.bench.perform();
                }
            }
            self.check_loads();
        }
    }

    /// A load sees all that was persisted before it, and nothing that never was.
    fn check_loads(&mut self) {
        for (ReadId(read), result) in std::mem::take(&mut self.bench.loaded) {
            let (of, since) = self.loads[usize::try_from(read).unwrap()];
            let found = result.unwrap().map(|found| *found);
            let possible = self.states[since..].iter().any(|state| state.cells.get(&cell(of)) == found.as_ref());
            assert!(possible, "a load of cell {of} gave {found:?}");
        }
    }

    /// Dies in some way, perhaps again while opening, and checks what is there.
    fn die(&mut self) {
        let acknowledged = self.bench.persisted.last().map_or(0, |WriteId(write)| usize::try_from(*write).unwrap());
        let boots = self.bench.boot().boots;
        let mut blocks = self.bench.blocks.clone();
        for _ in 0..self.rng.below(3) {
            blocks.crash(&mut self.rng);
            let mut half_open = Bench::on(blocks, small(), 1);
            for _ in 0..self.rng.below(12) {
                half_open.perform();
            }
            blocks = half_open.blocks;
        }
        if self.rng.chance(200) {
            blocks.kill();
        } else {
            blocks.crash(&mut self.rng);
        }
        let mut bench = Bench::on(blocks, small(), 1);
        bench.run();
        let found = Model::of(bench.boot());
        assert!(bench.boot().boots > boots);
        assert_eq!(bench.boot().rot, Rot::default(), "a crash is not rot");
        let kept = self.states.iter().skip(acknowledged).any(|state| *state == found);
        assert!(kept, "found neither what was acknowledged nor a longer prefix of what was submitted");
        self.states = vec![found];
        self.loads.clear();
        self.bench = bench;
    }
}

#[test]
fn what_was_acknowledged_survives_every_crash_and_batches_are_atomic() {
    let (mut trims, mut lives) = (0, 0);
    for seed in 0..400 {
        let mut world = World::new(seed);
        for _ in 0..5 {
            let steps = 20 + world.rng.below(300);
            world.live(steps);
            world.die();
            lives += 1;
        }
        trims += world.bench.blocks.counts.trims;
    }
    assert!(lives == 2_000 && trims > 400, "compaction was hardly met: {trims} segments trimmed");
}

#[test]
fn a_first_boot_that_is_cut_short_starts_again() {
    for cut in 0..12 {
        for seed in 0..20 {
            let mut rng = Seed([seed; 32]).rng();
            let mut bench = Bench::new(small());
            for _ in 0..cut {
                bench.perform();
            }
            let bench = bench.crash(&mut rng);
            assert!((1..=2).contains(&bench.boot().boots));
            assert_eq!(Model::of(bench.boot()), Model::default());
        }
    }
}

#[test]
fn the_boot_counter_rises_and_the_disk_stays_the_same() {
    let mut bench = Bench::opened(small());
    let disk = bench.boot().disk;
    for boots in 2..6 {
        bench = bench.reopen();
        assert_eq!((bench.boot().boots, bench.boot().disk), (boots, disk));
    }
}

#[test]
fn the_boot_counter_is_durable_before_the_node_boots() {
    let mut bench = Bench::new(small());
    while bench.boot.is_none() {
        assert!(bench.perform());
    }
    let mut rng = Seed([1; 32]).rng();
    assert_eq!(bench.crash(&mut rng).boot().boots, 2);
}

#[test]
fn a_node_finds_its_cells_as_it_left_them() {
    let mut bench = Bench::opened(StoreConfig::default());
    bench.persist(vec![append(1, 1..=9), vote(1, 4), put("peer", "there")]);
    bench.persist(vec![snapshot(1, 6, 5_000), append(1, 9..=12)]);
    bench.persist(vec![append(2, 1..=3)]);
    let loaded = bench.load(cell(1)).unwrap().unwrap();
    let bench = bench.reopen();
    let found = &bench.boot().cells[&cell(1)];
    assert_eq!(found, &loaded);
    assert_eq!(found.hard_state.vote, 4);
    assert_eq!(found.snapshot.as_ref().unwrap().meta.index, 6);
    assert_eq!(found.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [7, 8, 9, 10, 11, 12]);
    assert_eq!(bench.boot().keyed[&"peer".into()], "there".into());
}

#[test]
fn a_load_of_what_is_not_there_says_so() {
    let mut bench = Bench::opened(small());
    assert_eq!(bench.load(cell(1)), Ok(None));
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    let mut bench = Bench::opened(small());
    for _ in 0..3 {
        bench.persist(vec![append(1, 1..=40)]);
        bench.persist(vec![snapshot(2, 5, 100_000)]);
    }
    assert_eq!(bench.load(cell(2)).unwrap().unwrap().snapshot.unwrap().state.len(), 100_000);
    let bench = bench.reopen();
    assert_eq!(bench.boot().cells[&cell(2)].snapshot.as_ref().unwrap().state.len(), 100_000);
    assert_eq!(bench.boot().cells[&cell(1)].entries.len(), 40);
}

#[test]
fn one_sync_carries_the_writes_of_many_cells() {
    let mut bench = Bench::opened(StoreConfig::default());
    let before = bench.blocks.counts;
    let writes: Vec<WriteId> = (0..200).map(|n| bench.submit(vec![append(n, 1..=1), vote(n, 1)])).collect();
    bench.run();
    // The first goes at once; all that came while its sync was under way go with the second.
    assert_eq!(bench.blocks.counts.syncs - before.syncs, 2);
    assert_eq!(bench.blocks.counts.writes - before.writes, 2);
    assert_eq!(bench.persisted, [writes[0], writes[199]]);
}

#[test]
fn an_idle_store_wants_no_waking() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![put("a", "b")]);
    bench.rest();
    let syncs = bench.blocks.counts.syncs;
    assert_eq!(crate::machine::Machine::poll_timeout(&bench.store), None);
    bench.rest();
    assert_eq!(bench.blocks.counts.syncs, syncs);
}
