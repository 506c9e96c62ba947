//! The task that owns libp2p's swarm: it dials, listens and closes as told, and tells the machine what came of it.
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bocage_protocol::{
    frame::Urgency,
    id::NodeId,
    identity::Keypair,
    io::{Input, LinkChange, Over, PathKind},
    membership::Address,
};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm, autonat,
    core::{ConnectedPoint, transport::ListenerId},
    dcutr, identify, mdns,
    multiaddr::Protocol,
    ping, relay,
    swarm::{
        ConnectionId, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    Config, Incoming as IncomingStream, MeshStream, Purpose, Shared, TransportError,
    book::{Book, Closed, Connection, Settle},
    check::Checker,
    dialing::{Attempt, Dialing, Failed},
    link::Link,
    metrics::Refused,
    peer::{Carrier, address_of, carrier_of, is_relayed, node_of, peer_of, relay_of, without_name},
    pulse,
    setup::{self, Behaviour, BehaviourEvent},
    streams::{Incoming, Kind},
};
use crate::inbox::Inlet;

/// A peer that has sent no valid frame after so long is hung up on.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(10);

/// Links with peers that have not introduced themselves; of more, the newest is closed. Each is hung up on after
/// [`INTRODUCED_WITHIN`].
const STRANGERS_MAX: usize = 128;

/// While there is something to settle it is looked at so often.
const SETTLE_EVERY: Duration = Duration::from_millis(500);

