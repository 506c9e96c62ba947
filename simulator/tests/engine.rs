//! The world itself, driving a toy daemon: links, disks, clocks, faults, trace and tape, without the protocol.
use std::{collections::BTreeMap, time::Duration};

use bocage_protocol::{
    codec::Blob,
    config::Config,
    frame::Frame,
    id::{CellId, NodeId, WriteId},
    io::{Input, LinkChange, Output, Path},
    machine::{Deadline, Machine, Outbox},
    membership::Address,
    notice::Notice,
    random::Seed,
    route,
    store::{Boot, StoreOp, WriteBatch},
    time::{Instant, Now},
};
use bocage_simulator::{Bug, Daemon, Options, Property, Report, Scenario, measure, run_with};

/// Counts the frames it gets, durably, and says of each count, once it is durable, in which life it made it. A count said
/// in two lives was lost in between: the checker of agreement sees it as two entries at one index.
#[derive(Debug)]
struct Toy {
    me: NodeId,
    /// Another one in each life.
    seed: Seed,
    count: u64,
    unsaid: BTreeMap<WriteId, u64>,
    writes: u64,
    wanted: Vec<(NodeId, Vec<Address>)>,
    peers: Vec<NodeId>,
    next: Instant,
    outbox: Outbox<Output>,
}

impl Toy {
    fn dial(&mut self) {
        for (peer, addresses) in &self.wanted {
            if !self.peers.contains(peer) {
                self.outbox.push(Output::Dial { peer: *peer, via: Path::Direct(addresses.clone()) });
            }
        }
    }
}

impl Daemon for Toy {
    fn open(config: Config, seed: Seed, boot: Boot, now: Now) -> Self {
        let key: Blob = "count".into();
        let count = boot.keyed.get(&key).map_or(0, |bytes| u64::from_be_bytes((**bytes).try_into().unwrap()));
        let mut this = Self {
            me: config.identity.node(),
            seed,
            count,
            unsaid: BTreeMap::new(),
            writes: 0,
            wanted: config.bootstrap,
            peers: Vec::new(),
            next: now.instant,
            outbox: Outbox::default(),
        };
        this.dial();
        this
    }
}

