//! The binary, as a person with a fresh home runs it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod hedge;
pub(crate) mod nodes;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// What a researcher begins with.
pub(crate) const LAB: &str = r#"
name = "lab"
story = "Three nodes, one crash."
duration_s = 15
settle_s = 45
[[population]]
jurisdiction = "FR"
operators = 3
[[app]]
name = "guestbook"
[workload]
clients = 2
think_ms = 300
[[fault]]
at_s = 3
for_s = 5
what = "crash"
who = { node = 1 }
"#;

/// Somebody with a home folder of his own, who has typed nothing yet.
pub(crate) struct Person {
    pub(crate) home: tempfile::TempDir,
    /// What the environment of his commands says beside the usual.
    says: Vec<(&'static str, &'static str)>,
}

/// What a command came to.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Person {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder"), says: Vec::new() }
    }

    /// The same, with a variable in the environment.
    pub(crate) fn who_says(name: &'static str, value: &'static str) -> Self {
        Self { says: vec![(name, value)], ..Self::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file into the home folder.
    pub(crate) fn has(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is in the home folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bocage"));
        command.args(args).current_dir(self.home.path()).stdin(Stdio::null());
        for name in ["BOCAGE_NODE", "BOCAGE_KEY", "BOCAGE_DIR", "BOCAGE_DISK_FAULTS", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        for (name, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache"), ("XDG_DATA_HOME", "data")] {
            command.env(name, self.path(folder));
        }
        command.env("HOME", self.home.path()).envs(self.says.iter().copied());
        command
    }

    /// Types a command.
    pub(crate) fn types(&self, args: &[&str]) -> Said {
        said(self.command(args).output().expect("the binary runs"))
    }

    /// Types a command that must work, with `--output json`.
    pub(crate) fn asks(&self, args: &[&str]) -> Value {
        let said = self.types(&[args, &["--output", "json"]].concat());
        assert_eq!(said.code, 0, "{args:?}: {}{}", said.out, said.err);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said.out))
    }
}

pub(crate) fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("stdout is text"),
        err: String::from_utf8(output.stderr).expect("stderr is text"),
    }
}

impl Said {
    /// It failed so, and said so on stderr only.
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert_eq!(self.out, "", "stdout is for results");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in:\n{}", self.err);
        }
    }
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli/ is in the repository")
}
