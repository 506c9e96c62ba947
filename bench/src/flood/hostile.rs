//! The hostile process. It refuses to send anywhere but to loopback.
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bocage_node::{
    inbox,
    keyfile::{KeyFile, Kind as KeyKind},
    settings::{Folder, wall},
    transport::{Config, Mesh, Metrics, Sent},
};
use bocage_protocol::{
    codec::Blob,
    frame::{Frame, Hello},
    id::{DiskId, NodeId},
    identity::{Keypair, NodeCertificate, Signed},
    io::Path as Via,
    membership::{self, Parcel},
    record::{Kind as RecordKind, Known, Order, Record, RecordBody, Scope, Subject},
    wire::WIRE_NEWEST,
};
use clap::ValueEnum;
use tokio::{io::AsyncWriteExt as _, net::TcpSocket};

use super::handshakes;

/// Half-open handshakes in a second.
const HANDSHAKES_PER_SECOND: u64 = 5_000;
/// Sockets that are held half-open at once; the oldest is let go.
const HELD_MAX: usize = 8_000;
/// Records by one operator in all.
const RECORDS: usize = 1_000_000;
/// Nodes of that operator.
const NODES: usize = 8;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Random datagrams to the mesh's UDP port
    RandomUdp,
    /// Random bytes to the mesh's TCP port, the edge, the control API and its socket
    RandomTcp,
    /// TCP connections that say nothing, to the mesh's TCP port, the edge and the control API
    HalfOpenTcp,
    /// First packets of QUIC handshakes that never go on
    HalfOpenQuic,
    /// Valid frames of a member, as fast as the link takes them
    ValidFrames,
    /// A million records by the nodes of one operator
    Records,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::RandomUdp, Self::RandomTcp, Self::HalfOpenTcp, Self::HalfOpenQuic, Self::ValidFrames, Self::Records];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RandomUdp => "random-udp",
            Self::RandomTcp => "random-tcp",
            Self::HalfOpenTcp => "half-open-tcp",
            Self::HalfOpenQuic => "half-open-quic",
            Self::ValidFrames => "valid-frames",
            Self::Records => "records",
        }
    }
}

/// An attack that is ready.
pub(crate) struct Attack {
    kind: Kind,
    target: NodeId,
    mesh_udp: SocketAddr,
    mesh_tcp: SocketAddr,
    edge: SocketAddr,
    control: SocketAddr,
    socket: PathBuf,
    addresses: Vec<String>,
    /// An operator of the mesh, and what its certificates look like.
    operator: KeyFile,
    certificate: NodeCertificate,
}

impl Attack {
    pub(crate) fn prepare(kind: Kind, target: &Path, traitor: &Path) -> anyhow::Result<Self> {
        let folder = Folder::open(target, wall())?;
        let addresses = folder.settings.listen.mesh.clone();
        let port = |what: &str| {
            let address = addresses.iter().find(|address| address.contains(what)).context("no such address")?;
            address.split('/').nth(4).context("no port")?.parse::<u16>().context("no port")
        };
        let loopback = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let (mesh_udp, mesh_tcp) = (loopback(port("/udp/")?), loopback(port("/tcp/")?));
        let (edge, control) = (folder.settings.listen.edge, folder.settings.listen.control);
        for address in [edge, control] {
            anyhow::ensure!(address.ip().is_loopback(), "{address} is not loopback: this floods nobody else");
        }
        let operator = KeyFile::load(&traitor.join("keys/operator.key"), KeyKind::Operator)?;
        let certificate = Folder::open(traitor, wall())?.identity.certificate().clone();
        let socket = bocage_node::control::socket_of(target);
        let target = folder.identity.node();
        Ok(Self { kind, target, mesh_udp, mesh_tcp, edge, control, socket, addresses, operator, certificate })
    }

    /// Sends for so long; what came of it.
    pub(crate) async fn run(self, lasting: Duration) -> anyhow::Result<String> {
        let until = Instant::now() + lasting;
        match self.kind {
            Kind::RandomUdp => self.random_udp(until),
            Kind::RandomTcp => self.random_tcp(until).await,
            Kind::HalfOpenTcp => self.half_open_tcp(until).await,
            Kind::HalfOpenQuic => self.half_open_quic(until),
            Kind::ValidFrames => self.valid_frames(until).await,
            Kind::Records => self.records(until).await,
        }
    }

