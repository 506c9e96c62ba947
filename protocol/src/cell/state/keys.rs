//! Keyed state: named stores of ordered keys, and batches that are made all or none.
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{Refusal, no};
use crate::{
    cell::{CapturedStore, Outcome, Versioned, Write},
    codec::Blob,
    refusal::Code,
};

/// The name of a store has at most so many bytes.
pub const STORE_BYTES_MAX: usize = 64;
/// A key has at most so many bytes.
pub const KEY_BYTES_MAX: usize = 1_024;
/// A value has at most so many bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// A batch has at most so many writes.
pub const BATCH_WRITES_MAX: usize = 64;
/// A list gives at most so many keys; the caller goes on after the last one.
pub const LIST_KEYS_MAX: u32 = 1_000;
/// A cell's keyed state counts at most so many bytes: it lives in memory while the cell is awake, and travels in
/// snapshots. Beyond it writes that add are refused with `Full`; writes that take away are not. A constant of these
/// rules, not of a node's configuration: replicas that bounded it differently would disagree.
pub const STATE_BYTES_MAX: u64 = 64 << 20;
/// Counted for each key besides its name and value, for the tree around it.
const KEY_OVERHEAD_BYTES: u64 = 64;

type Store = BTreeMap<String, Versioned>;

/// The stores of a cell.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Keys {
    /// None is empty.
    #[n(0)]
    stores: BTreeMap<String, Store>,
    /// What `stores` counts; kept beside it.
    #[cbor(skip)]
    bytes: u64,
}

/// What a batch would leave at the keys that it names.
type Staged<'a> = BTreeMap<(&'a str, &'a str), Option<Versioned>>;

impl Keys {
    /// Bytes of names, keys and values, and an overhead for each key.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a store has any key.
    pub(super) fn holds(&self, store: &str) -> bool {
        self.stores.contains_key(store)
    }

    pub(super) fn get(&self, store: &str, key: &str) -> Option<&Versioned> {
        self.stores.get(store)?.get(key)
    }

    /// Up to `limit` keys of `store` that start with `prefix` and come after `after`, and whether more follow.
    pub(super) fn list(&self, store: &str, prefix: &str, after: Option<&str>, limit: u32) -> (Vec<String>, bool) {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let Some(keys) = self.stores.get(store) else { return (Vec::new(), false) };
        let from = match after {
            Some(after) if after >= prefix => Excluded(after),
            Some(_) | None => Included(prefix),
        };
        let limit = limit.min(LIST_KEYS_MAX) as usize;
        let mut found =
            keys.range::<str, _>((from, Unbounded)).map(|(key, _)| key).take_while(|key| key.starts_with(prefix));
        let listed: Vec<_> = found.by_ref().take(limit).cloned().collect();
        (listed, found.next().is_some())
    }

    /// Makes all of `writes` as of `index`, or none of them.
    ///
    /// # Errors
    /// `Invalid` out of bounds or when a key to increment holds no integer; `Full` beyond [`STATE_BYTES_MAX`]. Nothing
    /// changed then, nor by [`Outcome::Conflict`].
    pub(super) fn write(&mut self, index: u64, writes: &[Write]) -> Result<Outcome, Refusal> {
        if writes.len() > BATCH_WRITES_MAX {
            return Err(no(Code::Invalid, format!("a batch has at most {BATCH_WRITES_MAX} writes")));
        }
        writes.iter().try_for_each(within_bounds)?;

        let mut staged = Staged::new();
        let mut counters = Vec::new();
        for write in writes {
            let at = place(write);
            let put = |value: &Blob| Versioned { value: value.clone(), version: index };
            let left = match write {
                Write::Set { value, .. } => Some(put(value)),
                Write::Delete { .. } => None,
                Write::Swap { expected, value, .. } => {
                    let version = self.seen(&staged, at).map_or(0, |found| found.version);
                    if version != *expected {
                        return Ok(Outcome::Conflict { version });
                    }
                    value.as_ref().map(put)
                }
                Write::Increment { delta, .. } => {
                    let before = match self.seen(&staged, at) {
                        Some(found) => integer(&found.value).ok_or_else(|| {
                            no(Code::Invalid, "a key to increment does not hold a decimal integer of 64 bits")
                        })?,
                        None => 0,
                    };
                    let after = before.saturating_add(*delta);
                    counters.push(after);
                    Some(put(&after.to_string().as_str().into()))
                }
            };
            staged.insert(at, left);
        }
        self.commit(&staged)?;
        Ok(Outcome::Written { version: index, counters })
    }

