//! Results: measuring changes nothing, what is kept is whole, and a sweep that was broken off goes on where it was.
mod common;

use std::{collections::BTreeMap, fs, num::NonZero, path::Path};

use bocage_protocol::node::Node;
use bocage_simulator::{
    Experiment, Options, Scenario, measure,
    results::{self, Manifest, ResultsError, Row},
    run, write_report,
};
use common::small;

fn experiment(more: &str) -> Experiment {
    Experiment::parse(&small(more)).unwrap()
}

fn measured(scenario: &Scenario, seed: u64) -> results::Measured {
    measure::<Node>(scenario, seed, &Options::default())
}

/// Who died when.
fn deaths(rows: &[Row]) -> Vec<(String, Option<u32>)> {
    rows.iter().filter(|row| row.measure == "death").map(|row| (format!("{:.6}", row.time_s), row.node)).collect()
}

#[test]
fn a_run_that_is_measured_is_the_same_run() {
    let scenario = experiment("").scenario().clone();
    let plain = run(&scenario, 3);
    let results::Measured { report, rows, rows_left_out } = measured(&scenario, 3);
    assert_eq!((&report.trace_hash, report.events), (&plain.trace_hash, plain.events));
    assert_eq!((report.measures.clone(), report.counts.clone()), (plain.measures, plain.counts));
    assert_eq!(rows_left_out, 0);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        assert!(results::unit(&row.measure).is_some() && row.value.is_finite() && row.seed == 3, "{row:?}");
        *counts.entry(&*row.measure).or_default() += 1;
    }
    for (name, ..) in results::MEASURES {
        let rare = [
            "repair",
            "leader_change",
            "failed",
            "rejoin_ms",
            "detect_ms",
            "detect_first_ms",
            "converge_ms",
            "false_death",
        ];
        assert!(counts.contains_key(name) || rare.contains(&name), "{name} was never taken: {counts:?}");
    }
    let sum = |measure: &str| -> f64 { rows.iter().filter(|row| row.measure == measure).map(|row| row.value).sum() };
    let acknowledged = rows.iter().filter(|row| row.measure == "operation_ms").count();
    let known = report.counts["writes_acknowledged"] + report.counts["reads_answered"];
    assert!(acknowledged as u64 <= known && acknowledged as u64 + 20 > known, "{acknowledged} of {known}");
    assert_eq!(format!("{:.0}", sum("sent_frames")), report.counts["frames_sent"].to_string());
    let available = rows.iter().filter(|row| row.measure == "availability");
    assert!(available.clone().all(|row| (0.0..=1.0).contains(&row.value)));
    assert!(available.clone().any(|row| row.value < 1.0), "a cut is seen");
}

#[test]
fn two_variants_see_the_same_faults() {
    let churn = "[churn]\nreplaced_per_mille = 1_500\ncrashed_per_mille = 6_000\ndown_ms = [200, 2_000]\n";
    let grid = format!("{churn}[sweep.grid]\nknobs.probe_ms = [300, 1_500]\n");
    let variants = experiment(&grid).variants().unwrap();
    let [slow, fast] = [&variants[0], &variants[1]].map(|variant| measured(&variant.scenario, 5));
    assert_ne!(slow.report.trace_hash, fast.report.trace_hash);
    assert_eq!(deaths(&slow.rows).len(), deaths(&fast.rows).len());
    let named = |rows: &[Row]| deaths(rows).into_iter().map(|(_, node)| node).collect::<Vec<_>>();
    assert_eq!(named(&slow.rows), named(&fast.rows));
    assert!(named(&slow.rows).len() >= 5);
}

#[test]
fn a_fault_that_is_taken_out_changes_none_of_the_others() {
    let crash = "[[fault]]\nat_s = 10\nfor_s = 2\nwhat = \"crash\"\nwho = { any = 2 }\n";
    let scenario = experiment(crash).scenario().clone();
    let mut fewer = scenario.clone();
    fewer.fault.remove(0);
    let all: Vec<_> = deaths(&measured(&scenario, 2).rows).into_iter().map(|(_, node)| node).collect();
    let left: Vec<_> = deaths(&measured(&fewer, 2).rows).into_iter().map(|(_, node)| node).collect();
    assert_eq!((all.len(), left.len()), (3, 2));
    // The one that is down already cannot be among those that crash; else the same two.
    let other = left.iter().filter(|node| all[1..].contains(node)).count();
    assert!(other == 2 || left.contains(&all[0]), "{all:?} {left:?}");
}

