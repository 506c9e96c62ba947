//! The hunt finds a planted bug, shrinks the run that shows it, and a capsule plays it back.
use std::num::NonZero;

use bocage_simulator::{
    Bug, Capsule, Property,
    hunt::{Hunt, hunt},
    replay,
};

#[test]
fn a_planted_bug_is_found_shrunk_and_played_back() {
    let hunted =
        hunt(&Hunt { seeds: 1..5, threads: NonZero::new(2).unwrap(), bug: Some(Bug::CorruptDigest) }, &|_, _| {});
    assert!(hunted.violations > 0 && hunted.seeds == 4, "{}", hunted.to_text());
    let failed = hunted.failed.iter().find(|failed| failed.property == Property::Agreement).expect("digests differ");
    let capsule = failed.capsule.as_deref().unwrap();
    assert_eq!(capsule.scenario.fault.len(), 0, "the digest is wrong without any fault");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capsule.toml");
    std::fs::write(&file, capsule.to_toml()).unwrap();
    let read = Capsule::load(&file).unwrap();
    let replayed = replay(&read, None, None);
    assert_eq!((replayed.same, &replayed.trace_hash), (Some(true), &capsule.trace_hash));
    assert!(!replayed.frames.is_empty() && replayed.node.as_ref().is_some_and(|node| node.state == "up"));
    let node = replayed.node.unwrap().node;
    assert!(replayed.frames.iter().all(|frame| frame.at_s <= replayed.stopped_at_s && frame.sent_s <= frame.at_s));
    assert!(replayed.frames.last().is_some_and(|frame| frame.to == node), "the last one came to the node itself");
    let before = replay(&read, Some(capsule.at_s - 1.0), Some(0));
    assert_eq!((before.same, before.violations.len()), (None, 0));
    assert!((before.stopped_at_s - (capsule.at_s - 1.0)).abs() < 1e-6);
}
