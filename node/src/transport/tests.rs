//! Two or three transports on loopback, each with an inbox that the test reads in the machine's place.
use std::{io::Write as _, net::TcpStream, sync::Arc, time::Duration};

use bocage_protocol::{
    cell::{self, Barrier, RaftMessage},
    codec::Blob,
    context::WireContext,
    frame::{FRAME_BYTES_MAX, Frame, Hello, Urgency},
    id::{CellId, DiskId, MeshId, RequestId, TraceId},
    identity::{Genesis, NodeCertificate, Party, Signed},
    io::{Input, LinkChange, Over, Path},
    membership::{self, Parcel},
    record::{Kind, Known, Order, Record, RecordBody, Scope, Subject},
    resources::Site,
    time::Timestamp,
    wire::{WIRE_NEWEST, WireRange},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::inbox::{self, Inbox};

/// Long enough for any loaded machine; a test that passes does not wait for it.
const PATIENT: Duration = Duration::from_secs(30);

const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const TCP: &str = "/ip4/127.0.0.1/tcp/0";

struct Peer {
    mesh: Mesh,
    inbox: Inbox,
    metrics: Metrics,
    addresses: Vec<Address>,
}

async fn peer(seed: u8, listen: &[&str]) -> Peer {
    peer_that_relays(seed, listen, None).await
}

async fn peer_that_relays(seed: u8, listen: &[&str], relay: Option<RelayConfig>) -> Peer {
    let (inlet, mut inbox) = inbox::channel();
    let metrics = Metrics::default();
    let listen: Vec<_> = listen.iter().map(ToString::to_string).collect();
    let config = Config { listen: listen.clone(), ping: Duration::from_millis(200), relay, ..Config::default() };
    let mesh = Mesh::start(&config, &Keypair::from_secret(&[seed; 32]), inlet, metrics.clone()).unwrap();
    let mut addresses = Vec::new();
    while addresses.len() < listen.len() {
        if let LinkChange::Listening { address } = link(&mut inbox).await.1 {
            addresses.push(address);
        }
    }
    Peer { mesh, inbox, metrics, addresses }
}

impl Peer {
    fn node(&self) -> NodeId {
        self.mesh.node()
    }

    fn dial(&self, other: &Self) {
        self.mesh.dial(other.node(), &Path::Direct(other.addresses.clone())).unwrap();
    }

    async fn up(&mut self) -> Option<Address> {
        loop {
            if let LinkChange::Up { address, .. } = link(&mut self.inbox).await.1 {
                return address;
            }
        }
    }

    async fn down(&mut self) {
        while link(&mut self.inbox).await.1 != LinkChange::Down {}
    }

    async fn unreachable(&mut self) -> String {
        loop {
            if let LinkChange::Unreachable { why, .. } = link(&mut self.inbox).await.1 {
                return why;
            }
        }
    }

    async fn frame(&mut self) -> (NodeId, Frame) {
        loop {
            if let Input::Received { from, frame } = next(&mut self.inbox).await {
                return (from, frame.into_inner());
            }
        }
    }
}

async fn next(inbox: &mut Inbox) -> Input {
    timeout(PATIENT, inbox.next()).await.expect("something happens in time")
}

/// The next change of a link; frames in between are passed over.
async fn link(inbox: &mut Inbox) -> (NodeId, LinkChange) {
    loop {
        if let Input::Link { peer, change } = next(inbox).await {
            return (peer, change);
        }
    }
}

async fn linked(one: &mut Peer, other: &mut Peer) {
    one.dial(other);
    tokio::join!(one.up(), other.up());
    introduced(one, other);
}

/// As if both had said Hello.
fn introduced(one: &Peer, other: &Peer) {
    for (here, there) in [(one, other), (other, one)] {
        here.mesh.0.links.of(there.node()).unwrap().introduce();
    }
}

fn control(term: u64) -> Frame {
    let message = RaftMessage { term, kind: 8, ..RaftMessage::default() };
    Frame::Cell { cell: CellId::default(), message: cell::Message::Raft { line: 1, message } }
}

fn request(number: u64) -> Frame {
    let context =
        WireContext { op: None, request: RequestId(number), tenant: None, trace: TraceId::default(), left: PATIENT };
    let message = cell::Message::Read { context, barrier: Barrier::Linear, queries: vec![] };
    Frame::Cell { cell: CellId::default(), message }
}

fn bulk() -> Frame {
    Frame::Gossip(membership::Message::Records(vec![]))
}

/// A signed record with `content_bytes` of content.
fn records(keys: &Keypair, content_bytes: usize) -> Vec<Parcel> {
    let body = RecordBody {
        kind: Kind::PRESENCE,
        scope: Scope::Mesh,
        subject: Subject(keys.node().0),
        order: Order { line: 0, generation: 0, version: 1 },
        expires: Timestamp(u64::MAX),
        content: Blob::from(vec![7; content_bytes]),
    };
    let record = Record { signed: Signed::seal(keys, &body), certificate: None };
    vec![Parcel(Arc::new(Known::read(record).expect("just made")))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_every_urgency_arrive_over_quic() {
    let (mut one, mut two) = (peer(1, &[QUIC]).await, peer(2, &[QUIC, TCP]).await);
    one.dial(&two);
    let dialled = one.up().await.expect("it dialled");
    assert!(dialled.ends_with("/quic-v1"), "QUIC goes first: {dialled}");
    assert_eq!(two.up().await, None);
    introduced(&one, &two);

    let sent = [control(1), request(1), bulk()];
    for frame in &sent {
        assert_eq!(one.mesh.send(two.node(), WIRE_NEWEST, frame), Sent::Queued);
    }
    let mut received = Vec::new();
    while received.len() < sent.len() {
        let (from, frame) = two.frame().await;
        assert_eq!(from, one.node());
        received.push(frame);
    }
    assert!(sent.iter().all(|frame| received.contains(frame)));
    assert_eq!(two.mesh.send(one.node(), WIRE_NEWEST, &control(2)), Sent::Queued, "a link works both ways");
    assert_eq!(one.frame().await, (two.node(), control(2)));
    assert_eq!(two.metrics.frames_in(Urgency::Control), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_one_urgency_keep_their_order() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    for term in 1..=500 {
        one.mesh.send(two.node(), WIRE_NEWEST, &control(term));
    }
    for term in 1..=500 {
        assert_eq!(two.frame().await.1, control(term));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_carries_where_quic_is_not_listened_to() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[TCP]).await);
    // Somebody swallows UDP here and never answers.
    let hole = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let quic = format!("/ip4/127.0.0.1/udp/{}/quic-v1", hole.local_addr().unwrap().port());
    two.addresses.insert(0, quic);
    linked(&mut one, &mut two).await;
    one.mesh.send(two.node(), WIRE_NEWEST, &request(7));
    assert_eq!(two.frame().await.1, request(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_nobody_answers_is_reported() {
    let mut one = peer(1, &[]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    one.mesh.dial(NodeId([2; 32]), &Path::Direct(vec![])).unwrap();
    assert!(one.unreachable().await.contains("none of its addresses"));
    let other = Keypair::from_secret(&[2; 32]).node();
    one.mesh.dial(other, &Path::Direct(vec![format!("/ip4/127.0.0.1/tcp/{free}")])).unwrap();
    assert!(one.unreachable().await.contains("refused"));
    one.mesh.dial(one.node(), &Path::Direct(vec![format!("/ip4/127.0.0.1/tcp/{free}")])).unwrap();
    assert!(one.unreachable().await.contains("itself"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_at_the_address_is_not_taken_for_the_peer() {
    let (mut one, two) = (peer(1, &[]).await, peer(2, &[QUIC, TCP]).await);
    one.mesh.dial(Keypair::from_secret(&[3; 32]).node(), &Path::Direct(two.addresses.clone())).unwrap();
    assert!(!one.unreachable().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_dialling_at_once_is_one_link() {
    let (mut one, mut two) = (peer(1, &[QUIC]).await, peer(2, &[QUIC]).await);
    one.dial(&two);
    two.dial(&one);
    tokio::join!(one.up(), two.up());
    introduced(&one, &two);
    // Long enough for the doubled connection, if there was one, to be closed.
    let end = Instant::now() + Duration::from_secs(5);
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        one.mesh.send(two.node(), WIRE_NEWEST, &control(number));
        assert_eq!(two.frame().await.1, control(number), "no frame is lost when the connections are settled");
        sleep(Duration::from_millis(20)).await;
    }
    for peer in [&mut one, &mut two] {
        while let Some(input) = peer.inbox.frames.try_next(Urgency::Control) {
            let again = matches!(input, Input::Link { change: LinkChange::Up { .. } | LinkChange::Down, .. });
            assert!(!again, "the link was up once and stays: {input:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_is_a_link_down_on_both_sides() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    one.mesh.hangup(two.node());
    tokio::join!(one.down(), two.down());
    assert_eq!(one.mesh.send(two.node(), WIRE_NEWEST, &bulk()), Sent::NoLink);
    linked(&mut one, &mut two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_record_is_checked_once_and_a_forged_one_ends_the_link() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    let keys = Keypair::from_secret(&[5; 32]);
    let frame = |records| Frame::Gossip(membership::Message::Records(records));
    let (short, long) = (frame(records(&keys, 10)), frame(records(&keys, 10_000)));
    for expected in [&short, &long, &short, &long] {
        one.mesh.send(two.node(), WIRE_NEWEST, expected);
        assert_eq!(two.frame().await.1, *expected);
    }
    assert_eq!(two.metrics.signatures.get(), 2, "each signature is checked the first time only");

    // The same record with one bit of its content changed.
    let mut bytes = long.encode(WIRE_NEWEST).to_vec();
    let at = bytes.windows(4).position(|window| window == [7; 4]).unwrap() + 100;
    bytes[at] ^= 1;
    let forged = Frame::decode(&bytes, WireRange::default()).unwrap();
    one.mesh.send(two.node(), WIRE_NEWEST, &forged);
    two.down().await;
    assert_eq!(two.metrics.refused(Refused::Signature), 1);
}

/// Opens a stream of control frames by hand and writes these bytes.
async fn write_raw(from: &Peer, to: &Peer, bytes: &[u8]) -> libp2p::Stream {
    let link = from.mesh.0.links.of(to.node()).unwrap();
    let mut stream = link.primary().open(streams::Kind::Frames(Urgency::Control)).await.unwrap();
    futures::AsyncWriteExt::write_all(&mut stream, bytes).await.unwrap();
    futures::AsyncWriteExt::flush(&mut stream).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_longer_than_allowed_closes_the_connection_and_counts() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    let _stream = write_raw(&one, &two, &length.to_be_bytes()).await;
    tokio::join!(one.down(), two.down());
    assert_eq!(two.metrics.refused(Refused::Oversized), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_the_longest_length_arrives() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    let keys = Keypair::from_secret(&[5; 32]);
    let frame = Frame::Gossip(membership::Message::Records(records(&keys, FRAME_BYTES_MAX - 1024)));
    for _ in 0..8 {
        one.mesh.send(two.node(), WIRE_NEWEST, &frame);
        assert_eq!(two.frame().await.1, frame);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_in_a_frame_close_the_connection_and_count() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[TCP]).await);
    linked(&mut one, &mut two).await;
    let mut bytes = 64_u32.to_be_bytes().to_vec();
    bytes.extend_from_slice(&blake3::hash(b"noise").as_bytes().repeat(2));
    let _stream = write_raw(&one, &two, &bytes).await;
    two.down().await;
    assert_eq!(two.metrics.refused(Refused::Malformed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_on_the_ports_cost_a_counter_and_harm_nobody() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC, TCP]).await);
    let port = |address: &str| -> u16 { address.split('/').nth(4).unwrap().parse().unwrap() };
    let noise: Vec<u8> = (0_u8..40).flat_map(|n| *blake3::hash(&[n]).as_bytes()).collect();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for address in two.addresses.clone() {
        for length in [1, 3, 100, 1200] {
            if address.contains("udp") {
                udp.send_to(&noise[..length], ("127.0.0.1", port(&address))).unwrap();
            } else {
                let mut stream = TcpStream::connect(("127.0.0.1", port(&address))).unwrap();
                // The other side may close as soon as it has seen enough.
                let _ = stream.write_all(&noise[..length]);
            }
        }
    }
    let end = Instant::now() + PATIENT;
    while two.metrics.refused(Refused::Handshake) < 4 {
        assert!(Instant::now() < end, "each noisy connection is counted");
        sleep(Duration::from_millis(10)).await;
    }
    linked(&mut one, &mut two).await;
    one.mesh.send(two.node(), WIRE_NEWEST, &control(1));
    assert_eq!(two.frame().await.1, control(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_datagrams_by_the_thousand_disturb_no_link_and_let_new_ones_in() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    let port: u16 = two.addresses[0].split('/').nth(4).unwrap().parse().unwrap();
    let flood = std::thread::spawn(move || {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for n in 0..20_000_u32 {
            let mut noise = blake3::Hasher::new().update(&n.to_be_bytes()).finalize_xof();
            let mut bytes = vec![0; (n * 37 % 1_400 + 1) as usize];
            noise.fill(&mut bytes);
            if n.is_multiple_of(2) {
                // As long headers of QUIC begin: version 1, and lengths that lie.
                let head = [0xc0 | bytes[0] & 0x3f, 0, 0, 0, 1, bytes[0] % 30];
                let len = head.len().min(bytes.len());
                bytes[..len].copy_from_slice(&head[..len]);
            }
            // A full buffer loses it: so does any network.
            let _ = udp.send_to(&bytes, ("127.0.0.1", port));
        }
    });
    let mut number = 0;
    while !flood.is_finished() || number < 20 {
        number += 1;
        one.mesh.send(two.node(), WIRE_NEWEST, &control(number));
        assert_eq!(two.frame().await.1, control(number));
    }
    flood.join().unwrap();
    let mut three = peer(3, &[]).await;
    linked(&mut three, &mut two).await;
    three.mesh.send(two.node(), WIRE_NEWEST, &control(7));
    assert_eq!(two.frame().await, (three.node(), control(7)));
    assert!(one.mesh.is_up(two.node()), "the link that there was is still the one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_has_not_said_who_it_is_reaches_no_machine() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    one.dial(&two);
    tokio::join!(one.up(), two.up());
    one.mesh.send(two.node(), WIRE_NEWEST, &control(1));
    let end = Instant::now() + PATIENT;
    while two.metrics.refused(Refused::Stranger) < 1 {
        assert!(Instant::now() < end, "its frame is counted and dropped");
        sleep(Duration::from_millis(10)).await;
    }
    let hello = Hello {
        wire: 1,
        wire_min: 1,
        mesh: MeshId([1; 32]),
        certificate: certificate(1),
        disk: DiskId([1; 32]),
        boots: 1,
        wall: Timestamp(1),
        relays: None,
        finds: None,
        credentials: None,
        parts: None,
        sleeps: None,
        recovers: None,
        converges: None,
    };
    one.mesh.send(two.node(), WIRE_NEWEST, &Frame::Hello(Box::new(hello)));
    assert!(matches!(two.frame().await.1, Frame::Hello(_)), "it introduces itself, and is heard");
    one.mesh.send(two.node(), WIRE_NEWEST, &control(2));
    assert_eq!(two.frame().await.1, control(2));
}

fn certificate(seed: u8) -> Signed<NodeCertificate> {
    let (keys, operator) = (Keypair::from_secret(&[seed; 32]), Keypair::from_secret(&[seed + 100; 32]));
    let certificate = NodeCertificate {
        mesh: MeshId([1; 32]),
        operator: Genesis::new(Party::Operator, "op", operator.public(), Timestamp(1)),
        node: keys.node(),
        site: Site("here".into()),
        jurisdiction: "FR".parse().unwrap(),
        domains: Vec::new(),
        not_before: Timestamp(1),
        expires: Timestamp(u64::MAX),
        serial: 1,
        sealing: keys.public(),
        successions: None,
    };
    Signed::seal(&operator, &certificate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_round_trip_is_measured() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    while !matches!(link(&mut one.inbox).await, (_, LinkChange::RoundTrip(_))) {}
    assert!(one.mesh.round_trip(two.node()).unwrap() > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_carries_bytes_both_ways_and_breaks_with_its_link() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    let mut incoming = two.mesh.incoming(Purpose::Http).unwrap();
    assert!(two.mesh.incoming(Purpose::Http).is_none(), "they go to one taker");
    let mut here = one.mesh.open(two.node(), Purpose::Http).await.unwrap();
    here.write_all(b"GET /").await.unwrap();
    here.flush().await.unwrap();
    let (from, mut there) = incoming.recv().await.unwrap();
    assert_eq!(from, one.node());
    let mut asked = [0; 5];
    there.read_exact(&mut asked).await.unwrap();
    there.write_all(b"200").await.unwrap();
    there.flush().await.unwrap();
    let mut answer = [0; 3];
    here.read_exact(&mut answer).await.unwrap();
    assert_eq!((&asked, &answer), (b"GET /", b"200"));

    two.mesh.hangup(one.node());
    assert!(timeout(PATIENT, here.read_u8()).await.unwrap().is_err());
    assert!(timeout(PATIENT, there.read_u8()).await.unwrap().is_err());
    assert!(matches!(two.mesh.open(one.node(), Purpose::Http).await, Err(OpenError::NoLink(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_at_once_all_arrive() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    let mut incoming = two.mesh.incoming(Purpose::Http).unwrap();
    let opens = (0..100_u8).map(|number| {
        let (mesh, to) = (one.mesh.clone(), two.node());
        tokio::spawn(async move {
            let mut stream = mesh.open(to, Purpose::Http).await.unwrap();
            stream.write_u8(number).await.unwrap();
            stream.flush().await.unwrap();
            stream
        })
    });
    let opened = futures::future::join_all(opens).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < opened.len() {
        let (_, mut stream) = timeout(PATIENT, incoming.recv()).await.unwrap().unwrap();
        seen.insert(stream.read_u8().await.unwrap());
    }
}

#[test]
fn a_taken_port_is_named() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let first = peer(1, &[QUIC, TCP]).await;
        for address in &first.addresses {
            let config = Config { listen: vec![address.clone()], ..Config::default() };
            let (inlet, _inbox) = inbox::channel();
            let taken = Mesh::start(&config, &Keypair::from_secret(&[2; 32]), inlet, Metrics::default());
            assert!(matches!(taken, Err(TransportError::AddressInUse(taken)) if taken == *address));
        }
        let config = Config { listen: vec!["localhost:4001".into()], ..Config::default() };
        let (inlet, _inbox) = inbox::channel();
        let wrong = Mesh::start(&config, &Keypair::from_secret(&[2; 32]), inlet, Metrics::default());
        assert!(wrong.unwrap_err().to_string().contains("expected /ip4/"));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_peer_that_falls_silent_is_down_long_before_quic_would_notice() {
    for carrier in [&[QUIC], &[TCP]] {
        let mut one = peer(1, &[]).await;
        let mut two = peer(2, carrier).await;
        linked(&mut one, &mut two).await;
        // Both have said something: a stranger would be hung up on for another reason.
        two.mesh.send(one.node(), WIRE_NEWEST, &control(1));
        one.frame().await;
        let _guard = one.mesh.watch(two.node());
        sleep(Duration::from_millis(1500)).await;
        assert!(one.mesh.is_up(two.node()), "a peer that answers is not given up");

        let begin = Instant::now();
        two.mesh.freeze();
        one.down().await;
        assert!(begin.elapsed() < Duration::from_secs(5), "noticed by the pulse: {:?}", begin.elapsed());
        assert_eq!(one.metrics.silent.get(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_answer_a_request_is_given_up_without_a_watch() {
    let mut one = peer(1, &[]).await;
    let mut two = peer(2, &[QUIC]).await;
    linked(&mut one, &mut two).await;
    two.mesh.send(one.node(), WIRE_NEWEST, &control(1));
    one.frame().await;
    let node = two.node();
    two.mesh.freeze();
    one.mesh.send(node, WIRE_NEWEST, &request(1));
    let begin = Instant::now();
    one.down().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "noticed by the pulse: {:?}", begin.elapsed());
    assert_eq!(one.metrics.silent.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_sent_to_a_peer_that_says_nothing_do_not_end_a_live_link() {
    let (mut one, mut two) = (peer(1, &[]).await, peer(2, &[QUIC]).await);
    linked(&mut one, &mut two).await;
    two.mesh.send(one.node(), WIRE_NEWEST, &control(1));
    for number in 0..100 {
        one.mesh.send(two.node(), WIRE_NEWEST, &request(number));
        sleep(Duration::from_millis(30)).await;
    }
    assert!(one.mesh.is_up(two.node()), "its pulse answers for it");
    assert_eq!(one.metrics.silent.get(), 0);
}

/// Two peers with links to a relay, at which the second has a reservation.
async fn around_a_relay(config: RelayConfig) -> (Peer, Peer, Peer) {
    let mut relay = peer_that_relays(1, &[QUIC], Some(config)).await;
    let (mut one, mut two) = (peer(2, &[QUIC]).await, peer(3, &[QUIC]).await);
    for end in [&mut one, &mut two] {
        end.dial(&relay);
        end.up().await;
        relay.up().await;
        // A relay serves whom it knows.
        introduced(end, &relay);
    }
    two.mesh.reserve(relay.node(), true);
    while link(&mut two.inbox).await != (relay.node(), LinkChange::Reserved) {}
    (relay, one, two)
}

fn through(relay: &Peer) -> Path {
    Path::Relayed(vec![bocage_protocol::reach::address::through(relay.node(), &relay.addresses[0])])
}

const WIDE: RelayConfig = RelayConfig { bytes_per_second_max: 64 << 20, peer_bytes_per_second_max: 64 << 20 };

#[tokio::test]
async fn a_link_through_a_relay_moves_to_a_direct_connection_and_is_never_down() {
    let (relay, mut one, mut two) = around_a_relay(WIDE).await;
    let over = Over::Relay(relay.node());
    one.mesh.dial(two.node(), &through(&relay)).unwrap();
    while !matches!(link(&mut one.inbox).await, (_, LinkChange::Up { over: found, .. }) if found == over) {}
    while !matches!(link(&mut two.inbox).await, (_, LinkChange::Up { over: found, .. }) if found == over) {}
    let mut incoming = two.mesh.incoming(Purpose::Content).unwrap();
    let mut there = one.mesh.open(two.node(), Purpose::Content).await.unwrap();
    there.write_all(b"before").await.unwrap();
    let (_, mut here) = incoming.recv().await.unwrap();
    let mut read = [0; 6];
    here.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"before");

    one.dial(&two);
    loop {
        match link(&mut one.inbox).await {
            (_, LinkChange::Moved { over: Over::Quic, .. }) => break,
            (peer, change) => assert!(peer != two.node() || change != LinkChange::Down, "the link went down"),
        }
    }
    assert_eq!(one.mesh.over(two.node()), Some(Over::Quic));
    assert_eq!(one.mesh.send(two.node(), WIRE_NEWEST, &control(2)), Sent::Queued);
    // What was under way goes on where it was.
    there.write_all(b"after!").await.unwrap();
    here.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"after!");
    assert!(relay.metrics.relayed_bytes.get() > 12, "what went through the relay was counted");
}

#[tokio::test]
async fn a_relay_carries_no_faster_than_it_was_told() {
    let slow = RelayConfig { bytes_per_second_max: 64 << 20, peer_bytes_per_second_max: 256 << 10 };
    let (relay, mut one, mut two) = around_a_relay(slow).await;
    one.mesh.dial(two.node(), &through(&relay)).unwrap();
    one.up().await;
    two.up().await;
    let mut incoming = two.mesh.incoming(Purpose::Content).unwrap();
    let mut there = one.mesh.open(two.node(), Purpose::Content).await.unwrap();
    there.write_all(b"x").await.unwrap();
    let (_, mut here) = incoming.recv().await.unwrap();
    let began = std::time::Instant::now();
    let sending = tokio::spawn(async move {
        there.write_all(&vec![7; 512 << 10]).await.unwrap();
        there
    });
    here.read_exact(&mut vec![0; 512 << 10]).await.unwrap();
    let took = began.elapsed();
    // Two seconds' worth, less what may go at once: never faster, however fast the machine.
    assert!(took > Duration::from_millis(1_200), "{took:?}");
    drop(sending);
}

#[tokio::test]
async fn nobody_is_reached_through_a_relay_at_which_he_did_not_reserve() {
    let (relay, mut one, two) = around_a_relay(WIDE).await;
    two.mesh.reserve(relay.node(), false);
    let stranger = peer(4, &[QUIC]).await;
    one.mesh.dial(stranger.node(), &through(&relay)).unwrap();
    let why = one.unreachable().await;
    assert!(why.contains("reservation"), "{why}");
}
