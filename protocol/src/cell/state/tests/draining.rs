use super::{super::*, *};
use crate::{
    cell::{Evidence, InstanceState, Relief},
    identity::{Envelopes, Signed},
    membership::Liveness,
};

fn story() -> Story {
    Story::of(3).by_the_newest_rules()
}

/// The node of this host says that it drains.
fn word(host: &Host) -> Evidence {
    Evidence::Drain(Box::new(host.presence(Some(fixture::FOUNDED))))
}

fn add(story: &Story, replaces: u64, evidence: Evidence) -> Command {
    let newcomer = Host::new("nina", "new site", "NL");
    let (candidate, grant) = (newcomer.candidate(), newcomer.grant_to(&story.state, Role::Learn));
    let replaces = Some(ReplicaId(replaces));
    Command::Repair(Box::new(Repair::AddLearner { replaces, evidence, candidate, grant }))
}

fn stand_in(story: &Story, host: &Host, of: &Host, presence: Signed<crate::record::RecordBody>) -> Command {
    let (candidate, grant) = (host.candidate(), host.grant_to(&story.state, Role::Instance));
    let relieves = Some(Relief { instance: of.lease(&story.state).instance, presence });
    Command::Repair(Box::new(Repair::GrantLease { candidate, grant, relieves }))
}

fn end(story: &Story, host: &Host, evidence: Evidence) -> Command {
    let lease = host.lease(&story.state);
    let (instance, generation) = (lease.instance, lease.generation);
    Command::Repair(Box::new(Repair::EndLease { instance, generation, evidence }))
}

#[test]
fn the_vote_of_a_draining_node_goes_to_a_newcomer_and_the_place_says_why() {
    let mut story = story();
    let add = add(&story, 3, word(&story.host(2)));
    let mut envelopes = Vec::new();
    add.envelopes(&mut envelopes);
    assert_eq!(envelopes.len(), 4, "the word's signature is checked on the way in, with the candidate's and the grant");
    assert_eq!(story.apply(add), Outcome::Done);
    assert_eq!(story.state.joining(), Some((ReplicaId(4), Some(ReplicaId(3)))));
    assert!(story.state.target_membership().voters.contains(&ReplicaId(3)), "it votes until the newcomer does");
    let why = &story.state.members().last().unwrap().why;
    assert!(why.contains("the vote of replica 3, whose node drains"), "{why}");
}

#[test]
fn a_word_that_is_another_nodes_or_expired_or_says_nothing_moves_no_vote() {
    let mut story = story();
    let (host, other) = (story.host(2), story.host(1));
    let boxed = |presence| Evidence::Drain(Box::new(presence));
    let mut forged = host.presence(Some(fixture::FOUNDED)).open().unwrap();
    forged.kind = crate::record::Kind::OFFER;
    let mut expired = host.presence(Some(fixture::FOUNDED)).open().unwrap();
    expired.expires = story.state.time();
    let unfit = [
        boxed(Signed::seal(&host.keys, &expired)),
        word(&other),
        boxed(host.presence(None)),
        boxed(host.verdict(host.node(), Liveness::Down)),
        boxed(Signed::seal(&other.keys, &host.presence(Some(fixture::FOUNDED)).open().unwrap())),
        boxed(Signed::seal(&host.keys, &forged)),
    ];
    for evidence in unfit {
        let add = add(&story, 3, evidence);
        definite(&story.refused(add), Code::Invalid);
    }
}

#[test]
fn an_instance_on_a_draining_node_ends_only_when_another_serves() {
    let mut founding = Founding::of(&fixture::hosts(3));
    founding.release.policy.scale.max = 1;
    let mut story = Story::found(founding).by_the_newest_rules();
    let (host, next) = (story.host(0), story.host(1));
    let alone = end(&story, &host, word(&host));
    definite(&story.refused(alone), Code::Conflict);

    let plain = next.grant_to(&story.state, Role::Instance);
    let plain = Repair::GrantLease { candidate: next.candidate(), grant: plain, relieves: None };
    definite(&story.refused(Command::Repair(Box::new(plain))), Code::Conflict);
    let idle = stand_in(&story, &next, &host, host.presence(None));
    definite(&story.refused(idle), Code::Invalid);
    let stand_in = stand_in(&story, &next, &host, host.presence(Some(fixture::FOUNDED)));
    assert_eq!(story.apply(stand_in), Outcome::Done);
    assert_eq!(story.state.leases().count(), 2, "one more than the policy wants, for as long as it takes");
    let third = self::stand_in(&story, &story.host(2), &host, host.presence(Some(fixture::FOUNDED)));
    definite(&story.refused(third), Code::Conflict);

    let early = end(&story, &host, word(&host));
    definite(&story.refused(early), Code::Conflict);
    let running = next.renewal(&story.state, 1, InstanceState::Running);
    assert_eq!(story.apply(running), Outcome::Done);
    let other = end(&story, &next, word(&host));
    definite(&story.refused(other), Code::Invalid);
    let now = end(&story, &host, word(&host));
    assert_eq!(story.apply(now), Outcome::Done);
    assert_eq!(story.state.leases().map(|lease| lease.node).collect::<Vec<_>>(), [next.node()]);
}

#[test]
fn a_cell_with_a_member_of_an_earlier_version_does_without() {
    let mut story = Story::of(3);
    let (host, next) = (story.host(0), story.host(1));
    let drained = add(&story, 3, word(&story.host(2)));
    definite(&story.refused(drained), Code::Unsupported);
    let ends = end(&story, &host, word(&host));
    definite(&story.refused(ends), Code::Unsupported);
    // An earlier version passes a relief over, so this one must too.
    let scaled = story.tenant(TenantAction::Scale { min: 1, max: 1 });
    assert_eq!(scaled, Outcome::Done);
    let relieved = stand_in(&story, &next, &host, host.presence(Some(fixture::FOUNDED)));
    definite(&story.refused(relieved), Code::Conflict);
}
