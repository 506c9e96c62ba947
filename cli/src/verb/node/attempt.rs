//! Joining is all or nothing: whatever goes wrong on the way, what was made is taken away again, and a folder that was
//! there is as it was. Even a power cut leaves a mark, so that the next attempt cleans up first.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bocage_node::settings::{FILE, Folder as NodeFolder};

use crate::failure::Failure;

/// There while an attempt is under way. Holds the settings as they were; empty: there were none.
const MARK: &str = "joining";
/// There as well if the operator's key was made by the attempt.
const MADE_KEY: &str = "joining.key";

/// See the top of this file. Dropped before [`Attempt::succeeded`], it undoes everything.
#[derive(Debug)]
pub(super) struct Attempt {
    path: PathBuf,
    over: bool,
}

impl Attempt {
    /// Whether an attempt was cut short in this folder, or is under way.
    pub(super) fn is_marked(path: &Path) -> bool {
        path.join(MARK).exists()
    }

    /// Undoes an earlier one that was cut short.
    pub(super) fn clean_up(path: &Path) {
        if Self::is_marked(path) {
            undo(path);
        }
    }

    /// Begins, in a folder whose node belongs to no mesh yet.
    pub(super) fn begin(path: &Path) -> Result<Self, Failure> {
        let io = |error: io::Error| Failure::io(path.display(), &error);
        fs::create_dir_all(path).map_err(io)?;
        let before = match fs::read_to_string(path.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(io(error)),
        };
        fs::write(path.join(MARK), before).map_err(io)?;
        if !path.join("keys/operator.key").exists() {
            fs::write(path.join(MADE_KEY), "").map_err(io)?;
        }
        Ok(Self { path: path.to_owned(), over: false })
    }

    /// What was made stays.
    pub(super) fn succeeded(mut self) {
        self.over = true;
        for mark in [MARK, MADE_KEY] {
            let _ = fs::remove_file(self.path.join(mark));
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.over {
            undo(&self.path);
        }
    }
}

/// Takes away what an attempt made, and nothing else: it may have begun in a folder with other things in it.
fn undo(path: &Path) {
    let before = fs::read_to_string(path.join(MARK)).unwrap_or_default();
    NodeFolder::leave(path);
    // What is not there need not be taken away.
    for folder in ["disk", "content", "cache"] {
        let _ = fs::remove_dir_all(path.join(folder));
    }
    let _ = fs::remove_file(path.join("control.sock"));
    if before.is_empty() {
        for file in [FILE, "bocage.toml.new", "keys/node.key"] {
            let _ = fs::remove_file(path.join(file));
        }
        if path.join(MADE_KEY).exists() {
            // With the recovery keys beside it.
            let mine = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("operator.key");
            let keys = fs::read_dir(path.join("keys")).into_iter().flatten().flatten();
            keys.filter(|it| mine(&it.file_name())).for_each(|it| drop(fs::remove_file(it.path())));
        }
    } else {
        let _ = fs::write(path.join(FILE), before);
    }
    for mark in [MADE_KEY, MARK] {
        let _ = fs::remove_file(path.join(mark));
    }
    // Only if they are empty.
    let _ = fs::remove_dir(path.join("keys"));
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.path().display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    fn half_joined(path: &Path) {
        for file in
            ["keys/operator.key", "keys/node.key", "keys/certificate", "keys/founding", "keys/request", FILE, "disk/0"]
        {
            fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
            fs::write(path.join(file), "new").unwrap();
        }
    }

    #[test]
    fn an_attempt_that_fails_on_an_empty_machine_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node");
        let attempt = Attempt::begin(&path).unwrap();
        half_joined(&path);
        drop(attempt);
        assert!(!path.exists(), "{:?}", files(&path));
    }

    #[test]
    fn an_attempt_that_fails_leaves_what_was_there_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        for (file, text) in [(FILE, "mine"), ("keys/operator.key", "me"), ("keys/node.key", "it"), ("notes.txt", "x")] {
            fs::create_dir_all(home.path().join(file).parent().unwrap()).unwrap();
            fs::write(home.path().join(file), text).unwrap();
        }
        let before = files(home.path());
        let attempt = Attempt::begin(home.path()).unwrap();
        for file in ["keys/certificate", "keys/request", FILE, "disk/0"] {
            fs::create_dir_all(home.path().join(file).parent().unwrap()).unwrap();
            fs::write(home.path().join(file), "new").unwrap();
        }
        drop(attempt);
        assert_eq!(files(home.path()), before);
        assert_eq!(fs::read_to_string(home.path().join(FILE)).unwrap(), "mine");
    }

    #[test]
    fn an_attempt_that_was_cut_short_is_undone_by_the_next() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node");
        std::mem::forget(Attempt::begin(&path).unwrap());
        half_joined(&path);
        Attempt::clean_up(&path);
        assert!(!path.exists());
        let again = Attempt::begin(&path).unwrap();
        assert_eq!(files(&path).len(), 2, "the marks of the new attempt: {:?}", files(&path));
        half_joined(&path);
        again.succeeded();
        assert_eq!(files(&path).len(), 7);
    }
}
