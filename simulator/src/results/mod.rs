//! Results that go into a paper: what a run measured, in long form; the scenario as it was run; and a manifest by which
//! anybody can run it again and see that it is the same.
//!
//! ```text
//!   measures.parquet   rows: time, seed, variant, measure, unit, labels, value
//!   measures.csv       the same
//!   scenario.toml      every include and default written out
//!   report.json        what `bocage sim run --output json` says
//!   manifest.json      commit, seed, hashes, trace hash, what it took; written last
//! ```
pub(crate) mod folder;
pub(crate) mod manifest;
pub(crate) mod row;
pub(crate) mod table;
pub(crate) mod runs;
pub(crate) mod study;
pub(crate) mod compare;
pub(crate) mod gathered;

use std::path::Path;

pub use compare::{Compared, Comparison, compare};
pub use folder::ResultsError;
pub use gathered::{Gathered, gather};
pub use manifest::{Manifest, Program};
pub use row::{MEASURES, Row, unit};
pub use runs::{Kept, kept};
pub use study::{OfVariant, Progress, Swept, sweep_into};

use crate::{Options, Report, scenario::Experiment};
use bocage_protocol::node::Node;
use folder::{Folder, MANIFEST};
use table::Parquet;

/// The variant of a scenario as it stands.
const BASE: &str = "base";

/// A run with its rows.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What the run said.
    pub report: Report,
    /// What it measured on the way.
    pub rows: Vec<Row>,
    /// So many more rows were taken and not kept.
    pub rows_left_out: u64,
}

/// Runs the scenario of an experiment as it stands, and keeps what it measured in a folder that is new or empty.
///
/// # Errors
/// When the folder holds something already, before anything is run; when it cannot be written.
pub fn run_into(experiment: &Experiment, seed: u64, folder: &Path) -> Result<Report, ResultsError> {
    let folder = begin(experiment, folder)?;
    let measured = crate::measure::<Node>(experiment.scenario(), seed, &Options::default());
    keep(experiment, &measured, &folder)?;
    Ok(measured.report)
}

/// The folder, before anything is run: with the scenario in it.
fn begin(experiment: &Experiment, folder: &Path) -> Result<Folder, ResultsError> {
    let folder = Folder::new(folder)?;
    folder.write("scenario.toml", experiment.scenario().to_toml().as_bytes())?;
    Ok(folder)
}

/// Writes what one run of the scenario as it stands came to.
fn keep(experiment: &Experiment, measured: &Measured, folder: &Folder) -> Result<(), ResultsError> {
    let mut manifest = base(experiment, measured);
    let rows = &measured.rows;
    let parquet = parquet(&folder.path("measures.parquet"), &manifest, rows)?;
    let mut csv = Vec::new();
    let mut writer = csv::Writer::from_writer(&mut csv);
    let path = folder.path("measures.csv");
    table::write_csv(&mut writer, true, BASE, rows).map_err(|why| ResultsError::io("written", &path, why))?;
    drop(writer);
    let report = measured.report.to_json() + "\n";
    let files = [("measures.parquet", &parquet[..]), ("measures.csv", &csv), ("report.json", report.as_bytes())];
    for (name, bytes) in files {
        folder.write(name, bytes)?;
        manifest.files.insert(name.to_owned(), blake3::hash(bytes).to_hex().to_string());
    }
    folder.write(MANIFEST, manifest.to_json().as_bytes())
}

/// The manifest of a run of the scenario as it stands.
fn base(experiment: &Experiment, measured: &Measured) -> Manifest {
    let (config, rows) = (experiment.scenario().to_toml(), measured.rows.len() as u64);
    Manifest::new(&measured.report, BASE, &config, experiment.hashes(), rows, measured.rows_left_out)
}

/// The Parquet file of one run, its manifest within.
pub(crate) fn parquet(path: &Path, manifest: &Manifest, rows: &[Row]) -> Result<Vec<u8>, ResultsError> {
    let mut table = Parquet::new(Some(manifest.to_json()));
    let added = table.add(&manifest.variant, rows);
    added.and_then(|()| table.finish()).map_err(|error| ResultsError::table(path, &error))
}
