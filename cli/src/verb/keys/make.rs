//! A new party's key, with the recovery keys that it is born with: a genesis never changes.
use std::path::{Path, PathBuf};

use bocage_node::{
    keyfile::{KeyFile, KeyFileError, Kind},
    settings::wall,
};
use clap::Args;

use super::beside;
use crate::failure::{Exit, Failure};

/// How a new key can be taken back when it is lost or stolen.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Recovery {
    /// Make so many recovery keys for a new key, at most 16; they lie beside it until you take them elsewhere
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    recovery: u32,
    /// So many of them take the key back together [default: more than half]
    #[arg(long, value_name = "K")]
    threshold: Option<u32>,
}

impl Recovery {
    /// The same, if it can be.
    pub(crate) fn checked(self) -> Result<Self, Failure> {
        let Self { recovery, threshold } = self;
        if threshold.is_some_and(|threshold| !(1..=recovery).contains(&threshold)) {
            let what =
                format!("--threshold is from 1 to --recovery, which is {recovery}: so many of the keys must agree");
            return Err(Failure::new(Exit::Usage, "threshold", what));
        }
        Ok(self)
    }

    /// Makes a key and its recovery keys. Where those are.
    pub(crate) fn make(self, kind: Kind, name: &str, path: &Path) -> Result<(KeyFile, Vec<PathBuf>), KeyFileError> {
        let threshold = self.threshold.unwrap_or(self.recovery / 2 + 1);
        let (key, apart) = KeyFile::generate_with_recovery(kind, name, wall(), self.recovery as usize, threshold);
        create(&key, &apart, path).map(|paths| (key, paths))
    }
}

/// The recovery keys first: a key whose recovery keys could not be written is not made.
fn create(key: &KeyFile, apart: &[KeyFile], path: &Path) -> Result<Vec<PathBuf>, KeyFileError> {
    if path.exists() {
        return Err(KeyFileError::Exists(path.to_owned()));
    }
    let mut paths = Vec::new();
    let written = (1..).zip(apart).try_for_each(|(number, spare)| {
        let at = beside(path, &format!(".recovery-{number}"));
        spare.create(&at).map(|()| paths.push(at))
    });
    let written = written.and_then(|()| key.create(path));
    if written.is_err() {
        for at in &paths {
            drop(std::fs::remove_file(at));
        }
    }
    written.map(|()| paths)
}

/// What to do with recovery keys.
pub(crate) fn told(paths: &[PathBuf]) -> String {
    match paths {
        [] => String::new(),
        [first, ..] => format!(
            "\n  {} recovery keys lie beside it, from {} on: take each to another place, and off this machine",
            paths.len(),
            first.display()
        ),
    }
}
