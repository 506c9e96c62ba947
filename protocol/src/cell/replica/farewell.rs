//! A member that left is told so, and its replica ends. raft sends nothing to whom it removed, not even the commit of the very
//! entry that removed him; so the leader says it once when it applies that entry, and to whoever still asks for votes. So does
//! every other member that knows it, for whoever was away may know none that leads: to him, what is committed is all that
//! counts. Where no entries lead from his log to here, the whole state is shown instead.
use raft::{
    GetEntriesContext,
    eraftpb::{Message, MessageType},
};

use super::{Replica, letter};
use crate::{
    cell::{Message as CellMessage, Output, RaftMessage, State},
    id::ReplicaId,
    refusal::Code,
};

/// Of entries in one farewell.
const FAREWELL_BYTES_MAX: u64 = 256 << 10;

impl Replica {
    /// Whether a replica that is no member any more asks for a vote.
    pub(super) fn is_asked_by_who_left(&self, message: &RaftMessage) -> bool {
        let asks = [MessageType::MsgRequestVote, MessageType::MsgRequestPreVote].map(|kind| kind as i32);
        let knows = self.is_leader() || self.state.as_ref().is_some_and(|state| has_left(state, message.from));
        knows && asks.contains(&i32::from(message.kind)) && self.raw.raft.prs().get(message.from).is_none()
    }

    /// Sends what is committed after `index`, if that is an entry of this log; else the whole state says it.
    pub(super) fn say_farewell(&mut self, to: u64, index: u64, log_term: u64) {
        let log = &self.raw.raft.raft_log;
        let held = (log.first_index() - 1..=log.last_index()).contains(&index);
        if !held || log.term(index).ok() != Some(log_term) {
            return self.show_out(to);
        }
        let context = GetEntriesContext::empty(false);
        let Ok(entries) = log.slice(index + 1, log.committed.max(index) + 1, FAREWELL_BYTES_MAX, context) else {
            return;
        };
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgAppend);
        (message.from, message.to, message.term) = (self.id.0, to, self.raw.raft.term);
        (message.index, message.log_term, message.commit) = (index, log_term, log.committed);
        message.set_entries(entries.into());
        self.post(vec![message]);
    }

    /// Offers the state to a replica that left, and from whose log no entries lead to here: it was away for too long, or ends with
    /// what was never agreed.
    fn show_out(&mut self, to: u64) {
        if !self.state.as_ref().is_some_and(|state| has_left(state, to)) {
            return;
        }
        if self.provided.is_none() {
            // What is offered is withdrawn by ticks.
            self.wake();
            self.provide();
        }
        let (Some(offer), Some(node)) = (self.provided.as_ref().map(|it| it.offer.clone()), self.node_of(to)) else {
            return;
        };
        let (line, term, from) = (self.line(), self.raw.raft.term, self.id.0);
        let message = RaftMessage {
            kind: letter::SNAPSHOT,
            to,
            from,
            term,
            snapshot: Some(Box::new(offer)),
            ..RaftMessage::default()
        };
        self.send(node, CellMessage::Raft { line, message });
    }

    /// A member shows a state of which this replica is no member: it is true once it says so itself.
    pub(super) fn is_shown_out(&self, state: &State) -> bool {
        has_left(state, self.id.0) && self.state.as_ref().is_some_and(|own| own.applied() < state.applied())
    }

    /// Those that an entry removed hear that it is committed.
    pub(super) fn dismiss(&mut self, before: &[(u64, u64)]) {
        if !self.is_leader() {
            return;
        }
        for (id, matched) in before {
            let log = &self.raw.raft.raft_log;
            if self.raw.raft.prs().get(*id).is_some() {
                continue;
            }
            let Ok(log_term) = log.term(*matched) else { continue };
            self.say_farewell(*id, *matched, log_term);
        }
    }

    /// How far each peer's log is known to match.
    pub(super) fn matched(&self) -> Vec<(u64, u64)> {
        let mut matched: Vec<_> = self.raw.raft.prs().iter().map(|(id, peer)| (*id, peer.matched)).collect();
        matched.retain(|(id, _)| *id != self.id.0);
        matched.sort_unstable();
        matched
    }

    /// Ends for good once the cell has agreed that it left, and raft's group goes on without it: nobody will ask it for
    /// anything that was not asked already.
    pub(super) fn end_if_it_left(&mut self) {
        let Some(state) = &self.state else { return };
        let conf = self.conf();
        let id = self.id.0;
        let counts = [&conf.voters, &conf.voters_outgoing, &conf.learners, &conf.learners_next];
        let is_member = state.members().any(|member| member.replica == self.id);
        if is_member || counts.iter().any(|ids| ids.contains(&id)) || state.node_of(self.id) != Some(self.me) {
            return;
        }
        self.end();
    }

    pub(super) fn end(&mut self) {
        self.describe();
        self.stop(Code::NotFound, "it has left its cell".to_owned());
        self.outbox.push(Output::Left);
    }
}

/// Whether a replica was a member, and is none any more. Ids are given once, so this stays true.
fn has_left(state: &State, replica: u64) -> bool {
    let replica = ReplicaId(replica);
    state.node_of(replica).is_some() && state.members().all(|member| member.replica != replica)
}