impl Machine for Toy {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, _: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Link { peer, change: LinkChange::Up { .. } } => {
                assert!(!self.peers.contains(&peer), "a link comes up once");
                self.peers.push(peer);
            }
            Input::Link { peer, change: LinkChange::Down } => {
                assert!(self.peers.contains(&peer), "a link goes down after it was up");
                self.peers.retain(|other| *other != peer);
            }
            Input::Received { .. } => {
                self.count += 1;
                self.writes += 1;
                self.unsaid.insert(WriteId(self.writes), self.count);
                let value = Blob::from(&self.count.to_be_bytes()[..]);
                let batch = WriteBatch { ops: vec![StoreOp::Put { key: "count".into(), value }] };
                self.outbox.push(Output::Persist { write: WriteId(self.writes), batch });
            }
            Input::Persisted(write) => {
                let later = self.unsaid.split_off(&WriteId(write.0 + 1));
                for (_, index) in std::mem::replace(&mut self.unsaid, later) {
                    let digest = self.seed.split_for("digest", &index.to_be_bytes()).0;
                    let cell = CellId(self.me.0);
                    self.outbox.push(Output::Notice(Notice::Applied { cell, line: 0, index, digest }));
                }
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        if now.instant < self.next {
            return;
        }
        self.next = now.instant + Duration::from_millis(100);
        self.dial();
        for to in self.peers.clone() {
            let frame = Frame::Route(route::Message::Subscribe { cell: CellId(self.me.0) });
            self.outbox.push(Output::Send { to, wire: 1, frame });
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Some(Deadline { at: self.next, reason: "hello" })
    }
}

fn scenario(more: &str) -> Scenario {
    let text = format!(
        r#"
        name = "toys"
        duration_s = 60
        settle_s = 3
        [check]
        convergence = false
        [[population]]
        jurisdiction = "FR"
        operators = 3
        [[population]]
        jurisdiction = "DE"
        operators = 1
        nodes = 2
        {more}"#
    );
    Scenario::parse(&text).unwrap()
}

const FAULTS: &str = r#"
    [[fault]]
    at_s = 5
    for_s = 3
    what = "power"
    who = { any = 2 }
    [[fault]]
    at_s = 15
    for_s = 8
    what = "cut"
    who = { jurisdiction = "DE" }
    [[fault]]
    at_s = 28
    for_s = 5
    what = "stall"
    who = { node = 1 }
    [[fault]]
    at_s = 35
    for_s = 5
    what = "loss"
    per_mille = 500
    [[fault]]
    at_s = 45
    what = "replace"
    who = { operator = "FR-2" }
    [[fault]]
    at_s = 50
    for_s = 2
    what = "power"
    who = { any = 3 }
"#;

fn run(scenario: &Scenario, seed: u64, options: &Options) -> Report {
    run_with::<Toy>(scenario, seed, options).0
}

fn properties(report: &Report) -> Vec<Property> {
    report.violations.iter().map(|violation| violation.property).collect()
}

#[test]
fn a_world_with_every_fault_loses_nothing_that_was_durable() {
    for seed in 0..20 {
        let report = run(&scenario(FAULTS), seed, &Options::default());
        assert_eq!(report.violations, [], "seed {seed}");
        assert!(report.counts["notice_applied"] > 1_000, "{:?}", report.counts);
        assert!(report.faults.iter().all(|fault| fault.touched > 0), "{:?}", report.faults);
        assert_eq!((report.counts["nodes_ever"], report.counts["nodes_running"]), (6, 5));
    }
}

#[test]
fn a_disk_that_lies_is_found() {
    let caught = (0..10).filter(|seed| {
        let options = Options { bug: Some(Bug::LyingDisk), ..Options::default() };
        properties(&run(&scenario(FAULTS), *seed, &options)).contains(&Property::Agreement)
    });
    assert!(caught.count() >= 8);
}

#[test]
fn a_digest_made_wrong_on_one_node_is_not_found_where_nobody_else_applies() {
    let options = Options { bug: Some(Bug::CorruptDigest), ..Options::default() };
    assert_eq!(properties(&run(&scenario(""), 1, &options)), []);
}

#[test]
fn a_panic_is_a_crash_with_its_last_steps() {
    let report = run(&scenario(""), 1, &Options { bug: Some(Bug::Panic), ..Options::default() });
    assert_eq!((properties(&report), report.exit_code()), (vec![Property::Crash], 3));
    let violation = &report.violations[0];
    assert!(violation.node == Some(0) && violation.what.contains("planted") && violation.what.contains("frame at"));
}

#[test]
fn a_declared_fault_that_touched_nothing_fails_the_run() {
    let nobody = "[[fault]]\nat_s = 1\nwhat = \"crash\"\nwho = { operator = \"XX-1\" }\n";
    let report = run(&scenario(nobody), 1, &Options::default());
    assert_eq!((properties(&report), report.exit_code()), (vec![Property::Fault], 1));
}

#[test]
fn one_seed_gives_one_trace_and_a_delivery_moved_by_a_nanosecond_another() {
    let trace = |seed, nudge| run(&scenario(FAULTS), seed, &Options { nudge, ..Options::default() }).trace_hash;
    assert_eq!(trace(5, None), trace(5, None));
    assert_ne!(trace(5, None), trace(6, None));
    for frame in [0, 100, 3_000] {
        assert_ne!(trace(5, None), trace(5, Some(frame)), "frame {frame}");
    }
}

#[test]
fn a_tape_plays_back_the_same_outputs() {
    for node in 0..5 {
        let (_, tape) = run_with::<Toy>(&scenario(FAULTS), 9, &Options { tape: Some(node), ..Options::default() });
        let tape = tape.unwrap();
        assert!(tape.len() > 50);
        tape.replay::<Toy>().unwrap();
    }
}

/// Wake-ups that fell into a stall came to nothing, and the node never woke again: a hunt showed it, by nodes that were
/// stalled for a second and never agreed with anybody after.
#[test]
fn a_node_wakes_again_after_a_stall() {
    let stalled = scenario("[[fault]]\nat_s = 10\nfor_s = 2\nwhat = \"stall\"\nwho = { node = 1 }\n");
    let rows = measure::<Toy>(&stalled, 1, &Options::default()).rows;
    let sent: Vec<f64> = rows.iter().filter(|row| row.measure == "sent_frames").map(|row| row.value).collect();
    assert_eq!(sent.len(), 5);
    assert!(sent[1] > sent[2] * 0.9, "{sent:?}");
}
