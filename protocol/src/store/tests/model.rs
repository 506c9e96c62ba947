//! What a store must hold after a list of batches, kept the simplest way; and random batches as a node makes them.
use std::collections::BTreeMap;

use super::bench::cell;
use crate::{
    codec::Blob,
    id::CellId,
    random::Rng,
    store::{Boot, CellBoot, CellSnapshot, HardState, LogEntry, SnapshotMeta, StoreOp},
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) keyed: BTreeMap<Blob, Blob>,
    pub(super) cells: BTreeMap<CellId, CellBoot>,
}

impl Model {
    pub(super) fn of(boot: &Boot) -> Self {
        Self { keyed: boot.keyed.clone(), cells: boot.cells.clone() }
    }

    pub(super) fn apply(&mut self, ops: &[StoreOp]) {
        for op in ops.iter().cloned() {
            match op {
                StoreOp::Append { cell, entries } => {
                    let log = &mut self.cells.entry(cell).or_default().entries;
                    log.retain(|old| old.index < entries[0].index);
                    log.extend(entries);
                }
                StoreOp::HardState { cell, state } => self.cells.entry(cell).or_default().hard_state = state,
                StoreOp::Snapshot { cell, meta, state } => {
                    let of = self.cells.entry(cell).or_default();
                    of.entries.retain(|entry| entry.index > meta.index);
                    of.snapshot = Some(CellSnapshot { meta, state });
                }
                StoreOp::DropCell { cell } => {
                    self.cells.remove(&cell);
                }
                StoreOp::Put { key, value } => {
                    self.keyed.insert(key, value);
                }
                StoreOp::Delete { key } => {
                    self.keyed.remove(&key);
                }
            }
        }
    }

    /// A batch that a node in this state might make.
    pub(super) fn random_batch(&self, rng: &mut Rng) -> Vec<StoreOp> {
        let mut after = self.clone();
        let mut batch = Vec::new();
        for _ in 0..=rng.below(3) {
            let op = after.random_op(rng);
            after.apply(std::slice::from_ref(&op));
            batch.push(op);
        }
        batch
    }

    fn random_op(&self, rng: &mut Rng) -> StoreOp {
        let cell = cell(u8::try_from(1 + rng.below(6)).unwrap());
        let empty = CellBoot::default();
        let of = self.cells.get(&cell).unwrap_or(&empty);
        let start = of.snapshot.as_ref().map_or(0, |snapshot| snapshot.meta.index);
        let last = of.entries.last().map_or(start, |entry| entry.index);
        match rng.below(100) {
            0..40 => {
                // Mostly behind the log, at times over its end.
                let first = if rng.chance(800) { last + 1 } else { start + 1 + rng.below(last - start + 1) };
                let entries = (first..=first + rng.below(4)).map(|index| random_entry(rng, index)).collect();
                StoreOp::Append { cell, entries }
            }
            40..60 => {
                StoreOp::HardState { cell, state: HardState { term: rng.next(), vote: rng.below(9), commit: last } }
            }
            60..70 => {
                // Of its own log, or from a leader that is ahead.
                let index = if rng.chance(800) { start + rng.below(last - start + 1) } else { last + rng.below(9) };
                let meta = SnapshotMeta { index, term: rng.below(9), voters: vec![1, 2, 3], ..SnapshotMeta::default() };
                StoreOp::Snapshot { cell, meta, state: random_bytes(rng, 600) }
            }
            70..72 => StoreOp::DropCell { cell },
            72..92 => StoreOp::Put { key: random_key(rng), value: random_bytes(rng, 120) },
            _ => StoreOp::Delete { key: random_key(rng) },
        }
    }
}

fn random_entry(rng: &mut Rng, index: u64) -> LogEntry {
    let data = random_bytes(rng, 300);
    LogEntry { index, term: rng.below(9), kind: 0, data, context: random_bytes(rng, 8) }
}

fn random_key(rng: &mut Rng) -> Blob {
    format!("key-{}", rng.below(30)).as_str().into()
}

fn random_bytes(rng: &mut Rng, len_max: u64) -> Blob {
    let mut bytes = vec![0; usize::try_from(rng.below(len_max)).unwrap()];
    rng.fill(&mut bytes);
    bytes.into()
}