    /// A key as the batch so far would leave it.
    fn seen<'a>(&'a self, staged: &'a Staged<'a>, at: (&'a str, &'a str)) -> Option<&'a Versioned> {
        match staged.get(&at) {
            Some(left) => left.as_ref(),
            None => self.get(at.0, at.1),
        }
    }

    fn commit(&mut self, staged: &Staged) -> Result<(), Refusal> {
        let (mut added, mut taken) = (0_u64, 0_u64);
        for ((store, key), value) in staged {
            added += value.as_ref().map_or(0, |value| size(store, key, value));
            taken += self.get(store, key).map_or(0, |value| size(store, key, value));
        }
        let bytes = self.bytes.saturating_sub(taken).saturating_add(added);
        if added > taken && bytes > STATE_BYTES_MAX {
            let detail =
                format!("the cell's state would count {bytes} bytes of at most {STATE_BYTES_MAX}: delete keys");
            return Err(no(Code::Full, detail));
        }
        for ((store, key), value) in staged {
            match value {
                Some(value) => {
                    self.stores.entry((*store).to_owned()).or_default().insert((*key).to_owned(), value.clone());
                }
                None => self.remove(store, key),
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    fn remove(&mut self, store: &str, key: &str) {
        let Some(keys) = self.stores.get_mut(store) else { return };
        keys.remove(key);
        if keys.is_empty() {
            self.stores.remove(store);
        }
    }

    /// All of it.
    pub(super) fn captured(&self) -> Vec<CapturedStore> {
        let pair = |(key, held): (&String, &Versioned)| (key.clone(), held.value.clone());
        let store = |(name, keys): (&String, &Store)| CapturedStore {
            name: name.clone(),
            keys: keys.iter().map(pair).collect(),
        };
        self.stores.iter().map(store).collect()
    }

    /// Counts again, after decoding.
    pub(super) fn settle(&mut self) {
        let sizes =
            self.stores.iter().flat_map(|(store, keys)| keys.iter().map(|(key, value)| size(store, key, value)));
        self.bytes = sizes.sum();
    }
}

fn size(store: &str, key: &str, value: &Versioned) -> u64 {
    (store.len() + key.len() + value.value.len()) as u64 + KEY_OVERHEAD_BYTES
}

fn integer(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The store and key that a write names.
fn place(write: &Write) -> (&str, &str) {
    match write {
        Write::Set { store, key, .. }
        | Write::Swap { store, key, .. }
        | Write::Delete { store, key }
        | Write::Increment { store, key, .. } => (store, key),
    }
}

fn within_bounds(write: &Write) -> Result<(), Refusal> {
    let (store, key) = place(write);
    let value = match write {
        Write::Set { value, .. } => Some(value),
        Write::Swap { value, .. } => value.as_ref(),
        Write::Delete { .. } | Write::Increment { .. } => None,
    };
    if store.is_empty() || store.len() > STORE_BYTES_MAX {
        return Err(no(Code::Invalid, format!("the name of a store has 1 to {STORE_BYTES_MAX} bytes")));
    }
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(no(Code::Invalid, format!("a key has 1 to {KEY_BYTES_MAX} bytes")));
    }
    if value.is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
        return Err(no(Code::Invalid, format!("a value has at most {VALUE_BYTES_MAX} bytes")));
    }
    Ok(())
}
