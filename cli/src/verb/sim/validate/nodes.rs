//! A mesh of real processes that stands where a scenario's nodes do, and what is asked of it before and between runs.
use std::{
    future::Future,
    thread,
    time::{Duration, Instant},
};

use bocage_links::{Link, Links};
use bocage_node::control::api::AppStatus;
use bocage_processes::{Mesh, ProcessesError, Seat};
use bocage_protocol::id::CellId;
use bocage_simulator::{Layout, validate::QUIET};
use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::{
    control::Control,
    failure::{Exit, Failure},
    manifest::{self, Package},
    say::Say,
    target::Target,
    tenant::Tenant,
    verb::{deploy, keys::make::Recovery},
};

/// An app that does one write for each request.
const COMPONENT: &[u8] = include_bytes!("../../../../../examples/visits/visits.wasm");
/// Whatever must come about between runs comes within this.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A node of a large mesh keeps links to a few.
const LINKED_MIN: usize = 4;

/// See the module.
pub(super) struct Nodes {
    pub(super) mesh: Mesh,
    pub(super) controls: Vec<Control>,
    tenant: Tenant,
    runtime: Runtime,
    pub(super) say: Say,
    /// Goes after the processes that write into it.
    _home: tempfile::TempDir,
}

/// The app that is written to.
pub(super) struct App {
    pub(super) cell: CellId,
    /// What clients call it.
    pub(super) host: String,
    voters: usize,
}

/// Who serves the app.
pub(super) struct Served {
    pub(super) leader: usize,
    pub(super) voters: Vec<usize>,
}

