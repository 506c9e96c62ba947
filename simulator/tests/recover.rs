//! Apps that have lost their majority go on from what one survivor holds; whoever comes back stops.
use bocage_simulator::{Report, Scenario, run};

const SHIPPED: &str = include_str!("../scenarios/recover.toml");

fn count(report: &Report, name: &str) -> u64 {
    report.counts.get(name).copied().unwrap_or_default()
}

#[test]
fn apps_without_a_majority_go_on_and_whoever_comes_back_to_the_old_line_stops() {
    let scenario = Scenario::parse(SHIPPED).unwrap();
    for seed in 1..=4 {
        let report = run(&scenario, seed);
        assert!(report.violations.is_empty(), "{}", report.to_text());
        let (may_be_lost, all) =
            (count(&report, "acknowledged_writes_that_may_be_lost"), count(&report, "writes_acknowledged"));
        assert!(may_be_lost * 20 < all, "{may_be_lost} of {all} are excused");
    }
}

/// The same, and whoever lost his power never comes back.
#[test]
fn an_app_goes_on_though_most_of_its_disks_are_gone_for_ever() {
    let gone = SHIPPED.replace("for_s = 120\nwhat = \"power\"", "what = \"leave\"");
    let without_return = gone.split("[[sometimes]]\nwhat = \"line-ended\"").next().unwrap();
    let scenario = Scenario::parse(without_return).unwrap();
    for seed in 1..=2 {
        let report = run(&scenario, seed);
        assert!(report.violations.is_empty(), "{}", report.to_text());
        assert!(count(&report, "apps_recovered") > 1);
        assert_eq!(count(&report, "notice_fenced"), 0, "nobody is there who could be");
    }
}

/// All machines under one law lose their power, and with them the majority of apps that are at home there.
fn france_goes(fork: bool) -> Scenario {
    let text = format!(
        r#"
        name = "france-goes"
        duration_s = 150
        settle_s = 90
        [[population]]
        jurisdiction = "FR"
        operators = 3
        [[population]]
        jurisdiction = "DE"
        operators = 4
        [[app]]
        name = "guestbook"
        count = 4
        home = ["FR", "DE"]
        home_cut = "FR"
        [workload]
        clients = 1
        think_ms = 400
        [[fault]]
        at_s = 45
        for_s = 90
        what = "power"
        who = {{ jurisdiction = "FR" }}
        [[fault]]
        at_s = 60
        what = "recover-apps"
        fork = {fork}
        "#
    );
    Scenario::parse(&text).unwrap()
}

#[test]
fn while_a_home_jurisdiction_is_unreachable_as_a_whole_only_a_fork_is_carried_out() {
    let waits = run(&france_goes(false), 1);
    assert!(waits.violations.is_empty(), "{}", waits.to_text());
    assert!(count(&waits, "recoveries_refused") > 0);
    assert_eq!(count(&waits, "apps_recovered"), 0);

    let forks = run(&france_goes(true), 1);
    assert!(forks.violations.is_empty(), "{}", forks.to_text());
    assert!(count(&forks, "apps_recovered") > 0);
    assert!(count(&forks, "notice_fenced") > 0, "those who come back stop");
}
