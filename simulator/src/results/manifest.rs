//! What is known of a run besides its rows: enough to do it again and to know that it was done the same.
use std::{collections::BTreeMap, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Ended, Report};

/// The manifest of one run. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The scenario's name.
    pub scenario: String,
    /// Which variant of it; `base` where nothing varies.
    pub variant: String,
    /// All randomness came from it.
    pub seed: u64,
    /// Which program ran it.
    pub program: Program,
    /// The BLAKE3 hash of the resolved scenario, as it lies beside this file.
    pub config_hash: String,
    /// The BLAKE3 hashes of the files that it was read from, by path.
    pub data_hashes: BTreeMap<String, String>,
    /// Over every input and output of every node, with its time.
    pub trace_hash: String,
    /// `well`, `violated` or `crashed`.
    pub ended: String,
    /// What must not happen and did, in words; at most 100.
    pub violations: Vec<String>,
    /// Events that the engine took from its queue.
    pub events: u64,
    /// By second of computing.
    pub events_per_s: f64,
    /// From the first node's start to the end.
    pub simulated_s: f64,
    /// What it took to compute.
    pub wall_s: f64,
    /// The most memory that the process ever used; of a sweep: for all the runs that it did until then.
    pub peak_memory_bytes: u64,
    /// So many rows of measures.
    pub rows: u64,
    /// So many more were taken and not kept.
    pub rows_left_out: u64,
    /// The measures of the whole run, by name: what `bocage sim compare` compares.
    pub measures: BTreeMap<String, f64>,
    /// How often what happened.
    pub counts: BTreeMap<String, u64>,
    /// The BLAKE3 hashes of the files of results beside this one. Empty within a Parquet file.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// Which build of this simulator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Of the package.
    pub version: String,
    /// The commit that it was built from, uncommitted changes aside.
    pub commit: String,
    /// The BLAKE3 hash of the file that this simulator was loaded from, the program or a library in it: tells builds of one
    /// commit apart. Empty where it cannot be read.
    pub hash: String,
}

impl Program {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        static HASH: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let hash = HASH.get_or_init(|| {
            let bytes = own_file().and_then(std::fs::read);
            bytes.map(|bytes| blake3::hash(&bytes).to_hex().to_string()).unwrap_or_default()
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("BOCAGE_COMMIT").to_owned(),
            hash: hash.clone(),
        }
    }
}

/// The file that this very function was loaded from: within Python that is the extension, and not the interpreter.
fn own_file() -> io::Result<PathBuf> {
    let here = own_file as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = maps.lines().find_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
        range.contains(&here).then(|| line.find('/').map(|at| PathBuf::from(&line[at..])))?
    });
    mapped.map_or_else(std::env::current_exe, Ok)
}

impl Manifest {
    /// Of a run that is over; `rows` were kept of it.
    #[must_use]
    pub fn new(
        report: &Report,
        variant: &str,
        config: &str,
        data_hashes: BTreeMap<String, String>,
        rows: u64,
        rows_left_out: u64,
    ) -> Self {
        let ended = match report.ended() {
            Ended::Well => "well",
            Ended::Violated | Ended::Usage => "violated",
            Ended::Crashed => "crashed",
        };
        let violations =
            report.violations.iter().map(|it| format!("{:?} at {:.3} s: {}", it.property, it.at_s, it.what));
        #[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
        let events_per_s = report.events as f64 / report.wall_s.max(1e-9);
        Self {
            scenario: report.scenario.clone(),
            variant: variant.to_owned(),
            seed: report.seed,
            program: Program::this(),
            config_hash: blake3::hash(config.as_bytes()).to_hex().to_string(),
            data_hashes,
            trace_hash: report.trace_hash.clone(),
            ended: ended.to_owned(),
            violations: violations.collect(),
            events: report.events,
            events_per_s: events_per_s.round(),
            simulated_s: report.simulated_s,
            wall_s: report.wall_s,
            peak_memory_bytes: report.peak_rss_bytes,
            rows,
            rows_left_out,
            measures: report.measures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            counts: report.counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            files: BTreeMap::new(),
        }
    }

    /// As a file.
    ///
    /// # Panics
    /// Never: a manifest holds nothing that JSON cannot.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest holds nothing that JSON cannot") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_the_file_that_it_was_loaded_from() {
        let own = own_file().unwrap().canonicalize().unwrap();
        assert_eq!(own, std::env::current_exe().unwrap().canonicalize().unwrap());
    }
}
