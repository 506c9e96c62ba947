//! What a leader does to keep its cell whole, decided by a pure function of the agreed state and of what it sees.
//!
//! A voter that has lost its disk rejoins by itself. A lost one is replaced by a learner first; the learner is promoted once it has
//! caught up *and* all who stay know it, for a voter does not listen to a stranger; one that does not catch up in time is replaced. A lost instance gets a stand-in at once; its own lease ends only when it has
//! run out, and counts against the policy's upper bound until then.
//! What stands on a draining node is replaced likewise, but goes on until the stand-in is ready; a leader there hands over first.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::abroad;
use crate::{
    cell::{
        Evidence, InstanceState, LeaseInfo, Member, Need, State,
        state::{RULES_OF_CUT, RULES_OF_DRAIN, RULES_OF_KEYS},
    },
    id::{InstanceId, NodeId, OperatorId, ReplicaId},
    identity::{FOR_EVER, Lineage, Ruled, Signed},
    record::{Keyring, RecordBody},
    time::Timestamp,
};

/// A learner so close behind the commit has caught up: it is within what a few appends carry.
pub(super) const CAUGHT_UP_WITHIN: u64 = 64;

/// An instance on a draining node has said for so long that it takes nothing new before its lease ends: less than between two
/// renewals, and long enough for most requests that it had begun.
const LET_GO_FOR: Duration = Duration::from_secs(2);

/// A lease that was not renewed for this share of its time is late: holders renew it three times in it.
const LATE_SHARE: u32 = 2;

/// What the leader sees beside the agreed state.
#[derive(Debug, Default)]
pub(super) struct Seen<'a> {
    /// Nodes that a quorum of observers calls down, with the verdicts.
    pub(super) down: Option<&'a BTreeMap<NodeId, Vec<Signed<RecordBody>>>>,
    /// Nodes that say that they drain.
    pub(super) draining: Option<&'a BTreeMap<NodeId, Draining>>,
    /// This node, if it is about to stop or drains: another should lead.
    pub(super) departs: Option<NodeId>,
    /// Voters that lately did not take the lead over.
    pub(super) unwilling: BTreeSet<ReplicaId>,
    /// Nodes that this node has lost its link to.
    pub(super) unlinked: Option<&'a BTreeSet<NodeId>>,
    /// Members that most voters miss, and this one too.
    pub(super) missed: BTreeSet<ReplicaId>,
    /// Members whose nodes are there and hold nothing of the cell.
    pub(super) wiped: Option<&'a BTreeSet<ReplicaId>>,
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

/// A node's word that it drains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draining {
    /// Its presence, as signed.
    pub(super) presence: Signed<RecordBody>,
    /// No evidence any more from then on.
    pub(super) expires: Timestamp,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another voter leads better than this one. All else waits until it does.
    HandOver { to: ReplicaId },
    /// Ask placement for somebody.
    Seek(Need),
    /// The learner has caught up.
    Promote { learner: ReplicaId, leaves: Option<ReplicaId> },
    /// A copy away is no more.
    EndCopy { replica: ReplicaId, evidence: Evidence },
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
    if let Some(to) = seen.heir(state) {
        return vec![Step::HandOver { to }];
    }
    let mut steps = Vec::new();
    steps.extend(seen.succession(state).map(Step::Succeed));
    if state.removed().is_none() {
        let votes = mend_voters(state, seen);
        let whole = votes.is_none() && state.joining().is_none();
        steps.extend(votes);
        if whole {
            abroad::mend(state, seen, &mut steps);
        }
    }
    mend_leases(state, seen, &mut steps);
    steps
}

