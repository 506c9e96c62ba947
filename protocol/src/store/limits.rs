//! What the store takes. A batch beyond it is a fault of the node: nothing is acknowledged from it on.
use super::{
    batch::{DiskFault, LogEntry, StoreOp, WriteBatch},
    config::{BATCH_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX},
    index::Index,
    record::{Name, Record, op_bytes},
};

/// Bytes that an operation or entry takes at most beside what [`op_bytes`] counts, its share of the frame included.
const OVERHEAD_BYTES: u64 = 128;

/// Bytes that a batch takes at most.
pub(super) fn batch_bytes(batch: &WriteBatch) -> u64 {
    let more = |op: &StoreOp| match op {
        StoreOp::Append { entries, .. } => entries.len() as u64 * 32,
        StoreOp::Snapshot { meta, .. } => {
            let members = [&meta.voters, &meta.learners, &meta.voters_outgoing, &meta.learners_next];
            members.iter().map(|ids| ids.len() as u64 * 9).sum()
        }
        StoreOp::HardState { .. } | StoreOp::DropCell { .. } | StoreOp::Put { .. } | StoreOp::Delete { .. } => 0,
    };
    OVERHEAD_BYTES + batch.ops.iter().map(|op| op_bytes(op) + more(op) + OVERHEAD_BYTES).sum::<u64>()
}

/// Bounds of one batch by itself.
pub(super) fn check(batch: &WriteBatch) -> Result<(), DiskFault> {
    let refuse = |why: String| Err(DiskFault::Failed(format!("asked to keep {why}")));
    let bytes = batch_bytes(batch);
    if bytes > BATCH_BYTES_MAX {
        return refuse(format!("a batch of {bytes} bytes, more than {BATCH_BYTES_MAX}"));
    }
    for op in &batch.ops {
        match op {
            StoreOp::Append { cell, entries } if !are_contiguous(entries) => {
                return refuse(format!("entries of cell {} that do not follow each other", cell.short()));
            }
            StoreOp::Put { key, value } if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX => {
                return refuse(format!("a key of {} bytes with a value of {}", key.len(), value.len()));
            }
            StoreOp::Snapshot { cell, meta, .. } if meta.index == u64::MAX => {
                return refuse(format!("a snapshot of cell {} at the end of time", cell.short()));
            }
            StoreOp::Append { .. }
            | StoreOp::HardState { .. }
            | StoreOp::Snapshot { .. }
            | StoreOp::DropCell { .. }
            | StoreOp::Put { .. }
            | StoreOp::Delete { .. } => {}
        }
    }
    Ok(())
}

/// After a batch was laid out: no cell that it touched has a gap in its log.
pub(super) fn check_whole(index: &Index, records: &[Record]) -> Result<(), DiskFault> {
    let with_gap = records.iter().find_map(|record| {
        let (cell, appended) = match record {
            Record::Op(StoreOp::Append { cell, entries }) => (cell, Some(entries.first()?.index)),
            Record::Op(StoreOp::Snapshot { cell, .. }) => (cell, None),
            Record::Op(
                StoreOp::HardState { .. } | StoreOp::DropCell { .. } | StoreOp::Put { .. } | StoreOp::Delete { .. },
            )
            | Record::Moved { .. }
            | Record::Lost(..) => return None,
        };
        let log = index.cell(*cell).filter(|_| !index.is_lost(Name::of_cell(*cell)))?;
        let whole = appended.map_or_else(|| log.is_whole(), |first| log.is_joined_at(first));
        (!whole).then_some(cell)
    });
    match with_gap {
        Some(cell) => Err(DiskFault::Failed(format!("asked to keep a log with a gap, of cell {}", cell.short()))),
        None => Ok(()),
    }
}

fn are_contiguous(entries: &[LogEntry]) -> bool {
    let follows = entries.windows(2).all(|pair| pair[0].index.checked_add(1) == Some(pair[1].index));
    follows && entries.last().is_none_or(|last| last.index < u64::MAX)
}
