use super::{super::*, *};
use crate::{
    cell::{Evidence, InstanceState},
    identity::{Envelopes, FOR_EVER, Keypair, Lineage, Ruled, Ruling, Signed},
};

/// A cell whose members all support what this version knows.
fn story() -> Story {
    Story::of(3).by_the_newest_rules()
}

fn key(number: u8) -> Keypair {
    Keypair::from_secret(&[number; 32])
}

fn lineage(story: &Story) -> Lineage {
    Lineage::first(story.founding.tenant.genesis.clone())
}

fn rotated(story: &Story, to: u8) -> Lineage {
    lineage(story).succeed(&story.founding.tenant.keys, &key(to), fixture::FOUNDED).unwrap()
}

fn succeed(lineage: &Lineage) -> Command {
    Command::Succeed(Box::new(lineage.clone()))
}

/// The tenant's wish, by this key.
fn wish(story: &mut Story, by: &Keypair) -> Command {
    let op = story.op();
    let action = TenantAction::Scale { min: 1, max: 3 };
    let command = story.founding.tenant.sign(Some(story.state.cell()), op, story.state.time(), action).open().unwrap();
    Command::Tenant { signed: Signed::seal(by, &command), receipts: vec![] }
}

fn revoked(host: &Host, below: u64) -> Evidence {
    let operator = host.operator.genesis.operator();
    let ruling = Ruling { operator, node: host.node(), below, resolved: 0, made: fixture::FOUNDED };
    let lineage = Lineage::first(host.operator.genesis.clone());
    Evidence::Revoked(Box::new(Ruled { lineage, signed: Signed::seal(&host.operator.keys, &ruling) }))
}

fn end(story: &Story, host: &Host, evidence: Evidence) -> Command {
    let lease = host.lease(&story.state);
    let (instance, generation) = (lease.instance, lease.generation);
    Command::Repair(Box::new(Repair::EndLease { instance, generation, evidence }))
}

#[test]
fn a_tenant_that_changed_its_key_is_obeyed_by_the_new_one_only() {
    let mut story = story();
    let (old, new) = (story.founding.tenant.keys.clone(), key(7));
    let by_new = wish(&mut story, &new);
    definite(&story.refused(by_new), Code::Unauthorised);
    let lineage = rotated(&story, 7);
    assert!(story.state.is_superseded_by(&lineage));
    assert_eq!(story.apply(succeed(&lineage)), Outcome::Done);
    assert!(!story.state.is_superseded_by(&lineage));
    let by_old = wish(&mut story, &old);
    definite(&story.refused(by_old), Code::Unauthorised);
    let by_new = wish(&mut story, &new);
    assert_eq!(story.apply(by_new), Outcome::Done);
    definite(&story.refused(succeed(&lineage)), Code::Conflict);
    let again = State::decode(&story.state.encode()).unwrap();
    assert_eq!(again.encode(), story.state.encode(), "and a snapshot keeps it");
}

#[test]
fn nobody_gives_a_cell_another_tenant_or_takes_its_key_back() {
    let mut story = story();
    let stranger = fixture::Party::tenant("mallory");
    let theirs = Lineage::first(stranger.genesis.clone()).succeed(&stranger.keys, &key(9), fixture::FOUNDED).unwrap();
    definite(&story.refused(succeed(&theirs)), Code::Unauthorised);
    let first = rotated(&story, 7);
    story.apply(succeed(&first));
    let forged = rotated(&story, 66);
    definite(&story.refused(succeed(&forged)), Code::Conflict);
    let beginning = lineage(&story);
    definite(&story.refused(succeed(&beginning)), Code::Conflict);
    let later = first.succeed(&key(7), &key(8), fixture::FOUNDED).unwrap();
    assert_eq!(story.apply(succeed(&later)), Outcome::Done);
    let mut envelopes = Vec::new();
    let command = succeed(&later);
    command.envelopes(&mut envelopes);
    assert_eq!(envelopes.len(), 4, "both signatures of both successions are checked on the way in");
}

#[test]
fn a_revoked_host_loses_its_lease_and_its_vote_at_once() {
    let mut story = story();
    let host = story.host(0);
    let renewed = host.renewal(&story.state, 1, InstanceState::Running);
    assert_eq!(story.apply(renewed), Outcome::Done);
    let ends = end(&story, &host, revoked(&host, FOR_EVER));
    assert_eq!(story.apply(ends), Outcome::Done);
    assert_eq!(story.state.leases().count(), 0);

    let newcomer = Host::new("nina", "new site", "NL");
    let replaces = story.state.replica_of(host.node());
    let grant = newcomer.grant_to(&story.state, Role::Learn);
    let add =
        Repair::AddLearner { replaces, evidence: revoked(&host, FOR_EVER), candidate: newcomer.candidate(), grant };
    assert_eq!(story.apply(Command::Repair(Box::new(add))), Outcome::Done);
    assert_eq!(story.state.joining().unwrap().1, replaces);
}

#[test]
fn a_revocation_of_another_node_by_another_operator_or_for_a_time_is_no_evidence() {
    let mut story = story();
    let (host, other) = (story.host(0), story.host(1));
    let of_other = end(&story, &host, revoked(&other, FOR_EVER));
    definite(&story.refused(of_other), Code::Invalid);
    let for_a_time = end(&story, &host, revoked(&host, 9));
    definite(&story.refused(for_a_time), Code::Invalid);
    let ruling = Ruling {
        operator: host.operator.genesis.operator(),
        node: host.node(),
        below: FOR_EVER,
        resolved: 0,
        made: fixture::FOUNDED,
    };
    for lineage in [&host, &other].map(|host| Lineage::first(host.operator.genesis.clone())) {
        let forged = Ruled { lineage, signed: Signed::seal(&other.operator.keys, &ruling) };
        let forged = end(&story, &host, Evidence::Revoked(Box::new(forged)));
        definite(&story.refused(forged), Code::Unauthorised);
    }
}

#[test]
fn a_cell_with_a_member_of_an_earlier_version_does_without() {
    let mut story = Story::of(3);
    let lineage = rotated(&story, 7);
    assert!(!story.state.is_superseded_by(&lineage), "nobody proposes it");
    definite(&story.refused(succeed(&lineage)), Code::Unsupported);
    let host = story.host(0);
    let ends = end(&story, &host, revoked(&host, FOR_EVER));
    definite(&story.refused(ends), Code::Unsupported);
}

#[test]
fn a_tenant_with_a_later_key_founds_cells_by_it() {
    let mut founding = Founding::of(&fixture::hosts(3));
    let (first, signed) = (Lineage::first(founding.tenant.genesis.clone()), founding.tenant.signed_genesis());
    let lineage = first.succeed(&founding.tenant.keys, &key(7), fixture::FOUNDED).unwrap();
    founding.tenant.keys = key(7);
    let genesis = |founding: &Founding, successions| crate::cell::CellGenesis {
        tenant: signed.clone(),
        successions,
        ..founding.genesis()
    };
    let sound = genesis(&founding, Some(lineage.successions.clone()));
    let mut story = Story { state: State::found(&sound).unwrap(), founding: founding.clone(), ops: 0 };
    let by_new = wish(&mut story, &key(7));
    assert_eq!(story.apply(by_new), Outcome::Done);
    let bare = State::found(&genesis(&founding, None)).unwrap_err();
    assert_eq!(bare.code, Code::Unauthorised);
}
