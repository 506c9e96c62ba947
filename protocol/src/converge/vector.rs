//! Which writes somebody has seen: of each writer all up to a number, so that what one lacks of another is exact and cheap to say.
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::clock::Slot;

/// Writers of one cell that are told apart: each disk that ever wrote. A frame that names more is dropped.
pub const SLOTS_MAX: usize = 1_024;

/// The number of a write: of its writer's, the so many-eth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Dot {
    /// Who.
    #[n(0)]
    pub slot: Slot,
    /// From 1 up.
    #[n(1)]
    pub number: u64,
}

/// Of each writer, up to which number all is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Vector(#[n(0)] BTreeMap<Slot, u64>);

impl Vector {
    /// All up to these.
    #[must_use]
    pub fn up_to(dots: impl IntoIterator<Item = Dot>) -> Self {
        let mut this = Self::default();
        dots.into_iter().for_each(|dot| this.see(dot.slot, dot.number));
        this
    }

    /// Up to which number all of this writer's is seen; 0: nothing.
    #[must_use]
    pub fn of(&self, slot: Slot) -> u64 {
        self.0.get(&slot).copied().unwrap_or(0)
    }

    /// Whether this write is seen.
    #[must_use]
    pub fn has(&self, dot: Dot) -> bool {
        dot.number <= self.of(dot.slot)
    }

    /// Whether all that `other` has seen is seen.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(slot, number)| self.of(*slot) >= *number)
    }

    /// Nothing is seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many writers it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Writers and numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, u64)> + '_ {
        self.0.iter().map(|(slot, number)| (*slot, *number))
    }

    /// All up to this one is seen.
    pub(super) fn see(&mut self, slot: Slot, number: u64) {
        let seen = self.0.entry(slot).or_default();
        *seen = number.max(*seen);
    }

    /// What both have seen.
    pub(super) fn meet(&self, other: &Self) -> Self {
        let both = self.iter().map(|(slot, number)| (slot, number.min(other.of(slot))));
        Self(both.filter(|(_, number)| *number > 0).collect())
    }

    /// What either has seen.
    pub(super) fn join(&mut self, other: &Self) {
        for (slot, number) in other.iter() {
            self.see(slot, number);
        }
    }
}
