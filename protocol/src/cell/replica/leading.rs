//! What a leader does beside leading: raft's membership follows the agreed one, lost members and instances are replaced, and
//! those of draining nodes.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Replica, membership,
    mend::{self, Draining, Known, Seen, Step},
    wiped::Wiped,
};
use crate::{
    cell::{Candidate, Command, Evidence, Grant, LeaseInfo, Message, Need, Output, Relief, Repair, Seeking, State},
    id::{InstanceId, NodeId, ReplicaId},
    identity::Signed,
    record::{Keyring, RecordBody},
    time::Instant,
};

/// The leader looks at its cell so often, and whenever something stirred.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After nobody was found, the next search waits so long.
const SEEK_AGAIN: Duration = Duration::from_secs(10);
/// A search that was not answered at all is asked for again after so long.
const SEEK_LOST: Duration = Duration::from_secs(30);
/// A repair that did not show in the state is proposed again after so long.
const REPAIR_AGAIN: Duration = Duration::from_secs(5);
/// Links and verdicts remembered, of members and hosts; the cell has far fewer.
const NODES_MAX: usize = 256;
/// Verdicts kept as evidence.
const EVIDENCE_MAX: usize = crate::cell::state::VERDICTS_MAX;

/// What the replica saw of other nodes, and what it asked for because of it.
#[derive(Debug, Default)]
pub(super) struct Leading {
    /// It leads in this term, since then.
    pub(super) since: Option<(u64, Instant)>,
    /// Something changed that a leader may have to act upon.
    pub(super) stirred: bool,
    /// Raft's membership may not be the agreed one.
    pub(super) members_due: bool,
    /// A leader whose clock is too far ahead: not listened to, so that another is elected.
    distrusted: Option<Distrust>,
    looked: Instant,
    down: BTreeMap<NodeId, Vec<Signed<RecordBody>>>,
    draining: BTreeMap<NodeId, Draining>,
    /// This node is about to stop: it hands over whatever it leads.
    departs: bool,
    /// Voters that did not take the lead over: not asked again before then.
    unwilling: BTreeMap<ReplicaId, Instant>,
    unlinked: BTreeSet<NodeId>,
    keyring: Arc<Keyring>,
    /// Searches under way or failed: not before then again.
    sought: BTreeMap<Need, Instant>,
    /// Repairs proposed: not before then again.
    proposed: BTreeMap<Proposed, Instant>,
    /// The joining learner, and an index by which it was a member.
    joined_by: Option<(ReplicaId, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Distrust {
    leader: u64,
    term: u64,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proposed {
    Promotion(ReplicaId),
    EndCopy(ReplicaId),
    End(InstanceId, u64),
    Succession,
}

impl Leading {
    pub(super) fn link(&mut self, node: NodeId, up: bool) {
        if up {
            self.unlinked.remove(&node);
        } else if self.unlinked.len() < NODES_MAX {
            self.unlinked.insert(node);
        }
        self.stirred = true;
    }

    /// Whether a node is lost, as seen here or by its observers.
    pub(super) fn lacks(&self, node: NodeId) -> bool {
        self.unlinked.contains(&node) || self.down.contains_key(&node)
    }

    /// Whether a node says that it drains: then its cells are awake, for leases move by their time.
    pub(super) fn is_draining(&self, node: NodeId) -> bool {
        self.draining.contains_key(&node)
    }

    /// It leads anew: what was silent while the cell slept was silent for its sake.
    pub(super) fn woke(&mut self, now: Instant) {
        self.since = self.since.map(|(term, _)| (term, now));
        self.stirred = true;
    }

    /// Does not listen to a leader in its term for a while: whose clock is wrong, its or ours, others decide by electing
    /// or not.
    pub(super) fn distrust(&mut self, leader: u64, term: u64, until: Instant) {
        self.distrusted = Some(Distrust { leader, term, until });
    }

    pub(super) fn distrusts(&self, leader: u64, term: u64, now: Instant) -> bool {
        let meant = |distrust: &Distrust| distrust.leader == leader && distrust.term == term && now < distrust.until;
        self.distrusted.as_ref().is_some_and(meant)
    }

    /// The verdicts on a node that is down; `None`: it is back.
    pub(super) fn verdict(&mut self, node: NodeId, evidence: Option<Vec<Signed<RecordBody>>>) {
        match evidence {
            None => {
                self.down.remove(&node);
            }
            Some(mut evidence) if self.down.len() < NODES_MAX || self.down.contains_key(&node) => {
                evidence.truncate(EVIDENCE_MAX);
                self.down.insert(node, evidence);
            }
            Some(_) => {}
        }
        self.stirred = true;
    }

    /// A node's presence that says that it drains; `None`: it does not, any more.
    pub(super) fn drain(&mut self, node: NodeId, presence: Option<Signed<RecordBody>>) {
        let draining =
            presence.and_then(|presence| Some(Draining { expires: presence.open().ok()?.expires, presence }));
        match draining {
            None => {
                self.draining.remove(&node);
            }
            Some(draining) if self.draining.len() < NODES_MAX || self.draining.contains_key(&node) => {
                self.draining.insert(node, draining);
            }
            Some(_) => {}
        }
        self.stirred = true;
    }

    /// This node stops soon.
    pub(super) fn depart(&mut self) {
        self.departs = true;
        self.stirred = true;
    }

    /// A voter did not take the lead over in time.
    pub(super) fn refused_lead(&mut self, replica: ReplicaId, until: Instant) {
        self.unwilling.insert(replica, until);
        self.stirred = true;
    }

    /// What is known of keys.
    pub(super) fn keys(&mut self, keyring: Arc<Keyring>) {
        self.keyring = keyring;
        self.stirred = true;
    }

    /// What is known of keys.
    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whether somebody is sought for this, or was in vain a moment ago.
    pub(super) fn seeks(&self, need: &Need, now: Instant) -> bool {
        self.sought.get(need).is_some_and(|until| *until > now)
    }

    /// Whether it is time for this, which then counts as done until `again`.
    fn may<K: Ord>(done: &mut BTreeMap<K, Instant>, key: K, now: Instant, again: Duration) -> bool {
        done.retain(|_, until| *until > now);
        if done.contains_key(&key) {
            return false;
        }
        done.insert(key, now + again);
        true
    }
}

impl Replica {
    /// It does not lead (any more, in this term).
    pub(super) fn stop_leading(&mut self) {
        if self.leading.since.take().is_none() {
            return;
        }
        self.give_up_leading();
        self.withdraw(None);
        self.leading.sought.clear();
        self.leading.proposed.clear();
        self.leading.joined_by = None;
        self.wiped = Wiped::default();
    }

    /// One tick of what a leader does now and then.
    pub(super) fn tick_leading(&mut self) {
        if !self.is_leader() {
            return;
        }
        self.repeat_round();
        self.ask_the_silent();
        self.mend();
    }

    /// Proposes the change of raft's membership that is due.
    pub(super) fn propose_membership(&mut self) {
        if !self.leading.members_due || !self.leads_in_earnest() || self.raw.raft.has_pending_conf() {
            return;
        }
        let Some(state) = &self.state else { return };
        let Some(change) = membership::due(&self.conf(), &state.target_membership()) else {
            self.leading.members_due = false;
            return;
        };
        // Refused only where raft has no room: the next step tries again.
        let _ = self.raw.propose_conf_change(Vec::new(), change);
    }

    /// Looks at the cell and mends it.
    pub(super) fn mend(&mut self) {
        let now = self.now.instant;
        if !self.leads_in_earnest() || (!self.leading.stirred && now.since(self.leading.looked) < LOOK_EVERY) {
            return;
        }
        let Some(state) = &self.state else { return };
        self.leading.looked = now;
        self.leading.stirred = false;
        self.leading.joined_by = self.joined_by(state);
        self.leading.unwilling.retain(|_, until| *until > now);
        for step in mend::mend(state, &self.seen(state)) {
            self.take_step(step);
        }
    }

    fn joined_by(&self, state: &State) -> Option<(ReplicaId, u64)> {
        let (learner, _) = state.joining()?;
        let known = self.leading.joined_by.filter(|(known, _)| *known == learner);
        Some(known.unwrap_or((learner, state.applied())))
    }

    pub(super) fn seen(&self, state: &State) -> Seen<'_> {
        let raft = &self.raw.raft;
        let committed = raft.raft_log.committed;
        let known = |member: ReplicaId| {
            if member == self.id {
                return Some((member, Known { matched: raft.raft_log.persisted, committed }));
            }
            let progress = raft.prs().get(member.0)?;
            Some((member, Known { matched: progress.matched, committed: progress.committed_index }))
        };
        Seen {
            down: Some(&self.leading.down),
            draining: Some(&self.leading.draining),
            departs: (self.leading.departs || self.leading.is_draining(self.me)).then_some(self.me),
            unwilling: self.leading.unwilling.keys().copied().collect(),
            unlinked: Some(&self.leading.unlinked),
            missed: self.missed(state),
            wiped: Some(self.wiped.all()),
            keyring: Some(&self.leading.keyring),
            logs: state.members().filter_map(|member| known(member.replica)).collect(),
            committed,
            joined_by: self.leading.joined_by.map_or(u64::MAX, |(_, index)| index),
            stamp: self.now.wall.max(state.time()),
            led_for: self.leading.since.map_or(Duration::ZERO, |(_, since)| self.now.instant.since(since)),
        }
    }

    fn take_step(&mut self, step: Step) {
        let now = self.now.instant;
        match step {
            Step::HandOver { to } => self.hand_over(to),
            Step::Seek(need) => {
                if Leading::may(&mut self.leading.sought, need.clone(), now, SEEK_LOST) {
                    self.outbox.push(Output::Seek(need));
                }
            }
            Step::Promote { learner, leaves } => {
                let key = Proposed::Promotion(learner);
                self.repair(key, Repair::Promote { learner, leaves });
            }
            Step::EndCopy { replica, evidence } => {
                self.repair(Proposed::EndCopy(replica), Repair::EndCopy { replica, evidence });
            }
            Step::End { instance, generation, evidence } => {
                let key = Proposed::End(instance, generation);
                self.repair(key, Repair::EndLease { instance, generation, evidence });
            }
            Step::Remind(host) => {
                let line = self.line();
                self.send(host, Message::Wake { line });
            }
            Step::Succeed(lineage) => {
                if Leading::may(&mut self.leading.proposed, Proposed::Succession, now, REPAIR_AGAIN) {
                    self.proposals.push_own(Command::Succeed(lineage));
                }
            }
        }
    }

    fn repair(&mut self, key: Proposed, repair: Repair) {
        if Leading::may(&mut self.leading.proposed, key, self.now.instant, REPAIR_AGAIN) {
            self.proposals.push_own(Command::Repair(Box::new(repair)));
        }
    }

    /// Placement found somebody, or nobody.
    pub(super) fn found_candidate(&mut self, need: &Need, found: Option<Box<(Candidate, Signed<Grant>)>>) {
        let now = self.now.instant;
        if !self.is_leader() {
            return;
        }
        // Sought again soon if this does not show in the state.
        let again = if found.is_some() { REPAIR_AGAIN } else { SEEK_AGAIN };
        self.leading.sought.insert(need.clone(), now + again);
        let Some((candidate, grant)) = found.map(|found| *found) else { return };
        let repair = match need.role {
            Seeking::Instance => Repair::GrantLease { candidate, grant, relieves: self.relief() },
            Seeking::Replica => {
                let Some(evidence) = self.rejoins(need).or_else(|| self.evidence(need.replaces)) else { return };
                Repair::AddLearner { replaces: need.replaces, evidence, candidate, grant }
            }
            Seeking::Copy => {
                let Some(evidence) = self.evidence(need.replaces) else { return };
                Repair::AddCopy { replaces: need.replaces, evidence, candidate, grant }
            }
        };
        self.proposals.push_own(Command::Repair(Box::new(repair)));
    }

    /// Whether the newcomer is the member itself, whose node has nothing of the cell any more.
    fn rejoins(&self, need: &Need) -> Option<Evidence> {
        need.replaces.filter(|replica| self.wiped.has(*replica)).and(need.node).map(Evidence::Wiped)
    }

    /// Why a member is replaced; `None` when there is no reason any more.
    fn evidence(&self, replaces: Option<ReplicaId>) -> Option<Evidence> {
        let Some(replica) = replaces else { return Some(Evidence::Policy) };
        let state = self.state.as_ref()?;
        let member = state.members().find(|member| member.replica == replica)?;
        if let Some(ruled) = self.seen(state).revoked(state, member.operator, member.node) {
            return Some(Evidence::Revoked(ruled));
        }
        if let Some(verdicts) = self.leading.down.get(&member.node) {
            return Some(Evidence::Down(verdicts.clone()));
        }
        if let Some(draining) = self.leading.draining.get(&member.node) {
            return Some(Evidence::Drain(Box::new(draining.presence.clone())));
        }
        if self.missed(state).contains(&replica) {
            return Some(Evidence::Missed);
        }
        let late = state.is_joining_for_long() && state.joining().is_some_and(|(learner, _)| learner == replica);
        (late || state.should_bring_home(member)).then_some(Evidence::Policy)
    }

    /// The lease on a draining node that a newcomer relieves, where the policy has room for no other.
    fn relief(&self) -> Option<Relief> {
        let state = self.state.as_ref()?;
        if state.leases().count() < state.policy().scale.max as usize {
            return None;
        }
        let seen = self.seen(state);
        let drained = |lease: &LeaseInfo| Some((lease.instance, seen.drains(state, lease.node)?.presence.clone()));
        let (instance, presence) = state.leases().find_map(drained)?;
        Some(Relief { instance, presence })
    }
}
