//! Nine operators with a node each, three under each law, each on a host of its own: France is far from the others.
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bocage_links::{Host, Link, Links};
use bocage_processes::{Mesh, Seat};
use bocage_protocol::resources::Site;
use serde_json::Value;

use crate::demo::{Bocage, typed};

/// One way between nodes of one side, and across.
const NEAR: Duration = Duration::from_millis(15);
const FAR: Duration = Duration::from_millis(235);
/// Whatever must happen before the cut begins happens within this.
const PATIENCE: Duration = Duration::from_mins(3);
/// A deploy in the cut is tried again for so long.
const DEPLOY_MAX: Duration = Duration::from_secs(30);

/// Who hosts, and under which law; the first three are France.
const OPERATORS: [(&str, &str); 9] = [
    ("alder", "FR"),
    ("birch", "FR"),
    ("cornel", "FR"),
    ("dogrose", "DE"),
    ("elder", "DE"),
    ("furze", "DE"),
    ("guelder", "BE"),
    ("hazel", "BE"),
    ("ivy", "BE"),
];
const FRANCE: [usize; 3] = [0, 1, 2];
const REST: [usize; 6] = [3, 4, 5, 6, 7, 8];

const COMPONENT: &[u8] = include_bytes!("../../../examples/guestbook/guestbook.wasm");

/// A side of the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    France,
    Rest,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::France => Self::Rest,
            Self::Rest => Self::France,
        }
    }
}

/// An app that was deployed.
#[derive(Clone, Debug)]
pub(super) struct Deployed {
    pub(super) name: String,
    /// Where it is at home.
    pub(super) side: Side,
    /// What clients call it.
    pub(super) host: String,
}

/// All nodes, running. Their processes end before their hosts do.
pub(super) struct Nodes<'a> {
    bocage: &'a Bocage,
    mesh: Mesh,
    home: tempfile::TempDir,
}

impl<'a> Nodes<'a> {
    /// Founds a mesh and starts all of it; `seed` is the links'.
    pub(super) fn start(bocage: &'a Bocage, seed: u64) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let links = Links::raise(&OPERATORS.map(|(name, _)| name), seed, Link::taking(NEAR))?;
        links.set(&FRANCE, &REST, Link::taking(FAR));
        links.set(&REST, &FRANCE, Link::taking(FAR));
        let mut seats = Vec::new();
        for (name, law) in OPERATORS {
            let (name, site) = (name.to_owned(), Site(name.to_owned()));
            seats.push(Seat { operator: name.clone(), name, jurisdiction: law.parse()?, site });
        }
        let mesh = Mesh::found(bocage.path(), home.path(), "cut", seats, links)?;
        (0..OPERATORS.len()).try_for_each(|node| mesh.start(node))?;
        let this = Self { bocage, mesh, home };
        until("all know each other", || this.all_know_each_other()).inspect_err(|error| this.show_logs(error))?;
        Ok(this)
    }

    /// Each operator, and where its node runs.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (&'static str, &Host)> {
        OPERATORS.iter().map(|(name, _)| *name).zip(self.mesh.links().hosts())
    }

    /// Where clients of a side are. In neither case is it the node through which apps are deployed there.
    pub(super) fn client_of(&self, side: Side) -> &Host {
        self.mesh.host(match side {
            Side::France => FRANCE[1],
            Side::Rest => REST[1],
        })
    }

    pub(super) fn cut(&self) {
        self.mesh.links().cut_off(&FRANCE);
    }

    pub(super) fn heal(&self) {
        self.mesh.links().rejoin(&FRANCE);
    }

    /// Deploys a guestbook through a node of its home. `places`: what stands in `[place]`, and any tables behind it.
    pub(super) fn deploy(&self, name: &str, side: Side, places: &str) -> anyhow::Result<Deployed> {
        let folder = self.home.path().join("apps").join(name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("guestbook.wasm"), COMPONENT)?;
        let manifest = format!(
            "app = \"{name}\"\n[component]\npath = \"guestbook.wasm\"\n[scale]\nmin = 2\nmax = 4\n[resources]\n\
             cpu = \"0.05\"\nmemory = \"16MiB\"\n[place]\nvoters = 3\n{places}"
        );
        std::fs::write(folder.join("bocage.toml"), manifest)?;
        let began = Instant::now();
        loop {
            match self.ask(side, &["deploy", &folder.to_string_lossy()]) {
                Ok(said) => {
                    let host = said["host"].as_str().context("a deploy names its host")?.to_owned();
                    return Ok(Deployed { name: name.to_owned(), side, host });
                }
                Err(error) if began.elapsed() > DEPLOY_MAX => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(250)),
            }
        }
    }

    /// Until it is whole at home, and a copy and an instance are on the other side.
    pub(super) fn until_away(&self, app: &Deployed) -> anyhow::Result<()> {
        until(&format!("{} is away too", app.name), || {
            let status = self.ask(app.side, &["status", &app.name])?;
            let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
            let is_away = |it: &Value| (it["jurisdiction"] == "FR") == (app.side == Side::Rest);
            let replicas = list(&status["cells"][0]["replicas"]);
            let runs = |it: &Value| it["state"] == "running";
            let instances: Vec<Value> = list(&status["instances"]).into_iter().filter(runs).collect();
            Ok(replicas.iter().filter(|it| it["role"] == "voter").count() == 3
                && replicas.iter().any(|it| it["role"] == "learner" && is_away(it))
                && instances.iter().any(is_away)
                && instances.iter().any(|it| !is_away(it)))
        })
    }

    /// The last words of all nodes, for whoever reads why a run failed.
    pub(super) fn show_logs(&self, why: &anyhow::Error) {
        eprintln!("{why:#}\n{}", self.mesh.last_words());
    }

    /// Runs a verb on a host of this side, through its node.
    fn ask(&self, side: Side, words: &[&str]) -> anyhow::Result<Value> {
        self.ask_at(
            match side {
                Side::France => FRANCE[0],
                Side::Rest => REST[0],
            },
            words,
        )
    }

    fn ask_at(&self, number: usize, words: &[&str]) -> anyhow::Result<Value> {
        let command = self.mesh.host(number).namespace.command(self.bocage.path());
        let folder = self.mesh.folder(number);
        let node = ["--node", &folder.to_string_lossy()].map(str::to_owned);
        let words: Vec<&str> = words.iter().copied().chain(node.iter().map(String::as_str)).collect();
        let output = typed(command, self.home.path(), &words).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bocage {}: {said}", words.join(" "));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Whom a node must know: all under its law; and it has links.
    fn all_know_each_other(&self) -> anyhow::Result<bool> {
        for (number, (_, law)) in OPERATORS.iter().enumerate() {
            let status = self.ask_at(number, &["node", "status"])?;
            let alike = OPERATORS.iter().filter(|(_, other)| other == law).count();
            if status["known_nodes"] != alike || status["peers"].as_array().is_none_or(Vec::is_empty) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn until(what: &str, so: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let said = so();
        if matches!(said, Ok(true)) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            said.with_context(|| format!("{what}: not within {} s", PATIENCE.as_secs()))?;
            anyhow::bail!("{what}: not within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}
