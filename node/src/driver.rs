//! The loop that owns the machines: one thread, two machines (the node and the store below it), one step at a time.
//!
//! ```text
//!   inbox, handles ─→ Node ─ Persist, Load ─→ Store ─ verbs ─→ disk
//!                      │ ▲                     │ ▲               │
//!     network, edge ←──┘ └──── Persisted ──────┘ └───── Done ────┘
//! ```
//! It has an OS thread of its own: a step takes as long as it takes (a snapshot of a large cell: milliseconds) and must
//! neither hold up the sockets of the other tasks nor wait for one of their workers; and when it ends, by a stop or by a
//! bug, everybody who holds a handle is told.
//!
//! Each turn asks the *clock* before anything else, so that a busy channel cannot starve deadlines, then takes one input:
//! the disk's reports first, then by urgency; every eighth turn another lane goes first, so that none starves.
use std::{collections::VecDeque, thread, time::Duration};

use bocage_protocol::{
    frame::Urgency,
    io::{Input, LinkChange, Output},
    machine::{Deadline, Machine},
    notice::Notice,
    store::{self, Boot, DiskFault},
    time::Now,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    effects::{Effects, Step},
    handle::DriverEnd,
    inbox::Inbox,
    transport::Sent,
};

/// Every so many turns another lane goes first.
const FAIR_EVERY: u64 = 8;

/// A step that takes longer is worth a line in the log: it delays everything else on this node.
const STEP_SLOW: Duration = Duration::from_millis(50);

/// A driver at work.
#[derive(Debug)]
pub struct Driver {
    thread: thread::JoinHandle<Result<(), DriverError>>,
    stop: CancellationToken,
}

/// Why a driver ended that was not told to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// A bug. What was durable is whole.
    #[error("the machine of this node broke: this is a bug. Restart the node; the log says where it broke")]
    Broken,
    /// The node never opened.
    #[error("the store of this node cannot be opened: {0}")]
    Unopened(DiskFault),
    /// A write did not become durable. Nothing was acknowledged since.
    #[error("nothing was acknowledged since its disk failed ({0}): mend it or make room. What was synced is whole")]
    DiskFailed(DiskFault),
    /// The disk's reports ended before its contents were read.
    #[error("the disk of this node reports no more: this is a bug. Restart the node")]
    Unread,
}

/// What a driver drives and is driven by.
pub struct Parts<S, O> {
    /// The store, opened on the segments that the disk listed.
    pub store: S,
    /// Opens the node once the store has said what was on disk.
    pub open: O,
    /// Carries outputs out.
    pub effects: Effects,
    /// What happens outside.
    pub inbox: Inbox,
    /// What handles ask.
    pub handles: DriverEnd,
    /// The one that the handles have.
    pub clock: Clock,
}

impl Driver {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<S, N, O>(parts: Parts<S, O>) -> std::io::Result<Self>
    where
        S: Machine<Input = store::Input, Output = store::Output> + Send + 'static,
        N: Machine<Input = Input, Output = Output>,
        O: FnOnce(Boot, Now) -> N + Send + 'static,
    {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = thread::Builder::new()
            .name("bocage-machine".into())
            .spawn(move || runtime.block_on(stopped.run_until_cancelled(drive(parts))).unwrap_or(Ok(())))?;
        Ok(Self { thread, stop })
    }

    /// Ends after the step at hand; what was not durable is lost, as in a crash, which every node survives.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it ended before it was told to.
    pub fn join(self) -> Result<(), DriverError> {
        self.thread.join().unwrap_or(Err(DriverError::Broken))
    }
}

async fn drive<S, N, O>(parts: Parts<S, O>) -> Result<(), DriverError>
where
    S: Machine<Input = store::Input, Output = store::Output>,
    N: Machine<Input = Input, Output = Output>,
    O: FnOnce(Boot, Now) -> N,
{
    let Parts { store, open, effects, inbox, handles, clock } = parts;
    let mut disk = Disk { store, follows: VecDeque::new(), failed: None };
    let mut world = World { effects, inbox, handles, clock };
    let boot = disk.boot(&mut world).await?;
    let now = clock.now();
    if let Some(tape) = &mut world.effects.tape {
        tape.open(&boot, now);
    }
    let node = open(boot, now);
    Pair { node, disk, world, turn: 0 }.run().await
}

