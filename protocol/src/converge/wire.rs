//! What members of an app say to each other of its converging stores.
//!
//! ```text
//!   one ──Have: all up to these numbers──→ other      when a link comes up, a second after a change, and until both agree
//!       ←──Delta: what you lack, up to these───       at most 256 KiB; the next piece follows the next Have
//!       ←──Anew: you were away too long────────       what I have seen and do not hold is over: begin from nothing
//!       ←──Gone───────────────────────────────       I hold nothing of this app any more
//! ```
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{
    clock::{STAMP_MS_MAX, Slot},
    value::Held,
    vector::{SLOTS_MAX, Vector},
};
use crate::cell::state::{KEY_BYTES_MAX, STORE_BYTES_MAX};

/// A value of a converging store has at most so many bytes: it travels in frames.
pub const VALUE_BYTES_MAX: usize = 256 << 10;
/// A `Delta` counts at most so many bytes, and one entry more.
pub const DELTA_BYTES_MAX: u64 = 256 << 10;
/// Entries of one `Delta`.
pub const DELTA_ENTRIES_MAX: usize = 4_096;
/// Numbers of writes end here.
const NUMBER_MAX: u64 = 1 << 53;

/// What one member says to another. Only to who said in its Hello that it knows such frames.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// So much is durable here.
    #[n(0)]
    Have {
        /// Of each writer, all up to this.
        #[n(0)]
        seen: Vector,
        /// It holds the whole, and does not only begin to.
        #[n(1)]
        filled: bool,
        /// Say the same of yourself.
        #[n(2)]
        ask: bool,
    },
    /// What you lack.
    #[n(1)]
    Delta {
        /// It holds for who has seen all up to this of the writers named.
        #[n(0)]
        basis: Vector,
        /// All that is held of theirs between.
        #[n(1)]
        entries: Vec<Entry>,
        /// Who takes them has seen all up to this.
        #[n(2)]
        upto: Vector,
        /// There is more behind it.
        #[n(3)]
        more: bool,
    },
    /// You missed the end of keys that nobody remembers any more. Whatever you hold of what I have seen is over, unless I hold it.
    #[n(2)]
    Anew {
        /// All that is seen here.
        #[n(0)]
        seen: Vector,
    },
    /// Nothing of it is here any more.
    #[n(3)]
    Gone,
}

/// What is new of one key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// The store's name.
    #[n(0)]
    pub store: String,
    /// The key.
    #[n(1)]
    pub key: String,
    /// Those of its parts that are new.
    #[n(2)]
    pub held: Held,
}

impl Message {
    /// Whether it stays within what any honest member says.
    #[must_use]
    pub fn is_lawful(&self) -> bool {
        let lawful = |vector: &Vector| {
            vector.len() <= SLOTS_MAX && vector.iter().all(|(_, number)| (1..=NUMBER_MAX).contains(&number))
        };
        match self {
            Self::Gone => true,
            Self::Have { seen, .. } | Self::Anew { seen } => lawful(seen),
            Self::Delta { basis, entries, upto, .. } => {
                let few = entries.len() <= DELTA_ENTRIES_MAX;
                few && lawful(basis) && lawful(upto) && entries.iter().all(Entry::is_lawful)
            }
        }
    }
}

impl Entry {
    fn is_lawful(&self) -> bool {
        let names = (1..=STORE_BYTES_MAX).contains(&self.store.len()) && (1..=KEY_BYTES_MAX).contains(&self.key.len());
        let register = self.held.register.as_ref().is_none_or(|it| {
            let fits = it.value.as_ref().is_none_or(|value| value.len() <= VALUE_BYTES_MAX);
            fits && it.stamp.ms <= STAMP_MS_MAX && (1..=NUMBER_MAX).contains(&it.number)
        });
        let counts: &BTreeMap<Slot, _> = &self.held.counts;
        let sums = counts
            .values()
            .all(|it| (1..=NUMBER_MAX).contains(&it.number) && it.base.is_none_or(|base| base.ms <= STAMP_MS_MAX));
        names && register && counts.len() <= SLOTS_MAX && sums
    }
}
