//! The disk returns other bytes than were written. It is noticed, named, and never served.
use super::{
    bench::{Bench, append, cell, put, small, snapshot, vote},
    model::Model,
};
use crate::{
    random::Seed,
    store::{Blocks, DiskFault, Rot, SegmentId, StoreConfig, StoreOp},
};

const FIRST: SegmentId = SegmentId(1);

fn find(blocks: &Blocks, needle: &[u8]) -> u64 {
    let bytes = blocks.durable(FIRST);
    bytes.windows(needle.len()).position(|window| window == needle).unwrap() as u64
}

fn is_corrupt(fault: &DiskFault) -> bool {
    matches!(fault, DiskFault::Corrupt(_))
}

/// Three cells and a key, each in frames of their own, then at rest.
fn furnished() -> Bench {
    let mut bench = Bench::opened(StoreConfig::default());
    (1..=3).for_each(|n| bench.persist(vec![vote(n, 1)]));
    bench.persist(vec![snapshot(1, 5, 777), vote(1, 3)]);
    bench.persist(vec![snapshot(2, 5, 777), vote(2, 3)]);
    bench.persist(vec![put("peer", "a rather long value to be found")]);
    bench.persist(vec![append(3, 1..=3)]);
    bench.rest();
    bench
}

#[test]
fn rot_takes_the_cell_that_it_hit_and_no_other() {
    let mut bench = furnished();
    bench.blocks.flip_bit(FIRST, find(&bench.blocks, &[2; 700]) + 50, 3);
    let mut bench = bench.reopen();
    assert_eq!(bench.boot().rot, Rot { cells: [cell(2)].into(), ..Rot::default() });
    assert_eq!(bench.boot().cells.keys().copied().collect::<Vec<_>>(), [cell(1), cell(3)]);
    assert!(is_corrupt(&bench.load(cell(2)).unwrap_err()));
    assert!(bench.load(cell(1)).unwrap().is_some());
}

#[test]
fn a_rotten_key_is_not_served_in_an_older_value_and_is_whole_once_written() {
    let mut bench = furnished();
    bench.persist(vec![put("peer", "the newer value")]);
    bench.rest();
    bench.blocks.flip_bit(FIRST, find(&bench.blocks, b"the newer value"), 0);
    let mut bench = bench.reopen();
    assert_eq!(bench.boot().rot.keys, ["peer".into()].into());
    assert!(bench.boot().keyed.is_empty());
    bench.persist(vec![put("peer", "anew")]);
    let bench = bench.reopen();
    assert_eq!(bench.boot().rot, Rot::default());
    assert_eq!(bench.boot().keyed[&"peer".into()], "anew".into());
}

#[test]
fn rot_is_remembered_until_the_cell_is_dropped() {
    let mut bench = furnished();
    bench.blocks.flip_bit(FIRST, find(&bench.blocks, &[2; 700]), 3);
    let mut bench = bench.reopen().reopen();
    assert_eq!(bench.boot().rot.cells, [cell(2)].into());
    bench.persist(vec![vote(2, 9)]);
    let mut bench = bench.reopen();
    assert_eq!(bench.boot().rot.cells, [cell(2)].into(), "a vote alone does not make it whole");
    bench.persist(vec![StoreOp::DropCell { cell: cell(2) }, snapshot(2, 8, 100)]);
    let bench = bench.reopen();
    assert_eq!(bench.boot().rot, Rot::default());
    assert_eq!(bench.boot().cells[&cell(2)].snapshot.as_ref().unwrap().meta.index, 8);
}

#[test]
fn rot_of_a_vote_that_a_later_frame_proves_is_not_taken_for_a_torn_tail() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![append(1, 1..=3)]);
    let before = bench.blocks.durable(FIRST).len() as u64;
    bench.persist(vec![vote(1, 8)]);
    bench.persist(vec![put("other", "1")]);
    bench.blocks.flip_bit(FIRST, before + 70, 1);
    let bench = bench.reopen();
    assert_eq!(bench.boot().rot.cells, [cell(1)].into());
    assert!(!bench.boot().cells.contains_key(&cell(1)));
    assert_eq!(bench.boot().keyed[&"other".into()], "1".into());
}

#[test]
fn a_lost_page_takes_all_that_was_in_it() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![append(9, 1..=1)]);
    let from = bench.blocks.durable(FIRST).len() as u64;
    (1..=6).for_each(|n| bench.persist(vec![append(n, 1..=1)]));
    let to = bench.blocks.durable(FIRST).len() as u64;
    bench.rest();
    bench.blocks.erase(FIRST, from, to - from);
    let bench = bench.reopen();
    // Nothing else on the disk bears their names.
    assert_eq!((bench.boot().rot.unnamed, bench.boot().cells.len()), (6, 1));
}

#[test]
fn where_nothing_says_what_was_lost_nothing_is_served() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![append(99, 1..=1)]);
    let from = bench.blocks.durable(FIRST).len() as u64;
    (1..=30).for_each(|n| bench.persist(vec![append(n, 1..=1)]));
    let to = bench.blocks.durable(FIRST).len() as u64;
    bench.rest();
    bench.blocks.erase(FIRST, from, to - from);
    let bench = bench.reopen();
    assert!(is_corrupt(bench.unopened.as_ref().unwrap()));
    assert!(bench.boot.is_none());
}