/// Everything around the machines.
struct World {
    effects: Effects,
    inbox: Inbox,
    handles: DriverEnd,
    clock: Clock,
}

/// The store and what it has told the node that the node does not know yet.
struct Disk<S> {
    store: S,
    follows: VecDeque<Input>,
    /// Why nothing becomes durable any more.
    failed: Option<DiskFault>,
}

/// The node on its disk.
struct Pair<S, N> {
    node: N,
    disk: Disk<S>,
    world: World,
    turn: u64,
}

/// Something to hand to a machine. Moved once, never kept: its size does not matter.
#[allow(clippy::large_enum_variant)]
enum Event {
    Block(store::Input),
    Input(Input),
}

impl<S> Disk<S>
where
    S: Machine<Input = store::Input, Output = store::Output>,
{
    /// Lets the store read what was on disk.
    async fn boot(&mut self, world: &mut World) -> Result<Boot, DriverError> {
        loop {
            let mut boot = None;
            self.drain(world, |found| boot = Some(found));
            match boot {
                Some(Ok(boot)) => return Ok(*boot),
                Some(Err(fault)) => return Err(DriverError::Unopened(fault)),
                None => {}
            }
            let deadline = self.store.poll_timeout();
            let now = world.clock.now();
            if deadline.is_some_and(|deadline| deadline.at <= now.instant) {
                world.record(now, Step::StoreTimeout);
                self.store.handle_timeout(now);
                continue;
            }
            tokio::select! {
                report = world.inbox.blocks.recv() => self.hand(world, report.ok_or(DriverError::Unread)?),
                () = sleep_until(world.clock, deadline) => {}
            }
        }
    }

    /// One step of the store, without its outputs.
    fn hand(&mut self, world: &mut World, input: store::Input) {
        let now = world.clock.now();
        world.record(now, Step::Store(&input));
        self.store.handle_input(now, input);
    }

    /// One step of the store, once it has booted.
    fn step(&mut self, world: &mut World, input: store::Input) {
        self.hand(world, input);
        self.drain_booted(world);
    }

    fn drain_booted(&mut self, world: &mut World) {
        self.drain(world, |_| panic!("a store boots once"));
    }

    fn drain(&mut self, world: &mut World, mut booted: impl FnMut(Result<Box<Boot>, DiskFault>)) {
        while let Some(output) = self.store.poll_output() {
            match output {
                verb @ (store::Output::Create { .. }
                | store::Output::Write { .. }
                | store::Output::Sync { .. }
                | store::Output::Read { .. }
                | store::Output::Trim { .. }) => world.effects.blocks.submit(verb),
                store::Output::Booted(boot) => booted(Ok(boot)),
                store::Output::Unopened(fault) => booted(Err(fault)),
                store::Output::Persisted(write) => self.follows.push_back(Input::Persisted(write)),
                store::Output::PersistFailed(write, fault) => {
                    if self.failed.is_none() {
                        tracing::error!(%fault, "the disk failed: this node acknowledges nothing any more, and ends");
                        self.failed = Some(fault.clone());
                    }
                    self.follows.push_back(Input::PersistFailed(write, fault));
                }
                store::Output::Loaded { read, result } => self.follows.push_back(Input::Loaded { read, result }),
            }
        }
    }
}

