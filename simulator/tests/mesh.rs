//! Whole nodes on their stores in a world of faults. Every seed here is a run that must pass, and every planted bug one
//! that must not.
mod common;

use bocage_protocol::node::Node;
use bocage_simulator::{Bug, Options, Property, Report, Scenario, run, run_with};
use common::violates;

/// One cell of three nodes whose processes die again and again.
fn three() -> Scenario {
    Scenario::parse(include_str!("../scenarios/three.toml")).unwrap()
}

/// Five nodes in two jurisdictions, two apps, short; `more` befalls them.
fn five(more: &str) -> Scenario {
    five_for(40, more)
}

/// The same, for so many seconds.
fn five_for(duration_s: u32, more: &str) -> Scenario {
    let text = format!(
        r#"
        name = "five"
        duration_s = {duration_s}
        settle_s = 60
        [[population]]
        jurisdiction = "FR"
        operators = 3
        [[population]]
        jurisdiction = "DE"
        operators = 2
        [[app]]
        name = "guestbook"
        home = ["FR"]
        [[app]]
        name = "ledger"
        home = ["FR"]
        [workload]
        clients = 2
        think_ms = 200
        {more}"#
    );
    Scenario::parse(&text).unwrap()
}

const POWER: &str = r#"
    [[fault]]
    at_s = 10
    for_s = 3
    what = "power"
    [[fault]]
    at_s = 25
    for_s = 3
    what = "power"
    who = { jurisdiction = "FR" }
"#;

fn planted(scenario: &Scenario, seed: u64, bug: Bug) -> Report {
    run_with::<Node>(scenario, seed, &Options { bug: Some(bug), ..Options::default() }).0
}

/// How many of ten seeds find the bug.
fn found(scenario: &Scenario, bug: Bug, property: Property) -> usize {
    (0..10).filter(|seed| violates(&planted(scenario, *seed, bug), property)).count()
}

#[test]
fn three_nodes_lose_and_double_nothing_however_they_crash() {
    let scenario = three();
    for seed in 0..60 {
        let report = run(&scenario, seed);
        let grave = |property: &Property| violates(&report, *property);
        let graves =
            [Property::Agreement, Property::ExactlyOnce, Property::Fencing, Property::Crash, Property::Founding];
        let graves: Vec<_> = graves.iter().filter(|property| grave(property)).collect();
        assert!(graves.is_empty(), "seed {seed}: {}", report.to_text());
        assert!(report.counts["writes_acknowledged"] > 150, "seed {seed}: {}", report.to_text());
        assert!(report.counts["agreements_compared"] > 300, "seed {seed}: {}", report.to_text());
    }
}

#[test]
fn a_quiet_mesh_violates_nothing_at_all() {
    for seed in 0..3 {
        let report = run(&five(""), seed);
        assert_eq!(report.violations, [], "seed {seed}: {}", report.to_text());
        assert_eq!(report.exit_code(), 0);
        assert!(report.counts["reads_answered"] > 20 && report.counts["fenced_writes_looked_at"] > 100);
    }
}

/// Larger than a node's neighbourhood: an edge has no link to an app's instance unless it wants one.
#[test]
fn in_a_quiet_mesh_of_sixty_nodes_every_edge_reaches_every_app() {
    let text = r#"
        name = "sixty"
        duration_s = 40
        settle_s = 45
        [[population]]
        jurisdiction = "FR"
        operators = 20
        nodes = 2
        [[population]]
        jurisdiction = "DE"
        operators = 20
        [[app]]
        name = "europe"
        count = 10
        home = ["FR", "DE"]
        [workload]
        clients = 2
        think_ms = 500
    "#;
    let report = run(&Scenario::parse(text).unwrap(), 1);
    assert_eq!(report.violations, [], "{}", report.to_text());
    assert_eq!(report.counts.get("refused_unreachable"), None, "{}", report.to_text());
    assert!(report.measures["silent_app_max_ms"] < 5_000.0, "{}", report.to_text());
    assert!(report.counts["writes_acknowledged"] > 500, "{}", report.to_text());
}