fn mend_voters(state: &State, seen: &Seen<'_>) -> Option<Step> {
    let member = |replica: ReplicaId| state.members().find(|member| member.replica == replica);
    let is_lost = |replica: ReplicaId| {
        let gone = |it: &Member| seen.is_down(it.node) || seen.revoked(state, it.operator, it.node).is_some();
        seen.missed.contains(&replica) || member(replica).is_some_and(gone)
    };
    let drains = |replica: ReplicaId| member(replica).is_some_and(|it| seen.drains(state, it.node).is_some());
    let search = |replaces| Step::Seek(Need::vote(replaces));
    let rejoins = |replica: ReplicaId| {
        let wiped = seen.wiped.is_some_and(|wiped| wiped.contains(&replica)) && !drains(replica);
        member(replica).filter(|_| wiped).map(|it| Step::Seek(Need::rejoin(replica, it.node)))
    };
    if let Some((learner, leaves)) = state.joining() {
        if is_lost(learner) || drains(learner) {
            return Some(search(Some(learner)));
        }
        if let Some(again) = rejoins(learner) {
            return Some(again);
        }
        let known = |replica: ReplicaId| seen.logs.get(&replica).copied().unwrap_or_default();
        let matched = known(learner).matched;
        let caught_up = matched >= seen.joined_by && matched + CAUGHT_UP_WITHIN >= seen.committed;
        let stay = state.members().filter(|member| member.votes && Some(member.replica) != leaves);
        let introduced = stay.into_iter().all(|member| known(member.replica).committed >= seen.joined_by);
        let understands = state.supports(learner).is_some_and(|rules| rules >= state.rules());
        if !caught_up && state.is_joining_for_long() {
            return Some(search(Some(learner)));
        }
        return (caught_up && introduced && understands).then_some(Step::Promote { learner, leaves });
    }
    let voters: Vec<ReplicaId> = state.members().filter(|member| member.votes).map(|member| member.replica).collect();
    let gone = voters.iter().find(|replica| is_lost(**replica));
    if let (None, Some(again)) = (gone, voters.iter().find_map(|replica| rejoins(*replica))) {
        return Some(again);
    }
    let gone = gone.or_else(|| voters.iter().find(|it| drains(**it)));
    let abroad = || voters.iter().find(|replica| member(**replica).is_some_and(|it| state.should_bring_home(it)));
    let gone = gone.or_else(abroad);
    gone.map(|replica| search(Some(*replica))).or_else(|| state.wants_another_voter().then(|| search(None)))
}