impl<S, N> Pair<S, N>
where
    S: Machine<Input = store::Input, Output = store::Output>,
    N: Machine<Input = Input, Output = Output>,
{
    /// Runs until nobody is left who could say anything, or until the disk fails: then whoever waited has been told.
    async fn run(mut self) -> Result<(), DriverError> {
        self.drain_node();
        loop {
            self.fire_deadlines();
            if let Some(input) = self.disk.follows.pop_front() {
                self.step_node(input);
                continue;
            }
            if let Some(fault) = self.disk.failed.take() {
                return Err(DriverError::DiskFailed(fault));
            }
            if let Some(event) = self.next() {
                self.take(event);
                continue;
            }
            match self.wait().await {
                Wake::Event(event) => self.take(event),
                Wake::Filled | Wake::Deadline => {}
                Wake::Ended => return Ok(()),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Block(report) => self.disk.step(&mut self.world, report),
            Event::Input(input) => self.step_node(input),
        }
    }

    /// Fires each machine's deadline once if it has passed.
    fn fire_deadlines(&mut self) {
        let now = self.world.clock.now();
        let due = |deadline: Option<Deadline>| deadline.is_some_and(|deadline| deadline.at <= now.instant);
        if due(self.disk.store.poll_timeout()) {
            self.world.record(now, Step::StoreTimeout);
            self.disk.store.handle_timeout(now);
            self.disk.drain_booted(&mut self.world);
        }
        if due(self.node.poll_timeout()) {
            self.world.record(now, Step::NodeTimeout);
            self.node.handle_timeout(now);
            self.drain_node();
        }
    }

    fn step_node(&mut self, input: Input) {
        let now = self.world.clock.now();
        self.world.record(now, Step::Node(&input));
        self.node.handle_input(now, input);
        self.drain_node();
        let took = self.world.clock.instant().since(now.instant);
        if took > STEP_SLOW {
            tracing::warn!(?took, "a step of the machine was slow");
        }
    }

    /// Once after each step of the node, and after it opened.
    fn drain_node(&mut self) {
        while let Some(output) = self.node.poll_output() {
            if let Some(tape) = &mut self.world.effects.tape {
                tape.output(&output);
            }
            self.on_node(output);
        }
        if let Some(tape) = &mut self.world.effects.tape {
            tape.done();
        }
    }

    fn on_node(&mut self, output: Output) {
        let effects = &mut self.world.effects;
        match output {
            Output::Dial { peer, via } => {
                if let Err(busy) = effects.network.dial(peer, &via) {
                    self.follow_link(peer, LinkChange::Unreachable { path: via.kind(), why: busy.to_string() });
                }
            }
            Output::Reserve { relay, wanted } => effects.network.reserve(relay, wanted),
            Output::Hangup { peer } => effects.network.hangup(peer),
            Output::Send { to, wire, frame } => match effects.network.send(to, wire, &frame) {
                Sent::Full => self.follow_link(to, LinkChange::Full),
                // The machine knows: it was told `Down`, or `Full` before.
                Sent::Queued | Sent::StillFull | Sent::NoLink => {}
            },
            // The detector that ships sends none, and a daemon has no other.
            Output::Datagram { .. } => {}
            Output::Persist { write, batch } => {
                self.disk.step(&mut self.world, store::Input::Persist { write, batch });
            }
            Output::Load { read, key } => self.disk.step(&mut self.world, store::Input::Load { read, key }),
            Output::Transfer { id, from, what } => effects.contents.transfer(id, from, what),
            Output::Provide { content, bytes } => effects.contents.provide(content, bytes),
            Output::Withdraw { content } => effects.contents.withdraw(content),
            Output::Run(order) => effects.runtime.order(order),
            Output::Serve(delta) => self.world.handles.serve(delta),
            Output::Keys(keyring) => self.world.handles.keys(keyring),
            Output::Recertify { expires } => self.world.handles.recertify(expires),
            Output::Reply { request, result } => self.world.handles.reply(request, result),
            Output::Notice(notice) => {
                log(&notice);
                self.world.handles.notice(notice);
            }
        }
    }

    fn follow_link(&mut self, peer: bocage_protocol::id::NodeId, change: LinkChange) {
        self.disk.follows.push_back(Input::Link { peer, change });
    }

    /// The next thing that has happened already.
    fn next(&mut self) -> Option<Event> {
        self.turn = self.turn.wrapping_add(1);
        let World { inbox, handles, .. } = &mut self.world;
        if let Ok(report) = inbox.blocks.try_recv() {
            return Some(Event::Block(report));
        }
        let mut take = |lane: Lane| match lane {
            Lane::Frames(urgency) => inbox.frames.try_next(urgency),
            Lane::Handles => handles.inputs.try_recv().ok(),
        };
        let input = if self.turn.is_multiple_of(FAIR_EVERY) {
            // Each lane comes first in its turn, so that two that are never empty cannot starve a third. A frame may so
            // overtake the `Up` of its own link by a hair: the machine drops what strangers send, and it is best effort
            // anyway.
            let first = usize::try_from(self.turn / FAIR_EVERY % Lane::ALL.len() as u64).unwrap_or(0);
            let (later, sooner) = Lane::ALL.split_at(first);
            sooner.iter().chain(later).copied().find_map(&mut take)
        } else {
            Lane::ALL.into_iter().find_map(&mut take)
        };
        input.map(Event::Input)
    }

    /// Waits for something to happen or a deadline to pass.
    async fn wait(&mut self) -> Wake {
        let deadline = [self.node.poll_timeout(), self.disk.store.poll_timeout()].into_iter().flatten().min();
        let World { inbox, handles, clock, .. } = &mut self.world;
        tokio::select! {
            biased;
            Some(report) = inbox.blocks.recv() => Wake::Event(Event::Block(report)),
            Some(input) = handles.inputs.recv() => Wake::Event(Event::Input(input)),
            true = inbox.frames.filled() => Wake::Filled,
            () = sleep_until(*clock, deadline), if deadline.is_some() => Wake::Deadline,
            else => Wake::Ended,
        }
    }
}

/// Where inputs come from, the most urgent first.
#[derive(Clone, Copy)]
enum Lane {
    Frames(Urgency),
    Handles,
}

impl Lane {
    const ALL: [Self; 4] =
        [Self::Frames(Urgency::Control), Self::Frames(Urgency::Request), Self::Handles, Self::Frames(Urgency::Bulk)];
}

#[allow(clippy::large_enum_variant)]
enum Wake {
    Event(Event),
    /// A lane has something.
    Filled,
    Deadline,
    /// All senders are gone and no machine wants waking.
    Ended,
}

impl World {
    fn record(&mut self, now: Now, step: Step<'_>) {
        if let Some(tape) = &mut self.effects.tape {
            tape.record(now, step);
        }
    }
}

async fn sleep_until(clock: Clock, deadline: Option<Deadline>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(clock.when(deadline.at)).await,
        None => std::future::pending().await,
    }
}

