//! What passes between members of the mesh and those whose operator is not admitted: only what makes an outsider a member,
//! and in bounds. An outsider is no neighbour, watches nobody, is watched by nobody, and nothing that it says is kept but
//! its own request to be admitted. So a thousand keys made on the spot weigh nothing.
use super::{
    Membership, Timer,
    broadcast::GIVEN_MAX,
    wire::{Message, Parcel},
};
use crate::{
    id::NodeId,
    identity::Admitted,
    record::{Kind, Shared, Tier},
    time::Now,
};

impl Membership {
    /// Who counts is another set from now on.
    pub(super) fn on_counted(&mut self, now: Now, admitted: Admitted) {
        let was_outside = self.is_outside();
        let gone = self.set.count_only(admitted);
        self.own.outside = self.is_outside();
        for record in gone {
            self.ended(now, record);
        }
        let strangers: Vec<NodeId> =
            self.overlay.active.keys().copied().filter(|node| self.is_outsider(*node)).collect();
        for node in strangers {
            self.send(node, Message::Part);
            self.drop_neighbour(node);
        }
        if was_outside && !self.is_outside() {
            self.overlay.failed.clear();
            self.publish_presence(now);
        }
        // Not at once: a node that just started has not said yet where it is, and says nothing else before that.
        self.wake(Timer::Renew, now.instant, "who counts has changed");
        self.fill_now(now);
    }

    /// Whether this node's own operator is not admitted.
    pub(super) fn is_outside(&self) -> bool {
        !self.set.admitted().counts(&self.operator)
    }

    /// Whether a peer's operator is known not to be admitted.
    pub(super) fn is_outsider(&self, node: NodeId) -> bool {
        self.set.certificate(&node).is_some_and(|by| !self.set.admitted().counts(&by.operator))
    }

    fn is_between(&self, node: NodeId) -> bool {
        self.is_outside() || self.is_outsider(node)
    }

    /// A link between a member and an outsider: each tells the other what it knows of the charter.
    pub(super) fn greet_outsider(&mut self, node: NodeId) {
        // What it says with a wrong clock would be believed by some and not by others.
        if self.is_between(node) && !self.own.clock_off {
            let told = self.set.of_kind(Tier::Mesh, Kind::OPERATOR).chain(self.set.of_kind(Tier::Mesh, Kind::CHARTER));
            let parcels = told.take(GIVEN_MAX).map(|known| Parcel(known.clone())).collect();
            self.send_found(node, parcels);
        }
    }

    /// The trees do not reach outsiders, nor do they begin at one.
    pub(super) fn tell_outsiders(&mut self, record: &Shared, from: Option<NodeId>) {
        if !record.body.kind.carries_statements() || self.set.tier(record.body.scope) != Tier::Mesh {
            return;
        }
        let to: Vec<NodeId> =
            self.links.keys().copied().filter(|node| Some(*node) != from && self.is_between(*node)).collect();
        for node in to {
            self.send(node, Message::Found(vec![Parcel(record.clone())]));
        }
    }

    /// What an outsider may say here.
    pub(super) fn hears_from_outsider(message: &Message) -> bool {
        matches!(message, Message::Records(_) | Message::Found(_) | Message::Ping(_) | Message::Ack(_))
    }
}
