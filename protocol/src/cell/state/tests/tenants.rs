use super::{super::*, *};
use crate::cell::{Release, Secrets};

fn next_release(story: &Story, component: &[u8]) -> Release {
    Release { workload: fixture::release("x", component, Policy::default()).workload, ..story.founding.release.clone() }
}

/// The tenant deploys `release`, whose bytes these hosts keep.
fn deploy(story: &mut Story, release: &Release, keepers: &[Host]) -> Outcome {
    let op = story.op();
    let action = TenantAction::Release(Box::new(release.clone()));
    let signed = story.founding.tenant.sign(Some(story.state.cell()), op, story.state.time(), action);
    let receipts = keepers.iter().map(|keeper| keeper.receipt(&release.workload)).collect();
    story.apply(Command::Tenant { signed, receipts })
}

#[test]
fn a_stranger_commands_nothing() {
    let mut story = Story::of(3);
    let stranger = fixture::Party::tenant("mallory").command(&story.state, fixture::op("m", 1), TenantAction::Remove);
    definite(&story.refused(stranger), Code::Unauthorised);

    let mut command = story.founding.tenant.sign(None, fixture::op("m", 2), story.state.time(), TenantAction::Remove);
    let mut named = command.open().unwrap();
    named.cell = Some(story.state.cell());
    command = crate::identity::Signed::seal(&fixture::Party::tenant("mallory").keys, &named);
    definite(&story.refused(Command::Tenant { signed: command, receipts: vec![] }), Code::Unauthorised);
    assert_eq!(story.state.remembered(fixture::op("m", 2)), None, "a stranger fills no session");
}

#[test]
fn a_command_for_one_cell_is_void_in_another_of_the_same_tenant() {
    let mut story = Story::of(3);
    let other = Story::of(1);
    let command = other.founding.tenant.command(&other.state, fixture::op("t", 1), TenantAction::Remove);
    definite(&story.refused(command), Code::Unauthorised);
}

#[test]
fn a_command_older_or_younger_than_a_day_is_refused() {
    let mut story = Story::of(3);
    story.wait(Duration::from_hours(25));
    let (tenant, cell) = (story.founding.tenant.clone(), story.state.cell());
    let at = |issued| Command::Tenant {
        signed: tenant.sign(Some(cell), fixture::op("t", 1), issued, TenantAction::Scale { min: 1, max: 2 }),
        receipts: vec![],
    };
    definite(&story.refused(at(fixture::FOUNDED)), Code::Expired);
    definite(&story.refused(at(fixture::FOUNDED + Duration::from_hours(50))), Code::Expired);
    assert_eq!(story.apply(at(story.state.time())), Outcome::Done);
}

#[test]
fn releases_are_numbered_and_the_last_ten_retained() {
    let mut story = Story::of(3);
    let keepers = story.founding.voters.clone();
    for number in 2..=12 {
        let release = next_release(&story, format!("version {number}").as_bytes());
        assert_eq!(deploy(&mut story, &release, &keepers), Outcome::Released(number));
    }
    let numbers: Vec<_> = story.state.releases().map(|release| release.number).collect();
    assert_eq!(numbers, (3..=12).collect::<Vec<_>>());
    assert_eq!(story.state.contents().count(), 10);
    assert_eq!(story.state.description().current, 12);
    definite(&refusal(story.tenant(TenantAction::Rollback { to: 2 })), Code::NotFound);
}

#[test]
fn a_rollback_is_a_new_release_with_what_the_old_one_said() {
    let mut story = Story::of(3);
    let keepers = story.founding.voters.clone();
    let mut release = next_release(&story, b"second");
    release.env = vec![("GREETING".into(), "bye".into())];
    release.policy.scale.max = 5;
    deploy(&mut story, &release, &keepers);
    assert_eq!(story.state.policy().scale.max, 5);

    assert_eq!(story.tenant(TenantAction::Rollback { to: 1 }), Outcome::Released(3));
    let description = story.state.description();
    let current = description.release().unwrap();
    assert_eq!((current.number, current.rolled_back_to), (3, Some(1)));
    assert_eq!(current.workload, story.founding.release.workload);
    assert_eq!(description.env[0].1, "hello");
    assert_eq!(description.policy, story.founding.release.policy);
}

#[test]
fn a_release_whose_bytes_are_not_durable_is_refused() {
    let mut story = Story::of(3);
    let release = next_release(&story, b"second");
    let two = story.founding.voters[..2].to_vec();
    definite(&refusal(deploy(&mut story, &release, &two)), Code::Conflict);
    assert_eq!(story.state.description().current, 1);
}

