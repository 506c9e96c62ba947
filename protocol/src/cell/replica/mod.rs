//! One replica of a cell: raft 0.7 behind the machine contract.
//!
//! Data takes this way: a message is checked (`letter`), stepped, and what raft makes of it is taken (`ready`): entries go
//! to the log in memory (`log`) and to disk; messages wait until the writes that they depend on are durable; committed
//! entries are applied to the agreed state (`apply`); whoever waits is answered (`answers`, from `asks` and `reads`). A
//! leader also brings raft's membership to the agreed one (`membership`) and mends its cell (`leading`, by the pure `mend`).
//! `elections` says when a voter campaigns, `snapshots` how a far follower catches up.
//!
//! A panic inside is contained: this replica stops, says so, and its node goes on.
mod letter;
mod log;
mod elections;
mod ready;
mod apply;
mod snapshots;
mod catch_up;
mod asks;
mod reads;
mod answers;
mod membership;
mod mend;
mod leading;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use raft::{
    RawNode, ReadOnlyOption, StateRole,
    eraftpb::{ConfState, HardState},
};

use self::{
    answers::Proposals,
    elections::{Elections, Timing},
    leading::Leading,
    letter::Receiver,
    log::Log,
    reads::Reads,
    ready::Writes,
    snapshots::{Fetching, Provided},
};
use super::{CellConfig, CellGenesis, Description, Input, Message, Output, RaftMessage, Reached, State};
use crate::{
    codec::Blob,
    id::{CellId, NodeId, ReplicaId},
    identity::NodeIdentity,
    machine::{Deadline, Machine, Outbox},
    notice::Notice,
    random::Seed,
    refusal::{Code, Refusal},
    store::{CellBoot, SnapshotMeta, StoreOp},
    time::{Instant, Now},
};

/// After a suspend so many ticks are caught up at once, then the rest is skipped.
const CATCH_UP_TICKS_MAX: u32 = 20;
/// Appends under way to one peer.
const INFLIGHT_MAX: usize = 32;
/// Of entries in one append.
const APPEND_BYTES_MAX: u64 = 256 << 10;
/// Of entries not committed; beyond it proposals are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 8 << 20;
/// Of entries applied in one go.
const COMMITTED_BYTES_PER_READY_MAX: u64 = 16 << 20;
/// A follower takes no more entries while its log holds more than so many times what a snapshot is made after.
const LOG_SNAPSHOTS_MAX: u64 = 8;
/// Attempts that founders, or followers that lost the link to their leader, make without waiting for its silence.
const HURRIED_ATTEMPTS: u32 = 20;
/// Nodes that a newcomer, which knows no member yet, answers.
const CONTACTS_MAX: usize = 16;

/// One replica of a cell, as a [`Machine`] over [`Input`] and [`Output`].
///
/// Make one with [`Replica::found`], [`Replica::open`] or [`Replica::join`], drain it, then drive it. Every `Propose` and
/// `Read` is answered once. Nothing that a peer sends panics it.
pub struct Replica {
    config: CellConfig,
    cell: CellId,
    me: NodeId,
    id: ReplicaId,
    raw: RawNode<Log>,
    elections: Elections,
    /// The agreed state; a newcomer has none until its first snapshot.
    state: Option<State>,
    /// Who sent what to a newcomer: where it answers. At most [`CONTACTS_MAX`].
    contacts: BTreeMap<u64, NodeId>,
    /// The line that a newcomer was told.
    line_heard: u64,
    /// Numbered writes, and what waits for them.
    writes: Writes,
    /// Where the last snapshot on disk stands, and what was logged since.
    saved: Saved,
    next_tick: Instant,
    proposals: Proposals,
    reads: Reads,
    /// The snapshot that peers can fetch now.
    provided: Option<Provided>,
    /// The snapshot that is being fetched.
    fetching: Option<Fetching>,
    /// A fetched snapshot that raft was told of and has not taken yet.
    arrived: Option<(SnapshotMeta, Box<State>, Blob)>,
    /// Links that are down and verdicts, and what was asked for because of them.
    leading: Leading,
    /// Term and leader as last told.
    told_leader: (u64, u64),
    description: Option<Arc<Description>>,
    head_changed: bool,
    /// Why it stopped for good.
    stopped: Option<(Code, String)>,
    /// Of the step under way.
    now: Now,
    outbox: Outbox<Output>,
    /// A fault planted by a test: messages are sent before what they rest on is durable.
    #[cfg(test)]
    hasty: bool,
}

