//! Many seeds of one scenario, on all cores, in one summary: what no seed may violate, and what must hold on the average
//! of all of them.
use std::{
    collections::BTreeMap,
    convert::Infallible,
    num::NonZero,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use crate::{
    Ended, Report, Scenario, Violation,
    cores::{each, held},
};

/// Seeds that are listed with what they violated; of others only the count is kept.
const SHOWN_MAX: usize = 20;

/// What came of all seeds. Everything but `wall_s` is the same in each sweep over the same scenario and seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The scenario's name.
    pub scenario: String,
    /// From which seed on.
    pub first_seed: u64,
    /// How many ran.
    pub seeds: u64,
    /// Seeds in which something was violated.
    pub violated: u64,
    /// Seeds in which a node panicked.
    pub crashed: u64,
    /// The first of them, each with its first violation.
    pub shown: Vec<(u64, Violation)>,
    /// What must hold on the average and does not.
    pub missed: Vec<String>,
    /// Over the seeds in which it was taken.
    pub measures: BTreeMap<&'static str, Spread>,
    /// Summed over all seeds.
    pub counts: BTreeMap<&'static str, u64>,
    /// What it took to compute.
    pub wall_s: f64,
}

/// One measure over many seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Spread {
    /// Seeds in which it was taken.
    pub seeds: u64,
    /// The least, and the first seed that had it.
    pub least: f64,
    /// See `least`.
    pub least_seed: u64,
    /// Over all.
    pub mean: f64,
    /// The greatest, and the first seed that had it.
    pub most: f64,
    /// See `most`.
    pub most_seed: u64,
}

/// Runs a scenario with each of these seeds, on so many threads.
#[must_use]
pub fn sweep(scenario: &Scenario, seeds: Range<u64>, threads: NonZero<usize>) -> Sweep {
    let began = std::time::Instant::now();
    let first = seeds.start;
    let summary = Mutex::new(Summary::default());
    let Ok(()) = each(seeds, threads, |seed| {
        let report = crate::run(scenario, seed);
        held(&summary).add(report);
        Ok::<(), Infallible>(())
    });
    let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.close(scenario, first, began.elapsed().as_secs_f64())
}

/// The reports so far, by seed, so that the order in which threads end changes nothing.
#[derive(Debug, Default)]
struct Summary {
    measures: BTreeMap<&'static str, BTreeMap<u64, f64>>,
    counts: BTreeMap<&'static str, u64>,
    violated: BTreeMap<u64, Violation>,
    crashed: u64,
    seeds: u64,
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.crashed += u64::from(report.ended() == Ended::Crashed);
        for (name, value) in report.measures {
            self.measures.entry(name).or_default().insert(report.seed, value);
        }
        for (name, count) in report.counts {
            *self.counts.entry(name).or_default() += count;
        }
        if let Some(violation) = report.violations.into_iter().next() {
            self.violated.insert(report.seed, violation);
        }
    }

    fn close(self, scenario: &Scenario, first_seed: u64, wall_s: f64) -> Sweep {
        let measures: BTreeMap<_, _> =
            self.measures.iter().filter_map(|(name, values)| Some((*name, Spread::of(values)?))).collect();
        Sweep {
            scenario: scenario.name.clone(),
            first_seed,
            seeds: self.seeds,
            violated: self.violated.len() as u64,
            crashed: self.crashed,
            missed: missed(scenario, &measures),
            shown: self.violated.into_iter().take(SHOWN_MAX).collect(),
            measures,
            counts: self.counts,
            wall_s,
        }
    }
}

impl Spread {
    #[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
    fn of(values: &BTreeMap<u64, f64>) -> Option<Self> {
        let mean = values.values().sum::<f64>() / values.len() as f64;
        let mean = (mean * 1e6).round() / 1e6;
        let (least_seed, least) = values.iter().min_by(|one, other| one.1.total_cmp(other.1))?;
        let (most_seed, most) = values.iter().rev().max_by(|one, other| one.1.total_cmp(other.1))?;
        let seeds = values.len() as u64;
        Some(Self { seeds, least: *least, least_seed: *least_seed, mean, most: *most, most_seed: *most_seed })
    }
}

/// What the scenario expects on the average and did not come true.
fn missed(scenario: &Scenario, measures: &BTreeMap<&'static str, Spread>) -> Vec<String> {
    let mut missed = Vec::new();
    for expect in scenario.expect.iter().map(toml::Spanned::get_ref) {
        let name = &expect.measure;
        let bounds = [expect.mean_at_most, expect.mean_at_least];
        if bounds.iter().all(Option::is_none) {
            continue;
        }
        let Some(spread) = measures.get(name.as_str()) else {
            missed.push(format!("{name} was never measured"));
            continue;
        };
        if expect.mean_at_most.is_some_and(|most| spread.mean > most) {
            missed.push(format!("{name} is {} on the average, expected at most {:?}", spread.mean, bounds[0]));
        }
        if expect.mean_at_least.is_some_and(|least| spread.mean < least) {
            missed.push(format!("{name} is {} on the average, expected at least {:?}", spread.mean, bounds[1]));
        }
    }
    missed
}

impl Sweep {
    /// How it ended: as the worst of its seeds, or violated if an average was missed.
    #[must_use]
    pub fn ended(&self) -> Ended {
        match () {
            () if self.crashed > 0 => Ended::Crashed,
            () if self.violated > 0 || !self.missed.is_empty() => Ended::Violated,
            () => Ended::Well,
        }
    }

    /// One JSON document.
    ///
    /// # Panics
    /// Never: a sweep holds nothing that JSON cannot.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a sweep holds nothing that JSON cannot")
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let last = self.first_seed + self.seeds.saturating_sub(1);
        let mut lines = vec![format!(
            "{} with seeds {} to {last}: {} of {} violated something, {} crashed, in {:.0} s",
            self.scenario, self.first_seed, self.violated, self.seeds, self.crashed, self.wall_s
        )];
        let heads = ["least", "seed", "mean", "most", "seed"];
        lines.push(format!(
            "  {:32} {:>12} {:>6} {:>14} {:>12} {:>6}",
            "", heads[0], heads[1], heads[2], heads[3], heads[4]
        ));
        for (name, Spread { least, least_seed, mean, most, most_seed, .. }) in &self.measures {
            lines.push(format!("  {name:32} {least:>12.3} {least_seed:>6} {mean:>14.6} {most:>12.3} {most_seed:>6}"));
        }
        lines.extend(self.counts.iter().map(|(name, count)| format!("  {name:32} {count:>12}")));
        lines.extend(self.missed.iter().map(|missed| format!("MISSED {missed}")));
        for (seed, violation) in &self.shown {
            let (property, what) = (violation.property, &violation.what);
            lines.push(format!("VIOLATED with seed {seed}: {property:?} at {:.3} s: {what}", violation.at_s));
        }
        lines.join("\n") + "\n"
    }
}
