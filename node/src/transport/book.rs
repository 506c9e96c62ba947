//! Which connections stand to which peer, and which of them stay. Pure: the swarm's task tells it what happened.
//!
//! Both sides of a pair often dial at once. The two connections that come of it are one link; both sides agree by rule
//! which one stays (QUIC before TCP, then the one that the lower node id dialled), send on it after a while, and whoever
//! dialled the other closes it a while later, when nothing is under way on it any more. A direct connection so takes the
//! place of a relayed one while the link stays up.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bocage_protocol::id::NodeId;
use libp2p::{Multiaddr, swarm::ConnectionId};

use super::peer::Carrier;

/// After a second connection appeared, both sides send on the one that stays.
const SWITCH_AFTER: Duration = Duration::from_secs(1);

/// After that again, the other is closed, once no stream is open on it.
const CLOSE_AFTER: Duration = Duration::from_secs(3);

/// At the latest; what is still under way then breaks. Long enough for a large component or a slow answer.
const CLOSE_AFTER_MAX: Duration = Duration::from_mins(2);

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) carrier: Carrier,
    /// Through which node, if it is relayed.
    pub(super) relay: Option<NodeId>,
    /// The other end, as seen from here.
    pub(super) address: Multiaddr,
    /// By this node.
    pub(super) dialled: bool,
    pub(super) since: Instant,
}

/// The connections to each peer, the primary first.
#[derive(Debug)]
pub(super) struct Book {
    node: NodeId,
    peers: BTreeMap<NodeId, Vec<Connection>>,
}

/// What became of a link when one of its connections closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It was none that counts.
    Unknown,
    /// Others stand; this one is the primary now.
    Switched(ConnectionId),
    /// It was the last.
    Down,
}

/// What to do about doubled connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    /// Send on this one.
    Switch(NodeId, ConnectionId),
    /// Nothing is sent on it any more.
    Close(ConnectionId),
}

impl Book {
    pub(super) fn new(node: NodeId) -> Self {
        Self { node, peers: BTreeMap::new() }
    }

    /// Notes a connection; true when it is the first to this peer.
    pub(super) fn opened(&mut self, peer: NodeId, connection: Connection) -> bool {
        let connections = self.peers.entry(peer).or_default();
        connections.push(connection);
        connections.len() == 1
    }

    pub(super) fn closed(&mut self, peer: NodeId, id: ConnectionId) -> Closed {
        let Some(connections) = self.peers.get_mut(&peer) else { return Closed::Unknown };
        let Some(at) = connections.iter().position(|connection| connection.id == id) else { return Closed::Unknown };
        connections.remove(at);
        if let Some(primary) = connections.first() {
            return Closed::Switched(primary.id);
        }
        self.peers.remove(&peer);
        Closed::Down
    }

    /// Forgets a peer, and says what to close.
    pub(super) fn forget(&mut self, peer: NodeId) -> Vec<ConnectionId> {
        self.peers.remove(&peer).unwrap_or_default().into_iter().map(|connection| connection.id).collect()
    }

    pub(super) fn has(&self, peer: NodeId) -> bool {
        self.peers.contains_key(&peer)
    }

    /// A connection from node to node.
    pub(super) fn direct(&self, peer: NodeId) -> Option<&Connection> {
        self.peers.get(&peer)?.iter().find(|connection| connection.carrier != Carrier::Relayed)
    }

    pub(super) fn get(&self, peer: NodeId, id: ConnectionId) -> Option<&Connection> {
        self.peers.get(&peer)?.iter().find(|connection| connection.id == id)
    }

    /// Who is at the other end of a direct connection to this address.
    pub(super) fn at(&self, address: &Multiaddr) -> Option<NodeId> {
        let there = |all: &Vec<Connection>| all.iter().any(|one| one.relay.is_none() && one.address == *address);
        self.peers.iter().find(|(_, all)| there(all)).map(|(peer, _)| *peer)
    }

    pub(super) fn holds(&self, peer: NodeId, id: ConnectionId) -> bool {
        self.peers.get(&peer).is_some_and(|all| all.iter().any(|connection| connection.id == id))
    }

