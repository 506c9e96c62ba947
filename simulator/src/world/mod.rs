//! A world: many nodes, one calendar of events, one seed.
//!
//! ```text
//!   calendar ─event→ host ─Input→ node ─Output→ host ─┬→ links ──→ calendar
//!       ↑                                             ├→ store → disk → calendar
//!   faults, clients, watch                            └→ runtime, edge, checkers
//! ```
//!
//! The world only carries: what a node, an edge or a store *decides* is decided by the code that ships.
mod drive;
mod links;
mod runtime;
mod found;
mod clients;
mod faults;
mod power;
mod nature;
mod keys;
mod watch;
mod lost;
mod recovering;
mod shared;
mod offers;
mod liars;
mod observed;
mod probe;
mod seen;
mod inspect;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bocage_protocol::{
    codec::Blob,
    command::Command,
    context::Context,
    frame::Frame,
    id::{ContentHash, InstanceId, NodeId, OpId, RequestId, TraceId, TransferId},
    io::{Input, InstanceChange, Output, TransferFault},
    random::{Rng, Seed},
    store::{self, BlockOp},
};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::{
    check::{
        agreement::Agreement, attribution::Attribution, blame::Blame, converge::Converge, convergence::Convergence,
        cut_contract::CutContract, eviction::Eviction, exactly_once::ExactlyOnce, fencing::Fencing, offers::Offers,
    },
    clock::Clock,
    detection::Detection,
    host::{Daemon, Host},
    memo::{Carried, Memo},
    network::Network,
    observe::Observer,
    population::{Place, Population},
    queue::Queue,
    report::{FaultShown, Property, Violation},
    scenario::Scenario,
    slab::Slab,
    spectator::{Nobody, Spectator},
    tape::Tape,
    trace::{FrameMark, Trace},
};

use clients::{Client, ClientStep};
use faults::Fault;
use found::App;
use inspect::Recorder;
pub use inspect::{Delivery, NodeShown};
use keys::Deaths;
use liars::Liars;
use observed::Turns;
use probe::Probe;
use watch::{Beat, Tally, Waiting};

/// Events that are no node's come after those of nodes at the same time.
const WORLD: u32 = u32::MAX;

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MILLI: u64 = 1_000_000;

/// What may happen next. Payloads lie in slabs.
#[derive(Debug)]
enum Event {
    /// A process starts.
    Start,
    /// A frame arrives.
    Frame { from: u32, epoch: u32, slot: u32 },
    /// A frame arrives at the far end of the node's line.
    AtLine { from: u32, epoch: u32, slot: u32 },
    /// A block verb's time has come.
    Block { life: u32, op: BlockOp },
    /// A node wanted waking.
    Wake { life: u32 },
    /// A store wanted waking.
    StoreWake { life: u32 },
    /// One end of a link hears that it is up.
    LinkUp { peer: u32, epoch: u32, dialled: bool },
    /// One end of a link notices that it is gone.
    LinkLost { peer: u32, epoch: u32 },
    /// An input for a node of this life.
    Later { life: u32, slot: u32 },
    /// A transfer ends.
    Transferred { life: u32, slot: u32 },
    /// A transfer over shared lines ends, unless they changed meanwhile.
    FlowEnds { ticket: u32 },
    /// An instance changes.
    Instance(Box<InstanceTurn>),
    /// A client or its edge goes on.
    Client { client: u32, ticket: u32, step: ClientStep },
    /// A fault begins.
    Fault { fault: u32 },
    /// A fault is over.
    Heal { fault: u32 },
    /// A cut that flaps changes.
    Flap { fault: u32, pauses: bool },
    /// A node's battery is empty, unless power came back before.
    BatteryEmpty { fault: u32 },
    /// A node has power again.
    PowerBack,
    /// The world's own clockwork.
    Beat(Beat),
}

