//! Where this node can itself be reached, as far as it knows: what its operator says, what its sockets say, what peers
//! tried. Pure.
//!
//! A node is *open* when its operator announces an address, or when two peers got through to it from outside. Until then it
//! also has others relay for it: two relays while nobody got through, one while only one peer says so (who may lie).
use std::collections::{BTreeMap, BTreeSet};

use super::address::{self, Scope};
use crate::{id::NodeId, membership::Address};

/// Addresses that a node announces: as many as a presence record may carry.
const ADDRESSES_MAX: usize = 8;
/// Of these relayed ones; the rest is not announced.
const RELAYED_MAX: usize = 3;
/// Addresses of its own that a node remembers; more are not looked at.
const KNOWN_MAX: usize = 32;
/// Relays that a node has while nobody is known to get through to it: one may fail.
const RELAYS: usize = 2;
/// So many peers must have got through before a node does without a relay: one alone may lie.
const TESTERS_MIN: usize = 2;
/// So many peers must agree on where they see this node before one that says otherwise is left out.
const AGREEING_MIN: usize = 3;
/// Peers that say from where they see this node come. Of more, no notice is taken.
const OBSERVERS_MAX: usize = 64;

/// Whether others can dial this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Openness {
    /// Its operator says where.
    Announced,
    /// So many peers got through to it.
    Tested(usize),
    /// Peers tried in vain.
    Closed,
    /// Nobody has tried yet.
    Unknown,
    /// It listens for its own machine only.
    Local,
}

/// What stands between this node and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Peers see it where it is.
    None,
    /// Peers see it at one other address, each the same: holes can be punched.
    Steady,
    /// Each peer sees it at another port: holes cannot be punched.
    Shifting,
    /// Too few peers have said.
    Unknown,
}

/// A peer that sees this node where nobody else does: it lies, or reaches this node another way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// Who.
    pub peer: NodeId,
    /// Where it says that this node is.
    pub says: Address,
    /// Where the others see it.
    pub usual: Address,
}

#[derive(Debug, Default)]
pub(super) struct Own {
    announce: Vec<Address>,
    listening: BTreeSet<Address>,
    tested: BTreeMap<Address, BTreeSet<NodeId>>,
    /// Who tried in vain, and never got through.
    in_vain: BTreeSet<NodeId>,
    observed: BTreeMap<NodeId, Address>,
    said: Vec<Address>,
}

impl Own {
    pub(super) fn new(announce: Vec<Address>) -> Self {
        Self { announce, ..Self::default() }
    }

    pub(super) fn listens(&mut self, address: Address) {
        if self.listening.len() < KNOWN_MAX {
            self.listening.insert(address);
        }
    }

    /// Whether peers got through elsewhere is not known after a move.
    pub(super) fn is_deaf(&mut self, address: &Address) {
        if self.listening.remove(address) {
            self.tested.clear();
            self.in_vain.clear();
            self.observed.clear();
        }
    }

    /// A peer tried to dial this node there. Only addresses that are routed everywhere say anything: who gets through to a
    /// relay, or to a neighbour in one network, has not got through to this node from outside.
    pub(super) fn was_tested(&mut self, by: NodeId, address: Address, reached: bool) {
        if !matches!(address::scope(&address), Scope::Ip6 | Scope::Ip4) {
            return;
        }
        if !reached {
            self.in_vain.insert(by);
            return;
        }
        self.in_vain.remove(&by);
        if self.tested.len() < KNOWN_MAX || self.tested.contains_key(&address) {
            self.tested.entry(address).or_default().insert(by);
        }
    }

    pub(super) fn is_seen(&mut self, by: NodeId, address: Address) {
        if self.observed.len() < OBSERVERS_MAX || self.observed.contains_key(&by) {
            self.observed.insert(by, address);
        }
    }

