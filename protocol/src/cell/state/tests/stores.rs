use super::{super::*, *};
use crate::cell::{Versioned, Write};

fn write(story: &mut Story, writes: Vec<Write>) -> Outcome {
    story.tenant(TenantAction::Write(writes))
}

fn written(outcome: Outcome) -> (u64, Vec<i64>) {
    match outcome {
        Outcome::Written { version, counters } => (version, counters),
        other => panic!("expected writes, got {other:?}"),
    }
}

fn read(story: &Story, key: &str) -> Option<(String, u64)> {
    match story.state.answer(&Query::Get { store: "s".into(), key: key.into() }) {
        Answer::Value(found) => found.map(|Versioned { value, version }| {
            (String::from_utf8(value.to_vec()).expect("stories write text"), version)
        }),
        other => panic!("expected a value, got {other:?}"),
    }
}

fn list(story: &Story, prefix: &str, after: Option<&str>, limit: u32) -> (Vec<String>, bool) {
    let query = Query::List { store: "s".into(), prefix: prefix.into(), after: after.map(Into::into), limit };
    match story.state.answer(&query) {
        Answer::Keys { keys, more } => (keys, more),
        other => panic!("expected keys, got {other:?}"),
    }
}

fn swap(key: &str, expected: u64, value: Option<&str>) -> Write {
    Write::Swap { store: "s".into(), key: key.into(), expected, value: value.map(Into::into) }
}

fn delete(key: &str) -> Write {
    Write::Delete { store: "s".into(), key: key.into() }
}

fn increment(key: &str, delta: i64) -> Write {
    Write::Increment { store: "s".into(), key: key.into(), delta }
}

fn set(key: &str, value: &str) -> Write {
    fixture::set("s", key, value)
}

#[test]
fn a_value_is_read_with_the_index_that_wrote_it() {
    let mut story = Story::of(3);
    let (version, _) = written(write(&mut story, vec![set("a", "1")]));
    assert_eq!(version, story.state.applied());
    assert_eq!(read(&story, "a"), Some(("1".into(), version)));
    assert_eq!(read(&story, "b"), None);
    let (later, _) = written(write(&mut story, vec![set("a", "2")]));
    assert_eq!(read(&story, "a"), Some(("2".into(), later)));
    write(&mut story, vec![delete("a"), delete("never")]);
    assert_eq!(read(&story, "a"), None);
    assert_eq!(story.state.bytes(), 0);
}

#[test]
fn a_swap_that_finds_another_version_changes_nothing_of_its_batch() {
    let mut story = Story::of(3);
    let (version, _) = written(write(&mut story, vec![set("a", "1")]));
    let stale = write(&mut story, vec![set("b", "x"), swap("a", version - 1, Some("2"))]);
    assert_eq!(stale, Outcome::Conflict { version });
    assert_eq!((read(&story, "a").unwrap().0.as_str(), read(&story, "b")), ("1", None));
    assert_eq!(write(&mut story, vec![swap("c", 7, Some("x"))]), Outcome::Conflict { version: 0 });

    written(write(&mut story, vec![swap("a", version, Some("2")), swap("c", 0, Some("new"))]));
    assert_eq!(read(&story, "a").unwrap().0, "2");
    let version = read(&story, "c").unwrap().1;
    written(write(&mut story, vec![swap("c", version, None)]));
    assert_eq!(read(&story, "c"), None);
}

#[test]
fn later_writes_of_a_batch_see_earlier_ones() {
    let mut story = Story::of(3);
    let next = story.state.applied() + 1;
    let batch = vec![set("a", "5"), increment("a", 2), swap("a", next, Some("9")), delete("a"), increment("a", 1)];
    assert_eq!(written(write(&mut story, batch)), (next, vec![7, 1]));
    assert_eq!(read(&story, "a"), Some(("1".into(), next)));
}

