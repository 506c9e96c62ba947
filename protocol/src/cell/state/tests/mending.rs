use super::{super::*, *};
use crate::{cell::Evidence, membership::Liveness};

fn newcomer() -> Host {
    Host::new("nina", "new site", "NL")
}

fn add(story: &Story, replaces: Option<u64>, evidence: Evidence, host: &Host) -> Command {
    let grant = host.grant_to(&story.state, Role::Learn);
    let replaces = replaces.map(ReplicaId);
    Command::Repair(Box::new(Repair::AddLearner { replaces, evidence, candidate: host.candidate(), grant }))
}

fn promote(learner: u64, leaves: Option<u64>) -> Command {
    Command::Repair(Box::new(Repair::Promote { learner: ReplicaId(learner), leaves: leaves.map(ReplicaId) }))
}

/// The others say that the host of replica `n` is down.
fn down(story: &Story, n: u64) -> Evidence {
    let lost = story.state.node_of(ReplicaId(n)).expect("a member is accused");
    let others = story.founding.voters.iter().filter(|host| host.node() != lost);
    Evidence::Down(others.map(|host| host.verdict(lost, Liveness::Down)).collect())
}

fn ids(ids: impl IntoIterator<Item = u64>) -> std::collections::BTreeSet<ReplicaId> {
    ids.into_iter().map(ReplicaId).collect()
}

#[test]
fn a_lost_voter_is_replaced_by_a_learner_first_and_then_one_swap() {
    let mut story = Story::of(3);
    let lost = story.host(2).node();
    let add = add(&story, Some(3), down(&story, 3), &newcomer());
    assert_eq!(story.apply(add), Outcome::Done);
    let target = story.state.target_membership();
    assert_eq!((target.voters, target.learners), (ids(1..=3), ids([4])));
    assert_eq!(story.state.joining(), Some((ReplicaId(4), Some(ReplicaId(3)))));
    assert_eq!(story.state.replica_of(newcomer().node()), Some(ReplicaId(4)));

    assert_eq!(story.apply(promote(4, Some(3))), Outcome::Done);
    let target = story.state.target_membership();
    assert_eq!((target.voters, target.learners), (ids([1, 2, 4]), ids([])));
    assert_eq!(story.state.replica_of(lost), None);
    assert_eq!(story.state.node_of(ReplicaId(3)), Some(lost), "one that left is still answered");
    assert_eq!(story.state.grade(), Grade::Jurisdiction);
    let why = &story.state.members().last().unwrap().why;
    assert!(why.contains("the vote of replica 3, whose node is down"), "{why}");
}

#[test]
fn replica_ids_are_never_reused() {
    let mut story = Story::of(3);
    for n in 4..30 {
        let host = Host::new(&format!("operator {n}"), "shed", "NL");
        let lost = if n == 4 { 3 } else { n - 1 };
        let accused = story.state.node_of(ReplicaId(lost)).unwrap();
        let verdict = |host: usize| story.host(host).verdict(accused, Liveness::Down);
        let evidence = Evidence::Down(vec![verdict(0), verdict(1)]);
        let add = add(&story, Some(lost), evidence, &host);
        assert_eq!(story.apply(add), Outcome::Done);
        assert_eq!(story.apply(promote(n, Some(lost))), Outcome::Done);
    }
    assert_eq!(story.state.target_membership().voters, ids([1, 2, 29]));
    assert!(story.state.node_of(ReplicaId(28)).is_some());
    assert_eq!(story.state.node_of(ReplicaId(3)), None, "only the last few that left are remembered");
}

#[test]
fn one_member_joins_at_a_time() {
    let mut story = Story::of(3);
    let first = add(&story, Some(3), down(&story, 3), &newcomer());
    story.apply(first);
    let second = add(&story, Some(2), down(&story, 2), &Host::new("olga", "o", "IT"));
    definite(&story.refused(second), Code::Conflict);
}

#[test]
fn a_swap_that_would_leave_two_votes_to_one_operator_is_refused() {
    let mut story = Story::of(3);
    let cousin = Host::new("operator 1", "another site", "NL");
    let refused = add(&story, Some(3), down(&story, 3), &cousin);
    definite(&story.refused(refused), Code::Unplaceable);
    let own = add(&story, Some(1), down(&story, 1), &cousin);
    assert_eq!(story.apply(own), Outcome::Done, "an operator may take over its own vote");
}

