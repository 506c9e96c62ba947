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
    cell::{
        Evidence, InstanceState, LeaseInfo, Need, Seeking, State,
        state::{RULES_OF_KEYS, SILENCE_MARGIN},
    },
    id::{InstanceId, NodeId, OperatorId, ReplicaId},
    identity::{FOR_EVER, Lineage, Ruled, Signed},
    record::{Keyring, RecordBody},
    time::Timestamp,
};

/// A learner so close behind the commit has caught up: it is within what a few appends carry.
pub(super) const CAUGHT_UP_WITHIN: u64 = 64;

/// A lease that was not renewed for this share of its time is late: holders renew it three times in it.
const LATE_SHARE: u32 = 2;

/// What the leader sees beside the agreed state.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    /// Nodes that a quorum of observers calls down, with the verdicts.
    pub(super) down: Option<&'a BTreeMap<NodeId, Vec<Signed<RecordBody>>>>,
    /// Nodes that this node has lost its link to.
    pub(super) unlinked: Option<&'a BTreeSet<NodeId>>,
    /// What this node knows of keys.
    pub(super) keyring: Option<&'a Keyring>,
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
    /// A host that holds no replica may believe that the cell still sleeps: its lease is late.
    Remind(NodeId),
    /// The tenant has another key.
    Succeed(Box<Lineage>),
}

/// What is to be done now. Repeated until the state shows that it was; the caller sees to it that nothing is asked twice
/// at once.
pub(super) fn mend(state: &State, seen: &Seen<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(seen.succession(state).map(Step::Succeed));
    if state.removed().is_none() {
        steps.extend(mend_voters(state, seen));
    }
    mend_leases(state, seen, &mut steps);
    steps
}

fn mend_voters(state: &State, seen: &Seen<'_>) -> Option<Step> {
    let is_down = |replica: ReplicaId| {
        let member = state.members().find(|member| member.replica == replica);
        member.is_some_and(|it| seen.is_down(it.node) || seen.revoked(state, it.operator, it.node).is_some())
    };
    let search = |replaces| Step::Seek(Need { role: Seeking::Replica, replaces });
    if let Some((learner, leaves)) = state.joining() {
        if is_down(learner) {
            return Some(search(Some(learner)));
        }
        let known = |replica: ReplicaId| seen.logs.get(&replica).copied().unwrap_or_default();
        let matched = known(learner).matched;
        let caught_up = matched >= seen.joined_by && matched + CAUGHT_UP_WITHIN >= seen.committed;
        let stay = state.members().filter(|member| member.votes && Some(member.replica) != leaves);
        let introduced = stay.into_iter().all(|member| known(member.replica).committed >= seen.joined_by);
        let understands = state.supports(learner).is_some_and(|rules| rules >= state.rules());
        return (caught_up && introduced && understands).then_some(Step::Promote { learner, leaves });
    }
    let voters: Vec<ReplicaId> = state.members().filter(|member| member.votes).map(|member| member.replica).collect();
    if let Some(lost) = voters.iter().find(|replica| is_down(**replica)) {
        return Some(search(Some(*lost)));
    }
    None
}

