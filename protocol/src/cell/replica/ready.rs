//! What raft has ready: entries to keep, messages to send, entries to apply. What a message rests on is durable before
//! the message leaves.
use std::collections::VecDeque;

use raft::{
    SnapshotStatus, StateRole,
    eraftpb::{Message, MessageType},
};

use super::{Replica, letter, log};
use crate::{
    cell::{Message as CellMessage, Output},
    id::{ReplicaId, WriteId},
    planted::{self, Planted},
    store::{HardState, StoreOp, WriteBatch},
};

/// Entries of one frame: with all else in it, it stays below the frame's own bound.
const FRAME_ENTRY_BYTES_MAX: u64 = 1 << 20;

/// Numbered writes, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Writes {
    last: u64,
    /// Oldest first.
    held: VecDeque<Held>,
    /// Term and vote as last handed to the disk.
    voted: (u64, u64),
    /// The founder that campaigns once this write is durable.
    founding: Option<WriteId>,
}

#[derive(Debug)]
struct Held {
    write: WriteId,
    /// raft's own number of what is in the write; `None`: a snapshot of our own.
    ready: Option<u64>,
    messages: Vec<Message>,
    /// It holds a new term or vote.
    votes: bool,
}

impl Writes {
    /// Writes are not durable yet.
    pub(super) fn is_busy(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many writes are not durable yet.
    pub(super) fn under_way(&self) -> usize {
        self.held.len()
    }

    /// No vote request waits for a write.
    pub(super) fn votes_left(&self) -> bool {
        let asks = |message: &Message| {
            matches!(message.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
        };
        !self.held.iter().any(|held| held.messages.iter().any(asks))
    }

    /// A new term or vote is not durable yet.
    fn vote_under_way(&self) -> bool {
        self.held.iter().any(|held| held.votes)
    }

    /// Nothing held will ever be sent.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    /// raft starts anew, and numbers anew.
    pub(super) fn restarted(&mut self) {
        assert!(self.held.is_empty(), "raft starts anew only when everything is durable");
    }
}

impl Replica {
    /// The first write of a founding member.
    pub(super) fn begin_founding(&mut self, snapshot: StoreOp, first: bool) {
        let ops = vec![snapshot, self.hard_state_op()];
        let write = self.write(ops, None, Vec::new());
        self.writes.founding = first.then_some(write);
        self.describe();
    }

    /// The first write of the only voter of a line: it takes the place of all that was here.
    pub(super) fn begin_line(&mut self, snapshot: StoreOp) -> WriteId {
        let ops = vec![StoreOp::DropCell { cell: self.cell }, snapshot, self.hard_state_op()];
        let write = self.write(ops, None, Vec::new());
        self.writes.founding = Some(write);
        write
    }

    /// Numbers a write and remembers what waits for it.
    pub(super) fn write(&mut self, ops: Vec<StoreOp>, ready: Option<u64>, messages: Vec<Message>) -> WriteId {
        self.writes.last += 1;
        let write = WriteId(self.writes.last);
        self.writes.held.push_back(Held { write, ready, messages, votes: false });
        self.outbox.push(Output::Persist { write, batch: WriteBatch { ops } });
        write
    }

    fn hard_state_op(&mut self) -> StoreOp {
        let raft = &self.raw.raft;
        let state = HardState { term: raft.term, vote: raft.vote, commit: raft.raft_log.committed };
        self.writes.voted = (state.term, state.vote);
        StoreOp::HardState { cell: self.cell, state }
    }

    /// Takes one `Ready` of raft and does all it asks.
    pub(super) fn take_ready(&mut self) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        let mut at_once = ready.take_messages();
        let mut held = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        let entries = ready.take_entries();
        let rounds = ready.take_read_states();
        let received = (!ready.snapshot().is_empty()).then(|| ready.snapshot().get_metadata().clone());

        let vote_changed = self.writes.voted != (self.raw.raft.term, self.raw.raft.vote);
        if vote_changed || self.writes.vote_under_way() {
            // A single voter leads in the step in which it votes: its learners must not hear of a term that a crash
            // could take back. Any other leader's vote was durable before it was asked for.
            held.splice(0..0, at_once.drain(..));
        }
        let mut ops = Vec::new();
        if let Some(meta) = &received {
            ops.extend(self.install(meta));
        }
        if !entries.is_empty() {
            let entries = entries.iter().map(log::to_stored).collect();
            ops.push(StoreOp::Append { cell: self.cell, entries });
        }
        // The commit goes with every entry: whoever holds the second half of a membership change must still know after a
        // crash that the first half was committed. On its own it is not worth a write.
        if !ops.is_empty() || vote_changed {
            ops.push(self.hard_state_op());
        }
        self.raw.mut_store().append(&entries);
        self.raw.advance_append_async(ready);
        if planted::has(Planted::HastyAnswer) {
            at_once.append(&mut held);
        }

        self.post(at_once);
        if !ops.is_empty() {
            self.write(ops, Some(number), held);
            let newest = self.writes.held.back_mut().expect("it was pushed just above");
            newest.votes = vote_changed;
        } else if let Some(last) = self.writes.held.back_mut() {
            last.ready = Some(number);
            last.messages.append(&mut held);
        } else {
            self.raw.on_persist_ready(number);
            self.post(held);
        }
        self.apply_committed(committed);
        for round in rounds {
            self.reads.finish_round(&round.request_ctx, round.index);
        }
        self.answer_ready_reads();
        self.elections.settle(&mut self.raw.raft);
    }

    /// That write and all before it are durable.
    pub(super) fn persisted(&mut self, write: WriteId) {
        while let Some(held) = self.writes.held.pop_front_if(|held| held.write <= write) {
            if let Some(number) = held.ready {
                self.raw.on_persist_ready(number);
            }
            self.post(held.messages);
        }
        self.line_is_durable(write);
        if self.writes.founding.take_if(|founding| *founding <= write).is_some() {
            self.campaign_first();
        }
    }

    /// The founder that campaigns at once; the others' timeouts are the fallback.
    fn campaign_first(&mut self) {
        if self.raw.raft.state != StateRole::Follower || self.raw.raft.leader_id != raft::INVALID_ID {
            return;
        }
        self.elections.hurry(&mut self.raw.raft, super::HURRIED_ATTEMPTS);
        self.raw.raft.election_elapsed = 0;
        let campaigned = self.raw.campaign();
        debug_assert!(campaigned.is_ok(), "a follower may always campaign");
        self.elections.settle(&mut self.raw.raft);
        self.elections.keep_hurrying(&mut self.raw.raft);
    }

    /// Sends raft's messages.
    pub(super) fn post(&mut self, messages: Vec<Message>) {
        for message in messages {
            if self.wiped.has(ReplicaId(message.to)) {
                if message.get_msg_type() == MessageType::MsgSnapshot {
                    // Or raft would wait for its end for ever, and send nothing else to one that is found to be well.
                    self.raw.report_snapshot(message.to, SnapshotStatus::Failure);
                }
                continue;
            }
            let Some(to) = self.node_of(message.to) else { continue };
            let offer = match message.get_msg_type() {
                MessageType::MsgSnapshot => {
                    let Some(offer) = self.offer_for(&message) else { continue };
                    Some(offer)
                }
                _ => None,
            };
            let line = self.line();
            for message in letter::write(message, offer, FRAME_ENTRY_BYTES_MAX) {
                self.note_offer_sent(&message);
                self.send(to, CellMessage::Raft { line, message });
            }
        }
    }

    /// The line that this replica is on; a newcomer answers on any, 0 until it knows.
    pub(super) fn line(&self) -> u64 {
        self.state.as_ref().map_or(self.line_heard, crate::cell::State::line)
    }
}
