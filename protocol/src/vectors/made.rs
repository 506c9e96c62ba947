//! Makes the vectors, from the parties of the fixtures.
use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    birth,
    capacity::Ask,
    cell::{
        self, Answered, Applied, Barrier, Command, InstanceState, Outcome, Query, RaftMessage, Reached, Role, State,
        Support, TenantAction, fixture,
    },
    codec::{self, Blob},
    context::WireContext,
    frame::{Frame, Hello},
    id::{CellId, ContentHash, DiskId, InstanceId, ReplicaId, RequestId, TraceId},
    identity::{Founding, Keypair, Signed, Statement},
    membership::{self, Contact, Liveness, Parcel, Presence, Sums},
    record::{BUCKETS, Header, Kind, Known, Order, Record, RecordBody, Scope, Settled, Shared, Subject, Tier},
    refusal::{Code, Refusal},
    resources::Resources,
    route,
    store::LogEntry,
    time::Timestamp,
    wire::{WIRE_NEWEST, WIRE_OLDEST},
};

/// The reader's clock in all vectors.
const NOW: Timestamp = fixture::FOUNDED;

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn encoded<T: minicbor::Encode<()>>(value: &T) -> String {
    hex(&codec::encode(value))
}

pub(super) fn keys() -> Value {
    let pairs = (1..=3_u8).map(|n| {
        let keys = Keypair::from_secret(&[n; 32]);
        let signed = Signed::seal(&keys, &Strange { text: format!("message {n}") });
        let envelope = signed.envelope();
        let message = [envelope.domain.as_bytes(), &[0], &envelope.payload].concat();
        json!({
            "secret": hex(&keys.secret()),
            "public": hex(&keys.public().0),
            "node_id": keys.node().to_string(),
            "domain": envelope.domain,
            "payload": hex(&envelope.payload),
            "message": hex(&message),
            "signature": hex(&envelope.signature.0),
        })
    });
    let operator = fixture::Party::operator("operator 1");
    let tenant = fixture::Party::tenant("tess");
    let founding =
        Founding { name: "hedge".into(), operators: vec![operator.genesis.clone()], founded: fixture::FOUNDED };
    json!({
        "about": "Ed25519 (RFC 8032) over `message`, which is domain, a zero byte and payload; a node's id is its public key, in lower-case base32 without padding. The id of an \
                  operator or tenant is the BLAKE3 hash of its genesis, of a mesh that of its founding, of content that of \
                  its bytes.",
        "ed25519": pairs.collect::<Vec<_>>(),
        "ids": [
            { "of": "operator", "bytes": encoded(&operator.genesis), "id": operator.operator_id().to_string() },
            { "of": "tenant", "bytes": encoded(&tenant.genesis), "id": tenant.tenant_id().to_string() },
            { "of": "mesh", "bytes": encoded(&founding), "id": founding.mesh().to_string() },
            { "of": "content", "bytes": hex(b"a component"), "id": ContentHash::of(b"a component").to_string() },
        ],
    })
}

/// One of each kind of statement, and each spoilt in every way that a reader must notice.
pub(super) fn statements() -> Value {
    let hosts = fixture::hosts(3);
    let (founding, host) = (fixture::Founding::of(&hosts), &hosts[0]);
    let state = State::found(&founding.genesis()).unwrap();
    let mut list = Vec::new();
    add(&mut list, &founding.tenant.signed_genesis());
    add(&mut list, &host.certificate);
    add(&mut list, &host.candidate().offer);
    add(&mut list, &founding.signed_release());
    add(&mut list, &host.grant(ContentHash::of(b"plan"), Role::Vote, state.tenant_id(), state.policy()));
    add(&mut list, &host.receipt(&founding.release.workload));
    add(
        &mut list,
        &Signed::seal(&host.keys, &host.batch(&state, fixture::op("d", 1), vec![fixture::set("s", "k", "v")])),
    );
    add(&mut list, &Signed::seal(&host.keys, &Support { cell: state.cell(), replica: ReplicaId(1), rules: 1 }));
    if let Command::Renew(renewal) = host.renewal(&state, 1, InstanceState::Running) {
        add(&mut list, &renewal);
    }
    json!({
        "about": "An envelope is [domain, payload, key, signature]; the signature is over domain, a zero byte and payload. \
                  Read it as a statement of the domain `read_as`, and say: valid; signature (it does not hold); domain (a \
                  statement of another kind); malformed (it does not decode).",
        "statements": list,
    })
}

