use super::{super::*, *};
use crate::{
    cell::{DataBatch, Evidence, InstanceState},
    id::InstanceId,
    identity::Signed,
    membership::Liveness,
    resources::Money,
};

fn grant_lease(story: &Story, host: &Host) -> Command {
    let grant = host.grant_to(&story.state, Role::Instance);
    Command::Repair(Box::new(Repair::GrantLease { candidate: host.candidate(), grant, relieves: None }))
}

fn end_lease(story: &Story, host: &Host, evidence: Evidence) -> Command {
    let lease = host.lease(&story.state);
    let (instance, generation) = (lease.instance, lease.generation);
    Command::Repair(Box::new(Repair::EndLease { instance, generation, evidence }))
}

/// A batch of the first host's instance that says something else.
fn batch(story: &Story, change: impl FnOnce(&mut DataBatch)) -> Command {
    let host = story.host(0);
    let mut batch = host.batch(&story.state, fixture::op("d", 1), vec![fixture::set("s", "k", "v")]);
    change(&mut batch);
    Command::Data(Signed::seal(&host.keys, &batch))
}

#[test]
fn the_holder_of_a_lease_writes() {
    let mut story = Story::of(3);
    let command = batch(&story, |_| {});
    assert!(matches!(story.apply(command), Outcome::Written { .. }));
}

#[test]
fn another_node_does_not_write_for_an_instance() {
    let mut story = Story::of(3);
    let stolen = story.host(0).batch(&story.state, fixture::op("d", 1), vec![fixture::set("s", "k", "v")]);
    let command = Command::Data(Signed::seal(&story.host(1).keys, &stolen));
    definite(&story.refused(command), Code::Unauthorised);
    assert!(story.state.remembered(fixture::op("d", 1)).is_none(), "a stranger fills no session");
}

#[test]
fn line_writer_generation_and_cell_fence_a_batch() {
    let mut story = Story::of(3);
    for fenced in [
        batch(&story, |batch| batch.line = 0),
        batch(&story, |batch| batch.writer = 2),
        batch(&story, |batch| batch.generation = 2),
        batch(&story, |batch| batch.instance.number = 2),
    ] {
        definite(&story.refused(fenced), Code::Fenced);
    }
    let elsewhere = batch(&story, |batch| batch.cell = CellId::of(b"another"));
    definite(&story.refused(elsewhere), Code::Unauthorised);
    let elsewhere = batch(&story, |batch| batch.instance.cell = CellId::of(b"another"));
    definite(&story.refused(elsewhere), Code::Fenced);
}

#[test]
fn a_renewal_sets_cell_time_and_what_the_host_says() {
    let mut story = Story::of(3);
    let host = story.host(0);
    let renewal = host.renewal(&story.state, 1, InstanceState::Running);
    assert_eq!(story.later(Duration::from_secs(4), renewal.clone()), Outcome::Done);
    let lease = host.lease(&story.state);
    assert_eq!((lease.renewed, &lease.state), (story.state.time(), &InstanceState::Running));
    definite(&story.refused(renewal), Code::Conflict);

    // The same words again move the time only.
    let again = fixture::entry(&story.state, host.renewal(&story.state, 2, InstanceState::Running));
    assert!(!story.state.apply(story.state.applied() + 1, &again).head_changed);
    let failed = InstanceState::Failed("é".repeat(FAILURE_BYTES_MAX));
    let failed = fixture::entry(&story.state, host.renewal(&story.state, 3, failed));
    assert!(story.state.apply(story.state.applied() + 1, &failed).head_changed);
    assert_eq!(host.lease(&story.state).state, InstanceState::Failed("é".repeat(FAILURE_BYTES_MAX / 2)));
}

#[test]
fn nobody_else_renews_a_lease() {
    let mut story = Story::of(3);
    let Command::Renew(signed) = story.host(0).renewal(&story.state, 1, InstanceState::Running) else {
        panic!("a renewal is a renewal")
    };
    let renewal = signed.open().unwrap();
    let stolen = Command::Renew(Signed::seal(&story.host(1).keys, &renewal));
    definite(&story.refused(stolen), Code::Unauthorised);
    let mut fenced = renewal;
    fenced.generation = 7;
    definite(&story.refused(Command::Renew(Signed::seal(&story.host(0).keys, &fenced))), Code::Fenced);
    fenced.generation = 1;
    fenced.line = 2;
    definite(&story.refused(Command::Renew(Signed::seal(&story.host(0).keys, &fenced))), Code::Fenced);
}