/// An instance starts, or stops.
#[derive(Debug)]
struct InstanceTurn {
    life: u32,
    id: InstanceId,
    generation: u64,
    starts: bool,
}

/// A transfer under way.
#[derive(Debug)]
struct UnderWay {
    id: TransferId,
    from: u32,
    /// The life of the process that gives.
    from_life: u32,
    hand_over: bool,
    hash: ContentHash,
    result: Result<Blob, TransferFault>,
}

/// The random streams of a world, by name: a draw more in one moves no draw of another.
#[derive(Debug)]
struct Streams {
    disk: Rng,
    runtime: Rng,
    faults: Rng,
    clients: Rng,
    clocks: Rng,
}

/// The checkers and what they found.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    pub(crate) agreement: Agreement,
    /// Of each app.
    pub(crate) exactly_once: Vec<ExactlyOnce>,
    /// Of each app.
    pub(crate) cut_contract: Vec<CutContract>,
    /// Of each app.
    pub(crate) converge: Vec<Converge>,
    pub(crate) fencing: Fencing,
    pub(crate) convergence: Convergence,
    pub(crate) eviction: Eviction,
    pub(crate) blame: Blame,
    pub(crate) attribution: Attribution,
    pub(crate) offers: Offers,
    pub(crate) violations: Vec<Violation>,
    pub(crate) left_out: u64,
}

/// A report lists no more violations.
const VIOLATIONS_MAX: usize = 100;

/// A bug planted into the world, to prove that a checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bug {
    /// Each sync says that it is done and does nothing; a crash then loses what was acknowledged.
    LyingDisk,
    /// One node applies something else than the others: its digests are made wrong.
    CorruptDigest,
    /// A client that repeats an operation does so under a new op.
    NewOpOnRetry,
    /// A client takes the failure of its first attempt for a yes, and so believes in a write that may never have been.
    InventedAnswer,
    /// A write that was accepted under a lease is told to the checker as one of a lease that had ended.
    StaleLease,
    /// One node never hears a frame again once the faults are over.
    DeafNode,
    /// One node panics.
    Panic,
    /// One node hears a quorum call an honest node down.
    FalseQuorum,
    /// One node holds a proof against an honest node.
    FalseProof,
    /// No node ever says that another contradicted itself.
    BlindEye,
    /// A read away is told to be as new as new, however old it may be.
    AgelessRead,
    /// Frames are encoded as the newest version has them, whatever their link agreed on.
    ForgottenVersion,
    /// In the protocol itself, of all nodes.
    #[cfg(feature = "planted")]
    Protocol(bocage_protocol::planted::Planted),
}

#[cfg(feature = "planted")]
impl Bug {
    /// Has the machines of this thread have it, if it is one of the protocol.
    pub(crate) fn plant(bug: Option<Self>) -> bocage_protocol::planted::Chosen {
        bocage_protocol::planted::Chosen::new(match bug {
            Some(Self::Protocol(planted)) => Some(planted),
            _ => None,
        })
    }
}

/// How a run departs from the plain one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A planted bug, which a checker must find.
    pub bug: Option<Bug>,
    /// The node whose last life is recorded.
    pub tape: Option<u32>,
    /// The frame with this number, from 0 up, arrives 1 ns later.
    pub nudge: Option<u64>,
    /// What goes on is measured all along.
    pub measured: bool,
    /// What the scenario's `[validate]` asks is asked, and the run is over once it is answered.
    pub probed: bool,
    /// What arrives is remembered, to be looked at afterwards.
    pub recorded: bool,
    /// The run is stopped here, in nanoseconds from the first node's start.
    pub until_ns: Option<u64>,
    /// Within which 99 of 100 honest offers came where nobody lies. Left out: it is measured first, if there are liars.
    pub quiet_p99_ns: Option<u64>,
}

