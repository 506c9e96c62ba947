//! A line ends here, one way or the other: this replica is the survivor from whose log the next line begins, or it is shown
//! that the next line began without it, and stops for good.
//!
//! The survivor applies its whole log, for whatever is in it may have been agreed, and starts anew behind a snapshot, as its
//! only voter, under an id of its own. Nothing of the new line is said before it is durable. Whoever is shown out keeps what it
//! held beyond the new line's base: somebody may have been told that it was done.
use std::{collections::BTreeMap, time::Duration};

use raft::{
    GetEntriesContext,
    eraftpb::{Entry, EntryType, HardState, MessageType},
};

use super::{
    Replica, Saved,
    elections::{Elections, Timing},
    fresh::Fresh,
    handing::Heir,
    letter,
    log::Log,
    start,
};
use crate::{
    cell::{
        self, Base, Carried, Holding, Message, Output, Reached, Recovered, Recovery, RecoveryPapers, State,
        recovery::RECOVERERS_MAX,
    },
    codec,
    id::{CellId, NodeId, ReplicaId, WriteId},
    notice::Notice,
    planted::{self, Planted},
    refusal::{Code, Refusal},
    store::{SnapshotMeta, StoreOp},
    time::{Instant, Timestamp},
};

/// A node that is on another line is told so at most so often.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Nodes that were told so lately; of more, the first in order is forgotten.
const TOLD_MAX: usize = 64;
/// Who has heard of a leader within so long is one of a majority.
const ALONE_AFTER: Duration = Duration::from_secs(5);

/// How this replica stands to those that it needs.
#[derive(Debug, Default)]
pub(super) struct Contact {
    /// When a leader last spoke to it.
    led: Option<Instant>,
    /// While it led: when each member last answered. As many as the cell has members.
    answered: BTreeMap<u64, Instant>,
    /// When a node was last asked about its line, or shown ours.
    told: BTreeMap<(NodeId, Said), Instant>,
    /// The line that begins once this is durable, and who waits for it.
    begins: Option<(WriteId, u64)>,
}

/// What is said of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Asked,
    Shown,
}

impl Contact {
    fn may_say(&mut self, said: Said, node: NodeId, now: Instant) -> bool {
        let what = (node, said);
        if self.told.get(&what).is_some_and(|last| now.since(*last) < TELL_EVERY) {
            return false;
        }
        if self.told.len() >= TOLD_MAX && !self.told.contains_key(&what) {
            self.told.pop_first();
        }
        self.told.insert(what, now);
        true
    }

    /// While it led: when this member last answered.
    pub(super) fn answered(&self, replica: ReplicaId) -> Option<Instant> {
        self.answered.get(&replica.0).copied()
    }

    /// A line begins that is not durable yet.
    pub(super) const fn is_beginning(&self) -> bool {
        self.begins.is_some()
    }
}

/// What is heard of others.
impl Replica {
    /// A message of raft was let in.
    pub(super) fn note_contact(&mut self, sender: u64, kind: MessageType) {
        match kind {
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot => {
                self.contact.led = Some(self.now.instant);
            }
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
                if self.raw.raft.prs().get(sender).is_some() =>
            {
                let prs = self.raw.raft.prs();
                self.contact.answered.retain(|id, _| prs.get(*id).is_some());
                self.contact.answered.insert(sender, self.now.instant);
                self.wiped.answered(ReplicaId(sender));
            }
            _ => {}
        }
    }

    /// While it slept its cell was whole, or somebody would have been missed.
    pub(super) fn note_slept(&mut self) {
        self.contact.led = Some(self.now.instant);
    }

    /// When it was last one of a majority, as far as it can know.
    fn in_company(&self, now: Instant) -> Option<Instant> {
        if self.is_asleep() || (self.is_leader() && self.raw.raft.prs().is_singleton()) {
            return Some(now);
        }
        let voters = self.state.as_ref()?.target_membership().voters;
        let others = voters.iter().filter(|id| **id != self.id);
        let mut answered: Vec<Instant> = others.filter_map(|id| self.contact.answered.get(&id.0).copied()).collect();
        answered.sort_unstable_by(|a, b| b.cmp(a));
        let led = (voters.len() / 2).checked_sub(1).and_then(|at| answered.get(at).copied());
        led.max(self.contact.led)
    }

