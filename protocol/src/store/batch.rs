//! What a node asks its store to keep.
use minicbor::{Decode, Encode};

use crate::{codec::Blob, id::CellId};

/// Changes that become durable together, in order: all of a batch or none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct WriteBatch {
    /// The changes.
    #[n(0)]
    pub ops: Vec<StoreOp>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoreOp {
    /// Entries of a cell's log; those at or behind the first one's index are replaced.
    #[n(0)]
    Append {
        /// Which cell.
        #[n(0)]
        cell: CellId,
        /// Contiguous.
        #[n(1)]
        entries: Vec<LogEntry>,
    },
    /// Raft's term, vote and commit.
    #[n(1)]
    HardState {
        /// Which cell.
        #[n(0)]
        cell: CellId,
        /// The whole of it.
        #[n(1)]
        state: HardState,
    },
    /// A snapshot: entries up to its index are dropped, and the snapshot before it.
    #[n(2)]
    Snapshot {
        /// Which cell.
        #[n(0)]
        cell: CellId,
        /// Where in the log, and who was a member.
        #[n(1)]
        meta: SnapshotMeta,
        /// The encoded state.
        #[n(2)]
        state: Blob,
    },
    /// Forget all of a cell, on a signed order after its grace period.
    #[n(3)]
    DropCell {
        /// Which cell.
        #[n(0)]
        cell: CellId,
    },
    /// Small keyed state: identity, records, peers. At most 1 KiB a key, 1 MiB a value.
    #[n(4)]
    Put {
        /// Ordered.
        #[n(0)]
        key: Blob,
        /// Replaces the one before.
        #[n(1)]
        value: Blob,
    },
    /// Forget a key.
    #[n(5)]
    Delete {
        /// Harmless when it is not there.
        #[n(0)]
        key: Blob,
    },
}

/// An entry of a raft log, in our own encoding.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LogEntry {
    /// From 1 up, without gaps.
    #[n(0)]
    pub index: u64,
    /// Raft's term.
    #[n(1)]
    pub term: u64,
    /// 0: a command; 1 and 2: a membership change of raft's first and second form.
    #[n(2)]
    pub kind: u8,
    /// Raft's own payload of a membership change (protobuf), or an encoded `cell::Entry`.
    #[n(3)]
    pub data: Blob,
    /// Of a membership change: the encoded `cell::Entry` that caused it.
    #[n(4)]
    pub context: Blob,
}

/// Raft's hard state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct HardState {
    /// Raft's term.
    #[n(0)]
    pub term: u64,
    /// Replica voted for in it, 0 for none.
    #[n(1)]
    pub vote: u64,
    /// Known committed index.
    #[n(2)]
    pub commit: u64,
}

/// Where a snapshot stands, and raft's membership at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotMeta {
    /// The last entry it covers.
    #[n(0)]
    pub index: u64,
    /// That entry's term.
    #[n(1)]
    pub term: u64,
    /// Replica ids that vote.
    #[n(2)]
    pub voters: Vec<u64>,
    /// Replica ids that learn.
    #[n(3)]
    pub learners: Vec<u64>,
    /// In a joint change: the voters before.
    #[n(4)]
    pub voters_outgoing: Vec<u64>,
    /// In a joint change: voters before that will learn.
    #[n(5)]
    pub learners_next: Vec<u64>,
    /// In a joint change: left by itself.
    #[n(6)]
    pub auto_leave: bool,
}

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKey {
    /// The snapshot and log of a cell that sleeps.
    Cell(CellId),
}

/// Why a disk could not do it. The node acknowledges nothing any more until it was restarted from what is on disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum DiskFault {
    /// No room: free some and restart.
    #[error("the disk is full")]
    #[n(0)]
    Full,
    /// A write or sync failed: whether it reached the disk is unknown.
    #[error("the disk failed: {0}")]
    #[n(1)]
    Failed(#[n(0)] String),
    /// What was read is not what was written.
    #[error("the disk returned other bytes than were written: {0}")]
    #[n(2)]
    Corrupt(#[n(0)] String),
}
