//! The converging stores of one app as one node holds them: what guests read and write, what members lack of each other, and
//! when a deletion may be forgotten.
//!
//! All of it is in memory; [`super::keep`] says how it lies on disk. A caller makes changes durable before it tells anybody.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use super::{
    clock::{Clock, Slot, Stamp},
    value::{Count, Held, Register, integer},
    vector::{Dot, SLOTS_MAX, Vector},
    wire::{DELTA_BYTES_MAX, DELTA_ENTRIES_MAX, Entry, VALUE_BYTES_MAX},
};
use crate::{
    cell::{
        Answer, Outcome, Query, Versioned, Write,
        state::{BATCH_WRITES_MAX, KEY_BYTES_MAX, LIST_KEYS_MAX, STORE_BYTES_MAX},
    },
    refusal::{Code, Refusal},
    time::Timestamp,
};

/// An app's converging stores count at most so many bytes on a node: they live in memory there. Beyond it writes that add are
/// refused with `Full`. Tombstones count, until they are forgotten.
pub const BYTES_MAX: u64 = 16 << 20;
/// What members wrote on both sides of a cut is together at most so much; beyond it nothing more is taken over, and the members
/// stay apart until keys are deleted.
pub const MERGED_BYTES_MAX: u64 = 4 * BYTES_MAX;
/// Counted for each key besides its name and value, for the trees around it.
const KEY_OVERHEAD_BYTES: u64 = 160;

/// A key and its store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) store: String,
    pub(super) key: String,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Stores {
    /// By store and key. Nothing in it is empty.
    held: BTreeMap<String, BTreeMap<String, Held>>,
    /// Where each write is that is held.
    by_dot: BTreeMap<Dot, Arc<Name>>,
    /// Those that are nothing else.
    tombstones: BTreeSet<Name>,
    bytes: u64,
    pub(super) head: Head,
}

/// What is known beside the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Under which this node writes.
    pub(super) slot: Slot,
    /// Of each writer, up to which number all is here or over.
    pub(super) seen: Vector,
    /// All that some member had is here.
    pub(super) filled: bool,
    /// The latest tombstone that was forgotten: what is written where nothing is held must be later.
    pub(super) floor: Option<Stamp>,
    /// The writes that were forgotten tombstones.
    pub(super) forgotten: Vector,
    /// What was seen before all began anew: seen again once it is filled.
    pub(super) before: Vector,
}

/// A piece of what somebody lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) basis: Vector,
    pub(super) entries: Vec<Entry>,
    pub(super) upto: Vector,
    pub(super) more: bool,
}

impl Stores {
    /// As found on disk.
    pub(super) fn recall(head: Head, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut this = Self { head, ..Self::default() };
        for Entry { store, key, held } in entries {
            this.replace(&Name { store, key }, held);
        }
        this
    }

    pub(super) fn get(&self, name: &Name) -> Option<&Held> {
        self.held.get(&name.store)?.get(&name.key)
    }

    /// What these keys count for.
    pub(super) fn bytes_of(&self, names: &BTreeSet<Name>) -> u64 {
        names.iter().filter_map(|name| Some(counted(name, self.get(name)?))).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// All keys, tombstones included.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&String, &String, &Held)> {
        self.held.iter().flat_map(|(store, keys)| keys.iter().map(move |(key, held)| (store, key, held)))
    }

