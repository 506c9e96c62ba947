//! News that are passed on: each so often, those that went out least first, and of each node only the last.
use std::{cmp::Reverse, collections::BTreeMap};

use super::wire::{RUMOURS_MAX, Rumour};

/// One a node at most.
#[derive(Debug, Default)]
pub(super) struct Rumours {
    /// By how often it went out; the newest first.
    queue: BTreeMap<(u64, Reverse<u64>), Rumour>,
    last: u64,
}

impl Rumours {
    /// Takes the place of what was said of that node before.
    pub(super) fn add(&mut self, rumour: Rumour) {
        self.queue.retain(|_, other| other.about != rumour.about);
        self.last += 1;
        self.queue.insert((0, Reverse(self.last)), rumour);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What rides on the next datagram; what went out `limit` times is dropped.
    pub(super) fn take(&mut self, limit: u64) -> Vec<Rumour> {
        let keys: Vec<_> = self.queue.keys().take(RUMOURS_MAX).copied().collect();
        let mut taken = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(rumour) = self.queue.remove(&key) else { continue };
            taken.push(rumour);
            if key.0 + 1 < limit {
                self.queue.insert((key.0 + 1, key.1), rumour);
            }
        }
        taken
    }
}
