//! The segment store: what a node must not lose, as a machine over block verbs. Raft's logs, hard states and snapshots of
//! all cells, and small keyed state, in one append-only log with one sync for many cells.
mod batch;
mod boot;
mod io;

pub use batch::{DiskFault, HardState, LogEntry, SnapshotMeta, StoreKey, StoreOp, WriteBatch};
pub use boot::{Boot, CellBoot, CellSnapshot};
pub use io::{BlockOp, Input, Output, SegmentId};
