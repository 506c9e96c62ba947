//! A hunt: a swarm of random experiments with all checkers on, on all cores. A seed that fails is shrunk and put into a
//! capsule.
mod draw;
mod shrink;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    num::NonZero,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bocage_protocol::node::Node;
use serde::Serialize;
use toml::Spanned;

use crate::{
    Bug, Options, Property, Report,
    capsule::Capsule,
    cores::{each, held},
    results::Program,
    run_with,
    scenario::{Fault, Scenario, Sight},
};
use draw::Load;
use shrink::{SHRINK_MAX, shrink};

/// So many failing seeds are shrunk; of others only the first violation is told.
const SHRUNK_MAX: usize = 8;

/// One of so many seeds is run under load, besides.
const BUSY_ONE_OF: u64 = 10;

/// What to hunt with.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Which seeds.
    pub seeds: Range<u64>,
    /// On so many threads.
    pub threads: NonZero<usize>,
    /// A bug to find.
    pub bug: Option<Bug>,
}

/// What a hunt came to.
#[derive(Clone, Debug, Serialize)]
pub struct Hunted {
    /// Seeds that were run.
    pub seeds: u64,
    /// Cells of 5 to 9 nodes, 10 minutes, at most 200 operations each.
    pub seeds_per_s: f64,
    /// Seeds that were run with 20 operations a second, besides.
    pub busy_seeds: u64,
    /// As `seeds_per_s`, of these.
    pub busy_seeds_per_s: f64,
    /// Seeds of both kinds in which something was violated.
    pub violations: u64,
    /// The first of them, each with its first violation.
    pub failed: Vec<Failed>,
    /// How often each thing was seen that should be, sometimes.
    pub sights: BTreeMap<String, u64>,
    /// What was never seen: the swarm says nothing about it.
    pub never_seen: Vec<String>,
}

/// A seed that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// Which.
    pub seed: u64,
    /// It ran with 20 operations a second.
    pub busy: bool,
    /// What was violated first.
    pub property: Property,
    /// In words.
    pub what: String,
    /// Faults of the run.
    pub faults: usize,
    /// Faults that are left of it; none if it was not shrunk.
    pub left: Option<usize>,
    /// The run in one file, if it was shrunk.
    #[serde(skip)]
    pub capsule: Option<Box<Capsule>>,
    /// Where that lies.
    pub capsule_file: Option<String>,
}

/// Hunts; `told` is called after each seed with how many are done of how many.
#[must_use]
pub fn hunt(hunt: &Hunt, told: &(dyn Fn(u64, u64) + Sync)) -> Hunted {
    let count = hunt.seeds.end - hunt.seeds.start;
    let busy = hunt.seeds.start..hunt.seeds.start + count.div_ceil(BUSY_ONE_OF);
    let all = count + (busy.end - busy.start);
    let light = swarm(hunt, hunt.seeds.clone(), Load::Light, &|done| told(done, all));
    let busy = swarm(hunt, busy, Load::Busy, &|done| told(count + done, all));
    let mut sights: BTreeMap<String, u64> = BTreeMap::new();
    for sight in Sight::ALL {
        let seen = [&light, &busy].map(|swarm| swarm.counts.get(sight.count()).copied().unwrap_or(0));
        sights.insert(name(sight), seen.iter().sum());
    }
    let mut failed: Vec<Failed> = Vec::new();
    for (swarm, load) in [(&light, Load::Light), (&busy, Load::Busy)] {
        for (seed, report) in &swarm.failed {
            let shrinks = failed.len() < SHRUNK_MAX;
            failed.push(look_closer(hunt, *seed, load, report, shrinks));
        }
    }
    Hunted {
        seeds: light.seeds,
        seeds_per_s: light.seeds_per_s,
        busy_seeds: busy.seeds,
        busy_seeds_per_s: busy.seeds_per_s,
        violations: (light.failed.len() + busy.failed.len()) as u64,
        failed,
        never_seen: sights.iter().filter(|(_, seen)| **seen == 0).map(|(sight, _)| sight.clone()).collect(),
        sights,
    }
}

fn name(sight: Sight) -> String {
    let value = serde_json::to_value(sight).ok();
    value.and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}

/// What came of seeds under one load.
#[derive(Debug, Default)]
struct Swarm {
    seeds: u64,
    seeds_per_s: f64,
    counts: BTreeMap<&'static str, u64>,
    failed: BTreeMap<u64, Report>,
}

