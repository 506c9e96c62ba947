//! The dials under way. QUIC addresses first; TCP ones when QUIC failed or was silent for a while, so that a network that
//! swallows UDP costs a moment and not the QUIC handshake's timeout. Pure: the swarm's task dials and tells.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bocage_protocol::id::NodeId;
use libp2p::{Multiaddr, swarm::ConnectionId};

use super::peer::{Carrier, carrier_of};

/// So long QUIC goes alone: one round trip to the other side of the earth, and a half.
const QUIC_ALONE: Duration = Duration::from_millis(700);

/// What went wrong is told in so many characters.
const WHY_MAX: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Dialing {
    dials: BTreeMap<NodeId, Dial>,
}

#[derive(Debug)]
struct Dial {
    under_way: BTreeSet<ConnectionId>,
    /// Not tried yet, and when to.
    fallback: Option<(Instant, Vec<Multiaddr>)>,
    why: String,
}

/// Addresses to dial at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) peer: NodeId,
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
    /// Nothing is left, and why.
    Unreachable(String),
}

impl Dialing {
    pub(super) fn has(&self, peer: NodeId) -> bool {
        self.dials.contains_key(&peer)
    }

    /// Begins a dial, and says what to try first; `None`: no address is one of ours.
    pub(super) fn begin(&mut self, peer: NodeId, addresses: &[Multiaddr], now: Instant) -> Option<Attempt> {
        let of = |wanted| {
            let these = addresses.iter().filter(move |address| carrier_of(address) == Some(wanted));
            these.cloned().collect::<Vec<_>>()
        };
        let (quic, tcp) = (of(Carrier::Quic), of(Carrier::Tcp));
        let (first, carrier, last) =
            if quic.is_empty() { (tcp, Carrier::Tcp, vec![]) } else { (quic, Carrier::Quic, tcp) };
        if first.is_empty() {
            return None;
        }
        let fallback = (!last.is_empty()).then_some((now + QUIC_ALONE, last));
        self.dials.insert(peer, Dial { under_way: BTreeSet::new(), fallback, why: String::new() });
        Some(Attempt { peer, addresses: first, carrier })
    }

    /// An attempt of a dial has this connection id.
    pub(super) fn trying(&mut self, peer: NodeId, id: ConnectionId) {
        if let Some(dial) = self.dials.get_mut(&peer) {
            dial.under_way.insert(id);
        }
    }

    /// A link to the peer stands: the dial is over.
    pub(super) fn reached(&mut self, peer: NodeId) {
        self.dials.remove(&peer);
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, peer: NodeId, id: ConnectionId, why: &str) -> Failed {
        let Some(dial) = self.dials.get_mut(&peer) else { return Failed::Wait };
        dial.under_way.remove(&id);
        if !dial.why.is_empty() {
            dial.why.push_str("; ");
        }
        dial.why.extend(why.chars().take(WHY_MAX.saturating_sub(dial.why.len())));
        if !dial.under_way.is_empty() {
            return Failed::Wait;
        }
        if let Some((_, addresses)) = dial.fallback.take() {
            return Failed::Try(Attempt { peer, addresses, carrier: Carrier::Tcp });
        }
        Failed::Unreachable(self.dials.remove(&peer).map(|dial| dial.why).unwrap_or_default())
    }

    /// When [`Self::due`] next has something.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.dials.values().filter_map(|dial| dial.fallback.as_ref().map(|(at, _)| *at)).min()
    }

    /// Fallbacks whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Attempt> {
        let due = |(peer, dial): (&NodeId, &mut Dial)| {
            let (_, addresses) = dial.fallback.take_if(|(at, _)| *at <= now)?;
            Some(Attempt { peer: *peer, addresses, carrier: Carrier::Tcp })
        };
        self.dials.iter_mut().filter_map(due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId([2; 32]);

    fn addresses() -> Vec<Multiaddr> {
        ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"].iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn tcp_is_tried_when_quic_is_silent_and_the_peer_is_unreachable_when_both_failed() {
        let mut dialing = Dialing::default();
        let start = Instant::now();
        let first = dialing.begin(PEER, &addresses(), start).unwrap();
        assert_eq!((first.carrier, first.addresses.len()), (Carrier::Quic, 1));
        dialing.trying(PEER, ConnectionId::new_unchecked(1));
        assert_eq!(dialing.due(start), []);
        let second = dialing.due(start + QUIC_ALONE).pop().unwrap();
        assert_eq!((second.carrier, second.addresses.len()), (Carrier::Tcp, 1));
        dialing.trying(PEER, ConnectionId::new_unchecked(2));
        assert_eq!(dialing.failed(PEER, ConnectionId::new_unchecked(2), "refused"), Failed::Wait);
        let end = dialing.failed(PEER, ConnectionId::new_unchecked(1), "silent");
        assert_eq!(end, Failed::Unreachable("refused; silent".into()));
        assert!(!dialing.has(PEER));
    }

    #[test]
    fn tcp_is_tried_at_once_when_quic_failed() {
        let mut dialing = Dialing::default();
        dialing.begin(PEER, &addresses(), Instant::now()).unwrap();
        dialing.trying(PEER, ConnectionId::new_unchecked(1));
        assert!(matches!(dialing.failed(PEER, ConnectionId::new_unchecked(1), "refused"), Failed::Try(_)));
        assert_eq!(dialing.next_due(), None);
    }

    #[test]
    fn an_address_that_we_do_not_speak_is_no_attempt() {
        let mut dialing = Dialing::default();
        assert_eq!(dialing.begin(PEER, &["/memory/1".parse().unwrap()], Instant::now()), None);
    }
}
