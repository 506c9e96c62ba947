//! A node, put together: folder → disk → store and machine → links → runtime → edge and control API.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bocage_protocol::{
    cell::{Applied, Query, Write},
    command::{Command, Reply},
    config::Config,
    frame::Urgency,
    id::{ContentHash, InstanceId, NodeId, OpId},
    identity::Keypair,
    io::{Input, InstanceChange, Order, Start},
    node::Node,
    random::Seed,
    refusal::{Code, Refusal},
    store::{self, Store, StoreConfig},
};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    clock::Clock,
    content::Contents,
    control::{self, Control, auth::Door},
    disk::{DirError, Disk, FaultFile, Layer},
    driver::{Driver, Parts},
    edge,
    effects::{Blocks, Effects, Runtime},
    handle::{self, Ask, NodeHandle},
    inbox::{self, Inlet},
    leaving::{self, Leave},
    runtime::{Compiler, Eventually, Logs, Read, Source, State, WasmConfig, WasmRuntime},
    sealing,
    settings::{Folder, RelaySettings, SettingsError, wall},
    sockets::Kept,
    tape::{FileTape, TapeError, TapeSettings},
    transfer::Transfers,
    transport::{self, Mesh, Metrics, TransportError, node_of_address},
};

/// A guest's read or write is answered within this.
const STATE_MAX: Duration = Duration::from_secs(20);
/// A node that stops lets others lead its cells first, within this.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
/// Edges and clients need so long to hear that nothing new is begun here.
const LINGER: Duration = Duration::from_secs(1);
/// Requests that were begun end within this when the node stops, or are broken off.
const FINISH_MAX: Duration = Duration::from_secs(10);
/// How often what instances used is told to the machine.
const READINGS_EVERY: Duration = Duration::from_secs(10);

