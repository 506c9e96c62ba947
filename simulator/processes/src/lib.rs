//! A mesh of real processes on one machine: the daemon that ships, once for each node, each on a host of its own with emulated
//! links (`bocage-links`). Their operators found the mesh together. It is what `bocage sim validate` holds the simulator
//! against, and what `bocage-bench cut` cuts apart; whom they ask, and what, is theirs.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::Child,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bocage_links::{Host, Links};
use bocage_node::{
    keyfile::{KeyFile, Kind},
    settings::{
        Entry, Folder, ListenSettings, MeshSettings, NodeSettings, OfferSettings, Settings, SettingsError, wall,
    },
    transport::peer_of,
};
use bocage_protocol::{
    id::NodeId,
    identity::Founding,
    resources::{Jurisdiction, Site},
};

/// Of each node's edge, on its own host.
pub const EDGE: &str = "127.0.0.1:8080";
const CONTROL: &str = "127.0.0.1:8081";
const MESH_PORT: u16 = 4_001;
/// Each node dials so many others first.
const BOOTSTRAP: usize = 2;
/// So many bytes of a log are shown.
const LOG_BYTES_SHOWN: usize = 1_500;

/// Where a node stands. Its folder and its host are called after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// What it is called; no two alike.
    pub name: String,
    /// Whose it is. Nodes of one operator say the same.
    pub operator: String,
    /// Which law it answers to.
    pub jurisdiction: Jurisdiction,
    /// The place that fails together.
    pub site: Site,
}

/// What each node offers at first.
#[must_use]
pub fn offer() -> OfferSettings {
    OfferSettings {
        cpu_millis: 2_000,
        memory_mib: 1_024,
        disk_gib: 10,
        currency: "EUR".parse().expect("EUR is a currency"),
        cpu_core_month: 400,
        memory_gib_month: 100,
        disk_gib_month: 5,
    }
}