#[test]
fn a_release_changes_neither_the_apps_name_nor_who_may_recover_it() {
    let mut story = Story::of(3);
    let keepers = story.founding.voters.clone();
    let renamed = Release { app: "other".into(), ..next_release(&story, b"second") };
    definite(&refusal(deploy(&mut story, &renamed, &keepers)), Code::Conflict);
    let mut taken = next_release(&story, b"second");
    taken.policy.recovery.operators = vec![keepers[0].operator.operator_id()];
    taken.policy.recovery.threshold = 1;
    definite(&refusal(deploy(&mut story, &taken, &keepers)), Code::Conflict);
    let malformed = Release { env: vec![(String::new(), String::new())], ..next_release(&story, b"second") };
    definite(&refusal(deploy(&mut story, &malformed, &keepers)), Code::Invalid);
}

#[test]
fn scale_is_set_within_bounds() {
    let mut story = Story::of(3);
    assert_eq!(story.tenant(TenantAction::Scale { min: 2, max: 4 }), Outcome::Done);
    assert_eq!((story.state.policy().scale.min, story.state.policy().scale.max), (2, 4));
    definite(&refusal(story.tenant(TenantAction::Scale { min: 5, max: 4 })), Code::Invalid);
    definite(&refusal(story.tenant(TenantAction::Scale { min: 0, max: 1_001 })), Code::Invalid);
}

#[test]
fn secrets_are_replaced_under_the_same_or_a_newer_data_key() {
    let mut story = Story::of(3);
    let node = story.host(0).node();
    let secrets = |key_generation, value: &str| Secrets {
        key_generation,
        wraps: vec![(node, "wrapped".into())],
        own: "own".into(),
        values: vec![("TOKEN".into(), value.into())],
    };
    assert_eq!(story.tenant(TenantAction::Secrets(secrets(2, "a"))), Outcome::Done);
    assert_eq!(story.tenant(TenantAction::Secrets(secrets(2, "b"))), Outcome::Done);
    assert_eq!(story.state.description().secrets, secrets(2, "b"));
    definite(&refusal(story.tenant(TenantAction::Secrets(secrets(1, "c")))), Code::Conflict);
    definite(&refusal(story.tenant(TenantAction::Secrets(secrets(2, &"x".repeat(64 << 10))))), Code::Invalid);
    let twice = Secrets { wraps: vec![(node, "a".into()), (node, "b".into())], ..secrets(3, "a") };
    definite(&refusal(story.tenant(TenantAction::Secrets(twice))), Code::Invalid);
}

#[test]
fn a_removed_app_has_no_leases_and_takes_no_commands() {
    let mut story = Story::of(3);
    let renewal = story.host(0).renewal(&story.state, 1, crate::cell::InstanceState::Running);
    assert_eq!(story.tenant(TenantAction::Remove), Outcome::Done);
    assert_eq!(story.state.removed(), Some(story.state.time()));
    assert_eq!(story.state.leases().count(), 0);
    definite(&story.refused(renewal), Code::Fenced);
    definite(&refusal(story.tenant(TenantAction::Write(vec![fixture::set("s", "k", "v")]))), Code::Conflict);
    let grant = story.host(1).grant_to(&story.state, Role::Instance);
    let lease = Repair::GrantLease { candidate: story.host(1).candidate(), grant, relieves: None };
    definite(&story.refused(Command::Repair(Box::new(lease))), Code::Conflict);
}

#[test]
fn an_entry_of_another_line_or_other_rules_is_void_but_its_command_is_not() {
    let mut story = Story::of(3);
    let op = fixture::op("t", 1);
    let command =
        story.founding.tenant.command(&story.state, op, TenantAction::Write(vec![fixture::set("s", "k", "v")]));
    let mut entry = fixture::entry(&story.state, command.clone());
    entry.line = 2;
    let fenced = refusal(story.apply_entry(&entry));
    assert_eq!((fenced.code, fenced.certainty), (Code::Fenced, Certainty::Indefinite));
    let mut entry = fixture::entry(&story.state, command.clone());
    entry.rules = 2;
    assert_eq!(refusal(story.apply_entry(&entry)).code, Code::Fenced);
    assert!(matches!(story.apply(command), Outcome::Written { .. }));
}

#[test]
fn cell_time_is_the_highest_stamp_and_never_goes_back() {
    let mut story = Story::of(3);
    story.wait(Duration::from_mins(1));
    let high = story.state.time();
    let command =
        story.founding.tenant.command(&story.state, fixture::op("t", 1), TenantAction::Scale { min: 1, max: 2 });
    let mut entry = fixture::entry(&story.state, command);
    entry.stamp = fixture::FOUNDED;
    story.apply_entry(&entry);
    assert_eq!(story.state.time(), high);
}