    /// The link to this peer is gone: what it said may be old.
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.observed.remove(&peer);
        self.in_vain.remove(&peer);
    }

    pub(super) fn openness(&self) -> Openness {
        if !self.announce.is_empty() {
            return Openness::Announced;
        }
        let by: BTreeSet<&NodeId> = self.tested.values().flatten().collect();
        match () {
            () if self.is_local() => Openness::Local,
            () if !by.is_empty() => Openness::Tested(by.len()),
            () if !self.in_vain.is_empty() => Openness::Closed,
            () => Openness::Unknown,
        }
    }

    /// It listens for its own machine only, or not at all: nobody else is to reach it.
    fn is_local(&self) -> bool {
        self.listening.iter().all(|address| matches!(address::scope(address), Scope::Loopback | Scope::Other))
    }

    /// How many others should relay for it.
    pub(super) fn relays_wanted(&self) -> usize {
        match self.openness() {
            Openness::Announced | Openness::Local => 0,
            Openness::Tested(by) if by >= TESTERS_MIN => 0,
            Openness::Tested(_) => 1,
            Openness::Closed | Openness::Unknown => RELAYS,
        }
    }

    pub(super) fn nat(&self) -> Nat {
        let mut ports = BTreeMap::<&str, BTreeSet<&str>>::new();
        let odd: BTreeSet<NodeId> = self.odd().into_iter().map(|odd| odd.peer).collect();
        for (_, address) in self.observed.iter().filter(|(peer, _)| !odd.contains(peer)) {
            // QUIC goes out from the port that it listens on; TCP does not, and says nothing.
            if let Some((ip, port)) = address.split_once("/udp/") {
                ports.entry(ip).or_default().insert(port);
            }
        }
        match () {
            () if ports.is_empty() => Nat::Unknown,
            () if ports.values().any(|ports| ports.len() > 1) => Nat::Shifting,
            () if self.observed.values().any(|address| self.listening.contains(address)) => Nat::None,
            () if self.observed.len() > 1 => Nat::Steady,
            () => Nat::Unknown,
        }
    }

    /// Peers whose word about where this node is stands against that of many more, who agree. A NAT that gives each peer
    /// another port makes nobody odd, for then nobody agrees.
    pub(super) fn odd(&self) -> Vec<Odd> {
        let mut found = Vec::new();
        for scope in [Scope::Ip4, Scope::Ip6] {
            let fits = |address: &&Address| address::scope(address) == scope && address.contains("/udp/");
            let mut agreeing = BTreeMap::<&Address, usize>::new();
            for address in self.observed.values().filter(fits) {
                *agreeing.entry(address).or_default() += 1;
            }
            let Some((usual, agree)) = agreeing.iter().max_by_key(|(_, count)| **count) else { continue };
            let others = self.observed.iter().filter(|(_, address)| fits(address) && address != usual);
            let others: Vec<_> = others.filter(|(_, address)| !self.listening.contains(*address)).collect();
            if *agree >= AGREEING_MIN && others.len() * 2 < *agree {
                let odd = |(peer, says): (&NodeId, &Address)| Odd {
                    peer: *peer,
                    says: says.clone(),
                    usual: (*usual).clone(),
                };
                found.extend(others.into_iter().map(odd));
            }
        }
        found
    }

    /// Where peers see this node.
    pub(super) fn seen(&self) -> BTreeSet<Address> {
        self.observed.values().cloned().collect()
    }

    /// What was announced last.
    pub(super) fn said(&self) -> &[Address] {
        &self.said
    }

    /// On which port it listens for QUIC, the lowest of several.
    pub(super) fn udp_port(&self) -> Option<&str> {
        self.listening.iter().find_map(|address| address.split_once("/udp/")?.1.split('/').next())
    }

    /// All that is to be announced if it differs from what was: what the operator says, what peers got through to, what
    /// sockets say, and last where others relay for it.
    pub(super) fn news(&mut self, relayed: &[Address]) -> Option<Vec<Address>> {
        let relayed = &relayed[..relayed.len().min(RELAYED_MAX)];
        let mut found: Vec<Address> = self.tested.keys().chain(&self.listening).cloned().collect();
        address::sort(&mut found);
        let mut all: Vec<Address> = Vec::new();
        for address in self.announce.iter().cloned().chain(found) {
            if !all.contains(&address) && all.len() < ADDRESSES_MAX - relayed.len() {
                all.push(address);
            }
        }
        all.extend_from_slice(relayed);
        (all != self.said).then(|| {
            self.said.clone_from(&all);
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: &str = "/ip4/192.168.1.2/udp/4001/quic-v1";

    fn peer(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn behind_a_nat() -> Own {
        let mut own = Own::default();
        own.listens(LAN.into());
        own
    }

    #[test]
    fn one_peer_that_claims_to_have_got_through_does_not_take_a_nodes_relays_away() {
        let mut own = behind_a_nat();
        assert_eq!(own.relays_wanted(), 2);
        own.was_tested(peer(1), "/ip4/198.51.100.1/udp/4001/quic-v1".into(), true);
        assert_eq!((own.openness(), own.relays_wanted()), (Openness::Tested(1), 1));
        own.was_tested(peer(2), "/ip4/198.51.100.1/udp/4001/quic-v1".into(), true);
        assert_eq!(own.relays_wanted(), 0);
    }

    #[test]
    fn a_node_that_moved_must_be_tested_again() {
        let mut own = behind_a_nat();
        let outside = "/ip4/198.51.100.1/udp/4001/quic-v1";
        own.was_tested(peer(1), outside.into(), true);
        own.was_tested(peer(2), outside.into(), true);
        assert_eq!(own.relays_wanted(), 0);
        own.is_deaf(&LAN.to_owned());
        own.listens("/ip4/192.168.2.2/udp/4001/quic-v1".into());
        assert_eq!((own.openness(), own.relays_wanted()), (Openness::Unknown, 2));
    }

    #[test]
    fn who_gets_through_to_a_relay_or_from_next_door_has_not_got_through_from_outside() {
        let mut own = behind_a_nat();
        let relayed = address::through(peer(9), "/ip4/198.51.100.1/tcp/1");
        for address in [LAN, "/ip4/127.0.0.1/tcp/1", "/p2p/somebody", relayed.as_str()] {
            own.was_tested(peer(1), address.into(), true);
            own.was_tested(peer(2), address.into(), true);
        }
        assert_eq!((own.openness(), own.relays_wanted()), (Openness::Unknown, 2));
    }

    #[test]
    fn a_demo_on_one_machine_needs_no_relay_and_neither_does_who_says_where_it_is() {
        let mut own = Own::default();
        own.listens("/ip4/127.0.0.1/udp/4001/quic-v1".into());
        assert_eq!(own.relays_wanted(), 0);
        let mut own = Own::new(vec!["/ip4/198.51.100.1/udp/4001/quic-v1".into()]);
        own.listens(LAN.into());
        assert_eq!((own.openness(), own.relays_wanted()), (Openness::Announced, 0));
    }

    #[test]
    fn relayed_addresses_go_last_and_are_never_crowded_out() {
        let mut own = Own::default();
        (0..20).for_each(|n| own.listens(format!("/ip4/10.0.0.{n}/tcp/1")));
        let relayed = address::through(peer(1), "/ip4/198.51.100.1/tcp/1");
        let said = own.news(std::slice::from_ref(&relayed)).unwrap();
        assert_eq!((said.len(), said.last()), (8, Some(&relayed)));
        assert_eq!(own.news(&[relayed]), None, "nothing new");
    }

    #[test]
    fn a_nat_that_gives_each_peer_another_port_is_known_by_what_peers_see() {
        let mut own = behind_a_nat();
        own.is_seen(peer(1), "/ip4/198.51.100.1/udp/4001/quic-v1".into());
        assert_eq!(own.nat(), Nat::Unknown);
        own.is_seen(peer(2), "/ip4/198.51.100.1/udp/4001/quic-v1".into());
        assert_eq!(own.nat(), Nat::Steady);
        own.is_seen(peer(3), "/ip4/198.51.100.1/udp/32768/quic-v1".into());
        assert_eq!(own.nat(), Nat::Shifting);
    }

    #[test]
    fn a_relay_that_lies_about_where_this_node_is_is_named_and_nothing_follows_from_its_word() {
        let mut own = behind_a_nat();
        let (usual, lie) = ("/ip4/198.51.100.1/udp/4001/quic-v1", "/ip4/198.51.100.1/udp/9/quic-v1");
        (1..=3).for_each(|number| own.is_seen(peer(number), usual.into()));
        own.is_seen(peer(9), lie.into());
        assert_eq!(own.odd(), [Odd { peer: peer(9), says: lie.into(), usual: usual.into() }]);
        assert_eq!(own.nat(), Nat::Steady);
        own.is_seen(peer(8), "/ip4/203.0.113.7/udp/4001/quic-v1".into());
        assert_eq!(own.odd(), [], "two of five: who is wrong is not clear");
    }
}
