//! The driver with two small machines and a world of fakes: what is routed where, and what never waits.
use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bocage_protocol::{
    codec::Blob,
    command::{Command, Reply},
    frame::Frame,
    id::{CellId, ContentHash, NodeId, RequestId, TransferId, WriteId},
    io::{Content, Order, Path},
    machine::Outbox,
    membership,
    refusal::{Code, Refusal},
    store::{BlockOp, SegmentId, WriteBatch},
    time::Instant,
};

use super::*;
use crate::{
    effects::{Blocks, Contents, Network, Runtime, Tape},
    handle::{self, Ask, NodeHandle, TIMEOUT_MAX},
    inbox::{self, Inlet},
    transport::Busy,
};

const PEER: NodeId = NodeId([9; 32]);

/// A node that tells what it was told, and acts on commands: `Status` persists and answers once that is durable, `Cells`
/// sends a frame, `Resolve` dials.
struct Toy {
    outbox: Outbox<Output>,
    told: mpsc::Sender<String>,
    waiting: Vec<(WriteId, RequestId)>,
    writes: u64,
    tick: Option<Instant>,
}

impl Machine for Toy {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, _: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Command { context, command } if matches!(*command, Command::Status) => {
                self.writes += 1;
                let write = WriteId(self.writes);
                self.waiting.push((write, context.request));
                self.outbox.push(Output::Persist { write, batch: WriteBatch::default() });
            }
            Input::Command { context, command } if matches!(*command, Command::Cells) => {
                let frame = Frame::Gossip(membership::Message::Records(vec![]));
                self.outbox.push(Output::Send { to: PEER, wire: 1, frame });
                self.outbox.push(Output::Reply { request: context.request, result: Ok(Reply::Done) });
            }
            Input::Command { context, command } if matches!(*command, Command::Resolve { .. }) => {
                self.outbox.push(Output::Dial { peer: PEER, via: Path::Direct(vec![]) });
                self.outbox.push(Output::Reply { request: context.request, result: Ok(Reply::Done) });
            }
            Input::Persisted(write) => {
                for (_, request) in self.waiting.extract_if(.., |(waits_for, _)| *waits_for <= write) {
                    self.outbox.push(Output::Reply { request, result: Ok(Reply::Done) });
                }
            }
            Input::PersistFailed(..) => {
                for (_, request) in self.waiting.drain(..) {
                    let refusal = Refusal::indefinite(Code::DiskFailed, "its disk failed");
                    self.outbox.push(Output::Reply { request, result: Err(refusal) });
                }
            }
            other => self.told.send(format!("{other:?}")).unwrap(),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        if let Some(tick) = self.tick
            && tick <= now.instant
        {
            self.tick = Some(now.instant + Duration::from_millis(1));
            self.outbox.push(Output::Notice(Notice::PeerUp(PEER)));
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.tick.map(|at| Deadline { at, reason: "tick" })
    }
}

/// A store that reads one segment to boot, and writes and syncs each batch.
struct ToyStore {
    outbox: Outbox<store::Output>,
    syncing: Vec<(BlockOp, WriteId)>,
    next: u64,
    fails: bool,
}

impl ToyStore {
    fn open(fails: bool) -> Self {
        let mut outbox = Outbox::default();
        outbox.push(store::Output::Read { op: BlockOp(1), segment: SegmentId(1), offset: 0, len: 1 });
        Self { outbox, syncing: vec![], next: 1, fails }
    }
}

impl Machine for ToyStore {
    type Input = store::Input;
    type Output = store::Output;

    fn handle_input(&mut self, _: Now, input: store::Input) {
        self.outbox.begin_step();
        match input {
            store::Input::Done { op: BlockOp(1), .. } => self.outbox.push(store::Output::Booted(Box::default())),
            store::Input::Persist { write, .. } => {
                self.next += 2;
                let (op, segment) = (BlockOp(self.next), SegmentId(1));
                let bytes = Blob::from("batch");
                self.outbox.push(store::Output::Write { op: BlockOp(self.next - 1), segment, offset: 0, bytes });
                self.outbox.push(store::Output::Sync { op, segment });
                self.syncing.push((op, write));
            }
            store::Input::Done { op, .. } => {
                for (_, write) in self.syncing.extract_if(.., |(syncing, _)| *syncing == op) {
                    let said = if self.fails {
                        store::Output::PersistFailed(write, DiskFault::Full)
                    } else {
                        store::Output::Persisted(write)
                    };
                    self.outbox.push(said);
                }
            }
            store::Input::Load { .. } | store::Input::Failed { .. } => panic!("this toy does not do that"),
        }
    }

