//! Reads that wait: for a round of ReadIndex, then for the state to have applied what the round found committed.
//!
//! One round serves all reads that wait when it starts; those that come while it runs share the next. raft drops a round
//! silently while its leader has committed nothing in its term, and loses it when heartbeats are lost: so a round starts
//! only once the leader has, and is repeated until it ends or its leader falls.
use std::collections::BTreeSet;

use super::asks::{Asks, Serial};
use crate::{cell::Query, time::Instant};

/// Queries in one read.
pub(super) const QUERIES_MAX: usize = 64;

/// What a read waits for.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) queries: Vec<Query>,
    /// Needs a round: only a leader answers it.
    pub(super) linear: bool,
}

/// A round under way.
#[derive(Debug)]
struct Round {
    name: u64,
    reads: Vec<Serial>,
    /// When it was last asked for.
    asked: Instant,
}

/// All reads that wait.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) asks: Asks<Read>,
    /// For the next round.
    next: Vec<Serial>,
    round: Option<Round>,
    rounds: u64,
    /// Until this index is applied.
    until: BTreeSet<(u64, Serial)>,
}

impl Reads {
    /// A linear read: it shares the next round.
    pub(super) fn wait_for_round(&mut self, serial: Serial) {
        self.next.push(serial);
    }

    /// Reads wait for a round that has not ended.
    pub(super) fn wait_for_rounds(&self) -> bool {
        self.round.is_some() || !self.next.is_empty()
    }

    /// A read that is answered once `index` is applied.
    pub(super) fn wait_until(&mut self, index: u64, serial: Serial) {
        self.until.insert((index, serial));
    }

    /// Starts a round for all that wait for one, unless one is under way. What raft is to be asked with.
    pub(super) fn start_round(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.round.is_some() || self.next.is_empty() {
            return None;
        }
        let asks = &self.asks;
        self.next.retain(|serial| asks.get(*serial).is_some());
        if self.next.is_empty() {
            return None;
        }
        self.rounds += 1;
        self.round = Some(Round { name: self.rounds, reads: std::mem::take(&mut self.next), asked: now });
        Some(self.rounds.to_be_bytes().to_vec())
    }

    /// Whether the round under way was last asked for before `before`: its heartbeats may be lost. Notes that it is
    /// asked for again.
    pub(super) fn is_late(&mut self, before: Instant, now: Instant) -> bool {
        let Some(round) = self.round.as_mut().filter(|round| round.asked <= before) else { return false };
        round.asked = now;
        true
    }

    /// A quorum answered the round called `name`: what was committed when it began is `index`.
    pub(super) fn finish_round(&mut self, name: &[u8], index: u64) {
        let Some(round) = self.round.take_if(|round| name == round.name.to_be_bytes()) else { return };
        for serial in round.reads {
            if self.asks.get(serial).is_some() {
                self.until.insert((index, serial));
            }
        }
    }

    /// The next read that `applied` satisfies.
    pub(super) fn pop_ready(&mut self, applied: u64) -> Option<Serial> {
        if self.until.first()?.0 > applied {
            return None;
        }
        self.until.pop_first().map(|(_, serial)| serial)
    }

    /// Linear reads that no round here will answer: this replica does not lead any more.
    pub(super) fn abandon(&mut self) -> Vec<Serial> {
        self.round = None;
        self.next.clear();
        let linear = |serial: &Serial| self.asks.get(*serial).is_some_and(|read| read.linear);
        let abandoned: Vec<Serial> = self.asks.serials().into_iter().filter(linear).collect();
        // Serials rise, so they are in order.
        self.until.retain(|(_, serial)| abandoned.binary_search(serial).is_err());
        abandoned
    }

    /// A read was answered by its deadline.
    pub(super) fn forget(&mut self, serial: Serial) {
        self.until.retain(|(_, other)| *other != serial);
    }
}
