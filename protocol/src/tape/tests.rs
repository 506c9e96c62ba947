//! What is written on a tape is read from it, and nothing else is.
use std::{collections::BTreeSet, time::Duration};

use data_encoding::HEXLOWER;
use serde_json::Value;

use super::*;
use crate::{
    cell::{
        Barrier, Base, CellConfig, Query, State, TenantAction,
        fixture::{self, FOUNDED, Founding},
    },
    charter::Papers,
    codec::{self, Blob},
    command::{Command, Terms},
    config::Config,
    context::Context,
    departure,
    frame::Frame,
    id::{CellId, ContentHash, DiskId, InstanceId, NodeId, ReadId, RequestId, TraceId, TransferId, WriteId},
    identity::{Endorsed, Founding as MeshFounding, Keypair, Lineage, Verified},
    io::{Input, InstanceChange, LinkChange, Output, Over, Reading, TransferFault},
    membership,
    placement::Policy,
    policies::Policies,
    random::Seed,
    record::KeyWord,
    refusal::{Code, Refusal},
    resources::Resources,
    store::{Boot, CellBoot, CellSnapshot, DiskFault, HardState, LogEntry, Rot, SnapshotMeta, WriteBatch},
    time::{Instant, Now, Timestamp},
    wire::WireRange,
};

const PEER: NodeId = NodeId([9; 32]);

fn now() -> Now {
    Now { instant: Instant::from_nanos(1_234_567_890_123), wall: Timestamp(FOUNDED.0 + 5) }
}

fn cell_boot() -> CellBoot {
    let meta = SnapshotMeta { index: 3, term: 2, voters: vec![1, 2], auto_leave: true, ..SnapshotMeta::default() };
    let entry = LogEntry { index: 4, term: 2, kind: 0, data: "entry".into(), context: Blob::default() };
    CellBoot {
        hard_state: HardState { term: 2, vote: 1, commit: 4 },
        snapshot: Some(CellSnapshot { meta, state: "state".into() }),
        entries: vec![entry],
    }
}

/// One of each variant; those that hold nothing and those that hold something.
fn commands() -> Vec<Command> {
    let founding = Founding::of(&fixture::hosts(3));
    let state = State::found(&founding.genesis()).unwrap();
    let tenant = &founding.tenant;
    let lineage = Lineage::first(tenant.genesis.clone());
    let next = Keypair::from_secret(&[77; 32]);
    let succession = Endorsed::draft(&lineage.next(0, next.public(), FOUNDED).unwrap()).with(&tenant.keys).with(&next);
    let base = Base { node: PEER, replica: crate::id::ReplicaId(1), term: 3, index: 42 };
    let instance = InstanceId { cell: CellId([1; 32]), number: 7 };
    let queries = vec![Query::Get { store: "s".into(), key: "k".into() }, Query::Describe];
    let terms = Terms {
        total: Resources { cpu_millis: 1_500, memory_bytes: 1 << 30, disk_bytes: 1 << 40 },
        price: fixture::price(),
    };
    let papers = Papers { statements: vec![tenant.signed_genesis().envelope().clone()], founding: None };
    vec![
        Command::Deploy {
            tenant: tenant.signed_genesis(),
            successions: vec![succession.clone()],
            release: founding.signed_release(),
        },
        Command::Plan { policy: Box::new(Policy::default()) },
        Command::Submit {
            cell: state.cell(),
            command: Box::new(tenant.command(&state, fixture::op("t", 1), TenantAction::Remove)),
        },
        Command::Read { cell: state.cell(), barrier: Barrier::AtLeast(9), queries: queries.clone() },
        Command::GuestRead { instance, seen: Some(4), queries: queries.clone() },
        Command::GuestRead { instance, seen: None, queries },
        Command::Write { instance, generation: 3, writes: vec![fixture::set("s", "k", "v")] },
        Command::Resolve { host: "guestbook.localhost".into() },
        Command::Offer(Some(terms)),
        Command::Offer(None),
        Command::Drain(Some(departure::Order { within: Duration::from_millis(90_001), as_crash: true })),
        Command::Drain(None),
        Command::Drained,
        Command::Depart,
        Command::Reach,
        Command::Roll,
        Command::Papers(Box::new(papers)),
        Command::Word(Box::new(KeyWord::Lineage(Lineage { successions: vec![succession], ..lineage }))),
        Command::Certificate(Box::new(fixture::hosts(1)[0].certificate.clone())),
        Command::Status,
        Command::Survey { cell: state.cell() },
        Command::Recover(Box::new(fixture::recovery(&state, base, tenant, &[], FOUNDED))),
        Command::Cells,
        Command::Bring { content: ContentHash([8; 32]), size_bytes_max: 1 << 20, from: vec![PEER] },
        Command::Apps { tenant: tenant.tenant_id(), app: Some("guestbook".into()) },
        Command::Apps { tenant: tenant.tenant_id(), app: None },
    ]
}

