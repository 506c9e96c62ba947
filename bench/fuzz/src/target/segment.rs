//! Blocks that a disk gives back: raw segments, and whole frames with arbitrary payloads, which no honest store wrote but
//! which carry the disk's own checks. The store opens or says why not; what it opened it can go on with.
use std::{collections::VecDeque, time::Duration};

use bocage_protocol::{
    codec::{self, Blob},
    id::WriteId,
    machine::Machine,
    random::Seed,
    store::{Blocks, Input, Output, SegmentId, Store, StoreConfig, StoreOp, WriteBatch, blocks},
    time::{Instant, Now, Timestamp},
};

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "segment",
    about: "segments of the block store with arbitrary frames, opened and written on",
    run,
    seeds,
    bytes_max: 32 << 10,
    heap: None,
};

fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: 16 << 10,
        group_bytes_max: 2 << 10,
        compact_bytes: 2 << 10,
        segments_min: 2,
        ..StoreConfig::default()
    }
}

fn run(bytes: &[u8]) {
    // Frames' payloads, then raw bytes of one more segment.
    let Ok((payloads, raw)) = codec::decode::<(Vec<Blob>, Blob)>("segments", bytes) else { return };
    let mut blocks = Blocks::default();
    let seed = Seed([1; 32]);
    let sealed = blocks::sealed_segment(seed, SegmentId(1), &payloads);
    blocks.restore(SegmentId(1), sealed.len() as u64 + 4096, &sealed);
    if !raw.is_empty() {
        blocks.restore(SegmentId(2), raw.len() as u64 + 512, &raw);
    }
    let mut now = Now { instant: Instant::START, wall: Timestamp(1) };
    let mut store = Store::open(config(), seed, blocks.segments(), now);
    let Some(()) = settle(&mut store, &mut blocks, now) else { return };
    for n in 1..4_u64 {
        let ops = vec![StoreOp::Put { key: Blob::from(&n.to_be_bytes()[..]), value: Blob::from(vec![7; 3_000]) }];
        store.handle_input(now, Input::Persist { write: WriteId(n), batch: WriteBatch { ops } });
        let _ = settle(&mut store, &mut blocks, now);
        now.instant = now.instant + Duration::from_secs(1);
        store.handle_timeout(now);
        let _ = settle(&mut store, &mut blocks, now);
    }
    let mut again = Store::open(config(), seed, blocks.segments(), now);
    let _ = settle(&mut again, &mut blocks, now);
}

/// Performs all verbs; whether it booted.
fn settle(store: &mut Store, blocks: &mut Blocks, now: Now) -> Option<()> {
    let (mut booted, mut verbs) = (None, VecDeque::new());
    for _ in 0..20_000 {
        while let Some(output) = store.poll_output() {
            if matches!(output, Output::Booted(_)) {
                booted = Some(());
            }
            verbs.push_back(output);
        }
        let Some(verb) = verbs.pop_front() else { return booted };
        if let Some(report) = blocks.perform(&verb) {
            store.handle_input(now, report);
        }
    }
    panic!("the store does not come to rest")
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let cell = &world::cell();
    let boot = &cell.boot;
    let snapshot = boot.snapshot.clone().expect("the fixture has a snapshot");
    let ops = vec![
        StoreOp::Snapshot { cell: cell.id, meta: snapshot.meta, state: Blob::from("state") },
        StoreOp::HardState { cell: cell.id, state: boot.hard_state },
        StoreOp::Append { cell: cell.id, entries: boot.entries.iter().take(3).cloned().collect() },
        StoreOp::Put { key: "key".into(), value: "value".into() },
        StoreOp::Delete { key: "key".into() },
        StoreOp::DropCell { cell: cell.id },
    ];
    let payloads: Vec<Blob> = ops.iter().map(|op| blocks::payload(std::slice::from_ref(op))).collect();
    let together = blocks::payload(&ops);
    let one = (vec![together.clone()], Blob::default());
    let each = (payloads.clone(), Blob::default());
    let raw = blocks::sealed_segment(Seed([1; 32]), SegmentId(2), &payloads);
    let with_raw = (payloads, Blob::from(raw));
    vec![
        ("together".into(), codec::encode(&one).to_vec()),
        ("each".into(), codec::encode(&each).to_vec()),
        ("two-segments".into(), codec::encode(&with_raw).to_vec()),
    ]
}
