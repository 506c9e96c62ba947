//! A demo of its own for each measurement, with a home of its own; its processes end with it.
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

/// The binary under measurement.
pub(crate) struct Bocage {
    path: PathBuf,
}

/// A running demo.
pub(crate) struct Demo {
    binary: PathBuf,
    home: tempfile::TempDir,
    pub(crate) said: Said,
    /// From the command to its document.
    pub(crate) took: Duration,
}

/// Types verbs for a demo that may end meanwhile.
pub(crate) struct Asker {
    binary: PathBuf,
    home: PathBuf,
}

impl Asker {
    /// Runs a verb, as JSON.
    pub(crate) fn run(&self, args: &[&str]) -> anyhow::Result<Value> {
        run(&self.binary, &self.home, args)
    }
}

/// How a verb ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// Its document; null where it has none.
    pub(crate) said: Value,
}

/// As `bocage demo --output json` says it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Said {
    pub(crate) nodes: Vec<Node>,
    pub(crate) app: App,
}

#[derive(Clone, Debug, Deserialize)]
#[allow(clippy::struct_field_names, reason = "as the document calls it")]
pub(crate) struct Node {
    pub(crate) operator: String,
    pub(crate) site: String,
    pub(crate) pid: u32,
    pub(crate) node_id: String,
    pub(crate) control: String,
    pub(crate) edge: String,
    pub(crate) dir: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct App {
    pub(crate) host: String,
}

impl Bocage {
    pub(crate) fn at(path: PathBuf) -> anyhow::Result<Self> {
        anyhow::ensure!(path.is_file(), "there is no {}", path.display());
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn demo(&self) -> anyhow::Result<Demo> {
        self.demo_of(&[])
    }

    /// A demo that is asked for with these flags.
    pub(crate) fn demo_of(&self, flags: &[&str]) -> anyhow::Result<Demo> {
        self.demo_in(flags, None)
    }

    /// The same, all of whose nodes find this in their environment.
    pub(crate) fn demo_in(&self, flags: &[&str], variable: Option<(&str, &str)>) -> anyhow::Result<Demo> {
        let home = tempfile::tempdir()?;
        let began = Instant::now();
        let dir = home.path().join("demo");
        let dir = dir.to_string_lossy();
        let args = [&["demo", "--detach", "--dir", &dir][..], flags].concat();
        let mut command = command(&self.path, home.path(), &args);
        command.envs(variable);
        let said = finish(command, &args)?;
        let took = began.elapsed();
        let said = serde_json::from_value(said).context("the demo's document")?;
        Ok(Demo { binary: self.path.clone(), home, said, took })
    }
}

impl Demo {
    /// Runs a verb, as JSON.
    pub(crate) fn run(&self, args: &[&str]) -> anyhow::Result<Value> {
        run(&self.binary, self.home.path(), args)
    }

    /// Runs a verb, as JSON, and says how it ended.
    pub(crate) fn try_run(&self, args: &[&str]) -> anyhow::Result<Ran> {
        let output = command(&self.binary, self.home.path(), args).output()?;
        let code = output.status.code().context("a verb that was killed")?;
        Ok(Ran { code, said: serde_json::from_slice(&output.stdout).unwrap_or_default() })
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn status(&self, through: &Node) -> anyhow::Result<Value> {
        self.run(&["status", "guestbook", "--node", &through.control])
    }

    /// The node that leads the app's cell.
    pub(crate) fn leader(&self) -> anyhow::Result<Node> {
        let status = self.status(&self.said.nodes[0])?;
        let leader = status["cells"][0]["leader"].as_str().context("nobody leads")?;
        self.node(leader)
    }

    pub(crate) fn node(&self, node_id: &str) -> anyhow::Result<Node> {
        // An answer names its node by the first characters only.
        let found = self.said.nodes.iter().find(|node| node.node_id.starts_with(node_id));
        found.cloned().context("a node that is none of the demo's")
    }

    /// Nodes on which an instance runs.
    pub(crate) fn serving(&self) -> anyhow::Result<Vec<String>> {
        let status = self.status(&self.said.nodes[0])?;
        let instances = status["instances"].as_array().context("no instances")?;
        let running = instances.iter().filter(|instance| instance["state"] == "running");
        Ok(running.filter_map(|instance| instance["node_id"].as_str().map(str::to_owned)).collect())
    }

    /// How many instances run, asked through a node without holding up this process's clients.
    pub(crate) async fn serving_through(&self, node: &Node) -> anyhow::Result<usize> {
        let (asker, control) = (self.asker(), node.control.clone());
        let ask = move || asker.run(&["status", "guestbook", "--node", &control]);
        let status = tokio::task::spawn_blocking(ask).await??;
        let instances = status["instances"].as_array().context("no instances")?;
        Ok(instances.iter().filter(|instance| instance["state"] == "running").count())
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Who types verbs elsewhere than on this process's thread.
    pub(crate) fn asker(&self) -> Asker {
        Asker { binary: self.binary.clone(), home: self.home.path().to_owned() }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let dir = self.home.path().join("demo");
        let _ = run(&self.binary, self.home.path(), &["demo", "stop", "--dir", &dir.to_string_lossy()]);
    }
}

/// `kill -9`.
pub(crate) fn kill(node: &Node) -> anyhow::Result<Instant> {
    let killed = Command::new("kill").args(["-9", &node.pid.to_string()]).status()?;
    anyhow::ensure!(killed.success(), "{} was not running", node.operator);
    Ok(Instant::now())
}

fn run(binary: &Path, home: &Path, args: &[&str]) -> anyhow::Result<Value> {
    finish(command(binary, home, args), args)
}

fn finish(mut command: Command, args: &[&str]) -> anyhow::Result<Value> {
    let output = command.output()?;
    let err = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "bocage {}: {err}", args.join(" "));
    serde_json::from_slice(&output.stdout).with_context(|| format!("bocage {}", args.join(" ")))
}

fn command(binary: &Path, home: &Path, args: &[&str]) -> Command {
    typed(Command::new(binary), home, args)
}

/// A verb, as somebody types it whose home this is, with its document as JSON.
pub(crate) fn typed(mut command: Command, home: &Path, args: &[&str]) -> Command {
    command.args(args).args(["--output", "json"]).stdin(Stdio::null()).env("HOME", home);
    for (name, folder) in [("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache"), ("XDG_DATA_HOME", "data")] {
        command.env(name, home.join(folder));
    }
    command.env_remove("BOCAGE_NODE").env_remove("BOCAGE_KEY");
    command
}
