//! What links do to nodes: dialling, frames, silence.
use bocage_protocol::{
    codec::Blob,
    frame::Frame,
    id::NodeId,
    io::{Input, LinkChange, Over, Path, PathKind},
    membership::Address,
    reach::address::relay_of,
    wire::WIRE_NEWEST,
};

use super::{Bug, Event, World};
use crate::{
    host::Daemon,
    network::{Sent, end},
    population::{address, number_of},
    report::Property,
    trace::{self, FrameMark, Way},
};

impl<D: Daemon> World<D> {
    /// A node wants a link. It hears `Up` or `Unreachable`, unless it has the link.
    pub(super) fn dial(&mut self, node: u32, peer: NodeId, via: &Path) {
        match via {
            Path::Direct(addresses) => self.dial_directly(node, peer, addresses),
            Path::Relayed(addresses) => self.dial_through(node, peer, addresses),
        }
    }

    fn dial_directly(&mut self, node: u32, peer: NodeId, addresses: &[Address]) {
        let path = PathKind::Direct;
        let peer_number = self.numbers.get(&peer).copied().filter(|number| *number != node);
        let found = peer_number.filter(|number| addresses.iter().any(|address| number_of(address) == Some(*number)));
        let Some(number) = found else {
            let after = self.network.dial_max();
            return self.unreachable(node, peer, path, after, "nobody of that name is there");
        };
        self.link_by(node, number, path, None);
    }

    /// Through the first of these relays that can.
    fn dial_through(&mut self, node: u32, peer: NodeId, addresses: &[Address]) {
        let path = PathKind::Relayed;
        let number = self.numbers.get(&peer).copied().filter(|number| *number != node);
        let carries = |relay: &u32, number: u32| {
            self.runs(*relay)
                && *relay != node
                && self.reserved.get(relay).is_some_and(|nodes| nodes.contains(&number))
                && self.network.linked(node, *relay)
                && self.network.linked(*relay, number)
        };
        let relays = addresses.iter().filter_map(|address| number_of(relay_of(address)?.1));
        let found = number.and_then(|number| relays.into_iter().find(|relay| carries(relay, number)).zip(Some(number)));
        let Some((relay, number)) = found else {
            let after = self.network.dial_max();
            return self.unreachable(node, peer, path, after, "no relay leads there");
        };
        self.link_by(node, number, path, Some(relay));
    }

    /// A peer relays for a node, if they are linked, or no longer.
    pub(super) fn reserve(&mut self, node: u32, relay: NodeId, wanted: bool) {
        let Some(number) = self.numbers.get(&relay).copied() else { return };
        let up = self.network.link(node, number).up == [true; 2];
        let nodes = self.reserved.entry(number).or_default();
        if !wanted {
            nodes.remove(&node);
            return;
        }
        let change = if up {
            nodes.insert(node);
            LinkChange::Reserved
        } else {
            LinkChange::Unreserved { why: "there is no link to it".into() }
        };
        let after = self.network.delay_now(node, number) + self.network.delay_now(number, node);
        self.later(node, after, Input::Link { peer: relay, change });
    }

    /// A link over a path that may lead there.
    fn link_by(&mut self, node: u32, number: u32, path: PathKind, relay: Option<u32>) {
        let peer = self.hosts[number as usize].id;
        let mine = end(node, number);
        let link = *self.network.link(node, number);
        if link.up[mine] || link.coming[mine] {
            return;
        }
        if !self.network.linked(node, number) {
            self.cut_touches(node, number);
            let after = self.network.dial_max();
            return self.unreachable(node, peer, path, after, "no answer");
        }
        if path == PathKind::Direct && self.network.place(number).at_home {
            let after = self.network.dial_max();
            return self.unreachable(node, peer, path, after, "no answer");
        }
        let (there, back) = (self.network.delay_now(node, number), self.network.delay_now(number, node));
        if !self.runs(number) {
            return self.unreachable(node, peer, path, there + back, "nobody listens there");
        }
        let link = self.network.link(node, number);
        link.epoch += 1;
        link.coming = [true; 2];
        link.relay = relay;
        let epoch = link.epoch;
        let shaken = self.at + self.network.handshakes() * (there + back);
        let (here_at, there_at) = (shaken + there + back, shaken + 2 * there + back);
        self.network.not_before(node, number, there_at);
        self.network.not_before(number, node, here_at);
        if let Some(relay) = relay {
            self.relayed.entry(relay).or_default().insert((node.min(number), node.max(number)));
        }
        self.host(node).peers.insert(number);
        self.host(number).peers.insert(node);
        self.queue.push(here_at, node, Event::LinkUp { peer: number, epoch, dialled: true });
        self.queue.push(there_at, number, Event::LinkUp { peer: node, epoch, dialled: false });
    }

