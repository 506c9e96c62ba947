//! What a leader does to keep its cell whole, decided by a pure function of the agreed state and of what it sees.
//!
//! A lost voter is replaced by a learner first; the learner is promoted once it has caught up *and* all who stay know it,
//! for a voter does not listen to a stranger. A lost instance gets a stand-in at once; its own lease ends only when it has
//! run out, and counts against the policy's upper bound until then.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    cell::{Evidence, InstanceState, LeaseInfo, Need, Seeking, State, state::SILENCE_MARGIN},
    id::{InstanceId, NodeId, ReplicaId},
    identity::Signed,
    record::RecordBody,
    time::Timestamp,
};

/// A learner so close behind the commit has caught up: it is within what a few appends carry.
pub(super) const CAUGHT_UP_WITHIN: u64 = 64;

/// What the leader sees beside the agreed state.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    /// Nodes that a quorum of observers calls down, with the verdicts.
    pub(super) down: Option<&'a BTreeMap<NodeId, Vec<Signed<RecordBody>>>>,
    /// Nodes that this node has lost its link to.
    pub(super) unlinked: Option<&'a BTreeSet<NodeId>>,
    /// What is known of the members' logs.
    pub(super) logs: BTreeMap<ReplicaId, Known>,
    /// The commit.
    pub(super) committed: u64,
    /// The index by which the joining learner was a member, as far as this leader knows.
    pub(super) joined_by: u64,
    /// The stamp that an entry proposed now would carry, at least.
    pub(super) stamp: Timestamp,
    /// So long it has led: before that, renewals had nobody to go to.
    pub(super) led_for: Duration,
}

/// How far a member's log is known to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) matched: u64,
    pub(super) committed: u64,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask placement for somebody.
    Seek(Need),
    /// The learner has caught up.
    Promote { learner: ReplicaId, leaves: Option<ReplicaId> },
    /// A lease ends for good.
    End { instance: InstanceId, generation: u64, evidence: Evidence },
}

/// What is to be done now. Repeated until the state shows that it was; the caller sees to it that nothing is asked twice
/// at once.
pub(super) fn mend(state: &State, seen: &Seen<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    if state.removed().is_none() {
        steps.extend(mend_voters(state, seen));
    }
    mend_leases(state, seen, &mut steps);
    steps
}

fn mend_voters(state: &State, seen: &Seen<'_>) -> Option<Step> {
    let is_down = |replica: ReplicaId| state.node_of(replica).is_some_and(|node| seen.is_down(node));
    let seek = |replaces| Step::Seek(Need { role: Seeking::Replica, replaces });
    if let Some((learner, leaves)) = state.joining() {
        if is_down(learner) {
            return Some(seek(Some(learner)));
        }
        let known = |replica: ReplicaId| seen.logs.get(&replica).copied().unwrap_or_default();
        let caught_up = known(learner).matched + CAUGHT_UP_WITHIN >= seen.committed;
        let stay = state.members().filter(|member| member.votes && Some(member.replica) != leaves);
        let introduced = stay.into_iter().all(|member| known(member.replica).committed >= seen.joined_by);
        return (caught_up && introduced).then_some(Step::Promote { learner, leaves });
    }
    let voters: Vec<ReplicaId> = state.members().filter(|member| member.votes).map(|member| member.replica).collect();
    if let Some(lost) = voters.iter().find(|replica| is_down(**replica)) {
        return Some(seek(Some(*lost)));
    }
    None
}

fn mend_leases(state: &State, seen: &Seen<'_>, steps: &mut Vec<Step>) {
    let scale = state.policy().scale;
    let (min, max) = (scale.min as usize, scale.max as usize);
    let (mut held, mut live) = (0, 0);
    let mut unwanted: Vec<&LeaseInfo> = Vec::new();
    for lease in state.leases() {
        if let Some(evidence) = seen.ends(lease) {
            steps.push(end(lease, evidence));
            continue;
        }
        held += 1;
        if state.removed().is_some() {
            unwanted.push(lease);
        } else if seen.lives(lease) {
            live += 1;
        } else if matches!(lease.state, InstanceState::Failed(_)) {
            unwanted.push(lease);
        }
    }
    if state.removed().is_some() {
        steps.extend(unwanted.into_iter().map(|lease| end(lease, Evidence::Policy)));
        return;
    }
    if live < min && held < max {
        steps.push(Step::Seek(Need { role: Seeking::Instance, replaces: None }));
        return;
    }
    // Those that failed make room once enough others live, or when there is no room for another try.
    steps.extend(unwanted.iter().map(|lease| end(lease, Evidence::Policy)));
    held -= unwanted.len();
    let living: Vec<&LeaseInfo> = state.leases().filter(|lease| seen.lives(lease)).collect();
    let surplus = held.saturating_sub(max).min(live.saturating_sub(min));
    steps.extend(living.into_iter().rev().take(surplus).map(|lease| end(lease, Evidence::Policy)));
}

fn end(lease: &LeaseInfo, evidence: Evidence) -> Step {
    Step::End { instance: lease.instance, generation: lease.generation, evidence }
}

impl Seen<'_> {
    fn is_down(&self, node: NodeId) -> bool {
        self.down.is_some_and(|down| down.contains_key(&node))
    }

    fn is_unlinked(&self, node: NodeId) -> bool {
        self.unlinked.is_some_and(|unlinked| unlinked.contains(&node))
    }

    /// Why a lease may end for good now, if it may.
    fn ends(&self, lease: &LeaseInfo) -> Option<Evidence> {
        let runs_out = lease.renewed + lease.duration;
        let silent = self.stamp > runs_out + SILENCE_MARGIN && self.led_for > lease.duration;
        silent.then_some(Evidence::Silent)
    }

    /// Whether requests can go to it: its host has not said that it failed, and nobody says that its host is lost.
    fn lives(&self, lease: &LeaseInfo) -> bool {
        let failed = matches!(lease.state, InstanceState::Failed(_));
        !failed && !self.is_down(lease.node) && !self.is_unlinked(lease.node)
    }
}
