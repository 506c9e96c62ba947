//! The dials under way. Directly in stages: QUIC to IPv6, a moment later QUIC to all else, and TCP when QUIC failed or was
//! silent for a while, so that a network that swallows UDP costs a moment and not the QUIC handshake's timeout. Through
//! relays in one. Pure: the swarm's task dials and tells.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bocage_protocol::{id::NodeId, io::PathKind};
use libp2p::{Multiaddr, multiaddr::Protocol, swarm::ConnectionId};

use super::peer::{Carrier, carrier_of};

/// So long QUIC over IPv6 goes alone: where it works it is the better path, for there is no NAT on it.
const IP6_ALONE: Duration = Duration::from_millis(100);

/// So long QUIC goes alone: one round trip to the other side of the earth, and a half.
const QUIC_ALONE: Duration = Duration::from_millis(700);

/// What went wrong is told in so many characters.
const WHY_MAX: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Dialing {
    dials: BTreeMap<(NodeId, PathKind), Dial>,
}

#[derive(Debug)]
struct Dial {
    under_way: BTreeSet<ConnectionId>,
    /// Not tried yet, and when to, unless all before failed earlier.
    stages: VecDeque<(Instant, Carrier, Vec<Multiaddr>)>,
    why: String,
}

/// Addresses to dial at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) peer: NodeId,
    pub(super) path: PathKind,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) carrier: Carrier,
}

/// What a failed attempt leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Others are under way, or it was none of ours.
    Wait,
    /// These were kept for last.
    Try(Attempt),
    /// Nothing is left on this path, and why.
    Unreachable(PathKind, String),
}

impl Dialing {
    pub(super) fn has(&self, peer: NodeId, path: PathKind) -> bool {
        self.dials.contains_key(&(peer, path))
    }

    /// Begins a dial, and says what to try first; `None`: no address is one of ours.
    pub(super) fn begin(
        &mut self,
        peer: NodeId,
        path: PathKind,
        addresses: &[Multiaddr],
        now: Instant,
    ) -> Option<Attempt> {
        let of = |carrier, ip6: Option<bool>| {
            let fits = move |address: &&Multiaddr| {
                carrier_of(address) == Some(carrier) && ip6.is_none_or(|ip6| is_ip6(address) == ip6)
            };
            addresses.iter().filter(fits).cloned().collect::<Vec<_>>()
        };
        let stages = match path {
            PathKind::Direct => vec![
                (Duration::ZERO, Carrier::Quic, of(Carrier::Quic, Some(true))),
                (IP6_ALONE, Carrier::Quic, of(Carrier::Quic, Some(false))),
                (QUIC_ALONE, Carrier::Tcp, of(Carrier::Tcp, None)),
            ],
            PathKind::Relayed => vec![(Duration::ZERO, Carrier::Relayed, of(Carrier::Relayed, None))],
        };
        let stages = stages.into_iter().filter(|(_, _, addresses)| !addresses.is_empty());
        let mut stages: VecDeque<_> = stages.map(|(after, carrier, list)| (now + after, carrier, list)).collect();
        let (_, carrier, addresses) = stages.pop_front()?;
        self.dials.insert((peer, path), Dial { under_way: BTreeSet::new(), stages, why: String::new() });
        Some(Attempt { peer, path, addresses, carrier })
    }

    /// An attempt of a dial has this connection id.
    pub(super) fn trying(&mut self, peer: NodeId, path: PathKind, id: ConnectionId) {
        if let Some(dial) = self.dials.get_mut(&(peer, path)) {
            dial.under_way.insert(id);
        }
    }

    /// A connection to the peer stands. A direct one ends every dial; a relayed one lets the direct dial go on.
    pub(super) fn reached(&mut self, peer: NodeId, path: PathKind) {
        self.dials.remove(&(peer, PathKind::Relayed));
        if path == PathKind::Direct {
            self.dials.remove(&(peer, path));
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, peer: NodeId, id: ConnectionId, why: &str) -> Failed {
        let paths = [PathKind::Direct, PathKind::Relayed];
        let ours = |path: &PathKind| self.dials.get(&(peer, *path)).is_some_and(|dial| dial.under_way.contains(&id));
        let Some(path) = paths.into_iter().find(ours) else { return Failed::Wait };
        let Some(dial) = self.dials.get_mut(&(peer, path)) else { return Failed::Wait };
        dial.under_way.remove(&id);
        if !dial.why.is_empty() {
            dial.why.push_str("; ");
        }
        dial.why.extend(why.chars().take(WHY_MAX.saturating_sub(dial.why.len())));
        if !dial.under_way.is_empty() {
            return Failed::Wait;
        }
        if let Some((_, carrier, addresses)) = dial.stages.pop_front() {
            return Failed::Try(Attempt { peer, path, addresses, carrier });
        }
        Failed::Unreachable(path, self.dials.remove(&(peer, path)).map(|dial| dial.why).unwrap_or_default())
    }

    /// When [`Self::due`] next has something.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.dials.values().filter_map(|dial| dial.stages.front().map(|(at, _, _)| *at)).min()
    }

