//! Streams by name on every connection: the one libp2p behaviour that is ours. It opens what it is told to, hands out
//! what peers open, and decides nothing.
//!
//! `libp2p-stream` does nearly the same; ours opens on a *given* connection, many at a time, never dials by itself and
//! never drops an incoming stream because its reader was busy.
use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    future::{Ready, ready},
    io, iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bocage_protocol::{frame::Urgency, id::NodeId};
use libp2p::{
    InboundUpgrade, Multiaddr, OutboundUpgrade, PeerId, Stream, StreamProtocol,
    core::{Endpoint, UpgradeInfo, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        StreamUpgradeError, SubstreamProtocol, THandlerInEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::sync::{mpsc, oneshot};

use super::{Purpose, peer::node_of};

/// Streams that wait to be opened on one connection. At the bound whoever opens waits.
const OPENS_MAX: usize = 64;

/// A stream that the peer has not agreed to after so long is given up.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// What a stream carries. Its name on the wire is normative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Frames of one urgency, from the one who opened it.
    Frames(Urgency),
    /// Eight bytes there, the same eight back.
    Pulse,
    /// For others in this crate.
    For(Purpose),
    /// A peer asks this node to relay: taken in only where that is offered. libp2p's name, for its client asks.
    Hop,
    /// This node tells a peer that somebody wants a circuit to it. libp2p's name, for its client answers.
    Stop,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Frames(Urgency::Control),
        Self::Frames(Urgency::Request),
        Self::Frames(Urgency::Bulk),
        Self::Pulse,
        Self::For(Purpose::Http),
        Self::For(Purpose::Content),
        Self::For(Purpose::Logs),
    ];

    /// What peers may open.
    fn accepted(relays: bool) -> Vec<Self> {
        Self::ALL.into_iter().chain(relays.then_some(Self::Hop)).collect()
    }

    const fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Frames(Urgency::Control) => "/bocage/frames/1/control",
            Self::Frames(Urgency::Request) => "/bocage/frames/1/request",
            Self::Frames(Urgency::Bulk) => "/bocage/frames/1/bulk",
            Self::Pulse => "/bocage/ping/1",
            Self::For(Purpose::Http) => "/bocage/http/1",
            Self::For(Purpose::Content) => "/bocage/content/1",
            Self::For(Purpose::Logs) => "/bocage/logs/1",
            Self::Hop => "/libp2p/circuit/relay/0.2.0/hop",
            Self::Stop => "/libp2p/circuit/relay/0.2.0/stop",
        })
    }
}

/// Opens streams on one connection.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) connection: ConnectionId,
    opens: mpsc::Sender<Open>,
    uses: Arc<AtomicUsize>,
}

/// A stream is open on a connection while this lives.
#[derive(Debug)]
pub(super) struct Use(Arc<AtomicUsize>);

impl Drop for Use {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that is wanted, and who wants it.
#[derive(Debug)]
pub(super) struct Open {
    kind: Kind,
    stream: oneshot::Sender<io::Result<Stream>>,
}

/// A stream that a peer opened.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) from: NodeId,
    pub(super) connection: ConnectionId,
    pub(super) kind: Kind,
    pub(super) stream: Stream,
}

impl Opener {
    /// A new stream; the peer's consent is checked with the first byte read from it.
    pub(super) async fn open(&self, kind: Kind) -> io::Result<Stream> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection is closed");
        let (stream, opened) = oneshot::channel();
        self.opens.send(Open { kind, stream }).await.map_err(|_| gone())?;
        opened.await.map_err(|_| gone())?
    }

    /// A stream is open on the connection until what is returned is dropped.
    pub(super) fn hold(&self) -> Use {
        self.uses.fetch_add(1, Ordering::Relaxed);
        Use(Arc::clone(&self.uses))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.uses.load(Ordering::Relaxed) > 0
    }
}

/// The behaviour: a handler per connection, and the way to each.
#[derive(Debug, Default)]
pub(super) struct Behaviour {
    openers: BTreeMap<ConnectionId, Opener>,
    incoming: VecDeque<Incoming>,
    /// Peers may ask this node to relay.
    relays: bool,
}

impl Behaviour {
    pub(super) fn new(relays: bool) -> Self {
        Self { relays, ..Self::default() }
    }

