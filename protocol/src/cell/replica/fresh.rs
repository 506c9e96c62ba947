//! How fresh a copy's state is, and how it knows.
//!
//! *Current as of P*: it holds all that the cell had agreed on when P was. P is an instant of this node's own clock: when it
//! sent the question whose answer proved it. So no clock of anybody else counts, and a late answer proves the less.
//!
//! While its cell is awake a copy asks the leader now and then what is committed; the leader finds out as it does for a read, by a
//! round that a quorum answers. While the cell sleeps nobody asks: closed marks, one exchange for a pair of nodes, say of
//! all its sleeping cells that nothing has changed (`cells/marks`).
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Replica, asks::Asker, letter};
use crate::{
    cell::{Barrier, Message, RaftMessage, State, state::RULES_OF_CUT},
    codec::Blob,
    id::NodeId,
    time::{Instant, Timestamp},
};

/// A copy asks at most so often, and at least so often.
const PROVE_EVERY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// It asks so many times within the age that its app allows.
const PROOFS_IN_STALENESS: u32 = 3;
/// Questions that are not answered; of more, the oldest is forgotten. Answers whose entries are not here yet; one more is not kept.
const OPEN_MAX: usize = 4;
/// Names a question for votes that is none: no voter lets it in.
const AM_I_A_MEMBER: &[u8] = b"am I a member?";
/// A leader tries so long to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a copy has asked, and what was proven.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    proven: Option<Instant>,
    serial: u64,
    asked: BTreeMap<u64, Instant>,
    /// What was committed when a question was sent; proven once that is applied.
    awaited: BTreeMap<u64, Instant>,
    ask_at: Instant,
}

impl Fresh {
    fn prove(&mut self, as_of: Instant) {
        self.proven = self.proven.max(Some(as_of));
    }
}

/// How fresh the state of a copy here is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The last index applied.
    pub applied: u64,
    /// Current as of then, on this node's clock; `None`: not proven since this node started.
    pub proven: Option<Instant>,
    /// Cell time: no entry that is missing here was stamped earlier, by the clock of whoever led.
    pub stamped: Timestamp,
}

/// A sleeping replica of a cell with copies, as marks need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slumber {
    /// Who leads.
    pub leader: NodeId,
    /// Names this very sleep: the same on all who sleep it, and on nobody who has woken since.
    pub line: u64,
    /// See `line`.
    pub term: u64,
    /// See `line`.
    pub index: u64,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Where copies stand.
    pub copies: BTreeSet<NodeId>,
}

impl Replica {
    /// How fresh the copy here is; `None`: it is no copy away, or has nothing yet.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let state = self.state.as_ref().filter(|_| self.stopped.is_none() && self.stands_away())?;
        Some(Standing { applied: state.applied(), proven: self.fresh.proven, stamped: state.time() })
    }

    /// The sleep that it sleeps, if its cell has copies.
    #[must_use]
    pub fn slumber(&self) -> Option<Slumber> {
        let state = self.state.as_ref().filter(|state| self.is_asleep() && state.rules() >= RULES_OF_CUT)?;
        let copies: BTreeSet<NodeId> = state.copies().map(|copy| copy.node).collect();
        let leader = if self.is_leader() { self.me } else { self.leader()? };
        let voters = state.members().filter(|member| member.votes).map(|member| member.node).collect();
        let (line, term, index) = (state.line(), self.raw.raft.term, state.applied());
        (!copies.is_empty()).then_some(Slumber { leader, line, term, index, voters, copies })
    }

    /// While it slept, nothing changed up to then.
    pub fn closed(&mut self, as_of: Instant) {
        if self.is_asleep() {
            self.fresh.prove(as_of);
        }
    }

    fn stands_away(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.copies().any(|copy| copy.replica == self.id))
    }

    /// A copy that is awake asks its leader when it is time.
    pub(super) fn tick_fresh(&mut self) {
        let now = self.now.instant;
        if now < self.fresh.ask_at || !self.stands_away() {
            return;
        }
        let Some(state) = &self.state else { return };
        let [least, most] = PROVE_EVERY;
        let every = (state.policy().max_staleness / PROOFS_IN_STALENESS).clamp(least, most);
        // Who leads is known again any moment.
        self.fresh.ask_at = now + least;
        let Some(leader) = self.leader() else { return };
        self.fresh.ask_at = now + every;
        self.fresh.serial += 1;
        self.fresh.asked.insert(self.fresh.serial, now);
        if self.fresh.asked.len() > OPEN_MAX {
            self.fresh.asked.pop_first();
        }
        let (line, serial) = (self.line(), self.fresh.serial);
        self.send(leader, Message::Prove { line, serial });
    }

    /// A copy asks what is committed.
    pub(super) fn asked_to_prove(&mut self, from: NodeId, line: u64, serial: u64) {
        let is_member = self.state.as_ref().is_some_and(|state| state.replica_of(from).is_some());
        if !self.is_leader() || self.line() != line || !is_member {
            return;
        }
        let deadline = self.now.instant + ANSWER_WITHIN;
        self.take_read(Asker::Copy(from, serial), deadline, Barrier::Linear, Vec::new());
    }

    /// A link is back: what was asked over the one before is lost.
    pub(super) fn ask_anew(&mut self) {
        self.fresh.ask_at = self.now.instant;
    }

    /// A leader says what was committed when it was asked, or later.
    pub(super) fn told_committed(&mut self, from: NodeId, line: u64, serial: u64, index: u64) {
        if self.line() != line || self.leader() != Some(from) {
            return;
        }
        let Some(sent) = self.fresh.asked.remove(&serial) else { return };
        // The oldest is the first to be proven: a copy that lags for long must not forget it for newer ones.
        if self.fresh.awaited.len() < OPEN_MAX || self.fresh.awaited.contains_key(&index) {
            self.fresh.awaited.insert(index, sent);
        }
        self.note_applied();
    }

    /// What was waited for is here.
    pub(super) fn note_applied(&mut self) {
        let Some(applied) = self.state.as_ref().map(State::applied) else { return };
        while let Some(entry) = self.fresh.awaited.first_entry().filter(|entry| *entry.key() <= applied) {
            let sent = entry.remove();
            self.fresh.prove(sent);
        }
    }

    /// Whether this replica never votes, and so must ask whether it is still wanted: raft sends nothing to whom it removed.
    pub(super) fn asks_for_farewell(&self) -> bool {
        let raft = &self.raw.raft;
        let overdue = raft.election_elapsed >= raft.randomized_election_timeout();
        let knows = self.state.as_ref().is_some_and(|state| state.rules() >= RULES_OF_CUT);
        knows && !raft.promotable() && !self.is_leader() && overdue
    }

    /// A replica that does not vote and hears no leader asks for votes in a way that gives it none: whoever leads without it
    /// answers with its farewell, all others drop its words.
    pub(super) fn ask_for_farewell(&mut self) {
        let raft = &mut self.raw.raft;
        raft.election_elapsed = 0;
        let (term, index) = (raft.term, raft.raft_log.last_index());
        let log_term = raft.raft_log.last_term();
        let peers: Vec<(u64, NodeId)> = match &self.state {
            Some(state) => state.members().filter(|it| it.votes).map(|it| (it.replica.0, it.node)).collect(),
            None => Vec::new(),
        };
        let (line, from, kind) = (self.line(), self.id.0, letter::REQUEST_PRE_VOTE);
        for (to, node) in peers {
            let context = Blob::from(AM_I_A_MEMBER);
            let message = RaftMessage { kind, to, from, term, log_term, index, context, ..RaftMessage::default() };
            self.send(node, Message::Raft { line, message });
        }
    }
}
