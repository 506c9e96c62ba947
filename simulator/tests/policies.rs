//! Policies that a scenario chooses by name: each changes what happens, what ships changes nothing, and whoever uses this crate
//! adds his own.
mod common;

use std::sync::Arc;

use bocage_protocol::{
    capacity::Capacity,
    placement::{Placing, Plan, Request, Unplaceable, plan},
};
use bocage_simulator::{
    Experiment, Property, Report, Scenario, ScenarioError,
    policy::{self, Policy},
    run,
};
use common::{small, violates};

/// Eight nodes of one jurisdiction; two die for ever, and two stand still for a moment.
fn eight(more: &str) -> String {
    format!(
        r#"
name = "eight"
duration_s = 60
settle_s = 45
[[population]]
jurisdiction = "FR"
operators = 8
[[fault]]
at_s = 5
what = "leave"
who = {{ any = 2 }}
[[fault]]
at_s = 20
for_s = 2
what = "stall"
who = {{ any = 2 }}
[knobs]
{more}
"#
    )
}

fn ran(text: &str) -> Report {
    run(&Scenario::parse(text).unwrap_or_else(|error| panic!("{error}")), 1)
}

#[test]
fn each_policy_changes_what_happens_and_what_ships_does_not() {
    let hash = |knob: &str| ran(&small(&format!("[knobs]\n{knob}"))).trace_hash;
    let plain = hash("");
    for key in ["detector", "placement", "gossip"] {
        assert_eq!(hash(&format!("{key} = \"bocage\"")), plain, "{key}");
    }
    for other in ["detector = \"swim-lifeguard\"", "placement = \"random\"", "gossip = \"eager\""] {
        let changed = hash(other);
        assert_ne!(changed, plain, "{other}");
        assert_eq!(changed, hash(other), "{other}: the same seed gives the same run");
    }
    assert_ne!(
        hash("gossip = \"eager\""),
        hash("gossip = \"eager\"\nrepair_ms = 9_000"),
        "a number comes after its set"
    );
}

#[test]
fn a_mesh_with_another_detector_placement_and_gossip_keeps_every_promise() {
    let knobs = "[knobs]\ndetector = \"swim-lifeguard\"\nplacement = \"random\"\ngossip = \"eager\"";
    let report = ran(&small(knobs));
    assert_eq!(report.violations, []);
    assert!(report.counts["datagrams_sent"] > 200 && report.counts["writes_acknowledged"] > 0, "{:?}", report.counts);
}

#[test]
fn every_detector_finds_who_is_gone_and_forgives_a_moment() {
    for detector in ["bocage", "swim", "swim-lifeguard"] {
        let report = ran(&eight(&format!("detector = \"{detector}\"")));
        assert_eq!(report.violations, [], "{detector}");
        let first = report.measures["detect_first_p50_ms"];
        assert!((1_000.0..20_000.0).contains(&first), "{detector}: {first}");
        assert_eq!(report.counts["false_deaths_of_the_well"], 0, "{detector}");
    }
}

#[test]
fn a_policy_that_is_not_there_is_shown_with_its_line_and_the_nearest_name() {
    let complaint = |text: &str| match Experiment::parse(text).unwrap_err() {
        ScenarioError::Wrong(mistake) => mistake.to_string(),
        other @ ScenarioError::Unreadable { .. } => panic!("{other}"),
    };
    let text = complaint(&eight("detector = \"swim-lifegaurd\""));
    assert!(text.contains("line 18, column 12") && text.contains("there is no detector called"), "{text}");
    assert!(text.contains("did you mean \"swim-lifeguard\"?"), "{text}");
    let text = complaint(&format!("{}[sweep.grid]\nknobs.gossip = [\"bocage\", \"swim\"]\n", eight("")));
    assert!(text.contains("there is no gossip called \"swim\"") && text.contains("eager"), "{text}");
}