/// See the module.
pub(crate) struct World<D> {
    at: u64,
    seed: Seed,
    scenario: Scenario,
    queue: Queue<Event>,
    events: u64,
    hosts: Vec<Host<D>>,
    numbers: FxHashMap<NodeId, u32>,
    population: Population,
    network: Network,
    streams: Streams,
    frames: Slab<(Frame, FrameMark)>,
    later: Slab<Input>,
    transfers: Slab<UnderWay>,
    memo: Memo,
    carried: Carried,
    /// Which nodes each node relays for.
    reserved: BTreeMap<u32, BTreeSet<u32>>,
    /// Links that each node carries.
    relayed: BTreeMap<u32, BTreeSet<(u32, u32)>>,
    trace: Trace,
    /// Inputs that came of the step under way, for nodes of this life.
    inbox: VecDeque<(u32, u32, Input)>,
    scratch: Vec<Output>,
    store_scratch: Vec<store::Output>,
    waiting: FxHashMap<(u32, RequestId), Waiting>,
    requests: u64,
    apps: Vec<App>,
    clients: Vec<Client>,
    faults: Vec<Fault>,
    liars: Liars,
    shown: Vec<FaultShown>,
    deaths: Deaths,
    detection: Detection,
    /// When faults began and when they end, once the mesh stands.
    stood: Option<u64>,
    healed: Option<u64>,
    /// When the network was last not whole.
    last_cut_at: u64,
    /// A cut began then, and has not healed.
    cut_began: Option<u64>,
    /// So many nodes are slow.
    slow_nodes: u32,
    /// Clients do their next operation so many times as soon.
    crowd: u64,
    quiet_p99_ns: Option<u64>,
    over: bool,
    checks: Checkers,
    tally: Tally,
    turns: Turns,
    observer: Option<Box<Observer>>,
    probe: Option<Box<Probe>>,
    recorder: Option<Recorder>,
    until: u64,
    bug: Option<Bug>,
    /// So many frames until one is delivered 1 ns later.
    nudge: Option<u64>,
    /// The node that is recorded, and its last life.
    taped: Option<(u32, Option<Tape>)>,
}

impl<D: Daemon> World<D> {
    pub(crate) fn new(scenario: &Scenario, seed: u64, options: &Options) -> Self {
        let observer = options.measured.then(|| Self::observer(seed, scenario.measure.every_ms));
        let seed = Seed(*blake3::hash(&seed.to_be_bytes()).as_bytes());
        let stream = |name: &str| seed.split(name).rng();
        let population = Population::new(scenario, seed.split("population"));
        let mut this = Self {
            at: 0,
            seed,
            queue: Queue::default(),
            events: 0,
            hosts: Vec::new(),
            numbers: FxHashMap::default(),
            network: Network::new(scenario.network.clone(), seed),
            streams: Streams {
                disk: stream("disk"),
                runtime: stream("runtime"),
                faults: stream("faults"),
                clients: stream("clients"),
                clocks: stream("clocks"),
            },
            reserved: BTreeMap::new(),
            relayed: BTreeMap::new(),
            frames: Slab::default(),
            later: Slab::default(),
            transfers: Slab::default(),
            memo: Memo::default(),
            carried: Carried::default(),
            trace: Trace::default(),
            inbox: VecDeque::new(),
            scratch: Vec::new(),
            store_scratch: Vec::new(),
            waiting: FxHashMap::default(),
            requests: 0,
            apps: Vec::new(),
            clients: Vec::new(),
            faults: Vec::new(),
            liars: Liars::new(stream("liars")),
            shown: Vec::new(),
            deaths: Deaths::default(),
            detection: Detection::default(),
            stood: None,
            healed: None,
            last_cut_at: 0,
            cut_began: None,
            slow_nodes: 0,
            crowd: 1,
            quiet_p99_ns: options.quiet_p99_ns,
            over: false,
            checks: Checkers::default(),
            tally: Tally::default(),
            turns: Turns::default(),
            observer,
            probe: scenario
                .validate
                .filter(|_| options.probed)
                .map(|asked| Box::new(Probe::new(asked, stream("probe")))),
            recorder: options.recorded.then(Recorder::default),
            until: options.until_ns.unwrap_or(u64::MAX),
            bug: options.bug,
            nudge: options.nudge,
            taped: options.tape.map(|node| (node, None)),
            scenario: scenario.clone(),
            population,
        };
        this.network.stand(&scenario.population);
        this.found();
        this.plan_liars();
        this
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) {
        assert!(self.run_before(&mut Nobody), "nobody does not leave");
    }