fn mend_leases(state: &State, seen: &Seen<'_>, steps: &mut Vec<Step>) {
    let scale = state.policy().scale;
    let (min, max) = (scale.min as usize, scale.max as usize);
    let (mut held, mut live, mut serving) = (0_usize, 0, 0);
    let (mut unwanted, mut leaving): (Vec<&LeaseInfo>, Vec<(&LeaseInfo, &Draining)>) = (Vec::new(), Vec::new());
    // Instances away serve those who are there; they do not stand in for one at home.
    let counts = |lease: &LeaseInfo| state.rules() < RULES_OF_CUT || state.policy().is_home(lease.jurisdiction);
    for lease in state.leases() {
        if let Some(evidence) = seen.ends(state, lease) {
            steps.push(end(lease, evidence));
            continue;
        }
        held += 1;
        if seen.is_late(state, lease) {
            steps.push(Step::Remind(lease.node));
        }
        if state.removed().is_some() || matches!(lease.state, InstanceState::Failed(_)) {
            unwanted.push(lease);
        } else if let Some(draining) = seen.drains(state, lease.node) {
            leaving.push((lease, draining));
        } else if seen.lives(lease) && counts(lease) {
            live += 1;
            serving += usize::from(lease.state == InstanceState::Running);
        }
    }
    if state.removed().is_some() {
        steps.extend(unwanted.into_iter().map(|lease| end(lease, Evidence::Policy)));
        return;
    }
    // An app that served from a draining node goes on serving, whatever its lower bound. What stands there may exceed the upper
    // one by one, for as long as its stand-in takes.
    let enough = min.max(usize::from(!leaving.is_empty()));
    if live < enough && held - usize::from(!leaving.is_empty()) < max {
        steps.push(Step::Seek(Need::instance()));
        return;
    }
    // Those that failed make room once enough others live, or when there is no room for another try.
    steps.extend(unwanted.iter().map(|lease| end(lease, Evidence::Policy)));
    if serving >= enough {
        let drained = |(lease, draining): &(&LeaseInfo, &Draining)| {
            end(lease, Evidence::Drain(Box::new(draining.presence.clone())))
        };
        let let_go = |(lease, _): &&(&LeaseInfo, &Draining)| {
            let idle = lease.state != InstanceState::Running && seen.stamp > lease.renewed + LET_GO_FOR;
            idle || !seen.lives(lease)
        };
        steps.extend(leaving.iter().filter(let_go).map(drained));
    }
    held -= unwanted.len() + leaving.len();
    let stays = |lease: &&LeaseInfo| seen.lives(lease) && seen.drains(state, lease.node).is_none();
    let living: Vec<&LeaseInfo> = state.leases().filter(stays).collect();
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

    /// The word of a node that it drains, where the cell's rules know such a thing.
    pub(super) fn drains(&self, state: &State, node: NodeId) -> Option<&Draining> {
        let draining = self.draining?.get(&node)?;
        (state.rules() >= RULES_OF_DRAIN && draining.expires > self.stamp).then_some(draining)
    }

    /// Who should lead instead of a node that departs: a voter that can be reached, stays and has caught up; the one that
    /// knows most.
    fn heir(&self, state: &State) -> Option<ReplicaId> {
        let me = self.departs.filter(|_| state.rules() >= RULES_OF_DRAIN)?;
        let fit = |member: &&Member| {
            member.votes
                && member.node != me
                && !self.is_down(member.node)
                && !self.is_unlinked(member.node)
                && self.drains(state, member.node).is_none()
                && !self.unwilling.contains(&member.replica)
                && !self.wiped.is_some_and(|wiped| wiped.contains(&member.replica))
        };
        let known = |member: &Member| Some((self.logs.get(&member.replica)?.matched, Reverse(member.replica)));
        let best = state.members().filter(fit).filter_map(known).max()?;
        (best.0 + CAUGHT_UP_WITHIN >= self.committed).then_some(best.1.0)
    }

    /// The tenant's lineage, if it names another key than the cell knows.
    fn succession(&self, state: &State) -> Option<Box<Lineage>> {
        let lineage = self.keyring?.lineage(state.tenant_id().into())?;
        state.is_superseded_by(lineage).then(|| Box::new(lineage.clone()))
    }

    pub(super) fn is_down(&self, node: NodeId) -> bool {
        self.down.is_some_and(|down| down.contains_key(&node))
    }

    pub(super) fn is_unlinked(&self, node: NodeId) -> bool {
        self.unlinked.is_some_and(|unlinked| unlinked.contains(&node))
    }

    /// Why a lease may end for good now, if it may.
    fn ends(&self, state: &State, lease: &LeaseInfo) -> Option<Evidence> {
        if let Some(ruled) = self.revoked(state, lease.operator, lease.node) {
            return Some(Evidence::Revoked(ruled));
        }
        let runs_out = lease.renewed + lease.duration;
        let silent = self.stamp > runs_out + state.patience_with(lease) && self.led_for > lease.duration;
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
        cell::{Command, Outcome, Repair, Role, Seeking, state::fixture},
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

    /// A cell whose members all know what draining is.
    fn ready() -> (Vec<fixture::Host>, State) {
        let (hosts, mut state) = cell();
        for (replica, host) in (1..).zip(&hosts[..3]) {
            let command = host.support(&state, ReplicaId(replica), RULES_OF_DRAIN);
            apply(&mut state, command);
        }
        (hosts, state)
    }

    fn draining(hosts: &[fixture::Host], which: &[usize]) -> BTreeMap<NodeId, Draining> {
        let word = |at: &usize| {
            let presence = hosts[*at].presence(Some(fixture::FOUNDED));
            (hosts[*at].node(), Draining { presence, expires: fixture::FOUNDED + fixture::VALID })
        };
        which.iter().map(word).collect()
    }

    fn seek(role: Seeking, replaces: Option<u64>) -> Step {
        let replaces = replaces.map(ReplicaId);
        Step::Seek(if role == Seeking::Replica { Need::vote(replaces) } else { Need::instance() })
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
    fn the_vote_of_a_draining_node_is_replaced_after_that_of_a_lost_one() {
        let (hosts, state) = ready();
        let (word, down) = (draining(&hosts, &[1]), verdicts(&hosts, 2));
        let drains = Seen { draining: Some(&word), ..seen(&state) };
        assert_eq!(mend(&state, &drains), [seek(Seeking::Replica, Some(2))]);
        let both = Seen { draining: Some(&word), down: Some(&down), ..seen(&state) };
        assert_eq!(mend(&state, &both), [seek(Seeking::Replica, Some(3))]);
        let late = Seen { draining: Some(&word), stamp: fixture::FOUNDED + fixture::VALID, ..seen(&state) };
        assert!(!mend(&state, &late).contains(&seek(Seeking::Replica, Some(2))), "its word has expired");
        let (_, old) = cell();
        assert_eq!(mend(&old, &Seen { draining: Some(&word), ..seen(&old) }), [], "its rules know no draining");
    }

    #[test]
    fn a_leader_that_departs_first_hands_over_to_the_voter_that_knows_most() {
        let (hosts, state) = ready();
        let me = hosts[0].node();
        let word = draining(&hosts, &[0]);
        let known = |two, three| {
            let known = |matched| Known { matched, committed: 0 };
            BTreeMap::from([(ReplicaId(1), known(500)), (ReplicaId(2), known(two)), (ReplicaId(3), known(three))])
        };
        let look = |logs, unlinked: &[usize], unwilling: &[u64], departs| {
            let unlinked = unlinked.iter().map(|at| hosts[*at].node()).collect();
            let unwilling = unwilling.iter().map(|id| ReplicaId(*id)).collect();
            let draining = Some(&word);
            let seen = Seen { draining, unlinked: Some(&unlinked), unwilling, logs, departs, ..seen(&state) };
            mend(&state, &Seen { committed: 500, ..seen })
        };
        let to = |replica| vec![Step::HandOver { to: ReplicaId(replica) }];
        assert_eq!(look(known(499, 500), &[], &[], Some(me)), to(3));
        assert_eq!(look(known(500, 500), &[], &[], Some(me)), to(2), "of two that know as much the first");
        assert_eq!(look(known(500, 499), &[1], &[], Some(me)), to(3), "not to whom it has no link");
        assert_eq!(look(known(500, 499), &[], &[2], Some(me)), to(3), "not to who lately did not take it");
        assert_ne!(look(known(9, 9), &[], &[], Some(me)), to(3), "not to who is far behind");
        assert!(!look(known(500, 500), &[], &[], None).contains(&to(2)[0]));
    }

    #[test]
    fn an_instance_on_a_draining_node_is_kept_until_its_stand_in_serves() {
        let (hosts, mut state) = ready();
        let word = draining(&hosts, &[0]);
        let look = |state: &State| mend(state, &Seen { draining: Some(&word), ..seen(state) });
        let instances = |steps: Vec<Step>| -> Vec<Step> {
            steps.into_iter().filter(|step| *step != seek(Seeking::Replica, Some(1))).collect()
        };
        assert_eq!(instances(look(&state)), [seek(Seeking::Instance, None)]);
        let (candidate, grant) = (hosts[1].candidate(), hosts[1].grant_to(&state, Role::Instance));
        repair(&mut state, Repair::GrantLease { candidate, grant, relieves: None });
        assert_eq!(instances(look(&state)), [], "it starts");
        let running = hosts[1].renewal(&state, 1, InstanceState::Running);
        apply(&mut state, running);
        assert_eq!(instances(look(&state)), [], "it has not let go yet");
        let lets_go = hosts[0].renewal(&state, 1, InstanceState::Starting);
        apply(&mut state, lets_go);
        assert_eq!(instances(look(&state)), [], "it ends what it has begun");
        let later = Seen { draining: Some(&word), ..seen(&state) };
        let later = Seen { stamp: state.time() + LET_GO_FOR + Duration::from_millis(1), ..later };
        let lease = hosts[0].lease(&state);
        let evidence = Evidence::Drain(Box::new(word[&hosts[0].node()].presence.clone()));
        let ends = Step::End { instance: lease.instance, generation: lease.generation, evidence };
        assert_eq!(instances(mend(&state, &later)), [ends]);
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
        let look = |state: &State, learner, stays| {
            let logs = logs(learner, stays);
            mend(state, &Seen { down: Some(&down), logs, committed: 500, joined_by: 40, ..seen(state) })
        };
        assert_eq!(look(&state, 0, 500), [], "it has nothing yet");
        assert_eq!(look(&state, 400, 500), [], "it is far behind");
        assert_eq!(look(&state, 490, 39), [], "replica 3 would not listen to it");
        let promote = Step::Promote { learner: ReplicaId(4), leaves: Some(ReplicaId(2)) };
        assert_eq!(look(&state, 490, 40), std::slice::from_ref(&promote));
        let mut entry = fixture::entry(&state, hosts[0].support(&state, ReplicaId(1), crate::cell::state::RULES_MAX));
        entry.stamp = state.time() + crate::cell::state::JOIN_MAX + Duration::from_secs(1);
        state.apply(state.applied() + 1, &entry);
        let votes = |steps: Vec<Step>| {
            let of_votes =
                |step: &Step| matches!(step, Step::Promote { .. } | Step::Seek(Need { role: Seeking::Replica, .. }));
            steps.into_iter().filter(of_votes).collect::<Vec<_>>()
        };
        assert_eq!(votes(look(&state, 400, 500)), [seek(Seeking::Replica, Some(4))], "it had its time");
        assert_eq!(votes(look(&state, 490, 40)), [promote], "it came through after all");
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
    fn a_voter_that_lost_its_disk_is_sought_on_its_own_node_unless_that_drains() {
        let (hosts, state) = ready();
        let wiped = BTreeSet::from([ReplicaId(2)]);
        let again = Step::Seek(Need::rejoin(ReplicaId(2), hosts[1].node()));
        let seen = |down, drains| Seen { wiped: Some(&wiped), down, draining: drains, ..seen(&state) };
        assert_eq!(mend(&state, &seen(None, None)), [again]);
        // Where another is lost for good, that comes first: one swap at a time.
        let down = verdicts(&hosts, 2);
        assert!(mend(&state, &seen(Some(&down), None)).contains(&seek(Seeking::Replica, Some(3))));
        let drains = draining(&hosts, &[1]);
        assert!(mend(&state, &seen(None, Some(&drains))).contains(&seek(Seeking::Replica, Some(2))));
    }

    #[test]
    fn a_failed_instance_is_replaced_first_and_then_ended() {
        let (hosts, mut state) = cell();
        let failed = hosts[0].renewal(&state, 1, InstanceState::Failed("trap".to_owned()));
        apply(&mut state, failed);
        assert_eq!(mend(&state, &seen(&state)), [seek(Seeking::Instance, None)]);
        let (candidate, grant) = (hosts[1].candidate(), hosts[1].grant_to(&state, Role::Instance));
        repair(&mut state, Repair::GrantLease { candidate, grant, relieves: None });
        let lease = hosts[0].lease(&state);
        let ends = Step::End { instance: lease.instance, generation: lease.generation, evidence: Evidence::Policy };
        assert_eq!(mend(&state, &seen(&state)), [ends]);
    }
}
