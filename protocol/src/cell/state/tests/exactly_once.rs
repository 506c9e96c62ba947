use super::{super::*, *};
use crate::cell::Write;

fn increment(key: &str) -> Vec<Write> {
    vec![Write::Increment { store: "s".into(), key: key.into(), delta: 1 }]
}

fn count(story: &Story, key: &str) -> Option<codec::Blob> {
    match story.state.answer(&Query::Get { store: "s".into(), key: key.into() }) {
        Answer::Value(found) => found.map(|found| found.value),
        other => panic!("expected a value, got {other:?}"),
    }
}

fn data(story: &mut Story, session: &str, seq: u64) -> Outcome {
    let command = story.host(0).data(&story.state, fixture::op(session, seq), increment("n"));
    story.apply(command)
}

#[test]
fn a_retry_gets_the_stored_result_and_no_second_effect() {
    let mut story = Story::of(3);
    let tenant = story.founding.tenant.command(&story.state, fixture::op("t", 1), TenantAction::Write(increment("n")));
    let batch = story.host(0).data(&story.state, fixture::op("d", 1), increment("n"));
    let first = story.apply(tenant.clone());
    assert_eq!(story.state.recall(&tenant), Some(&first));
    assert_eq!(story.apply(tenant), first);
    let second = story.apply(batch.clone());
    assert_eq!(story.state.remembered(fixture::op("d", 1)), Some(&second));
    assert_eq!(story.state.recall(&batch), Some(&second));
    assert_eq!(story.apply(batch), second);
    assert_eq!(count(&story, "n"), Some("2".into()));
}

#[test]
fn conflicts_and_refusals_are_remembered_too() {
    let mut story = Story::of(3);
    let swap = Write::Swap { store: "s".into(), key: "a".into(), expected: 9, value: None };
    let conflict = story.host(0).data(&story.state, fixture::op("d", 1), vec![swap]);
    assert_eq!(story.apply(conflict.clone()), Outcome::Conflict { version: 0 });
    let refused = story.host(0).data(&story.state, fixture::op("d", 2), vec![fixture::set("", "k", "v")]);
    let refusal = story.apply(refused.clone());
    story.tenant(TenantAction::Write(vec![fixture::set("s", "a", "now there")]));
    assert_eq!(story.apply(conflict), Outcome::Conflict { version: 0 });
    assert_eq!(story.apply(refused), refusal);
}

#[test]
fn a_retry_is_answered_even_after_its_lease_ended() {
    let mut story = Story::of(3);
    let batch = story.host(0).data(&story.state, fixture::op("d", 1), increment("n"));
    let first = story.apply(batch.clone());
    story.tenant(TenantAction::Remove);
    assert_eq!(story.apply(batch), first);
}

#[test]
fn a_session_remembers_its_last_sixteen_and_says_indefinite_of_older_ones() {
    let mut story = Story::of(3);
    for seq in 1..=17 {
        data(&mut story, "d", seq);
    }
    let older = refusal(data(&mut story, "d", 1));
    assert_eq!((older.code, older.certainty), (Code::Expired, Certainty::Indefinite));
    assert!(matches!(data(&mut story, "d", 2), Outcome::Written { .. }));
    assert_eq!(count(&story, "n"), Some("17".into()));
}

#[test]
fn ops_of_a_session_may_come_out_of_order() {
    let mut story = Story::of(3);
    for seq in [5, 3, 9, 4] {
        assert!(matches!(data(&mut story, "d", seq), Outcome::Written { .. }));
    }
    assert_eq!(count(&story, "n"), Some("4".into()));
}

#[test]
fn an_op_numbered_0_is_refused() {
    let mut story = Story::of(3);
    definite(&refusal(data(&mut story, "d", 0)), Code::Invalid);
}

#[test]
fn an_instances_session_ends_ten_minutes_after_its_last_use() {
    let mut story = Story::of(3);
    data(&mut story, "d", 1);
    story.wait(Duration::from_mins(10));
    assert!(story.state.remembered(fixture::op("d", 1)).is_some());
    story.wait(Duration::from_millis(1));
    assert!(story.state.remembered(fixture::op("d", 1)).is_none());
}

#[test]
fn a_tenants_command_cannot_be_replayed_while_its_date_would_still_let_it_in() {
    let mut story = Story::of(3);
    let command = story.founding.tenant.command(&story.state, fixture::op("t", 1), TenantAction::Write(increment("n")));
    story.apply(command.clone());
    story.wait(Duration::from_hours(23));
    assert!(matches!(story.apply(command.clone()), Outcome::Written { .. }), "the stored result");
    story.wait(Duration::from_hours(2));
    definite(&story.refused(command), Code::Expired);
    assert_eq!(count(&story, "n"), Some("1".into()));
}

#[test]
fn a_tenant_session_that_was_pushed_out_makes_older_commands_indefinite_not_new() {
    let mut story = Story::of(3);
    let first =
        story.founding.tenant.command(&story.state, fixture::op("first", 1), TenantAction::Write(increment("n")));
    story.apply(first.clone());
    for n in 0..SESSIONS_MAX {
        let op = fixture::op(&format!("session {n}"), 1);
        let command = story.founding.tenant.command(&story.state, op, TenantAction::Scale { min: 1, max: 2 });
        // Straight at the state: a story compares whole states around each refusal.
        let entry = fixture::entry(&story.state, command);
        assert_eq!(story.state.apply(story.state.applied() + 1, &entry).outcome, Outcome::Done);
    }
    assert_eq!(story.state.tenant_sessions.len(), SESSIONS_MAX);
    let replayed = story.refused(first);
    assert_eq!((replayed.code, replayed.certainty), (Code::Expired, Certainty::Indefinite));
    assert_eq!(count(&story, "n"), Some("1".into()));
}

#[test]
fn results_of_all_sessions_are_bounded_in_bytes() {
    let mut story = Story::of(3);
    let sixty_four = |key: &str| increment(key).into_iter().cycle().take(64).collect::<Vec<_>>();
    // 64 counters and an overhead are 576 bytes a result, so 8 MiB hold fewer than 16,000 of them.
    for n in 0..1_000 {
        for seq in 1..=16 {
            let op = fixture::op(&format!("session {n}"), seq);
            let entry = fixture::entry(&story.state, story.host(0).data(&story.state, op, sixty_four("n")));
            story.state.apply(story.state.applied() + 1, &entry);
        }
    }
    assert!(story.state.data_sessions.len() < 1_000);
    assert!(story.state.remembered(fixture::op("session 999", 16)).is_some());
    assert!(story.state.remembered(fixture::op("session 0", 16)).is_none());
}

#[test]
fn a_host_cannot_occupy_an_op_of_the_tenant() {
    let mut story = Story::of(3);
    let op = fixture::op("guessed", 1);
    let tenant = story.founding.tenant.command(&story.state, op, TenantAction::Write(increment("tenant")));
    let batch = story.host(0).data(&story.state, op, increment("host"));
    story.apply(batch);
    assert_eq!(story.state.recall(&tenant), None);
    story.apply(tenant);
    assert_eq!(count(&story, "tenant"), Some("1".into()));
}
