//! A sweep: every variant of an experiment with every seed, on all cores, one file a run. Whenever it is broken off, what is
//! there is whole, and the same command does the rest: no run twice, none lost.
//!
//! ```text
//!   sweep.json                  which program and scenarios began it
//!   runs/VARIANT/scenario.toml  each variant as it is run
//!   runs/VARIANT/SEED.parquet   the rows of one run, its manifest within
//!   measures.parquet, .csv      the rows of all runs, in the end
//!   runs.csv                    the measures of each whole run
//!   manifest.json               of the sweep; written last
//! ```
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write as _},
    num::NonZero,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use bocage_protocol::node::Node;
use serde::{Deserialize, Serialize};

use super::{
    folder::{self, Folder, MANIFEST, ResultsError},
    manifest::{Manifest, Program},
    parquet,
    runs::{Kept, RUNS, kept},
    table::{self, Parquet},
};
use crate::{Options, Variant, cores::each, scenario::Experiment};

const SWEEP: &str = "sweep.json";
const LOCK: &str = ".lock";

/// By what a sweep is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    scenario: String,
    program: Program,
    /// The BLAKE3 hash of each variant as it is run.
    variants: BTreeMap<String, String>,
}

/// What a sweep came to.
#[derive(Clone, Debug, Serialize)]
pub struct Swept {
    /// The scenario's name.
    pub scenario: String,
    /// Which program ran it.
    pub program: Program,
    /// Runs that there are now.
    pub runs: u64,
    /// Those of them that were there before.
    pub found: u64,
    /// Runs in which something was violated.
    pub violated: u64,
    /// Runs in which a node panicked.
    pub crashed: u64,
    /// By variant.
    pub variants: BTreeMap<String, OfVariant>,
    /// What this part of it took to compute.
    pub wall_s: f64,
}

/// What one variant came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OfVariant {
    /// The hash of its scenario.
    pub config_hash: String,
    /// Its runs.
    pub runs: u64,
    /// Those in which something was violated.
    pub violated: u64,
    /// The trace hash of each seed.
    pub trace_hashes: BTreeMap<u64, String>,
}

/// Told after each run: how many are done of how many, and how many of these were there before.
pub type Progress<'a> = &'a (dyn Fn(usize, usize, usize) + Sync);

/// Runs whatever of a sweep is not there yet.
///
/// # Errors
/// When the folder is of another sweep, or cannot be written. What was run is kept.
pub fn sweep_into(
    experiment: &Experiment,
    variants: &[Variant],
    seeds: std::ops::Range<u64>,
    path: &Path,
    threads: NonZero<usize>,
    progress: Progress<'_>,
) -> Result<Swept, ResultsError> {
    let began = std::time::Instant::now();
    let folder = Folder::open(path)?;
    let _lock = lock(&folder)?;
    let begun = Begun {
        scenario: experiment.scenario().name.clone(),
        program: Program::this(),
        variants: variants.iter().map(|variant| (variant.name.clone(), hash(&variant.scenario.to_toml()))).collect(),
    };
    begin(&folder, path, &begun)?;
    for variant in variants {
        let folder = Folder::open(&folder.path(RUNS).join(&variant.name))?;
        folder.write("scenario.toml", variant.scenario.to_toml().as_bytes())?;
    }
    let all: Vec<(&Variant, u64)> =
        seeds.flat_map(|seed| variants.iter().map(move |variant| (variant, seed))).collect();
    let mut missing = Vec::new();
    for (variant, seed) in &all {
        let file = folder.path(RUNS).join(&variant.name).join(format!("{seed}.parquet"));
        if file.exists() {
            // A file that is there is whole; one that is not says so here, not in the end.
            Kept::open(&file)?;
        } else {
            missing.push((*variant, *seed));
        }
    }
    let found = all.len() - missing.len();
    progress(found, all.len(), found);
    run_all(experiment, &missing, &folder, threads, &|done| progress(found + done, all.len(), found))?;
    let wanted: BTreeSet<(&str, u64)> = all.iter().map(|(variant, seed)| (variant.name.as_str(), *seed)).collect();
    let mut runs = kept(path)?;
    runs.retain(|run| wanted.contains(&(run.manifest.variant.as_str(), run.manifest.seed)));
    let swept = close(&folder, path, &begun, &runs, found as u64, began.elapsed().as_secs_f64())?;
    Ok(swept)
}

/// Nobody else works in the folder while the file is held.
fn lock(folder: &Folder) -> Result<fs::File, ResultsError> {
    let path = folder.path(LOCK);
    let file = fs::File::create(&path).map_err(|why| ResultsError::io("made", &path, why))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            let why = io::Error::new(io::ErrorKind::ResourceBusy, "another sweep is at work in this folder");
            Err(ResultsError::io("locked", &path, why))
        }
        Err(fs::TryLockError::Error(why)) => Err(ResultsError::io("locked", &path, why)),
    }
}