    /// What a query gives.
    ///
    /// # Errors
    /// `Invalid` for a question that is none about keys.
    pub(super) fn answer(&self, query: &Query) -> Result<Answer, Refusal> {
        match query {
            Query::Get { store, key } => {
                let held = self.held.get(store).and_then(|keys| keys.get(key));
                let version = |held: &Held| held.stamp().map_or(1, |stamp| stamp.ms.max(1));
                let value = held.and_then(|held| Some(Versioned { value: held.value()?, version: version(held) }));
                Ok(Answer::Value(value))
            }
            Query::List { store, prefix, after, limit } => {
                let Some(keys) = self.held.get(store) else {
                    return Ok(Answer::Keys { keys: Vec::new(), more: false });
                };
                let from = match after {
                    Some(after) if after >= prefix => Excluded(after.as_str()),
                    Some(_) | None => Included(prefix.as_str()),
                };
                let begins = keys.range::<str, _>((from, Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
                let mut there = begins.filter(|(_, held)| !held.is_tombstone()).map(|(key, _)| key);
                let keys = there.by_ref().take((*limit).min(LIST_KEYS_MAX) as usize).cloned().collect();
                Ok(Answer::Keys { keys, more: there.next().is_some() })
            }
            Query::Describe | Query::Capture | Query::Piece { .. } => {
                Err(no(Code::Invalid, "a converging store is asked for keys only"))
            }
        }
    }

    /// Makes all of `writes`, or none of them, and says which keys changed.
    ///
    /// # Errors
    /// `Invalid` out of bounds or when a key to increment holds no integer, `Unsupported` for compare-and-swap, `Full` beyond
    /// [`BYTES_MAX`]. Nothing changed then.
    pub(super) fn write(
        &mut self,
        clock: &mut Clock,
        wall: Timestamp,
        writes: &[Write],
    ) -> Result<(Outcome, BTreeSet<Name>), Refusal> {
        if writes.len() > BATCH_WRITES_MAX {
            return Err(no(Code::Invalid, format!("a batch has at most {BATCH_WRITES_MAX} writes")));
        }
        if self.head.seen.of(self.head.slot) == 0 && self.head.seen.len() >= SLOTS_MAX {
            return Err(no(
                Code::Full,
                format!("{SLOTS_MAX} disks have written to this app's converging stores: no other can"),
            ));
        }
        let slot = self.head.slot;
        let (mut staged, mut counters) = (BTreeMap::<Name, Held>::new(), Vec::new());
        let mut number = self.head.seen.of(slot);
        for write in writes {
            let name = named(write)?;
            let mut held = staged.get(&name).or_else(|| self.get(&name)).cloned().unwrap_or_default();
            let after = held.latest().max(self.head.floor);
            let register = |clock: &mut Clock, number, value| {
                Some(Register { stamp: clock.stamp(wall, slot, after), number, value })
            };
            match write {
                Write::Set { value, .. } => {
                    number += 1;
                    held.register = register(clock, number, Some(value.clone()));
                }
                // What is not there needs no tombstone: a write elsewhere that was not seen is not meant.
                Write::Delete { .. } if held.value().is_none() => continue,
                Write::Delete { .. } => {
                    number += 1;
                    held.register = register(clock, number, None);
                }
                Write::Increment { delta, .. } => {
                    let value = held.value();
                    if value.is_some_and(|value| integer(&value).is_none()) {
                        let detail = "a key to increment does not hold a decimal integer of 64 bits";
                        return Err(no(Code::Invalid, detail));
                    }
                    number += 1;
                    let begin = Count { number, base: held.stamp().max(self.head.floor), sum: 0 };
                    let count = held.counts.entry(slot).or_insert(begin);
                    count.number = number;
                    count.sum = count.sum.saturating_add(*delta);
                }
                Write::Swap { .. } => {
                    let detail = "compare-and-swap needs one order for all, which a converging store has not: use a strong store";
                    return Err(no(Code::Unsupported, detail));
                }
            }
            held.settle();
            if matches!(write, Write::Increment { .. }) {
                counters.push(held.value().and_then(|value| integer(&value)).unwrap_or_default());
            }
            staged.insert(name, held);
        }
        let size = |name: &Name, held: Option<&Held>| held.map_or(0, |held| counted(name, held));
        let added: u64 = staged.iter().map(|(name, held)| size(name, Some(held))).sum();
        let taken: u64 = staged.keys().map(|name| size(name, self.get(name))).sum();
        let bytes = (self.bytes + added).saturating_sub(taken);
        if added > taken && bytes > BYTES_MAX {
            let detail =
                format!("the app's converging stores would count {bytes} bytes of at most {BYTES_MAX}: delete keys");
            return Err(no(Code::Full, detail));
        }
        if number > 0 {
            self.head.seen.see(slot, number);
        }
        let changed = staged.keys().cloned().collect();
        for (name, held) in staged {
            self.replace(&name, held);
        }
        Ok((Outcome::Written { version: number.max(1), counters }, changed))
    }

    /// Takes over what another holds, and says which keys changed; `None`: there is no room. Whether all up to `upto` is seen now:
    /// only if nothing is missing before `basis`.
    pub(super) fn merge(
        &mut self,
        clock: &mut Clock,
        wall: Timestamp,
        basis: &Vector,
        entries: Vec<Entry>,
        upto: &Vector,
    ) -> Option<(BTreeSet<Name>, bool)> {
        let come: u64 = entries.iter().map(|entry| entry.held.bytes() + KEY_OVERHEAD_BYTES).sum();
        if self.bytes + come > MERGED_BYTES_MAX {
            return None;
        }
        let mut changed = BTreeSet::new();
        for Entry { store, key, mut held } in entries {
            // Whatever is seen and not here is over.
            held.without(&self.head.seen);
            if held.is_empty() {
                continue;
            }
            if let Some(latest) = held.latest() {
                clock.hear(wall, latest);
            }
            let name = Name { store, key };
            let mut merged = self.get(&name).cloned().unwrap_or_default();
            merged.merge(held);
            if self.get(&name) != Some(&merged) {
                self.replace(&name, merged);
                changed.insert(name);
            }
        }
        let follows = upto.iter().all(|(slot, _)| self.head.seen.of(slot) >= basis.of(slot));
        if follows {
            self.head.seen.join(upto);
        }
        Some((changed, follows))
    }

    /// The next piece of what somebody lacks who has seen this; of one writer only, or of all.
    pub(super) fn lacking(&self, seen: &Vector, only: Option<Slot>) -> Piece {
        let mut piece = Piece::default();
        let mut entries: BTreeMap<&Name, Held> = BTreeMap::new();
        let mut bytes = 0;
        let ours = self
            .head
            .seen
            .iter()
            .filter(|(slot, number)| only.is_none_or(|only| only == *slot) && *number > seen.of(*slot));
        'writers: for (slot, last) in ours {
            let from = seen.of(slot);
            piece.basis.see(slot, from);
            let after = (Excluded(Dot { slot, number: from }), Included(Dot { slot, number: last }));
            let mut upto = from;
            for (dot, name) in self.by_dot.range(after) {
                if bytes >= DELTA_BYTES_MAX || entries.len() >= DELTA_ENTRIES_MAX {
                    piece.upto.see(slot, upto);
                    piece.more = true;
                    break 'writers;
                }
                if let Some(part) = self.get(name).and_then(|held| part(held, *dot)) {
                    bytes += part.bytes() + KEY_OVERHEAD_BYTES;
                    entries.entry(name).or_default().merge_disjoint(part);
                }
                upto = dot.number;
            }
            piece.upto.see(slot, last);
        }
        // A vector names nobody at nothing.
        piece.basis = strict(&piece.basis);
        piece.upto = strict(&piece.upto);
        let named = |(name, held): (&Name, Held)| Entry { store: name.store.clone(), key: name.key.clone(), held };
        piece.entries = entries.into_iter().map(named).collect();
        piece
    }

    pub(super) fn has_tombstones(&self) -> bool {
        !self.tombstones.is_empty()
    }

    /// Forgets the tombstones that all have seen, and says which.
    pub(super) fn forget(&mut self, seen_by_all: &Vector) -> BTreeSet<Name> {
        let over = |name: &&Name| {
            let dot = self.get(name).and_then(|held| held.register.as_ref()).map(Register::dot);
            dot.is_some_and(|dot| seen_by_all.has(dot))
        };
        let over: BTreeSet<Name> = self.tombstones.iter().filter(over).cloned().collect();
        for name in &over {
            if let Some(register) = self.get(name).and_then(|held| held.register.clone()) {
                self.head.floor = self.head.floor.max(Some(register.stamp));
                self.head.forgotten.see(register.stamp.slot, register.number);
            }
            self.replace(name, Held::default());
        }
        over
    }

    /// Whatever `seen` covers is over; it comes again if it is not. What is left was never told. This node goes on under another
    /// slot.
    pub(super) fn begin_anew(&mut self, slot: Slot, seen: &Vector) -> BTreeSet<Name> {
        let name = |(store, key, _): (&String, &String, &Held)| Name { store: store.clone(), key: key.clone() };
        let names: Vec<Name> = self.entries().map(name).collect();
        let mut changed = BTreeSet::new();
        for name in names {
            let mut left = self.get(&name).cloned().unwrap_or_default();
            left.without(seen);
            if self.get(&name) != Some(&left) {
                self.replace(&name, left);
                changed.insert(name);
            }
        }
        let before = self.head.seen.clone();
        self.head = Head {
            slot,
            seen: Vector::default(),
            filled: false,
            forgotten: Vector::default(),
            before,
            ..self.head.clone()
        };
        changed
    }

    /// All that some member had is here.
    pub(super) fn fill(&mut self) {
        let before = std::mem::take(&mut self.head.before);
        self.head.seen.join(&before);
        self.head.filled = true;
    }

    fn replace(&mut self, name: &Name, held: Held) {
        if let Some(before) = self.held.get(&name.store).and_then(|keys| keys.get(&name.key)) {
            self.bytes = self.bytes.saturating_sub(counted(name, before));
            for dot in before.dots() {
                self.by_dot.remove(&dot);
            }
        }
        self.tombstones.remove(name);
        if held.is_empty() {
            if let Some(keys) = self.held.get_mut(&name.store) {
                keys.remove(&name.key);
                if keys.is_empty() {
                    self.held.remove(&name.store);
                }
            }
            return;
        }
        self.bytes += counted(name, &held);
        let shared = Arc::new(name.clone());
        for dot in held.dots() {
            self.by_dot.insert(dot, Arc::clone(&shared));
        }
        if held.is_tombstone() {
            self.tombstones.insert(name.clone());
        }
        self.held.entry(name.store.clone()).or_default().insert(name.key.clone(), held);
    }
}

impl Held {
    /// Adds a part that is not there yet.
    fn merge_disjoint(&mut self, part: Self) {
        self.register = self.register.take().or(part.register);
        self.counts.extend(part.counts);
    }
}

/// The part of a key that one write left.
fn part(held: &Held, dot: Dot) -> Option<Held> {
    if let Some(register) = held.register.as_ref().filter(|register| register.dot() == dot) {
        return Some(Held { register: Some(register.clone()), ..Held::default() });
    }
    let count = held.counts.get(&dot.slot).filter(|count| count.number == dot.number)?;
    Some(Held { register: None, counts: BTreeMap::from([(dot.slot, *count)]) })
}

fn strict(vector: &Vector) -> Vector {
    let mut strict = Vector::default();
    for (slot, number) in vector.iter().filter(|(_, number)| *number > 0) {
        strict.see(slot, number);
    }
    strict
}

fn counted(name: &Name, held: &Held) -> u64 {
    (name.store.len() + name.key.len()) as u64 + held.bytes() + KEY_OVERHEAD_BYTES
}

fn named(write: &Write) -> Result<Name, Refusal> {
    let (store, key) = match write {
        Write::Set { store, key, .. }
        | Write::Delete { store, key }
        | Write::Swap { store, key, .. }
        | Write::Increment { store, key, .. } => (store, key),
    };
    if !(1..=STORE_BYTES_MAX).contains(&store.len()) {
        return Err(no(Code::Invalid, format!("the name of a store has 1 to {STORE_BYTES_MAX} bytes")));
    }
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(no(Code::Invalid, format!("a key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    if let Write::Set { value, .. } = write
        && value.len() > VALUE_BYTES_MAX
    {
        let detail = format!("a value of a converging store has at most {VALUE_BYTES_MAX} bytes");
        return Err(no(Code::Invalid, detail));
    }
    Ok(Name { store: store.clone(), key: key.clone() })
}

pub(super) fn no(code: Code, detail: impl Into<String>) -> Refusal {
    Refusal::definite(code, detail)
}
