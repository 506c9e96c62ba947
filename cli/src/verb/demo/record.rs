//! What is remembered of a demo: `demo.json` in its folder, the same document that `--output json` prints; and, beside the
//! demos in the user's cache, which others there are.
use std::{
    fs,
    path::{Path, PathBuf},
};

use bocage_node::settings::wall;
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Exit, Failure},
    folders,
};

/// In a demo's folder.
pub(super) const FILE: &str = "demo.json";

/// A demo.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) dir: PathBuf,
    pub(crate) nodes: Vec<NodeRecord>,
    pub(crate) app: Option<AppRecord>,
    /// The node that led the app's cell when the demo was up.
    #[serde(default)]
    pub(crate) leader: Option<String>,
}

/// A node of a demo.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    pub(crate) operator: String,
    pub(crate) jurisdiction: String,
    pub(crate) site: String,
    pub(crate) pid: u32,
    pub(crate) node_id: String,
    /// `host:port`, for `--node`.
    pub(crate) control: String,
    /// `host:port`, for browsers.
    pub(crate) edge: String,
    pub(crate) dir: PathBuf,
}

/// The app of a demo.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AppRecord {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) url: String,
}

impl Record {
    /// The demo in a folder, if there is one.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>, Failure> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::io(path.display(), &error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::new(Exit::Failed, "demo", format!("{}: {error}", path.display()))
                .next("of another version? name another folder with --dir")
        })
    }

    pub(super) fn save(&self) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).expect("a record is plain JSON");
        let (path, beside) = (self.dir.join(FILE), self.dir.join("demo.json.new"));
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|error| Failure::io(path.display(), &error))
    }

    pub(super) fn is_running(&self) -> bool {
        self.nodes.iter().any(NodeRecord::is_alive)
    }
}

impl NodeRecord {
    /// Whether its process is there, and is still this node: pids are used again.
    pub(crate) fn is_alive(&self) -> bool {
        let told = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let dir = self.dir.as_os_str().as_encoded_bytes();
        self.pid != 0 && told.split(|byte| *byte == 0).any(|word| word == dir)
    }
}

/// Remembers a demo that is not in the cache itself.
pub(super) fn remember(dir: &Path) {
    let Ok(demos) = folders::demos() else { return };
    if dir.starts_with(demos.canonicalize().as_ref().unwrap_or(&demos)) {
        return;
    }
    // Forgetting it costs a default: no reason to fail.
    let _ = fs::create_dir_all(&demos);
    let _ = fs::write(demos.join(wall().0.to_string()), dir.as_os_str().as_encoded_bytes());
}

/// Known demos, newest first.
fn known() -> Vec<Record> {
    let Some(entries) = folders::demos().ok().and_then(|demos| fs::read_dir(demos).ok()) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort_unstable();
    let dir_of = |path: PathBuf| {
        if path.is_dir() { Some(path) } else { fs::read_to_string(path).ok().map(PathBuf::from) }
    };
    paths.into_iter().rev().filter_map(dir_of).filter_map(|dir| Record::load(&dir).ok().flatten()).collect()
}

/// The newest demo of which a node runs.
pub(crate) fn newest_running() -> Option<Record> {
    known().into_iter().find(Record::is_running)
}

/// The folder of the demo node with this control address.
pub(crate) fn folder_of(control: &str) -> Option<PathBuf> {
    let running = known().into_iter().filter(Record::is_running);
    running.flat_map(|demo| demo.nodes).find(|node| node.control == control).map(|node| node.dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_another_program_has_now_is_no_node() {
        let node = NodeRecord {
            operator: "alder".into(),
            jurisdiction: "FR".into(),
            site: "paris".into(),
            pid: std::process::id(),
            node_id: String::new(),
            control: String::new(),
            edge: String::new(),
            dir: PathBuf::from("/no/such/folder"),
        };
        assert!(!node.is_alive());
    }

    #[test]
    fn a_demo_reads_back_with_its_names_as_promised() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Record::load(dir.path()).unwrap().is_none());
        let app = AppRecord { name: "guestbook".into(), host: "h".into(), url: "u".into() };
        let record = Record { dir: dir.path().to_owned(), nodes: Vec::new(), app: Some(app), leader: None };
        record.save().unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        for name in ["\"dir\"", "\"nodes\"", "\"app\"", "\"name\"", "\"host\"", "\"url\""] {
            assert!(text.contains(name), "{text}");
        }
        assert!(!Record::load(dir.path()).unwrap().unwrap().is_running());
    }
}