const fn place_of_command(command: &Command) -> usize {
    match command {
        Command::Deploy { .. } => 0,
        Command::Plan { .. } => 1,
        Command::Submit { .. } => 2,
        Command::Read { .. } => 3,
        Command::GuestRead { .. } => 4,
        Command::Write { .. } => 5,
        Command::Resolve { .. } => 6,
        Command::Offer(_) => 7,
        Command::Drain(_) => 8,
        Command::Drained => 9,
        Command::Depart => 10,
        Command::Reach => 11,
        Command::Roll => 12,
        Command::Papers(_) => 13,
        Command::Word(_) => 14,
        Command::Certificate(_) => 15,
        Command::Status => 16,
        Command::Survey { .. } => 17,
        Command::Recover(_) => 18,
        Command::Cells => 19,
        Command::Bring { .. } => 20,
        Command::Apps { .. } => 21,
    }
}

fn changes() -> Vec<LinkChange> {
    let address = || "/ip4/192.0.2.1/udp/4001/quic-v1".to_owned();
    vec![
        LinkChange::Up { address: Some(address()), over: Over::Quic },
        LinkChange::Up { address: None, over: Over::Relay(PEER) },
        LinkChange::Moved { address: None, over: Over::Tcp },
        LinkChange::Down,
        LinkChange::Unreachable { path: crate::io::PathKind::Relayed, why: "no way".into() },
        LinkChange::Unreachable { path: crate::io::PathKind::Direct, why: String::new() },
        // Not a whole number of milliseconds.
        LinkChange::RoundTrip(Duration::from_nanos(12_345_678)),
        LinkChange::Full,
        LinkChange::Discovered { address: address() },
        LinkChange::Listening { address: address() },
        LinkChange::Deaf { address: address() },
        LinkChange::Reserved,
        LinkChange::Unreserved { why: "full".into() },
        LinkChange::Tested { address: address(), reached: true },
        LinkChange::Observed { address: address() },
        LinkChange::Punched { failed: Some("late".into()) },
        LinkChange::Punched { failed: None },
    ]
}

const fn place_of_change(change: &LinkChange) -> usize {
    match change {
        LinkChange::Up { .. } => 0,
        LinkChange::Moved { .. } => 1,
        LinkChange::Down => 2,
        LinkChange::Unreachable { .. } => 3,
        LinkChange::RoundTrip(_) => 4,
        LinkChange::Full => 5,
        LinkChange::Discovered { .. } => 6,
        LinkChange::Listening { .. } => 7,
        LinkChange::Deaf { .. } => 8,
        LinkChange::Reserved => 9,
        LinkChange::Unreserved { .. } => 10,
        LinkChange::Tested { .. } => 11,
        LinkChange::Observed { .. } => 12,
        LinkChange::Punched { .. } => 13,
    }
}

/// Every frame of the vectors, in both versions.
fn frames() -> Vec<Frame> {
    let vectors: Value = serde_json::from_str(include_str!("../../../docs/vectors/frames.json")).unwrap();
    let valid = vectors["frames"].as_array().unwrap().iter().filter(|it| it["verdict"] == "valid");
    let read = valid.map(|it| {
        let bytes = HEXLOWER.decode(it["bytes"].as_str().unwrap().as_bytes()).unwrap();
        Frame::decode(&bytes, WireRange::default()).unwrap()
    });
    read.collect()
}

fn faults() -> [DiskFault; 3] {
    [DiskFault::Full, DiskFault::Failed("gone".into()), DiskFault::Corrupt("rot".into())]
}