/// The last snapshot that was handed to the disk.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    index: u64,
    /// Of entries applied since.
    bytes_since: u64,
}

/// What a replica starts from.
struct Origin {
    id: ReplicaId,
    log: Log,
    /// Index that `state` has applied.
    applied: u64,
    state: Option<State>,
}

impl Replica {
    /// A founding member. Raft starts behind a snapshot at index 1, term 1: the state that the genesis makes. Its first
    /// output is the write of that snapshot; the founder with the lowest id campaigns once it is durable.
    ///
    /// # Errors
    /// When the genesis does not hold, or gives this node no vote.
    #[expect(clippy::needless_pass_by_value, reason = "who runs here is handed over once")]
    pub fn found(
        config: CellConfig,
        seed: Seed,
        me: NodeIdentity,
        genesis: &CellGenesis,
        now: Now,
    ) -> Result<Self, Refusal> {
        let state = State::found(genesis)?;
        let node = me.node();
        let id = state.replica_of(node).ok_or_else(|| {
            Refusal::definite(
                Code::Invalid,
                format!("the genesis of cell {:?} gives node {node:?} no vote", state.cell()),
            )
        })?;
        let target = state.target_membership();
        let meta = SnapshotMeta {
            index: 1,
            term: 1,
            voters: target.voters.iter().map(|id| id.0).collect(),
            ..SnapshotMeta::default()
        };
        let hard_state = HardState { term: 1, commit: 1, ..HardState::default() };
        let snapshot = StoreOp::Snapshot { cell: state.cell(), meta: meta.clone(), state: state.encode() };
        let log = Log::new(hard_state, &meta, Vec::new());
        let cell = state.cell();
        let mut this = Self::new(config, seed, node, cell, Origin { id, log, applied: 1, state: Some(state) }, now);
        let first = target.voters.first() == Some(&id);
        this.begin_founding(snapshot, first);
        Ok(this)
    }

    /// A member that starts again, from what its disk held.
    ///
    /// # Errors
    /// When the disk holds no sound state of this cell with this node in it: a newcomer that never got its first
    /// snapshot, or a member that has left. Forget the cell then; a member is told by its leader's next message to join.
    #[expect(clippy::needless_pass_by_value, reason = "who runs here is handed over once")]
    pub fn open(
        config: CellConfig,
        seed: Seed,
        me: NodeIdentity,
        cell: CellId,
        boot: CellBoot,
        now: Now,
    ) -> Result<Self, Refusal> {
        let node = me.node();
        let unfit =
            |why: &str| Refusal::definite(Code::NotFound, format!("the replica of cell {cell:?} on disk {why}"));
        let snapshot = boot.snapshot.ok_or_else(|| unfit("has no snapshot yet"))?;
        let state = State::decode(&snapshot.state).map_err(|error| unfit(&format!("is damaged: {error}")))?;
        if state.cell() != cell || state.applied() != snapshot.meta.index {
            return Err(unfit("is of another cell or index"));
        }
        let id = state.replica_of(node).ok_or_else(|| unfit("is no member any more"))?;
        letter::check_meta(&snapshot.meta, id.0).map_err(|_| unfit("is no member of raft's group any more"))?;
        let meta = snapshot.meta;
        let entries = catch_up::read_back(&meta, boot.entries).ok_or_else(|| unfit("has a log with gaps"))?;
        let last = entries.last().map_or((meta.index, meta.term), |entry| (entry.index, entry.term));
        let hard_state = HardState {
            term: boot.hard_state.term.max(last.1),
            vote: if boot.hard_state.term < last.1 { 0 } else { boot.hard_state.vote },
            commit: boot.hard_state.commit.clamp(meta.index, last.0),
            ..HardState::default()
        };
        let log = Log::new(hard_state, &meta, entries);
        Ok(Self::new(config, seed, node, cell, Origin { id, log, applied: meta.index, state: Some(state) }, now))
    }

    /// A newcomer that was told of its membership by the first message to `id`: an empty log, waiting for a snapshot.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "who runs here is handed over once")]
    pub fn join(config: CellConfig, seed: Seed, me: NodeIdentity, cell: CellId, id: ReplicaId, now: Now) -> Self {
        let id = ReplicaId(id.0.max(1));
        Self::new(config, seed, me.node(), cell, Origin { id, log: Log::default(), applied: 0, state: None }, now)
    }