#[test]
fn a_newcomer_stays_at_home() {
    let mut founding = Founding::of(&fixture::hosts(3));
    founding.release.policy.home = ["FR", "DE", "BE"].map(fixture::law).to_vec();
    founding.release.policy.away = vec![fixture::law("NL")];
    let mut story = Story::found(founding);
    let abroad = add(&story, Some(3), down(&story, 3), &newcomer());
    definite(&story.refused(abroad), Code::Unplaceable);
}

#[test]
fn a_member_cannot_join_again() {
    let mut story = Story::of(3);
    let again = add(&story, Some(3), down(&story, 3), &story.host(1));
    definite(&story.refused(again), Code::Conflict);
}

#[test]
fn a_leader_cannot_bring_in_who_did_not_grant() {
    let mut story = Story::of(3);
    let host = newcomer();
    let grant = host.grant_to(&story.state, Role::Instance);
    let forged = Repair::AddLearner {
        replaces: Some(ReplicaId(3)),
        evidence: down(&story, 3),
        candidate: host.candidate(),
        grant,
    };
    definite(&story.refused(Command::Repair(Box::new(forged))), Code::Unauthorised);
}

#[test]
fn a_voter_is_not_replaced_without_evidence() {
    let mut story = Story::of(3);
    let host = newcomer();
    let wiped = Evidence::Wiped(story.host(2).node());
    for (evidence, code) in [
        (Evidence::Silent, Code::Invalid),
        (Evidence::Policy, Code::Conflict),
        (Evidence::Down(vec![]), Code::Invalid),
        (down(&story, 2), Code::Invalid),
        (wiped, Code::Invalid),
    ] {
        let refused = add(&story, Some(3), evidence, &host);
        definite(&story.refused(refused), code);
    }
    let unknown = add(&story, Some(9), down(&story, 3), &host);
    definite(&story.refused(unknown), Code::Conflict);
    let further = add(&story, None, Evidence::Policy, &host);
    definite(&story.refused(further), Code::Conflict);
}

#[test]
fn a_node_whose_disk_was_wiped_rejoins_under_a_new_id() {
    let mut story = Story::of(3);
    let host = story.host(2);
    let rejoin = add(&story, Some(3), Evidence::Wiped(host.node()), &host);
    assert_eq!(story.apply(rejoin), Outcome::Done);
    assert_eq!(story.state.replica_of(host.node()), Some(ReplicaId(4)));
    assert_eq!(story.apply(promote(4, Some(3))), Outcome::Done);
    assert_eq!(story.state.target_membership().voters, ids([1, 2, 4]));
}

#[test]
fn a_voter_that_the_policy_no_longer_places_there_is_replaced() {
    let mut founding = Founding::of(&fixture::hosts(3));
    founding.release.policy.home.clear();
    let mut story = Story::found(founding);
    story.state.policy.home = ["FR", "DE", "NL"].map(fixture::law).to_vec();
    let moved = add(&story, Some(3), Evidence::Policy, &newcomer());
    assert_eq!(story.apply(moved), Outcome::Done);
}

#[test]
fn a_degraded_cell_grows_to_what_its_policy_wants() {
    let hosts = fixture::hosts(4);
    let mut founding = Founding::of(&hosts[..3]);
    founding.voters.truncate(1);
    founding.keepers.truncate(1);
    founding.release.policy.allow_degraded = true;
    let mut story = Story::found(founding);
    for (id, host) in (2..).zip(&hosts[1..3]) {
        let further = add(&story, None, Evidence::Policy, host);
        assert_eq!(story.apply(further), Outcome::Done);
        assert_eq!(story.apply(promote(id, None)), Outcome::Done);
    }
    assert_eq!(story.state.grade(), Grade::Jurisdiction);
    let fourth = add(&story, None, Evidence::Policy, &hosts[3]);
    definite(&story.refused(fourth), Code::Conflict);
}

#[test]
fn a_degraded_cell_swaps_for_a_better_grade_and_not_for_a_worse() {
    let hosts = [Host::new("ada", "attic", "FR"), Host::new("ada", "barn", "FR"), Host::new("bob", "cellar", "DE")];
    let mut founding = Founding::of(&hosts);
    founding.release.policy.allow_degraded = true;
    let mut story = Story::found(founding);
    let no_better = add(&story, Some(3), Evidence::Policy, &Host::new("ada", "cave", "FR"));
    definite(&story.refused(no_better), Code::Conflict);
    let better = add(&story, Some(2), Evidence::Policy, &newcomer());
    assert_eq!(story.apply(better), Outcome::Done);
    assert_eq!(story.apply(promote(4, Some(2))), Outcome::Done);
    assert_eq!(story.state.grade(), Grade::Jurisdiction);
}