    /// The way to open streams on a connection; `None` when it is closed.
    pub(super) fn opener(&self, connection: ConnectionId) -> Option<Opener> {
        self.openers.get(&connection).cloned()
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        if node_of(&peer).is_none() {
            return Err(ConnectionDenied::new(NotANode(peer)));
        }
        let (sender, opens) = mpsc::channel(OPENS_MAX);
        self.openers.insert(connection, Opener { connection, opens: sender, uses: Arc::default() });
        Ok(Handler { opens, incoming: VecDeque::new(), relays: self.relays })
    }
}

/// A peer whose key is not Ed25519.
#[derive(Debug, thiserror::Error)]
#[error("the key of {0} is not Ed25519: it is no node of any mesh")]
struct NotANode(PeerId);

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.handler(connection, peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.handler(connection, peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.openers.remove(&closed.connection_id);
            }
            // Another behaviour refused the connection after we had made a handler for it.
            FromSwarm::ListenFailure(failed) => {
                self.openers.remove(&failed.connection_id);
            }
            FromSwarm::DialFailure(failed) => {
                self.openers.remove(&failed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: (Kind, Stream)) {
        let (kind, stream) = event;
        let from = node_of(&peer).expect("a peer that is no node got no handler");
        self.incoming.push_back(Incoming { from, connection, kind, stream });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Incoming, THandlerInEvent<Self>>> {
        // The swarm polls us after each event of a handler: what is pushed there is taken here at once.
        match self.incoming.pop_front() {
            Some(incoming) => Poll::Ready(ToSwarm::GenerateEvent(incoming)),
            None => Poll::Pending,
        }
    }
}

/// One connection's streams.
#[derive(Debug)]
pub(super) struct Handler {
    opens: mpsc::Receiver<Open>,
    /// Agreed, not handed to the swarm yet. libp2p polls us before it accepts the next.
    incoming: VecDeque<(Kind, Stream)>,
    relays: bool,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = (Kind, Stream);
    type InboundProtocol = Protocols;
    type OutboundProtocol = Protocols;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<io::Result<Stream>>;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocols> {
        SubstreamProtocol::new(Protocols::Accept { relays: self.relays }, ()).with_timeout(OPEN_WITHIN)
    }

    fn connection_keep_alive(&self) -> bool {
        true // The machine closes links that it does not want.
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Protocols, Self::OutboundOpenInfo, (Kind, Stream)>> {
        if let Some(incoming) = self.incoming.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(incoming));
        }
        // Once the behaviour dropped its end the connection is closing anyway.
        match self.opens.poll_recv(cx) {
            Poll::Ready(Some(Open { kind, stream })) => {
                let protocol = SubstreamProtocol::new(Protocols::Open(kind), stream).with_timeout(OPEN_WITHIN);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Protocols, Protocols, (), oneshot::Sender<io::Result<Stream>>>,
    ) {
        // An error of `send` says that whoever wanted the stream has gone: the stream closes by being dropped.
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.incoming.push_back(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (_, stream), info }) => {
                let _ = info.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let _ = info.send(Err(match error {
                    StreamUpgradeError::Timeout => io::ErrorKind::TimedOut.into(),
                    StreamUpgradeError::NegotiationFailed => io::ErrorKind::Unsupported.into(),
                    StreamUpgradeError::Io(error) => error,
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}

/// The names that are offered or accepted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocols {
    /// The one that is wanted.
    Open(Kind),
    /// All that peers may open.
    Accept { relays: bool },
}

/// A kind under its name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    kind: Kind,
    name: StreamProtocol,
}

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        self.name.as_ref()
    }
}

impl UpgradeInfo for Protocols {
    type Info = Named;
    type InfoIter = iter::Map<std::vec::IntoIter<Kind>, fn(Kind) -> Named>;

    fn protocol_info(&self) -> Self::InfoIter {
        let kinds = match *self {
            Self::Open(kind) => vec![kind],
            Self::Accept { relays } => Kind::accepted(relays),
        };
        kinds.into_iter().map(|kind| Named { kind, name: kind.protocol() })
    }
}

impl InboundUpgrade<Stream> for Protocols {
    type Output = (Kind, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, named: Named) -> Self::Future {
        ready(Ok((named.kind, stream)))
    }
}

impl OutboundUpgrade<Stream> for Protocols {
    type Output = (Kind, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, named: Named) -> Self::Future {
        ready(Ok((named.kind, stream)))
    }
}
