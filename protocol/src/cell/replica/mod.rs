//! One replica of a cell: raft 0.7 behind the machine contract.
//!
//! Data takes this way: a message is checked (`letter`), stepped, and what raft makes of it is taken (`ready`): entries go
//! to the log in memory (`log`) and to disk; messages wait until the writes that they depend on are durable; committed
//! entries are applied to the agreed state (`apply`); whoever waits is answered (`answers`, from `asks` and `reads`). A
//! leader also brings raft's membership to the agreed one (`membership`) and mends its cell (`leading`, by the pure `mend`);
//! before its node drains or stops it lets another lead (`handing`). A member that has left stops for good (`farewell`).
//! `elections` says when a voter campaigns, `snapshots` how a far follower catches up, `capturing` what its tenant takes home,
//! `recovering` how a line ends and the next begins, `wiped` how one that lost its disk rejoins.
//!
//! A panic inside is contained: this replica stops, says so, and its node goes on.
mod start;
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
mod abroad;
mod leading;
mod handing;
mod farewell;
mod announce;
mod missing;
mod wiped;
mod sleep;
mod capturing;
mod recovering;
mod fresh;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use raft::{RawNode, StateRole, eraftpb::ConfState};

pub use capturing::{Kept, PIECE_BYTES_MAX};

use self::{
    announce::Announcement,
    answers::Proposals,
    capturing::Captured,
    elections::{Elections, Timing},
    fresh::Fresh,
    handing::{Handing, Heir},
    leading::Leading,
    letter::Receiver,
    log::Log,
    reads::Reads,
    ready::Writes,
    recovering::Contact,
    sleep::Sleep,
    snapshots::{Fetching, Provided},
    wiped::Wiped,
};
use super::state::RULES_OF_DRAIN;
use super::{CellConfig, Description, Input, Message, Output, RaftMessage, Reached, State};
use crate::{
    codec::Blob,
    id::{CellId, NodeId, ReplicaId},
    identity::NodeIdentity,
    machine::{Deadline, Machine, Outbox},
    notice::Notice,
    planted::{self, Planted},
    refusal::{Code, Refusal},
    store::SnapshotMeta,
    time::{Instant, Now},
};
pub use fresh::{Slumber, Standing};
pub(crate) use wiped::MEMBER_ASKED;

/// After a suspend so many ticks are caught up at once (an election timeout if that is more), then the rest is skipped.
const CATCH_UP_TICKS_MAX: u32 = 20;
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
    identity: NodeIdentity,
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
    /// What a tenant reads of it.
    captured: Option<Captured>,
    /// The snapshot that is being fetched.
    fetching: Option<Fetching>,
    /// A fetched snapshot that raft was told of and has not taken yet.
    arrived: Option<(SnapshotMeta, Box<State>, Blob)>,
    /// Links that are down and verdicts, and what was asked for because of them.
    leading: Leading,
    /// It leads and lets another lead.
    handing: Option<Handing>,
    heir: Heir,
    announcement: Announcement,
    missing: missing::Missing,
    /// While it leads: members that have lost what they held.
    wiped: Wiped,
    contact: Contact,
    sleep: Sleep,
    fresh: Fresh,
    /// Term and leader as last told.
    told_leader: (u64, u64),
    description: Option<Arc<Description>>,
    head_changed: bool,
    /// Why it stopped for good.
    stopped: Option<(Code, String)>,
    /// Of the step under way.
    now: Now,
    outbox: Outbox<Output>,
}

/// The last snapshot that was handed to the disk.
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    index: u64,
    /// Of entries applied since.
    bytes_since: u64,
}

impl Replica {
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