    /// What this replica holds; `None`: it has nothing yet.
    pub(crate) fn holding(&self, now: Instant) -> Option<Holding> {
        let state = self.state.as_ref()?;
        let members = state.members().map(|member| (member.node, member.jurisdiction, member.votes)).collect();
        let alone = self.in_company(now).map(|since| now.since(since));
        Some(Holding {
            line: state.line(),
            base: self.base(),
            committed: self.raw.raft.raft_log.committed,
            votes: state.members().any(|member| member.replica == self.id && member.votes),
            stamp: self.newest_stamp(state),
            alone_ms: alone.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            leader: self.leader(),
            members,
            left: state.left().collect(),
            home: state.policy().home.clone(),
            recoverers: state.policy().recovery.clone(),
            stopped: self.stopped.as_ref().map(|(_, why)| why.clone()),
            tenant: state.tenant_id(),
            app: state.app().to_owned(),
        })
    }

    fn base(&self) -> Base {
        let log = &self.raw.raft.raft_log;
        Base { node: self.me, replica: self.id, term: log.last_term(), index: log.last_index() }
    }

    fn tail(&self, state: &State) -> Vec<Entry> {
        let log = &self.raw.raft.raft_log;
        let context = GetEntriesContext::empty(false);
        log.slice(state.applied() + 1, log.last_index() + 1, None, context).expect("what is not applied is in memory")
    }

    fn newest_stamp(&self, state: &State) -> Timestamp {
        let stamp = |entry: &Entry| Some(codec::decode::<cell::Entry>("cell entry", &entry.data).ok()?.stamp);
        let mut tail = self.tail(state);
        tail.retain(|entry| entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty());
        tail.iter().filter_map(stamp).max().map_or(state.time(), |newest| newest.max(state.time()))
    }

    /// The state with the whole log applied, agreed or not.
    fn whole(&self, state: &State) -> State {
        let mut whole = state.clone();
        for entry in self.tail(state) {
            let command = entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty();
            let decoded = command.then(|| codec::decode::<cell::Entry>("cell entry", &entry.data).ok()).flatten();
            match decoded {
                Some(decoded) => {
                    whole.apply(entry.index, &decoded);
                }
                None => whole.skip(entry.index),
            }
        }
        whole
    }
}

/// The survivor.
impl Replica {
    pub(super) fn carry_out(&mut self, ticket: u64, papers: RecoveryPapers) {
        match self.next_line(papers) {
            Ok(state) => self.begin(ticket, state),
            Err(refusal) => {
                let reason = refusal.to_string();
                self.outbox.push(Output::Notice(Notice::RecoveryRefused { cell: self.cell, reason }));
                self.outbox.push(Output::Carried { ticket, result: Err(refusal) });
            }
        }
    }

    fn next_line(&mut self, papers: RecoveryPapers) -> Result<State, Refusal> {
        let now = self.now.instant;
        let conflict = |detail: &str| Refusal::definite(Code::Conflict, detail);
        if self.contact.is_beginning() {
            return Err(conflict("another recovery of this cell is being carried out here"));
        }
        let Some(state) = &self.state else { return Err(conflict("this replica holds nothing yet")) };
        let recovery = state.weigh(&papers)?;
        self.heed(&papers)?;
        if recovery.line != state.line() {
            let detail = format!("this recovery ends line {}, and the cell is on line {}", recovery.line, state.line());
            return Err(Refusal::definite(Code::Fenced, detail));
        }
        if recovery.base != self.base() {
            return Err(conflict("the survivor holds something else than when the recovery was made: look again"));
        }
        if self.is_asleep() {
            self.wake();
            return Err(conflict("the cell sleeps, and nobody is missed: look again in a moment"));
        }
        if self.in_company(now).is_some_and(|since| now.since(since) < ALONE_AFTER) {
            return Err(conflict(
                "the cell has a majority, or had a moment ago: nothing is lost, wait or look at its status",
            ));
        }
        let whole = self.whole(state);
        if !whole.is_understood() {
            return Err(Refusal::definite(
                Code::Unsupported,
                "this version does not know the cell's rules: upgrade it",
            ));
        }
        whole.recover(papers, self.now.wall, |carried: &Carried| self.identity.seal(carried))
    }