    fn random_udp(&self, until: Instant) -> anyhow::Result<String> {
        let sockets = udp_sockets()?;
        let mut sent = 0_u64;
        while Instant::now() < until {
            for _ in 0..100 {
                let bytes = noise(sent, 1 + nth(sent * 131, 1_400));
                // What the kernel has no room for is lost, as on any network.
                let _ = sockets[nth(sent, sockets.len())].send_to(&bytes, self.mesh_udp);
                sent += 1;
            }
        }
        Ok(format!("{sent} random datagrams"))
    }

    async fn random_tcp(&self, until: Instant) -> anyhow::Result<String> {
        let (mut opened, mut written) = (0_u64, 0_u64);
        while Instant::now() < until {
            for target in [self.mesh_tcp, self.edge, self.control] {
                if let Ok(mut stream) = connect(opened, target).await {
                    let bytes = noise(opened, 16 << 10);
                    // It is closed as soon as the other side has seen enough.
                    let wrote = tokio::time::timeout(Duration::from_millis(50), stream.write_all(&bytes)).await;
                    written += if matches!(wrote, Ok(Ok(()))) { bytes.len() as u64 } else { 0 };
                    opened += 1;
                }
            }
            if let Ok(mut stream) = UnixStream::connect(&self.socket) {
                let _ = std::io::Write::write_all(&mut stream, &noise(opened, 4 << 10));
            }
        }
        Ok(format!("{opened} connections, {} MiB of noise taken", written >> 20))
    }