/// The founders of this mesh, its whole electorate, have no node: nobody is there who could decide on anything. What was
/// decided is proven by certificates, so deploys, routes, renewals and restarts read no one.
#[test]
fn with_the_whole_electorate_gone_deploys_routes_renewals_and_restarts_go_on() {
    let scenario = Scenario::parse(include_str!("../scenarios/electorate-gone.toml")).unwrap();
    for seed in 0..3 {
        let report = run(&scenario, seed);
        assert_eq!(report.violations, [], "seed {seed}: {}", report.to_text());
        assert!(report.counts["writes_acknowledged"] > 100, "seed {seed}: {}", report.to_text());
        assert!(report.counts["notice_operator"] > 0, "seed {seed}: members are counted by certificates");
    }
}

#[test]
fn every_bootstrap_node_leaves_for_ever_and_nothing_that_ran_stops_and_who_restarts_finds_the_mesh_by_its_cache() {
    let text = r#"
        name = "without its first nodes"
        duration_s = 60
        settle_s = 60
        [[population]]
        jurisdiction = "FR"
        operators = 7
        [[app]]
        name = "guestbook"
        home = ["FR"]
        [workload]
        clients = 2
        think_ms = 200
        [[fault]]
        at_s = 5
        what = "leave"
        who = { node = 0 }
        [[fault]]
        at_s = 15
        what = "leave"
        who = { node = 1 }
        [[fault]]
        at_s = 25
        what = "leave"
        who = { node = 2 }
        [[fault]]
        at_s = 40
        for_s = 2
        what = "power"
        who = { node = 4 }
        [[fault]]
        at_s = 46
        for_s = 2
        what = "power"
        who = { node = 5 }"#;
    let scenario = Scenario::parse(text).unwrap();
    for seed in 0..5 {
        let report = run(&scenario, seed);
        assert_eq!(report.violations, [], "seed {seed}: {}", report.to_text());
    }
}

/// Three voters that can only dial out, around two others that relay; the app's home is with the three.
fn homes(more: &str) -> Scenario {
    let text = format!(
        r#"
        name = "homes"
        duration_s = 60
        settle_s = 60
        [[population]]
        jurisdiction = "BE"
        operators = 2
        [[population]]
        jurisdiction = "FR"
        operators = 3
        at_home = true
        [[app]]
        name = "guestbook"
        home = ["FR"]
        [workload]
        clients = 2
        think_ms = 200
        {more}"#
    );
    Scenario::parse(&text).unwrap()
}

#[test]
fn nodes_that_can_only_dial_out_form_a_cell_through_relays() {
    for seed in 0..3 {
        let report = run(&homes(""), seed);
        assert_eq!(report.violations, [], "seed {seed}: {}", report.to_text());
        assert!(report.counts["writes_acknowledged"] > 100, "seed {seed}: {}", report.to_text());
    }
}

#[test]
fn a_relay_dies_for_ever_and_another_carries_on() {
    let dies = "[[fault]]\nat_s = 10\nwhat = \"leave\"\nwho = { node = 0 }\n";
    for seed in 0..3 {
        let report = run(&homes(dies), seed);
        assert_eq!(report.violations, [], "seed {seed}: {}", report.to_text());
    }
}

#[test]
fn one_seed_gives_one_trace_and_a_delivery_moved_by_a_nanosecond_another() {
    let scenario = three();
    let trace = |seed, nudge| run_with::<Node>(&scenario, seed, &Options { nudge, ..Options::default() }).0.trace_hash;
    let first = trace(7, None);
    assert_eq!(first, trace(7, None));
    assert_ne!(first, trace(8, None));
    assert_ne!(first, trace(7, Some(500)));
}