#[test]
fn a_load_checks_what_it_reads() {
    let mut bench = furnished();
    bench.blocks.flip_bit(FIRST, find(&bench.blocks, &[2; 700]), 3);
    assert!(is_corrupt(&bench.load(cell(2)).unwrap_err()));
    assert!(is_corrupt(&bench.load(cell(2)).unwrap_err()));
    bench.persist(vec![put("a", "b")]);
    assert_eq!(bench.reopen().boot().rot.cells, [cell(2)].into());
}

#[test]
fn compaction_does_not_wash_rot_away() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![snapshot(1, 5, 777)]);
    bench.persist(vec![snapshot(2, 5, 777), vote(2, 3)]);
    bench.blocks.flip_bit(FIRST, find(&bench.blocks, &[2; 700]), 3);
    for n in 0..400 {
        bench.persist(vec![snapshot(3, n, 500)]);
    }
    assert!(bench.blocks.durable(FIRST).is_empty(), "the first segment was trimmed");
    assert!(bench.load(cell(2)).is_err());
    let mut bench = bench.reopen();
    assert_eq!(bench.boot().rot.cells, [cell(2)].into());
    for n in 400..800 {
        bench.persist(vec![snapshot(3, n, 500)]);
    }
    let bench = bench.reopen();
    assert_eq!(bench.boot().rot.cells, [cell(2)].into(), "and is carried along itself");
    assert_eq!(bench.boot().cells[&cell(1)].snapshot.as_ref().unwrap().state.len(), 777);
}

#[test]
fn a_rotten_head_of_a_segment_is_survived_or_refused_but_never_overlooked() {
    let mut bench = furnished();
    let expected = Model::of(bench.reopen_copy().boot());
    bench.blocks.erase(FIRST, 0, 512);
    assert_eq!(Model::of(bench.reopen_copy().boot()), expected);
    bench.blocks.erase(FIRST, 2048, 512);
    let bench = bench.reopen();
    assert!(is_corrupt(bench.unopened.as_ref().unwrap()));
}

#[test]
fn a_missing_or_foreign_segment_is_not_opened() {
    let mut bench = Bench::opened(small());
    for n in 0..60 {
        bench.persist(vec![append(1, n * 9 + 1..=n * 9 + 9)]);
    }
    let segments = bench.blocks.segments();
    assert!(segments.len() > 2);
    let mut without = bench.blocks.clone();
    without.remove(segments[1].0);
    let mut opened = Bench::on(without, small(), 1);
    opened.run();
    assert!(opened.boot.is_none_or(|boot| boot.rot.cells.contains(&cell(1))));
    let mut foreign = Bench::on(Blocks::default(), small(), 2);
    foreign.run();
    let mut mixed = bench.blocks.clone();
    mixed.replace(segments[1].0, &foreign.blocks, FIRST);
    let mut opened = Bench::on(mixed, small(), 1);
    opened.run();
    assert!(is_corrupt(opened.unopened.as_ref().unwrap()));
}

/// Wherever a bit flips in what was synced and marked, each cell and key is as it was, or named as rotten.
#[test]
fn no_flipped_bit_is_ever_served() {
    let mut rng = Seed([5; 32]).rng();
    let (mut named, mut refused) = (0, 0);
    for _ in 0..60 {
        let mut bench = Bench::opened(small());
        let mut model = Model::default();
        for _ in 0..rng.below(60) {
            let batch = model.random_batch(&mut rng);
            model.apply(&batch);
            bench.persist(batch);
        }
        bench.rest();
        for _ in 0..10 {
            let mut blocks = bench.blocks.clone();
            let segments = blocks.segments();
            let (segment, _) = segments[rng.index(segments.len()).unwrap()];
            let written = blocks.durable(segment).len() as u64;
            for _ in 0..=rng.below(3) {
                blocks.flip_bit(segment, rng.below(written), u8::try_from(rng.below(8)).unwrap());
            }
            let mut opened = Bench::on(blocks, small(), 1);
            opened.run();
            let Some(boot) = &opened.boot else {
                refused += 1;
                continue;
            };
            named += u64::from(boot.rot != Rot::default());
            assert_served_is_true(&model, boot);
        }
    }
    assert!(named > 100 && refused < 60, "{named} named, {refused} refused");
}

fn assert_served_is_true(model: &Model, boot: &crate::store::Boot) {
    let nothing_unnamed = boot.rot.unnamed == 0;
    for (cell, found) in &boot.cells {
        assert_eq!(model.cells.get(cell), Some(found));
    }
    for (key, found) in &boot.keyed {
        assert_eq!(model.keyed.get(key), Some(found));
    }
    for cell in model.cells.keys() {
        assert!(boot.cells.contains_key(cell) || boot.rot.cells.contains(cell) || !nothing_unnamed);
    }
    for key in model.keyed.keys() {
        assert!(boot.keyed.contains_key(key) || boot.rot.keys.contains(key) || !nothing_unnamed);
    }
}
