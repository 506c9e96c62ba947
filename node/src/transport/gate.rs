//! Who may have a connection that nobody has vouched for yet. A half-open handshake costs its sender nothing, so the places
//! for them are shared out by source network, and some are kept for networks that members were linked from: a flood
//! from anywhere keeps strangers out for as long as it lasts, and members not at all.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};

use crate::sources::Source;

/// Incoming connections that have not finished their handshake. At the bound further ones are closed.
const PENDING_MAX: usize = 256;

/// Of these, from networks that no member was linked from.
const PENDING_STRANGERS_MAX: usize = 192;

/// Of these, from one such network.
const PENDING_PER_SOURCE_MAX: usize = 32;

/// Incoming connections from one network. A member may have four.
const OPEN_PER_SOURCE_MAX: usize = 256;

/// Networks that members were linked from lately; of more, the one that was remembered first is forgotten.
const KNOWN_MAX: usize = 4_096;

/// The behaviour: it opens nothing and says nothing, it only refuses.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pending: BTreeMap<ConnectionId, Source>,
    open: BTreeMap<ConnectionId, Source>,
    known: Known,
}

#[derive(Debug, Default)]
struct Known {
    sources: BTreeSet<Source>,
    order: VecDeque<Source>,
}

/// Why a connection was closed before it was one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoRoom(&'static str);

impl Gate {
    /// A member was linked there: its network has places of its own from now on.
    pub(super) fn remember(&mut self, address: &Multiaddr) {
        let Some(source) = source_of(address) else { return };
        if !self.known.sources.insert(source) {
            return;
        }
        self.known.order.push_back(source);
        if self.known.order.len() > KNOWN_MAX
            && let Some(first) = self.known.order.pop_front()
        {
            self.known.sources.remove(&first);
        }
    }

    fn admit(&mut self, id: ConnectionId, address: &Multiaddr) -> Result<(), NoRoom> {
        // Through a relay, or by something that has no address: counted by whoever brings it.
        let Some(source) = source_of(address) else { return Ok(()) };
        if self.pending.len() >= PENDING_MAX {
            return Err(NoRoom("too many handshakes at once"));
        }
        if !self.known.sources.contains(&source) {
            let strangers = self.pending.values().filter(|source| !self.known.sources.contains(source));
            if strangers.count() >= PENDING_STRANGERS_MAX {
                return Err(NoRoom("too many handshakes with strangers at once"));
            }
            if of(&self.pending, source) >= PENDING_PER_SOURCE_MAX {
                return Err(NoRoom("too many handshakes with this network at once"));
            }
        }
        if of(&self.open, source) >= OPEN_PER_SOURCE_MAX {
            return Err(NoRoom("too many connections from this network"));
        }
        self.pending.insert(id, source);
        Ok(())
    }
}

fn of(connections: &BTreeMap<ConnectionId, Source>, source: Source) -> usize {
    connections.values().filter(|it| **it == source).count()
}

fn source_of(address: &Multiaddr) -> Option<Source> {
    if address.iter().any(|part| matches!(part, Protocol::P2pCircuit)) {
        return None;
    }
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(Source::from(std::net::IpAddr::from(ip))),
        Protocol::Ip6(ip) => Some(Source::from(std::net::IpAddr::from(ip))),
        _ => None,
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(id, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if let Some(source) = self.pending.remove(&id) {
            self.open.insert(id, source);
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ListenFailure(failed) => {
                self.pending.remove(&failed.connection_id);
                self.open.remove(&failed.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.open.remove(&closed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Multiaddr {
        format!("/ip4/{text}/tcp/1").parse().unwrap()
    }

    fn next(n: &mut usize) -> ConnectionId {
        *n += 1;
        ConnectionId::new_unchecked(*n)
    }

    #[test]
    fn half_open_handshakes_from_everywhere_leave_places_for_members() {
        let (mut gate, mut n) = (Gate::default(), 0);
        let member = at("198.51.100.7");
        gate.remember(&member);
        let from_one = (0..100).filter(|_| gate.admit(next(&mut n), &at("192.0.2.1")).is_ok()).count();
        assert_eq!(from_one, PENDING_PER_SOURCE_MAX);
        let from_many = (0..250).filter(|net| gate.admit(next(&mut n), &at(&format!("203.0.{net}.1"))).is_ok()).count();
        assert_eq!(from_one + from_many, PENDING_STRANGERS_MAX);
        assert!(gate.admit(next(&mut n), &member).is_ok(), "a member comes back through the flood");
        assert!(gate.admit(next(&mut n), &at("203.0.113.9")).is_err());
    }

    #[test]
    fn a_place_is_given_back_when_a_handshake_ends() {
        let (mut gate, mut n) = (Gate::default(), 0);
        let ids: Vec<_> = (0..PENDING_PER_SOURCE_MAX).map(|_| next(&mut n)).collect();
        for id in &ids {
            gate.admit(*id, &at("192.0.2.1")).unwrap();
        }
        let peer = PeerId::random();
        gate.handle_established_inbound_connection(ids[0], peer, &at("192.0.2.2"), &at("192.0.2.1")).unwrap();
        assert!(gate.admit(next(&mut n), &at("192.0.2.1")).is_ok());
        assert_eq!(gate.open.len(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut gate = Gate::default();
        for n in 0..KNOWN_MAX + 10 {
            gate.remember(&at(&format!("10.{}.{}.1", n / 256, n % 256)));
        }
        assert_eq!((gate.known.sources.len(), gate.known.order.len()), (KNOWN_MAX, KNOWN_MAX));
    }
}
