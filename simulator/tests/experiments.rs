//! Experiments as people write them: files that include others, grids, and what must be seen.
use std::fs;

use bocage_simulator::{Experiment, Property, Scenario, ScenarioError, run};

const SMALL: &str = "name = \"small\"\nduration_s = 10\n[[population]]\njurisdiction = \"FR\"\noperators = 3\n";

fn complaint(error: &ScenarioError) -> String {
    error.to_string()
}

#[test]
fn a_file_says_over_again_what_the_one_it_includes_says() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("base.toml", &format!("{SMALL}[network]\ndelay_ms = 5\ninside_ms = 2\n"));
    write("lab.toml", "include = \"base.toml\"\nname = \"lab\"\n[network]\ndelay_ms = 50\n");
    let lab = Experiment::load(&folder.path().join("lab.toml")).unwrap();
    let scenario = lab.scenario();
    assert_eq!((scenario.name.as_str(), scenario.duration_s, scenario.nodes()), ("lab", 10, 3));
    assert_eq!((scenario.network.delay_ms, scenario.network.inside_ms), (50, 2));
    assert_eq!(lab.hashes().len(), 2);
    assert_eq!(Scenario::parse(&scenario.to_toml()).unwrap().to_toml(), scenario.to_toml());

    write("wrong.toml", "[network]\n\ndelay_msec = 3\n");
    write("lab.toml", &format!("include = [\"wrong.toml\"]\n{SMALL}"));
    let text = complaint(&Experiment::load(&folder.path().join("lab.toml")).unwrap_err());
    assert!(text.contains("wrong.toml: line 3, column 1") && text.contains("did you mean \"delay_ms\""), "{text}");

    write("one.toml", &format!("include = \"two.toml\"\n{SMALL}"));
    write("two.toml", "story = \"x\"\ninclude = \"one.toml\"\n");
    let text = complaint(&Experiment::load(&folder.path().join("one.toml")).unwrap_err());
    assert!(text.contains("two.toml: line 2") && text.contains("includes this file itself"), "{text}");

    write("lost.toml", &format!("include = \"nowhere.toml\"\n{SMALL}"));
    let text = complaint(&Experiment::load(&folder.path().join("lost.toml")).unwrap_err());
    assert!(text.contains("lost.toml: line 1") && text.contains("nowhere.toml"), "{text}");
    let text = complaint(&Experiment::parse(&format!("include = \"base.toml\"\n{SMALL}")).unwrap_err());
    assert!(text.contains("only a file includes others"), "{text}");
}

#[test]
fn a_grid_has_every_combination_and_its_mistakes_are_shown_in_it() {
    let with = |grid: &str| {
        Experiment::parse(&format!(
            "{SMALL}[[fault]]\nat_s = 1\nfor_s = 1\nwhat = \"crash\"\nwho = {{ node = 0 }}\n{grid}"
        ))
    };
    let grid = "[sweep.grid]\nnetwork.delay_ms = [5, 50]\n\"fault.0.for_s\" = [2, 3, 4]\ndisk.sync_us = [[1, 2]]\n";
    let variants = with(grid).unwrap().variants().unwrap();
    let names: Vec<&str> = variants.iter().map(|variant| variant.name.as_str()).collect();
    assert_eq!(names.len(), 6);
    assert_eq!(names[0], "disk.sync_us=1-2,fault.0.for_s=2,network.delay_ms=5");
    let delays: Vec<u64> = variants.iter().map(|variant| variant.scenario.network.delay_ms).collect();
    assert_eq!(delays.iter().filter(|delay| **delay == 50).count(), 3);
    assert!(variants.iter().any(|variant| variant.scenario.fault[0].get_ref().for_s == Some(4)));
    assert_eq!(with("").unwrap().variants().unwrap()[0].name, "base");

    let wrong = |grid: &str| complaint(&with(grid).unwrap_err());
    let text = wrong("[sweep.grid]\nnetwork.delay_ms = [5, \"far\"]\n");
    assert!(text.contains("line 12") && text.contains("far"), "{text}");
    let text = wrong("[sweep.grid]\nnetwork.delay_msec = [5]\n");
    assert!(text.contains("line 12") && text.contains("delay_ms\"?"), "{text}");
    let text = wrong("[sweep.grid]\nnetwork.delay_ms = 5\n");
    assert!(text.contains("takes a list"), "{text}");
    let text = wrong("[sweep.grid]\nfault.3.for_s = [1]\n");
    assert!(text.contains("fault has 1 entries"), "{text}");
    let text = wrong("[sweep]\nseed = 3\n");
    assert!(text.contains("did you mean \"seeds\""), "{text}");
}

#[test]
fn what_must_be_seen_and_was_not_fails_the_run() {
    let seen = |more: &str| -> Vec<Property> {
        run(&Scenario::parse(&SMALL.replace("duration_s = 10", more)).unwrap(), 1)
            .violations
            .iter()
            .map(|violation| violation.property)
            .collect()
    };
    assert_eq!(
        seen("duration_s = 10\nsettle_s = 10\nsometimes = [{ what = \"node-called-down\" }]"),
        [Property::Sometimes]
    );
    assert_eq!(seen("duration_s = 10\nsettle_s = 10"), []);
}

#[test]
fn a_run_stops_at_its_first_violation_if_told_to() {
    let nobody = "[[fault]]\nat_s = 1\nwhat = \"crash\"\nwho = { operator = \"XX-1\" }\n";
    let whole = run(&Scenario::parse(&format!("{SMALL}{nobody}")).unwrap(), 1);
    let stopped = run(&Scenario::parse(&format!("{SMALL}{nobody}[stop]\nat_first_violation = true\n")).unwrap(), 1);
    assert_eq!((whole.violations.len(), stopped.violations.len()), (1, 1));
    assert!(stopped.simulated_s < whole.simulated_s, "{} {}", stopped.simulated_s, whole.simulated_s);
}

#[test]
fn the_schema_knows_every_table() {
    let schema: serde_json::Value = serde_json::from_str(&Scenario::schema()).unwrap();
    for key in ["include", "population", "network", "fault", "liar", "knobs", "expect", "sometimes", "sweep", "stop"] {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
}