    /// Whether no key is dead, by all that this node knows of keys.
    fn heed(&self, papers: &RecoveryPapers) -> Result<(), Refusal> {
        let keyring = self.leading.keyring();
        for lineage in std::iter::once(&papers.tenant).chain(papers.operators.iter().take(RECOVERERS_MAX)) {
            let counts = lineage.descent().is_ok_and(|descent| keyring.speaks_for(&descent, descent.key()));
            if !counts {
                let detail = "the recovery is signed by a key that was replaced: sign it with the current one";
                return Err(Refusal::definite(Code::Unauthorised, detail));
            }
        }
        Ok(())
    }

    /// Starts the next line, with this state at its first index.
    fn begin(&mut self, ticket: u64, state: State) {
        let Some(id) = state.replica_of(self.me) else { return };
        let term = self.raw.raft.term.max(self.raw.raft.raft_log.last_term()) + 1;
        let meta = SnapshotMeta { index: state.applied(), term, voters: vec![id.0], ..SnapshotMeta::default() };
        let hard_state = HardState { term, commit: meta.index, ..HardState::default() };
        self.stop_leading();
        self.give_up_leading();
        for serial in self.reads.asks.serials() {
            let Some((asker, _)) = self.reads.asks.take(serial) else { continue };
            self.tell_answers(asker, Reached::NotLeader(None));
        }
        self.withdraw(None);
        self.wake();

        let timing = Timing::of(&self.config, state.round_trip());
        self.id = id;
        self.raw = start::start_raft(id, &timing, meta.index, Log::new(hard_state, &meta, Vec::new()));
        self.elections = Elections::new(self.cell, timing);
        self.elections.settle(&mut self.raw.raft);
        self.writes.forget();
        self.saved = Saved { index: meta.index, bytes_since: 0 };
        self.contacts.clear();
        (self.captured, self.fetching, self.arrived, self.handing) = (None, None, None, None);
        (self.heir, self.fresh) = (Heir::default(), Fresh::default());
        self.head_changed = true;

        let cell = self.cell;
        let snapshot = StoreOp::Snapshot { cell, meta, state: state.encode() };
        self.state = Some(state);
        let write = self.begin_line(snapshot);
        self.contact = Contact { begins: Some((write, ticket)), ..Contact::default() };
    }

    /// The line has begun once its first state is durable.
    pub(super) fn line_is_durable(&mut self, write: WriteId) {
        if let Some((_, ticket)) = self.contact.begins.take_if(|(first, _)| *first <= write) {
            let (cell, state) = (self.cell, self.state.as_ref().expect("a line begins with a state"));
            let (line, index, digest) = (state.line(), state.applied(), state.digest());
            self.outbox.push(Output::Notice(Notice::Recovered { cell, line, index }));
            self.outbox.push(Output::Notice(Notice::Applied { cell, line, index, digest }));
            self.outbox.push(Output::Carried { ticket, result: Ok(line) });
        }
    }
}

/// Those of the line that ended.
impl Replica {
    /// Somebody speaks on another line: whoever is behind is shown why, or asks.
    pub(super) fn heard_of_line(&mut self, from: NodeId, line: u64) {
        let Some(own) = self.state.as_ref().map(State::line).filter(|own| *own != line && line != 0) else { return };
        if line > own {
            self.ask_for_line(from, own);
        } else {
            self.show_line(from);
        }
    }

