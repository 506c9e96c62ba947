//! Snapshots on their way: the one that peers can fetch from here, and the one that is being fetched.
//!
//! raft's message carries an offer only; the bytes go by transfer. A leader repeats the message while its peer shows no
//! progress, so neither a lost frame nor a failed fetch needs an answer of its own.
use std::{collections::BTreeMap, time::Duration};

use crate::{
    cell::{RaftMessage, SnapshotOffer},
    id::{ContentHash, NodeId},
    time::Instant,
};

/// A message with an offer is repeated so often.
const REPEAT_EVERY: Duration = Duration::from_secs(1);
/// An offer stands so long, and longer for more bytes; then it is withdrawn and the peer is probed again.
const OFFER_LASTS: Duration = Duration::from_mins(1);
/// The slowest peer that an offer waits for.
const FETCH_BYTES_PER_S_MIN: u64 = 256 << 10;

/// What peers can fetch from here.
#[derive(Debug)]
pub(super) struct Provided {
    pub(super) offer: SnapshotOffer,
    until: Instant,
    /// To whom it was sent, with which message, and when last.
    sent: BTreeMap<u64, (RaftMessage, Instant)>,
}

impl Provided {
    pub(super) fn new(offer: SnapshotOffer, now: Instant) -> Self {
        let slowest = Duration::from_secs(offer.size_bytes / FETCH_BYTES_PER_S_MIN);
        Self { offer, until: now + OFFER_LASTS + slowest, sent: BTreeMap::new() }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// Raft's message to a peer went out with this offer.
    pub(super) fn sent(&mut self, message: RaftMessage, now: Instant) {
        self.sent.insert(message.to, (message, now));
    }

    /// The messages to repeat, to those peers that still `wait`.
    pub(super) fn repeat(&mut self, now: Instant, waits: impl Fn(u64) -> bool) -> Vec<RaftMessage> {
        self.sent.retain(|to, _| waits(*to));
        let mut due = Vec::new();
        for (message, last) in self.sent.values_mut() {
            if now.since(*last) >= REPEAT_EVERY {
                *last = now;
                due.push(message.clone());
            }
        }
        due
    }

    pub(super) fn peers(&self) -> Vec<u64> {
        self.sent.keys().copied().collect()
    }
}

/// What is being fetched: the message is stepped once its bytes are here.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) message: RaftMessage,
    pub(super) from: NodeId,
}

impl Fetching {
    pub(super) fn is_of(&self, content: ContentHash) -> bool {
        self.message.snapshot.as_ref().is_some_and(|offer| offer.content == content)
    }
}