#[test]
fn a_tape_of_a_real_node_plays_back_the_same_outputs() {
    for node in 0..3 {
        let (_, tape) = run_with::<Node>(&three(), 3, &Options { tape: Some(node), ..Options::default() });
        let tape = tape.expect("the node started");
        assert!(tape.len() > 200, "{} steps", tape.len());
        tape.replay::<Node>().unwrap_or_else(|output| panic!("output {output} of node {node} differs"));
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_found() {
    let scenario = five(POWER);
    assert!(!violates(&run(&scenario, 0), Property::ExactlyOnce));
    let caught = |seed| {
        let report = planted(&scenario, seed, Bug::LyingDisk);
        violates(&report, Property::ExactlyOnce)
            || violates(&report, Property::Agreement)
            || violates(&report, Property::Convergence)
    };
    assert!((0..10).filter(|seed| caught(*seed)).count() == 10);
}

#[test]
fn a_replica_that_applies_something_else_is_found() {
    assert!(found(&five(""), Bug::CorruptDigest, Property::Agreement) >= 4);
}

#[test]
fn a_retry_under_a_new_op_is_found() {
    assert!(found(&five(POWER), Bug::NewOpOnRetry, Property::ExactlyOnce) >= 1);
}

#[test]
fn an_answer_that_no_write_stands_behind_is_found() {
    assert!(found(&five(POWER), Bug::InventedAnswer, Property::ExactlyOnce) >= 5);
}

#[test]
fn a_write_under_a_lease_that_ended_is_found() {
    let silent = five("[[fault]]\nat_s = 5\nfor_s = 30\nwhat = \"power\"\nwho = { any = 1, jurisdiction = \"FR\" }\n");
    assert!((0..10).all(|seed| !violates(&run(&silent, seed), Property::Fencing)));
    assert!(found(&silent, Bug::StaleLease, Property::Fencing) >= 1);
}

#[test]
fn a_node_that_hears_nothing_is_found() {
    let newcomer = five("[[fault]]\nat_s = 39\nwhat = \"replace\"\nwho = { node = 1 }\n");
    assert_eq!(found(&newcomer, Bug::DeafNode, Property::Convergence), 10);
}

#[test]
fn a_panic_is_a_crash_and_its_exit_code_says_so() {
    let report = planted(&five(""), 1, Bug::Panic);
    assert!(violates(&report, Property::Crash));
    assert_eq!(report.exit_code(), 3);
}

/// Each disk is lost or rots, one after the other, and is back too soon for anybody to call its node down: what is not brought back in
/// between is gone.
#[test]
fn an_app_outlives_all_the_disks_it_began_on_when_they_are_lost_one_by_one() {
    for what in ["wipe", "rot"] {
        let fault = |node: u32| {
            let at_s = 40 * node + 5;
            format!("[[fault]]\nat_s = {at_s}\nfor_s = 1\nwhat = \"{what}\"\nwho = {{ node = {node} }}\n")
        };
        let faults: String = (0..5).map(fault).collect();
        let scenario = five_for(210, &faults);
        for seed in 0..4 {
            let report = run(&scenario, seed);
            assert!(report.violations.is_empty(), "{what}, seed {seed}: {}", report.to_text());
            assert!(report.counts["writes_acknowledged"] > 500, "{what}, seed {seed}: {}", report.to_text());
        }
    }
}

/// Seed 56 of a hunt.
#[test]
fn a_process_whose_disk_fails_while_it_opens_is_started_again_when_the_disk_is_well() {
    let fails = "[[fault]]\nat_s = 10\nfor_s = 13\nwhat = \"fail-sync\"\nwho = { node = 1 }\n";
    let power = "[[fault]]\nat_s = 15\nfor_s = 1\nwhat = \"power\"\nwho = { node = 1 }\n";
    let report = run(&five(&format!("{fails}{power}")), 1);
    assert!(report.violations.is_empty(), "{}", report.to_text());
    assert_eq!(report.counts["nodes_running"], 5);
}

#[test]
fn a_hoster_who_comes_late_takes_the_vote_of_one_who_left_long_ago() {
    let scenario = Scenario::parse(include_str!("../scenarios/late-newcomer.toml")).unwrap();
    for seed in 1..=8 {
        let report = run(&scenario, seed);
        assert!(report.violations.is_empty(), "{}", report.to_text());
    }
}