    /// A replica says that it is on this line, and hears of a later one.
    pub(super) fn asked_for_line(&mut self, from: NodeId, line: u64) {
        let behind = self.line() > line || (self.line() == line && !self.is_of_this_cell(from));
        if behind {
            self.show_line(from);
        }
    }

    fn show_line(&mut self, to: NodeId) {
        let shown = self.state.as_ref().and_then(State::recovered).filter(|_| !self.contact.is_beginning());
        if let Some(recovered) = shown.cloned()
            && self.contact.may_say(Said::Shown, to, self.now.instant)
        {
            self.send(to, Message::Recovered(Box::new(recovered)));
        }
    }

    fn ask_for_line(&mut self, of: NodeId, own: u64) {
        if self.contact.may_say(Said::Asked, of, self.now.instant) {
            self.send(of, Message::Outdated { line: own });
        }
    }

    fn is_of_this_cell(&self, node: NodeId) -> bool {
        self.state.as_ref().is_some_and(|state| state.members().any(|member| member.node == node))
    }

    /// Others are said to be on a later line, or on another one of the same number: they are asked why.
    pub(super) fn told_of_line(&mut self, line: u64, nodes: &[NodeId]) {
        let Some(own) = self.state.as_ref().map(State::line).filter(|own| *own <= line) else { return };
        let me = self.me;
        for node in nodes.iter().filter(|node| **node != me) {
            self.ask_for_line(*node, own);
        }
    }

    /// It is shown that its line has ended.
    pub(super) fn shown_recovery(&mut self, from: NodeId, recovered: &Recovered) {
        if planted::has(Planted::UnfencedLine) {
            return;
        }
        let Some(state) = self.state.as_ref().filter(|_| !self.contact.is_beginning()) else { return };
        let recovery = match state.is_ended_by(recovered) {
            Ok(recovery) => recovery,
            // Said to several, it comes several times; or whoever says it is behind himself.
            Err(refusal) if refusal.code == Code::Fenced => {
                let own = state.recovered().map(|own| own.papers.statement.hash());
                let other = own.is_some_and(|own| own != recovered.papers.statement.hash());
                if other {
                    self.show_line(from);
                }
                return;
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                return self.outbox.push(Output::Notice(Notice::RecoveryRefused { cell: self.cell, reason }));
            }
        };
        let (cell, line) = (self.cell, state.line());
        let whole = self.whole(state);
        let kept = (self.holds_beyond(&recovery) && whole.is_understood()).then_some(whole);
        let (mut ops, mut bytes) = (Vec::new(), None);
        if let Some(kept) = &kept {
            let state = bytes.insert(kept.encode()).clone();
            let term = self.raw.raft.raft_log.last_term();
            let meta = SnapshotMeta { index: kept.applied(), term, voters: vec![self.id.0], ..SnapshotMeta::default() };
            ops.push(StoreOp::Snapshot { cell: CellId::of_line(cell, line), meta, state });
        }
        ops.push(StoreOp::DropCell { cell });
        let beyond = kept.as_ref().map_or(0, |kept| kept.applied().saturating_sub(recovery.base.index).max(1));
        self.outbox.push(Output::Notice(Notice::Fenced { cell, line, beyond }));
        self.stop(Code::Fenced, format!("line {line} has ended: the cell was recovered without this replica"));
        self.write(ops, None, Vec::new());
        self.outbox.push(Output::Ended(bytes));
    }

    /// Whether it may hold what was agreed and is not in the new line. What a leader agreed on with a majority is in the log of
    /// whoever has an entry of a later term, or of the same term and no earlier index.
    fn holds_beyond(&self, recovery: &Recovery) -> bool {
        let (own, base) = (self.base(), recovery.base);
        self.line() != recovery.line || own.term > base.term || own.index > base.index
    }
}

/// Whether a message of raft shows by its line that its sender or its receiver is behind.
pub(super) const fn is_telling(message: &cell::RaftMessage) -> bool {
    // Every kind but answers: who answers was asked a moment ago.
    matches!(message.kind, 3 | 5 | 7 | 8 | letter::REQUEST_PRE_VOTE)
}