/// A notice in the log, as loud as who should care.
fn log(notice: &Notice) {
    match notice {
        Notice::Applied { .. } => tracing::trace!(?notice),
        Notice::PeerUp(_) | Notice::PeerDown(_) | Notice::PeerMoved { .. } => tracing::info!(?notice),
        Notice::Verdict { .. } | Notice::RelayLost { .. } => tracing::info!(?notice),
        Notice::Succeeded { .. } | Notice::Ruled { .. } => tracing::info!(?notice),
        Notice::CellOpened { .. } | Notice::Leader { .. } | Notice::Instance { .. } => tracing::info!(?notice),
        Notice::Operator { .. } | Notice::Charter { .. } => tracing::info!(?notice),
        Notice::PeerRefused { .. } | Notice::RecordRefused { .. } | Notice::Contradiction { .. } => {
            tracing::warn!(?notice);
        }
        Notice::ClockOff { .. } | Notice::Contradicted { .. } => tracing::warn!(?notice),
        Notice::Recovered { .. } | Notice::RecoveryRefused { .. } | Notice::Fenced { .. } => tracing::warn!(?notice),
        Notice::PeerDoubled(peer) => {
            tracing::warn!(?peer, "two processes run with this peer's key: its operator must stop one of them");
        }
        Notice::Doubled { addresses } => {
            tracing::error!(
                ?addresses,
                "another process runs with this node's key: stop one of the two, and make it anew with bocage node init"
            );
        }
        Notice::CellQuarantined { .. } | Notice::DiskFailed(_) => tracing::error!(?notice),
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
