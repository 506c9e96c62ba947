//! One machine of a hoster, in this world: a node and its store, a disk, a content store, a runtime and an edge.
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bocage_protocol::{
    codec::Blob,
    config::Config,
    id::{ContentHash, InstanceId, NodeId},
    identity::NodeIdentity,
    io::{Input, Output},
    machine::{Deadline, Machine},
    node::Node,
    random::Seed,
    route::Table,
    store::{Boot, Store},
    time::Now,
};

use crate::{blocks::Blocks, check::no_panic::Tail, clock::Clock, memo::Bits, tape::Step};

/// What this world can run on a host: the whole node, or a part of it in a test.
pub trait Daemon: Machine<Input = Input, Output = Output> {
    /// Opens it on what its disk held.
    fn open(config: Config, seed: Seed, boot: Boot, now: Now) -> Self;
}

impl Daemon for Node {
    fn open(config: Config, seed: Seed, boot: Boot, now: Now) -> Self {
        Self::open(config, seed, boot, now)
    }
}

/// One machine.
pub(crate) struct Host<D> {
    pub(crate) identity: NodeIdentity,
    pub(crate) id: NodeId,
    pub(crate) clock: Clock,
    /// Raised by each start and each death of the process: events of an older one are stale.
    pub(crate) life: u32,
    pub(crate) state: State,
    /// The node, while it runs.
    pub(crate) daemon: Option<D>,
    /// Its store, while the process lives.
    pub(crate) store: Option<Store>,
    pub(crate) disk: Blocks,
    /// Bytes by hash. They are synced before anybody is told, so they outlive the process.
    pub(crate) content: HashMap<ContentHash, Blob>,
    pub(crate) instances: BTreeMap<InstanceId, Running>,
    /// What its edge may route.
    pub(crate) table: Table,
    /// Peers that there ever was a link with in this life.
    pub(crate) peers: BTreeSet<u32>,
    /// Nothing reaches the process before.
    pub(crate) stalled_until: u64,
    /// The next wake-up that is on its way, for the node and its store.
    pub(crate) armed: u64,
    pub(crate) store_armed: u64,
    /// Timeouts in a row at one time.
    pub(crate) spins: u32,
    pub(crate) tail: Tail,
    /// Records that ever came here.
    pub(crate) records: Bits,
    /// When it last started, or went on after a stall.
    pub(crate) disturbed_at: u64,
    /// Started after the mesh stood, and has no peer yet: since then.
    pub(crate) rejoining: Option<u64>,
    /// What it does takes so long, in nanoseconds: nothing, unless a fault makes it slow.
    pub(crate) slow: u64,
    /// Its site has no power: no process starts.
    pub(crate) dark: bool,
    /// Some of its disk rotted: what it had to give up is no surprise.
    pub(crate) rotten: bool,
    /// A planted bug: this node's applied digests are made wrong.
    pub(crate) corrupt: bool,
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The process does not run.
    Down,
    /// The store reads what the disk holds.
    Booting,
    /// The node runs.
    Up,
    /// It never comes back.
    Gone,
}

/// An instance on a host.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) generation: u64,
    /// The bytes that it runs.
    pub(crate) component: Option<ContentHash>,
    pub(crate) serves: bool,
}

/// What came of one step of a machine.
pub(crate) struct Stepped<O> {
    pub(crate) outputs: Vec<O>,
    pub(crate) deadline: Option<Deadline>,
}

/// No wake-up is on its way.
pub(crate) const UNARMED: u64 = u64::MAX;

impl<D: Daemon> Host<D> {
    pub(crate) fn new(identity: NodeIdentity, clock: Clock) -> Self {
        Self {
            id: identity.node(),
            identity,
            clock,
            life: 0,
            state: State::Down,
            daemon: None,
            store: None,
            disk: Blocks::default(),
            content: HashMap::new(),
            instances: BTreeMap::new(),
            table: Table::default(),
            peers: BTreeSet::new(),
            stalled_until: 0,
            armed: UNARMED,
            store_armed: UNARMED,
            spins: 0,
            tail: Tail::default(),
            records: Bits::default(),
            disturbed_at: 0,
            rejoining: None,
            slow: 0,
            dark: false,
            rotten: false,
            corrupt: false,
        }
    }

    /// Forgets all that lived in the process.
    pub(crate) fn die(&mut self) {
        self.life += 1;
        self.state = State::Down;
        self.daemon = None;
        self.store = None;
        self.instances.clear();
        self.table = Table::default();
        self.peers.clear();
        self.stalled_until = 0;
        self.armed = UNARMED;
        self.store_armed = UNARMED;
    }
}

/// Steps a machine and drains it; a panic is caught and given back.
pub(crate) fn step<M: Machine>(
    machine: &mut M,
    now: Now,
    step: Step<M::Input>,
    mut outputs: Vec<M::Output>,
) -> Result<Stepped<M::Output>, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| {
        match step {
            Step::Input(input) => machine.handle_input(now, input),
            Step::Timeout => machine.handle_timeout(now),
        }
        outputs.extend(std::iter::from_fn(|| machine.poll_output()));
        Stepped { outputs, deadline: machine.poll_timeout() }
    }))
}

/// Shared by many: a component's bytes.
pub(crate) type Component = Arc<(ContentHash, Blob)>;