/// A mesh that could not be founded, or a process that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    /// A node's folder.
    #[error("the folder of {node} cannot be made")]
    Folder {
        /// Whose.
        node: String,
        /// Why not.
        #[source]
        why: SettingsError,
    },
    /// A process.
    #[error("{node} cannot be started in {}: {why}", folder.display())]
    Start {
        /// Which node.
        node: String,
        /// Its folder.
        folder: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

/// All nodes. Their processes end before their hosts do.
#[derive(Debug)]
pub struct Mesh {
    bocage: PathBuf,
    home: PathBuf,
    seats: Vec<Seat>,
    ids: Vec<NodeId>,
    running: Vec<Mutex<Option<Running>>>,
    links: Links,
}

/// Killed when dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It is over either way.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Mesh {
    /// Founds a mesh: a folder for each seat below `home`, its host being the link's of the same number. No process runs yet.
    ///
    /// # Errors
    /// When a folder cannot be made.
    ///
    /// # Panics
    /// If there are not as many hosts as seats.
    pub fn found(
        bocage: &Path,
        home: &Path,
        name: &str,
        seats: Vec<Seat>,
        links: Links,
    ) -> Result<Self, ProcessesError> {
        assert_eq!(links.hosts().len(), seats.len(), "each seat has a host");
        let now = wall();
        let mut keys: BTreeMap<&str, KeyFile> = BTreeMap::new();
        for seat in &seats {
            keys.entry(&seat.operator).or_insert_with(|| KeyFile::generate(Kind::Operator, &seat.operator, now));
        }
        let operators = keys.values().map(|key| key.genesis().expect("an operator's key has a genesis"));
        let founding = Founding { name: name.to_owned(), operators: operators.collect(), founded: now };
        let entry = Entry { mesh: founding.mesh(), founding: Some(founding), request: None };
        let (mut there, mut ids): (Vec<String>, Vec<NodeId>) = (Vec::new(), Vec::new());
        for (seat, host) in seats.iter().zip(links.hosts()) {
            let at = format!("/ip4/{}/udp/{MESH_PORT}/quic-v1", host.address);
            let bootstrap = there.iter().rev().take(BOOTSTRAP).cloned().collect();
            let settings = settings(seat, &entry, bootstrap, &at);
            let key = &keys[seat.operator.as_str()];
            let folder = home.join(&seat.name);
            let made = Folder::create(&folder, &settings, key, now)
                .and_then(|node| Folder::enter(&folder, &entry, key, now).map(|()| node));
            let node = made.map_err(|why| ProcessesError::Folder { node: seat.name.clone(), why })?;
            there.push(format!("{at}/p2p/{}", peer_of(node).expect("it has just been made of a key")));
            ids.push(node);
        }
        let running = seats.iter().map(|_| Mutex::default()).collect();
        Ok(Self { bocage: bocage.to_owned(), home: home.to_owned(), seats, ids, running, links })
    }

    /// Starts a node's process, its log beside its folder's other files.
    ///
    /// # Errors
    /// When the machine does not start it.
    pub fn start(&self, node: usize) -> Result<(), ProcessesError> {
        let folder = self.folder(node);
        let start = || {
            let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
            let mut command = self.host(node).namespace.command(&self.bocage);
            command.args(["node", "run", "--color", "never", "--dir"]).arg(&folder);
            command.env_remove("BOCAGE_NODE").env_remove("BOCAGE_KEY").stdout(log.try_clone()?).stderr(log);
            command.spawn()
        };
        let started = start().map_err(|why| ProcessesError::Start {
            node: self.seats[node].name.clone(),
            folder: folder.clone(),
            why,
        });
        *self.running(node) = Some(Running(started?));
        Ok(())
    }

    /// `kill -9`, and when it was done.
    #[must_use]
    pub fn kill(&self, node: usize) -> Instant {
        let Some(mut running) = self.running(node).take() else { return Instant::now() };
        // Who cannot be killed is dead already.
        let _ = running.0.kill();
        Instant::now()
    }

    fn running(&self, node: usize) -> MutexGuard<'_, Option<Running>> {
        // Nothing between locking and unlocking is left half done.
        self.running[node].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All nodes, by number.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// What a node is called by others.
    #[must_use]
    pub fn id(&self, node: usize) -> NodeId {
        self.ids[node]
    }

    /// The machine of a node.
    #[must_use]
    pub fn host(&self, node: usize) -> &Host {
        &self.links.hosts()[node]
    }

    /// What is between the nodes.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Where a node keeps what it has.
    #[must_use]
    pub fn folder(&self, node: usize) -> PathBuf {
        self.home.join(&self.seats[node].name)
    }

    /// The last words of all nodes, for whoever reads why something failed.
    #[must_use]
    pub fn last_words(&self) -> String {
        let of = |node: usize| {
            let log = std::fs::read(self.folder(node).join("log")).unwrap_or_default();
            let tail = &log[log.len().saturating_sub(LOG_BYTES_SHOWN)..];
            format!("--- {}\n{}\n", self.seats[node].name, String::from_utf8_lossy(tail))
        };
        (0..self.seats.len()).map(of).collect()
    }
}

fn settings(seat: &Seat, entry: &Entry, bootstrap: Vec<String>, at: &str) -> Settings {
    Settings {
        mesh: MeshSettings { id: Some(entry.mesh), zone: "localhost".into(), bootstrap, wire_newest: None },
        node: NodeSettings { jurisdiction: seat.jurisdiction, site: seat.site.clone(), domains: Vec::new() },
        listen: ListenSettings {
            mesh: vec![format!("/ip4/0.0.0.0/udp/{MESH_PORT}/quic-v1"), format!("/ip4/0.0.0.0/tcp/{MESH_PORT}")],
            announce: vec![at.to_owned()],
            edge: EDGE.parse().expect("the edge's address is one"),
            control: CONTROL.parse().expect("the control address is one"),
            mdns: false,
        },
        offer: Some(offer()),
        relay: None,
    }
}
