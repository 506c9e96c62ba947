//! The task that owns libp2p's swarm: it dials, listens and closes as told, and tells the machine what came of it.
use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use bocage_protocol::{
    frame::Urgency,
    id::NodeId,
    identity::Keypair,
    io::{Input, LinkChange},
    membership::Address,
};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm, SwarmBuilder, connection_limits,
    core::upgrade::Version,
    identify, mdns,
    multiaddr::Protocol,
    noise, ping,
    swarm::{
        ConnectionId, NetworkBehaviour, SwarmEvent,
        behaviour::toggle::Toggle,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    Config, Incoming as IncomingStream, MeshStream, Purpose, Shared, TransportError,
    book::{Book, Closed, Connection, Settle},
    check::Checker,
    dialing::{Attempt, Dialing, Failed},
    gate::Gate,
    link::Link,
    metrics::Refused,
    peer::{Carrier, address_of, carrier_of, libp2p_keys, node_of, peer_of},
    pulse,
    streams::{self, Incoming, Kind},
};
use crate::inbox::Inlet;

/// Connections to one peer: both sides may dial twice at once.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;

/// Connections that this node makes and that have not finished their handshake; of others' see `gate`.
const PENDING_MAX: u32 = 64;

/// A handshake takes no longer; a half-open connection is closed then.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A QUIC handshake takes no longer; the dial is then given up.
const QUIC_HANDSHAKE_WITHIN: Duration = Duration::from_secs(4);

/// A peer that has sent no valid frame after so long is hung up on.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(10);

/// Links with peers that have not introduced themselves; of more, the newest is closed. Each is hung up on after
/// [`INTRODUCED_WITHIN`].
const STRANGERS_MAX: usize = 128;

/// A QUIC connection without a packet from the peer for so long is dead, if nobody noticed before.
const QUIC_IDLE_MS: u32 = 10_000;

/// An unanswered ping closes a TCP connection after so long.
const PING_WITHIN: Duration = Duration::from_secs(8);

/// Bytes of one stream, and of one connection, that a peer may send before we have read them.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Streams that a peer may have open on one connection; further ones wait until others end. Each costs some 70 bytes as
/// soon as a handshake begins, for whoever begins one: with 512 a flood of first packets took twice the memory.
const STREAMS_MAX: u32 = 128;

/// The same on TCP, where a stream costs nothing before it is opened, and this node's own count too.
const YAMUX_STREAMS_MAX: usize = 512;

/// While there is something to settle it is looked at so often.
const SETTLE_EVERY: Duration = Duration::from_millis(500);

/// What libp2p does for us on each connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    gate: Gate,
    limits: connection_limits::Behaviour,
    streams: streams::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// What the swarm is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    Dial {
        peer: NodeId,
        addresses: Vec<Multiaddr>,
    },
    Hangup {
        peer: NodeId,
    },
    /// Its link, if it is still this one.
    Drop {
        link: Arc<Link>,
    },
}

/// Where streams that peers open go.
#[derive(Debug)]
pub(super) struct IncomingSenders {
    pub(super) http: mpsc::Sender<IncomingStream>,
    pub(super) content: mpsc::Sender<IncomingStream>,
    pub(super) logs: mpsc::Sender<IncomingStream>,
}

/// The swarm and what belongs to it.
pub(super) struct Task {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    inlet: Inlet,
    incoming: IncomingSenders,
    checker: Arc<Checker>,
    book: Book,
    dialing: Dialing,
    settle_at: Instant,
}

