//! Bugs planted into the protocol itself: for each, an experiment that is well without it, and the checkers that must find it
//! there. `cargo test --release -p bocage-simulator --features planted --test planted`
mod common;

use bocage_protocol::{node::Node, planted::Planted};
use bocage_simulator::{Bug, Options, Property, Report, Scenario, run_with};
use common::{twelve, violates};

/// Seeds looked at for each bug. In all of them the protocol without it is well.
const SEEDS: std::ops::Range<u64> = 1..13;

/// Votes of one term overlap.
const SLOW: &str = "[network]\ndelay_ms = 100\ninside_ms = 60\njitter_percent = 200\nloss_per_mille = 50\n";

/// Five nodes of five operators, three of them in the app's home.
fn five(more: &str) -> Scenario {
    let text = format!(
        r#"
        name = "five"
        duration_s = 60
        settle_s = 60
        [[population]]
        jurisdiction = "FR"
        operators = 3
        [[population]]
        jurisdiction = "DE"
        operators = 2
        [[app]]
        name = "guestbook"
        [workload]
        clients = 4
        think_ms = 20
        {more}"#
    );
    Scenario::parse(&text).unwrap()
}

fn fault(at_s: u64, for_s: u64, what: &str, who: &str) -> String {
    format!("[[fault]]\nat_s = {at_s}\nfor_s = {for_s}\nwhat = {what:?}\n{who}\n")
}

/// Every few seconds somebody is struck.
fn storm(what: &str, for_s: u64, who: &str) -> String {
    (1..10).map(|n| fault(n * 6, for_s, what, who)).collect()
}

fn ran(scenario: &Scenario, seed: u64, bug: Option<Planted>) -> Report {
    run_with::<Node>(scenario, seed, &Options { bug: bug.map(Bug::Protocol), ..Options::default() }).0
}

/// In how many seeds one of these properties is violated with the bug; without it nothing is.
fn caught(bug: Planted, scenario: &Scenario, by: &[Property]) {
    let mut found = 0;
    for seed in SEEDS {
        let well = ran(scenario, seed, None);
        assert_eq!(well.violations, [], "without a bug, seed {seed}: {}", well.to_text());
        let report = ran(scenario, seed, Some(bug));
        found += usize::from(by.iter().any(|property| violates(&report, *property)));
    }
    println!("{bug:?}: found in {found} of {} seeds", SEEDS.end - SEEDS.start);
    assert!(found > 0, "{bug:?} was not found");
}

#[test]
fn a_sync_that_was_left_out() {
    let power = storm("power", 2, "");
    caught(Planted::SkippedSync, &five(&power), &[Property::ExactlyOnce, Property::Agreement, Property::Convergence]);
}

#[test]
fn an_answer_before_its_write_is_durable() {
    let power = storm("power", 2, "");
    let slow = format!("[disk]\nsync_us = [2_000, 60_000]\n{power}");
    caught(Planted::HastyAnswer, &five(&slow), &[Property::ExactlyOnce, Property::Agreement, Property::Crash]);
}

#[test]
fn two_votes_in_one_term() {
    let crash = storm("crash", 3, "who = { any = 2 }");
    caught(Planted::DoubleVote, &five(&format!("{SLOW}{crash}")), &[Property::Agreement, Property::ExactlyOnce]);
}

#[test]
fn a_stale_read() {
    caught(Planted::StaleRead, &five(&storm("cut", 4, "who = { any = 1 }")), &[Property::ExactlyOnce]);
}

#[test]
fn a_write_by_somebody_else() {
    let text = "name = \"three\"\nduration_s = 20\nsettle_s = 45\n[[population]]\njurisdiction = \"FR\"\noperators = 3\n\
                [[app]]\nname = \"guestbook\"\n[workload]\nclients = 4\nthink_ms = 20\n\
                [[liar]]\nwho = { any = 2 }\nwhat = \"forgery\"\n";
    caught(Planted::UnsignedCommand, &Scenario::parse(text).unwrap(), &[Property::ExactlyOnce]);
}

#[test]
fn a_write_under_a_lease_that_ended() {
    caught(Planted::ForgottenFence, &five(&storm("stall", 30, "who = { any = 1 }")), &[Property::Fencing]);
}

#[test]
fn a_clock_read_while_applying() {
    caught(Planted::ClockAtApply, &five(""), &[Property::Agreement]);
}

#[test]
fn a_retry_that_is_applied_again() {
    caught(Planted::LostSession, &five(&storm("crash", 1, "who = { any = 1 }")), &[Property::ExactlyOnce]);
}

#[test]
fn one_voice_that_evicts() {
    let liar = "[[liar]]\nwho = { operator = \"FR-2\" }\nwhat = \"false-verdicts\"\n";
    caught(Planted::OneVoice, &five(liar), &[Property::Eviction]);
}

#[test]
fn a_proof_that_is_not_kept() {
    let liar = "[[liar]]\nwho = { operator = \"FR-7\" }\nwhat = \"equivocation\"\n";
    caught(Planted::ForgottenProof, &twelve(liar), &[Property::Attribution]);
}

#[test]
fn neighbours_that_compare_nothing() {
    let cut = fault(8, 30, "cut", "who = { any = 5 }");
    let replaced =
        [12, 18].map(|at_s| format!("[[fault]]\nat_s = {at_s}\nwhat = \"replace\"\nwho = {{ any = 1 }}\n")).concat();
    caught(Planted::NoRepair, &twelve(&format!("{cut}{replaced}")), &[Property::Convergence]);
}

#[test]
fn counts_of_one_writer_that_are_added_up() {
    let app = "[[app]]\nname = \"visits\"\nmin = 4\nconverging = true\n";
    let cut = fault(10, 30, "cut", "who = { jurisdiction = \"DE\" }");
    caught(Planted::SummedCounter, &five(&format!("{app}{cut}")), &[Property::Converge]);
}

#[test]
fn a_line_that_has_ended_and_goes_on() {
    let scenario = Scenario::parse(include_str!("../scenarios/recover.toml")).unwrap();
    caught(Planted::UnfencedLine, &scenario, &[Property::ExactlyOnce, Property::Fencing, Property::Convergence]);
}