fn add<T: Statement>(list: &mut Vec<Value>, signed: &Signed<T>) {
    let bytes = codec::encode(signed).to_vec();
    let mut case = |what: &str, bytes: &[u8], verdict: &str| {
        let what = format!("{}: {what}", T::DOMAIN);
        list.push(json!({ "what": what, "read_as": T::DOMAIN, "bytes": hex(bytes), "verdict": verdict }));
    };
    case("as it was signed", &bytes, "valid");
    let payload = signed.envelope().payload.len();
    let signature_at = bytes.len() - 64;
    let key_at = signature_at - 2 - 32;
    let mut changed = |what: &str, at: usize, verdict: &str| {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        case(what, &changed, verdict);
    };
    changed("a bit of the payload changed", key_at - 2 - payload / 2, "signature");
    changed("a bit of the key changed", key_at, "signature");
    changed("a bit of the signature's R changed", signature_at, "signature");
    changed("a bit of the signature's S changed", signature_at + 32, "signature");
    case("cut short", &bytes[..bytes.len() - 1], "malformed");
    case("a byte behind it", &[&bytes[..], &[0]].concat(), "malformed");
    // RFC 8032 wants S below the group's order; S + order is the same to a lenient reader.
    let mut twin = bytes.clone();
    plus_order(&mut twin[signature_at + 32..]);
    case("S and the group's order more", &twin, "signature");
    // With the neutral point as key and R, and S = 0, a lenient equation holds for every message.
    let mut small = bytes.clone();
    small[key_at..key_at + 32].copy_from_slice(&NEUTRAL);
    small[signature_at..signature_at + 32].copy_from_slice(&NEUTRAL);
    small[signature_at + 32..].fill(0);
    case("a key of small order", &small, "signature");
    let mut other = signed.envelope().clone();
    other.domain = "bocage/v1/of-a-later-day".to_owned();
    case("the same payload and signature as another kind", &codec::encode(&other), "signature");
    let stranger = Signed::seal(&Keypair::from_secret(&[9; 32]), &Strange { text: "hello".into() });
    case("another kind, well signed", &codec::encode(&stranger), "domain");
}

/// The encoding of the neutral point of the curve.
const NEUTRAL: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 1;
    point
};

/// Adds the order of Ed25519's group, 2²⁵² + 27742317777372353535851937790883648493, little-endian.
fn plus_order(s: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, more) in s.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}

#[derive(Debug, minicbor::Encode, minicbor::Decode)]
struct Strange {
    #[n(0)]
    text: String,
}

impl Statement for Strange {
    const DOMAIN: &'static str = "bocage/v1/test-strange";
}

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

fn contact() -> Contact {
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
    let grant = host.grant(ContentHash::of(b"plan"), Role::Vote, state.tenant_id(), state.policy());
    let instance = InstanceId { cell, number: 1 };
    vec![
        ("Hello", Frame::Hello(Box::new(hello()))),
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
        ("Route Unknown", Frame::Route(route::Message::Unknown { cell: CellId::of(b"another") })),
    ]
}

fn body(host: &fixture::Host, kind: Kind, content: Blob) -> RecordBody {
    RecordBody {
        kind,
        scope: Scope::Jurisdiction("FR".parse().unwrap()),
        subject: Subject(host.node().0),
        order: Order { line: 0, generation: 1, version: NOW.0 },
        expires: NOW + Duration::from_mins(10),
        content,
    }
}

fn presence(host: &fixture::Host, version: u64, disk: &str) -> Record {
    let content = Presence {
        incarnation: 1,
        addresses: contact().addresses,
        disk: DiskId(*blake3::hash(disk.as_bytes()).as_bytes()),
        boots: 1,
    };
    let mut body = body(host, Kind::PRESENCE, codec::encode(&content));
    body.order.version = version;
    signed(host, &body)
}

fn signed(host: &fixture::Host, body: &RecordBody) -> Record {
    Record { signed: Signed::seal(&host.keys, body), certificate: Some(host.certificate.clone()) }
}

