//! Frames of every kind in every version, and bytes that are none.
use std::time::Duration;

use serde_json::{Value, json};

use super::{NOW, charter::Admission, hex, records::presence, stores};
use crate::{
    birth,
    capacity::Ask,
    cell::{self, Answered, Applied, Barrier, Outcome, Query, RaftMessage, Reached, Role, State, fixture},
    cells::Mark,
    codec::{self, Blob},
    context::WireContext,
    converge,
    frame::{Frame, Hello},
    id::{CellId, ContentHash, DiskId, InstanceId, ReplicaId, RequestId, TraceId},
    identity::Signed,
    membership::{self, Contact, Parcel, Sums},
    reach,
    record::{BUCKETS, Header, Kind, Known, Order, Settled, Shared, Subject, Tier},
    refusal::{Code, Refusal},
    resources::Resources,
    route,
    store::LogEntry,
    wire::{WIRE_NEWEST, WIRE_OLDEST},
};

/// Every frame, in every version.
pub(super) fn frames() -> Value {
    let mut list = Vec::new();
    for (what, frame) in every_frame() {
        let versions =
            if matches!(frame, Frame::Hello(_)) { WIRE_OLDEST..=WIRE_OLDEST } else { WIRE_OLDEST..=WIRE_NEWEST };
        for version in versions {
            let bytes = frame.encode(version);
            list.push(json!({ "what": what, "version": version, "bytes": hex(&bytes), "verdict": "valid" }));
        }
    }
    let ping = Frame::Gossip(membership::Message::Ping(1)).encode(WIRE_OLDEST).to_vec();
    let mut bad = |what: &str, bytes: &[u8], verdict: &str| {
        list.push(json!({ "what": what, "version": null, "bytes": hex(bytes), "verdict": verdict }));
    };
    let versioned = |version: u8| [&[0x82, version][..], &ping[2..]].concat();
    bad("of version 0", &versioned(0), "malformed");
    bad("of a version that is not spoken yet", &versioned(u8::try_from(WIRE_NEWEST).unwrap() + 1), "malformed");
    bad("cut short", &ping[..ping.len() - 1], "malformed");
    bad("a byte behind it", &[&ping[..], &[0]].concat(), "malformed");
    bad("of a variant that nobody knows", &[0x82, 1, 0x82, 0x18, 0x63, 0x80], "malformed");
    bad("nothing", &[], "malformed");
    bad(
        "a list that claims more than there is",
        &[0x82, 1, 0x82, 1, 0x81, 0x82, 1, 0x81, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        "malformed",
    );
    let mut announce = Frame::Gossip(membership::Message::Announce(vec![header(1)])).encode(2).to_vec();
    let end = announce.len() - 1;
    announce[end] |= 0x80;
    bad("packed headers whose last number goes on", &announce, "malformed");
    let forged = Frame::Hello(Box::new(Hello { certificate: forged_certificate(), ..hello() }));
    bad("a Hello whose certificate is forged", &forged.encode(1), "signature");
    json!({
        "about": "A frame is [version, body], without the length that goes before it on a stream. Read it, speaking versions \
                  1 to 2, and check every signature inside: valid (and encoded again in its version it is the same bytes); \
                  malformed; signature.",
        "frames": list,
    })
}

fn context() -> WireContext {
    WireContext {
        op: Some(fixture::op("client", 7)),
        request: RequestId(42),
        tenant: Some(fixture::Party::tenant("tess").tenant_id()),
        trace: TraceId([3; 16]),
        left: Duration::from_millis(9_500),
    }
}

fn hello() -> Hello {
    Hello {
        wire: WIRE_NEWEST,
        wire_min: WIRE_OLDEST,
        mesh: fixture::mesh(),
        certificate: fixture::hosts(1)[0].certificate.clone(),
        disk: DiskId([5; 32]),
        boots: 3,
        wall: NOW,
        relays: Some(true),
        finds: Some(true),
        credentials: None,
        parts: Some(true),
        sleeps: Some(true),
        recovers: Some(true),
        converges: Some(true),
    }
}

fn forged_certificate() -> Signed<crate::identity::NodeCertificate> {
    let mut bytes = codec::encode(&fixture::hosts(1)[0].certificate).to_vec();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    codec::decode("node certificate", &bytes).unwrap()
}

fn header(n: u64) -> Header {
    let order = Order { line: 0, generation: n, version: NOW.0 + n * 1_000 };
    Header { tier: Tier::Home, kind: Kind::OFFER, subject: (n << 56) | 7, order, hash: u64::MAX - n }
}

pub(super) fn contact() -> Contact {
    let host = &fixture::hosts(2)[1];
    Contact {
        node: host.node(),
        addresses: vec!["/ip4/192.0.2.7/udp/4001/quic-v1".into()],
        jurisdiction: "DE".parse().unwrap(),
        seen: NOW,
    }
}

fn every_frame() -> Vec<(&'static str, Frame)> {
    use membership::Message as G;
    let hosts = fixture::hosts(3);
    let (founding, host) = (fixture::Founding::of(&hosts), &hosts[0]);
    let state = State::found(&founding.genesis()).unwrap();
    let cell = state.cell();
    let write = host.data(&state, fixture::op("d", 1), vec![fixture::set("s", "k", "v")]);
    let parcel = Parcel(Shared::new(Known::read(presence(host, NOW.0, "one")).unwrap()));
    let settled = Settled::at(NOW);
    let sums = Sums { tier: Tier::Home, buckets: (0..u64::from(BUCKETS)).map(|n| n * 0x0101_0101_0101_0101).collect() };
    let base = cell::Base { node: host.node(), replica: ReplicaId(1), term: 1, index: state.applied() };
    let papers = fixture::recovery(&state, base, &founding.tenant, &[], fixture::FOUNDED);
    let next = fixture::recovered(&state, papers, host, fixture::FOUNDED).unwrap();
    let recovered = next.recovered().unwrap();
    let refusal = Refusal::definite(Code::Full, "the state is full");
    let raft = |kind, entries| RaftMessage {
        kind,
        to: 2,
        from: 1,
        term: 3,
        log_term: 3,
        index: 6,
        entries,
        commit: 6,
        ..RaftMessage::default()
    };
    let entry = LogEntry {
        index: 7,
        term: 3,
        kind: 0,
        data: codec::encode(&fixture::entry(&state, write.clone())),
        context: Blob::default(),
    };
    let gossip = |message| Frame::Gossip(message);
    let of_cell = |message| Frame::Cell { cell, message };
    let converging = |message| Frame::Converge { cell, message };
    let grant = host.grant(ContentHash::of(b"plan"), Role::Vote, state.tenant_id(), state.policy());
    let instance = InstanceId { cell, number: 1 };
    vec![
        ("Hello", Frame::Hello(Box::new(hello()))),
        (
            "Hello, of a node that says no more than it must",
            Frame::Hello(Box::new(Hello {
                relays: None,
                finds: None,
                parts: None,
                sleeps: None,
                recovers: None,
                converges: None,
                ..hello()
            })),
        ),
        (
            "Hello, of an operator that was admitted",
            Frame::Hello(Box::new(Hello {
                credentials: Some(Admission::witnessed_by(host).papers().statements),
                ..hello()
            })),
        ),
        ("Gossip Records", gossip(G::Records(vec![parcel.clone()]))),
        ("Gossip Announce", gossip(G::Announce((1..=3).map(header).collect()))),
        ("Gossip Graft", gossip(G::Graft(Tier::Mesh))),
        ("Gossip Prune", gossip(G::Prune(Tier::Home))),
        ("Gossip Digest", gossip(G::Digest { settled, sums: vec![sums] })),
        (
            "Gossip Have",
            gossip(G::Have { settled, tier: Tier::Home, buckets: vec![0, 63], headers: vec![header(9), header(2)] }),
        ),
        ("Gossip Fetch", gossip(G::Fetch(vec![header(1)]))),
        ("Gossip Found", gossip(G::Found(vec![parcel.clone()]))),
        ("Gossip Neighbour", gossip(G::Neighbour { urgent: true, me: contact(), contacts: vec![contact()] })),
        ("Gossip Welcome", gossip(G::Welcome { accepted: false, me: contact(), contacts: Vec::new() })),
        ("Gossip Part", gossip(G::Part)),
        ("Gossip Shuffle", gossip(G::Shuffle { answer: true, contacts: vec![contact()] })),
        ("Gossip Ping", gossip(G::Ping(1))),
        ("Gossip Ack", gossip(G::Ack(1))),
        ("Gossip Probe", gossip(G::Probe(host.node()))),
        ("Gossip Probed", gossip(G::Probed(host.node()))),
        ("Gossip Watch", gossip(G::Watch(parcel))),
        ("Gossip Subscribe", gossip(G::Subscribe(vec![Subject::of(b"guestbook.example.org")]))),
        ("Gossip Observers", gossip(G::Observers { inner: vec![contact()], outer: Vec::new() })),
        ("Gossip Beat", gossip(G::Beat { tier: Tier::Mesh, root: host.node(), number: NOW.0, hops: 2 })),
        ("Cell Raft heartbeat", of_cell(cell::Message::Raft { line: 1, message: raft(8, Vec::new()) })),
        ("Cell Raft append", of_cell(cell::Message::Raft { line: 1, message: raft(3, vec![entry]) })),
        ("Cell Propose", of_cell(cell::Message::Propose { context: context(), command: Box::new(write) })),
        (
            "Cell Outcome",
            of_cell(cell::Message::Outcome {
                request: RequestId(42),
                result: Reached::Yes(Applied {
                    index: 7,
                    outcome: Outcome::Written { version: 7, counters: vec![-1] },
                }),
            }),
        ),
        (
            "Cell Outcome, not the leader",
            of_cell(cell::Message::Outcome { request: RequestId(42), result: Reached::NotLeader(Some(host.node())) }),
        ),
        (
            "Cell Read",
            of_cell(cell::Message::Read {
                context: context(),
                barrier: Barrier::AtLeast(7),
                queries: vec![
                    Query::Get { store: "s".into(), key: "k".into() },
                    Query::List { store: "s".into(), prefix: String::new(), after: None, limit: 10 },
                    Query::Describe,
                ],
            }),
        ),
        (
            "Cell Answers",
            of_cell(cell::Message::Answers {
                request: RequestId(42),
                result: Reached::Yes(Answered { index: 7, answers: vec![state.answer(&Query::Describe)] }),
            }),
        ),
        (
            "Cell Answers, no",
            of_cell(cell::Message::Answers { request: RequestId(42), result: Reached::No(refusal.clone()) }),
        ),
        ("Cell Sleep", of_cell(cell::Message::Sleep { line: 1, term: 3, index: 42 })),
        ("Cell Slept", of_cell(cell::Message::Slept { line: 1, term: 3, index: 42 })),
        ("Cell Wake", of_cell(cell::Message::Wake { line: 1 })),
        ("Cell Prove", of_cell(cell::Message::Prove { line: 1, serial: 9 })),
        ("Cell Committed", of_cell(cell::Message::Committed { line: 1, serial: 9, index: 42 })),
        ("Cell Outdated", of_cell(cell::Message::Outdated { line: 1 })),
        ("Cell Recovered", of_cell(cell::Message::Recovered(Box::new(recovered.clone())))),
        ("Cell Survey", of_cell(cell::Message::Survey { context: context() })),
        (
            "Cell Surveyed",
            of_cell(cell::Message::Surveyed { request: RequestId(42), report: Box::new(report(&state, host)) }),
        ),
        (
            "Cell Recover",
            of_cell(cell::Message::Recover { context: context(), papers: Box::new(recovered.papers.clone()) }),
        ),
        ("Cell Carried", of_cell(cell::Message::Carried { request: RequestId(42), result: Ok(2) })),
        ("Cell Carried, no", of_cell(cell::Message::Carried { request: RequestId(42), result: Err(refusal.clone()) })),
        ("Mark Ask", Frame::Mark(Mark::Ask { stamp: 9, echo: 4, asleep: [7; 16] })),
        ("Mark Closed", Frame::Mark(Mark::Closed { echo: 9, stamp: 5, asleep: [7; 16], age: Some(1_042) })),
        ("Mark Closed, not proven", Frame::Mark(Mark::Closed { echo: 9, stamp: 5, asleep: [7; 16], age: None })),
        ("Converge Have", converging(stores::have())),
        ("Converge Delta", converging(stores::delta())),
        ("Converge Anew", converging(stores::anew())),
        ("Converge Gone", converging(converge::Message::Gone)),
        (
            "Birth Candidates",
            Frame::Birth(birth::Message::Candidates {
                context: context(),
                ask: Ask { jurisdiction: "FR".parse().unwrap(), need: Resources::default(), count: 4 },
            }),
        ),
        (
            "Birth CandidatesFound",
            Frame::Birth(birth::Message::CandidatesFound {
                request: RequestId(42),
                candidates: vec![(host.candidate(), contact().addresses)],
                withheld: Some(vec![contact().node]),
            }),
        ),
        (
            "Birth Grant",
            Frame::Birth(birth::Message::Grant {
                context: context(),
                purpose: ContentHash::of(b"plan"),
                tenant: state.tenant_id(),
                roles: vec![(Role::Vote, state.policy().replica), (Role::Instance, state.policy().instance)],
            }),
        ),
        ("Birth Granted", Frame::Birth(birth::Message::Granted { request: RequestId(42), result: Ok(vec![grant]) })),
        ("Birth Granted, no", Frame::Birth(birth::Message::Granted { request: RequestId(42), result: Err(refusal) })),
        (
            "Birth Store",
            Frame::Birth(birth::Message::Store {
                context: context(),
                content: ContentHash::of(b"first"),
                size_bytes: 5,
                holder: host.node(),
            }),
        ),
        (
            "Birth Stored",
            Frame::Birth(birth::Message::Stored {
                request: RequestId(42),
                result: Ok(host.receipt(&founding.release.workload)),
            }),
        ),
        (
            "Birth Found",
            Frame::Birth(birth::Message::Found { context: context(), genesis: Box::new(founding.genesis()) }),
        ),
        ("Birth Founded", Frame::Birth(birth::Message::Founded { request: RequestId(42), result: Ok(()) })),
        ("Route Subscribe", Frame::Route(route::Message::Subscribe { cell })),
        (
            "Route Update",
            Frame::Route(route::Message::Update(route::Update {
                cell,
                line: 1,
                applied: 7,
                instances: vec![(instance, 1, host.node())],
                voters: hosts.iter().map(fixture::Host::node).collect(),
                leader: Some(host.node()),
                hosts: vec!["guestbook.example.org".into()],
                removed: false,
            })),
        ),
        ("Reach Find", Frame::Reach(reach::Message::Find(host.node()))),
        (
            "Reach Found",
            Frame::Reach(reach::Message::Found {
                target: host.node(),
                places: vec![reach::Place { node: contact().node, addresses: contact().addresses }],
            }),
        ),
        ("Reach Needed", Frame::Reach(reach::Message::Needed(false))),
        ("Reach Probe", Frame::Reach(reach::Message::Probe)),
        ("Reach Alive", Frame::Reach(reach::Message::Alive)),
        ("Route Unknown", Frame::Route(route::Message::Unknown { cell: CellId::of(b"another") })),
    ]
}

/// What a voter of that cell says that it holds.
fn report(state: &State, host: &fixture::Host) -> cell::Report {
    let base = cell::Base { node: host.node(), replica: ReplicaId(1), term: 3, index: 42 };
    let holding = cell::Holding {
        line: 1,
        base,
        committed: 41,
        votes: true,
        stamp: fixture::FOUNDED,
        alone_ms: Some(12_000),
        leader: None,
        members: state.members().map(|member| (member.node, member.jurisdiction, member.votes)).collect(),
        left: Vec::new(),
        home: state.policy().home.clone(),
        recoverers: state.policy().recovery.clone(),
        stopped: None,
        tenant: state.tenant_id(),
        app: "guestbook".to_owned(),
    };
    let cell = state.cell().of_line(1);
    let kept = cell::KeptLine { line: 1, index: 44, time: fixture::FOUNDED, cell };
    cell::Report { law: Some("FR".parse().unwrap()), holding: Some(holding), heard: Some((1, 43)), kept: vec![kept] }
}