    fn new(config: CellConfig, seed: Seed, me: NodeId, cell: CellId, origin: Origin, now: Now) -> Self {
        let round_trip = origin.state.as_ref().map_or(Duration::ZERO, State::round_trip);
        let timing = Timing::of(&config, round_trip);
        let Origin { id, log, applied, state } = origin;
        let next_tick = now.instant + first_tick(&config, seed);
        let mut this = Self {
            raw: start_raft(id, &timing, applied, log),
            elections: Elections::new(cell, timing),
            saved: Saved { index: applied, bytes_since: 0 },
            config,
            cell,
            me,
            id,
            state,
            contacts: BTreeMap::new(),
            line_heard: 0,
            writes: Writes::default(),
            next_tick,
            proposals: Proposals::default(),
            reads: Reads::default(),
            provided: None,
            fetching: None,
            arrived: None,
            leading: Leading::default(),
            told_leader: (0, 0),
            description: None,
            head_changed: true,
            stopped: None,
            now,
            outbox: Outbox::default(),
            #[cfg(test)]
            hasty: false,
        };
        this.elections.settle(&mut this.raw.raft);
        this.outbox.push(Output::Notice(Notice::CellOpened { cell, replica: id }));
        this
    }

    /// The head of the state as of the last change; `None`: a newcomer without state.
    #[must_use]
    pub fn description(&self) -> Option<Arc<Description>> {
        self.description.clone()
    }

    /// Which cell.
    #[must_use]
    pub const fn cell(&self) -> CellId {
        self.cell
    }

    /// Which member.
    #[must_use]
    pub const fn replica(&self) -> ReplicaId {
        self.id
    }

