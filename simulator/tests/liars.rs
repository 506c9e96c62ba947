//! Liars in a world of whole nodes: what they may not achieve, and that the checkers would see it if they did.
mod common;

use std::num::NonZero;

use bocage_protocol::node::Node;
use bocage_simulator::{Bug, Options, Property, Report, Scenario, run, run_with, sweep::sweep};
use common::{twelve, violates};

fn liar(what: &str) -> String {
    format!("[[liar]]\nwho = {{ operator = \"FR-7\" }}\nwhat = {what:?}\n")
}

#[test]
fn no_lie_of_one_operator_evicts_blames_or_silences_anybody() {
    let lies = [
        "false-capacity",
        "false-verdicts",
        "equivocation",
        "withheld",
        "replay",
        "stale",
        "silence",
        "free-ride",
        "false-root",
        "sybil",
    ];
    for lie in lies {
        let report = run(&twelve(&liar(lie)), 1);
        assert_eq!(report.violations, [], "{lie}: {}", report.to_text());
        assert!(report.liars[0].touched > 0, "{lie}");
    }
}

#[test]
fn who_says_two_things_at_once_is_known_to_honest_nodes() {
    for seed in 0..3 {
        let report = run(&twelve(&liar("equivocation")), seed);
        assert!(report.counts["contradicted_themselves"] >= 1, "seed {seed}: {}", report.to_text());
        assert!(report.counts["proofs_held_by_honest_nodes"] > 0, "seed {seed}");
    }
}

#[test]
fn a_write_signed_by_another_node_than_its_instances_does_nothing() {
    // Three operators for three votes: one of the two liars at least does not lead.
    let text = "name = \"three\"\nduration_s = 20\nsettle_s = 45\n[[population]]\njurisdiction = \"FR\"\noperators = 3\n\
                [[app]]\nname = \"guestbook\"\n[workload]\nclients = 4\nthink_ms = 20\n[[liar]]\nwho = { any = 2 }\nwhat = \"forgery\"\n";
    for seed in 0..3 {
        let report = run(&Scenario::parse(text).unwrap(), seed);
        assert_eq!(report.violations, [], "seed {seed}: {}", report.to_text());
        assert!(report.liars[0].touched > 5, "seed {seed}: {}", report.to_text());
    }
}

#[test]
fn a_lie_that_touched_nothing_fails_the_run() {
    let nobody = "[[liar]]\nwho = { operator = \"XX-1\" }\nwhat = \"replay\"\n";
    let report = run(&twelve(nobody), 1);
    assert!(violates(&report, Property::Fault), "{}", report.to_text());
}

#[test]
fn an_honest_node_that_a_quorum_calls_down_is_found() {
    let planted = |bug| run_with::<Node>(&twelve(""), 1, &Options { bug: Some(bug), ..Options::default() }).0;
    assert!(violates(&planted(Bug::FalseQuorum), Property::Eviction));
    assert!(violates(&planted(Bug::FalseProof), Property::Blame));
}

#[test]
fn a_contradiction_that_nobody_names_is_found() {
    let options = Options { bug: Some(Bug::BlindEye), ..Options::default() };
    let report = run_with::<Node>(&twelve(&liar("equivocation")), 1, &options).0;
    assert!(violates(&report, Property::Attribution), "{}", report.to_text());
}

#[test]
fn a_sweep_says_the_same_however_many_threads_make_it() {
    let scenario = twelve("");
    let sweep = |threads: usize| {
        let mut sweep = sweep(&scenario, 5..8, NonZero::new(threads).unwrap());
        sweep.wall_s = 0.0;
        sweep.to_json()
    };
    assert_eq!(sweep(1), sweep(2));
    assert!(sweep(1).contains("\"seeds\": 3"));
}

fn shipped(text: &str, seed: u64) -> Report {
    let scenario = Scenario::parse(text).unwrap();
    let report = run(&scenario, seed);
    assert_eq!(report.violations, [], "seed {seed}: {}", report.to_text());
    report
}

#[test]
fn one_operator_with_every_lie_harms_nobody() {
    let report = shipped(include_str!("../scenarios/liar.toml"), 1);
    assert!(report.measures["honest_offers_in_time"] > 0.99, "{}", report.to_text());
}

#[test]
fn half_of_a_jurisdiction_does_not_surround_one_node() {
    let report = shipped(include_str!("../scenarios/eclipse.toml"), 1);
    assert!(report.measures["eclipsed"] < f64::EPSILON, "{}", report.to_text());
}

#[test]
fn without_the_nodes_that_began_it_the_mesh_runs_on_and_takes_back_whoever_restarts() {
    let report = shipped(include_str!("../scenarios/bootstrap-killed.toml"), 1);
    assert!(report.measures["rejoin_max_ms"] < 5_000.0, "{}", report.to_text());
}

#[test]
fn twenty_unadmitted_names_for_each_honest_node_change_nothing() {
    let report = shipped(include_str!("../scenarios/sybils.toml"), 1);
    assert!(report.measures["honest_offers_in_time"] > 0.99, "{}", report.to_text());
    assert!(report.liars[0].touched > 0);
}
