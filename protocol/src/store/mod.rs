//! The segment store: what a node must not lose, as a machine over block verbs. Raft's logs, hard states and snapshots of
//! all cells, and small keyed state, in one append-only log with one sync for many cells.
//!
//! ```text
//!  Persist ─► queue ─► frames ─► Write + Sync ─► Persisted        (machine, head, frame, record)
//!                        │
//!                        └─► index: what is live, and where       (index, usage)
//!                                │
//!     Load ◄── Read ◄────────────┼──► Read ─► queue … Trim        (load, compaction)
//!                                │
//!     segments ─► replay ────────┴──► Booted                      (segment, opening, replay)
//! ```
//!
//! - A batch is one *frame*, whole or not there. Frames are numbered and chained, and say up to where the log was
//!   synced when they were written: so replay tells the torn tail of a crash (dropped: nobody was told of it) from rot
//!   in what was synced (named in [`Rot`], and never served).
//! - A *segment* is preallocated, written once from front to back, and never used again.
//! - What is known not to be detected: rot of the very last write when the node dies within `mark_after` of it, and a
//!   whole disk put back to an earlier state (for that, peers remember [`Boot::boots`]).
mod config;
mod batch;
mod boot;
mod io;
mod machine;
mod limits;
mod record;
mod head;
mod frame;
mod segment;
mod spare;
mod index;
mod usage;
mod opening;
mod replay;
mod load;
mod compaction;

#[cfg(any(test, feature = "fixtures"))]
pub mod blocks;
#[cfg(test)]
mod tests;

pub use batch::{DiskFault, HardState, LogEntry, SnapshotMeta, StoreKey, StoreOp, WriteBatch};
#[cfg(any(test, feature = "fixtures"))]
pub use blocks::Blocks;
pub use boot::{Boot, CellBoot, CellSnapshot, Rot};
pub use config::{BATCH_BYTES_MAX, KEY_BYTES_MAX, StoreConfig, VALUE_BYTES_MAX};
pub use io::{BlockOp, Input, Output, SegmentId};
pub use machine::{Store, StoreStatus};
