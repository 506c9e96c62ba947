//! Garbage is freed, in small steps, and nothing with it.
use super::{
    bench::{Bench, append, cell, put, small, snapshot, vote},
    model::Model,
};
use crate::{
    random::Seed,
    store::{SegmentId, StoreConfig, StoreOp},
};

/// The same life, with and without compaction: bytes written.
fn overwrite(bench: &mut Bench) -> u64 {
    bench.persist(vec![put("old", "and never touched again"), append(1, 1..=5), vote(1, 2), snapshot(2, 7, 300)]);
    for n in 0..2_000 {
        bench.persist(vec![put("counter", &n.to_string()), snapshot(3, n, 400)]);
    }
    bench.blocks.counts.written_bytes
}

#[test]
fn a_store_that_is_overwritten_for_ever_stays_small_and_moves_less_than_it_frees() {
    let mut hoarder = Bench::opened(StoreConfig { segments_min: usize::MAX, ..small() });
    let without = overwrite(&mut hoarder);
    assert!(hoarder.blocks.segments().len() > 50);
    let mut bench = Bench::opened(small());
    let with = overwrite(&mut bench);
    assert!(bench.blocks.segments().len() <= 4 && bench.blocks.counts.trims > 50, "{:?}", bench.store.status());
    assert!(with < without * 5 / 4, "{with} bytes written instead of {without}");
    let found = Model::of(bench.reopen().boot());
    assert_eq!(found, Model::of(hoarder.reopen().boot()));
    assert_eq!(found.keyed[&"old".into()], "and never touched again".into());
    assert_eq!(found.cells[&cell(1)].entries.len(), 5);
}

#[test]
fn moved_entries_replace_nothing_that_was_appended_since() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![append(1, 1..=20)]);
    for n in 0..300 {
        bench.persist(vec![append(1, 11..=11 + n % 7), snapshot(2, n, 400)]);
    }
    assert!(bench.blocks.durable(SegmentId(1)).is_empty(), "the first segment was trimmed");
    let loaded = bench.load(cell(1)).unwrap().unwrap();
    assert_eq!(loaded.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
    assert_eq!(bench.reopen().boot().cells[&cell(1)], loaded);
}

#[test]
fn what_was_deleted_and_dropped_does_not_come_back_when_its_tombstone_is_trimmed() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![put("gone", "1"), append(1, 1..=3)]);
    bench.persist(vec![StoreOp::Delete { key: "gone".into() }, StoreOp::DropCell { cell: cell(1) }]);
    let mut rng = Seed([2; 32]).rng();
    for n in 0..200 {
        bench.persist(vec![snapshot(2, n, 400)]);
        if n % 10 == 0 {
            bench = bench.crash(&mut rng);
            assert!(bench.boot().keyed.is_empty() && bench.boot().cells.len() == 1);
        }
    }
}

#[test]
fn a_store_full_of_live_data_moves_nothing() {
    let mut bench = Bench::opened(small());
    for n in 0..500_u64 {
        bench.persist(vec![append(1, n + 1..=n + 1)]);
    }
    assert_eq!((bench.blocks.counts.trims, bench.blocks.counts.reads), (0, 0));
}

#[test]
fn each_step_of_compaction_moves_little() {
    let mut bench = Bench::opened(small());
    for n in 0..100_u64 {
        bench.persist(vec![append(1, n + 1..=n + 1)]);
    }
    let mut largest = 0;
    for n in 0..400 {
        let before = bench.blocks.counts;
        bench.submit(vec![snapshot(2, n, 900)]);
        while bench.perform() {}
        let (writes, bytes) =
            (bench.blocks.counts.writes - before.writes, bench.blocks.counts.written_bytes - before.written_bytes);
        largest = largest.max(bytes / writes.max(1));
    }
    assert!(bench.blocks.counts.trims > 5);
    assert!(largest < 6 << 10, "{largest} bytes in one write");
}

#[test]
fn a_failed_read_or_trim_stops_compaction_and_nothing_else() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![put("old", "1")]);
    bench.blocks.fail_reads(SegmentId(1), true);
    for n in 0..400 {
        bench.persist(vec![snapshot(2, n, 400)]);
    }
    assert!(bench.store.status().compaction_fault.is_some());
    bench.blocks.fail_reads(SegmentId(1), false);
    let mut bench = bench.reopen();
    assert_eq!(bench.boot().keyed.len(), 1);
    bench.persist(vec![snapshot(2, 400, 400)]);
    assert!(bench.blocks.segments().len() < 6, "it goes on after a restart");
}