impl Task {
    pub(super) fn new(
        config: &Config,
        keys: &Keypair,
        shared: Arc<Shared>,
        inlet: Inlet,
        incoming: IncomingSenders,
    ) -> Result<Self, TransportError> {
        let mut swarm = swarm(config, keys)?;
        for address in &config.listen {
            listen(&mut swarm, address)?;
        }
        let checker = Arc::new(Checker::new(inlet.clone(), shared.metrics.clone()));
        let (book, dialing) = (Book::new(shared.node), Dialing::default());
        Ok(Self { swarm, shared, inlet, incoming, checker, book, dialing, settle_at: Instant::now() })
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let stop = self.shared.stop.clone();
        loop {
            let wake = self.wake();
            let sleep = async {
                match wake {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(order) = orders.recv() => self.on_order(order).await,
                event = self.swarm.select_next_some() => self.on_event(event).await,
                () = sleep => self.on_time().await,
            }
        }
        for link in self.shared.links.all() {
            self.drop_link(link.peer).await;
        }
    }

    fn wake(&self) -> Option<Instant> {
        let settles = self.book.is_doubled() || self.book.since().any(|(peer, _)| self.is_stranger(peer));
        [settles.then_some(self.settle_at), self.dialing.next_due()].into_iter().flatten().min()
    }

    async fn on_time(&mut self) {
        let now = Instant::now();
        for attempt in self.dialing.due(now) {
            self.attempt(attempt).await;
        }
        if now < self.settle_at {
            return;
        }
        self.settle_at = now + SETTLE_EVERY;
        for settle in self.book.settle(now) {
            match settle {
                Settle::Switch(peer, id) => self.prefer(peer, id),
                Settle::Close(id) => {
                    self.swarm.close_connection(id);
                }
            }
        }
        let late = |(peer, since): &(NodeId, Instant)| self.is_stranger(*peer) && now >= *since + INTRODUCED_WITHIN;
        for (peer, _) in self.book.since().filter(late).collect::<Vec<_>>() {
            self.shared.metrics.refuse(Refused::Slow);
            self.drop_link(peer).await;
        }
    }

    fn is_stranger(&self, peer: NodeId) -> bool {
        self.shared.links.of(peer).is_some_and(|link| !link.is_introduced())
    }

    async fn on_order(&mut self, order: Order) {
        match order {
            Order::Dial { peer, addresses } => self.dial(peer, addresses).await,
            Order::Hangup { peer } => self.drop_link(peer).await,
            Order::Drop { link } => {
                if self.shared.links.of(link.peer).is_some_and(|current| Arc::ptr_eq(&current, &link)) {
                    self.drop_link(link.peer).await;
                }
            }
        }
    }

    async fn dial(&mut self, peer: NodeId, addresses: Vec<Multiaddr>) {
        if self.book.has(peer) || self.dialing.has(peer) {
            return;
        }
        if peer == self.shared.node {
            return self.unreachable(peer, "this is this node itself").await;
        }
        match self.dialing.begin(peer, &addresses, Instant::now()) {
            Some(attempt) => self.attempt(attempt).await,
            None => self.unreachable(peer, "none of its addresses is one that this node can dial").await,
        }
    }

    async fn attempt(&mut self, attempt: Attempt) {
        let mut attempt = attempt;
        loop {
            let peer = attempt.peer;
            let Some(name) = peer_of(peer) else {
                self.dialing.reached(peer);
                return self.unreachable(peer, "its id is no key").await;
            };
            let options = DialOpts::peer_id(name).condition(PeerCondition::Always).addresses(attempt.addresses);
            // QUIC dials from the port it listens on, which opens the way back through a NAT; TCP from a fresh one, for
            // two sides that dial from their listening ports at once meet in one half-made connection.
            let options = match attempt.carrier {
                Carrier::Quic => options.build(),
                Carrier::Tcp => options.allocate_new_port().build(),
            };
            let id = options.connection_id();
            self.dialing.trying(peer, id);
            let Err(error) = self.swarm.dial(options) else { return };
            match self.dialing.failed(peer, id, &error.to_string()) {
                Failed::Wait => return,
                Failed::Try(next) => attempt = next,
                Failed::Unreachable(why) => return self.unreachable(peer, &why).await,
            }
        }
    }

    async fn unreachable(&mut self, peer: NodeId, why: &str) {
        self.tell(peer, LinkChange::Unreachable { why: why.to_owned() }).await;
    }

    async fn tell(&mut self, peer: NodeId, change: LinkChange) {
        if self.inlet.input(Urgency::Control, Input::Link { peer, change }).await.is_err() {
            self.shared.stop.cancel();
        }
    }

    async fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let (dialled, address) = (endpoint.is_dialer(), endpoint.get_remote_address());
                self.on_opened(peer_id, connection_id, dialled, address).await;
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, endpoint, .. } => {
                tracing::debug!(%peer_id, ?cause, "a connection closed");
                self.on_closed(peer_id, connection_id, endpoint.get_remote_address()).await;
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id: Some(peer_id), error } => {
                let Some(peer) = node_of(&peer_id) else { return };
                match self.dialing.failed(peer, connection_id, &error.to_string()) {
                    Failed::Wait => {}
                    Failed::Try(attempt) => self.attempt(attempt).await,
                    Failed::Unreachable(_) if self.book.has(peer) => {}
                    Failed::Unreachable(why) => self.unreachable(peer, &why).await,
                }
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                let refused = match error {
                    libp2p::swarm::ListenError::Denied { .. } => Refused::Connection,
                    _ => Refused::Handshake,
                };
                self.shared.metrics.refuse(refused);
                tracing::debug!(%send_back_addr, %error, "a connection came to nothing");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                let address = address_of(&address);
                self.shared.listening().insert(address.clone());
                self.tell(self.shared.node, LinkChange::Listening { address }).await;
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.shared.listening().remove(&address_of(&address));
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "this node does not listen there any more");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listening failed for a moment"),
            _ => {}
        }
    }

    async fn on_opened(&mut self, peer_id: PeerId, id: ConnectionId, dialled: bool, address: &Multiaddr) {
        let peer = node_of(&peer_id).expect("a connection with a peer that is no node was refused");
        let Some(opener) = self.swarm.behaviour().streams.opener(id) else { return };
        let carrier = carrier_of(address).unwrap_or(Carrier::Tcp);
        self.dialing.reached(peer);
        if dialled {
            self.swarm.behaviour_mut().gate.remember(address);
        } else if self.shared.links.strangers() >= STRANGERS_MAX {
            self.shared.metrics.refuse(Refused::Connection);
            self.swarm.close_connection(id);
            return;
        }
        if !self.book.opened(peer, Connection { id, carrier, dialled, since: Instant::now() }) {
            return;
        }
        let link = Arc::new(Link::new(peer, opener));
        self.shared.links.insert(Arc::clone(&link));
        self.shared.metrics.links.inc();
        self.tell(peer, LinkChange::Up { address: dialled.then(|| address_of(address)) }).await;
        for urgency in [Urgency::Control, Urgency::Request, Urgency::Bulk] {
            let writing = Arc::clone(&link).write_frames(urgency, self.shared.metrics.clone());
            let closed = link.closed.clone();
            tokio::spawn(async move { closed.run_until_cancelled(writing).await });
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let felt = pulse::feel(Arc::clone(&link), Arc::clone(&shared));
            if link.closed.run_until_cancelled(felt).await.is_some() {
                tracing::info!(peer = ?link.peer, "the peer does not answer: the link is given up");
                shared.metrics.silent.inc();
                shared.order(Order::Drop { link });
            }
        });
    }

    async fn on_closed(&mut self, peer_id: PeerId, id: ConnectionId, address: &Multiaddr) {
        let Some(peer) = node_of(&peer_id) else { return };
        if self.shared.links.of(peer).is_some_and(|link| link.is_introduced()) {
            self.swarm.behaviour_mut().gate.remember(address);
        }
        match self.book.closed(peer, id) {
            Closed::Unknown => {}
            Closed::Switched(primary) => self.prefer(peer, primary),
            Closed::Down => self.down(peer).await,
        }
    }

    fn prefer(&mut self, peer: NodeId, id: ConnectionId) {
        if let Some(opener) = self.swarm.behaviour().streams.opener(id)
            && let Some(link) = self.shared.links.of(peer)
            && link.primary().connection != id
        {
            link.prefer(opener);
        }
    }

    /// Gives a link up at once. Its connections close in their own time: on a dead TCP connection that may be long.
    async fn drop_link(&mut self, peer: NodeId) {
        for id in self.book.forget(peer) {
            self.swarm.close_connection(id);
        }
        self.down(peer).await;
    }

    async fn down(&mut self, peer: NodeId) {
        if let Some(link) = self.shared.links.remove(peer) {
            link.closed.cancel();
            self.shared.metrics.links.dec();
            self.tell(peer, LinkChange::Down).await;
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(incoming) => self.on_stream(incoming),
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => self.on_ping(&peer, connection, result),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                tracing::debug!(%peer_id, agent = %info.agent_version, "a peer said what it runs");
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_discovered(found),
            BehaviourEvent::Identify(_) | BehaviourEvent::Mdns(mdns::Event::Expired(_)) => {}
        }
    }

    fn on_ping(&mut self, peer: &PeerId, connection: ConnectionId, result: Result<Duration, ping::Failure>) {
        let Some(peer) = node_of(peer) else { return };
        match result {
            Ok(round_trip) => {
                let Some(link) = self.shared.links.of(peer) else { return };
                link.measured(round_trip);
                link.hear();
                // One of many: the next comes soon.
                let change = LinkChange::RoundTrip(round_trip);
                let _ = self.inlet.try_input(Urgency::Control, Input::Link { peer, change });
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(?peer, %error, "a ping failed: its connection is closed");
                self.swarm.close_connection(connection);
            }
        }
    }

    fn on_discovered(&self, found: Vec<(PeerId, Multiaddr)>) {
        for (peer, address) in found {
            let Some(peer) = node_of(&peer) else { continue };
            let change = LinkChange::Discovered { address: address_of(&address) };
            // Said again soon.
            let _ = self.inlet.try_input(Urgency::Bulk, Input::Link { peer, change });
        }
    }

    fn on_stream(&mut self, incoming: Incoming) {
        let Incoming { from, connection, kind, stream } = incoming;
        let Some(link) = self.shared.links.of(from) else { return };
        if !self.book.holds(from, connection) {
            return;
        }
        let share = match kind {
            Kind::Frames(_) | Kind::Pulse => &link.readers,
            Kind::For(_) => &link.streams,
        };
        let Ok(share) = Arc::clone(share).try_acquire_owned() else {
            return self.shared.metrics.refuse(Refused::Stream);
        };
        match kind {
            Kind::Frames(urgency) => self.read(link, urgency, stream, share),
            Kind::Pulse => {
                let closed = link.closed.clone();
                tokio::spawn(async move {
                    closed.run_until_cancelled(pulse::echo(stream)).await;
                    drop(share);
                });
            }
            Kind::For(purpose) => {
                let sender = match purpose {
                    Purpose::Http => &self.incoming.http,
                    Purpose::Content => &self.incoming.content,
                    Purpose::Logs => &self.incoming.logs,
                };
                let stream = MeshStream::new(stream, &link, Some(share));
                if sender.try_send((from, stream)).is_err() {
                    self.shared.metrics.refuse(Refused::Stream);
                }
            }
        }
    }

    fn read(&self, link: Arc<Link>, lane: Urgency, stream: Stream, share: tokio::sync::OwnedSemaphorePermit) {
        let (checker, shared) = (Arc::clone(&self.checker), Arc::clone(&self.shared));
        tokio::spawn(async move {
            let reading = checker.read_frames(Arc::clone(&link), lane, stream);
            if let Some(Err(refused)) = link.closed.run_until_cancelled(reading).await {
                tracing::warn!(peer = ?link.peer, ?refused, "a peer broke the protocol: its link is closed");
                shared.metrics.refuse(refused);
                shared.order(Order::Drop { link });
            }
            drop(share);
        });
    }
}