fn inputs() -> Vec<Input> {
    let mut all = Vec::new();
    for frame in frames() {
        all.push(Input::Received { from: PEER, frame: Verified::own(frame) });
    }
    all.extend(changes().into_iter().map(|change| Input::Link { peer: PEER, change }));
    all.push(Input::Datagram { from: PEER, bytes: Blob::from("ping") });
    all.push(Input::Persisted(WriteId(5)));
    all.extend(faults().map(|fault| Input::PersistFailed(WriteId(6), fault)));
    all.push(Input::Loaded { read: ReadId(1), result: Ok(None) });
    all.push(Input::Loaded { read: ReadId(2), result: Ok(Some(Box::new(cell_boot()))) });
    all.extend(faults().map(|fault| Input::Loaded { read: ReadId(3), result: Err(fault) }));
    let ends = [
        Ok(None),
        Ok(Some(Blob::from("snapshot"))),
        Err(TransferFault::NotThere),
        Err(TransferFault::Broken("cut".into())),
        Err(TransferFault::TooLong),
        Err(TransferFault::Disk(DiskFault::Full)),
    ];
    all.extend(ends.map(|result| Input::Transferred { id: TransferId(7), result }));
    let id = InstanceId { cell: CellId([1; 32]), number: 7 };
    let changes = [InstanceChange::Started, InstanceChange::Failed("trap".into()), InstanceChange::Stopped];
    all.extend(changes.map(|change| Input::Instance { id, generation: 2, change }));
    all.push(Input::Reading(Reading {
        instance: id,
        interval: Duration::new(10, 1),
        requests: 3,
        cpu: Duration::from_nanos(u64::MAX),
        memory_bytes: 1 << 20,
    }));
    let context = Context {
        op: Some(fixture::op("client", 7)),
        request: RequestId(42),
        tenant: Some(fixture::Party::tenant("tess").tenant_id()),
        trace: TraceId([3; 16]),
        deadline: Instant::from_nanos(u64::MAX),
    };
    let bare = Context::until(RequestId(1), Instant::START);
    for (number, command) in commands().into_iter().enumerate() {
        let context = if number % 2 == 0 { context } else { bare };
        all.push(Input::Command { context, command: Box::new(command) });
    }
    all
}

const fn place(input: &Input) -> usize {
    match input {
        Input::Received { .. } => 0,
        Input::Link { .. } => 1,
        Input::Persisted(_) => 2,
        Input::PersistFailed(..) => 3,
        Input::Loaded { .. } => 4,
        Input::Transferred { .. } => 5,
        Input::Instance { .. } => 6,
        Input::Reading(_) => 7,
        Input::Command { .. } => 8,
        Input::Datagram { .. } => 9,
    }
}

#[test]
fn every_input_is_read_from_a_tape_as_it_was() {
    let (mut places, mut changes, mut commands, mut kinds) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for input in inputs() {
        places.insert(place(&input));
        kinds.insert(kind(Some(&input)));
        match &input {
            Input::Link { change, .. } => drop(changes.insert(place_of_change(change))),
            Input::Command { command, .. } => drop(commands.insert(place_of_command(command))),
            _ => {}
        }
        let read =
            Record::decode(&Record::step(now(), Some(&input))).unwrap_or_else(|error| panic!("{input:?}: {error}"));
        assert_eq!(read, Record::Step { now: now(), input: Some(input) });
    }
    assert_eq!((places.len(), changes.len(), commands.len()), (10, 14, 22), "a variant is not tested");
    assert_eq!(kinds.iter().filter(|kind| kind.starts_with("frame")).count(), 8, "{kinds:?}");
    assert_eq!(Record::decode(&Record::step(now(), None)).unwrap(), Record::Step { now: now(), input: None });
}

#[test]
fn a_frame_whose_signature_does_not_hold_is_read_from_no_tape() {
    let hello = frames().into_iter().find(|frame| matches!(frame, Frame::Hello(_))).unwrap();
    let input = Input::Received { from: PEER, frame: Verified::own(hello) };
    let mut bytes = Record::step(now(), Some(&input)).to_vec();
    let certificate = codec::encode(&fixture::hosts(1)[0].certificate);
    let at = bytes.windows(certificate.len()).position(|window| *window == certificate[..]).unwrap();
    bytes[at + certificate.len() - 1] ^= 1;
    let error = Record::decode(&bytes).unwrap_err().to_string();
    assert!(error.contains("signature"), "{error}");
}

