//! A folder of results: made before anything is computed, so that no run is lost to a typo; written file by file, each whole
//! or not at all; finished by its manifest.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::table::TableError;

/// A folder without this file is of something that did not end.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Results that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// Nothing was changed.
    #[error("{} already holds something; results go into a folder that is new or empty", path.display())]
    Exists {
        /// Which folder.
        path: PathBuf,
    },
    /// Nothing was run.
    #[error("{} would keep one run, and several seeds are asked for; bocage sim sweep keeps what each of them measured", path.display())]
    Many {
        /// Which folder.
        path: PathBuf,
    },
    /// What was written before lies there and is whole; this file is not there.
    #[error("the disk is full: {} could not be written. Free some space, then do it again", path.display())]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// As `Full`, for another reason.
    #[error("{} cannot be {verb}: {why}", path.display())]
    Io {
        /// What was to be done with it.
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// A file of results says something else than it should.
    #[error("{}: {what}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The folder is of a sweep that was begun otherwise.
    #[error("{} is of a sweep that differs from this one: {what}. Take another folder", path.display())]
    Differs {
        /// Which folder.
        path: PathBuf,
        /// In what.
        what: String,
    },
}

impl ResultsError {
    pub(crate) fn io(verb: &'static str, path: &Path, why: io::Error) -> Self {
        let path = path.to_owned();
        if matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::Full { path };
        }
        Self::Io { verb, path, why }
    }

    pub(crate) fn table(path: &Path, error: &TableError) -> Self {
        Self::Unreadable { path: path.to_owned(), what: error.to_string() }
    }
}

/// A folder that results are written into.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A folder that is new or empty.
    pub(crate) fn new(path: &Path) -> Result<Self, ResultsError> {
        let this = Self::open(path)?;
        let mut entries = fs::read_dir(path).map_err(|why| ResultsError::io("read", path, why))?;
        match entries.next() {
            Some(_) => Err(ResultsError::Exists { path: path.to_owned() }),
            None => Ok(this),
        }
    }

    /// A folder, made if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, ResultsError> {
        fs::create_dir_all(path).map_err(|why| ResultsError::io("made", path, why))?;
        Ok(Self { path: path.to_owned() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file: under its name lies all of it or nothing, whenever the process or the machine ends.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ResultsError> {
        let path = self.path(name);
        let beside = self.path(&format!(".{name}.part"));
        let write = || {
            let mut file = fs::File::create(&beside)?;
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|why| {
            // What is there of it would only take up the space that is missing.
            let _ = fs::remove_file(&beside);
            ResultsError::io("written", &path, why)
        })
    }
}

/// Reads a file of results.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ResultsError> {
    fs::read(path).map_err(|why| ResultsError::io("read", path, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_so_and_leaves_no_half_file() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = ResultsError::io("written", Path::new("out/measures.csv"), full);
        assert!(error.to_string().contains("the disk is full") && error.to_string().contains("out/measures.csv"));
        let other = ResultsError::io("written", Path::new("out"), io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(other.to_string().contains("permission denied"), "{other}");
    }
}