fn swarm(config: &Config, keys: &Keypair) -> Result<Swarm<Behaviour>, TransportError> {
    let setup = |error: &dyn std::fmt::Display| TransportError::Setup(error.to_string());
    let builder = SwarmBuilder::with_existing_identity(libp2p_keys(keys))
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, || {
            let mut yamux = yamux::Config::default();
            yamux.set_max_num_streams(YAMUX_STREAMS_MAX);
            yamux
        })
        .map_err(|error| setup(&error))?
        .with_quic_config(|mut quic| {
            quic.handshake_timeout = QUIC_HANDSHAKE_WITHIN;
            quic.max_idle_timeout = QUIC_IDLE_MS;
            quic.keep_alive_interval = Duration::from_millis(u64::from(QUIC_IDLE_MS) * 2 / 5);
            quic.max_concurrent_stream_limit = STREAMS_MAX;
            quic.max_stream_data = STREAM_WINDOW;
            quic.max_connection_data = CONNECTION_WINDOW;
            quic
        })
        .with_behaviour(|keys| behaviour(config, keys))
        .map_err(|error| setup(&error))?;
    Ok(builder
        .with_swarm_config(|swarm| {
            // The stream's name goes with its first bytes: opening costs no round trip.
            swarm
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
                .with_idle_connection_timeout(HANDSHAKE_WITHIN)
        })
        .with_connection_timeout(HANDSHAKE_WITHIN)
        .build())
}

