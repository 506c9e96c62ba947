use super::{super::*, *};
use crate::{
    cell::Evidence,
    membership::Liveness,
    placement::Policy,
    resources::{Money, Price},
};

/// A cell of three whose policy lets copies stand in NL and CN.
fn story(change: impl FnOnce(&mut Policy)) -> Story {
    let mut founding = Founding::of(&fixture::hosts(3));
    founding.release.policy.away = ["NL", "CN"].map(fixture::law).to_vec();
    change(&mut founding.release.policy);
    Story::found(founding)
}

fn abroad(name: &str, law: &str) -> Host {
    Host::new(name, &format!("site of {name}"), law)
}

fn add(story: &Story, replaces: Option<u64>, evidence: Evidence, host: &Host) -> Command {
    let (candidate, grant) = (host.candidate(), host.grant_to(&story.state, Role::Learn));
    let replaces = replaces.map(ReplicaId);
    Command::Repair(Box::new(Repair::AddCopy { replaces, evidence, candidate, grant }))
}

fn end(replica: u64, evidence: Evidence) -> Command {
    Command::Repair(Box::new(Repair::EndCopy { replica: ReplicaId(replica), evidence }))
}

fn down(story: &Story, about: &Host) -> Evidence {
    let verdict = |host: usize| story.host(host).verdict(about.node(), Liveness::Down);
    Evidence::Down(vec![verdict(0), verdict(1)])
}

#[test]
fn copies_come_with_their_rules_only() {
    let mut story = story(|_| {});
    let early = add(&story, None, Evidence::Policy, &abroad("nina", "NL"));
    definite(&story.refused(early), Code::Unsupported);
    let mut story = story.by_the_newest_rules();
    let add = add(&story, None, Evidence::Policy, &abroad("nina", "NL"));
    assert_eq!(story.apply(add), Outcome::Done);
    let target = story.state.target_membership();
    assert_eq!((target.voters.len(), target.learners.len()), (3, 1));
    assert_eq!(story.state.joining(), None, "it joins for no vote");
    assert!(story.state.members().last().unwrap().why.contains("a copy for reads in NL"));
}

#[test]
fn one_copy_stands_under_each_law_that_the_policy_calls_away_and_nowhere_else() {
    let mut story = story(|_| {}).by_the_newest_rules();
    for (name, law) in [("nina", "NL"), ("cai", "CN")] {
        let add = add(&story, None, Evidence::Policy, &abroad(name, law));
        assert_eq!(story.apply(add), Outcome::Done);
    }
    let second = add(&story, None, Evidence::Policy, &abroad("nils", "NL"));
    definite(&story.refused(second), Code::Conflict);
    let elsewhere = add(&story, None, Evidence::Policy, &abroad("ida", "IT"));
    definite(&story.refused(elsewhere), Code::Unplaceable);
    let at_home = add(&story, None, Evidence::Policy, &abroad("fred", "FR"));
    definite(&story.refused(at_home), Code::Unplaceable);
    let voter = Host::new("operator 1", "site 1", "FR");
    let twice = add(&story, Some(4), down(&story, &abroad("nina", "NL")), &voter);
    definite(&story.refused(twice), Code::Unplaceable);
}

#[test]
fn a_copy_stands_in_no_voters_way_and_joins_beside_a_learner() {
    let mut story = story(|_| {}).by_the_newest_rules();
    let copy = add(&story, None, Evidence::Policy, &abroad("nina", "NL"));
    assert_eq!(story.apply(copy), Outcome::Done);
    let lost = story.host(2);
    let ida = abroad("ida", "IT");
    let (candidate, grant) = (ida.candidate(), ida.grant_to(&story.state, Role::Learn));
    let evidence = down(&story, &lost);
    let learner = Repair::AddLearner { replaces: Some(ReplicaId(3)), evidence, candidate, grant };
    assert_eq!(story.apply(Command::Repair(Box::new(learner))), Outcome::Done);
    let other = add(&story, None, Evidence::Policy, &abroad("cai", "CN"));
    assert_eq!(story.apply(other), Outcome::Done, "the one that joins is no copy");
    let promote = Repair::Promote { learner: ReplicaId(4), leaves: None };
    definite(&story.refused(Command::Repair(Box::new(promote))), Code::Conflict);
}