impl Nodes {
    /// Founds the mesh, starts its processes, and waits until all know each other.
    pub(super) fn raise(layout: &Layout, seed: u64, say: Say) -> Result<Self, Failure> {
        let io = |error: std::io::Error| Failure::io("a folder for the processes", &error);
        let home = tempfile::Builder::new().prefix("bocage-validate-").tempdir().map_err(io)?;
        let bocage = std::env::current_exe().map_err(|error| Failure::io("this program's own file", &error))?;
        let names: Vec<String> = (0..layout.seats.len()).map(|number| format!("node-{number}")).collect();
        let seats = names.iter().zip(&layout.seats).map(|(name, seat)| Seat {
            name: name.clone(),
            operator: seat.operator.clone(),
            jurisdiction: seat.jurisdiction,
            site: seat.site.clone(),
        });
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let links = Links::raise(&names, seed, Link::default())
            .map_err(|error| Failure::new(Exit::Usage, "links", error.to_string()))?;
        for way in &layout.ways {
            // Drawn evenly, so that they are as late on the average as in the simulator.
            let link = Link { delay: way.delay, jitter: 2 * way.late, ..Link::default() };
            links.set(&[way.from], &[way.to], link);
        }
        let mesh =
            Mesh::found(&bocage, home.path(), "validate", seats.collect(), links).map_err(|error| unfounded(&error))?;
        let quiet = Say { quiet: true, verbose: 0, ..say };
        let of = |node| Control { target: Target::socket(&mesh.folder(node)), signer: None, say: quiet };
        let controls: Vec<Control> = (0..layout.seats.len()).map(of).collect();
        let key = home.path().join("tenant.key");
        let (tenant, _) = Tenant::load_or_make(Some(&key), None, Recovery::default())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::io("a runtime", &error))?;
        (0..layout.seats.len()).try_for_each(|node| mesh.start(node)).map_err(|error| unfounded(&error))?;
        let this = Self { mesh, controls, tenant, runtime, say, _home: home };
        this.until_whole().inspect_err(|_| say.detail(this.mesh.last_words()))?;
        Ok(this)
    }

    /// Does this to its end.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Lets the mesh come to rest, as long as the simulator's does.
    pub(super) fn rest(&self) {
        self.say.step(format!("  all are there; {} s of rest", QUIET.as_secs()));
        thread::sleep(QUIET);
    }

    /// A process again, and until all know each other.
    pub(super) fn restart(&self, node: usize) -> Result<(), Failure> {
        self.mesh.start(node).map_err(|error| unfounded(&error))?;
        self.until_whole()
    }

    /// Deploys an app as the scenario has it, and waits until it is whole and at rest.
    pub(super) fn deploy(&self, layout: &Layout) -> Result<App, Failure> {
        let spec = layout.app.as_ref().expect("the layout of this question has an app");
        let home: Vec<String> = spec.home.iter().map(|law| format!("\"{law}\"")).collect();
        let home = if home.is_empty() { String::new() } else { format!("home = [{}]\n", home.join(", ")) };
        let text = format!(
            "app = \"{}\"\n[component]\npath = \"visits.wasm\"\n[scale]\nmin = {}\nmax = {}\n[resources]\ncpu = \
             \"0.05\"\nmemory = \"16MiB\"\n[place]\nvoters = {}\nallow_degraded = {}\n{home}",
            spec.name, spec.min, spec.max, spec.voters, spec.allow_degraded
        );
        let package = Package::new(manifest::parse("[[app]]", &text)?, Bytes::from_static(COMPONENT));
        let control = &self.controls[0];
        let began = Instant::now();
        let deployed = loop {
            match self.wait(deploy::release(control, &self.tenant, &package)) {
                Err(failure)
                    if (failure.code == "unplaceable" || failure.is_passing()) && began.elapsed() < PATIENCE =>
                {
                    thread::sleep(LOOK_EVERY);
                }
                deployed => break deployed?,
            }
        };
        let cell = deployed.cell.parse().expect("a node names cells by their ids");
        let app = App { cell, host: deployed.host, voters: spec.voters as usize };
        self.until_served(&app, spec.min as usize)?;
        self.rest();
        Ok(app)
    }

    /// Until the app has all its voters, a leader, and so many instances that run.
    pub(super) fn until_served(&self, app: &App, instances: usize) -> Result<Served, Failure> {
        let (mut served, mut asked) = (None, 0);
        until("the app is whole", || {
            // Whoever is asked may be the one that is just back.
            asked += 1;
            let control = &self.controls[asked % self.controls.len()];
            let Ok(status) = self.wait(control.app_status(app.cell)) else { return Ok(false) };
            let runs = status.instances.iter().filter(|instance| instance.state == "running").count();
            served = self.served(&status).filter(|served| served.voters.len() == app.voters && runs >= instances);
            Ok(served.is_some())
        })?;
        served.ok_or_else(|| Failure::new(Exit::Usage, "processes", "the app is not served"))
    }

    fn served(&self, status: &AppStatus) -> Option<Served> {
        let numbered = |id: &str| (0..self.controls.len()).find(|node| self.mesh.id(*node).to_string() == id);
        let cell = status.cells.first()?;
        let leader = numbered(cell.leader.as_deref()?)?;
        let voters = cell.replicas.iter().filter(|replica| replica.role == "voter" && replica.applied.is_some());
        Some(Served { leader, voters: voters.filter_map(|replica| numbered(&replica.node_id)).collect() })
    }

    fn until_whole(&self) -> Result<(), Failure> {
        let seats = self.mesh.seats();
        until("all nodes know each other", || {
            for (seat, control) in seats.iter().zip(&self.controls) {
                let Ok(status) = self.wait(control.status()) else { return Ok(false) };
                let alike = seats.iter().filter(|other| other.jurisdiction == seat.jurisdiction).count();
                if status.known_nodes != alike || status.peers.len() < LINKED_MIN.min(seats.len() - 1) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

fn until(what: &str, mut so: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let began = Instant::now();
    while !so()? {
        if began.elapsed() > PATIENCE {
            let what = format!("{what}: not within {} s", PATIENCE.as_secs());
            return Err(Failure::new(Exit::Usage, "processes", what).next("what each process said last: -v"));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn unfounded(error: &ProcessesError) -> Failure {
    let why = std::error::Error::source(error).map(|why| format!(": {why}")).unwrap_or_default();
    Failure::new(Exit::Usage, "processes", format!("{error}{why}"))
}
