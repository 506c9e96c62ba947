//! Nodes of this and of the previous wire version in one mesh: what every scenario shows of a mesh, it shows of a mixed one.
//! Here frames are encoded for their link and read as the receiver reads them.
mod common;

use bocage_protocol::node::Node;
use bocage_simulator::{Bug, Options, Property, Report, Scenario, run, run_with};
use common::violates;

/// A scenario with half of its nodes at the previous version.
fn mixed(text: &str) -> Scenario {
    let mut scenario = Scenario::parse(text).unwrap();
    scenario.knobs.previous_wire_per_mille = 500;
    scenario
}

fn shipped(name: &str) -> Scenario {
    let path = format!("{}/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    mixed(&std::fs::read_to_string(path).unwrap())
}

const FIVE: &str = r#"
    name = "five"
    duration_s = 40
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
    [workload]
    clients = 2
    think_ms = 200
"#;

fn five(more: &str) -> Scenario {
    mixed(&format!("{FIVE}{more}"))
}

/// Both versions were spoken, or the mesh was not mixed.
fn spoke_both(report: &Report) {
    for count in ["frames_of_this_version", "frames_of_an_older_version"] {
        assert!(report.counts.get(count).is_some_and(|frames| *frames > 100), "{count}: {}", report.to_text());
    }
}

#[test]
fn a_mixed_mesh_violates_nothing_at_all() {
    for (more, seeds) in [
        ("", 0..2),
        ("[[fault]]\nat_s = 10\nfor_s = 3\nwhat = \"power\"\n", 0..2),
        ("[[fault]]\nat_s = 10\nfor_s = 8\nwhat = \"cut\"\nwho = { node = 1 }\n", 0..2),
        ("[[fault]]\nat_s = 20\nwhat = \"replace\"\nwho = { node = 1 }\n", 0..2),
    ] {
        for seed in seeds {
            let report = run(&five(more), seed);
            assert_eq!(report.violations, [], "seed {seed}, {more}: {}", report.to_text());
            spoke_both(&report);
        }
    }
}

#[test]
fn a_mixed_cell_loses_and_doubles_nothing_however_its_nodes_crash() {
    let graves = [
        Property::Agreement,
        Property::ExactlyOnce,
        Property::Fencing,
        Property::Crash,
        Property::Founding,
        Property::Wire,
    ];
    for seed in 0..20 {
        let report = run(&shipped("three"), seed);
        assert!(graves.iter().all(|grave| !violates(&report, *grave)), "seed {seed}: {}", report.to_text());
        assert!(report.counts["writes_acknowledged"] > 150, "seed {seed}: {}", report.to_text());
        spoke_both(&report);
    }
}

/// Nodes come back from a crash as the newer version, one after the other: what an upgrade of a federation looks like.
#[test]
fn a_mesh_that_is_being_upgraded_violates_nothing_grave() {
    let mut scenario = shipped("three");
    scenario.knobs.previous_wire_per_mille = 1_000;
    scenario.knobs.upgraded_at_restart = true;
    for seed in 0..10 {
        let report = run(&scenario, seed);
        let graves = [Property::Agreement, Property::ExactlyOnce, Property::Crash, Property::Wire];
        assert!(graves.iter().all(|grave| !violates(&report, *grave)), "seed {seed}: {}", report.to_text());
        spoke_both(&report);
    }
}

#[test]
fn a_frame_that_its_receiver_cannot_read_is_found() {
    let options = Options { bug: Some(Bug::ForgottenVersion), ..Options::default() };
    let report = run_with::<Node>(&five(""), 1, &options).0;
    assert!(violates(&report, Property::Wire), "{}", report.to_text());
}

/// What the second version is for: the same mesh, doing the same, says the same in fewer bytes.
#[test]
fn the_newest_version_says_the_same_in_fewer_bytes() {
    let bytes = |per_mille| {
        let mut scenario = five("");
        scenario.app.clear();
        scenario.knobs.previous_wire_per_mille = per_mille;
        let report = run(&scenario, 1);
        assert_eq!(report.violations, [], "{}", report.to_text());
        report.measures["sent_bytes_per_node_s"]
    };
    let (newest, previous) = (bytes(0), bytes(1_000));
    assert!(newest < previous, "{newest} and {previous} B/s for each node");
}

/// The figure in `docs/figures.md`. Minutes: `cargo test --release --workspace --test mixed -- --ignored --nocapture`
#[test]
#[ignore = "minutes: every scenario that ships, with half of its nodes at the previous wire version"]
fn every_scenario_that_ships_passes_mixed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    let mut failed = Vec::new();
    for name in &names {
        let report = run(&shipped(name), 1);
        println!(
            "{name}: {} violations, {} frames of this version, {} of the one before, {:.1} s",
            report.violations.len(),
            report.counts["frames_of_this_version"],
            report.counts["frames_of_an_older_version"],
            report.wall_s,
        );
        if !report.violations.is_empty() {
            println!("{}", report.to_text());
            failed.push(name);
        }
        spoke_both(&report);
    }
    assert!(names.len() >= 4 && failed.is_empty(), "{failed:?} of {names:?}");
}