    /// Runs to the end, or until the spectator leaves: then the run is good for nothing, and false is said.
    pub(crate) fn run_before(&mut self, spectator: &mut dyn Spectator) -> bool {
        let mut look_at = 0;
        while !self.over {
            let Some((at, node, event)) = self.queue.pop() else { break };
            assert!(self.at <= at, "time never goes backwards");
            if at > self.until {
                self.at = self.until;
                break;
            }
            self.observe_until(at);
            if !self.look_until(at, &mut look_at, spectator) {
                return false;
            }
            self.at = at;
            if let Some(host) = self.hosts.get_mut(node as usize)
                && host.stalled_until > at
            {
                let until = host.stalled_until;
                host.put_off(&event, at, until);
                self.queue.push(until, node, event);
                continue;
            }
            self.events += 1;
            let works = self.slow_nodes > 0 && event.is_work();
            self.happen(node, event);
            if works {
                self.be_busy(node);
            }
        }
        self.observe_end();
        true
    }

    fn happen(&mut self, node: u32, event: Event) {
        match event {
            Event::Start => self.start(node),
            Event::Frame { from, epoch, slot } => self.arrive(node, from, epoch, slot),
            Event::AtLine { from, epoch, slot } => self.at_line(node, from, epoch, slot),
            Event::Block { life, op } => self.block_done(node, life, op),
            Event::Wake { life } => self.wake(node, life),
            Event::StoreWake { life } => self.store_wake(node, life),
            Event::LinkUp { peer, epoch, dialled } => self.link_up(node, peer, epoch, dialled),
            Event::LinkLost { peer, epoch } => self.link_lost(node, peer, epoch),
            Event::Later { life, slot } => {
                let input = self.later.take(slot);
                self.give_if(node, life, input);
            }
            Event::Transferred { life, slot } => self.transferred(node, life, slot),
            Event::FlowEnds { ticket } => self.flow_ends(ticket),
            Event::Instance(turn) => self.instance(node, &turn),
            Event::Client { client, ticket, step } => self.client(client, ticket, step),
            Event::Fault { fault } => self.fault(fault),
            Event::Heal { fault } => self.heal(fault),
            Event::Flap { fault, pauses } => self.flap(fault, pauses),
            Event::BatteryEmpty { fault } => self.battery_empty(node, fault),
            Event::PowerBack => self.has_power(node),
            Event::Beat(beat) => self.beat(beat),
        }
    }

    /// Adds a node at a place. It does not run yet.
    fn settle(&mut self, place: Place) -> u32 {
        let number = u32::try_from(self.hosts.len()).expect("nodes are fewer than numbers");
        let identity = self.population.identity(number, &place);
        let off = signed_below(&mut self.streams.clocks, self.scenario.clock.offset_ms_max);
        let drift = signed_below(&mut self.streams.clocks, self.scenario.clock.drift_ppm_max);
        let mut host = Host::new(identity, Clock::new(off, drift));
        host.disk.lying = self.bug == Some(Bug::LyingDisk);
        host.corrupt = self.bug == Some(Bug::CorruptDigest) && number == 1;
        self.numbers.insert(host.id, number);
        let (faults, population) = (&self.faults, &self.population);
        self.network.join(place, |fault, place| faults[fault].sides(population, number, place));
        self.hosts.push(host);
        number
    }

    fn host(&mut self, node: u32) -> &mut Host<D> {
        &mut self.hosts[node as usize]
    }