    fn handle_timeout(&mut self, _: Now) {
        self.outbox.begin_step();
    }

    fn poll_output(&mut self) -> Option<store::Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}

/// Stands for network, disk, contents and runtime, and writes down what it was asked.
#[derive(Clone)]
struct Fake {
    inlet: Inlet,
    asked: Arc<Mutex<Vec<String>>>,
    sent: Sent,
}

impl Fake {
    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }
}

impl Network for Fake {
    fn dial(&self, _: NodeId, _: &Path) -> Result<(), Busy> {
        Err(Busy)
    }

    fn reserve(&self, _: NodeId, _: bool) {
        self.note("reserve");
    }

    fn hangup(&self, _: NodeId) {
        self.note("hangup");
    }

    fn send(&self, _: NodeId, _: u16, _: &Frame) -> Sent {
        self.note("send");
        self.sent
    }
}

impl Blocks for Fake {
    fn submit(&mut self, verb: store::Output) {
        let (op, what) = match verb {
            store::Output::Read { op, .. } => (op, "read"),
            store::Output::Write { op, .. } => (op, "write"),
            store::Output::Sync { op, .. } => (op, "sync"),
            other => panic!("not asked of this disk: {other:?}"),
        };
        self.note(what);
        self.inlet.block(store::Input::Done { op, bytes: None }).unwrap();
    }
}

impl Contents for Fake {
    fn transfer(&self, _: TransferId, _: NodeId, _: Content) {}
    fn provide(&self, _: ContentHash, _: Blob) {}
    fn withdraw(&self, _: ContentHash) {}
}

impl Runtime for Fake {
    fn order(&self, _: Order) {}
}

impl Tape for Fake {
    fn open(&mut self, _: &Boot, _: Now) {
        self.note("tape: open");
    }

    fn output(&mut self, _: &Output) {
        self.note("tape: output");
    }

    fn done(&mut self) {
        self.note("tape: done");
    }

    fn record(&mut self, _: Now, step: Step<'_>) {
        self.note(match step {
            Step::Store(_) => "tape: store",
            Step::StoreTimeout => "tape: store timeout",
            Step::Node(_) => "tape: node",
            Step::NodeTimeout => "tape: node timeout",
        });
    }
}

struct Rig {
    handle: NodeHandle,
    driver: Driver,
    inlet: Inlet,
    told: mpsc::Receiver<String>,
    fake: Fake,
}

fn rig(sent: Sent, ticks: bool, taped: bool) -> Rig {
    rig_on(ToyStore::open(false), sent, ticks, taped)
}

fn rig_on(store: ToyStore, sent: Sent, ticks: bool, taped: bool) -> Rig {
    let clock = Clock::start();
    let (handle, handles) = handle::channel(clock);
    let (inlet, inbox) = inbox::channel();
    let (teller, told) = mpsc::channel();
    let fake = Fake { inlet: inlet.clone(), asked: Arc::default(), sent };
    let effects = Effects {
        network: Box::new(fake.clone()),
        blocks: Box::new(fake.clone()),
        contents: Box::new(fake.clone()),
        runtime: Box::new(fake.clone()),
        tape: taped.then(|| Box::new(fake.clone()) as Box<dyn Tape>),
    };
    let open = move |_: Boot, now: Now| Toy {
        outbox: Outbox::default(),
        told: teller,
        waiting: vec![],
        writes: 0,
        tick: ticks.then_some(now.instant),
    };
    let parts = Parts { store, open, effects, inbox, handles, clock };
    Rig { handle, driver: Driver::start(parts).unwrap(), inlet, told, fake }
}

const SOON: Ask = Ask { timeout: TIMEOUT_MAX, tenant: None, op: None, trace: bocage_protocol::id::TraceId([0; 16]) };