#[test]
fn counters_saturate_and_refuse_what_is_no_integer() {
    let mut story = Story::of(3);
    let (_, counters) = written(write(&mut story, vec![increment("n", 3), increment("n", -5), increment("m", 0)]));
    assert_eq!(counters, [3, -2, 0]);
    let (_, counters) = written(write(&mut story, vec![increment("n", i64::MIN), increment("m", i64::MAX)]));
    assert_eq!(counters, [i64::MIN, i64::MAX]);
    write(&mut story, vec![set("text", "twelve")]);
    let refused = refusal(write(&mut story, vec![set("b", "x"), increment("text", 1)]));
    definite(&refused, Code::Invalid);
    assert_eq!(read(&story, "b"), None);
}

#[test]
fn names_keys_values_and_batches_are_bounded() {
    let mut story = Story::of(3);
    let fits = vec![fixture::set(&"s".repeat(64), &"k".repeat(1_024), &"v".repeat(1 << 20))];
    written(write(&mut story, fits));
    for unfit in [
        fixture::set("", "k", "v"),
        fixture::set(&"s".repeat(65), "k", "v"),
        fixture::set("s", "", "v"),
        fixture::set("s", &"k".repeat(1_025), "v"),
        fixture::set("s", "k", &"v".repeat((1 << 20) + 1)),
        swap("k", 0, Some(&"v".repeat((1 << 20) + 1))),
        delete(""),
        increment("", 1),
    ] {
        definite(&refusal(write(&mut story, vec![unfit])), Code::Invalid);
    }
    written(write(&mut story, vec![delete("k"); 64]));
    definite(&refusal(write(&mut story, vec![delete("k"); 65])), Code::Invalid);
}

#[test]
fn a_full_cell_refuses_what_adds_and_takes_what_frees() {
    let mut story = Story::of(3);
    let mebibyte = "v".repeat(1 << 20);
    for n in 0..63 {
        written(write(&mut story, vec![set(&format!("k{n:02}"), &mebibyte)]));
    }
    definite(&refusal(write(&mut story, vec![set("k63", &mebibyte)])), Code::Full);
    written(write(&mut story, vec![set("k63", &"v".repeat(1 << 19))]));
    assert!(story.state.bytes() <= STATE_BYTES_MAX);
    written(write(&mut story, vec![delete("k00"), set("k99", &mebibyte)]));
    let counted = story.state.bytes();
    assert_eq!(State::decode(&story.state.encode()).unwrap().bytes(), counted);
}

#[test]
fn a_list_goes_on_after_the_last_key() {
    let mut story = Story::of(3);
    write(&mut story, ["a", "b/1", "b/2", "b/3", "c"].map(|key| set(key, "x")).to_vec());
    let keys = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    assert_eq!(list(&story, "b/", None, 10), (keys(&["b/1", "b/2", "b/3"]), false));
    assert_eq!(list(&story, "b/", None, 2), (keys(&["b/1", "b/2"]), true));
    assert_eq!(list(&story, "b/", Some("b/2"), 2), (keys(&["b/3"]), false));
    assert_eq!(list(&story, "b/", Some("a"), 1), (keys(&["b/1"]), true));
    assert_eq!(list(&story, "", Some("b/3"), 9), (keys(&["c"]), false));
    assert_eq!(list(&story, "", Some("z"), 9), (keys(&[]), false));
    assert_eq!(list(&story, "b/", None, 0), (keys(&[]), true));
}

#[test]
fn a_list_gives_at_most_a_thousand_keys() {
    let mut story = Story::of(3);
    for batch in 0..16 {
        write(&mut story, (0..64).map(|n| set(&format!("{batch:02}/{n:02}"), "")).collect());
    }
    let (keys, more) = list(&story, "", None, u32::MAX);
    assert_eq!((keys.len(), more), (1_000, true));
    assert_eq!(list(&story, "", keys.last().map(String::as_str), u32::MAX).0.len(), 24);
}
