//! A cut of the mesh: apps that are at home on one side and away on the other keep what their policies say.
use bocage_protocol::node::Node;
use bocage_simulator::{Bug, Options, Property, Report, Scenario, run, run_with};

/// Three jurisdictions of four operators each, apps at home in FR or in DE and BE; FR is cut off once copies stand, and stays
/// so until the end of the faults.
fn small(seconds: u64) -> Scenario {
    let text = format!(
        r#"
        name = "small-cut"
        duration_s = {duration}
        settle_s = 60
        [[population]]
        jurisdiction = "FR"
        operators = 4
        [[population]]
        jurisdiction = "DE"
        operators = 4
        [[population]]
        jurisdiction = "BE"
        operators = 4
        [[app]]
        name = "french"
        count = 2
        home = ["FR"]
        away = ["DE"]
        max_staleness_s = 20
        [[app]]
        name = "german"
        count = 2
        home = ["DE", "BE"]
        away = ["FR"]
        max_staleness_s = 20
        [[app]]
        name = "stops"
        home = ["DE", "BE"]
        away = ["FR"]
        max_staleness_s = 20
        cut_away = "stop"
        [workload]
        clients = 2
        think_ms = 700
        reads_per_mille = 600
        [check]
        eviction = false
        [[fault]]
        at_s = 60
        for_s = {seconds}
        what = "cut"
        who = {{ jurisdiction = "FR" }}
        "#,
        duration = 60 + seconds
    );
    Scenario::parse(&text).unwrap()
}

fn violates(report: &Report, property: Property) -> bool {
    report.violations.iter().any(|violation| violation.property == property)
}

fn soundness(report: &Report) {
    assert_eq!(report.violations, [], "{}", report.to_text());
    let counted = |name: &str| report.counts.get(name).copied().unwrap_or(0);
    assert!(counted("reads_fresh_away") > 50, "{}", report.to_text());
    assert!(counted("reads_stale_in_a_cut") > 50, "{}", report.to_text());
    assert!(counted("reads_refused_away") > 10, "some stop: {}", report.to_text());
}

#[test]
fn each_app_keeps_its_contract_on_both_sides_and_all_agree_after_healing() {
    for seed in 0..3 {
        let report = run(&small(120), seed);
        soundness(&report);
        assert!(report.measures["converged_after_ms"] <= 5_000.0, "{}", report.to_text());
    }
}

#[test]
fn a_read_away_that_tells_no_age_is_found() {
    let planted = Options { bug: Some(Bug::AgelessRead), ..Options::default() };
    let found =
        (0..3).filter(|seed| violates(&run_with::<Node>(&small(120), *seed, &planted).0, Property::CutContract));
    assert_eq!(found.count(), 3);
}

/// The whole of it: run by its own command, for it takes minutes with little optimised code.
#[test]
#[ignore = "takes minutes"]
fn the_cut_of_the_scenario_file_is_kept() {
    let scenario = Scenario::parse(include_str!("../scenarios/cut.toml")).unwrap();
    let report = run(&scenario, std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap()));
    println!("{}", report.to_text());
    soundness(&report);
}
