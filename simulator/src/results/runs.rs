//! Results that were kept, found again: of one run, of all runs of one variant, or of a whole sweep.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    folder::{self, ResultsError},
    manifest::Manifest,
    row::Row,
    table,
};

/// Where a sweep keeps its runs: `runs/VARIANT/SEED.parquet`.
pub(crate) const RUNS: &str = "runs";

/// One run whose results were kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What is known of it.
    pub manifest: Manifest,
    path: PathBuf,
}

impl Kept {
    /// The Parquet file of one run.
    pub(crate) fn open(path: &Path) -> Result<Self, ResultsError> {
        let unreadable = |what: String| ResultsError::Unreadable { path: path.to_owned(), what };
        let bytes = folder::read(path)?;
        let run = table::run_of(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let manifest = serde_json::from_str(&run).map_err(|error| unreadable(format!("its manifest: {error}")))?;
        Ok(Self { manifest, path: path.to_owned() })
    }

    /// Its rows.
    pub(crate) fn rows(&self) -> Result<Vec<Row>, ResultsError> {
        table::read(folder::read(&self.path)?).map_err(|error| ResultsError::table(&self.path, &error))
    }
}

/// Every run in a folder that `sim run --out` or `sim sweep --out` made, or in one variant's folder of a sweep; by variant,
/// then seed.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn kept(path: &Path) -> Result<Vec<Kept>, ResultsError> {
    let runs = path.join(RUNS);
    let mut found = match () {
        () if runs.is_dir() => {
            let mut all = Vec::new();
            for variant in entries(&runs)? {
                all.extend(parquets(&variant)?);
            }
            all
        }
        () if path.join("measures.parquet").is_file() => vec![path.join("measures.parquet")],
        () if path.is_dir() => parquets(path)?,
        () => vec![path.to_owned()],
    };
    found.sort_unstable();
    let mut all = BTreeMap::new();
    for file in found {
        let kept = Kept::open(&file)?;
        all.insert((kept.manifest.variant.clone(), kept.manifest.seed), kept);
    }
    if all.is_empty() {
        let what = "there are no results in it: name a folder that sim run --out or sim sweep --out made".to_owned();
        return Err(ResultsError::Unreadable { path: path.to_owned(), what });
    }
    Ok(all.into_values().collect())
}

fn parquets(folder: &Path) -> Result<Vec<PathBuf>, ResultsError> {
    let is_run = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        !hidden && path.extension().is_some_and(|extension| extension == "parquet")
    };
    Ok(entries(folder)?.into_iter().filter(is_run).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, ResultsError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let read = || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>();
    read().map_err(|why| ResultsError::io("read", folder, why))
}