/// Records one by one before a reader who knows nothing yet, and some after each other.
pub(super) fn records() -> Value {
    let hosts = fixture::hosts(2);
    let (host, abroad) = (&hosts[0], &hosts[1]);
    let mut list = Vec::new();
    let mut case = |what: &str, record: &Record, verdict: &str| {
        list.push(json!({ "what": what, "bytes": encoded(record), "verdict": verdict }));
    };
    let offer = || body(host, Kind::OFFER, host.candidate().offer.open().unwrap().content);
    case("a presence", &presence(host, NOW.0, "one"), "fresh");
    case("an offer", &signed(host, &offer()), "fresh");
    case("of a kind of a later day", &signed(host, &body(host, Kind(900), "whatever".into())), "fresh");
    let bare = Record { certificate: None, ..signed(host, &offer()) };
    case("without a certificate, of a signer who is not known", &bare, "UnknownSigner");
    let others = Record { certificate: Some(abroad.certificate.clone()), ..presence(host, NOW.0, "one") };
    case("with another node's certificate", &others, "OtherCertificate");
    let ahead = RecordBody { order: Order { version: NOW.0 + 60_001, ..offer().order }, ..offer() };
    case("61 s ahead of the reader", &signed(host, &ahead), "Ahead");
    let close = RecordBody { order: Order { version: NOW.0 + 60_000, ..offer().order }, ..offer() };
    case("60 s ahead of the reader", &signed(host, &close), "fresh");
    case("expired this moment", &signed(host, &RecordBody { expires: NOW, ..offer() }), "Expired");
    let long = RecordBody { expires: NOW + Duration::from_hours(2), ..offer() };
    case("living longer than its kind may", &signed(host, &long), "Lifetime");
    let wide = RecordBody { content: vec![0; 16_385].into(), ..body(host, Kind(900), Blob::default()) };
    case("longer than 16 KiB", &signed(host, &wide), "TooLong");
    let about = RecordBody { subject: Subject(abroad.node().0), ..offer() };
    case("an offer about another node", &signed(host, &about), "Subject");
    let stray = RecordBody { scope: Scope::Jurisdiction("DE".parse().unwrap()), ..offer() };
    case("an offer in another jurisdiction than its signer's", &signed(host, &stray), "Scope");
    case("an offer to the whole mesh", &signed(host, &RecordBody { scope: Scope::Mesh, ..offer() }), "Scope");
    let verdict = host.verdict(abroad.node(), Liveness::Down).open().unwrap();
    let bold = RecordBody { expires: NOW + Duration::from_mins(10), ..verdict };
    case("a verdict to the whole mesh", &signed(host, &bold), "Scope");

    let sequence: Vec<_> = [
        ("a presence", presence(host, NOW.0, "one"), "fresh"),
        ("the same again", presence(host, NOW.0, "one"), "duplicate"),
        ("an older one", presence(host, NOW.0 - 1, "one"), "stale"),
        ("a newer one", presence(host, NOW.0 + 1, "one"), "newer"),
        ("another of the same version", presence(host, NOW.0 + 1, "two"), "contradiction"),
        ("a third of that version", presence(host, NOW.0 + 1, "three"), "stale-or-contradiction"),
        ("a newer one still", presence(host, NOW.0 + 2, "two"), "newer"),
    ]
    .into_iter()
    .map(|(what, record, verdict)| json!({ "what": what, "bytes": encoded(&record), "verdict": verdict }))
    .collect();
    json!({
        "about": "Records whose signatures hold, before a reader in `home` whose clock says `now` (milliseconds since the \
                  epoch). `each`: alone, before a reader who knows nobody; fresh, or why not. `in_order`: before one reader, \
                  after each other.",
        "mesh": hex(&fixture::mesh().0),
        "home": "FR",
        "now": NOW.0,
        "each": list,
        "in_order": sequence,
    })
}