#[test]
fn a_lease_that_ran_out_is_renewed_if_nobody_ended_it() {
    let mut story = Story::of(3);
    let renewal = story.host(0).renewal(&story.state, 1, InstanceState::Running);
    assert_eq!(story.later(Duration::from_hours(1), renewal), Outcome::Done);
}

#[test]
fn a_lease_is_granted_under_a_new_number_and_generation() {
    let mut story = Story::of(3);
    let granted = grant_lease(&story, &story.host(1));
    assert_eq!(story.apply(granted), Outcome::Done);
    let lease = story.host(1).lease(&story.state).clone();
    assert_eq!((lease.instance, lease.generation), (InstanceId { cell: story.state.cell(), number: 2 }, 2));
    assert!(lease.why.contains("operator 2 at site 2 in DE"), "{}", lease.why);

    let ended = end_lease(&story, &story.host(1), Evidence::Policy);
    assert_eq!(story.apply(ended), Outcome::Done);
    let granted = grant_lease(&story, &story.host(2));
    story.apply(granted);
    let lease = story.host(2).lease(&story.state);
    assert_eq!((lease.instance.number, lease.generation), (3, 3), "numbers are never reused");
}

#[test]
fn a_node_holds_one_lease_of_an_app() {
    let mut story = Story::of(3);
    let again = grant_lease(&story, &story.host(0));
    definite(&story.refused(again), Code::Conflict);
}

#[test]
fn no_lease_is_granted_above_the_scale() {
    let mut story = Story::of(3);
    story.tenant(TenantAction::Scale { min: 1, max: 1 });
    let above = grant_lease(&story, &story.host(1));
    definite(&story.refused(above), Code::Conflict);
}

#[test]
fn a_lease_outside_home_and_away_is_refused() {
    let mut founding = Founding::of(&fixture::hosts(3));
    founding.release.policy.home = ["FR", "DE", "BE"].map(fixture::law).to_vec();
    founding.release.policy.away = vec![fixture::law("CN")];
    let mut story = Story::found(founding);
    let abroad = grant_lease(&story, &Host::new("ivan", "dacha", "RU"));
    definite(&story.refused(abroad), Code::Unplaceable);
    let away = grant_lease(&story, &Host::new("chen", "campus", "CN"));
    assert_eq!(story.apply(away), Outcome::Done);
}

#[test]
fn a_lease_above_the_price_of_the_month_is_refused() {
    let mut founding = Founding::of(&fixture::hosts(3));
    // An hour costs 11,587 millionths of a cent for each replica and 56,250 for an instance: the founders' month is 66
    // cents, and another instance's 41.
    founding.release.policy.max_price = Some(Money { minor: 90, currency: fixture::price().currency });
    let mut story = Story::found(founding);
    let dear = grant_lease(&story, &story.host(1));
    definite(&story.refused(dear), Code::Unplaceable);
    let mut cheap = story.host(1);
    cheap.price.cpu_core_hour = 0;
    cheap.price.memory_gib_hour = 0;
    let granted = grant_lease(&story, &cheap);
    assert_eq!(story.apply(granted), Outcome::Done);
}

#[test]
fn a_grant_for_another_purpose_gives_no_lease() {
    let mut story = Story::of(3);
    let host = story.host(1);
    let grant = host.grant_to(&story.state, Role::Learn);
    let lease = Repair::GrantLease { candidate: host.candidate(), grant, relieves: None };
    definite(&story.refused(Command::Repair(Box::new(lease))), Code::Unauthorised);
    let grant = host.grant_to(&Story::of(1).state, Role::Instance);
    let lease = Repair::GrantLease { candidate: host.candidate(), grant, relieves: None };
    definite(&story.refused(Command::Repair(Box::new(lease))), Code::Unauthorised);
}

#[test]
fn a_silent_lease_ends_only_two_seconds_after_it_ran_out() {
    let mut story = Story::of(3);
    story.wait(Duration::from_millis(11_990));
    let end = end_lease(&story, &story.host(0), Evidence::Silent);
    definite(&story.refused(end.clone()), Code::Conflict);
    assert_eq!(story.later(Duration::from_millis(10), end.clone()), Outcome::Done);
    assert_eq!(story.state.leases().count(), 0);
    definite(&story.refused(end), Code::Conflict);
}