/// What the swarm is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    Dial {
        peer: NodeId,
        path: PathKind,
        addresses: Vec<Multiaddr>,
    },
    Reserve {
        relay: NodeId,
        wanted: bool,
    },
    Hangup {
        peer: NodeId,
    },
    /// Its link, if it is still this one.
    Drop {
        link: Arc<Link>,
    },
    #[cfg(test)]
    Freeze,
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
    /// A relay is listened at.
    reserved: BTreeMap<NodeId, ListenerId>,
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
        let mut swarm = setup::swarm(config, keys)?;
        for address in &config.listen {
            setup::listen(&mut swarm, address)?;
        }
        let checker = Arc::new(Checker::new(inlet.clone(), shared.metrics.clone(), config.wire));
        let (book, dialing) = (Book::new(shared.node), Dialing::default());
        let reserved = BTreeMap::new();
        Ok(Self { swarm, shared, inlet, incoming, checker, book, dialing, reserved, settle_at: Instant::now() })
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
        let streams = &self.swarm.behaviour().streams;
        let is_busy = |id| streams.opener(id).is_some_and(|opener| opener.is_busy());
        for settle in self.book.settle(now, is_busy) {
            match settle {
                Settle::Switch(peer, id) => self.prefer(peer, id).await,
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
            Order::Dial { peer, path, addresses } => self.dial(peer, path, addresses).await,
            Order::Reserve { relay, wanted } => self.reserve(relay, wanted).await,
            Order::Hangup { peer } => self.drop_link(peer).await,
            #[cfg(test)]
            Order::Freeze => loop {
                std::thread::park();
            },
            Order::Drop { link } => {
                if self.shared.links.of(link.peer).is_some_and(|current| Arc::ptr_eq(&current, &link)) {
                    self.drop_link(link.peer).await;
                }
            }
        }
    }

    async fn dial(&mut self, peer: NodeId, path: PathKind, addresses: Vec<Multiaddr>) {
        let stands = match path {
            PathKind::Direct => self.book.direct(peer).is_some(),
            PathKind::Relayed => self.book.has(peer),
        };
        if stands || self.dialing.has(peer, path) {
            return;
        }
        if peer == self.shared.node {
            return self.unreachable(peer, path, "this is this node itself").await;
        }
        match self.dialing.begin(peer, path, &addresses, Instant::now()) {
            Some(attempt) => self.attempt(attempt).await,
            None => self.unreachable(peer, path, "none of its addresses is one that this node can dial").await,
        }
    }

    /// Listens at a relay, over the direct connection to it, or no longer.
    async fn reserve(&mut self, relay: NodeId, wanted: bool) {
        if !wanted {
            if let Some(listener) = self.reserved.remove(&relay) {
                self.swarm.remove_listener(listener);
            }
            return;
        }
        if self.reserved.contains_key(&relay) {
            return;
        }
        let at = self.book.direct(relay).zip(peer_of(relay)).and_then(|(connection, name)| {
            let address = connection.address.clone().with_p2p(name).ok()?;
            Some(address.with(Protocol::P2pCircuit))
        });
        let why = match at.map(|at| self.swarm.listen_on(at)) {
            Some(Ok(listener)) => {
                self.reserved.insert(relay, listener);
                return;
            }
            Some(Err(error)) => error.to_string(),
            None => "there is no direct link to it".to_owned(),
        };
        self.tell(relay, LinkChange::Unreserved { why }).await;
    }

    async fn unreserved(&mut self, listener: ListenerId, why: String) -> bool {
        let relay = self.reserved.iter().find(|(_, id)| **id == listener).map(|(relay, _)| *relay);
        let Some(relay) = relay else { return false };
        self.reserved.remove(&relay);
        self.tell(relay, LinkChange::Unreserved { why }).await;
        true
    }

    async fn attempt(&mut self, attempt: Attempt) {
        let mut attempt = attempt;
        loop {
            let (peer, path) = (attempt.peer, attempt.path);
            let Some(name) = peer_of(peer) else {
                self.dialing.reached(peer, PathKind::Direct);
                return self.unreachable(peer, path, "its id is no key").await;
            };
            let options = DialOpts::peer_id(name).condition(PeerCondition::Always).addresses(attempt.addresses);
            // QUIC dials from the port it listens on, which opens the way back through a NAT; TCP from a fresh one, for
            // two sides that dial from their listening ports at once meet in one half-made connection.
            let options = match attempt.carrier {
                Carrier::Quic | Carrier::Relayed => options.build(),
                Carrier::Tcp => options.allocate_new_port().build(),
            };
            let id = options.connection_id();
            self.dialing.trying(peer, path, id);
            let Err(error) = self.swarm.dial(options) else { return };
            match self.dialing.failed(peer, id, &error.to_string()) {
                Failed::Wait => return,
                Failed::Try(next) => attempt = next,
                Failed::Unreachable(path, why) => return self.unreachable(peer, path, &why).await,
            }
        }
    }

    async fn unreachable(&mut self, peer: NodeId, path: PathKind, why: &str) {
        self.tell(peer, LinkChange::Unreachable { path, why: why.to_owned() }).await;
    }

    async fn tell(&mut self, peer: NodeId, change: LinkChange) {
        if self.inlet.input(Urgency::Control, Input::Link { peer, change }).await.is_err() {
            self.shared.stop.cancel();
        }
    }

    async fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event).await,
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_opened(peer_id, connection_id, &endpoint).await;
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
                    Failed::Unreachable(path, why) => self.unreachable(peer, path, &why).await,
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
            // What a relay says of its own addresses is not read: the machine knows where it is.
            SwarmEvent::NewListenAddr { address, .. } if is_relayed(&address) => {}
            SwarmEvent::ExpiredListenAddr { address, .. } if is_relayed(&address) => {}
            SwarmEvent::NewListenAddr { address, .. } => {
                let address = address_of(&address);
                self.shared.listening().insert(address.clone());
                self.tell(self.shared.node, LinkChange::Listening { address }).await;
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let address = address_of(&address);
                self.shared.listening().remove(&address);
                self.tell(self.shared.node, LinkChange::Deaf { address }).await;
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                let why = match &reason {
                    Ok(()) => "the link to it is gone".to_owned(),
                    Err(error) => error.to_string(),
                };
                if self.unreserved(listener_id, why).await || addresses.iter().all(is_relayed) {
                    return;
                }
                tracing::error!(?addresses, ?reason, "this node does not listen there any more");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listening failed for a moment"),
            _ => {}
        }
    }

    async fn on_opened(&mut self, peer_id: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let peer = node_of(&peer_id).expect("a connection with a peer that is no node was refused");
        let Some(opener) = self.swarm.behaviour().streams.opener(id) else { return };
        let connection = self.connection(id, endpoint);
        if connection.dialled {
            self.swarm.behaviour_mut().gate.remember(&connection.address);
        } else if self.shared.links.strangers() >= STRANGERS_MAX {
            self.shared.metrics.refuse(Refused::Connection);
            self.swarm.close_connection(id);
            return;
        }
        let path = if connection.relay.is_some() { PathKind::Relayed } else { PathKind::Direct };
        self.dialing.reached(peer, path);
        let (over, address) = said_of(&connection);
        if !self.book.opened(peer, connection) {
            return;
        }
        let link = Arc::new(Link::new(peer, opener, over));
        self.shared.links.insert(Arc::clone(&link));
        self.shared.metrics.links.inc();
        self.tell(peer, LinkChange::Up { address, over }).await;
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

    fn connection(&self, id: ConnectionId, endpoint: &ConnectedPoint) -> Connection {
        let (dialled, since) = (endpoint.is_dialer(), Instant::now());
        let (ConnectedPoint::Dialer { address: path, .. } | ConnectedPoint::Listener { local_addr: path, .. }) =
            endpoint;
        let address = endpoint.get_remote_address();
        if !is_relayed(path) {
            let (carrier, address) = (carrier_of(address).unwrap_or(Carrier::Tcp), without_name(address));
            return Connection { id, carrier, relay: None, address, dialled, since };
        }
        // Whoever comes through a relay comes in where this node listens at it, which names the relay if it dialled it.
        let at: Multiaddr = path.iter().take_while(|part| !matches!(part, Protocol::P2pCircuit)).collect();
        let relay = relay_of(path).or_else(|| self.book.at(&at)).or_else(|| self.reserved.keys().next().copied());
        let relay = relay.unwrap_or(self.shared.node);
        Connection { id, carrier: Carrier::Relayed, relay: Some(relay), address: address.clone(), dialled, since }
    }

    async fn on_closed(&mut self, peer_id: PeerId, id: ConnectionId, address: &Multiaddr) {
        let Some(peer) = node_of(&peer_id) else { return };
        if self.shared.links.of(peer).is_some_and(|link| link.is_introduced()) {
            self.swarm.behaviour_mut().gate.remember(address);
        }
        match self.book.closed(peer, id) {
            Closed::Unknown => {}
            Closed::Switched(primary) => self.prefer(peer, primary).await,
            Closed::Down => self.down(peer).await,
        }
    }

    async fn prefer(&mut self, peer: NodeId, id: ConnectionId) {
        if let Some(opener) = self.swarm.behaviour().streams.opener(id)
            && let Some(link) = self.shared.links.of(peer)
            && let Some(connection) = self.book.get(peer, id)
            && link.primary().connection != id
        {
            let (over, address) = said_of(connection);
            link.prefer(opener, over);
            self.tell(peer, LinkChange::Moved { address, over }).await;
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
            if let Some(relay) = &self.shared.relay {
                relay.forget(peer);
            }
            link.closed.cancel();
            self.shared.metrics.links.dec();
            self.tell(peer, LinkChange::Down).await;
        }
    }

    async fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(incoming) => self.on_stream(incoming),
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => self.on_ping(&peer, connection, result),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                tracing::debug!(%peer_id, agent = %info.agent_version, "a peer said what it runs");
                if let Some(peer) = node_of(&peer_id).filter(|_| !is_relayed(&info.observed_addr)) {
                    let change = LinkChange::Observed { address: address_of(&info.observed_addr) };
                    // Said again in some minutes.
                    let _ = self.inlet.try_input(Urgency::Control, Input::Link { peer, change });
                }
            }
            BehaviourEvent::Relayed(relay::client::Event::ReservationReqAccepted { relay_peer_id, .. }) => {
                if let Some(relay) = node_of(&relay_peer_id) {
                    self.tell(relay, LinkChange::Reserved).await;
                }
            }
            BehaviourEvent::Punch(dcutr::Event { remote_peer_id, result }) => {
                if let Some(peer) = node_of(&remote_peer_id) {
                    let failed = result.err().map(|error| error.to_string());
                    tracing::debug!(?peer, ?failed, "both sides dialled at once");
                    self.tell(peer, LinkChange::Punched { failed }).await;
                }
            }
            BehaviourEvent::Tested(autonat::v2::client::Event { tested_addr, server, result, .. }) => {
                if let Some(peer) = node_of(&server) {
                    tracing::debug!(?peer, %tested_addr, ?result, "a peer dialled this node to test it");
                    let (address, reached) = (address_of(&tested_addr), result.is_ok());
                    self.tell(peer, LinkChange::Tested { address, reached }).await;
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_discovered(found),
            BehaviourEvent::Identify(_)
            | BehaviourEvent::Mdns(mdns::Event::Expired(_))
            | BehaviourEvent::Tester(_)
            | BehaviourEvent::Relayed(
                relay::client::Event::OutboundCircuitEstablished { .. }
                | relay::client::Event::InboundCircuitEstablished { .. },
            ) => {}
        }
    }

    fn on_ping(&mut self, peer: &PeerId, connection: ConnectionId, result: Result<Duration, ping::Failure>) {
        let Some(peer) = node_of(peer) else { return };
        match result {
            Ok(round_trip) => {
                let Some(link) = self.shared.links.of(peer) else { return };
                link.hear();
                if link.primary().connection != connection {
                    return;
                }
                link.measured(round_trip);
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
            Kind::For(_) | Kind::Hop | Kind::Stop => &link.streams,
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
            Kind::Hop => self.relay(link, stream, share),
            Kind::Stop => unreachable!("libp2p's client takes these"),
            Kind::For(purpose) => {
                let sender = match purpose {
                    Purpose::Http => &self.incoming.http,
                    Purpose::Content => &self.incoming.content,
                    Purpose::Logs => &self.incoming.logs,
                };
                let Some(opener) = self.swarm.behaviour().streams.opener(connection) else { return };
                let stream = MeshStream::new(stream, &link, opener.hold(), Some(share));
                if sender.try_send((from, stream)).is_err() {
                    self.shared.metrics.refuse(Refused::Stream);
                }
            }
        }
    }

    /// A peer asks this node to relay.
    fn relay(&self, link: Arc<Link>, stream: Stream, share: tokio::sync::OwnedSemaphorePermit) {
        let Some(relay) = self.shared.relay.clone() else { return };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let closed = link.closed.clone();
            closed.run_until_cancelled(super::relay::serve(relay, shared, link, stream)).await;
            drop(share);
        });
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

/// What the machine is told of a connection that a link goes over.
fn said_of(connection: &Connection) -> (Over, Option<Address>) {
    let over = match (connection.relay, connection.carrier) {
        (Some(relay), _) => Over::Relay(relay),
        (None, Carrier::Quic) => Over::Quic,
        (None, Carrier::Tcp | Carrier::Relayed) => Over::Tcp,
    };
    (over, connection.dialled.then(|| address_of(&connection.address)))
}
