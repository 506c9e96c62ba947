//! A whole node and what peers may send to it: `[[peer, after_ms, frame]…]`, signatures taken as valid. Two peers have
//! introduced themselves. Nothing panics, and one input asks for a bounded number of things.
use std::{sync::OnceLock, time::Duration};

use bocage_protocol::{
    cell::{
        CellConfig,
        fixture::{self, FOUNDED},
    },
    codec::{self, Blob},
    command::Terms,
    config::Config,
    frame::Frame,
    identity::Verified,
    io::{Input, LinkChange, Output, Over, TransferFault},
    machine::Machine,
    membership,
    node::Node,
    notice::Notice,
    policies::Policies,
    random::Seed,
    resources::Resources,
    store::Boot,
    time::{Instant, Now},
    wire::{WIRE_OLDEST, WireRange},
};

use super::{Target, world};

pub(super) const TARGET: Target = Target {
    name: "node",
    about: "frames of two peers into a whole node",
    run,
    seeds,
    bytes_max: 64 << 10,
    heap: None,
};

/// What one frame may make a node ask for.
const OUTPUTS_MAX: usize = 20_000;

fn config() -> Config {
    let total = Resources { cpu_millis: 8_000, memory_bytes: 16 << 30, disk_bytes: 1 << 40 };
    Config {
        mesh: fixture::mesh(),
        identity: world::hosts()[0].identity(),
        founding: None,
        request: None,
        zone: "bocage".into(),
        bootstrap: Vec::new(),
        announce: vec!["/ip4/192.0.2.9/udp/4001/quic-v1".into()],
        relays: false,
        offer: Some(Terms { total, price: fixture::price() }),
        cell: CellConfig::default(),
        wire: WireRange::default(),
        membership: membership::Config::default(),
        policies: Policies::default(),
    }
}

fn run(bytes: &[u8]) {
    let Ok(letters) = codec::decode::<Vec<(u8, u64, Blob)>>("frames", bytes) else { return };
    let mut now = Now { instant: Instant::START, wall: FOUNDED };
    let mut node = Node::open(config(), Seed([1; 32]), Boot::default(), now);
    drain(&mut node, now);
    for host in &world::hosts()[1..3] {
        let peer = host.node();
        node.handle_input(now, Input::Link { peer, change: LinkChange::Up { address: None, over: Over::Quic } });
        drain(&mut node, now);
        node.handle_input(now, Input::Received { from: peer, frame: Verified::own(world::hello(host)) });
        drain(&mut node, now);
    }
    for (peer, after_ms, frame) in letters.into_iter().take(64) {
        let after = Duration::from_millis(after_ms.min(10_000));
        now = Now { instant: now.instant + after, wall: now.wall + after };
        node.handle_timeout(now);
        drain(&mut node, now);
        let Ok(frame) = Frame::decode(&frame, WireRange::default()) else { continue };
        let Ok(frame) = frame.check(|_| true) else { continue };
        let from = world::hosts()[1 + usize::from(peer) % 2].node();
        node.handle_input(now, Input::Received { from, frame });
        drain(&mut node, now);
    }
}

/// Writes are durable at once, and no bytes are to be had.
fn drain(node: &mut Node, now: Now) {
    let mut inputs = Vec::new();
    let mut outputs = 0;
    loop {
        while let Some(output) = node.poll_output() {
            outputs += 1;
            match output {
                Output::Persist { write, .. } => inputs.push(Input::Persisted(write)),
                Output::Transfer { id, .. } => {
                    inputs.push(Input::Transferred { id, result: Err(TransferFault::NotThere) });
                }
                Output::Load { read, .. } => inputs.push(Input::Loaded { read, result: Ok(None) }),
                Output::Notice(Notice::CellQuarantined { reason, .. }) => {
                    panic!("a peer's frames stopped a replica: {reason}")
                }
                Output::Dial { .. }
                | Output::Reserve { .. }
                | Output::Hangup { .. }
                | Output::Send { .. }
                | Output::Datagram { .. }
                | Output::Provide { .. }
                | Output::Withdraw { .. }
                | Output::Run(_)
                | Output::Serve(_)
                | Output::Recertify { .. }
                | Output::Keys(_)
                | Output::Reply { .. }
                | Output::Notice(_) => {}
            }
        }
        assert!(outputs < OUTPUTS_MAX, "one frame makes a node ask for more than {OUTPUTS_MAX} things");
        if inputs.is_empty() {
            return;
        }
        node.handle_input(now, inputs.remove(0));
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    static SEEDS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let make = || {
        let frames = world::all_frames();
        let mut seeds: Vec<_> = frames
            .iter()
            .map(|(name, frame)| {
                (name.clone(), codec::encode(&vec![(0_u8, 100_u64, frame.encode(WIRE_OLDEST))]).to_vec())
            })
            .collect();
        for (nth, some) in frames.chunks(8).enumerate() {
            let some: Vec<_> =
                (0_u8..).zip(some).map(|(n, (_, frame))| (n, 300_u64, frame.encode(WIRE_OLDEST))).collect();
            seeds.push((format!("some-{nth}"), codec::encode(&some).to_vec()));
        }
        // A cell is founded here, and its other members talk to it.
        let founded =
            |(name, _): &&(String, Frame)| name == "found" || name.starts_with("raft-") || name.starts_with("propose-");
        let mut cell: Vec<_> = frames.iter().filter(founded).collect();
        cell.sort_by_key(|(name, _)| name != "found");
        let cell: Vec<_> = cell.into_iter().map(|(_, frame)| (0_u8, 50_u64, frame.encode(WIRE_OLDEST))).collect();
        seeds.push(("a-cell".into(), codec::encode(&cell).to_vec()));
        seeds
    };
    SEEDS.get_or_init(make).clone()
}