    async fn half_open_tcp(&self, until: Instant) -> anyhow::Result<String> {
        let began = Instant::now();
        let mut held: std::collections::VecDeque<tokio::net::TcpStream> = std::collections::VecDeque::new();
        let (mut opened, mut refused) = (0_u64, 0_u64);
        while Instant::now() < until {
            let due = due(began);
            if opened + refused >= due {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let target = [self.mesh_tcp, self.edge, self.control][nth(opened + refused, 3)];
            match connect(opened + refused, target).await {
                Ok(stream) => {
                    opened += 1;
                    held.push_back(stream);
                    if held.len() > HELD_MAX {
                        held.pop_front();
                    }
                }
                Err(_) => refused += 1,
            }
        }
        let seconds = began.elapsed().as_secs().max(1);
        Ok(format!("{opened} connections that say nothing ({} a second), {refused} refused", opened / seconds))
    }

    fn half_open_quic(&self, until: Instant) -> anyhow::Result<String> {
        let sockets = udp_sockets()?;
        // Enough that each is forgotten at the other side before it comes again.
        let packets = handshakes::first_packets(self.mesh_udp, 5 * usize::try_from(HANDSHAKES_PER_SECOND)?)?;
        let until = until.max(Instant::now() + Duration::from_secs(10));
        let (began, mut sent) = (Instant::now(), 0_u64);
        while Instant::now() < until {
            let due = due(began);
            if sent >= due {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let _ = sockets[nth(sent, sockets.len())].send_to(&packets[nth(sent, packets.len())], self.mesh_udp);
            sent += 1;
        }
        let seconds = began.elapsed().as_secs().max(1);
        Ok(format!("{sent} first packets of QUIC handshakes ({} a second)", sent / seconds))
    }

    /// A node of the traitor's operator, linked to the target and introduced.
    async fn member(&self, number: u8) -> anyhow::Result<(Mesh, Keypair, Signed<NodeCertificate>, inbox::Inbox)> {
        let keys = Keypair::from_secret(blake3::hash(&[number, 77]).as_bytes());
        let certificate = NodeCertificate { node: keys.node(), sealing: keys.public(), ..self.certificate.clone() };
        let certificate = Signed::seal(&self.operator.keys, &certificate);
        let (inlet, inbox) = inbox::channel();
        let mesh = Mesh::start(&Config::default(), &keys, inlet, Metrics::default())?;
        mesh.dial(self.target, &Via::Direct(self.addresses.clone()))?;
        let began = Instant::now();
        while !mesh.is_up(self.target) {
            anyhow::ensure!(began.elapsed() < Duration::from_secs(10), "no link to the target");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let hello = Hello {
            wire: WIRE_NEWEST,
            wire_min: 1,
            mesh: self.certificate.mesh,
            certificate: certificate.clone(),
            disk: DiskId(keys.node().0),
            boots: 1,
            wall: wall(),
            relays: None,
            finds: None,
            credentials: None,
            parts: None,
            sleeps: None,
            recovers: None,
            converges: None,
        };
        mesh.send(self.target, WIRE_NEWEST, &Frame::Hello(Box::new(hello)));
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok((mesh, keys, certificate, inbox))
    }

    async fn valid_frames(&self, until: Instant) -> anyhow::Result<String> {
        let (mesh, ..) = self.member(1).await?;
        let (mut queued, mut full) = (0_u64, 0_u64);
        while Instant::now() < until {
            let frame = match queued % 3 {
                0 => Frame::Gossip(membership::Message::Ping(queued)),
                1 => Frame::Gossip(membership::Message::Subscribe(vec![Subject(self.target.0)])),
                _ => Frame::Gossip(membership::Message::Shuffle { answer: false, contacts: Vec::new() }),
            };
            match mesh.send(self.target, WIRE_NEWEST, &frame) {
                Sent::Queued => queued += 1,
                Sent::Full | Sent::StillFull => {
                    full += 1;
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                Sent::NoLink => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let _ = mesh.dial(self.target, &Via::Direct(self.addresses.clone()));
                }
            }
        }
        Ok(format!(
            "{queued} valid frames queued, {full} times the queue was full, link up at the end: {}",
            mesh.is_up(self.target)
        ))
    }

    async fn records(&self, until: Instant) -> anyhow::Result<String> {
        let mut members = Vec::new();
        for number in 0..NODES {
            members.push(self.member(u8::try_from(number)?).await?);
        }
        let mut made = 0;
        let mut waits = 0_u64;
        while Instant::now() < until && made < RECORDS {
            for (mesh, keys, certificate, _) in &members {
                let parcels = (0..100).map(|n| record(keys, certificate, made + n)).collect();
                let frame = Frame::Gossip(membership::Message::Records(parcels));
                made += 100;
                while Instant::now() < until && mesh.send(self.target, WIRE_NEWEST, &frame) != Sent::Queued {
                    waits += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    if !mesh.is_up(self.target) {
                        let _ = mesh.dial(self.target, &Via::Direct(self.addresses.clone()));
                    }
                }
            }
        }
        Ok(format!("{made} records by {NODES} nodes of one operator, {waits} waits"))
    }
}

fn record(keys: &Keypair, certificate: &Signed<NodeCertificate>, number: usize) -> Parcel {
    let now = wall();
    let body = RecordBody {
        kind: RecordKind::BINDING,
        scope: Scope::Mesh,
        subject: Subject::of(&number.to_be_bytes()),
        order: Order { line: 0, generation: 0, version: now.0 },
        expires: now + Duration::from_hours(1),
        content: Blob::from(vec![7; 200]),
    };
    let record = Record { signed: Signed::seal(keys, &body), certificate: Some(certificate.clone()) };
    Parcel(Arc::new(Known::read(record).expect("just made")))
}

/// A loopback address of one of 64 networks that no member is in.
fn source(number: u64) -> Ipv4Addr {
    let part = |part: u64| u8::try_from(part).unwrap_or(0);
    Ipv4Addr::new(127, 66, part(number % 64), 1 + part(number / 64 % 250))
}

/// The place of the `number`th among so many, and around again.
fn nth(number: u64, len: usize) -> usize {
    usize::try_from(number % len as u64).unwrap_or(0)
}

/// How many handshakes should have been begun by now.
fn due(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_mul(HANDSHAKES_PER_SECOND) / 1_000
}

fn udp_sockets() -> anyhow::Result<Vec<UdpSocket>> {
    let sockets = (0..64).map(|n| {
        let socket = UdpSocket::bind((source(n), 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    sockets.collect()
}

async fn connect(number: u64, target: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(source(number)), 0))?;
    let connected = tokio::time::timeout(Duration::from_millis(200), socket.connect(target)).await;
    let stream: TcpStream = connected.map_err(|_| std::io::ErrorKind::TimedOut)??.into_std()?;
    tokio::net::TcpStream::from_std(stream)
}

fn noise(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
