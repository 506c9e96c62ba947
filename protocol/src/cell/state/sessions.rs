//! Exactly once: what the last commands of each session did, so that a retry gets the same answer and no second effect.
//!
//! Raft's dissertation (Ongaro, §6.3) keeps such a table; the bounds, and what is certain when one is reached, are ours.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minicbor::{Decode, Encode};

use super::{Refusal, TENANT_SKEW_MAX};
use crate::{
    cell::Outcome,
    id::{OpId, SessionId},
    refusal::Code,
    time::Timestamp,
};

/// A session remembers the results of its last so many ops.
pub const SESSION_RESULTS_MAX: usize = 16;
/// At most so many sessions; the one that would end first goes.
pub const SESSIONS_MAX: usize = 10_000;
/// Results of all sessions count at most so many bytes; the session that would end first goes.
pub const SESSIONS_BYTES_MAX: u64 = 8 << 20;
/// A session ends so long (of cell time) after its last use.
pub const SESSION_KEPT: Duration = Duration::from_mins(10);

/// The sessions of one kind of signer: the tenant's are apart from the instances', so that no host can occupy an op
/// that the tenant is about to use, nor push the tenant's results out.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Sessions {
    #[n(0)]
    by_id: BTreeMap<SessionId, Session>,
    /// Dated ops of unknown sessions are refused up to here: a session that was pushed out before its time may have
    /// known them.
    #[n(1)]
    floor: Timestamp,
    /// The same sessions by their end.
    #[cbor(skip)]
    by_end: BTreeSet<(Timestamp, SessionId)>,
    /// What all results count.
    #[cbor(skip)]
    bytes: u64,
}

#[derive(Clone, Debug, Default, Encode, Decode)]
struct Session {
    /// Cell time from which it is forgotten.
    #[n(0)]
    ends: Timestamp,
    /// The latest date of its ops; 0 where ops carry none.
    #[n(1)]
    issued: Timestamp,
    /// The highest op whose result it has dropped.
    #[n(2)]
    forgotten: u64,
    /// Results by op.
    #[n(3)]
    results: BTreeMap<u64, Outcome>,
}

impl Sessions {
    /// The stored result of `op`, or `None` when it is new.
    ///
    /// # Errors
    /// `Invalid` for an op numbered 0. `Expired`, and *indefinite*, when the op may have been applied and its result was
    /// dropped since: only reading can tell.
    pub(super) fn recall(&self, op: OpId, issued: Option<Timestamp>) -> Result<Option<&Outcome>, Refusal> {
        if op.seq == 0 {
            return Err(Refusal::definite(Code::Invalid, "the ops of a session are numbered from 1"));
        }
        let Some(session) = self.by_id.get(&op.session) else {
            return if issued.is_some_and(|issued| issued <= self.floor) { Err(expired()) } else { Ok(None) };
        };
        match session.results.get(&op.seq) {
            Some(outcome) => Ok(Some(outcome)),
            None if op.seq <= session.forgotten => Err(expired()),
            None => Ok(None),
        }
    }

    /// The stored result of `op`, if there is one.
    pub(super) fn result(&self, op: OpId) -> Option<&Outcome> {
        self.by_id.get(&op.session)?.results.get(&op.seq)
    }

    /// Stores the result of `op`. A dated op is remembered for as long as its date would let it be applied.
    pub(super) fn remember(&mut self, op: OpId, issued: Option<Timestamp>, outcome: Outcome, now: Timestamp) {
        let mut session = self.take(op.session).unwrap_or_default();
        let issued = issued.unwrap_or_default();
        session.issued = session.issued.max(issued);
        session.ends = session.ends.max(now + SESSION_KEPT);
        if issued > Timestamp::default() {
            session.ends = session.ends.max(issued + TENANT_SKEW_MAX);
        }
        session.results.insert(op.seq, outcome);
        while session.results.len() > SESSION_RESULTS_MAX {
            let Some((seq, _)) = session.results.pop_first() else { break };
            session.forgotten = session.forgotten.max(seq);
        }
        self.put(op.session, session);
        while self.by_id.len() > SESSIONS_MAX || (self.bytes > SESSIONS_BYTES_MAX && self.by_id.len() > 1) {
            self.push_out();
        }
    }

    /// Forgets the sessions that ended by `now`.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((ends, id)) = self.by_end.first().copied()
            && ends < now
        {
            self.take(id);
        }
    }

    fn push_out(&mut self) {
        let Some((_, id)) = self.by_end.first().copied() else { return };
        let Some(session) = self.take(id) else { return };
        self.floor = self.floor.max(session.issued);
    }

    fn take(&mut self, id: SessionId) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        self.by_end.remove(&(session.ends, id));
        self.bytes = self.bytes.saturating_sub(session.bytes());
        Some(session)
    }

    fn put(&mut self, id: SessionId, session: Session) {
        self.by_end.insert((session.ends, id));
        self.bytes = self.bytes.saturating_add(session.bytes());
        self.by_id.insert(id, session);
    }

    /// Rebuilds what is not encoded.
    pub(super) fn settle(&mut self) {
        self.by_end = self.by_id.iter().map(|(id, session)| (session.ends, *id)).collect();
        self.bytes = self.by_id.values().map(Session::bytes).sum();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl Session {
    fn bytes(&self) -> u64 {
        self.results.values().map(|outcome| 64 + outcome_bytes(outcome)).sum()
    }
}

fn outcome_bytes(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Written { counters, .. } => 8 * counters.len() as u64,
        Outcome::Refused(refusal) => refusal.detail.len() as u64,
        Outcome::Released(_) | Outcome::Conflict { .. } | Outcome::Done => 0,
    }
}

fn expired() -> Refusal {
    Refusal::indefinite(
        Code::Expired,
        "this op is older than what its session remembers: it may have been applied; read to find out",
    )
}
