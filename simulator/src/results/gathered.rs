//! Runs whose results go to a program instead of a folder: the scenario as it stands with some seeds, on all cores, in one
//! table.
use std::{
    collections::BTreeMap,
    num::NonZero,
    ops::Range,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bocage_protocol::node::Node;

use super::{BASE, Manifest, Measured, ResultsError, base, begin, folder::Folder, keep, table::Parquet};
use crate::{
    Experiment, Options, Report, Until,
    cores::{each, held},
};

/// What runs came to.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The rows of all of them by seed, as a Parquet file.
    pub parquet: Vec<u8>,
    /// Each one's manifest and report, by seed.
    pub runs: Vec<(Manifest, Report)>,
}

/// Runs the scenario of an experiment as it stands with each of these seeds. Nothing is given if `enough` becomes true before
/// the last run is over. A `folder`, new or empty, keeps the run as `sim run --out` does.
///
/// # Errors
/// When the folder cannot be written, or has something in it, or there is more than one run to keep in it.
pub fn gather(
    experiment: &Experiment,
    seeds: Range<u64>,
    threads: NonZero<usize>,
    folder: Option<&Path>,
    enough: &AtomicBool,
) -> Result<Option<Gathered>, ResultsError> {
    let folder = match folder {
        Some(path) if seeds.end.saturating_sub(seeds.start) > 1 => {
            return Err(ResultsError::Many { path: path.to_owned() });
        }
        Some(path) => Some(begin(experiment, path)?),
        None => None,
    };
    let runs = Mutex::new(BTreeMap::new());
    each(seeds, threads, |seed| {
        if enough.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut until = Until::new(enough);
        let measured = crate::measure_before::<Node>(experiment.scenario(), seed, &Options::default(), &mut until);
        if let Some(measured) = measured {
            held(&runs).insert(seed, measured);
        }
        Ok::<(), ResultsError>(())
    })?;
    if enough.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let runs = std::mem::take(&mut *held(&runs));
    together(experiment, runs, folder.as_ref()).map(Some)
}

fn together(
    experiment: &Experiment,
    runs: BTreeMap<u64, Measured>,
    folder: Option<&Folder>,
) -> Result<Gathered, ResultsError> {
    let mut table = Parquet::new(None);
    let mut told = Vec::new();
    for measured in runs.into_values() {
        if let Some(folder) = folder {
            keep(experiment, &measured, folder)?;
        }
        let unwritten = |error| ResultsError::table(Path::new("measures.parquet"), &error);
        table.add(BASE, &measured.rows).map_err(unwritten)?;
        told.push((base(experiment, &measured), measured.report));
    }
    let parquet = table.finish().map_err(|error| ResultsError::table(Path::new("measures.parquet"), &error))?;
    Ok(Gathered { parquet, runs: told })
}
