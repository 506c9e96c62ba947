//! Somebody looks on while a run goes on: it stays the same run, what is seen is what was measured, and whoever leaves ends it.
mod common;

use std::{collections::BTreeMap, time::Duration};

use bocage_protocol::node::Node;
use bocage_simulator::{
    Experiment, Options, Spectator, measure_before,
    results::Measured,
    run,
    scene::{Condition, Scene},
};
use common::small;

/// Looks ten times a second, so often, and keeps what it saw.
struct Curious {
    looks: usize,
    seen: Vec<Scene>,
}

impl Spectator for Curious {
    fn every(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn stays(&mut self) -> bool {
        self.seen.len() < self.looks
    }

    fn look(&mut self, scene: &dyn Fn() -> Scene) {
        self.seen.push(scene());
    }
}

/// Leaves at once.
struct Gone;
impl Spectator for Gone {
    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn stays(&mut self) -> bool {
        false
    }

    fn look(&mut self, _: &dyn Fn() -> Scene) {
        panic!("who has left sees nothing");
    }
}

fn looked_at(text: &str, looks: usize) -> (Option<Measured>, Vec<Scene>) {
    let experiment = Experiment::parse(text).unwrap();
    let mut curious = Curious { looks, seen: Vec::new() };
    let measured = measure_before::<Node>(experiment.scenario(), 3, &Options::default(), &mut curious);
    (measured, curious.seen)
}

#[test]
fn a_run_that_is_looked_at_is_the_same_run_and_shows_what_befalls_it() {
    let (measured, seen) = looked_at(&small(""), usize::MAX);
    let measured = measured.unwrap();
    let plain = run(Experiment::parse(&small("")).unwrap().scenario(), 3);
    assert_eq!((&measured.report.trace_hash, measured.report.events), (&plain.trace_hash, plain.events));
    assert!(seen.windows(2).all(|pair| (pair[1].at_s - pair[0].at_s - 0.1).abs() < 1e-6), "none is left out");
    let stood = seen.iter().find_map(|scene| scene.stood_s).unwrap();
    let at = |since: f64| seen.iter().find(|scene| scene.at_s >= stood + since).unwrap();
    let count = |scene: &Scene, condition: Condition| scene.conditions.matches(condition.letter()).count();
    assert_eq!(count(at(2.0), Condition::Up), 4);
    assert_eq!(count(at(4.0), Condition::Down), 1);
    let cut = at(7.0);
    let laws: Vec<&str> = cut.areas.iter().map(|area| area.jurisdiction.as_str()).collect();
    assert_eq!(laws, ["FR", "DE"]);
    let away = cut.places.iter().position(|place| place.area == 1).unwrap();
    assert!(["c", "d"].contains(&&cut.conditions[away..=away]), "{cut:?}");
    assert_eq!((&cut.cuts[..], &cut.faults[1].areas[..]), (&[(0, 1)][..], &[1][..]));
    assert!(at(2.0).cuts.is_empty() && at(2.0).faults[1].areas.is_empty() && at(12.0).cuts.is_empty());
    let active: Vec<&str> = cut.faults.iter().filter(|fault| fault.active).map(|fault| fault.what).collect();
    assert_eq!(active, ["power", "cut"]);
    assert_eq!((cut.faults[1].at_s, cut.faults[1].until_s), (5.0, Some(9.0)));
    assert!(at(2.0).links.iter().map(|(.., count)| count).sum::<u32>() >= 3, "{:?}", at(2.0).links);
    assert_eq!(at(2.0).leads.values().sum::<u32>(), 1, "one cell, one leader");
    assert!(at(21.0).heals && !at(19.0).heals);
    assert!(seen.windows(2).all(|pair| pair[0].frames <= pair[1].frames || pair[0].stood_s.is_none()));
}

#[test]
fn who_stands_in_a_city_is_seen_there_and_so_is_what_befalls_it() {
    let text = r#"
name = "cities"
duration_s = 10
settle_s = 45
[[population]]
jurisdiction = "FR"
cities = ["Strasbourg", "Strasbourg", "Roubaix"]
sites = 3
nodes = 3
[[population]]
jurisdiction = "FR"
operators = 2
[[fault]]
at_s = 2
for_s = 4
what = "fire"
who = { site = "FR-1/1" }
"#;
    let (measured, seen) = looked_at(text, usize::MAX);
    assert!(measured.is_some());
    let stood = seen.iter().find_map(|scene| scene.stood_s).unwrap();
    let burning = seen.iter().find(|scene| scene.at_s >= stood + 3.0).unwrap();
    let cities: Vec<Option<&str>> =
        burning.areas.iter().map(|area| area.city.as_ref().map(|city| city.name.as_str())).collect();
    assert_eq!(cities, [Some("Strasbourg"), Some("Roubaix"), None]);
    let strasbourg = burning.areas[0].city.as_ref().unwrap();
    assert!((strasbourg.latitude - 48.6).abs() < 0.1 && (strasbourg.longitude - 7.75).abs() < 0.1, "{strasbourg:?}");
    assert_eq!(burning.places.iter().map(|place| place.area).collect::<Vec<_>>(), [0, 0, 1, 2, 2]);
    assert_eq!((&burning.conditions[..2], &burning.faults[0].areas[..]), ("gd", &[0][..]));
}

#[test]
fn the_availability_that_is_seen_is_the_one_that_is_measured() {
    let (measured, seen) = looked_at(&small(""), usize::MAX);
    let mut last: BTreeMap<(u64, String), f64> = BTreeMap::new();
    for (ended_s, shares) in seen.iter().flat_map(|scene| &scene.availability) {
        for (law, share) in shares {
            last.insert((millis(*ended_s), law.clone()), *share);
        }
    }
    let rows = measured.unwrap().rows;
    let measured = rows.iter().filter(|row| row.measure == "availability");
    let measured: BTreeMap<(u64, String), f64> = measured
        .map(|row| ((millis(row.time_s), row.jurisdiction.as_deref().unwrap().to_owned()), row.value))
        .collect();
    assert!(last.len() > 10);
    for (of, share) in &last {
        assert!((measured[of] - share).abs() < 1e-9, "{of:?} was seen as {share} and measured as {}", measured[of]);
    }
}

#[test]
fn whoever_leaves_ends_the_run_and_the_one_without_liars_before_it() {
    let (measured, seen) = looked_at(&small(""), 50);
    assert!(measured.is_none() && seen.len() == 50);
    let with_liar = small("[[liar]]\nwhat = \"silence\"\nwho = { node = 1 }\n");
    let experiment = Experiment::parse(&with_liar).unwrap();
    assert!(measure_before::<Node>(experiment.scenario(), 3, &Options::default(), &mut Gone).is_none());
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of a run")]
fn millis(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}