fn config() -> Config {
    let host = &fixture::hosts(1)[0];
    let operator = fixture::Party::operator("olga");
    Config {
        mesh: fixture::mesh(),
        identity: host.identity(),
        founding: Some(MeshFounding {
            name: "hedge".into(),
            operators: vec![operator.genesis.clone()],
            founded: FOUNDED,
        }),
        request: Some(vec![operator.signed_genesis().envelope().clone()]),
        zone: "localhost".into(),
        bootstrap: vec![(PEER, vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()])],
        announce: vec!["/ip4/192.0.2.2/udp/4001/quic-v1".into()],
        relays: true,
        offer: Some(Terms { total: Resources::default(), price: fixture::price() }),
        cell: CellConfig { quiet: Duration::from_nanos(1_500_000_001), ..CellConfig::default() },
        wire: WireRange::up_to(1).unwrap(),
        membership: membership::Config { relays: true, ..membership::Config::default() },
        policies: Policies::default(),
    }
}

#[test]
fn what_a_node_opened_with_is_read_from_its_tape_and_its_key_is_not_on_it() {
    let config = config();
    let rot = Rot { cells: [CellId([4; 32])].into(), keys: [Blob::from("k")].into(), unnamed: 2 };
    let mut boot = Boot { disk: DiskId([5; 32]), boots: 3, rot, ..Boot::default() };
    boot.keyed.insert("key".into(), "value".into());
    boot.cells.insert(CellId([1; 32]), cell_boot());
    let program = Program { version: "0.1.0".into(), commit: "unknown".into() };
    let opening = Opening::new(program, &config, Seed([6; 32]), &boot, now());
    let bytes = Record::Opening(Box::new(opening.clone())).encode();
    let secret = fixture::hosts(1)[0].keys.secret();
    assert!(!bytes.windows(32).any(|window| window == secret), "the node's key is on its tape");
    assert_eq!(Record::decode(&bytes).unwrap(), Record::Opening(Box::new(opening.clone())));

    let (again, _) = opening.config().unwrap();
    assert_eq!(format!("{:?}", (&again.cell, &again.membership, again.wire)), {
        format!("{:?}", (&config.cell, &config.membership, config.wire))
    });
    assert_eq!(Opening::new(opening.program.clone(), &again, Seed([6; 32]), &boot, now()), opening);
    let (key, value) = boot.keyed.first_key_value().unwrap();
    let keyed = Record::decode(&Record::keyed(key, value)).unwrap();
    assert_eq!(keyed, Record::Keyed { key: key.clone(), value: value.clone() });
    let cell = Record::decode(&Record::cell(CellId([1; 32]), &cell_boot())).unwrap();
    assert_eq!(cell, Record::Cell { cell: CellId([1; 32]), boot: cell_boot() });
    assert_eq!(opening.boot(), Boot { keyed: [].into(), cells: [].into(), ..boot });
}

#[test]
fn a_node_that_is_played_signs_as_it_did_and_nothing_else() {
    let (once, made) = config().identity.taped();
    let statements = ["one", "two"].map(|name| MeshFounding { name: name.into(), operators: vec![], founded: FOUNDED });
    let signed = statements.each_ref().map(|statement| once.seal(statement));
    let (again, signatures) = {
        let (config, signatures) = Opening::new(
            Program { version: String::new(), commit: String::new() },
            &config(),
            Seed([6; 32]),
            &Boot::default(),
            now(),
        )
        .config()
        .unwrap();
        (config.identity, signatures)
    };
    let made = made.take();
    assert_eq!(made.len(), 2);
    signatures.put(made);
    assert_eq!(statements.each_ref().map(|statement| again.seal(statement)), signed);
    assert!(signed.iter().all(|signed| signed.verify().is_ok()));
    assert!(again.seal(&statements[0]).verify().is_err(), "it has no key");
}

#[test]
fn other_outputs_have_other_digests() {
    let reply = |code| Output::Reply { request: RequestId(1), result: Err(Refusal::definite(code, "why")) };
    let mut outputs = vec![
        Output::Persist { write: WriteId(1), batch: WriteBatch::default() },
        Output::Persist { write: WriteId(2), batch: WriteBatch::default() },
        Output::Provide { content: ContentHash([1; 32]), bytes: "bytes".into() },
        Output::Provide { content: ContentHash([1; 32]), bytes: "bytez".into() },
        Output::Hangup { peer: PEER },
        reply(Code::Full),
        reply(Code::Timeout),
    ];
    outputs.extend([1, 2].map(|wire| Output::Send { to: PEER, wire, frame: frames().swap_remove(1) }));
    let digests: BTreeSet<Digest> = outputs.iter().map(digest).collect();
    assert_eq!(digests.len(), outputs.len());
    assert!(outputs.iter().all(|output| digest(output) == digest(&output.clone())));
}

