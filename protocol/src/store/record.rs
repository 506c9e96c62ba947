//! What a frame carries: the node's own operations, and what the store notes for itself.
use std::collections::{BTreeSet, VecDeque};

use minicbor::{Decode, Encode};

use super::batch::{LogEntry, StoreOp};
use crate::{codec::Blob, id::CellId};

/// The payload of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Payload {
    /// Whom the frames before it were about, in case one of them rots.
    #[n(0)]
    pub(super) before: Before,
    /// What happened, in order. Empty: a mark, which only says what is synced.
    #[n(1)]
    pub(super) records: Vec<Record>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Record {
    /// The node said so.
    #[n(0)]
    Op(#[n(0)] StoreOp),
    /// Compaction carried these entries along. Unlike an append they replace only themselves.
    #[n(1)]
    Moved {
        #[n(0)]
        cell: CellId,
        #[n(1)]
        entries: Vec<LogEntry>,
    },
    /// Something of this rotted: it is not served until it is dropped or written anew.
    #[n(2)]
    Lost(#[n(0)] Name, #[n(1)] Subject),
}

/// A cell or a key in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub(super) struct Name(#[n(0)] u64);

/// What a [`Name`] stands for, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(super) enum Subject {
    /// Nothing else on the disk bears the name.
    #[n(0)]
    Unknown,
    #[n(1)]
    Cell(#[n(0)] CellId),
    #[n(2)]
    Key(#[n(0)] Blob),
}

/// Whom the last frames before this one touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Before {
    /// All of them.
    #[n(0)]
    pub(super) names: Vec<Name>,
    /// Of each frame, the one right before first: places in `names`.
    #[n(1)]
    pub(super) frames: Vec<Vec<u16>>,
}

impl Before {
    /// Whom the frames from `first` up to this one, `seq`, touched; `None` if that is not known of all.
    pub(super) fn touched(&self, first: u64, seq: u64) -> Option<BTreeSet<Name>> {
        let count = usize::try_from(seq.saturating_sub(first)).ok()?;
        let places = self.frames.get(..count)?.iter().flatten();
        places.map(|place| self.names.get(usize::from(*place)).copied()).collect()
    }
}

impl Name {
    pub(super) fn of_cell(cell: CellId) -> Self {
        Self::first_of(&cell.0)
    }

    pub(super) fn of_key(key: &[u8]) -> Self {
        Self::first_of(blake3::hash(key).as_bytes())
    }

    fn first_of(bytes: &[u8; 32]) -> Self {
        Self(bytes[..8].iter().fold(0, |name, byte| name << 8 | u64::from(*byte)))
    }
}

/// No index of a log comes near: sums with it cannot overflow. A frame with a higher one was not written by any store.
const INDEX_MAX: u64 = 1 << 62;

impl Record {
    /// Whether a store may have written it: entries follow each other, and no index is beyond all bounds. Replay relies on
    /// it, so a bug of another version does not spread.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Op(StoreOp::Append { entries, .. }) | Self::Moved { entries, .. } => {
                entries.first().is_none_or(|first| first.index < INDEX_MAX)
                    && entries.windows(2).all(|pair| pair[0].index.checked_add(1) == Some(pair[1].index))
            }
            Self::Op(StoreOp::Snapshot { meta, .. }) => meta.index < INDEX_MAX,
            Self::Op(
                StoreOp::HardState { .. } | StoreOp::DropCell { .. } | StoreOp::Put { .. } | StoreOp::Delete { .. },
            )
            | Self::Lost(..) => true,
        }
    }

    /// Whom it is about.
    pub(super) fn name(&self) -> Name {
        match self {
            Self::Op(
                StoreOp::Append { cell, .. }
                | StoreOp::HardState { cell, .. }
                | StoreOp::Snapshot { cell, .. }
                | StoreOp::DropCell { cell },
            )
            | Self::Moved { cell, .. } => Name::of_cell(*cell),
            Self::Op(StoreOp::Put { key, .. } | StoreOp::Delete { key }) => Name::of_key(key),
            Self::Lost(name, _) => *name,
        }
    }
}