    /// Whether it leads where others could, and would let them.
    #[must_use]
    pub fn can_hand_over(&self) -> bool {
        let others = |state: &State| state.members().any(|member| member.votes && member.node != self.me);
        self.is_leader() && self.state.as_ref().is_some_and(|state| state.rules() >= RULES_OF_DRAIN && others(state))
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
        self.wake();
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
            Input::Verdict { node, down, evidence } => {
                // What nobody signed convinces no replica: an experiment's detector has no evidence.
                let tells = down && !evidence.is_empty();
                self.leading.verdict(node, tells.then_some(evidence));
                self.wake_to_mend();
            }
            Input::Drain { node, presence } => {
                self.leading.drain(node, presence.map(|presence| *presence));
                self.wake_to_mend();
            }
            Input::Depart => {
                self.leading.depart();
                self.wake_to_mend();
                self.mend();
            }
            Input::Keys(keyring) => {
                self.leading.keys(keyring);
                self.wake_to_mend();
            }
            Input::Found { need, found } => self.found_candidate(&need, found),
            Input::Recover { ticket, papers } => self.carry_out(ticket, *papers),
            Input::Later { line, nodes } => self.told_of_line(line, &nodes),
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
            Message::Sleep { line, term, index } => self.told_to_sleep(from, line, term, index),
            Message::Slept { line, term, index } => self.hear_asleep(from, line, term, index),
            Message::Prove { line, serial } => self.asked_to_prove(from, line, serial),
            Message::Committed { line, serial, index } => self.told_committed(from, line, serial, index),
            Message::Outdated { line } => self.asked_for_line(from, line),
            Message::Recovered(recovered) => self.shown_recovery(from, &recovered),
            Message::Surveyed { request, report } if request == MEMBER_ASKED => self.told_what_is_held(from, &report),
            // Answers are for callers, the word to wake is for hosts without a replica, and the rest is between nodes.
            Message::Outcome { .. }
            | Message::Answers { .. }
            | Message::Wake { .. }
            | Message::Survey { .. }
            | Message::Surveyed { .. }
            | Message::Recover { .. }
            | Message::Carried { .. } => {}
        }
    }

    fn receive_raft(&mut self, from: NodeId, line: u64, message: RaftMessage) {
        let stranger = match &self.state {
            Some(state) => state.line() != line || state.node_of(ReplicaId(message.from)) != Some(from),
            None => self.contacts.get(&message.from).is_some_and(|node| *node != from),
        };
        if stranger {
            if recovering::is_telling(&message) {
                self.heard_of_line(from, line);
            }
            return;
        }
        if message.kind == letter::TRANSFER_LEADER {
            return self.heard_of_heir(&message);
        }
        if self.is_asked_by_who_left(&message) {
            return self.say_farewell(message.from, message.index, message.log_term);
        }
        if letter::shows_out(&message) && message.to == self.id.0 {
            return self.fetch(from, message);
        }
        let (offer, term) = (message.snapshot.clone(), message.term);
        let kept = offer.is_some().then(|| message.clone());
        let sender = message.from;
        match letter::admit(message, &self.receiver()) {
            Ok(_) if self.leading.distrusts(sender, term, self.now.instant) => {}
            Ok(message) => {
                self.wake_for(message.get_msg_type());
                self.note_contact(sender, message.get_msg_type());
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
            leader: raft.leader_id,
            heir: if self.heir.term == raft.term { self.heir.replica } else { 0 },
            installing: raft.raft_log.applied < raft.store().floor(),
        }
    }

    fn step(&mut self, message: raft::eraftpb::Message) {
        if planted::has(Planted::DoubleVote) && message.get_msg_type() == raft::eraftpb::MessageType::MsgRequestVote {
            (self.raw.raft.vote, self.raw.raft.leader_id) = (raft::INVALID_ID, raft::INVALID_ID);
        }
        // An answer from a peer that left meanwhile is refused by raft: nothing is lost.
        let _ = self.raw.step(message);
        self.elections.settle(&mut self.raw.raft);
    }

    /// Ticks for the time since the last step. A replica is woken only for a tick at which something is due (see
    /// `idle_ticks`); those before it are made up for here, at the latest before anything else happens.
    fn catch_up(&mut self) {
        if self.is_asleep() {
            return;
        }
        let ticks_max = u32::try_from(self.elections.timing.bound()).unwrap_or(u32::MAX).max(CATCH_UP_TICKS_MAX);
        for _ in 0..ticks_max {
            if self.now.instant < self.next_tick {
                return;
            }
            self.next_tick = self.next_tick + self.config.tick;
            self.tick();
            if self.raw.has_ready() {
                self.pump();
            }
        }
        self.next_tick = self.now.instant + self.config.tick;
    }

    /// How many ticks after the next one nothing can be due but counting: a follower counts up to its timeout, a leader
    /// to its next heartbeat.
    fn idle_ticks(&self) -> u32 {
        let raft = &self.raw.raft;
        let left = match raft.state {
            StateRole::Follower => raft.randomized_election_timeout().saturating_sub(raft.election_elapsed),
            StateRole::Leader => {
                let heartbeat = raft.heartbeat_timeout().saturating_sub(raft.heartbeat_elapsed());
                let heartbeat = heartbeat.min(self.ticks_to_bedtime().unwrap_or(heartbeat));
                heartbeat.min(raft.election_timeout().saturating_sub(raft.election_elapsed))
            }
            StateRole::Candidate | StateRole::PreCandidate => 1,
        };
        u32::try_from(left.saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn tick(&mut self) {
        let raft = &mut self.raw.raft;
        self.elections.assert_settled(raft);
        // raft 0.7 lets a single voter win at once and assumes then that its whole log is durable.
        let alone = raft.prs().is_singleton() && raft.state != StateRole::Leader;
        // It looks through the entries that it has not applied before it campaigns. While a snapshot that took their place
        // is being made durable they are not there, and it panics: the seeds of `replicas_agree_…` found it.
        let installing = raft.state != StateRole::Leader && raft.raft_log.applied < raft.store().floor();
        if !(installing || alone && self.writes.is_busy() || self.holds_its_breath()) {
            self.raw.tick();
        }
        self.elections.settle(&mut self.raw.raft);
        self.elections.keep_hurrying(&mut self.raw.raft);
        self.tick_leading();
        self.tick_snapshots();
        self.tick_announcement();
        self.tick_missing();
        self.tick_capture();
        self.tick_sleep();
        self.tick_fresh();
        if self.asks_for_farewell() {
            self.ask_for_farewell();
        }
    }

    fn link(&mut self, node: NodeId, up: bool) {
        self.leading.link(node, up);
        self.missing.link(node, up);
        if up {
            self.ask_anew();
            return;
        }
        self.wake_without(node);
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
        self.wake_to_work();
        loop {
            if self.stopped.is_some() {
                return;
            }
            self.go_on_handing_over();
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
        self.say_good_night();
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
        if self.contact.is_beginning() || !std::mem::take(&mut self.head_changed) {
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
        self.raw = start::start_raft(self.id, &timing, applied, log);
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
        self.contained(now, |this| {
            this.catch_up();
            this.react(input);
        });
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        if self.stopped.is_some() {
            return;
        }
        self.contained(now, |this| {
            this.catch_up();
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
        let tick = Deadline { at: self.next_tick + self.config.tick * self.idle_ticks(), reason: "raft tick" };
        let asked = self.first_deadline().map(|at| Deadline { at, reason: "a caller's deadline" });
        if self.is_asleep() {
            return asked;
        }
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
            .field("asleep", &self.is_asleep())
            .field("applied", &self.state.as_ref().map(State::applied))
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

/// A definite or not definite no to whoever waits.
fn no<T>(refusal: Refusal) -> Reached<T> {
    Reached::No(refusal)
}
