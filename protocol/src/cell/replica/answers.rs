//! Callers: they propose and read, here or from another node, and each is answered once.
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use raft::{
    StateRole,
    eraftpb::{Entry, Message as RaftWire, MessageType},
};

use super::{
    Replica,
    asks::{Asker, Asks, Serial},
    no,
    reads::{QUERIES_MAX, Read},
};
use crate::{
    cell::{self, Answer, Answered, Applied, Barrier, Command, Input, Message, Output, Query, Reached},
    codec,
    planted::{self, Planted},
    refusal::{Code, Refusal},
    time::Instant,
};

/// No caller on another node is kept waiting longer, whatever it says.
pub(super) const LEFT_MAX: Duration = Duration::from_mins(1);
/// An entry must fit in a frame with all else in it.
const ENTRY_BYTES_MAX: usize = 1_800 << 10;
/// Entries proposed in one step.
const BATCH_MAX: usize = 512;
/// Bytes proposed in one step.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// While so many writes are under way, proposals gather: they share the next one.
const WRITES_UNDER_WAY_MAX: usize = 4;
/// A round of ReadIndex that was not answered for so many ticks is asked for again.
const ROUND_TICKS: u32 = 2;

/// Proposals that wait.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    asks: Asks<Proposed>,
    /// Not in the log yet, with who waits: nobody, where the leader mends its cell.
    queue: VecDeque<(Option<Serial>, Box<Command>)>,
    /// In the log at this index, proposed in that term.
    under_way: BTreeMap<u64, (u64, Serial)>,
}

/// Whether a proposal entered the log: from then on its fate is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proposed(bool);

impl Proposals {
    /// The leader itself wants this.
    pub(super) fn push_own(&mut self, command: Command) {
        self.queue.push_back((None, Box::new(command)));
    }

    /// Nobody waits for an entry of the log.
    pub(super) fn none_under_way(&self) -> bool {
        self.under_way.is_empty()
    }
}

/// Proposals.
impl Replica {
    /// Commands or reads wait to be taken up.
    pub(super) fn has_queued(&self) -> bool {
        !self.proposals.queue.is_empty() || self.reads.wait_for_rounds()
    }

    /// Nobody waits for an answer.
    pub(super) fn nobody_asks(&self) -> bool {
        self.proposals.asks.len() == 0 && self.reads.asks.len() == 0
    }

    pub(super) fn take_proposal(&mut self, asker: Asker, deadline: Instant, command: Box<Command>) {
        if let (Asker::There(..), Command::Repair(_)) = (&asker, &*command) {
            let detail = "a cell's leader mends it by itself, and takes no repair from another node";
            return self.tell_outcome(asker, no(Refusal::definite(Code::Unauthorised, detail)));
        }
        if !self.is_leader() {
            return self.tell_outcome(asker, Reached::NotLeader(self.leader()));
        }
        if self.proposals.asks.len() >= self.config.proposals_max {
            return self.tell_outcome(asker, no(Refusal::definite(Code::Full, "too many proposals wait in this cell")));
        }
        let serial = self.proposals.asks.add(asker, deadline, Proposed(false));
        self.proposals.queue.push_back((Some(serial), command));
    }

