//! What a run says when it is over.
use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use crate::scenario::{Lie, What};

/// The result of a run. Everything but `wall_s` and `peak_rss_bytes` is the same in each run of one scenario and seed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// All randomness came from it.
    pub seed: u64,
    /// Over every input and output of every node, with its time.
    pub trace_hash: String,
    /// Events that the engine took from its queue.
    pub events: u64,
    /// From the first node's start to the end.
    pub simulated_s: f64,
    /// What it took to compute.
    pub wall_s: f64,
    /// The most memory that this process ever used.
    pub peak_rss_bytes: u64,
    /// What must not happen and did.
    pub violations: Vec<Violation>,
    /// More were found than are listed.
    pub violations_left_out: u64,
    /// See `measure::NAMES`.
    pub measures: BTreeMap<&'static str, f64>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// What nodes said most often, in their own words; long ones cut.
    pub remarks: BTreeMap<String, u64>,
    /// Declared and random faults, and what they touched.
    pub faults: Vec<FaultShown>,
    /// Declared liars, and what they did.
    pub liars: Vec<LiarsShown>,
}

/// Declared liars and what they did.
#[derive(Clone, Debug, Serialize)]
pub struct LiarsShown {
    /// How they lied.
    pub what: Lie,
    /// So many nodes.
    pub nodes: u64,
    /// So many frames and records were changed, made or held back.
    pub touched: u64,
}

/// A fault and what it touched.
#[derive(Clone, Debug, Serialize)]
pub struct FaultShown {
    /// What befell them.
    pub what: What,
    /// When, after the mesh stood.
    pub at_s: u64,
    /// So many nodes were touched; of a cut: so many links broken and dials in vain.
    pub touched: u64,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// What was violated.
    pub property: Property,
    /// When it was seen, from the first node's start.
    pub at_s: f64,
    /// On which node, by number, if on one.
    pub node: Option<u32>,
    /// For people.
    pub what: String,
}

/// A property that a checker watches, or a reason for which a run does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Property {
    /// Two replicas applied different entries at one index of one line.
    Agreement,
    /// An operation's effect is missing, doubled or out of order.
    ExactlyOnce,
    /// A write of a lease that had ended was accepted.
    Fencing,
    /// The faults are over and the mesh does not agree, or an app is not writable.
    Convergence,
    /// A node deals with somebody whose key is dead, or never learnt that it is.
    Keys,
    /// A node panicked.
    Crash,
    /// An honest node was called down by a quorum, or lost its vote.
    Eviction,
    /// An honest node was shown to have contradicted itself, and has not.
    Blame,
    /// Somebody contradicted itself, and nobody says so.
    Attribution,
    /// A read away was older than it says or its app allows, or was not given where it is owed.
    CutContract,
    /// Converging stores differ in the end, or something acknowledged is lost, doubled or back.
    Converge,
    /// A declared fault or lie touched nothing.
    Fault,
    /// What should be seen in the run was not.
    Sometimes,
    /// The mesh never stood, or an app was not deployed.
    Founding,
    /// A node was sent what it cannot read.
    Wire,
    /// A measure lies outside what the scenario expects.
    Expectation,
}

/// How a run ended; its number is the exit code of `bocage sim run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// Nothing was violated.
    Well = 0,
    /// A property was violated.
    Violated = 1,
    /// The scenario cannot be run: see `ScenarioError`.
    Usage = 2,
    /// A node panicked.
    Crashed = 3,
}

impl From<Ended> for u8 {
    fn from(ended: Ended) -> Self {
        ended as Self
    }
}

impl Report {
    /// How the run ended.
    #[must_use]
    pub fn ended(&self) -> Ended {
        if self.violations.iter().any(|violation| violation.property == Property::Crash) {
            return Ended::Crashed;
        }
        if self.violations.is_empty() { Ended::Well } else { Ended::Violated }
    }

    /// The exit code of `bocage sim run`: 0 well, 1 a property violated, 2 usage, 3 a node crashed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.ended().into()
    }

    /// One JSON document.
    ///
    /// # Panics
    /// Never: a report holds nothing that JSON cannot.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report holds nothing that JSON cannot")
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{} with seed {}: {} events, {:.0} s simulated in {:.1} s, at most {} MiB\ntrace {}\n",
            self.scenario,
            self.seed,
            self.events,
            self.simulated_s,
            self.wall_s,
            self.peak_rss_bytes >> 20,
            self.trace_hash,
        );
        let mut line = |shown: std::fmt::Arguments| writeln!(text, "{shown}").expect("a String takes every line");
        self.measures.iter().for_each(|(name, value)| line(format_args!("  {name:32} {value:>12.3}")));
        self.counts.iter().for_each(|(name, count)| line(format_args!("  {name:32} {count:>12}")));
        self.remarks.iter().for_each(|(remark, count)| line(format_args!("  {count:>6} x {remark}")));
        for fault in &self.faults {
            line(format_args!("  {:?} at {} s touched {}", fault.what, fault.at_s, fault.touched));
        }
        for liars in &self.liars {
            line(format_args!("  {:?} by {} nodes touched {}", liars.what, liars.nodes, liars.touched));
        }
        for violation in &self.violations {
            let node = violation.node.map(|node| format!(" on node {node}")).unwrap_or_default();
            line(format_args!(
                "VIOLATED {:?} at {:.3} s{node}: {}",
                violation.property, violation.at_s, violation.what
            ));
        }
        text
    }
}

/// The most memory that this process ever used, in bytes; 0 where the system does not say.
pub(crate) fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_a_crash_and_a_violated_property_apart() {
        let mut report = Report {
            scenario: "none".into(),
            seed: 1,
            trace_hash: String::new(),
            events: 0,
            simulated_s: 0.0,
            wall_s: 0.0,
            peak_rss_bytes: peak_rss_bytes(),
            violations: Vec::new(),
            violations_left_out: 0,
            measures: BTreeMap::new(),
            counts: BTreeMap::new(),
            remarks: BTreeMap::new(),
            faults: Vec::new(),
            liars: Vec::new(),
        };
        assert_eq!(report.exit_code(), 0);
        let violation = |property| Violation { property, at_s: 1.0, node: None, what: "seen".into() };
        report.violations.push(violation(Property::Agreement));
        assert_eq!(report.exit_code(), 1);
        report.violations.push(violation(Property::Crash));
        assert_eq!(report.exit_code(), 3);
        assert!(report.to_json().contains("\"exactly-once\"") || report.to_json().contains("\"crash\""));
        assert!(report.peak_rss_bytes > 0);
    }
}
