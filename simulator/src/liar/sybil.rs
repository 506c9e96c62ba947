//! Sybils: many names of one party. They know only each other, urge themselves upon everybody as neighbours and never let
//! go, pass on nothing that an honest node said, and say that all of those are down. With a target (*eclipse*) they do so
//! towards that one node, which they also dial, and are honest to everybody else.
use bocage_protocol::{
    frame::Frame,
    id::NodeId,
    membership::{Contact, Message, Presence},
    record::{Kind, Scope},
};

use super::{Act, Lie, Stage, records, verdicts::FalseVerdicts, with_headers, with_records};
use crate::population;

/// Contacts in one message.
const CONTACTS: usize = 16;

/// A target is dialled, and urged, once in so many seconds.
const URGE_S: u64 = 2;

pub(super) struct Sybil {
    target: Option<NodeId>,
    accuser: FalseVerdicts,
    /// Where the ring is, as far as this one has heard.
    ring: Vec<Contact>,
    ticks: u64,
}

impl Sybil {
    pub(super) fn of(target: Option<NodeId>) -> Self {
        Self { target, accuser: FalseVerdicts::default(), ring: Vec::new(), ticks: 0 }
    }

    fn deceives(&self, stage: &Stage, peer: NodeId) -> bool {
        !stage.ring.contains(&peer) && self.target.is_none_or(|target| target == peer)
    }

    /// Fellows, this one among them.
    fn fellows(&self, stage: &mut Stage) -> Vec<Contact> {
        let mut fellows = self.ring.clone();
        stage.rng.shuffle(&mut fellows);
        fellows.truncate(CONTACTS);
        for contact in &mut fellows {
            contact.seen = stage.now.wall;
        }
        fellows
    }

    fn meet(&mut self, contacts: &[Contact], stage: &Stage) {
        for contact in contacts.iter().filter(|contact| stage.ring.contains(&contact.node)) {
            if !self.ring.iter().any(|known| known.node == contact.node) {
                self.ring.push(contact.clone());
            }
        }
    }
}

impl Lie for Sybil {
    fn leaves(&mut self, stage: &mut Stage, to: NodeId, mut frame: Frame) -> Option<Frame> {
        if !self.deceives(stage, to) {
            return Some(frame);
        }
        *stage.touched += 1;
        let fellows = self.fellows(stage);
        match &mut frame {
            Frame::Gossip(Message::Part) => return None,
            Frame::Gossip(Message::Welcome { accepted, contacts, .. }) => (*accepted, *contacts) = (true, fellows),
            Frame::Gossip(Message::Neighbour { urgent, contacts, .. }) => (*urgent, *contacts) = (true, fellows),
            Frame::Gossip(Message::Shuffle { contacts, .. }) => *contacts = fellows,
            _ => {}
        }
        let frame =
            with_records(frame, |parcel| stage.ring.contains(&NodeId(parcel.signer().0)).then(|| parcel.clone()));
        let mine = u64::from_be_bytes(stage.identity.node().0[..8].try_into().unwrap_or_default());
        Some(with_headers(frame, |header| (header.subject == mine).then_some(*header)))
    }

    fn arrives(&mut self, stage: &mut Stage, from: NodeId, frame: &Frame, _: &mut Vec<Act>) -> bool {
        self.accuser.learn(frame);
        match frame {
            Frame::Gossip(Message::Welcome { me, contacts, .. } | Message::Neighbour { me, contacts, .. }) => {
                self.meet(std::slice::from_ref(me), stage);
                self.meet(contacts, stage);
            }
            Frame::Gossip(Message::Shuffle { contacts, .. }) => self.meet(contacts, stage),
            _ => {}
        }
        for parcel in records(frame) {
            let node = NodeId(parcel.signer().0);
            if parcel.body.kind == Kind::PRESENCE
                && let Scope::Jurisdiction(jurisdiction) = parcel.body.scope
                && let Some(presence) = Presence::read(parcel)
            {
                let seen = stage.now.wall;
                self.meet(&[Contact { node, addresses: presence.addresses, jurisdiction, seen }], stage);
            }
        }
        // The victim may let go; the ring does not, and asks again below.
        !(matches!(frame, Frame::Gossip(Message::Part)) && self.deceives(stage, from))
    }

    fn tick(&mut self, stage: &mut Stage, peers: &[NodeId], acts: &mut Vec<Act>) {
        self.ticks += 1;
        let deceived: Vec<NodeId> = peers.iter().copied().filter(|peer| self.deceives(stage, *peer)).collect();
        if let Some(target) = self.target
            && deceived.is_empty()
            && self.ticks.is_multiple_of(URGE_S)
        {
            acts.push(Act::Dial(target));
        }
        if self.ticks.is_multiple_of(URGE_S) {
            for peer in &deceived {
                *stage.touched += 1;
                let (me, contacts) = (me(stage), self.fellows(stage));
                acts.push(Act::Send(*peer, Frame::Gossip(Message::Neighbour { urgent: true, me, contacts })));
            }
        }
        self.accuser.accuse(stage, &deceived, acts);
    }
}

/// This one, as a contact.
fn me(stage: &Stage) -> Contact {
    let certificate = stage.identity.certificate();
    let (addresses, jurisdiction) = (vec![population::address(stage.me)], certificate.jurisdiction);
    Contact { node: certificate.node, addresses, jurisdiction, seen: stage.now.wall }
}