type SetupError = Box<dyn std::error::Error + Send + Sync>;

fn behaviour(config: &Config, keys: &libp2p::identity::Keypair) -> Result<Behaviour, SetupError> {
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_outgoing(Some(PENDING_MAX))
        .with_max_established_incoming(Some(config.connections_max / 2))
        .with_max_established(Some(config.connections_max))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    let about = identify::Config::new("/bocage/1".into(), keys.public())
        .with_agent_version(concat!("bocage/", env!("CARGO_PKG_VERSION")).into())
        .with_cache_size(0);
    let mdns = if config.mdns {
        Some(mdns::tokio::Behaviour::new(mdns::Config::default(), keys.public().to_peer_id())?)
    } else {
        None
    };
    Ok(Behaviour {
        gate: Gate::default(),
        limits: connection_limits::Behaviour::new(limits),
        streams: streams::Behaviour::default(),
        identify: identify::Behaviour::new(about),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(config.ping).with_timeout(PING_WITHIN)),
        mdns: mdns.into(),
    })
}

fn listen(swarm: &mut Swarm<Behaviour>, text: &Address) -> Result<(), TransportError> {
    let address: Multiaddr = text.parse().map_err(|_| TransportError::Address(text.clone()))?;
    let (carrier, socket) =
        carrier_of(&address).zip(socket_of(&address)).ok_or_else(|| TransportError::Address(text.clone()))?;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => TransportError::AddressInUse(text.clone()),
        _ => TransportError::Listen(text.clone(), error),
    };
    // libp2p lets several listeners share a port: two nodes on one would each get half of the connections, and nobody
    // would know. So the port is asked for alone first.
    match carrier {
        Carrier::Quic => UdpSocket::bind(socket).map(drop).map_err(failed)?,
        Carrier::Tcp => TcpListener::bind(socket).map(drop).map_err(failed)?,
    }
    match swarm.listen_on(address) {
        Ok(_) => Ok(()),
        Err(libp2p::TransportError::Other(error)) => Err(failed(error)),
        Err(libp2p::TransportError::MultiaddrNotSupported(_)) => Err(TransportError::Address(text.clone())),
    }
}

fn socket_of(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Udp(port) | Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}
