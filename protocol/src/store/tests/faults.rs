//! The disk says no: full, failing, or asked for what it cannot keep.
use super::bench::{Bench, append, cell, entry, put, small, snapshot};
use crate::{
    codec::Blob,
    id::WriteId,
    store::{Blocks, DiskFault, KEY_BYTES_MAX, SegmentId, SnapshotMeta, StoreConfig, StoreOp, VALUE_BYTES_MAX},
};

fn is_failed(fault: &DiskFault) -> bool {
    matches!(fault, DiskFault::Failed(_))
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_it_is_opened_again() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![put("kept", "1")]);
    bench.blocks.fail_next_sync();
    bench.submit(vec![put("lost", "2")]);
    bench.submit(vec![put("queued", "3")]);
    bench.run();
    bench.submit(vec![put("later", "4")]);
    bench.run();
    assert_eq!(bench.persisted, [WriteId(1)]);
    assert_eq!(bench.failed.iter().map(|(write, _)| write.0).collect::<Vec<_>>(), [2, 4]);
    assert!(bench.failed.iter().all(|(_, fault)| is_failed(fault)));
    assert!(bench.load(cell(1)).is_err());
    let mut bench = bench.reopen();
    assert_eq!(bench.boot().keyed[&"kept".into()], "1".into());
    bench.persist(vec![put("later", "4")]);
}

#[test]
fn what_a_failed_sync_left_in_a_cache_is_written_again_before_it_is_built_on() {
    let mut bench = Bench::opened(small());
    bench.blocks.fail_next_sync();
    bench.submit(vec![put("cached", "1")]);
    bench.run();
    // The process starts anew on the same machine: it reads what the disk itself never took.
    let writes = bench.blocks.counts.writes;
    let bench = bench.reopen();
    assert!(bench.boot().keyed.contains_key(&"cached".into()));
    assert_eq!(bench.blocks.counts.writes - writes, 2, "the tail, then the boot counter");
    let bench = bench.crash(&mut crate::random::Seed([3; 32]).rng());
    assert!(bench.boot().keyed.contains_key(&"cached".into()));
}

#[test]
fn a_failed_write_is_as_final_as_a_failed_sync() {
    let mut bench = Bench::opened(small());
    bench.blocks.fail_next_write();
    bench.submit(vec![put("a", "1")]);
    bench.run();
    bench.submit(vec![put("b", "2")]);
    bench.run();
    assert_eq!((bench.persisted.len(), bench.failed.len()), (0, 2));
    assert!(bench.store.status().fault.is_some());
}

#[test]
fn a_full_disk_stops_acknowledgements_and_keeps_what_was_acknowledged() {
    let mut bench = Bench::opened(small());
    bench.blocks.fill(40 << 10);
    let mut written = 0;
    while bench.failed.is_empty() {
        bench.submit(vec![append(1, written + 1..=written + 1)]);
        bench.run();
        written += 1;
    }
    assert_eq!(bench.failed[0].1, DiskFault::Full);
    let acknowledged = bench.persisted.last().unwrap().0;
    bench.blocks.fill(u64::MAX);
    let mut bench = bench.reopen();
    assert!(bench.boot().cells[&cell(1)].entries.len() as u64 >= acknowledged);
    bench.persist(vec![put("there is room again", "")]);
}

#[test]
fn a_disk_that_is_full_from_the_start_does_not_open() {
    let mut blocks = Blocks::default();
    blocks.fill(100);
    let mut bench = Bench::on(blocks, small(), 1);
    bench.run();
    assert_eq!((bench.unopened, bench.boot), (Some(DiskFault::Full), None));
}

#[test]
fn an_unreadable_segment_does_not_open_and_changes_nothing() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![put("kept", "1")]);
    bench.blocks.fail_reads(SegmentId(1), true);
    let mut bench = bench.reopen();
    assert!(is_failed(bench.unopened.as_ref().unwrap()));
    bench.submit(vec![put("never", "1")]);
    assert_eq!(bench.failed.len(), 1);
    bench.blocks.fail_reads(SegmentId(1), false);
    assert_eq!(bench.reopen().boot().keyed[&"kept".into()], "1".into());
}

#[test]
fn a_batch_beyond_the_bounds_is_refused_and_so_is_all_after_it() {
    let gap = StoreOp::Append { cell: cell(1), entries: vec![entry(1, 1), entry(3, 1)] };
    let far = StoreOp::Append { cell: cell(1), entries: vec![entry(u64::MAX, 1)] };
    let long_key = StoreOp::Put { key: vec![0; KEY_BYTES_MAX + 1].into(), value: Blob::default() };
    let long_value = StoreOp::Put { key: "k".into(), value: vec![0; VALUE_BYTES_MAX + 1].into() };
    let late = StoreOp::Snapshot { cell: cell(1), meta: SnapshotMeta::default(), state: vec![0; 81 << 20].into() };
    for op in [gap, far, long_key, long_value, late] {
        let mut bench = Bench::opened(small());
        bench.submit(vec![op]);
        bench.submit(vec![put("after", "")]);
        bench.run();
        assert_eq!((bench.persisted.len(), bench.failed.len()), (0, 2));
        assert_eq!(bench.reopen().boot().keyed.len(), 0);
    }
}

#[test]
fn a_log_with_a_gap_is_never_acknowledged() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![append(1, 1..=3)]);
    bench.submit(vec![append(1, 5..=6)]);
    bench.run();
    assert_eq!(bench.failed.len(), 1);
    assert_eq!(bench.reopen().boot().cells[&cell(1)].entries.len(), 3);
}

#[test]
fn a_leader_ahead_may_send_a_snapshot_beyond_the_log() {
    let mut bench = Bench::opened(small());
    bench.persist(vec![append(1, 1..=3)]);
    bench.persist(vec![append(1, 11..=12), snapshot(1, 10, 9)]);
    assert_eq!(bench.reopen().boot().cells[&cell(1)].entries.len(), 2);
}

#[test]
fn a_disk_that_does_not_keep_up_counts_as_failed_before_memory_runs_out() {
    let mut bench = Bench::opened(StoreConfig { queue_bytes_max: 100_000, ..small() });
    while bench.failed.is_empty() {
        bench.submit(vec![snapshot(1, 1, 10_000)]);
    }
    assert!(bench.failed[0].1.to_string().contains("does not keep up"), "{:?}", bench.failed);
    assert_eq!(bench.failed[0].0, WriteId(1));
    assert_eq!(bench.store.status().queue_bytes, 0);
}
