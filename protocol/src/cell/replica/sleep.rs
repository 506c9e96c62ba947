//! A quiet cell sleeps: it has no tick, timer or message.
//!
//! A leader that sees everything agreed, and known to all, says so to every node that holds a replica or a lease of the cell,
//! a round trip after a heartbeat, so that none of its answers is under way: when it wakes it has heard from everybody since
//! it last counted. Who sees the same falls asleep and answers; once all have, the leader sleeps too. If one does not, the
//! next heartbeat wakes the others and it is tried again later.
//!
//! From then on it is for pairs of nodes to know whether both live (`reach/vigil`): whoever loses its leader's node wakes and
//! campaigns, a leader wakes when it loses any node of the cell. Any message of raft wakes, and so does the first write or
//! read. Cell time stands still meanwhile, so no lease is renewed and none runs out.
use std::{collections::BTreeSet, time::Duration};

use raft::{StateRole, eraftpb::MessageType};

use super::{Replica, mend};
use crate::{
    cell::{Message, Need, Output, State, state::RULES_MAX},
    id::NodeId,
    time::Instant,
};

/// Whether this replica sleeps, and how far its cell is on the way there.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    asleep: bool,
    /// An entry was applied then, or it woke.
    stirred: Instant,
    /// The last heartbeat was answered, and nothing was agreed for long enough.
    due: bool,
    bedtime: Option<Bedtime>,
}

/// The leader has told all to sleep.
#[derive(Debug)]
struct Bedtime {
    index: u64,
    /// Who has not answered.
    awaited: BTreeSet<NodeId>,
    /// Who votes, but for the leader.
    voters: BTreeSet<NodeId>,
    said: Instant,
}

/// Once all who vote sleep, a leader waits so long for the answers of others, who may be far away, before it beats again.
const BREATH: Duration = Duration::from_secs(1);

impl Replica {
    /// Whether it sleeps.
    #[must_use]
    pub const fn is_asleep(&self) -> bool {
        self.sleep.asleep
    }

    /// Something was applied.
    pub(super) fn stir(&mut self) {
        self.sleep.stirred = self.now.instant;
        self.sleep.bedtime = None;
    }

    /// After a tick of a leader: is it time to sleep?
    pub(super) fn tick_sleep(&mut self) {
        if !self.is_leader() {
            return;
        }
        let since_beat = self.raw.raft.heartbeat_elapsed();
        if since_beat == 0 || self.sleep.bedtime.as_ref().is_some_and(|it| self.now.instant.since(it.said) >= BREATH) {
            // Whoever sleeps already is woken by this heartbeat.
            self.sleep.bedtime = None;
        }
        let undecided = self.sleep.bedtime.is_none();
        self.sleep.due = since_beat == self.elections.timing.lead && undecided && self.was_quiet_for_long();
    }

    /// Whether the next heartbeat can wait: all who vote sleep already, and it would only wake them.
    pub(super) fn holds_its_breath(&self) -> bool {
        let waits = |bedtime: &Bedtime| {
            bedtime.awaited.is_disjoint(&bedtime.voters) && self.now.instant.since(bedtime.said) < BREATH
        };
        self.is_leader() && self.sleep.bedtime.as_ref().is_some_and(waits)
    }

    /// Ticks of a leader until it may be time to sleep.
    pub(super) fn ticks_to_bedtime(&self) -> Option<usize> {
        let left = self.elections.timing.lead.checked_sub(self.raw.raft.heartbeat_elapsed())?;
        (left > 0 && self.was_quiet_for_long()).then_some(left)
    }

    fn was_quiet_for_long(&self) -> bool {
        self.now.instant.since(self.sleep.stirred) >= self.config.quiet
    }

    /// Work wakes, and there is no bedtime while it waits.
    pub(super) fn wake_to_work(&mut self) {
        if self.has_queued() {
            self.sleep.bedtime = None;
        }
        if self.has_work() {
            self.wake();
        }
    }

    /// At the end of a step in which it was due, all are told to sleep.
    pub(super) fn say_good_night(&mut self) {
        if !std::mem::take(&mut self.sleep.due) || !self.is_quiet() {
            return;
        }
        let (line, term, index) = (self.line(), self.raw.raft.term, self.raw.raft.raft_log.last_index());
        let awaited = self.relied_on();
        for node in &awaited {
            self.send(*node, Message::Sleep { line, term, index });
        }
        let state = self.state.as_ref().expect("a quiet leader has state");
        let voters = state.members().filter(|member| member.votes && member.node != self.me);
        let voters = voters.map(|member| member.node).collect();
        self.sleep.bedtime = Some(Bedtime { index, awaited, voters, said: self.now.instant });
        self.sleep_if_all_do();
    }

    /// Its leader says that there is nothing to do.
    pub(super) fn told_to_sleep(&mut self, from: NodeId, line: u64, term: u64, index: u64) {
        let raft = &self.raw.raft;
        let follows = raft.state == StateRole::Follower && raft.term == term && self.leader() == Some(from);
        if follows && self.line() == line && self.is_settled_at(index) && self.is_idle() {
            self.fall_asleep();
            self.send(from, Message::Slept { line, term, index });
        }
    }

