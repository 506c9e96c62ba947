//! Who waits for an answer, and until when. Each asker is answered exactly once.
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{NodeId, RequestId},
    time::Instant,
};

/// Names one question while it waits here.
pub(super) type Serial = u64;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A caller on this node.
    Here(RequestId),
    /// A caller on another node.
    There(NodeId, RequestId),
    /// A copy of this cell, under its own number: it only wants to know the index.
    Copy(NodeId, u64),
}

/// Questions that wait, each with its asker and deadline.
#[derive(Debug)]
pub(super) struct Asks<T> {
    waiting: BTreeMap<Serial, (Asker, Instant, T)>,
    by_deadline: BTreeSet<(Instant, Serial)>,
    next: Serial,
}

impl<T> Default for Asks<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), by_deadline: BTreeSet::new(), next: 0 }
    }
}

impl<T> Asks<T> {
    pub(super) fn add(&mut self, asker: Asker, deadline: Instant, question: T) -> Serial {
        self.next += 1;
        self.waiting.insert(self.next, (asker, deadline, question));
        self.by_deadline.insert((deadline, self.next));
        self.next
    }

    /// Takes a question that is about to be answered; `None` when it was answered already.
    pub(super) fn take(&mut self, serial: Serial) -> Option<(Asker, T)> {
        let (asker, deadline, question) = self.waiting.remove(&serial)?;
        self.by_deadline.remove(&(deadline, serial));
        Some((asker, question))
    }

    pub(super) fn get(&self, serial: Serial) -> Option<&T> {
        self.waiting.get(&serial).map(|(_, _, question)| question)
    }

    /// Notes something else about a question that waits.
    pub(super) fn note(&mut self, serial: Serial, question: T) {
        if let Some((_, _, noted)) = self.waiting.get_mut(&serial) {
            *noted = question;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// All that wait, oldest first.
    pub(super) fn serials(&self) -> Vec<Serial> {
        self.waiting.keys().copied().collect()
    }

    /// The next question whose deadline is at or before `now`.
    pub(super) fn due(&self, now: Instant) -> Option<Serial> {
        self.by_deadline.first().filter(|(deadline, _)| *deadline <= now).map(|(_, serial)| *serial)
    }

    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }
}