    fn unreachable(&mut self, node: u32, peer: NodeId, path: PathKind, after: u64, why: &str) {
        let change = LinkChange::Unreachable { path, why: why.into() };
        self.tally.count("dials_in_vain");
        self.later(node, after, Input::Link { peer, change });
    }

    /// Gives an input to the process of a host after some time.
    pub(super) fn later(&mut self, node: u32, after: u64, input: Input) {
        let life = self.hosts[node as usize].life;
        let slot = self.later.put(input);
        self.queue.push(self.at + after, node, Event::Later { life, slot });
    }

    pub(super) fn link_up(&mut self, node: u32, peer: u32, epoch: u32, dialled: bool) {
        let mine = end(node, peer);
        let link = self.network.link(node, peer);
        if link.epoch != epoch || !link.coming[mine] {
            return;
        }
        link.coming[mine] = false;
        let relay = link.relay;
        let stale = std::mem::replace(&mut link.up[mine], true);
        let id = self.hosts[peer as usize].id;
        if stale {
            self.give(node, Input::Link { peer: id, change: LinkChange::Down });
        }
        let (address, over) = match relay {
            None => (dialled.then(|| address(peer)), Over::Quic),
            Some(relay) => (None, Over::Relay(self.hosts[relay as usize].id)),
        };
        self.give(node, Input::Link { peer: id, change: LinkChange::Up { address, over } });
        let round_trip = self.network.round_trip(node, peer);
        self.give(node, Input::Link { peer: id, change: LinkChange::RoundTrip(round_trip) });
    }

    /// One end notices that the link is gone.
    pub(super) fn link_lost(&mut self, node: u32, peer: u32, epoch: u32) {
        let mine = end(node, peer);
        let link = self.network.link(node, peer);
        if link.epoch != epoch {
            return;
        }
        let was_coming = std::mem::take(&mut link.coming[mine]);
        let was_up = std::mem::take(&mut link.up[mine]);
        let path = if link.relay.is_some() { PathKind::Relayed } else { PathKind::Direct };
        self.carried_no_more(node, peer);
        let peer_id = self.hosts[peer as usize].id;
        if was_up {
            self.give(node, Input::Link { peer: peer_id, change: LinkChange::Down });
        } else if was_coming {
            let change = LinkChange::Unreachable { path, why: "it went away".into() };
            self.give(node, Input::Link { peer: peer_id, change });
        }
    }

    /// The link to a relay is gone at this end: so are those of this node that the relay carried, and its reservation.
    fn carried_no_more(&mut self, node: u32, relay: u32) {
        if let Some(nodes) = self.reserved.get_mut(&relay) {
            nodes.remove(&node);
        }
        let Some(pairs) = self.relayed.get_mut(&relay) else { return };
        let gone: Vec<(u32, u32)> = pairs.extract_if(.., |(a, b)| *a == node || *b == node).collect();
        for (a, b) in gone {
            let link = *self.network.link(a, b);
            if link.relay == Some(relay) {
                self.queue.push(self.at, a, Event::LinkLost { peer: b, epoch: link.epoch });
                self.queue.push(self.at, b, Event::LinkLost { peer: a, epoch: link.epoch });
            }
        }
    }

    pub(super) fn hang_up(&mut self, node: u32, peer: NodeId) {
        let Some(number) = self.numbers.get(&peer).copied() else { return };
        let epoch = self.network.link(node, number).epoch;
        let there = self.network.delay_now(node, number);
        self.queue.push(self.at, node, Event::LinkLost { peer: number, epoch });
        self.queue.push(self.at + there, number, Event::LinkLost { peer: node, epoch });
    }

    /// Both ends of these links will notice a silence.
    pub(super) fn silence(&mut self, pairs: &[(u32, u32)]) {
        for (a, b) in pairs {
            let epoch = self.network.link(*a, *b).epoch;
            for (node, peer) in [(*a, *b), (*b, *a)] {
                let noticed = self.network.silence_noticed();
                self.queue.push(self.at + noticed, node, Event::LinkLost { peer, epoch });
            }
        }
    }

    /// A node sends a frame on a link of this wire version; a liar perhaps another frame, or none.
    pub(super) fn send(&mut self, node: u32, to: NodeId, wire: u16, frame: Frame) {
        if let Some(frame) = self.as_told(node, to, frame) {
            self.carry(node, to, wire, frame);
        }
    }