    /// The agreed state; `None`: a newcomer.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Whether it believes that it leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.stopped.is_none() && self.raw.raft.state == StateRole::Leader
    }

    /// Who leads, as it believes.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        if self.stopped.is_some() {
            return None;
        }
        self.node_of(self.raw.raft.leader_id)
    }

    /// Why it stopped for good, if it did.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_ref().map(|(_, why)| why.as_str())
    }

    fn node_of(&self, replica: u64) -> Option<NodeId> {
        match &self.state {
            Some(state) => state.node_of(ReplicaId(replica)),
            None => self.contacts.get(&replica).copied(),
        }
    }

    /// Runs one step, containing a panic to this replica.
    fn contained(&mut self, now: Now, step: impl FnOnce(&mut Self)) {
        self.now = now;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            step(self);
            self.pump();
        }));
        let Err(panic) = outcome else { return };
        let what = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let reason: String = what.unwrap_or("a panic").chars().take(500).collect();
        self.stop(Code::Unreachable, reason.clone());
        self.outbox.push(Output::Notice(Notice::CellQuarantined { cell: self.cell, reason }));
    }

    /// Does nothing any more. Whoever waits is told so.
    fn stop(&mut self, code: Code, why: String) {
        self.stopped = Some((code, why));
        self.writes.forget();
        self.give_up_all();
        if self.told_leader.1 != 0 {
            self.outbox.push(Output::Notice(Notice::Leader {
                cell: self.cell,
                leader: None,
                term: self.told_leader.0,
            }));
        }
    }

    fn react(&mut self, input: Input) {
        match input {
            Input::Received { from, message } => self.receive(from, message),
            Input::Persisted(write) => self.persisted(write),
            Input::PersistFailed(_, fault) => {
                self.stop(Code::DiskFailed, fault.to_string());
                self.outbox.push(Output::Notice(Notice::DiskFailed(fault)));
            }
            Input::Fetched { content, bytes } => self.fetched(content, bytes),
            Input::Propose { context, command } => {
                self.take_proposal(asks::Asker::Here(context.request), context.deadline, command);
            }
            Input::Read { context, barrier, queries } => {
                self.take_read(asks::Asker::Here(context.request), context.deadline, barrier, queries);
            }
            Input::Link { node, up } => self.link(node, up),
            Input::Verdict { node, down, evidence } => self.leading.verdict(node, down.then_some(evidence)),
            Input::Found { need, found } => self.found_candidate(&need, found),
        }
    }

    fn receive(&mut self, from: NodeId, message: Message) {
        match message {
            Message::Raft { line, message } => self.receive_raft(from, line, message),
            Message::Propose { context, command } => {
                let context = context.rebase(self.now, answers::LEFT_MAX);
                self.take_proposal(asks::Asker::There(from, context.request), context.deadline, command);
            }
            Message::Read { context, barrier, queries } => {
                let context = context.rebase(self.now, answers::LEFT_MAX);
                self.take_read(asks::Asker::There(from, context.request), context.deadline, barrier, queries);
            }
            // Answers are for callers, not for replicas.
            Message::Outcome { .. } | Message::Answers { .. } => {}
        }
    }

    fn receive_raft(&mut self, from: NodeId, line: u64, message: RaftMessage) {
        let stranger = match &self.state {
            Some(state) => state.line() != line || state.node_of(ReplicaId(message.from)) != Some(from),
            None => self.contacts.get(&message.from).is_some_and(|node| *node != from),
        };
        if stranger {
            return;
        }
        let (offer, term) = (message.snapshot.clone(), message.term);
        let kept = offer.is_some().then(|| message.clone());
        let sender = message.from;
        match letter::admit(message, &self.receiver()) {
            Ok(_) if self.leading.distrusts(sender, term, self.now.instant) => {}
            Ok(message) => {
                if self.state.is_none() {
                    self.heard(sender, from, line);
                }
                match (offer, kept) {
                    (Some(offer), Some(kept)) => self.offered(from, &offer, kept, message),
                    _ => self.step(message),
                }
            }
            Err(letter::Dropped::FromTheFuture) => {
                let ticks = u32::try_from(self.elections.timing.bound()).unwrap_or(u32::MAX);
                self.leading.distrust(sender, term, self.now.instant + self.config.tick.saturating_mul(ticks));
            }
            Err(letter::Dropped::Malformed(_) | letter::Dropped::Untimely) => {}
        }
    }

    /// A newcomer answers those that it heard.
    fn heard(&mut self, replica: u64, node: NodeId, line: u64) {
        self.line_heard = line;
        if self.contacts.len() < CONTACTS_MAX {
            self.contacts.insert(replica, node);
        }
    }

    fn receiver(&self) -> Receiver {
        let raft = &self.raw.raft;
        Receiver {
            id: self.id.0,
            term: raft.term,
            last: raft.raft_log.last_index(),
            asked_for_votes: self.writes.votes_left(),
            newcomer: self.state.is_none(),
            room: raft.store().bytes() < self.log_bytes_due() * LOG_SNAPSHOTS_MAX,
            wall: self.now.wall,
        }
    }

    fn step(&mut self, message: raft::eraftpb::Message) {
        // An answer from a peer that left meanwhile is refused by raft: nothing is lost.
        let _ = self.raw.step(message);
        self.elections.settle(&mut self.raw.raft);
    }

    fn tick(&mut self) {
        let raft = &mut self.raw.raft;
        self.elections.assert_settled(raft);
        // raft 0.7 lets a single voter win at once and assumes then that its whole log is durable.
        let alone = raft.prs().is_singleton() && raft.state != StateRole::Leader;
        if !(alone && self.writes.is_busy()) {
            self.raw.tick();
        }
        self.elections.settle(&mut self.raw.raft);
        self.elections.keep_hurrying(&mut self.raw.raft);
        self.tick_leading();
    }

    fn link(&mut self, node: NodeId, up: bool) {
        self.leading.link(node, up);
        if up {
            return;
        }
        let leads_there = self.leader() == Some(node) && node != self.me;
        if leads_there {
            self.elections.hurry(&mut self.raw.raft, HURRIED_ATTEMPTS);
        }
        if self.is_leader() {
            let replicas: Vec<u64> = self.peers().into_iter().filter(|id| self.node_of(*id) == Some(node)).collect();
            for replica in replicas {
                self.raw.report_unreachable(replica);
            }
        }
    }

    /// All members that raft knows but this one, in order.
    fn peers(&self) -> Vec<u64> {
        let mut peers: Vec<u64> = self.raw.raft.prs().iter().map(|(id, _)| *id).collect();
        peers.retain(|id| *id != self.id.0);
        peers.sort_unstable();
        peers
    }

    /// Turns all that is ready into outputs.
    fn pump(&mut self) {
        loop {
            if self.stopped.is_some() {
                return;
            }
            self.propose_queued();
            self.propose_membership();
            self.start_round();
            self.serve_snapshots();
            if !self.raw.has_ready() {
                break;
            }
            self.take_ready();
        }
        self.notice_leader();
        self.describe();
        self.retime();
    }

    /// Tells who leads when that changed, and gives up what only a leader can do.
    fn notice_leader(&mut self) {
        let raft = &self.raw.raft;
        let (leader, term) = (raft.leader_id, raft.term);
        if !self.is_leader() || self.leading.since.is_some_and(|(led, _)| led != term) {
            self.stop_leading();
        }
        if self.is_leader() && self.leading.since.is_none() {
            self.leading.since = Some((term, self.now.instant));
            self.leading.members_due = true;
        }
        if self.told_leader == (term, leader) {
            return;
        }
        let leader_changed = self.told_leader.1 != leader;
        self.told_leader = (term, leader);
        self.head_changed |= leader_changed;
        if leader_changed {
            let leader = self.node_of(leader);
            self.outbox.push(Output::Notice(Notice::Leader { cell: self.cell, leader, term }));
        }
    }

    fn describe(&mut self) {
        if !std::mem::take(&mut self.head_changed) {
            return;
        }
        let Some(description) = self.described() else { return };
        let description = Arc::new(description);
        self.description = Some(Arc::clone(&description));
        self.outbox.push(Output::Described(description));
    }

    /// The head of the state with what only this replica knows.
    fn described(&self) -> Option<Description> {
        let mut description = self.state.as_ref()?.description();
        description.leader = self.leader();
        if self.is_leader() {
            let prs = self.raw.raft.prs();
            let known = |id: u64| prs.get(id).map(|progress| (ReplicaId(id), progress.matched));
            let members = description.members.iter().map(|member| member.replica.0);
            description.progress = members.filter_map(known).collect();
        }
        Some(description)
    }

    /// A newcomer learns the cell's round trip with its first snapshot: raft starts anew with timeouts that fit it, once
    /// everything is durable, which is as if it had been restarted.
    fn retime(&mut self) {
        let Some(state) = &self.state else { return };
        let timing = Timing::of(&self.config, state.round_trip());
        if timing == self.elections.timing || self.writes.is_busy() || self.is_leader() {
            return;
        }
        let applied = state.applied();
        let hard_state = self.raw.raft.hard_state();
        let conf = self.conf();
        let log = std::mem::take(self.raw.mut_store()).restarted(hard_state, conf);
        self.raw = start_raft(self.id, &timing, applied, log);
        self.elections = Elections::new(self.cell, timing);
        self.elections.settle(&mut self.raw.raft);
        self.writes.restarted();
    }

    /// Raft's membership now.
    fn conf(&self) -> ConfState {
        self.raw.raft.prs().conf().to_conf_state()
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.outbox.push(Output::Send { to, message });
    }
}

