//! Joining is all or nothing: whatever goes wrong on the way, what was made is taken away again, and a folder that was
//! there is as it was. Even a power cut leaves a mark, so that the next attempt cleans up first.
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bocage_node::settings::{FILE, Folder as NodeFolder};

use crate::failure::Failure;

/// There while an attempt is under way. Holds the settings as they were; empty: there were none.
const MARK: &str = "joining";
/// There before it, and as long. Names, one a line, what of all that an attempt may make was there already.
const THERE: &str = "joining.there";
/// Folders that an attempt may make.
const FOLDERS: [&str; 3] = ["disk", "content", "cache"];
/// Files that it may make, beside the operator's keys and what makes a node a member.
const FILES: [&str; 4] = ["control.sock", FILE, "bocage.toml.new", "keys/node.key"];

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
        let made = FOLDERS.into_iter().chain(FILES).map(str::to_owned);
        let there: Vec<String> = made.filter(|name| path.join(name).exists()).chain(operator_keys(path)).collect();
        keep(path, THERE, &there.join("\n")).map_err(io)?;
        keep(path, MARK, &before).map_err(io)?;
        Ok(Self { path: path.to_owned(), over: false })
    }

    /// What was made stays.
    pub(super) fn succeeded(mut self) {
        self.over = true;
        for mark in [MARK, THERE] {
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

/// A file that is there whole or not at all, whatever happens to the machine.
fn keep(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let next = path.join(format!("{name}.next"));
    let mut file = fs::File::create(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(next, path.join(name))
}

/// The operator's key in this folder, with what lies beside it: recovery keys, retired keys.
fn operator_keys(path: &Path) -> impl Iterator<Item = String> {
    let mine =
        |name: &OsStr| name.to_str().filter(|name| name.starts_with("operator.key")).map(|it| format!("keys/{it}"));
    let keys = fs::read_dir(path.join("keys")).into_iter().flatten().flatten();
    keys.filter_map(move |it| mine(&it.file_name()))
}

/// Takes away what an attempt made, and nothing else: it may have begun in a folder with other things in it. What is not
/// there need not be taken away.
fn undo(path: &Path) {
    let (Ok(there), Ok(before)) = (fs::read_to_string(path.join(THERE)), fs::read_to_string(path.join(MARK))) else {
        // Nobody says what was there: nothing is touched.
        let _ = fs::remove_file(path.join(MARK));
        return;
    };
    let there: BTreeSet<&str> = there.lines().collect();
    NodeFolder::leave(path);
    for folder in FOLDERS.into_iter().filter(|folder| !there.contains(folder)) {
        let _ = fs::remove_dir_all(path.join(folder));
    }
    let files = FILES.into_iter().map(str::to_owned).chain(operator_keys(path));
    for file in files.filter(|file| !there.contains(file.as_str())) {
        let _ = fs::remove_file(path.join(file));
    }
    if there.contains(FILE) {
        let _ = keep(path, FILE, &before);
    }
    for mark in [MARK, THERE] {
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
        let there = [
            (FILE, "mine"),
            ("keys/operator.key", "me"),
            ("keys/node.key", "it"),
            ("notes.txt", "x"),
            ("content/page.html", "a site's, not a node's"),
        ];
        for (file, text) in there {
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
    fn keys_that_lie_where_an_attempt_makes_its_own_are_not_taken_away_with_them() {
        let home = tempfile::tempdir().unwrap();
        let old = home.path().join("keys/operator.key.retired-1");
        fs::create_dir_all(home.path().join("keys")).unwrap();
        fs::write(&old, "of another year").unwrap();
        let attempt = Attempt::begin(home.path()).unwrap();
        half_joined(home.path());
        drop(attempt);
        assert_eq!(files(home.path()), [old.display().to_string()]);
    }

    #[test]
    fn a_mark_that_says_nothing_of_what_was_there_takes_nothing_away() {
        let home = tempfile::tempdir().unwrap();
        half_joined(home.path());
        let before = files(home.path());
        fs::write(home.path().join(MARK), "").unwrap();
        Attempt::clean_up(home.path());
        assert_eq!(files(home.path()), before);
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