#[tokio::test]
async fn a_command_is_answered_once_its_write_is_synced() {
    let rig = rig(Sent::Queued, false, false);
    assert_eq!(rig.handle.ask(SOON, Command::Status).await, Ok(Reply::Done));
    assert_eq!(*rig.fake.asked.lock().unwrap(), ["read", "write", "sync"]);
    rig.driver.stop();
    assert_eq!(rig.driver.join(), Ok(()));
}

#[tokio::test]
async fn the_machine_is_told_of_a_full_queue_and_of_a_dial_that_could_not_be_made() {
    let rig = rig(Sent::Full, false, false);
    rig.handle.ask(SOON, Command::Cells).await.unwrap();
    assert!(rig.told.recv().unwrap().contains("Full"));
    rig.handle.ask(SOON, Command::Resolve { host: String::new() }).await.unwrap();
    assert!(rig.told.recv().unwrap().contains("Unreachable"));
    rig.driver.stop();
}

#[tokio::test]
async fn a_busy_channel_does_not_starve_deadlines() {
    let rig = rig(Sent::Queued, true, false);
    let mut notices = rig.handle.notices();
    let inlet = rig.inlet.clone();
    let flood = tokio::spawn(async move {
        loop {
            let input = Input::Link { peer: PEER, change: LinkChange::Down };
            if inlet.input(Urgency::Control, input).await.is_err() {
                return;
            }
        }
    });
    // Each tick needs its deadline to fire although an input always waits.
    for _ in 0..20 {
        notices.recv().await.unwrap();
    }
    assert!(rig.told.try_iter().count() > 0, "and the flood was taken in meanwhile");
    flood.abort();
    rig.driver.stop();
}

#[tokio::test]
async fn bulk_is_taken_in_although_control_never_ends() {
    let rig = rig(Sent::Queued, false, false);
    let inlet = rig.inlet.clone();
    let flood = tokio::spawn(async move {
        let input = || Input::Link { peer: PEER, change: LinkChange::Down };
        while inlet.input(Urgency::Control, input()).await.is_ok() {}
    });
    let bulk = Input::Link { peer: PEER, change: LinkChange::Discovered { address: "bulk".into() } };
    rig.inlet.input(Urgency::Bulk, bulk).await.unwrap();
    let told = rig.told;
    tokio::task::spawn_blocking(move || while !told.recv().unwrap().contains("Discovered") {}).await.unwrap();
    flood.abort();
    rig.driver.stop();
}

#[tokio::test]
async fn a_tape_has_every_step_before_it_is_made_and_what_came_of_it() {
    let rig = rig(Sent::Queued, false, true);
    rig.handle.ask(SOON, Command::Status).await.unwrap();
    rig.driver.stop();
    rig.driver.join().unwrap();
    let asked = rig.fake.asked.lock().unwrap();
    let begin = [
        "read",
        "tape: store",
        "tape: open",
        "tape: done",
        "tape: node",
        "tape: output",
        "tape: store",
        "write",
        "sync",
        "tape: done",
        "tape: store",
        "tape: store",
        "tape: node",
    ];
    assert_eq!(asked[..begin.len()], begin);
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_driver_once_whoever_waited_was_told() {
    let rig = rig_on(ToyStore::open(true), Sent::Queued, false, false);
    let refusal = rig.handle.ask(SOON, Command::Status).await.unwrap_err();
    assert_eq!(refusal.code, Code::DiskFailed, "{refusal}");
    rig.handle.stopped().await;
    let ended = rig.driver.join().unwrap_err();
    assert_eq!(ended, DriverError::DiskFailed(DiskFault::Full));
    assert!(ended.to_string().contains("the disk is full") && ended.to_string().contains("make room"), "{ended}");
}

#[tokio::test]
async fn a_machine_that_breaks_takes_no_more_requests_and_says_so() {
    let rig = rig(Sent::Queued, false, false);
    drop(rig.told);
    let down = Input::Link { peer: PEER, change: LinkChange::Down };
    rig.inlet.input(Urgency::Control, down).await.unwrap();
    rig.handle.stopped().await;
    assert_eq!(rig.driver.join(), Err(DriverError::Broken));
    let refusal = rig.handle.ask(
        SOON,
        Command::Read { cell: CellId::default(), barrier: bocage_protocol::cell::Barrier::Linear, queries: vec![] },
    );
    assert_eq!(refusal.await.unwrap_err().code, Code::Unreachable);
}