    /// Puts what waits into the log, many in one go.
    pub(super) fn propose_queued(&mut self) {
        if self.proposals.queue.is_empty() || self.is_handing_over() || self.writes.under_way() >= WRITES_UNDER_WAY_MAX
        {
            return;
        }
        if !self.is_leader() {
            return self.abandon_queue();
        }
        let (mut entries, mut serials, mut bytes) = (Vec::new(), Vec::new(), 0);
        while entries.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            let Some((serial, command)) = self.proposals.queue.pop_front() else { break };
            let Some(data) = self.enter(serial, *command) else { continue };
            bytes += data.len();
            entries.push(Entry { data: data.0, ..Entry::default() });
            serials.push(serial);
        }
        if !entries.is_empty() {
            self.propose(entries, &serials);
        }
    }

    /// The entry for a command; `None` when it was answered without one, or nobody waits any more.
    fn enter(&mut self, serial: Option<Serial>, command: Command) -> Option<codec::Blob> {
        if let Some(serial) = serial {
            self.proposals.asks.get(serial)?;
        }
        let current = self.raw.raft.commit_to_current_term();
        let state = self.state.as_ref().expect("a leader has state");
        if let Some(outcome) = state.recall(&command).filter(|_| current) {
            let applied = Applied { index: state.applied(), outcome: outcome.clone() };
            self.answer(serial, Reached::Yes(applied));
            return None;
        }
        let stamp = self.now.wall.max(state.time());
        let data = codec::encode(&cell::Entry { stamp, line: state.line(), rules: state.rules(), command });
        if data.len() > ENTRY_BYTES_MAX {
            let detail = format!("the command takes {} bytes, at most {ENTRY_BYTES_MAX} fit in an entry", data.len());
            self.answer(serial, no(Refusal::definite(Code::Invalid, detail)));
            return None;
        }
        Some(data)
    }

    fn propose(&mut self, entries: Vec<Entry>, serials: &[Option<Serial>]) {
        let mut message = RaftWire::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.id.0;
        message.set_entries(entries.into());
        let before = self.raw.raft.raft_log.last_index();
        if self.raw.raft.step(message).is_err() {
            for serial in serials {
                let detail = "the cell has too much to agree on: try again in a moment";
                self.answer(*serial, no(Refusal::definite(Code::Full, detail)));
            }
            return;
        }
        let term = self.raw.raft.term;
        for (index, serial) in (before + 1..).zip(serials) {
            let Some(serial) = *serial else { continue };
            self.proposals.asks.note(serial, Proposed(true));
            self.proposals.under_way.insert(index, (term, serial));
        }
    }

    /// The entry at `index` was applied. What waited for an entry of another term there waits in vain: it was replaced.
    pub(super) fn answer_proposal(&mut self, index: u64, term: u64, outcome: Option<Applied>) {
        let Some((proposed_in, serial)) = self.proposals.under_way.remove(&index) else { return };
        let result = match outcome.filter(|_| proposed_in == term) {
            Some(applied) => Reached::Yes(applied),
            None => no(lost_lead()),
        };
        self.answer(Some(serial), result);
    }

    fn answer(&mut self, serial: Option<Serial>, result: Reached<Applied>) {
        let Some((asker, _)) = serial.and_then(|serial| self.proposals.asks.take(serial)) else { return };
        self.tell_outcome(asker, result);
    }

    fn abandon_queue(&mut self) {
        for (serial, _) in std::mem::take(&mut self.proposals.queue) {
            self.answer(serial, Reached::NotLeader(self.leader()));
        }
    }

    fn tell_outcome(&mut self, asker: Asker, result: Reached<Applied>) {
        match asker {
            Asker::Here(request) => self.outbox.push(Output::Outcome { request, result }),
            Asker::There(to, request) => self.send(to, Message::Outcome { request, result }),
            Asker::Copy(..) => unreachable!("a copy proposes nothing"),
        }
    }
}

/// Reads.
impl Replica {
    pub(super) fn take_read(&mut self, asker: Asker, deadline: Instant, barrier: Barrier, queries: Vec<Query>) {
        if queries.len() > QUERIES_MAX {
            let detail = format!("a read has at most {QUERIES_MAX} queries");
            return self.tell_answers(asker, no(Refusal::definite(Code::Invalid, detail)));
        }
        let barrier = if planted::has(Planted::StaleRead) { Barrier::AtLeast(0) } else { barrier };
        let linear = barrier == Barrier::Linear;
        if linear && !self.is_leader() {
            return self.tell_answers(asker, Reached::NotLeader(self.leader()));
        }
        if self.reads.asks.len() >= self.config.proposals_max {
            return self.tell_answers(asker, no(Refusal::definite(Code::Full, "too many reads wait in this cell")));
        }
        let serial = self.reads.asks.add(asker, deadline, Read { queries, linear });
        match barrier {
            Barrier::Linear => self.reads.wait_for_round(serial),
            Barrier::AtLeast(index) => {
                self.reads.wait_until(index, serial);
                self.answer_ready_reads();
            }
        }
    }

    /// Asks raft what is committed now, for all reads that wait.
    pub(super) fn start_round(&mut self) {
        if !self.is_leader() || !self.raw.raft.commit_to_current_term() {
            return;
        }
        if let Some(name) = self.reads.start_round(self.now.instant) {
            self.raw.read_index(name);
        }
    }

    /// Asks again for a round whose heartbeats may be lost.
    pub(super) fn repeat_round(&mut self) {
        let now = self.now.instant;
        let patience =
            self.config.tick * ROUND_TICKS + self.state.as_ref().map_or(Duration::ZERO, cell::State::round_trip);
        if self.is_leader() && self.reads.is_late(now - patience, now) {
            self.raw.ping();
        }
    }

    /// Answers all reads that what is applied satisfies.
    pub(super) fn answer_ready_reads(&mut self) {
        let Some(applied) = self.state.as_ref().map(cell::State::applied) else { return };
        while let Some(serial) = self.reads.pop_ready(applied) {
            let Some((asker, read)) = self.reads.asks.take(serial) else { continue };
            if let Some(refusal) = self.kept_elsewhere(&read.queries) {
                self.tell_answers(asker, no(refusal));
                continue;
            }
            let answers = read.queries.iter().map(|query| self.look_up(query)).collect();
            self.tell_answers(asker, Reached::Yes(Answered { index: applied, answers }));
        }
    }

    /// A converging store is not the cell's: whoever asks here for one is told so, and not that it is empty.
    fn kept_elsewhere(&self, queries: &[Query]) -> Option<Refusal> {
        let policy = self.state.as_ref()?.policy();
        let store = queries.iter().filter_map(Query::store).find(|store| policy.converges(store))?;
        let detail = format!(
            "the store {store:?} converges: only nodes that host the app hold it, and the one that was asked does not. Ask one that \
             bocage status names: bocage --node NAME kv …"
        );
        Some(Refusal::definite(Code::NotFound, detail))
    }

