//! Links to peers by libp2p: QUIC first, TCP with Noise and Yamux where QUIC does not get through. It finds,
//! authenticates and carries; whom to dial, what to send and what a silent peer means is the machine's.
//!
//! ```text
//!   machine ─ dial, hangup ─→ swarm ── connections ──┐
//!           ─ send ─→ lane ─→ stream of an urgency ──┼──→ peer
//!   machine ←─ inbox ←─ check ←─ stream ←────────────┘
//! ```
//! Each peer has one *link* over one or more connections, and on it one long-lived stream for each urgency, so that bulk
//! never stands before raft. A frame is its length (four bytes, big-endian) and its bytes. Everything is bounded: see the
//! constants of `gate`, `lane`, `check`, `quota`, `link` and `swarm`.
use std::{
    collections::BTreeSet,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bocage_protocol::{
    frame::Frame,
    id::NodeId,
    identity::Keypair,
    io::{Over, Path},
    membership::Address,
    wire::WireRange,
};
use libp2p::{Multiaddr, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, mpsc},
};
use tokio_util::{
    compat::{Compat, FuturesAsyncReadCompatExt as _},
    sync::{CancellationToken, WaitForCancellationFutureOwned},
};

use crate::inbox::Inlet;

mod swarm;
mod setup;
mod gate;
mod dialing;
mod book;
mod relay;
mod streams;
mod link;
mod lane;
mod check;
mod quota;
mod pulse;
mod peer;
mod metrics;
#[cfg(test)]
mod tests;

pub use lane::Sent;
pub use metrics::{Metrics, Refused};
pub use peer::{node_of, node_of_address, peer_of};
pub use pulse::WatchGuard;
pub use relay::Config as RelayConfig;

use link::{Link, Links};
use streams::Kind;
use swarm::Order;

/// Streams of one purpose that wait to be taken in. At the bound a new one is closed and counted.
const INCOMING_MAX: usize = 256;

/// Dials and hangups that the swarm has not seen yet.
const ORDERS_MAX: usize = 1024;

/// What was told to peers last, that their links end, leaves within this.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Addresses tried in one dial; the rest is not.
const DIAL_ADDRESSES_MAX: usize = 16;

/// How the transport behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen: `/ip4/0.0.0.0/udp/4001/quic-v1`, `/ip4/0.0.0.0/tcp/4001`.
    pub listen: Vec<Address>,
    /// Look for peers on the local network, and let them find us.
    pub mdns: bool,
    /// Connections in all; half of it incoming. Each costs some 100 KiB. Default 1,024.
    pub connections_max: u32,
    /// How often the round trip to each peer is measured. Default 5 s.
    pub ping: Duration,
    /// The wire versions that are read. A frame of another one closes the connection. Default: all that this code speaks.
    pub wire: WireRange,
    /// Relay for members that cannot dial each other, within these bounds. Default no.
    pub relay: Option<RelayConfig>,
}

impl Config {
    /// Somebody outside this machine may want to reach this node. If nobody does, there is no NAT to find out about or to
    /// get through, and what would do that is left out.
    fn is_for_others(&self) -> bool {
        use bocage_protocol::reach::address::{Scope, scope};
        self.listen.iter().any(|address| scope(address) != Scope::Loopback)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            mdns: false,
            connections_max: 1024,
            ping: Duration::from_secs(5),
            wire: WireRange::default(),
            relay: None,
        }
    }
}

/// Why the transport cannot start. Nothing was left open.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Somebody else listens there.
    #[error("{0} is in use: another program, or another node, listens there. Stop it or choose another port")]
    AddressInUse(Address),
    /// Not an address that we can listen on.
    #[error("cannot listen on {0:?}: expected /ip4/ADDRESS/udp/PORT/quic-v1 or /ip4/ADDRESS/tcp/PORT")]
    Address(Address),
    /// The system says no.
    #[error("cannot listen on {0}")]
    Listen(Address, #[source] io::Error),
    /// The transport itself could not be made.
    #[error("the transport could not be set up: {0}")]
    Setup(String),
}

/// Why no stream was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no link to the peer.
    #[error("there is no link to node {0:?}")]
    NoLink(NodeId),
    /// The link does not open it.
    #[error("the link to node {0:?} opens no stream")]
    Link(NodeId, #[source] io::Error),
}