    /// Somebody sleeps.
    pub(super) fn hear_asleep(&mut self, from: NodeId, line: u64, term: u64, index: u64) {
        if self.line() != line || self.raw.raft.term != term {
            return;
        }
        if let Some(bedtime) = self.sleep.bedtime.as_mut().filter(|bedtime| bedtime.index == index) {
            bedtime.awaited.remove(&from);
            self.sleep_if_all_do();
        }
    }

    fn sleep_if_all_do(&mut self) {
        let all_do = self.sleep.bedtime.take_if(|bedtime| bedtime.awaited.is_empty()).is_some();
        if all_do && self.is_quiet() {
            self.fall_asleep();
        }
    }

    fn fall_asleep(&mut self) {
        if !std::mem::replace(&mut self.sleep.asleep, true) {
            let on = self.relied_on();
            self.outbox.push(Output::Sleeps(Some(on)));
        }
    }

    /// Goes on where it stopped. Time did not pass for raft meanwhile.
    pub(super) fn wake(&mut self) {
        if !std::mem::take(&mut self.sleep.asleep) {
            return;
        }
        self.outbox.push(Output::Sleeps(None));
        self.note_slept();
        self.sleep.stirred = self.now.instant;
        self.next_tick = self.now.instant + self.config.tick;
        if self.is_leader() {
            self.leading.woke(self.now.instant);
        }
    }

    /// A message of raft woke this replica. One that wants its vote says that the leader may be gone: a leader that lives is
    /// woken by the same and has one heartbeat's time to say so.
    pub(super) fn wake_for(&mut self, kind: MessageType) {
        if !self.sleep.asleep {
            return;
        }
        self.wake();
        let wants_vote = matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        if wants_vote && !self.is_leader() {
            let wait = self.elections.timing.until_next_heartbeat();
            let elapsed = &mut self.raw.raft.election_elapsed;
            *elapsed = (*elapsed).max(wait);
        }
    }

    /// A node of the cell is lost.
    pub(super) fn wake_without(&mut self, node: NodeId) {
        if self.sleep.asleep && self.relied_on().contains(&node) {
            self.wake();
        }
    }

    /// A leader that learned something while it slept wakes if that gives it something to do.
    pub(super) fn wake_to_mend(&mut self) {
        let Some(state) = self.state.as_ref().filter(|_| self.sleep.asleep && self.is_leader()) else { return };
        // Leases stand still with the cell's time.
        let seen = mend::Seen { stamp: state.time(), ..self.seen(state) };
        if !self.is_mended(state, &seen) {
            self.wake();
        }
    }

    /// Whose loss would wake this replica: a leader relies on every node of the cell, all others on their leader's.
    fn relied_on(&self) -> BTreeSet<NodeId> {
        if !self.is_leader() {
            return self.leader().into_iter().collect();
        }
        let Some(state) = &self.state else { return BTreeSet::new() };
        let members = state.members().map(|member| member.node);
        members.chain(state.leases().map(|lease| lease.node)).filter(|node| *node != self.me).collect()
    }

    /// Whether a leader sees that nobody in its cell has anything to do.
    fn is_quiet(&self) -> bool {
        let Some(state) = &self.state else { return false };
        let raft = &self.raw.raft;
        let last = raft.raft_log.last_index();
        let all_have_it = raft.prs().iter().all(|(id, progress)| *id == self.id.0 || progress.matched == last);
        all_have_it
            && self.leads_in_earnest()
            && self.is_settled_at(last)
            && self.is_idle()
            && !self.leading.members_due
            && !raft.has_pending_conf()
            && !self.relied_on().iter().any(|node| self.leading.lacks(*node) || self.leading.is_draining(*node))
            && !self.leading.is_draining(self.me)
            && self.is_mended(state, &self.seen(state))
    }

    /// Whether nothing is to be done, or only what was just tried: a copy that nobody grants keeps no cell awake.
    fn is_mended(&self, state: &State, seen: &mend::Seen<'_>) -> bool {
        let tried = |need: &Need| need.law.is_some() && self.leading.seeks(need, self.now.instant);
        mend::mend(state, seen).iter().all(|step| matches!(step, mend::Step::Seek(need) if tried(need)))
    }

    /// Its log ends at `index`, and all of it is applied.
    fn is_settled_at(&self, index: u64) -> bool {
        let log = &self.raw.raft.raft_log;
        let applied = self.state.as_ref().map(State::applied);
        log.last_index() == index && log.committed == index && applied == Some(index)
    }

    /// Nobody waits for anything here.
    fn is_idle(&self) -> bool {
        let announced = self.state.as_ref().and_then(|state| state.supports(self.id)).is_none_or(|it| it >= RULES_MAX);
        announced
            && !self.has_work()
            && self.nobody_asks()
            && !self.writes.is_busy()
            && self.provided.is_none()
            && self.captured.is_none()
            && self.fetching.is_none()
            && self.arrived.is_none()
            && self.word_due().is_none()
    }

    fn has_work(&self) -> bool {
        self.has_queued() || self.raw.has_ready()
    }
}
