//! What an address says about itself: how far it reaches, and whether it goes through a relay. Pure.
//!
//! Addresses stay text in the machine. It reads no more of them than it needs to put the better ones first: IPv6 that is
//! routed everywhere, then IPv4 that is, then those of one network, then this machine's own, and relayed ones last, for
//! somebody else pays for each of their bytes.
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{id::NodeId, membership::Address};

/// What protobuf and multihash put before the 32 bytes of an Ed25519 key in a peer id.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// How good an address is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// IPv6 that is routed everywhere: no NAT in between.
    Ip6,
    /// IPv4 that is routed everywhere.
    Ip4,
    /// Not an IP address: the simulator's.
    Other,
    /// Of one network: behind a NAT, of a carrier, of a link.
    Private,
    /// Of one machine.
    Loopback,
    /// Through a relay.
    Relayed,
}

/// How far an address reaches.
#[must_use]
pub fn scope(address: &str) -> Scope {
    if is_relayed(address) {
        return Scope::Relayed;
    }
    let mut parts = address.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("ip4"), Some(ip)) => ip.parse().map_or(Scope::Other, scope_of_ip4),
        (Some("ip6"), Some(ip)) => ip.parse().map_or(Scope::Other, scope_of_ip6),
        _ => Scope::Other,
    }
}

fn scope_of_ip4(ip: Ipv4Addr) -> Scope {
    let [a, b, ..] = ip.octets();
    let of_a_carrier = a == 100 && (64..128).contains(&b);
    match () {
        () if ip.is_loopback() => Scope::Loopback,
        () if ip.is_private() || ip.is_link_local() || ip.is_unspecified() || of_a_carrier => Scope::Private,
        () => Scope::Ip4,
    }
}

fn scope_of_ip6(ip: Ipv6Addr) -> Scope {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return scope_of_ip4(ip);
    }
    match () {
        () if ip.is_loopback() => Scope::Loopback,
        () if ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified() => Scope::Private,
        () => Scope::Ip6,
    }
}

/// Puts the better ones first: how far they reach, QUIC before TCP, and else as they came.
pub fn sort(addresses: &mut [Address]) {
    addresses.sort_by_key(|address| (scope(address), !address.contains("/quic")));
}

/// Whether it goes through a relay.
#[must_use]
pub fn is_relayed(address: &str) -> bool {
    address.ends_with("/p2p-circuit")
}

/// The address of somebody who is reached through `relay`, which is reached at `address`.
#[must_use]
pub fn through(relay: NodeId, address: &str) -> Address {
    format!("{address}/p2p/{}/p2p-circuit", peer_id(relay))
}

/// Through whom a relayed address goes, and where that relay is; `None` when it is no such address.
#[must_use]
pub fn relay_of(address: &str) -> Option<(NodeId, &str)> {
    let (at, relay) = address.strip_suffix("/p2p-circuit")?.rsplit_once("/p2p/")?;
    let bytes = bs58::decode(relay).into_vec().ok()?;
    let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
    Some((NodeId(key.try_into().ok()?), at))
}

/// A node's name in multiaddresses: its key in another spelling.
#[must_use]
pub fn peer_id(node: NodeId) -> String {
    bs58::encode([&PEER_ID_PREFIX[..], &node.0].concat()).into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_goes_before_ipv4_and_both_before_what_only_neighbours_reach_and_relays_last() {
        let relayed = through(NodeId([7; 32]), "/ip6/2001:db8::7/udp/1/quic-v1");
        let mut addresses: Vec<Address> = [
            relayed.as_str(),
            "/ip4/127.0.0.1/udp/1/quic-v1",
            "/ip4/192.168.1.5/udp/1/quic-v1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip6/fd00::1/udp/1/quic-v1",
            "/ip4/198.51.100.1/tcp/1",
            "/ip4/198.51.100.1/udp/1/quic-v1",
            "/ip6/2001:db8::1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
        ]
        .map(str::to_owned)
        .to_vec();
        sort(&mut addresses);
        let order = [
            "/ip6/2001:db8::1/tcp/1",
            "/ip4/198.51.100.1/udp/1/quic-v1",
            "/ip4/198.51.100.1/tcp/1",
            "/ip4/192.168.1.5/udp/1/quic-v1",
            "/ip6/fd00::1/udp/1/quic-v1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/1/quic-v1",
            "/ip6/::1/tcp/1",
            relayed.as_str(),
        ];
        assert_eq!(addresses, order);
    }

    #[test]
    fn a_relayed_address_names_the_relay_and_where_it_is() {
        let relay = NodeId([9; 32]);
        let at = "/ip4/198.51.100.1/tcp/4001";
        let address = through(relay, at);
        assert_eq!(relay_of(&address), Some((relay, at)));
        for no in ["", "/p2p-circuit", at, "/ip4/1.2.3.4/tcp/1/p2p/xyz/p2p-circuit", "/p2p/0OIl/p2p-circuit"] {
            assert_eq!(relay_of(no), None, "{no}");
        }
    }
}
