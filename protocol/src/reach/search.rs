//! How reach looks for somebody: whom it asks, what it answers, and what it does with answers.
use std::collections::BTreeMap;

use super::{
    Output, Reach, Source, Timer, Wanter, address,
    find::{self, Message, Place},
    peer::{Peer, State},
};
use crate::{frame::Frame, id::NodeId, time::Now};

impl Reach {
    /// Asks others where somebody is, who is wanted and not reached: first those to whom there is a link, then those whom
    /// they name, if they are closer.
    pub(super) fn look_for(&mut self, now: Now, target: NodeId) {
        if !self.finds.may_begin(target, now.instant) {
            return;
        }
        let linked = |(_, peer): &(&NodeId, &Peer)| peer.finds && matches!(peer.state, State::Linked);
        let linked: Vec<NodeId> = self.peers.iter().filter(linked).map(|(node, _)| *node).collect();
        self.finds.begin(target, linked.into_iter());
        self.search(now, target);
    }

    /// Whether others are asked where somebody is, from now on or already.
    pub(super) fn is_looked_for(&mut self, now: Now, target: NodeId) -> bool {
        self.look_for(now, target);
        self.finds.is_under_way(target)
    }

    /// Asks the next, if there is anybody left to ask.
    fn search(&mut self, now: Now, target: NodeId) {
        for node in self.finds.next(target, now.instant) {
            if self.admits(node) {
                self.ask(node, target);
            } else if !self.peers.get(&node).is_some_and(Peer::seems_dead) {
                self.want(now, Wanter::Find(target), node, &[], true);
                self.arm(node);
            }
        }
        if !self.finds.is_under_way(target) {
            self.stop_wanting(target);
            let in_vain = !self.book.knows(target);
            if let Some(peer) = self.peers.get_mut(&target).filter(|peer| in_vain && !peer.has_link()) {
                peer.waiting.clear();
            }
        }
        self.agenda.set(Timer::Finds, self.finds.next_due());
    }

    /// Somebody was silent for too long: the next are asked.
    pub(super) fn search_on(&mut self, now: Now) {
        for target in self.finds.targets() {
            self.search(now, target);
        }
    }

    /// A peer introduced itself: if it is awaited it is asked; if it was looked for it is found.
    pub(super) fn ask_now(&mut self, peer: NodeId) {
        self.end_search(peer);
        for target in self.finds.awaits(peer).collect::<Vec<_>>() {
            self.ask(peer, target);
        }
    }

    fn ask(&mut self, peer: NodeId, target: NodeId) {
        if self.peers.get(&peer).is_some_and(|peer| peer.finds) {
            self.say(peer, Message::Find(target));
        }
    }

    pub(super) fn say(&mut self, to: NodeId, message: Message) {
        if let Some(wire) = self.wire(to) {
            self.outbox.push(Output::Send { to, wire, frame: Frame::Reach(message) });
        }
    }

    fn end_search(&mut self, target: NodeId) {
        if self.finds.is_under_way(target) {
            self.finds.found(target);
            self.stop_wanting(target);
            self.agenda.set(Timer::Finds, self.finds.next_due());
        }
    }

    fn stop_wanting(&mut self, target: NodeId) {
        let asked = self.peers.iter_mut();
        let asked = asked.filter_map(|(node, peer)| peer.wanted_by.remove(&Wanter::Find(target)).then_some(*node));
        for node in asked.collect::<Vec<_>>() {
            self.arm(node);
        }
    }

    pub(super) fn on_message(&mut self, now: Now, from: NodeId, message: Message) {
        if !self.admits(from) || !message.is_within_bounds() {
            return;
        }
        match message {
            Message::Find(target) => {
                let places = self.closest(target, from);
                self.say(from, Message::Found { target, places });
            }
            Message::Found { target, places } => {
                let named = places.iter().map(|place| place.node);
                if !self.finds.answered(from, target, named) {
                    return;
                }
                for place in places.iter().filter(|place| place.node != self.identity.node()) {
                    self.book.learn(place.node, &place.addresses, Source::Hint);
                }
                self.search(now, target);
                self.try_again(now, target);
            }
            Message::Needed(needed) => self.on_needed(from, needed),
            Message::Probe => self.on_probe(now, from),
            Message::Alive => self.on_alive(now, from),
        }
    }

    /// There are new addresses of somebody who is looked for: he is dialled without waiting longer.
    fn try_again(&mut self, now: Now, target: NodeId) {
        if !self.book.knows(target) {
            return;
        }
        let peer = self.peer(target, now.instant);
        if let State::Idle { dial_at } = &mut peer.state {
            *dial_at = now.instant.min(*dial_at);
        }
        self.dial_if_due(now, target);
        self.arm(target);
    }

    /// Those whom this node knows that are closest to somebody, with where they are.
    fn closest(&self, target: NodeId, asker: NodeId) -> Vec<Place> {
        let mut closest: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        for node in self.book.nodes().filter(|node| *node != asker) {
            let distance = node.distance(target);
            let full = closest.len() >= find::PLACES_MAX;
            if full && closest.last_key_value().is_some_and(|(farthest, _)| distance > *farthest) {
                continue;
            }
            if self.book.is_somewhere(node) {
                closest.insert(distance, node);
                if full {
                    closest.pop_last();
                }
            }
        }
        let place = |node: NodeId| {
            let mut addresses = self.book.of(node);
            addresses.retain(|at| address::scope(at) != address::Scope::Loopback);
            addresses.truncate(find::PLACE_ADDRESSES_MAX);
            Place { node, addresses }
        };
        closest.into_values().map(place).collect()
    }
}