/// Why a node does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Its disk.
    #[error(transparent)]
    Disk(#[from] DirError),
    /// Its links.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A port.
    #[error(
        "{what} cannot listen on {addr}: {source}. Another process has the port? Change listen.{what} in bocage.toml"
    )]
    Port {
        /// `edge` or `control`.
        what: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// An address in `mesh.bootstrap`.
    #[error("mesh.bootstrap: {0:?} is not a multiaddress that ends in /p2p/<peer id>")]
    Bootstrap(String),
    /// Its tape.
    #[error(transparent)]
    Tape(#[from] TapeError),
    /// The runtime.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::wasm::OpenError),
    /// Anything else that the system said no to.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running node.
pub struct Daemon {
    /// What it can be asked.
    pub node: NodeHandle,
    /// Who it is.
    pub id: NodeId,
    /// Where HTTP comes in.
    pub edge: SocketAddr,
    /// Where the control API is.
    pub control: SocketAddr,
    driver: Driver,
    mesh: Mesh,
    leave: Leave,
    left: watch::Receiver<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Daemon {
    /// Starts the node of a folder, whose components are compiled so, and records it if that is asked for. On a tokio runtime.
    ///
    /// # Errors
    /// When anything is in the way: says what, and what to do.
    pub async fn start(path: &Path, compiler: Compiler, tape: Option<&TapeSettings>) -> Result<Self, StartError> {
        // A node that was off for long may hold the key that makes it a member again.
        Folder::renew(path, wall())?;
        let folder = Folder::open(path, wall())?;
        let settings = &folder.settings;
        let me = folder.identity.node();
        let mut kept = Kept::from_environment();
        let (edge_port, edge_kept) = listen("edge", settings.listen.edge, &mut kept).await?;
        let (control_port, _) = listen("control", settings.listen.control, &mut kept).await?;
        for addr in kept.left() {
            tracing::warn!(%addr, "a socket was handed over that is neither listen.edge nor listen.control of bocage.toml");
        }
        let io = |what| move |source| StartError::Io { what, source };
        let (edge_addr, control_addr) = (
            edge_port.local_addr().map_err(io("the edge's address"))?,
            control_port.local_addr().map_err(io("the control API's address"))?,
        );

        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let clock = Clock::start();
        let (inlet, inbox) = inbox::channel();
        let (node, handles) = handle::channel(clock);
        let refused = node.recoveries_refused().clone();
        registry.register("bocage_recoveries_refused", "Recoveries of apps that were shown and do not count", refused);

        let contents = Arc::new(Contents::open(&path.join("content")).map_err(io("the content store"))?);
        let disk_folder = path.join("disk");
        Disk::create_marker(&disk_folder, me)?;
        let reports = inlet.clone();
        // An error says that the driver has stopped.
        let report = move |report| {
            let _ = reports.block(report);
        };
        let faults = FaultFile::from_environment(path)?.map(|faults| Box::new(faults) as Box<dyn Layer>);
        let (disk, segments) = Disk::open_with(&disk_folder, me, faults, report)?;
        let config = transport::Config {
            listen: settings.listen.mesh.clone(),
            mdns: settings.listen.mdns,
            relay: settings.relay.as_ref().and_then(RelaySettings::config),
            wire: settings.mesh.wire(),
            ..transport::Config::default()
        };
        let mesh = Mesh::start(&config, &folder.node_key.keys, inlet.clone(), metrics.clone())?;
        let transfers = Transfers::start(mesh.clone(), contents.clone(), inlet.clone());

        let logs = Arc::new(Logs::new());
        let guest_state = Arc::new(GuestState { node: node.clone(), metrics: metrics.clone() });
        let bounds = WasmConfig { compiler, ..WasmConfig::new(path.join("cache")) };
        let runtime = Arc::new(WasmRuntime::new(bounds, guest_state, logs.clone())?);
        let instances = Instances {
            runtime: runtime.clone(),
            contents: contents.clone(),
            inlet: inlet.clone(),
            keys: folder.node_key.keys.clone(),
            tasks: tokio::runtime::Handle::current(),
        };

        let mut machine = machine_config(&folder)?;
        let seed = random_seed();
        let tape = tape.map(|settings| FileTape::create(settings, &mut machine, seed)).transpose()?;
        // Not the node's own seed, which is on its tape: the key of a new disk comes from this one, and never leaves it.
        let store = Store::open(StoreConfig::default(), random_seed().split("store"), segments, clock.now());
        let effects = Effects {
            network: Box::new(mesh.clone()),
            blocks: Box::new(Verbs { disk, inlet: inlet.clone() }),
            contents: Box::new(transfers),
            runtime: Box::new(instances),
            tape: tape.map(|tape| Box::new(tape) as _),
        };
        let open = move |boot, now| Node::open(machine, seed, boot, now);
        let driver = Driver::start(Parts { store, open, effects, inbox, handles, clock }).map_err(io("a thread"))?;

        let entry = Arc::new(edge::Entry::new(me, node.clone(), mesh.clone(), runtime.clone()));
        let (leave, leaving) = leaving::begin();
        let porch = Arc::new(edge::Porch::new(me, runtime.clone(), leaving.clone()));
        let (leaves, left) = watch::channel(false);
        let control = Arc::new(Control {
            me,
            mesh_id: folder.mesh,
            zone: settings.mesh.zone.clone(),
            edge: edge_addr,
            node: node.clone(),
            mesh: mesh.clone(),
            content: contents,
            logs,
            door: Door::new(folder.identity.certificate().operator_id()),
            bodies: control::Bodies::default(),
            metrics: Arc::new(registry),
            carried: metrics,
            relays: config.relay.is_some(),
            folder: path.to_owned(),
            leaves,
        });
        let socket = control::listen_unix(&control::socket_of(path)).map_err(io("the control socket"))?;
        let peers_control = control.clone();
        let tasks = vec![
            tokio::spawn(edge::serve(edge_port, edge_kept, entry, leaving)),
            tokio::spawn(porch.serve(mesh.clone())),
            tokio::spawn(control::serve(control, socket, control_port)),
            tokio::spawn(control::serve_peers(peers_control)),
            tokio::spawn(tell_readings(runtime, inlet)),
            tokio::spawn(renew_certificate(node.clone(), path.to_owned())),
        ];
        Ok(Self { node, id: me, edge: edge_addr, control: control_addr, driver, mesh, leave, left, tasks })
    }

    /// Runs until told to stop, until it has left its mesh, or until the machine breaks or its disk fails. It lets others lead its cells and
    /// finishes what it began before it ends; see the constants above for how long that may take.
    ///
    /// # Errors
    /// When the machine broke, or the disk failed.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), crate::driver::DriverError> {
        let in_order = tokio::select! {
            () = stop => true,
            Ok(_) = self.left.wait_for(|left| *left) => true,
            () = self.node.stopped() => false,
        };
        if in_order {
            self.part().await;
        } else {
            // Who waits here was told when the machine ended; the answers still have to leave.
            self.leave.part();
            self.leave.close(LINGER).await;
        }
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.driver.stop();
        let ended = tokio::task::spawn_blocking(move || self.driver.join()).await;
        self.mesh.stop();
        ended.unwrap_or(Err(crate::driver::DriverError::Broken))
    }
}

impl Daemon {
    /// Others lead, others serve, and what was begun ends.
    async fn part(&self) {
        let began = tokio::time::Instant::now();
        // An error says that the machine has stopped: then there is nothing to hand over.
        let _ = self.node.ask(Ask::within(HAND_OVER_MAX), Command::Depart).await;
        self.leave.part();
        let mut idle = false;
        while began.elapsed() < HAND_OVER_MAX {
            let Ok(Reply::Status(status)) = self.node.ask(Ask::within(HAND_OVER_MAX), Command::Status).await else {
                break;
            };
            idle = status.leases == 0 && self.leave.is_idle();
            if status.to_hand_over == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if !idle {
            tokio::time::sleep_until(began + LINGER).await;
        }
        if !self.leave.close(FINISH_MAX).await {
            tracing::warn!("requests are broken off that took longer than {} s to end", FINISH_MAX.as_secs());
        }
    }
}

/// A socket that a supervisor keeps, or one of our own; and whether it is kept.
async fn listen(what: &'static str, addr: SocketAddr, kept: &mut Kept) -> Result<(TcpListener, bool), StartError> {
    let error = |source| StartError::Port { what, addr, source };
    if let Some(socket) = kept.take(addr) {
        socket.set_nonblocking(true).map_err(error)?;
        return Ok((TcpListener::from_std(socket).map_err(error)?, true));
    }
    Ok((TcpListener::bind(addr).await.map_err(error)?, false))
}

/// What the machine is told.
fn machine_config(folder: &Folder) -> Result<Config, StartError> {
    let settings = &folder.settings;
    let mut bootstrap = Vec::new();
    for text in &settings.mesh.bootstrap {
        let (node, address) = node_of_address(text).ok_or_else(|| StartError::Bootstrap(text.clone()))?;
        bootstrap.push((node, vec![address]));
    }
    Ok(Config {
        mesh: folder.mesh,
        identity: folder.identity.clone(),
        founding: folder.founding.clone(),
        request: folder.request.clone(),
        zone: settings.mesh.zone.clone(),
        bootstrap,
        announce: settings.listen.announce.clone(),
        relays: settings.relay.is_some_and(|relay| relay.offer),
        offer: settings.offer.map(|offer| offer.terms()),
        cell: bocage_protocol::cell::CellConfig::default(),
        wire: settings.mesh.wire(),
        membership: bocage_protocol::membership::Config::default(),
        // No setting leads here: nodes that decide differently disagree.
        policies: bocage_protocol::policies::Policies::default(),
    })
}

fn random_seed() -> Seed {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system gives randomness");
    Seed(seed)
}

/// The disk, as the driver asks it.
struct Verbs {
    disk: Disk,
    inlet: Inlet,
}

impl Blocks for Verbs {
    fn submit(&mut self, verb: store::Output) {
        if let Err(answer) = self.disk.perform(verb) {
            // An error says that the driver has stopped.
            let _ = self.inlet.block(answer);
        }
    }
}

/// The state of cells, as guests use it.
struct GuestState {
    node: NodeHandle,
    metrics: Metrics,
}

impl State for GuestState {
    fn read(&self, instance: InstanceId, _: u64, seen: Option<u64>, queries: Vec<Query>) -> Eventually<'_, Read> {
        Box::pin(async move {
            let command = Command::GuestRead { instance, seen, queries };
            match self.node.ask(Ask::within(STATE_MAX), command).await? {
                Reply::GuestRead { answered, age, stale } => {
                    self.metrics.read(age.is_some(), stale);
                    Ok(Read { answered, age })
                }
                _ => Err(Refusal::definite(Code::Unsupported, "the node answered another question: this is a bug")),
            }
        })
    }

    fn write(&self, instance: InstanceId, generation: u64, op: OpId, writes: Vec<Write>) -> Eventually<'_, Applied> {
        Box::pin(async move {
            let command = Command::Write { instance, generation, writes };
            let ask = Ask { op: Some(op), ..Ask::within(STATE_MAX) };
            match self.node.ask(ask, command).await? {
                Reply::Applied(applied) => Ok(applied),
                _ => Err(Refusal::indefinite(Code::Unsupported, "the node answered another question: this is a bug")),
            }
        })
    }
}

/// Carries the machine's orders to the runtime and reports what becomes of them.
struct Instances {
    runtime: Arc<WasmRuntime>,
    contents: Arc<Contents>,
    inlet: Inlet,
    keys: Keypair,
    tasks: tokio::runtime::Handle,
}

impl Runtime for Instances {
    fn order(&self, order: Order) {
        match order {
            Order::Start(start) => self.start(*start),
            Order::Stop { instance, generation } => {
                self.runtime.stop(instance, generation);
                self.report(instance, generation, InstanceChange::Stopped);
            }
        }
    }
}

impl Instances {
    fn start(&self, mut start: Start) {
        let (instance, generation) = (start.instance, start.generation);
        match sealing::open_all(&start.secrets, &self.keys) {
            Ok(secrets) => {
                let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
                start.env.extend(secrets.into_iter().map(|(name, value)| (name, text(value))));
            }
            Err(error) => {
                tracing::warn!(%instance, %error, "the app starts without its secrets");
            }
        }
        let source = match content_of(&start) {
            Some(content) => Source::Path(self.contents.path(content)),
            None => Source::Bytes(bytes::Bytes::new()),
        };
        let started = self.runtime.start(start, source);
        let inlet = self.inlet.clone();
        self.tasks.spawn(async move {
            let change = match started.await {
                Ok(()) => InstanceChange::Started,
                Err(crate::runtime::StartError::Superseded) => return,
                Err(error) => InstanceChange::Failed(error.to_string()),
            };
            let input = Input::Instance { id: instance, generation, change };
            // An error says that the driver has stopped.
            let _ = inlet.input(Urgency::Request, input).await;
        });
    }

    fn report(&self, id: InstanceId, generation: u64, change: InstanceChange) {
        let inlet = self.inlet.clone();
        self.tasks.spawn(async move {
            let _ = inlet.input(Urgency::Request, Input::Instance { id, generation, change }).await;
        });
    }
}

fn content_of(start: &Start) -> Option<ContentHash> {
    use bocage_protocol::cell::Workload;
    match &start.workload {
        Workload::Component { hash, .. } | Workload::Site { hash, .. } => Some(*hash),
        Workload::Container { .. } => None,
    }
}

async fn tell_readings(runtime: Arc<WasmRuntime>, inlet: Inlet) {
    loop {
        tokio::time::sleep(READINGS_EVERY).await;
        for reading in runtime.take_readings() {
            if inlet.input(Urgency::Bulk, Input::Reading(reading)).await.is_err() {
                return;
            }
        }
    }
}

/// Makes a new certificate when the machine says that it is time, if the operator's key lies in the node's folder.
async fn renew_certificate(node: NodeHandle, path: PathBuf) {
    let mut ending = node.recertify();
    while ending.changed().await.is_ok() {
        let Some(expires) = *ending.borrow_and_update() else { continue };
        let folder = path.clone();
        let made = tokio::task::spawn_blocking(move || Folder::renew(&folder, wall())).await;
        let days = expires.since(wall()).as_secs() / 86_400;
        match made {
            Ok(Ok(Some(certificate))) => {
                let command = Command::Certificate(Box::new(certificate));
                match node.ask(Ask::within(STATE_MAX), command).await {
                    Ok(_) => tracing::info!("this node's certificate was renewed"),
                    Err(refusal) => tracing::error!(%refusal, "this node's new certificate was refused"),
                }
            }
            Ok(Ok(None)) => tracing::warn!(
                "this node's certificate ends in {days} days, and its operator's key is not in its folder: run bocage node \
                 renew --dir {} --operator-key FILE",
                path.display()
            ),
            Ok(Err(error)) => tracing::error!(%error, "this node's certificate ends in {days} days and is not renewed"),
            Err(_) => tracing::error!("the renewal of this node's certificate broke: this is a bug"),
        }
    }
}