    /// When the first connection to each peer was made, in order of peers.
    pub(super) fn since(&self) -> impl Iterator<Item = (NodeId, Instant)> + '_ {
        self.peers.iter().filter_map(|(peer, all)| Some((*peer, all.iter().map(|one| one.since).min()?)))
    }

    /// Whether [`Self::settle`] will have something to do.
    pub(super) fn is_doubled(&self) -> bool {
        self.peers.values().any(|connections| connections.len() > 1)
    }

    /// Settles doubled connections; `is_busy` says whether a stream is open on one. Call now and then.
    pub(super) fn settle(&mut self, now: Instant, is_busy: impl Fn(ConnectionId) -> bool) -> Vec<Settle> {
        let mut settled = Vec::new();
        for (peer, connections) in &mut self.peers {
            let Some(newest) = connections.iter().map(|connection| connection.since).max() else { continue };
            let age = now.saturating_duration_since(newest);
            if connections.len() < 2 || age < SWITCH_AFTER {
                continue;
            }
            let rank = |connection: &Connection| {
                let dialler = if connection.dialled { self.node } else { *peer };
                (connection.carrier, dialler, connection.id)
            };
            let primary = connections.first().map(|connection| connection.id);
            connections.sort_by_key(rank);
            let stays = connections.first().map(|connection| connection.id);
            if let Some(id) = stays
                && stays != primary
            {
                settled.push(Settle::Switch(*peer, id));
            }
            if age >= CLOSE_AFTER {
                // Only its dialler closes a connection: so the two sides never close one each and lose the link.
                let done = |connection: &&Connection| age >= CLOSE_AFTER_MAX || !is_busy(connection.id);
                let spare = connections.iter().skip(1).filter(|connection| connection.dialled).filter(done);
                settled.extend(spare.map(|connection| Settle::Close(connection.id)));
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn connection(number: usize, carrier: Carrier, dialled: bool, since: Instant) -> Connection {
        Connection { id: id(number), carrier, relay: None, address: Multiaddr::empty(), dialled, since }
    }

    #[test]
    fn two_nodes_that_dial_each_other_at_once_keep_the_same_connection() {
        let (low, high) = (NodeId([1; 32]), NodeId([2; 32]));
        let start = Instant::now();
        let (mut at_low, mut at_high) = (Book::new(low), Book::new(high));
        // The connection that `low` dialled has number 10 here and 20 there, the other 11 and 21.
        assert!(at_low.opened(high, connection(11, Carrier::Quic, false, start)));
        assert!(!at_low.opened(high, connection(10, Carrier::Quic, true, start)));
        assert!(at_high.opened(low, connection(20, Carrier::Quic, false, start)));
        assert!(!at_high.opened(low, connection(21, Carrier::Quic, true, start)));

        assert_eq!(at_low.settle(start, |_| false), []);
        assert_eq!(at_low.settle(start + SWITCH_AFTER, |_| false), [Settle::Switch(high, id(10))]);
        assert_eq!(at_high.settle(start + SWITCH_AFTER, |_| false), [], "it sends on the one that stays already");
        assert_eq!(at_low.settle(start + CLOSE_AFTER, |_| false), [], "it is not the one who dialled the other");
        assert_eq!(at_high.settle(start + CLOSE_AFTER, |_| false), [Settle::Close(id(21))]);
        assert_eq!(at_high.closed(low, id(21)), Closed::Switched(id(20)));
        assert!(!at_high.is_doubled());
    }

    #[test]
    fn quic_stays_when_tcp_was_faster() {
        let (node, peer) = (NodeId([1; 32]), NodeId([2; 32]));
        let start = Instant::now();
        let mut book = Book::new(node);
        book.opened(peer, connection(1, Carrier::Tcp, true, start));
        book.opened(peer, connection(2, Carrier::Quic, true, start));
        assert_eq!(book.settle(start + CLOSE_AFTER, |_| false), [Settle::Switch(peer, id(2)), Settle::Close(id(1))]);
    }

    #[test]
    fn a_direct_connection_takes_the_place_of_a_relayed_one_once_nothing_is_under_way_on_it() {
        let (node, peer) = (NodeId([1; 32]), NodeId([2; 32]));
        let start = Instant::now();
        let mut book = Book::new(node);
        book.opened(peer, connection(1, Carrier::Relayed, true, start));
        book.opened(peer, connection(2, Carrier::Tcp, false, start));
        assert_eq!(book.settle(start + SWITCH_AFTER, |_| true), [Settle::Switch(peer, id(2))]);
        assert_eq!(book.settle(start + CLOSE_AFTER, |id| id == ConnectionId::new_unchecked(1)), [], "a request runs");
        assert_eq!(book.settle(start + CLOSE_AFTER, |_| false), [Settle::Close(id(1))]);
        assert_eq!(book.settle(start + CLOSE_AFTER_MAX, |_| true), [Settle::Close(id(1))], "not for ever");
    }

    #[test]
    fn a_link_is_down_when_its_last_connection_closes() {
        let (node, peer) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut book = Book::new(node);
        book.opened(peer, connection(1, Carrier::Quic, true, Instant::now()));
        book.opened(peer, connection(2, Carrier::Quic, false, Instant::now()));
        assert_eq!(book.closed(peer, id(1)), Closed::Switched(id(2)));
        assert_eq!(book.closed(peer, id(1)), Closed::Unknown);
        assert_eq!(book.closed(peer, id(2)), Closed::Down);
    }
}
