//! Which part of a composite machine wants waking when, so that a step costs the same with one cell or ten thousand.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use crate::{machine::Deadline, time::Now};

/// The deadline index of a composite machine: one deadline per key, earliest first, ties in key order.
///
/// Deadlines are moved far more often than they fire, so one that was replaced stays in the heap until it comes to the
/// top, or until there are more of those than of others.
#[derive(Debug)]
pub struct Agenda<K> {
    /// The earliest is in force, always.
    by_time: BinaryHeap<Reverse<(Deadline, K)>>,
    by_key: BTreeMap<K, Deadline>,
}

/// So many replaced deadlines are worth no sweep.
const REPLACED_MIN: usize = 32;

impl<K: Ord> Default for Agenda<K> {
    fn default() -> Self {
        Self { by_time: BinaryHeap::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Agenda<K> {
    /// Replaces the deadline of `key`; `None` forgets it.
    pub fn set(&mut self, key: K, deadline: Option<Deadline>) {
        let before = match deadline {
            Some(deadline) => self.by_key.insert(key, deadline),
            None => self.by_key.remove(&key),
        };
        if before == deadline {
            return;
        }
        if let Some(deadline) = deadline {
            self.by_time.push(Reverse((deadline, key)));
        }
        self.sweep();
    }

    /// The earliest deadline of all keys.
    #[must_use]
    pub fn first(&self) -> Option<Deadline> {
        self.by_time.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes the earliest key due at or before `now`.
    pub fn pop_due(&mut self, now: Now) -> Option<K> {
        let Reverse((deadline, key)) = *self.by_time.peek()?;
        if now.instant < deadline.at {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    /// Takes replaced deadlines from the top, and all of them when they are the most.
    fn sweep(&mut self) {
        let by_key = &self.by_key;
        let in_force = |deadline: &Deadline, key: &K| by_key.get(key) == Some(deadline);
        while let Some(Reverse((deadline, key))) = self.by_time.peek()
            && !in_force(deadline, key)
        {
            self.by_time.pop();
        }
        if self.by_time.len() > 2 * by_key.len() + REPLACED_MIN {
            self.by_time.retain(|Reverse((deadline, key))| in_force(deadline, key));
        }
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

    #[test]
    fn deadlines_that_were_replaced_take_no_room() {
        let mut agenda = Agenda::default();
        agenda.set("first", at(1));
        for nanos in 0..10_000 {
            agenda.set("moved", at(100 + nanos));
        }
        assert!(agenda.by_time.len() <= 2 * agenda.by_key.len() + REPLACED_MIN + 1, "{}", agenda.by_time.len());
        agenda.set("first", None);
        assert_eq!(agenda.first(), at(100 + 9_999));
    }

    #[test]
    fn a_deadline_set_again_as_it_was_before_fires_once() {
        let mut agenda = Agenda::default();
        agenda.set("a", at(10));
        agenda.set("a", at(20));
        agenda.set("a", at(10));
        let now = Now { instant: Instant::from_nanos(30), ..Now::default() };
        assert_eq!(agenda.pop_due(now), Some("a"));
        assert_eq!(agenda.pop_due(now), None);
        assert_eq!(agenda.first(), None);
    }
}