#[test]
fn a_copy_is_replaced_under_its_law_when_its_node_is_down_and_never_ended_for_that() {
    let mut story = story(|_| {}).by_the_newest_rules();
    let nina = abroad("nina", "NL");
    let first = add(&story, None, Evidence::Policy, &nina);
    story.apply(first);
    definite(&story.refused(end(4, down(&story, &nina))), Code::Invalid);
    definite(&story.refused(end(4, Evidence::Silent)), Code::Invalid);
    definite(&story.refused(end(4, Evidence::Policy)), Code::Conflict);
    definite(&story.refused(end(1, Evidence::Policy)), Code::NotFound);
    let elsewhere = add(&story, Some(4), down(&story, &nina), &abroad("cai", "CN"));
    definite(&story.refused(elsewhere), Code::Conflict);
    let accused = add(&story, Some(4), down(&story, &story.host(1)), &abroad("nils", "NL"));
    definite(&story.refused(accused), Code::Invalid);
    let instead = add(&story, Some(4), down(&story, &nina), &abroad("nils", "NL"));
    assert_eq!(story.apply(instead), Outcome::Done);
    assert_eq!(story.state.copies().map(|copy| copy.replica.0).collect::<Vec<_>>(), [5]);
    assert_eq!(story.state.node_of(ReplicaId(4)), Some(nina.node()), "it is still answered");
}

#[test]
fn a_copy_ends_when_its_node_drains_or_it_never_comes_to_know_the_rules() {
    let mut story = story(|_| {}).by_the_newest_rules();
    let nina = abroad("nina", "NL");
    let add_nina = add(&story, None, Evidence::Policy, &nina);
    story.apply(add_nina);
    let drains = Evidence::Drain(Box::new(nina.presence(Some(fixture::FOUNDED))));
    definite(&story.refused(end(4, Evidence::Drain(Box::new(nina.presence(None))))), Code::Invalid);
    assert_eq!(story.apply(end(4, drains)), Outcome::Done);
    let again = add(&story, None, Evidence::Policy, &nina);
    story.apply(again);
    story.state.time = story.state.time + JOIN_MAX + Duration::from_secs(1);
    assert_eq!(story.apply(end(5, Evidence::Policy)), Outcome::Done, "it never said that it knows them");
}

#[test]
fn a_copy_counts_in_the_price() {
    let max_price = Money { minor: 100_000, currency: fixture::price().currency };
    let mut story = story(|policy| policy.max_price = Some(max_price)).by_the_newest_rules();
    let price = Price { cpu_core_hour: 1_000_000_000_000, ..fixture::price() };
    let dear = add(&story, None, Evidence::Policy, &Host { price, ..abroad("nina", "NL") });
    definite(&story.refused(dear), Code::Unplaceable);
    let cheap = add(&story, None, Evidence::Policy, &abroad("nina", "NL"));
    assert_eq!(story.apply(cheap), Outcome::Done);
}

#[test]
fn a_lease_away_outlasts_a_cut_as_the_policy_says() {
    let mut story = story(|policy| policy.cut.lost_after = Duration::from_mins(10)).by_the_newest_rules();
    let nina = abroad("nina", "NL");
    let (candidate, grant) = (nina.candidate(), nina.grant_to(&story.state, Role::Instance));
    let grant = Repair::GrantLease { candidate, grant, relieves: None };
    assert_eq!(story.apply(Command::Repair(Box::new(grant))), Outcome::Done);
    let LeaseInfo { instance, generation, .. } = *nina.lease(&story.state);
    let ends = || Command::Repair(Box::new(Repair::EndLease { instance, generation, evidence: Evidence::Silent }));
    story.state.time = story.state.time + Duration::from_mins(9);
    definite(&story.refused(ends()), Code::Conflict);
    story.state.time = story.state.time + Duration::from_secs(71);
    assert_eq!(story.apply(ends()), Outcome::Done);
}

#[test]
fn no_swap_takes_the_quorum_from_the_side_that_is_to_keep_it() {
    let hosts: Vec<Host> = [("ada", "FR"), ("bob", "FR"), ("dan", "DE")].map(|(name, law)| abroad(name, law)).to_vec();
    let mut founding = Founding::of(&hosts);
    founding.release.policy.home = ["FR", "DE"].map(fixture::law).to_vec();
    founding.release.policy.cut.home_cut = Some(fixture::law("FR"));
    let mut elsewhere = founding.clone();
    elsewhere.release.policy.cut.home_cut = Some(fixture::law("DE"));
    assert_eq!(State::found(&elsewhere.genesis()).unwrap_err().code, Code::Unplaceable, "DE would have one of three");
    let mut story = Story::found(founding).by_the_newest_rules();
    let swap = |story: &Story, name: &str, law: &str| {
        let host = abroad(name, law);
        let (candidate, grant) = (host.candidate(), host.grant_to(&story.state, Role::Learn));
        let verdicts = [0, 2].map(|other| story.host(other).verdict(story.host(1).node(), Liveness::Down)).to_vec();
        let evidence = Evidence::Down(verdicts);
        Command::Repair(Box::new(Repair::AddLearner { replaces: Some(ReplicaId(2)), evidence, candidate, grant }))
    };
    definite(&story.refused(swap(&story, "eve", "DE")), Code::Unplaceable);
    let home = swap(&story, "fay", "FR");
    assert_eq!(story.apply(home), Outcome::Done);
}
