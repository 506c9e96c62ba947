//! What a node finds on its disk when it starts.
use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::batch::{HardState, LogEntry, SnapshotMeta};
use crate::{
    codec::Blob,
    id::{CellId, DiskId},
};

/// All that was durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// Drawn when the disk was formatted.
    pub disk: DiskId,
    /// How often a node has started from it, this time included. Pair peers remember it: on a lower one the replicas of
    /// this node count as wiped.
    pub boots: u64,
    /// Small keyed state.
    pub keyed: BTreeMap<Blob, Blob>,
    /// What is known of each cell.
    pub cells: BTreeMap<CellId, CellBoot>,
    /// What was durable once and cannot be read any more. Nothing of it is in `keyed` or `cells`.
    pub rot: Rot,
}

/// What the disk returned other bytes of than were written. Its replicas count as wiped: drop a cell (`DropCell`) before
/// anything of it is written again, else it stays here; a key is whole again once it is put or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Rot {
    /// Cells of which a vote, an entry or the snapshot may be missing.
    #[n(0)]
    pub cells: BTreeSet<CellId>,
    /// Keys of which a newer value may be missing.
    #[n(1)]
    pub keys: BTreeSet<Blob>,
    /// Cells or keys of which nothing is left but that there was something.
    #[n(2)]
    pub unnamed: u64,
}

/// One cell as found on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CellBoot {
    /// Raft's term, vote, commit.
    #[n(0)]
    pub hard_state: HardState,
    /// The newest whole snapshot.
    #[n(1)]
    pub snapshot: Option<CellSnapshot>,
    /// Entries behind it, contiguous.
    #[n(2)]
    pub entries: Vec<LogEntry>,
}

/// A snapshot as found on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CellSnapshot {
    /// Where it stands.
    #[n(0)]
    pub meta: SnapshotMeta,
    /// The encoded state.
    #[n(1)]
    pub state: Blob,
}