#[test]
fn never_through_four_voters() {
    let hosts = fixture::hosts(5);
    let mut story = Story::found(Founding::of(&hosts[..3]));
    story.state.policy.voters = 5;
    let fourth = add(&story, None, Evidence::Policy, &hosts[3]);
    definite(&story.refused(fourth), Code::Unplaceable);
    // Nor if the policy allowed degraded only while the learner came.
    story.state.policy.allow_degraded = true;
    let fourth = add(&story, None, Evidence::Policy, &hosts[3]);
    story.apply(fourth);
    story.state.policy.allow_degraded = false;
    definite(&story.refused(promote(4, None)), Code::Unplaceable);
}

#[test]
fn only_the_swap_that_was_prepared_is_made() {
    let mut story = Story::of(3);
    definite(&story.refused(promote(4, Some(3))), Code::Conflict);
    let prepared = add(&story, Some(3), down(&story, 3), &newcomer());
    story.apply(prepared);
    for other in [promote(4, None), promote(4, Some(2)), promote(3, Some(3)), promote(5, Some(3))] {
        definite(&story.refused(other), Code::Conflict);
    }
}

#[test]
fn a_learner_that_does_not_come_through_is_replaced_itself() {
    let mut story = Story::of(3);
    let first = add(&story, Some(3), down(&story, 3), &newcomer());
    story.apply(first);
    let second = Host::new("olga", "o", "IT");
    let early = add(&story, Some(4), Evidence::Policy, &second);
    definite(&story.refused(early), Code::Conflict);
    let dead = add(&story, Some(4), down(&story, 4), &second);
    assert_eq!(story.apply(dead), Outcome::Done);
    assert_eq!(story.state.joining(), Some((ReplicaId(5), Some(ReplicaId(3)))));
    assert_eq!(story.state.node_of(ReplicaId(4)), Some(newcomer().node()));

    story.wait(JOIN_MAX + Duration::from_secs(1));
    let late = add(&story, Some(5), Evidence::Policy, &newcomer());
    assert_eq!(story.apply(late), Outcome::Done);
    assert_eq!(story.apply(promote(6, Some(3))), Outcome::Done);
}

#[test]
fn rules_rise_once_every_voter_supports_them_and_void_older_entries() {
    let mut story = Story::of(3);
    let hosts = story.founding.voters.clone();
    for (n, host) in (1..).zip(&hosts) {
        assert_eq!(story.state.rules(), 1);
        let announced = host.support(&story.state, ReplicaId(n), RULES_MAX + 1);
        assert_eq!(story.apply(announced), Outcome::Done);
    }
    assert_eq!(story.state.rules(), RULES_MAX + 1);
    assert!(!story.state.is_understood(), "this version must not go on");
    let back = hosts[0].support(&story.state, ReplicaId(1), 1);
    definite(&story.refused(back.clone()), Code::Conflict);
    let mut old = fixture::entry(&story.state, back);
    old.rules = 1;
    assert_eq!(refusal(story.apply_entry(&old)).code, Code::Fenced);

    let late = add(&story, Some(3), down(&story, 3), &newcomer());
    story.apply(late);
    definite(&story.refused(promote(4, Some(3))), Code::Unsupported);
    let announced = newcomer().support(&story.state, ReplicaId(4), RULES_MAX + 1);
    story.apply(announced);
    assert_eq!(story.apply(promote(4, Some(3))), Outcome::Done);
}

#[test]
fn a_member_announces_for_itself_in_its_own_cell() {
    let mut story = Story::of(3);
    let foreign = story.host(1).support(&story.state, ReplicaId(1), 2);
    definite(&story.refused(foreign), Code::Unauthorised);
    let nobody = story.host(1).support(&story.state, ReplicaId(9), 2);
    definite(&story.refused(nobody), Code::NotFound);
    let elsewhere = story.host(0).support(&Story::of(1).state, ReplicaId(1), 2);
    definite(&story.refused(elsewhere), Code::Unauthorised);
}
