//! What one key of a converging store holds: a register and counters over it, whose merge is commutative, associative and
//! idempotent, so that all who have seen the same writes hold the same, in whatever order they came.
//!
//! ```text
//!   set, delete   a register of the latest stamp; a deleted one stays as a tombstone until all members have it
//!   increment     a sum for each writer, over the register that the writer saw: its *base*
//!   value         the register, plus all sums whose base is the register, or later
//! ```
//!
//! So a `set` over a counter begins it anew from the value that is set: increments that did not know of the `set` count as made
//! before it. An increment over a register that holds an integer adds to it; one over a deleted key begins at 0. Of two versions
//! of a writer's sum the one with the higher number is the later, for nobody else writes it: a merge never adds.
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{
    clock::{Slot, Stamp},
    vector::{Dot, Vector},
};
use crate::{
    codec::Blob,
    planted::{self, Planted},
};

/// What a `set` or `delete` left.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Register {
    /// When, and by whom.
    #[n(0)]
    pub stamp: Stamp,
    /// Its number among that writer's.
    #[n(1)]
    pub number: u64,
    /// `None`: deleted.
    #[n(2)]
    pub value: Option<Blob>,
}

/// What one writer has added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Count {
    /// The number of its last increment among that writer's.
    #[n(0)]
    pub number: u64,
    /// The register that it saw, or the latest that it had forgotten; `None`: none.
    #[n(1)]
    pub base: Option<Stamp>,
    /// Of all its increments over that base; saturates.
    #[n(2)]
    pub sum: i64,
}

/// All that is held of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Held {
    /// The latest.
    #[n(0)]
    pub register: Option<Register>,
    /// By writer; none is over a register older than the one above.
    #[n(1)]
    pub counts: BTreeMap<Slot, Count>,
}

impl Register {
    /// Which write it was.
    #[must_use]
    pub const fn dot(&self) -> Dot {
        Dot { slot: self.stamp.slot, number: self.number }
    }
}

impl Held {
    /// The stamp of the register.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.register.as_ref().map(|register| register.stamp)
    }

    /// The latest stamp that is named here: whatever is set later must be later.
    pub(super) fn latest(&self) -> Option<Stamp> {
        self.counts.values().filter_map(|count| count.base).max().max(self.stamp())
    }

    /// What a reader sees; `None`: there is no such key.
    #[must_use]
    pub fn value(&self) -> Option<Blob> {
        let set = self.register.as_ref().and_then(|register| register.value.as_ref());
        if self.counts.is_empty() {
            return set.cloned();
        }
        let Some(begin) = set.map_or(Some(0), |set| integer(set)) else { return set.cloned() };
        let sum: i128 = self.counts.values().map(|count| i128::from(count.sum)).sum();
        let sum = (sum + i128::from(begin)).clamp(i64::MIN.into(), i64::MAX.into());
        Some(sum.to_string().as_str().into())
    }

    /// Nothing but that it was deleted.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.counts.is_empty() && self.register.as_ref().is_some_and(|register| register.value.is_none())
    }

    /// Nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.register.is_none() && self.counts.is_empty()
    }

    /// The writes that it consists of.
    pub(super) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        let counts = self.counts.iter().map(|(slot, count)| Dot { slot: *slot, number: count.number });
        self.register.iter().map(Register::dot).chain(counts)
    }

    /// Takes over whatever is later in `other`.
    pub(super) fn merge(&mut self, other: Self) {
        if let Some(register) = other.register
            && self.stamp().is_none_or(|stamp| stamp < register.stamp)
        {
            self.register = Some(register);
        }
        for (slot, count) in other.counts {
            match self.counts.get_mut(&slot) {
                Some(own) if planted::has(Planted::SummedCounter) => {
                    own.sum = own.sum.saturating_add(count.sum);
                    own.number = own.number.max(count.number);
                }
                Some(own) if own.number >= count.number => {}
                Some(own) => *own = count,
                None => {
                    self.counts.insert(slot, count);
                }
            }
        }
        self.settle();
    }

    /// Sums over an older register are over.
    pub(super) fn settle(&mut self) {
        let stamp = self.stamp();
        self.counts.retain(|_, count| count.base >= stamp);
    }

    /// Takes away what `seen` covers: whoever has seen it and does not hold it any more has seen its end.
    pub(super) fn without(&mut self, seen: &Vector) {
        self.register = self.register.take().filter(|register| !seen.has(register.dot()));
        self.counts.retain(|slot, count| !seen.has(Dot { slot: *slot, number: count.number }));
    }

    /// Bytes that it counts for.
    pub(super) fn bytes(&self) -> u64 {
        /// A register's stamp and number, a count: what they take at most, encoded.
        const PART_BYTES: usize = 64;
        let value =
            self.register.as_ref().map_or(0, |it| PART_BYTES + it.value.as_ref().map_or(0, |value| value.len()));
        (value + self.counts.len() * PART_BYTES) as u64
    }
}

/// A decimal integer of 64 bits.
pub(super) fn integer(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