/// Begins a sweep in an empty folder, or finds that this one goes on.
fn begin(folder: &Folder, path: &Path, begun: &Begun) -> Result<(), ResultsError> {
    let file = folder.path(SWEEP);
    if file.exists() {
        let text = folder::read(&file)?;
        let before: Begun = serde_json::from_slice(&text)
            .map_err(|error| ResultsError::Unreadable { path: file, what: error.to_string() })?;
        let differs = |what: &str| Err(ResultsError::Differs { path: path.to_owned(), what: what.to_owned() });
        return match () {
            () if before.variants != begun.variants => differs("the scenario or its grid has changed"),
            () if before.program != begun.program => differs("another build of the program began it"),
            () => Ok(()),
        };
    }
    let mut entries = fs::read_dir(path).map_err(|why| ResultsError::io("read", path, why))?;
    if entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != LOCK)) {
        return Err(ResultsError::Exists { path: path.to_owned() });
    }
    let text = serde_json::to_string_pretty(begun).expect("it holds nothing that JSON cannot");
    folder.write(SWEEP, text.as_bytes())
}

/// Runs these, each into its file; ends at the first that cannot be written.
fn run_all(
    experiment: &Experiment,
    missing: &[(&Variant, u64)],
    folder: &Folder,
    threads: NonZero<usize>,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(), ResultsError> {
    let ran = AtomicUsize::new(0);
    each(missing.iter(), threads, |(variant, seed)| {
        run_one(experiment, variant, *seed, folder)?;
        done(ran.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    })
}

fn run_one(experiment: &Experiment, variant: &Variant, seed: u64, folder: &Folder) -> Result<(), ResultsError> {
    let measured = crate::measure::<Node>(&variant.scenario, seed, &Options::default());
    let (rows, left_out) = (measured.rows.len() as u64, measured.rows_left_out);
    let config = variant.scenario.to_toml();
    let manifest = Manifest::new(&measured.report, &variant.name, &config, experiment.hashes(), rows, left_out);
    let folder = Folder::open(&folder.path(RUNS).join(&variant.name))?;
    let name = format!("{seed}.parquet");
    let bytes = parquet(&folder.path(&name), &manifest, &measured.rows)?;
    folder.write(&name, &bytes)
}

/// All runs are there: the tables of all of them, and the manifest.
fn close(
    folder: &Folder,
    path: &Path,
    begun: &Begun,
    runs: &[Kept],
    found: u64,
    wall_s: f64,
) -> Result<Swept, ResultsError> {
    let mut swept = Swept {
        scenario: begun.scenario.clone(),
        program: begun.program.clone(),
        runs: runs.len() as u64,
        found,
        violated: 0,
        crashed: 0,
        variants: BTreeMap::new(),
        wall_s,
    };
    let tables = Folder::open(path)?;
    let (file, part) = (folder.path("measures.csv"), folder.path(".measures.csv.part"));
    let failed = |why| ResultsError::io("written", &file, why);
    let mut writer = csv::Writer::from_writer(io::BufWriter::new(fs::File::create(&part).map_err(failed)?));
    let mut whole = Parquet::new(None);
    let mut summary = csv::Writer::from_writer(Vec::new());
    summary.write_record(["variant", "seed", "measure", "unit", "value"]).map_err(|error| failed(error.into()))?;
    for (number, run) in runs.iter().enumerate() {
        let Manifest { variant, seed, ended, trace_hash, measures, .. } = &run.manifest;
        let rows = run.rows()?;
        whole.add(variant, &rows).map_err(|error| ResultsError::table(&folder.path("measures.parquet"), &error))?;
        table::write_csv(&mut writer, number == 0, variant, &rows).map_err(failed)?;
        for (measure, value) in measures {
            let unit = crate::measure::unit(measure);
            let record = [variant, &seed.to_string(), measure, unit, &value.to_string()];
            summary.write_record(record).map_err(|error| failed(error.into()))?;
        }
        let of = swept.variants.entry(variant.clone()).or_default();
        let violated = u64::from(ended != "well");
        of.runs += 1;
        of.violated += violated;
        of.trace_hashes.insert(*seed, trace_hash.clone());
        of.config_hash.clone_from(&begun.variants[variant]);
        swept.violated += violated;
        swept.crashed += u64::from(ended == "crashed");
    }
    let mut buffered = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    let synced = buffered.flush().and_then(|()| buffered.get_ref().sync_all());
    synced.and_then(|()| fs::rename(&part, &file)).map_err(failed)?;
    let whole = whole.finish().map_err(|error| ResultsError::table(&folder.path("measures.parquet"), &error))?;
    tables.write("measures.parquet", &whole)?;
    let summary = summary.into_inner().map_err(|error| failed(error.into_error()))?;
    tables.write("runs.csv", &summary)?;
    let text = serde_json::to_string_pretty(&swept).expect("it holds nothing that JSON cannot");
    tables.write(MANIFEST, (text + "\n").as_bytes())?;
    Ok(swept)
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
