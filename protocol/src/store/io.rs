//! What may happen to the store, and the block verbs that it asks for.
use super::{
    batch::{DiskFault, StoreKey, WriteBatch},
    boot::{Boot, CellBoot},
};
use crate::{
    codec::Blob,
    id::{ReadId, WriteId},
};

/// A preallocated stretch of disk, a file in the real world. Never reused under the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// Names a block verb until the driver reports on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockOp(pub u64);

/// Input of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The node wants this durable.
    Persist {
        /// Rising.
        write: WriteId,
        /// What.
        batch: WriteBatch,
    },
    /// The node wants to read.
    Load {
        /// Named in the answer.
        read: ReadId,
        /// What.
        key: StoreKey,
    },
    /// A block verb is done. Of a `Read`: the bytes; shorter than asked at the end of the segment.
    Done {
        /// Which.
        op: BlockOp,
        /// Of a `Read`.
        bytes: Option<Blob>,
    },
    /// A block verb failed.
    Failed {
        /// Which.
        op: BlockOp,
        /// Why.
        fault: DiskFault,
    },
}

/// Output of the store: the block verbs, and what the node waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Make a new segment of `size_bytes` zeros, durable with its name.
    Create {
        /// Reported by `Done`.
        op: BlockOp,
        /// Its number.
        segment: SegmentId,
        /// How long.
        size_bytes: u64,
    },
    /// Write bytes; durable only after a `Sync` asked for later is done.
    Write {
        /// Reported by `Done`.
        op: BlockOp,
        /// Where.
        segment: SegmentId,
        /// From its start.
        offset: u64,
        /// What.
        bytes: Blob,
    },
    /// Make all writes asked for so far durable.
    Sync {
        /// Reported by `Done`.
        op: BlockOp,
        /// Where.
        segment: SegmentId,
    },
    /// Read bytes.
    Read {
        /// Reported by `Done` with the bytes.
        op: BlockOp,
        /// Where.
        segment: SegmentId,
        /// From its start.
        offset: u64,
        /// How many at most.
        len: u64,
    },
    /// Take a segment away.
    Trim {
        /// Reported by `Done`.
        op: BlockOp,
        /// Which.
        segment: SegmentId,
    },
    /// All that was on disk. Once, after opening; nothing else comes before it but block verbs.
    Booted(Box<Boot>),
    /// Instead of `Booted`: what is on disk cannot be opened. Nothing comes after it.
    Unopened(DiskFault),
    /// That write and all before it are durable.
    Persisted(WriteId),
    /// That write, and every one after it, never will be.
    PersistFailed(WriteId, DiskFault),
    /// The answer to `Load`.
    Loaded {
        /// Which.
        read: ReadId,
        /// `None`: there is no such thing.
        result: Result<Option<Box<CellBoot>>, DiskFault>,
    },
}