/// Bytes that an operation takes at least; entries and values count in full.
pub(super) fn op_bytes(op: &StoreOp) -> u64 {
    match op {
        StoreOp::Append { entries, .. } => entries.iter().map(entry_bytes).sum::<u64>() + 34,
        StoreOp::Snapshot { state, .. } => state.len() as u64 + 40,
        StoreOp::HardState { .. } => HARD_STATE_BYTES,
        StoreOp::DropCell { .. } => 34,
        StoreOp::Put { key, value } => put_bytes(key, value),
        StoreOp::Delete { key } => key.len() as u64,
    }
}

/// Bytes that an entry takes at least.
pub(super) fn entry_bytes(entry: &LogEntry) -> u64 {
    (entry.data.len() + entry.context.len()) as u64 + 6
}

/// Bytes that a keyed value takes at least.
pub(super) fn put_bytes(key: &Blob, value: &Blob) -> u64 {
    (key.len() + value.len()) as u64
}

/// Bytes that a hard state takes at least.
pub(super) const HARD_STATE_BYTES: u64 = 40;

/// How many names a frame repeats, unless the one before it alone has more.
const NAMES: usize = 8;
/// How far back names are repeated: a page of 4 KiB holds about so many small frames.
const FRAMES_BACK_MAX: usize = 24;

/// Whom the last frames were about.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<BTreeSet<Name>>);

impl Recent {
    /// A frame of `bytes` is written.
    pub(super) fn note(&mut self, bytes: u64, records: &[Record]) {
        let names: BTreeSet<Name> = records.iter().map(Record::name).collect();
        // One name per 64 bytes at most, so that repeating them costs little; a frame with more of them goes unnamed.
        if names.len() as u64 > (bytes / 64 + NAMES as u64).min(u64::from(u16::MAX)) {
            self.0.clear();
            return;
        }
        self.0.push_front(names);
        self.0.truncate(FRAMES_BACK_MAX);
    }

    /// A frame was lost: it and those before it cannot be named any more.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// What the next frame says of those before it.
    pub(super) fn before(&self) -> Before {
        let mut names = BTreeSet::new();
        let mut count = 0;
        for touched in &self.0 {
            if count > 0 && names.union(touched).count() > NAMES {
                break;
            }
            names.extend(touched);
            count += 1;
        }
        let names: Vec<Name> = names.into_iter().collect();
        let place = |name: &Name| {
            let at = names.binary_search(name).expect("every touched name was gathered above");
            u16::try_from(at).expect("a frame with more names goes unnamed")
        };
        let frames = self.0.iter().take(count).map(|touched| touched.iter().map(place).collect()).collect();
        Before { names, frames }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(key: u8) -> Record {
        Record::Op(StoreOp::Delete { key: vec![key].into() })
    }

    #[test]
    fn a_frame_names_those_before_it_as_far_back_as_few_names_go() {
        let mut recent = Recent::default();
        for key in 1..=40 {
            recent.note(100, &[delete(key)]);
        }
        let before = recent.before();
        assert_eq!((before.frames.len(), before.names.len()), (8, 8));
        assert_eq!(before.touched(39, 41), Some([delete(39).name(), delete(40).name()].into()));
        assert_eq!(before.touched(32, 41), None);
        let mut same = Recent::default();
        for _ in 1..=40 {
            same.note(100, &[delete(1)]);
        }
        assert_eq!((same.before().frames.len(), same.before().names.len()), (FRAMES_BACK_MAX, 1));
    }

    #[test]
    fn a_large_frame_is_named_in_full_once_and_not_again() {
        let mut recent = Recent::default();
        let many: Vec<Record> = (0..200).map(delete).collect();
        recent.note(100_000, &many);
        assert_eq!((recent.before().frames.len(), recent.before().names.len()), (1, 200));
        recent.note(100, &[delete(1)]);
        assert_eq!((recent.before().frames.len(), recent.before().names.len()), (1, 1));
    }

    #[test]
    fn a_frame_of_too_many_tiny_things_goes_unnamed() {
        let mut recent = Recent::default();
        let many: Vec<Record> = (0..200).map(delete).collect();
        recent.note(1_000, &many);
        assert_eq!(recent.before(), Before::default());
        assert_eq!(recent.before().touched(1, 2), None);
    }
}