fn records() -> Vec<Blob> {
    let done = Record::Done { signatures: vec![], outputs: Blob::default() }.encode();
    vec![
        Record::keyed(&"key".into(), &"value".into()),
        Record::step(now(), None),
        done,
        Record::End(End::Stopped).encode(),
    ]
}

/// Head and records of a first segment.
fn segment() -> Vec<u8> {
    let mut chain = Chain::default();
    let mut bytes = chain.head(1).to_vec();
    for record in records() {
        bytes.extend(chain.seal(&record).unwrap());
        bytes.extend_from_slice(&record);
    }
    bytes
}

/// So many records are whole, and what is wrong with the next one; nothing: the bytes end there.
fn read(bytes: &[u8]) -> (usize, Option<Flaw>) {
    let mut chain = Chain::default();
    let Some((head, mut rest)) = bytes.split_first_chunk() else { return (0, None) };
    if let Err(flaw) = chain.opens(head, 1) {
        return (0, Some(flaw));
    }
    let mut whole = 0;
    while let Some((prefix, behind)) = rest.split_first_chunk() {
        let length = match chain.length(prefix) {
            Ok(length) => length,
            Err(flaw) => return (whole, Some(flaw)),
        };
        let Some((record, behind)) = behind.split_at_checked(length) else { break };
        if let Err(flaw) = chain.check(prefix, record) {
            return (whole, Some(flaw));
        }
        rest = behind;
        whole += 1;
    }
    (whole, None)
}

#[test]
fn a_tape_that_was_cut_anywhere_is_good_as_far_as_it_goes() {
    let whole = segment();
    let mut ends = vec![HEAD_BYTES];
    for record in records() {
        ends.push(ends.last().unwrap() + PREFIX_BYTES + record.len());
    }
    for cut in 0..=whole.len() {
        let records = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        assert_eq!(read(&whole[..cut]), (records, None), "cut at {cut}");
    }
}

#[test]
fn a_changed_bit_anywhere_is_found_at_its_record() {
    let whole = segment();
    let mut ends = vec![HEAD_BYTES];
    for record in records() {
        ends.push(ends.last().unwrap() + PREFIX_BYTES + record.len());
    }
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let before = ends.iter().filter(|end| **end <= bit / 8).count().saturating_sub(1);
        let (records, flaw) = read(&changed);
        assert_eq!(records, before, "bit {bit}");
        let flaw = flaw.unwrap_or_else(|| panic!("bit {bit} is not missed"));
        let expected = match bit / 8 {
            0..11 => Flaw::Foreign,
            11..13 => Flaw::Format(FORMAT ^ (1 << (bit - 88))),
            13..HEAD_BYTES => Flaw::Order,
            _ => Flaw::Changed,
        };
        assert_eq!(flaw, expected, "bit {bit}");
    }
}

#[test]
fn a_record_that_was_left_out_or_told_twice_is_found() {
    let whole = segment();
    let first = HEAD_BYTES + PREFIX_BYTES + records()[0].len();
    let without = [&whole[..HEAD_BYTES], &whole[first..]].concat();
    assert_eq!(read(&without), (0, Some(Flaw::Changed)));
    let twice = [&whole[..first], &whole[HEAD_BYTES..]].concat();
    assert_eq!(read(&twice), (1, Some(Flaw::Changed)));
}

#[test]
fn a_segment_follows_the_one_before_it_and_no_other() {
    let mut one = Chain::default();
    one.head(1);
    let mut other = one.clone();
    one.seal(b"this").unwrap();
    other.seal(b"that").unwrap();
    let second = one.clone().head(2);
    assert_eq!(other.opens(&second, 2), Err(Flaw::Order));
    assert_eq!(one.clone().opens(&second, 3), Err(Flaw::Order));
    assert_eq!(one.opens(&second, 2), Ok(()));
}