    /// Stages whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Attempt> {
        let due = |(&(peer, path), dial): (&(NodeId, PathKind), &mut Dial)| {
            let (_, carrier, addresses) = dial.stages.pop_front_if(|(at, _, _)| *at <= now)?;
            Some(Attempt { peer, path, addresses, carrier })
        };
        self.dials.iter_mut().filter_map(due).collect()
    }
}

fn is_ip6(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId([2; 32]);
    const DIRECT: PathKind = PathKind::Direct;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn both() -> Vec<Multiaddr> {
        addresses(&["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"])
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn tcp_is_tried_when_quic_is_silent_and_the_peer_is_unreachable_when_both_failed() {
        let mut dialing = Dialing::default();
        let start = Instant::now();
        let first = dialing.begin(PEER, DIRECT, &both(), start).unwrap();
        assert_eq!((first.carrier, first.addresses.len()), (Carrier::Quic, 1));
        dialing.trying(PEER, DIRECT, id(1));
        assert_eq!(dialing.due(start), []);
        let second = dialing.due(start + QUIC_ALONE).pop().unwrap();
        assert_eq!((second.carrier, second.addresses.len()), (Carrier::Tcp, 1));
        dialing.trying(PEER, DIRECT, id(2));
        assert_eq!(dialing.failed(PEER, id(2), "refused"), Failed::Wait);
        let end = dialing.failed(PEER, id(1), "silent");
        assert_eq!(end, Failed::Unreachable(DIRECT, "refused; silent".into()));
        assert!(!dialing.has(PEER, DIRECT));
    }

    #[test]
    fn tcp_is_tried_at_once_when_quic_failed() {
        let mut dialing = Dialing::default();
        dialing.begin(PEER, DIRECT, &both(), Instant::now()).unwrap();
        dialing.trying(PEER, DIRECT, id(1));
        assert!(matches!(dialing.failed(PEER, id(1), "refused"), Failed::Try(_)));
        assert_eq!(dialing.next_due(), None);
    }

    #[test]
    fn ipv6_goes_first_and_ipv4_a_moment_later() {
        let mut dialing = Dialing::default();
        let start = Instant::now();
        let known = addresses(&["/ip4/198.51.100.1/udp/1/quic-v1", "/ip6/2001:db8::1/udp/1/quic-v1"]);
        let first = dialing.begin(PEER, DIRECT, &known, start).unwrap();
        assert_eq!(first.addresses, known[1..]);
        assert_eq!(dialing.due(start + IP6_ALONE).pop().unwrap().addresses, known[..1]);
    }

    #[test]
    fn a_relayed_connection_ends_the_relayed_dial_and_a_direct_one_ends_both() {
        let mut dialing = Dialing::default();
        let relay =
            bocage_protocol::reach::address::peer_id(bocage_protocol::identity::Keypair::from_secret(&[3; 32]).node());
        let circuit = addresses(&[&format!("/ip4/198.51.100.1/tcp/1/p2p/{relay}/p2p-circuit")]);
        for path in [DIRECT, PathKind::Relayed] {
            assert!(dialing.begin(PEER, path, &[both(), circuit.clone()].concat(), Instant::now()).is_some());
        }
        dialing.reached(PEER, PathKind::Relayed);
        assert!(dialing.has(PEER, DIRECT) && !dialing.has(PEER, PathKind::Relayed));
        dialing.reached(PEER, DIRECT);
        assert!(!dialing.has(PEER, DIRECT));
    }

    #[test]
    fn an_address_that_we_do_not_speak_is_no_attempt() {
        let mut dialing = Dialing::default();
        assert_eq!(dialing.begin(PEER, DIRECT, &addresses(&["/memory/1"]), Instant::now()), None);
    }
}