    fn runs(&self, node: u32) -> bool {
        self.hosts[node as usize].daemon.is_some()
    }

    /// Nodes that run, by number.
    fn running(&self) -> Vec<u32> {
        (0u32..).zip(&self.hosts).filter(|(_, host)| host.daemon.is_some()).map(|(number, _)| number).collect()
    }

    /// Gives a command to a node, whose reply is waited for.
    fn ask(&mut self, node: u32, waiting: Waiting, op: Option<OpId>, command: Command, at_most: Duration) {
        self.requests += 1;
        let request = RequestId(self.requests);
        let deadline = self.hosts[node as usize].clock.now(self.at).instant + at_most;
        let mut trace = [0; 16];
        trace[8..].copy_from_slice(&self.requests.to_be_bytes());
        let context = Context { op, request, tenant: None, trace: TraceId(trace), deadline };
        self.waiting.insert((node, request), waiting);
        self.give(node, Input::Command { context, command: Box::new(command) });
    }

    /// What was violated so far.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.checks.violations
    }

    /// Of all that happened so far.
    pub(crate) fn trace_hash(&self) -> String {
        format!("{:032x}", self.trace.hash())
    }

    fn violated(&mut self, property: Property, node: Option<u32>, what: String) {
        if self.checks.violations.len() == VIOLATIONS_MAX {
            self.checks.left_out += 1;
            return;
        }
        let at_s = crate::measure::ms(self.at / MILLI * MILLI) / 1_000.0;
        self.checks.violations.push(Violation { property, at_s, node, what });
        self.over |= self.scenario.stop.at_first_violation;
    }

    fn note(&mut self, property: Property, node: Option<u32>, found: Result<(), String>) {
        if let Err(what) = found {
            self.violated(property, node, what);
        }
    }
}

impl<D: Daemon> Host<D> {
    /// The process is stopped: what was to happen at `at` happens at `until`. A wake-up that is put off is the one that was
    /// armed, or the node would wait for ever for one that came to nothing.
    const fn put_off(&mut self, event: &Event, at: u64, until: u64) {
        match event {
            Event::Wake { life } if *life == self.life && self.armed == at => self.armed = until,
            Event::StoreWake { life } if *life == self.life && self.store_armed == at => self.store_armed = until,
            _ => {}
        }
    }
}

/// Uniform between `-bound` and `bound`.
fn signed_below(rng: &mut Rng, bound: u64) -> i64 {
    let bound = i64::try_from(bound).unwrap_or(i64::MAX / 4);
    i64::try_from(rng.below(bound.unsigned_abs() * 2 + 1)).unwrap_or(0) - bound
}

/// What an instance says when it changed.
fn change(starts: bool, ready: bool) -> InstanceChange {
    match (starts, ready) {
        (true, true) => InstanceChange::Started,
        (true, false) => InstanceChange::Failed("its bytes are not in the content store".into()),
        (false, _) => InstanceChange::Stopped,
    }
}

/// Counts of what happened, by name.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

impl<D: Daemon> World<D> {
    /// The report of a run that is over, and the tape.
    pub(crate) fn report(mut self, seed: u64, took: Duration) -> (crate::Report, Option<Tape>) {
        let report = crate::Report {
            scenario: self.scenario.name.clone(),
            seed,
            trace_hash: self.trace_hash(),
            events: self.events,
            simulated_s: crate::measure::ms(self.at) / 1_000.0,
            wall_s: took.as_secs_f64(),
            peak_rss_bytes: crate::report::peak_rss_bytes(),
            violations: std::mem::take(&mut self.checks.violations),
            violations_left_out: self.checks.left_out,
            measures: self.measures().0,
            counts: self.counts(),
            remarks: self.remarks(),
            faults: self.faults_shown(),
            liars: self.liars.shown.clone(),
        };
        (report, self.taped.and_then(|(_, tape)| tape))
    }
}