fn mend_leases(state: &State, seen: &Seen<'_>, steps: &mut Vec<Step>) {
    let scale = state.policy().scale;
    let (min, max) = (scale.min as usize, scale.max as usize);
    let (mut held, mut live) = (0, 0);
    let mut unwanted: Vec<&LeaseInfo> = Vec::new();
    for lease in state.leases() {
        if let Some(evidence) = seen.ends(state, lease) {
            steps.push(end(lease, evidence));
            continue;
        }
        held += 1;
        if seen.is_late(state, lease) {
            steps.push(Step::Remind(lease.node));
        }
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
    /// The proof that an operator has revoked its node for ever, where the cell's rules know such a thing.
    pub(super) fn revoked(&self, state: &State, operator: OperatorId, node: NodeId) -> Option<Box<Ruled>> {
        let (ruling, ruled) = self.keyring?.ruling(operator, node)?;
        (ruling.below == FOR_EVER && state.rules() >= RULES_OF_KEYS).then(|| Box::new(ruled.clone()))
    }

    /// The tenant's lineage, if it names another key than the cell knows.
    fn succession(&self, state: &State) -> Option<Box<Lineage>> {
        let lineage = self.keyring?.lineage(state.tenant_id().into())?;
        state.is_superseded_by(lineage).then(|| Box::new(lineage.clone()))
    }

    fn is_down(&self, node: NodeId) -> bool {
        self.down.is_some_and(|down| down.contains_key(&node))
    }

    fn is_unlinked(&self, node: NodeId) -> bool {
        self.unlinked.is_some_and(|unlinked| unlinked.contains(&node))
    }

    /// Why a lease may end for good now, if it may.
    fn ends(&self, state: &State, lease: &LeaseInfo) -> Option<Evidence> {
        if let Some(ruled) = self.revoked(state, lease.operator, lease.node) {
            return Some(Evidence::Revoked(ruled));
        }
        let runs_out = lease.renewed + lease.duration;
        let silent = self.stamp > runs_out + SILENCE_MARGIN && self.led_for > lease.duration;
        silent.then_some(Evidence::Silent)
    }

    /// Whether a host without a replica, which does not hear when the cell wakes, should have renewed its lease by now.
    fn is_late(&self, state: &State, lease: &LeaseInfo) -> bool {
        self.stamp > lease.renewed + lease.duration / LATE_SHARE && state.replica_of(lease.node).is_none()
    }

    /// Whether requests can go to it: its host has not said that it failed, and nobody says that its host is lost.
    fn lives(&self, lease: &LeaseInfo) -> bool {
        let failed = matches!(lease.state, InstanceState::Failed(_));
        !failed && !self.is_down(lease.node) && !self.is_unlinked(lease.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cell::{Command, Outcome, Repair, Role, state::fixture},
        membership::Liveness,
    };

    const LED: Duration = Duration::from_mins(1);

    fn cell() -> (Vec<fixture::Host>, State) {
        let hosts = fixture::hosts(6);
        let mut founding = fixture::Founding::of(&hosts[..3]);
        founding.release.policy.scale.max = 3;
        (hosts, State::found(&founding.genesis()).unwrap())
    }

    fn apply(state: &mut State, command: Command) {
        let entry = fixture::entry(state, command);
        let outcome = state.apply(state.applied() + 1, &entry).outcome;
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }

    fn repair(state: &mut State, repair: Repair) {
        apply(state, Command::Repair(Box::new(repair)));
    }

    fn seen(state: &State) -> Seen<'static> {
        Seen { stamp: state.time() + Duration::from_secs(1), led_for: LED, ..Seen::default() }
    }

    fn verdicts(hosts: &[fixture::Host], about: usize) -> BTreeMap<NodeId, Vec<Signed<RecordBody>>> {
        let node = hosts[about].node();
        [(node, vec![hosts[4].verdict(node, Liveness::Down), hosts[5].verdict(node, Liveness::Down)])].into()
    }

    fn seek(role: Seeking, replaces: Option<u64>) -> Step {
        Step::Seek(Need { role, replaces: replaces.map(ReplicaId) })
    }

    #[test]
    fn a_whole_cell_is_left_alone() {
        let (_, state) = cell();
        assert_eq!(mend(&state, &seen(&state)), []);
    }

    #[test]
    fn a_voter_that_is_called_down_is_replaced_and_a_mere_lost_link_replaces_none() {
        let (hosts, state) = cell();
        let (down, unlinked) = (verdicts(&hosts, 1), BTreeSet::from([hosts[2].node()]));
        let seen = Seen { down: Some(&down), unlinked: Some(&unlinked), ..seen(&state) };
        assert_eq!(mend(&state, &seen), [seek(Seeking::Replica, Some(2))]);
    }

    #[test]
    fn a_learner_is_promoted_only_when_it_caught_up_and_all_who_stay_know_it() {
        let (hosts, mut state) = cell();
        let down = verdicts(&hosts, 1);
        let evidence = Evidence::Down(down[&hosts[1].node()].clone());
        let (candidate, grant) = (hosts[3].candidate(), hosts[3].grant_to(&state, Role::Learn));
        repair(&mut state, Repair::AddLearner { replaces: Some(ReplicaId(2)), evidence, candidate, grant });
        let logs = |learner: u64, stays: u64| {
            let known = |matched, committed| Known { matched, committed };
            BTreeMap::from([
                (ReplicaId(1), known(500, 500)),
                (ReplicaId(3), known(500, stays)),
                (ReplicaId(4), known(learner, 0)),
            ])
        };
        let look = |learner, stays| {
            let logs = logs(learner, stays);
            mend(&state, &Seen { down: Some(&down), logs, committed: 500, joined_by: 40, ..seen(&state) })
        };
        assert_eq!(look(0, 500), [], "it has nothing yet");
        assert_eq!(look(400, 500), [], "it is far behind");
        assert_eq!(look(490, 39), [], "replica 3 would not listen to it");
        let promote = Step::Promote { learner: ReplicaId(4), leaves: Some(ReplicaId(2)) };
        assert_eq!(look(490, 40), [promote]);
    }

    #[test]
    fn an_instance_whose_host_is_lost_gets_a_stand_in_at_once_and_loses_its_lease_when_it_ran_out() {
        let (hosts, state) = cell();
        let unlinked = BTreeSet::from([hosts[0].node()]);
        let lost = Seen { unlinked: Some(&unlinked), ..seen(&state) };
        assert_eq!(mend(&state, &lost), [seek(Seeking::Instance, None)]);
        let lease = hosts[0].lease(&state);
        let ends = Step::End { instance: lease.instance, generation: lease.generation, evidence: Evidence::Silent };
        let late = state.time() + Duration::from_secs(13);
        assert_eq!(mend(&state, &Seen { stamp: late, ..seen(&state) }), [ends, seek(Seeking::Instance, None)]);
    }

    #[test]
    fn a_leader_that_has_just_come_ends_no_lease_for_a_silence_that_was_the_cells_own() {
        let (_, state) = cell();
        let late = state.time() + Duration::from_mins(1);
        let new = Seen { stamp: late, led_for: Duration::from_secs(2), ..seen(&state) };
        assert_eq!(mend(&state, &new), []);
    }

    #[test]
    fn a_failed_instance_is_replaced_first_and_then_ended() {
        let (hosts, mut state) = cell();
        let failed = hosts[0].renewal(&state, 1, InstanceState::Failed("trap".to_owned()));
        apply(&mut state, failed);
        assert_eq!(mend(&state, &seen(&state)), [seek(Seeking::Instance, None)]);
        let (candidate, grant) = (hosts[1].candidate(), hosts[1].grant_to(&state, Role::Instance));
        repair(&mut state, Repair::GrantLease { candidate, grant });
        let lease = hosts[0].lease(&state);
        let ends = Step::End { instance: lease.instance, generation: lease.generation, evidence: Evidence::Policy };
        assert_eq!(mend(&state, &seen(&state)), [ends]);
    }
}