    fn look_up(&mut self, query: &Query) -> Answer {
        let state = self.state.as_ref().expect("reads are answered from a state");
        match query {
            Query::Capture => self.capture(),
            Query::Piece { content, offset } => self.piece(*content, *offset),
            Query::Describe => Answer::Description(Box::new(self.described().expect("there is a state"))),
            Query::Get { .. } | Query::List { .. } => state.answer(query),
        }
    }

    pub(super) fn tell_answers(&mut self, asker: Asker, result: Reached<Answered>) {
        match asker {
            Asker::Here(request) => self.outbox.push(Output::Answers { request, result }),
            Asker::There(to, request) => self.send(to, Message::Answers { request, result }),
            Asker::Copy(to, serial) => {
                // Whoever is not answered asks again, another leader perhaps.
                if let Reached::Yes(Answered { index, .. }) = result {
                    let line = self.line();
                    self.send(to, Message::Committed { line, serial, index });
                }
            }
        }
    }
}

/// Ends.
impl Replica {
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        let asked = [self.proposals.asks.first_deadline(), self.reads.asks.first_deadline()];
        asked.into_iter().flatten().min()
    }

    /// Tells those whose deadline has passed.
    pub(super) fn give_up_late(&mut self) {
        let now = self.now.instant;
        while let Some(serial) = self.proposals.asks.due(now) {
            let open = self.proposals.asks.get(serial) == Some(&Proposed(true));
            let detail = "the cell did not agree before the deadline";
            let refusal = if open {
                Refusal::indefinite(Code::Timeout, detail)
            } else {
                Refusal::definite(Code::Timeout, detail)
            };
            self.answer(Some(serial), no(refusal));
        }
        while let Some(serial) = self.reads.asks.due(now) {
            self.reads.forget(serial);
            let Some((asker, _)) = self.reads.asks.take(serial) else { continue };
            self.tell_answers(
                asker,
                no(Refusal::definite(Code::Timeout, "the read was not answered before the deadline")),
            );
        }
    }

    /// It does not lead any more: what is in the log may still be committed by another, what is not never will be.
    pub(super) fn give_up_leading(&mut self) {
        self.abandon_queue();
        for (_, serial) in std::mem::take(&mut self.proposals.under_way).into_values() {
            self.answer(Some(serial), no(lost_lead()));
        }
        for serial in self.reads.abandon() {
            let Some((asker, _)) = self.reads.asks.take(serial) else { continue };
            self.tell_answers(asker, Reached::NotLeader(self.leader()));
        }
    }

    /// It stops for good.
    pub(super) fn give_up_all(&mut self) {
        self.give_up_leading();
        for serial in self.reads.asks.serials() {
            let Some((asker, _)) = self.reads.asks.take(serial) else { continue };
            self.tell_answers(asker, no(self.stopped_refusal()));
        }
    }

    /// It has stopped for good.
    #[expect(clippy::needless_pass_by_value, reason = "an input is handed over, whatever becomes of it")]
    pub(super) fn refuse(&mut self, input: Input) {
        let refusal = self.stopped_refusal();
        match input {
            Input::Propose { context, .. } => self.tell_outcome(Asker::Here(context.request), no(refusal)),
            Input::Read { context, .. } => self.tell_answers(Asker::Here(context.request), no(refusal)),
            Input::Received { from, message: Message::Propose { context, .. } } => {
                self.tell_outcome(Asker::There(from, context.request), Reached::NotLeader(None));
            }
            Input::Received { from, message: Message::Read { context, .. } } => {
                self.tell_answers(Asker::There(from, context.request), Reached::NotLeader(None));
            }
            Input::Recover { ticket, .. } => {
                self.outbox.push(Output::Carried { ticket, result: Err(refusal) });
            }
            Input::Received { .. }
            | Input::Persisted(_)
            | Input::PersistFailed(..)
            | Input::Fetched { .. }
            | Input::Link { .. }
            | Input::Verdict { .. }
            | Input::Drain { .. }
            | Input::Depart
            | Input::Keys(_)
            | Input::Later { .. }
            | Input::Found { .. } => {}
        }
    }

    fn stopped_refusal(&self) -> Refusal {
        let (code, why) = self.stopped.clone().unwrap_or((Code::Unreachable, "unknown".to_owned()));
        Refusal::definite(code, format!("the replica of cell {:?} here has stopped: {why}", self.cell))
    }

    /// Whether this replica leads and knows what was committed before it did.
    pub(super) fn leads_in_earnest(&self) -> bool {
        self.raw.raft.state == StateRole::Leader && self.raw.raft.commit_to_current_term()
    }
}

fn lost_lead() -> Refusal {
    Refusal::indefinite(
        Code::NotLeader,
        "the leader changed before the cell agreed: repeat with the same op to find out",
    )
}