#[test]
fn results_are_kept_whole_and_no_other_results_are_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/out");
    let report = results::run_into(&experiment(""), 4, &out).unwrap();
    let manifest: Manifest = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest.trace_hash, manifest.seed), (&report.trace_hash, 4));
    let config = fs::read_to_string(out.join("scenario.toml")).unwrap();
    assert_eq!(manifest.config_hash, blake3::hash(config.as_bytes()).to_hex().to_string());
    assert!(manifest.events_per_s > 0.0 && manifest.peak_memory_bytes > 0 && !manifest.program.commit.is_empty());
    for (name, hash) in &manifest.files {
        assert_eq!(*hash, blake3::hash(&fs::read(out.join(name)).unwrap()).to_hex().to_string(), "{name}");
    }
    let again = run(&Scenario::parse(&config).unwrap(), 4);
    assert_eq!(again.trace_hash, report.trace_hash, "the resolved scenario is the same run");
    let csv = fs::read_to_string(out.join("measures.csv")).unwrap();
    assert_eq!(csv.lines().count() as u64, manifest.rows + 1);
    let kept = results::kept(&out).unwrap();
    assert_eq!((kept.len(), kept[0].manifest.rows), (1, manifest.rows));
    let error = results::run_into(&experiment(""), 4, &out).unwrap_err();
    assert!(matches!(error, ResultsError::Exists { .. }) && error.to_string().contains("new or empty"), "{error}");
    let hidden = fs::read_dir(&out)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0, "no half files");
}

fn sweep(experiment: &Experiment, seeds: std::ops::Range<u64>, out: &Path) -> Result<results::Swept, ResultsError> {
    let variants = experiment.variants().unwrap();
    results::sweep_into(experiment, &variants, seeds, out, NonZero::new(2).unwrap(), &|_, _, _| {})
}

#[test]
fn a_sweep_that_was_broken_off_runs_what_is_missing_and_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sweep");
    let two = experiment("[sweep.grid]\nnetwork.delay_ms = [5, 60]\n");
    let first = sweep(&two, 1..3, &out).unwrap();
    assert_eq!((first.runs, first.found, first.variants.len()), (4, 0, 2));
    let (lost, stays) = (out.join("runs/network.delay_ms=5/2.parquet"), out.join("runs/network.delay_ms=60/1.parquet"));
    let before = fs::read(&stays).unwrap();
    // As a process leaves it that is killed while it writes.
    fs::remove_file(&lost).unwrap();
    fs::write(lost.with_file_name(".2.parquet.part"), b"half").unwrap();
    fs::remove_file(out.join("manifest.json")).unwrap();
    let second = sweep(&two, 1..3, &out).unwrap();
    assert_eq!((second.runs, second.found), (4, 3));
    assert_eq!(fs::read(&stays).unwrap(), before, "what was there is there as it was");
    let hashes = |swept: &results::Swept| {
        swept.variants.iter().map(|(name, of)| (name.clone(), of.trace_hashes.clone())).collect::<Vec<_>>()
    };
    assert_eq!(hashes(&first), hashes(&second));
    let kept = results::kept(&out).unwrap();
    let rows: u64 = kept.iter().map(|run| run.manifest.rows).sum();
    let csv = fs::read_to_string(out.join("measures.csv")).unwrap();
    assert_eq!(csv.lines().count() as u64, rows + 1);
    let other = sweep(&experiment("[sweep.grid]\nnetwork.delay_ms = [5, 61]\n"), 1..3, &out).unwrap_err();
    assert!(matches!(other, ResultsError::Differs { .. }), "{other}");
    assert!(sweep(&two, 1..4, &out).is_ok_and(|third| (third.runs, third.found) == (6, 4)), "more seeds are added");

    let figures = write_report(&out).unwrap();
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), figures);
    for name in ["availability", "latency", "bytes", "nakamoto", "largest-share", "herfindahl"] {
        assert!(page.contains(&format!("id=\"{name}\"")), "{name}");
        let csv = fs::read_to_string(out.join(format!("figures/{name}.csv"))).unwrap();
        assert!(csv.lines().count() > 2, "{name}");
        let vega = fs::read_to_string(out.join(format!("figures/{name}.vl.json"))).unwrap();
        assert!(vega.contains("vega-lite/v5"));
    }
    let outside = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(outside, 0, "the page needs nothing but a browser");

    let (slow, fast) = (out.join("runs/network.delay_ms=60"), out.join("runs/network.delay_ms=5"));
    let comparison = results::compare(&fast, &slow).unwrap();
    assert_eq!((comparison.pairs, comparison.unpaired), (3, 0));
    let writes = &comparison.measures["write_p50_ms"];
    assert!(writes.difference > 0.0 && writes.interval.is_some(), "{writes:?}");
    let same = results::compare(&slow, &slow).unwrap();
    assert!(same.measures.values().all(|of| of.difference == 0.0 && !of.significant));
    let error = results::compare(&out, &slow).unwrap_err().to_string();
    assert!(error.contains("2 variants") && error.contains("runs/network.delay_ms=5"), "{error}");
}