/// A cell from its genesis through entries, lawful and not.
pub(super) fn cells() -> Value {
    let hosts = fixture::hosts(3);
    let founding = fixture::Founding::of(&hosts);
    let genesis = founding.genesis();
    let mut state = State::found(&genesis).unwrap();
    let (tenant, holder, stranger) = (&founding.tenant, &hosts[0], fixture::Party::tenant("mallory"));
    let first = state.digest();
    let mut entries = Vec::new();
    let mut apply = |what: &str, state: &mut State, command: Command| {
        let entry = fixture::entry(state, command);
        let effects = state.apply(state.applied() + 1, &entry);
        entries.push(json!({
            "what": what,
            "index": state.applied(),
            "bytes": encoded(&entry),
            "outcome": encoded(&effects.outcome),
            "digest": hex(&state.digest()),
        }));
    };
    let scale = TenantAction::Scale { min: 1, max: 3 };
    let command = tenant.command(&state, fixture::op("t", 1), scale.clone());
    apply("the tenant scales", &mut state, command.clone());
    apply("the same command again: done once", &mut state, command);
    let command = stranger.command(&state, fixture::op("t", 1), scale);
    apply("a stranger scales: refused", &mut state, command);
    let write =
        |state: &State, seq, value| holder.data(state, fixture::op("d", seq), vec![fixture::set("s", "k", value)]);
    let command = write(&state, 1, "one");
    apply("an instance writes under its lease", &mut state, command);
    let other = hosts[1].clone();
    let mut batch = holder.batch(&state, fixture::op("d", 2), vec![fixture::set("s", "k", "two")]);
    let command = Command::Data(Signed::seal(&other.keys, &batch));
    apply("the same batch by a node without that lease: refused", &mut state, command);
    batch.writer += 1;
    let command = Command::Data(Signed::seal(&holder.keys, &batch));
    apply("under another writer: refused", &mut state, command);
    let command = holder.renewal(&state, 1, InstanceState::Running);
    apply("the holder renews", &mut state, command);
    let command = tenant.command(&state, fixture::op("t", 2), TenantAction::Rollback { to: 7 });
    apply("to a release that is not there: refused", &mut state, command);
    let command = tenant.command(&state, fixture::op("t", 3), TenantAction::Remove);
    apply("the tenant ends the app", &mut state, command);
    let command = write(&state, 3, "late");
    apply("a write after that: refused", &mut state, command);

    let stolen = crate::cell::CellGenesis {
        release: stranger.sign(
            None,
            fixture::op("founding", 1),
            fixture::FOUNDED,
            TenantAction::Release(Box::new(founding.release.clone())),
        ),
        ..genesis.clone()
    };
    let mut alone = genesis.clone();
    alone.receipts.clear();
    json!({
        "about": "A cell's id is the BLAKE3 hash of its genesis. Found the state from it, apply the entries in order; after \
                  each, the outcome (an encoded Outcome) and the state's digest: BLAKE3 keyed by the digest before, over the \
                  index (8 bytes, big-endian), the entry's length (the same) and bytes, and the outcome. `refused`: a \
                  genesis that founds nothing, and the refusal's code.",
        "genesis": encoded(&genesis),
        "cell": state.cell().to_string(),
        "digest": hex(&first),
        "entries": entries,
        "state": hex(&state.encode()),
        "refused": [
            { "what": "the release is another tenant's", "genesis": encoded(&stolen), "code": code(&stolen) },
            { "what": "nobody has the bytes", "genesis": encoded(&alone), "code": code(&alone) },
        ],
    })
}

fn code(genesis: &crate::cell::CellGenesis) -> Value {
    State::found(genesis).map_or_else(|refusal| json!(refusal.code), |_| Value::Null)
}

pub(super) fn outbound() -> Value {
    let address = |text: &str| {
        let forbidden = crate::outbound::forbidden(text.parse().unwrap());
        json!({ "address": text, "reached": forbidden.is_none() })
    };
    let destination =
        |text: &str| json!({ "text": text, "lawful": text.parse::<crate::outbound::Destination>().is_ok() });
    let addresses = [
        "1.1.1.1",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "172.32.0.0",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b::10.0.0.1",
        "2606:4700::1111",
        "2001:db8::1",
        "2002:7f00:1::",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
    ];
    let destinations = [
        "https://api.example.org",
        "http://*.example.net:8080",
        "https://[2606:4700::1111]",
        "https://localhost",
        "https://*",
        "https://10.0.0.1",
        "https://a.example.org/path",
        "ftp://example.org",
        "http://example.org:25",
        "https://Example.org",
        "http://127.1",
    ];
    json!({
        "about": "Addresses that guests may reach, and entries of allowed_outbound_hosts that every replica takes or refuses.",
        "addresses": addresses.map(address).to_vec(),
        "destinations": destinations.map(destination).to_vec(),
    })
}