/// raft as it starts, and as it starts anew.
fn start_raft(id: ReplicaId, timing: &Timing, applied: u64, log: Log) -> RawNode<Log> {
    let config = raft::Config {
        id: id.0,
        election_tick: timing.election,
        heartbeat_tick: timing.heartbeat,
        min_election_tick: timing.election,
        max_election_tick: timing.bound(),
        applied,
        max_size_per_msg: APPEND_BYTES_MAX,
        max_inflight_msgs: INFLIGHT_MAX,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        batch_append: true,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: COMMITTED_BYTES_PER_READY_MAX,
        ..raft::Config::default()
    };
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&config, log, &silent)
        .expect("the settings hold by construction, and the log starts where applied does")
}

/// Replicas of one process do not all tick at once.
fn first_tick(config: &CellConfig, seed: Seed) -> Duration {
    seed.split("ticks").rng().duration_below(config.tick)
}

impl Machine for Replica {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        if self.stopped.is_some() {
            self.now = now;
            self.refuse(input);
            return;
        }
        self.contained(now, |this| this.react(input));
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        if self.stopped.is_some() {
            return;
        }
        self.contained(now, |this| {
            for _ in 0..CATCH_UP_TICKS_MAX {
                if now.instant < this.next_tick {
                    break;
                }
                this.next_tick = this.next_tick + this.config.tick;
                this.tick();
                this.pump();
            }
            if this.next_tick <= now.instant {
                this.next_tick = now.instant + this.config.tick;
            }
            this.give_up_late();
        });
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        if self.stopped.is_some() {
            return None;
        }
        let tick = Deadline { at: self.next_tick, reason: "raft tick" };
        let asked = self.first_deadline().map(|at| Deadline { at, reason: "a caller's deadline" });
        Some(asked.map_or(tick, |asked| asked.min(tick)))
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("cell", &self.cell)
            .field("id", &self.id)
            .field("term", &self.raw.raft.term)
            .field("role", &self.raw.raft.state)
            .field("applied", &self.state.as_ref().map(State::applied))
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

/// A definite or not definite no to whoever waits.
fn no<T>(refusal: Refusal) -> Reached<T> {
    Reached::No(refusal)
}