/// What a stream between nodes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A request of an edge to an instance on the peer.
    Http,
    /// Bytes by hash.
    Content,
    /// What an app prints on the peer.
    Logs,
}

/// A stream from a peer that it opened.
pub type Incoming = (NodeId, MeshStream);

/// The links of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mesh(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    node: NodeId,
    links: Links,
    orders: mpsc::Sender<Order>,
    metrics: Metrics,
    incoming: Mutex<IncomingReceivers>,
    listening: Mutex<BTreeSet<Address>>,
    relay: Option<Arc<relay::Relay>>,
    stop: CancellationToken,
    tasks: tokio::runtime::Handle,
}

#[derive(Debug)]
struct IncomingReceivers {
    http: Option<mpsc::Receiver<Incoming>>,
    content: Option<mpsc::Receiver<Incoming>>,
    logs: Option<mpsc::Receiver<Incoming>>,
}

/// The transport has more dials and hangups to do than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many dials at once")]
pub struct Busy;

impl Mesh {
    /// Listens, and tells `inlet` what happens, on a thread of its own. Called on a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn start(config: &Config, keys: &Keypair, inlet: Inlet, metrics: Metrics) -> Result<Self, TransportError> {
        let (orders, order_receiver) = mpsc::channel(ORDERS_MAX);
        let (http_sender, http) = mpsc::channel(INCOMING_MAX);
        let (content_sender, content) = mpsc::channel(INCOMING_MAX);
        let (logs_sender, logs) = mpsc::channel(INCOMING_MAX);
        let shared = Arc::new(Shared {
            node: keys.node(),
            links: Links::default(),
            orders,
            metrics,
            incoming: Mutex::new(IncomingReceivers { http: Some(http), content: Some(content), logs: Some(logs) }),
            listening: Mutex::default(),
            relay: config.relay.map(relay::Relay::new),
            stop: CancellationToken::new(),
            tasks: tokio::runtime::Handle::current(),
        });
        let incoming = swarm::IncomingSenders { http: http_sender, content: content_sender, logs: logs_sender };
        // A thread of its own: no guest, however busy, delays a heartbeat, and what arrives at an idle node wakes one thread,
        // where a pool of them would wake a second one to look for more.
        let thread = |error: io::Error| TransportError::Setup(format!("a thread for it: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread)?;
        let swarm = {
            let _inside = runtime.enter();
            swarm::Task::new(config, keys, Arc::clone(&shared), inlet, incoming)
        };
        let swarm = match swarm {
            Ok(swarm) => swarm,
            Err(error) => {
                // Its end may not be waited for on the caller's runtime.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let work = async move {
            swarm.run(order_receiver).await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        std::thread::Builder::new().name("transport".into()).spawn(move || runtime.block_on(work)).map_err(thread)?;
        Ok(Self(shared))
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Makes a link, by QUIC if one of the addresses answers by it, else by TCP; or through a relay. A direct connection
    /// takes the place of a relayed one. Answered by `Link`: `Up`, `Moved` or `Unreachable`; by nothing when such a
    /// connection stands already or is being made.
    ///
    /// # Errors
    /// When too much is asked of the transport at once; nothing was done.
    pub fn dial(&self, peer: NodeId, via: &Path) -> Result<(), Busy> {
        let (good, bad): (Vec<_>, Vec<_>) = via
            .addresses()
            .iter()
            .take(DIAL_ADDRESSES_MAX)
            .map(|text| text.parse::<Multiaddr>())
            .partition(Result::is_ok);
        if !bad.is_empty() {
            tracing::debug!(?peer, bad = bad.len(), "addresses that cannot be read are not dialled");
        }
        let addresses = good.into_iter().filter_map(Result::ok).collect();
        self.0.orders.try_send(Order::Dial { peer, path: via.kind(), addresses }).map_err(|_| Busy)
    }

    /// Has a peer relay for this node, over the direct link to it, until told otherwise or until that link is gone.
    /// Answered by `Link`: `Reserved` or `Unreserved`.
    pub fn reserve(&self, relay: NodeId, wanted: bool) {
        self.order(Order::Reserve { relay, wanted });
    }

    /// Closes the link. Answered by `Link`: `Down`, if there was one.
    pub fn hangup(&self, peer: NodeId) {
        self.order(Order::Hangup { peer });
    }

    /// Queues a frame, encoded in this wire version: best effort, in order with others of its urgency to that peer.
    pub fn send(&self, to: NodeId, wire: u16, frame: &Frame) -> Sent {
        let urgency = frame.urgency();
        let sent = self.0.links.send(to, urgency, || frame.encode(wire));
        if sent != Sent::Queued {
            self.0.metrics.dropped(urgency);
        }
        sent
    }

    /// Opens a stream to a peer. It breaks when the link goes down.
    ///
    /// # Errors
    /// When there is no link, or it opens no stream.
    pub async fn open(&self, peer: NodeId, purpose: Purpose) -> Result<MeshStream, OpenError> {
        let link = self.0.links.of(peer).ok_or(OpenError::NoLink(peer))?;
        let primary = link.primary();
        let held = primary.hold();
        let opened = link.closed.run_until_cancelled(primary.open(Kind::For(purpose))).await;
        let stream = opened.ok_or(OpenError::NoLink(peer))?.map_err(|error| OpenError::Link(peer, error))?;
        Ok(MeshStream::new(stream, &link, held, None))
    }

    /// The streams of one purpose that peers open. `None` when somebody else took them already.
    #[must_use]
    pub fn incoming(&self, purpose: Purpose) -> Option<mpsc::Receiver<Incoming>> {
        let mut incoming = self.0.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        match purpose {
            Purpose::Http => incoming.http.take(),
            Purpose::Content => incoming.content.take(),
            Purpose::Logs => incoming.logs.take(),
        }
    }

    /// Pings this peer every 250 ms while the guard is alive.
    #[must_use]
    pub fn watch(&self, peer: NodeId) -> WatchGuard {
        WatchGuard::new(peer, Arc::clone(&self.0))
    }

    /// Whether there is a link to this peer now.
    #[must_use]
    pub fn is_up(&self, peer: NodeId) -> bool {
        self.0.links.of(peer).is_some()
    }

    /// What the link goes over; `None` when there is none.
    #[must_use]
    pub fn over(&self, peer: NodeId) -> Option<Over> {
        self.0.links.of(peer).map(|link| link.over())
    }

    /// Of the link, as last measured; `None` when there is none or it was not measured yet.
    #[must_use]
    pub fn round_trip(&self, peer: NodeId) -> Option<Duration> {
        self.0.links.of(peer)?.round_trip()
    }

    /// Where this node listens now.
    #[must_use]
    pub fn listening(&self) -> Vec<Address> {
        self.0.listening().iter().cloned().collect()
    }

    /// Closes every link and listener.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    fn order(&self, order: Order) {
        self.0.order(order);
    }

    /// As a machine that loses its power does: the peer hears nothing more, not even that the link ends.
    #[cfg(test)]
    fn freeze(&self) {
        self.order(Order::Freeze);
    }
}

impl Shared {
    /// Hands an order to the swarm; waits elsewhere when there are too many.
    fn order(self: &Arc<Self>, order: Order) {
        if let Err(mpsc::error::TrySendError::Full(order)) = self.orders.try_send(order) {
            let orders = self.orders.clone();
            // Bounded by the links that there are: each is closed once. An error says that the swarm has stopped.
            self.tasks.spawn(async move { orders.send(order).await });
        }
    }

    fn listening(&self) -> std::sync::MutexGuard<'_, BTreeSet<Address>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream between two nodes, encrypted and authenticated. Fails at once when the link goes down.
#[derive(Debug)]
pub struct MeshStream {
    stream: Compat<Stream>,
    down: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Its connection is not closed for a better one meanwhile.
    _held: streams::Use,
    /// The peer's share of streams, given back with this one.
    _share: Option<OwnedSemaphorePermit>,
}

impl MeshStream {
    fn new(stream: Stream, link: &Link, held: streams::Use, share: Option<OwnedSemaphorePermit>) -> Self {
        let down = Box::pin(link.closed.clone().cancelled_owned());
        Self { stream: stream.compat(), down, _held: held, _share: share }
    }

    fn check_link(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.down.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the link to the peer is down")),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for MeshStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // What has arrived is handed out even if the link has gone since.
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => match self.check_link(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_link(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_link(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_link(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