fn swarm(hunt: &Hunt, seeds: Range<u64>, load: Load, told: &(dyn Fn(u64) + Sync)) -> Swarm {
    let began = Instant::now();
    let done = AtomicU64::new(0);
    let swarm = Mutex::new(Swarm { seeds: seeds.end - seeds.start, ..Swarm::default() });
    let Ok(()) = each(seeds, hunt.threads, |seed| {
        let report = run(&draw::scenario(seed, load), seed, hunt.bug);
        let mut swarm = held(&swarm);
        for (name, count) in &report.counts {
            *swarm.counts.entry(name).or_default() += count;
        }
        if !report.violations.is_empty() {
            swarm.failed.insert(seed, report);
        }
        told(done.fetch_add(1, Ordering::Relaxed) + 1);
        Ok::<(), Infallible>(())
    });
    let mut swarm = swarm.into_inner().unwrap_or_else(PoisonError::into_inner);
    #[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
    let seeds = swarm.seeds as f64;
    swarm.seeds_per_s = (seeds / began.elapsed().as_secs_f64().max(1e-9) * 1_000.0).round() / 1_000.0;
    swarm
}

fn run(scenario: &Scenario, seed: u64, bug: Option<Bug>) -> Report {
    run_with::<Node>(scenario, seed, &Options { bug, ..Options::default() }).0
}

/// A failing seed: shrunk, if it is to be.
fn look_closer(hunt: &Hunt, seed: u64, load: Load, report: &Report, shrinks: bool) -> Failed {
    let scenario = draw::scenario(seed, load);
    let violation = &report.violations[0];
    let mut failed = Failed {
        seed,
        busy: load == Load::Busy,
        property: violation.property,
        what: violation.what.clone(),
        faults: scenario.fault.len(),
        left: None,
        capsule: None,
        capsule_file: None,
    };
    if shrinks {
        let capsule = shrunk(&scenario, seed, hunt.bug, violation.property);
        failed.left = Some(capsule.scenario.fault.len());
        failed.capsule = Some(Box::new(capsule));
    }
    failed
}

/// The fewest faults that still violate the property.
fn shrunk(scenario: &Scenario, seed: u64, bug: Option<Bug>, property: Property) -> Capsule {
    let faults_before = scenario.fault.len();
    let with = |faults: &[Spanned<Fault>]| Scenario { fault: faults.to_vec(), ..scenario.clone() };
    let left = shrink(scenario.fault.clone(), SHRINK_MAX, |faults| {
        run(&with(faults), seed, bug).violations.iter().any(|violation| violation.property == property)
    });
    let scenario = with(&left);
    let report = run(&scenario, seed, bug);
    let violation = report.violations.iter().find(|violation| violation.property == property);
    let violation = violation.expect("it was violated with these very faults").clone();
    Capsule {
        seed,
        property,
        at_s: violation.at_s,
        node: violation.node,
        what: violation.what,
        trace_hash: report.trace_hash,
        faults_before,
        bug,
        program: Program::this(),
        scenario,
    }
}

impl Hunted {
    /// One JSON document.
    ///
    /// # Panics
    /// Never: a hunt holds nothing that JSON cannot.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a hunt holds nothing that JSON cannot")
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { seeds, seeds_per_s, busy_seeds, busy_seeds_per_s, violations, .. } = self;
        let mut lines = vec![format!(
            "{seeds} seeds, {seeds_per_s:.1} a second; {busy_seeds} busy ones, {busy_seeds_per_s:.1} a second; {violations} \
             violated something"
        )];
        lines.extend(self.sights.iter().map(|(sight, seen)| format!("  {sight:32} {seen:>12}")));
        if !self.never_seen.is_empty() {
            lines.push(format!("never seen, so nothing is known of it: {}", self.never_seen.join(", ")));
        }
        for failed in &self.failed {
            let busy = if failed.busy { ", busy" } else { "" };
            let left = failed.left.map(|left| format!(", {left} of {} faults left", failed.faults)).unwrap_or_default();
            lines.push(format!(
                "VIOLATED with seed {}{busy}: {:?}{left}: {}",
                failed.seed, failed.property, failed.what
            ));
            lines.extend(failed.capsule_file.iter().map(|file| format!("  play it back: bocage sim replay {file}")));
        }
        lines.join("\n") + "\n"
    }
}
