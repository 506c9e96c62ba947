//! A node's id and libp2p's name for it are the same key in two spellings; addresses are multiaddresses in text.
use bocage_protocol::{id::NodeId, identity::Keypair, membership::Address};
use libp2p::{
    Multiaddr, PeerId,
    identity::{self, ed25519},
    multiaddr::Protocol,
};

/// The multihash code that says "these are the bytes themselves".
const IDENTITY_HASH: u64 = 0x00;

/// What protobuf puts before the 32 bytes of an Ed25519 key: type 1, then a field of 32 bytes.
const ED25519_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// libp2p's name for a node; `None` when the id is no point of the curve, so no node at all.
#[must_use]
pub fn peer_of(node: NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(&node.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// Who is to be found at a multiaddress that ends in `/p2p/<peer id>`, and where, without that end.
#[must_use]
pub fn node_of_address(text: &str) -> Option<(NodeId, Address)> {
    let mut address: Multiaddr = text.parse().ok()?;
    let Some(Protocol::P2p(peer)) = address.pop() else { return None };
    Some((node_of(&peer)?, address.to_string()))
}

/// The node behind a libp2p name; `None` when its key is not Ed25519: such peers are refused.
#[must_use]
pub fn node_of(peer: &PeerId) -> Option<NodeId> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY_HASH {
        return None;
    }
    let key = hash.digest().strip_prefix(&ED25519_PREFIX)?;
    key.try_into().ok().map(NodeId)
}

/// The node's key as libp2p wants it.
pub(super) fn libp2p_keys(keys: &Keypair) -> identity::Keypair {
    identity::Keypair::ed25519_from_bytes(keys.secret()).expect("every 32 bytes are an Ed25519 secret")
}

/// How an address is reached, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Carrier {
    Quic,
    Tcp,
    /// Another node carries it.
    Relayed,
}

/// By which transport an address is reached; `None`: by none of ours.
pub(super) fn carrier_of(address: &Multiaddr) -> Option<Carrier> {
    if is_relayed(address) {
        return relay_of(address).map(|_| Carrier::Relayed);
    }
    let mut parts = address.iter();
    let ip = matches!(parts.next()?, Protocol::Ip4(_) | Protocol::Ip6(_));
    let carrier = match (parts.next()?, parts.next()) {
        (Protocol::Udp(_), Some(Protocol::QuicV1)) => Carrier::Quic,
        (Protocol::Tcp(_), None | Some(Protocol::P2p(_))) => Carrier::Tcp,
        _ => return None,
    };
    ip.then_some(carrier)
}

/// An address without the peer id at its end.
pub(super) fn without_name(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// Whether an address goes through another node.
pub(super) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// The node through which an address goes.
pub(super) fn relay_of(address: &Multiaddr) -> Option<NodeId> {
    let before: Vec<_> = address.iter().take_while(|part| !matches!(part, Protocol::P2pCircuit)).collect();
    match before.last() {
        Some(Protocol::P2p(relay)) if is_relayed(address) => node_of(relay),
        _ => None,
    }
}

/// An address as machines know it: in text, without the peer id of whom is reached there.
pub(super) fn address_of(address: &Multiaddr) -> Address {
    without_name(address).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_and_its_peer_name_are_one_key() {
        let keys = Keypair::from_secret(&[3; 32]);
        let peer = libp2p_keys(&keys).public().to_peer_id();
        assert_eq!(peer_of(keys.node()), Some(peer));
        assert_eq!(node_of(&peer), Some(keys.node()));
    }

    #[test]
    fn a_peer_name_that_is_no_ed25519_key_is_no_node() {
        assert_eq!(node_of(&PeerId::random()), None);
    }

    #[test]
    fn only_ip_addresses_with_quic_or_tcp_are_dialled() {
        let carrier = |text: &str| carrier_of(&text.parse().unwrap());
        assert_eq!(carrier("/ip4/127.0.0.1/udp/4001/quic-v1"), Some(Carrier::Quic));
        assert_eq!(carrier("/ip6/::1/tcp/4001"), Some(Carrier::Tcp));
        assert_eq!(carrier("/ip4/127.0.0.1/udp/4001"), None);
        assert_eq!(carrier("/memory/7"), None);
        let relay = NodeId(Keypair::from_secret(&[3; 32]).node().0);
        let through = bocage_protocol::reach::address::through(relay, "/ip4/127.0.0.1/tcp/4001");
        assert_eq!(carrier(&through), Some(Carrier::Relayed));
        assert_eq!(relay_of(&through.parse().unwrap()), Some(relay));
        assert_eq!(address_of(&through.parse().unwrap()), through);
        assert_eq!(carrier("/ip4/127.0.0.1/tcp/4001/p2p-circuit"), None);
    }
}
