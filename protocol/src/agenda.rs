//! Which part of a composite machine wants waking when, so that a step costs the same with one cell or ten thousand.
use std::collections::{BTreeMap, BTreeSet};

use crate::{machine::Deadline, time::Now};

/// The deadline index of a composite machine: one deadline per key, earliest first, ties in key order.
#[derive(Debug)]
pub struct Agenda<K> {
    by_time: BTreeSet<(Deadline, K)>,
    by_key: BTreeMap<K, Deadline>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Agenda<K> {
    /// Replaces the deadline of `key`; `None` forgets it.
    pub fn set(&mut self, key: K, deadline: Option<Deadline>) {
        if self.by_key.get(&key).copied() == deadline {
            return;
        }
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, key));
        }
        if let Some(deadline) = deadline {
            self.by_key.insert(key, deadline);
            self.by_time.insert((deadline, key));
        }
    }

    /// The earliest deadline of all keys.
    #[must_use]
    pub fn first(&self) -> Option<Deadline> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the earliest key due at or before `now`.
    pub fn pop_due(&mut self, now: Now) -> Option<K> {
        let (deadline, key) = *self.by_time.first()?;
        if now.instant < deadline.at {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[allow(clippy::unnecessary_wraps, reason = "as an agenda takes it")]
    fn at(nanos: u64) -> Option<Deadline> {
        Some(Deadline { at: Instant::from_nanos(nanos), reason: "test" })
    }

    #[test]
    fn a_moved_deadline_fires_once_and_at_its_new_time() {
        let mut agenda = Agenda::default();
        agenda.set("a", at(10));
        agenda.set("b", at(20));
        agenda.set("a", at(30));
        let now = Now { instant: Instant::from_nanos(25), ..Now::default() };
        assert_eq!(agenda.pop_due(now), Some("b"));
        assert_eq!(agenda.pop_due(now), None);
        assert_eq!(agenda.first(), at(30));
    }
}