#[test]
fn an_ended_lease_neither_writes_nor_is_renewed() {
    let mut story = Story::of(3);
    story.tenant(TenantAction::Scale { min: 0, max: 1 });
    let (late, renewal) = (batch(&story, |_| {}), story.host(0).renewal(&story.state, 1, InstanceState::Running));
    let end = end_lease(&story, &story.host(0), Evidence::Policy);
    assert_eq!(story.apply(end), Outcome::Done);
    definite(&story.refused(late), Code::Fenced);
    definite(&story.refused(renewal), Code::Fenced);
}

#[test]
fn verdicts_end_no_lease_that_its_holder_may_still_believe_in() {
    let mut story = Story::of(3);
    let accused = story.host(0);
    let verdicts: Vec<_> = (1..3).map(|n| story.host(n).verdict(accused.node(), Liveness::Down)).collect();
    let end = end_lease(&story, &accused, Evidence::Down(verdicts));
    story.wait(Duration::from_millis(9_990));
    definite(&story.refused(end.clone()), Code::Conflict);
    assert_eq!(story.later(Duration::from_millis(10), end), Outcome::Done);
}

#[test]
fn verdicts_that_accuse_nobody_properly_end_nothing() {
    let mut story = Story::of(3);
    let (accused, one, two) = (story.host(0), story.host(1), story.host(2));
    story.wait(Duration::from_secs(11));
    let good = one.verdict(accused.node(), Liveness::Down);
    let also = two.verdict(accused.node(), Liveness::Down);
    let forged = {
        let body = good.open().unwrap();
        Signed::seal(&two.keys, &body)
    };
    let expired = {
        let mut body = good.open().unwrap();
        body.expires = story.state.time();
        Signed::seal(&one.keys, &body)
    };
    let offer = one.candidate().offer;
    for (what, verdicts) in [
        ("none", vec![]),
        ("one voice", vec![good.clone()]),
        ("twice the same", vec![good.clone(), good.clone()]),
        ("about another", vec![one.verdict(two.node(), Liveness::Down), also.clone()]),
        ("of itself", vec![accused.verdict(accused.node(), Liveness::Down), also.clone()]),
        ("alive", vec![one.verdict(accused.node(), Liveness::Alive), also.clone()]),
        ("forged", vec![forged, also.clone()]),
        ("expired", vec![expired, also.clone()]),
        ("an offer", vec![offer, also.clone()]),
        ("too many", (0..33).map(|_| good.clone()).collect()),
    ] {
        let end = end_lease(&story, &accused, Evidence::Down(verdicts));
        assert_eq!(story.refused(end).code, Code::Invalid, "{what}");
    }
    let end = end_lease(&story, &accused, Evidence::Down(vec![good, also]));
    assert_eq!(story.apply(end), Outcome::Done);
}

#[test]
fn the_policy_ends_leases_above_its_lower_bound_only() {
    let mut story = Story::of(3);
    let granted = grant_lease(&story, &story.host(1));
    story.apply(granted);
    let end = end_lease(&story, &story.host(1), Evidence::Policy);
    assert_eq!(story.apply(end), Outcome::Done);
    let end = end_lease(&story, &story.host(0), Evidence::Policy);
    definite(&story.refused(end), Code::Conflict);
}

#[test]
fn an_instance_that_cannot_start_gives_way_to_another() {
    let mut story = Story::of(3);
    let host = story.host(0);
    let failed = host.renewal(&story.state, 1, InstanceState::Failed("it traps".into()));
    story.apply(failed);
    let end = end_lease(&story, &host, Evidence::Policy);
    assert_eq!(story.apply(end), Outcome::Done);
}

#[test]
fn a_wiped_disk_or_a_wrong_generation_ends_no_lease() {
    let mut story = Story::of(3);
    let host = story.host(0);
    let end = end_lease(&story, &host, Evidence::Wiped(host.node()));
    definite(&story.refused(end), Code::Invalid);
    let instance = host.lease(&story.state).instance;
    let end = Repair::EndLease { instance, generation: 9, evidence: Evidence::Policy };
    definite(&story.refused(Command::Repair(Box::new(end))), Code::Conflict);
}