    /// A frame goes on its way.
    pub(super) fn carry(&mut self, node: u32, to: NodeId, wire: u16, frame: Frame) {
        let mark = FrameMark::of(wire, &frame);
        self.tally.sent(mark.size_bytes);
        self.observer.iter_mut().for_each(|observer| observer.sent(node, mark.size_bytes));
        let mut digest = trace::Mixer::default();
        digest.bytes(&to.0);
        digest.bytes(&mark.digest.to_le_bytes());
        self.trace.note(self.at, node, Way::Output, digest.finish());
        let Some(peer) = self.numbers.get(&to).copied() else { return self.tally.count("frames_to_nobody") };
        let link = *self.network.link(node, peer);
        if !link.up[end(node, peer)] {
            return self.tally.count("frames_without_link");
        }
        if self.network.loses(node, peer) {
            return self.tally.count("frames_lost");
        }
        let frame = if self.population.is_mixed() {
            let wire = if self.bug == Some(Bug::ForgottenVersion) { WIRE_NEWEST } else { wire };
            let bytes = frame.encode(wire);
            self.tally.count(if wire == WIRE_NEWEST { "frames_of_this_version" } else { "frames_of_an_older_version" });
            match Frame::decode(&bytes, self.population.wire(peer, self.hosts[peer as usize].life)) {
                Ok(frame) => frame,
                Err(error) => {
                    let what =
                        format!("it sent node {peer} a frame of wire version {wire} that it cannot read: {error}");
                    return self.violated(Property::Wire, Some(node), what);
                }
            }
        } else {
            frame
        };
        let (mut arrival, at_line) = match self.network.sent(node, peer, self.at, mark.size_bytes) {
            Sent::Arrives(at) => (at, false),
            Sent::AtLine(at) => (at, true),
            Sent::Lost => return self.tally.count("frames_lost"),
            Sent::QueueFull => return self.tally.count("frames_queue_full"),
        };
        if let Some(left) = &mut self.nudge {
            arrival += u64::from(*left == 0);
            self.nudge = left.checked_sub(1);
        }
        self.memo.foresee(&frame);
        if self.network.comes_twice() {
            self.tally.count("frames_twice");
            self.under_way(node, peer, link.epoch, (frame.clone(), mark), (arrival, at_line));
        }
        self.under_way(node, peer, link.epoch, (frame, mark), (arrival, at_line));
    }

    fn under_way(
        &mut self,
        node: u32,
        peer: u32,
        epoch: u32,
        frame: (Frame, FrameMark),
        (arrival, at_line): (u64, bool),
    ) {
        let slot = self.frames.put(frame);
        let at = self.at;
        self.recorder.iter_mut().for_each(|recorder| recorder.sent(at, slot));
        let from = node;
        let event = if at_line { Event::AtLine { from, epoch, slot } } else { Event::Frame { from, epoch, slot } };
        self.queue.push(arrival, peer, event);
    }

    /// A frame came to the far end of a node's line: it waits for its turn.
    pub(super) fn at_line(&mut self, node: u32, from: u32, epoch: u32, slot: u32) {
        let size_bytes = self.frames.see(slot).1.size_bytes;
        let (through, held) = self.network.through_line(node, self.at, size_bytes);
        if held {
            self.tally.count("frames_held_back");
        }
        self.queue.push(through, node, Event::Frame { from, epoch, slot });
    }

    pub(super) fn arrive(&mut self, node: u32, from: u32, epoch: u32, slot: u32) {
        let (frame, mark) = self.frames.take(slot);
        let at = self.at;
        self.recorder.iter_mut().for_each(|recorder| recorder.arrived(at, slot, from, node, &frame));
        let link = *self.network.link(node, from);
        let open = link.epoch == epoch && link.up[end(node, from)] && self.network.reaches(from, node);
        if !open || !self.runs(node) || self.deaf(node) {
            return self.tally.count("frames_lost");
        }
        let mut carried = std::mem::take(&mut self.carried);
        match self.memo.check(frame, &mut carried) {
            Ok(frame) => {
                self.tally.count("frames_received");
                self.carried_to(node, &carried);
                if self.hears(node, from, &frame) {
                    let from = self.hosts[from as usize].id;
                    self.give_frame(node, Input::Received { from, frame }, mark);
                }
            }
            Err(_) => self.tally.count("frames_with_bad_signatures"),
        }
        self.carried = carried;
    }

    /// What a node's detector says to another's, past all links: it comes by itself, late by what lies between the two, or not
    /// at all, and waits in no queue. Nobody behind a NAT is reached.
    pub(super) fn datagram(&mut self, node: u32, to: NodeId, bytes: Blob) {
        let size_bytes = bytes.len() as u64;
        self.tally.sent(size_bytes);
        self.tally.count("datagrams_sent");
        self.observer.iter_mut().for_each(|observer| observer.sent(node, size_bytes));
        let Some(peer) = self.numbers.get(&to).copied() else { return self.tally.count("datagrams_lost") };
        if self.network.loses(node, peer) || self.network.place(peer).at_home || !self.runs(peer) {
            return self.tally.count("datagrams_lost");
        }
        let after = self.network.delay_now(node, peer);
        let from = self.hosts[node as usize].id;
        self.later(peer, after, Input::Datagram { from, bytes });
    }
}
