//! Converging stores on both sides of a cut, with deaths and wrong clocks: all members come to the same, and nothing is lost.
use bocage_simulator::{Report, Scenario, run};

fn count(report: &Report, name: &str) -> u64 {
    report.counts.get(name).copied().unwrap_or_default()
}

#[test]
fn both_sides_of_a_cut_write_and_come_to_the_same() {
    let scenario = Scenario::parse(include_str!("../scenarios/converge.toml")).unwrap();
    for seed in 1..=3 {
        let report = run(&scenario, seed);
        assert!(report.violations.is_empty(), "{}", report.to_text());
        let (begun, acknowledged) =
            (count(&report, "shared_writes_begun"), count(&report, "shared_writes_acknowledged"));
        assert!(acknowledged * 10 > begun * 9, "{acknowledged} of {begun} were acknowledged");
    }
}

/// Every seed that was looked at: `cargo test --release -p bocage-simulator --test converge -- --ignored`.
#[test]
#[ignore = "twenty seeds take a while"]
fn twenty_seeds_come_to_the_same() {
    let scenario = Scenario::parse(include_str!("../scenarios/converge.toml")).unwrap();
    for seed in 1..=20 {
        let report = run(&scenario, seed);
        println!("seed {seed}: {} shared writes", count(&report, "shared_writes_acknowledged"));
        assert!(report.violations.is_empty(), "{}", report.to_text());
    }
}