#[test]
fn the_resolved_scenario_and_the_schema_know_the_names() {
    let scenario = Scenario::parse(&eight("detector = \"swim\"")).unwrap();
    let resolved = scenario.to_toml();
    for line in ["detector = \"swim\"", "placement = \"bocage\"", "gossip = \"bocage\""] {
        assert!(resolved.contains(line), "{resolved}");
    }
    assert_eq!(Scenario::parse(&resolved).unwrap().to_toml(), resolved);
    let schema = Scenario::schema();
    assert!(schema.contains("\"swim-lifeguard-wan\"") && schema.contains("\"eager\""), "{schema}");
}

/// Ranks like what ships, and then leaves every second of those who may serve out.
#[derive(Debug)]
struct Halving;

impl Placing for Halving {
    fn plan(&self, request: &Request, inventory: &[&Capacity]) -> Result<Plan, Unplaceable> {
        plan(request, inventory.iter().copied().filter(|capacity| capacity.offer.node.0[0].is_multiple_of(2)))
            .or_else(|_| plan(request, inventory.iter().copied()))
    }
}

/// Gives one node all votes.
#[derive(Debug)]
struct Lawless;

impl Placing for Lawless {
    fn plan(&self, request: &Request, inventory: &[&Capacity]) -> Result<Plan, Unplaceable> {
        let mut plan = plan(request, inventory.iter().copied())?;
        if let Some(first) = plan.voters.first().cloned() {
            plan.voters.iter_mut().for_each(|voter| *voter = first.clone());
        }
        Ok(plan)
    }
}

#[test]
fn a_policy_of_ones_own_is_chosen_by_its_name_and_kept_to_the_rules() {
    let before = Scenario::parse(&small("[knobs]\nplacement = \"halving\"")).unwrap_err().to_string();
    assert!(before.contains("there is no placement called \"halving\""), "{before}");
    policy::add("halving", Policy::Placement(Arc::new(Halving))).unwrap();
    policy::add("lawless", Policy::Placement(Arc::new(Lawless))).unwrap();
    assert_eq!(ran(&small("[knobs]\nplacement = \"halving\"")).violations, []);

    let lawless = ran(&small("[knobs]\nplacement = \"lawless\""));
    assert!(violates(&lawless, Property::Founding), "{:?}", lawless.violations);
    let said = format!("{:?} {:?}", lawless.violations, lawless.remarks);
    assert!(said.contains("breaks the app's policy") && said.contains("mend that placement"), "{said}");
}

/// Every variant of `detectors.toml` with its seeds, in a table.
#[test]
#[ignore = "three detectors with twenty seeds each"]
fn survey() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/detectors.toml");
    let experiment = Experiment::load(&path).unwrap();
    println!(
        "| detector | first knows, ms | median | all but 1 in 100 | well ones called down | stalled ones | B/s a node |"
    );
    for variant in experiment.variants().unwrap() {
        let reports: Vec<Report> =
            (1..=experiment.scenario().sweep.seeds).map(|seed| run(&variant.scenario, seed)).collect();
        let middle_and_most = |of: &dyn Fn(&Report) -> f64| {
            let mut values: Vec<f64> = reports.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            let (middle, most) = (values[values.len() / 2], values[values.len() - 1]);
            format!("{middle:.0}, at most {most:.0}")
        };
        let measure = |name: &'static str| middle_and_most(&|report| report.measures[name]);
        #[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
        let count = |name: &'static str| middle_and_most(&|report| report.counts[name] as f64);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            variant.name,
            measure("detect_first_p50_ms"),
            measure("detect_p50_ms"),
            measure("detect_p99_ms"),
            count("false_deaths_of_the_well"),
            count("false_deaths_of_the_stalled"),
            measure("sent_bytes_per_node_s"),
        );
        for report in &reports {
            assert_eq!(report.violations, [], "{} {}", variant.name, report.seed);
        }
    }
}
