//! How libp2p's swarm is put together: what it speaks, and within which bounds.
use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use bocage_protocol::{identity::Keypair, membership::Address};
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder, autonat, connection_limits,
    core::upgrade::Version,
    dcutr, identify, mdns,
    multiaddr::Protocol,
    noise, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, yamux,
};

use super::{
    Config, TransportError,
    gate::Gate,
    peer::{Carrier, carrier_of, libp2p_keys},
    streams,
};

/// Connections to one peer: both sides may dial at once, and again through relays and through their NATs.
const CONNECTIONS_PER_PEER_MAX: u32 = 8;

/// Connections that this node makes and that have not finished their handshake; of others' see `gate`.
const PENDING_MAX: u32 = 64;

/// A handshake takes no longer; a half-open connection is closed then.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A QUIC handshake takes no longer; the dial is then given up.
const QUIC_HANDSHAKE_WITHIN: Duration = Duration::from_secs(4);

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

/// What libp2p does for us on each connection.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) gate: Gate,
    limits: connection_limits::Behaviour,
    pub(super) streams: streams::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
    /// Has others relay for this node, and dials through them, as the machine says.
    relayed: relay::client::Behaviour,
    /// On a relayed connection: both sides dial each other at one moment.
    punch: Toggle<dcutr::Behaviour>,
    /// Has peers dial this node where they see it come from, and tells what came of it.
    tested: Toggle<autonat::v2::client::Behaviour>,
    tester: Toggle<autonat::v2::server::Behaviour>,
}

pub(super) fn swarm(config: &Config, keys: &Keypair) -> Result<Swarm<Behaviour>, TransportError> {
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
        .with_relay_client(noise::Config::new, || {
            let mut yamux = yamux::Config::default();
            yamux.set_max_num_streams(YAMUX_STREAMS_MAX);
            yamux
        })
        .map_err(|error| setup(&error))?
        .with_behaviour(|keys, relayed| behaviour(config, keys, relayed))
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

fn behaviour(
    config: &Config,
    keys: &libp2p::identity::Keypair,
    relayed: relay::client::Behaviour,
) -> Result<Behaviour, SetupError> {
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
    let for_others = config.is_for_others();
    Ok(Behaviour {
        gate: Gate::default(),
        limits: connection_limits::Behaviour::new(limits),
        streams: streams::Behaviour::new(config.relay.is_some()),
        identify: identify::Behaviour::new(about),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(config.ping).with_timeout(PING_WITHIN)),
        mdns: mdns.into(),
        relayed,
        punch: for_others.then(|| dcutr::Behaviour::new(keys.public().to_peer_id())).into(),
        tested: for_others.then(autonat::v2::client::Behaviour::default).into(),
        tester: for_others.then(autonat::v2::server::Behaviour::default).into(),
    })
}

pub(super) fn listen(swarm: &mut Swarm<Behaviour>, text: &Address) -> Result<(), TransportError> {
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
        Carrier::Relayed => return Err(TransportError::Address(text.clone())),
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
