//! What leaves a jurisdiction: to those who asked for it, and to those whom it concerns. A cell's members subscribe to
//! each other's nodes; an observer tells the jurisdiction of whom it watches.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Membership, Timer,
    observe::{ASKED_FOR, inner_of},
    wants::Reason,
    wire::{CONTACTS_MAX, Contact, Message, Parcel, SUBJECTS_MAX},
};
use crate::{
    id::NodeId,
    record::{Kind, Scope, Shared, Subject, Tier},
    resources::Jurisdiction,
    time::{Instant, Now},
};

/// Subscriptions of peers held at once; more are not noted.
const SUBSCRIBERS_MAX: usize = 4_096;

/// Lapsed subscriptions are noticed so much later at most.
const SWEEP: Duration = Duration::from_secs(5);

/// Linked peers of each other jurisdiction that a subscriber asks, beside those who watch whom he asks about.
const ASKED_ABROAD: usize = 3;

/// Linked peers of another jurisdiction that are told a verdict, which spreads it there.
const TOLD_ABROAD: usize = 3;

/// Who watches a node of another jurisdiction, as it says itself.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) inner: Vec<NodeId>,
    pub(super) outer: Vec<NodeId>,
}

/// Who wants to hear what.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    ours: BTreeSet<Subject>,
    theirs: BTreeMap<Subject, BTreeMap<NodeId, Instant>>,
    /// When lapsed subscriptions were last swept out.
    swept: Instant,
    pub(super) rosters: BTreeMap<NodeId, Roster>,
}

impl Membership {
    pub(super) fn subscribe(&mut self, now: Now, subject: Subject, wanted: bool) {
        if !wanted {
            self.subscriptions.ours.remove(&subject);
            self.subscriptions.rosters.remove(&NodeId(subject.0));
            self.want_observers();
            // No word of it comes any more, so none may stand.
            self.count(now, NodeId(subject.0));
            return;
        }
        if self.subscriptions.ours.len() < SUBJECTS_MAX && self.subscriptions.ours.insert(subject) {
            self.say_subscriptions(now);
        }
    }

    /// Tells linked peers what this node wants to hear, and again before it lapses.
    pub(super) fn say_subscriptions(&mut self, now: Now) {
        if self.subscriptions.ours.is_empty() {
            self.agenda.set(Timer::Subscribe, None);
            return;
        }
        for node in self.whom_to_ask() {
            self.say_subscriptions_to(node);
        }
        self.wake(Timer::Subscribe, now.instant + ASKED_FOR / 3, "renew subscriptions");
    }

    /// A link came up: perhaps to somebody who can say what this node wants to hear.
    pub(super) fn ask_if_it_knows(&mut self, node: NodeId) {
        if !self.subscriptions.ours.is_empty() && self.whom_to_ask().contains(&node) {
            self.say_subscriptions_to(node);
        }
    }

    /// The linked nodes that are asked: those whom the subscriptions are about, those who watch them, and some of each other
    /// jurisdiction, to which its tree brings all that is said there.
    fn whom_to_ask(&self) -> BTreeSet<NodeId> {
        let mut asked: BTreeSet<NodeId> = self.subscriptions.ours.iter().map(|subject| NodeId(subject.0)).collect();
        asked.extend(self.wants.of(Reason::Subscribed));
        asked.retain(|node| self.links.contains_key(node));
        let mut abroad: BTreeMap<Jurisdiction, Vec<(NodeId, NodeId)>> = BTreeMap::new();
        for (node, link) in self.links.iter().filter(|(_, link)| link.jurisdiction != self.home) {
            abroad.entry(link.jurisdiction).or_default().push((node.distance(self.me), *node));
        }
        for mut nodes in abroad.into_values() {
            nodes.sort_unstable();
            asked.extend(nodes.into_iter().take(ASKED_ABROAD).map(|(_, node)| node));
        }
        asked
    }

    fn say_subscriptions_to(&mut self, node: NodeId) {
        // At home the tree brings all that is said; only who watches somebody is known to himself alone.
        let at_home = self.links.get(&node).is_some_and(|link| link.jurisdiction == self.home);
        let is_meant = |subject: &&Subject| !at_home || subject.0 == node.0;
        let subjects: Vec<Subject> = self.subscriptions.ours.iter().filter(is_meant).copied().collect();
        if !subjects.is_empty() {
            self.send(node, Message::Subscribe(subjects));
        }
    }

    /// Whether a record that would not come by itself is wanted here.
    pub(super) fn is_wanted(&self, record: &Shared) -> bool {
        self.subscriptions.ours.contains(&Self::subjects_of(record))
    }

    pub(super) fn on_subscribe(&mut self, now: Now, from: NodeId, subjects: Vec<Subject>) {
        let until = now.instant + ASKED_FOR;
        self.sweep_subscriptions(now);
        let mut held: usize = self.subscriptions.theirs.values().map(BTreeMap::len).sum();
        for subject in subjects {
            let held_until = self.subscriptions.theirs.get(&subject).and_then(|peers| peers.get(&from)).copied();
            if held_until.is_none() && held >= SUBSCRIBERS_MAX {
                continue;
            }
            self.subscriptions.theirs.entry(subject).or_default().insert(from, until);
            held += usize::from(held_until.is_none());
            // Whoever let it lapse has heard nothing since.
            if held_until.is_none_or(|until| until <= now.instant) {
                let parcels = self.known_about(subject);
                self.send_found(from, parcels);
            }
            // After that: with observers named, verdicts count, and those of an earlier life are void by the presence only.
            if subject.0 == self.me.0 {
                self.name_observers(now, from);
            }
        }
    }

    /// A link is new. What went over the last one may be lost: its peer hears all again once it asks.
    pub(super) fn forget_subscriber(&mut self, peer: NodeId) {
        self.subscriptions.theirs.retain(|_, peers| {
            peers.remove(&peer);
            !peers.is_empty()
        });
    }

    /// Lapsed ones go, but not at each message: there are as many of those as of subscribers.
    fn sweep_subscriptions(&mut self, now: Now) {
        if now.instant < self.subscriptions.swept + SWEEP {
            return;
        }
        self.subscriptions.swept = now.instant;
        self.subscriptions.theirs.retain(|_, peers| {
            peers.retain(|_, until| *until > now.instant);
            !peers.is_empty()
        });
    }

    /// All that a subscriber may hear of a subject.
    fn known_about(&self, subject: Subject) -> Vec<Parcel> {
        let presence = self.set.find_any(Kind::PRESENCE, subject);
        let verdicts = self.tally.votes_about(NodeId(subject.0));
        let others = self
            .set
            .of_tier(Tier::Asked)
            .filter(|known| known.body.subject == subject && known.body.scope == Scope::Subscribers);
        presence.into_iter().chain(verdicts).chain(others).map(|known| Parcel(known.clone())).collect()
    }

    /// A record is new here: those who asked hear it, if the tree does not bring it to them.
    pub(super) fn tell_subscribers(&mut self, record: &Shared, from: Option<NodeId>) {
        if record.body.scope == Scope::Mesh {
            return;
        }
        let Some(peers) = self.subscriptions.theirs.get(&Self::subjects_of(record)) else { return };
        let tier = self.set.tier(record.body.scope);
        let told: Vec<NodeId> =
            peers.keys().copied().filter(|node| Some(*node) != from && !self.shares(tier, *node)).collect();
        for node in told {
            self.send(node, Message::Found(vec![Parcel(self.with_certificate(record))]));
        }
    }

    /// A record as readers far away need it: with its signer's certificate.
    fn with_certificate(&self, record: &Shared) -> Shared {
        if record.record.certificate.is_some() {
            return record.clone();
        }
        let Some(by) = self.set.certificate(&NodeId(record.signer().0)) else { return record.clone() };
        let mut carried = record.record.clone();
        carried.certificate = Some(by.signed.clone());
        Shared::new(crate::record::Known::of(carried, record.body.clone()))
    }

    fn contact_of(&self, now: Now, node: NodeId, jurisdiction: Jurisdiction) -> Contact {
        Contact { node, addresses: self.addresses_of(node), jurisdiction, seen: now.wall }
    }

    /// Tells a subscriber of this node who watches it.
    fn name_observers(&mut self, now: Now, to: NodeId) {
        let inner = self.field().draw(self.me, Some(self.operator), inner_of(self.config.observers));
        let inner = inner.into_iter().map(|node| self.contact_of(now, node, self.home)).collect();
        let law = |node: &NodeId| self.set.certificate(node).map(|it| it.certificate.jurisdiction);
        let outer = self.outer_observers().into_iter().filter_map(|node| Some((node, law(&node)?)));
        let outer = outer.map(|(node, law)| self.contact_of(now, node, law)).take(CONTACTS_MAX).collect();
        self.send(to, Message::Observers { inner, outer });
    }

    pub(super) fn on_observers(&mut self, now: Now, from: NodeId, inner: Vec<Contact>, outer: Vec<Contact>) {
        if !self.subscriptions.ours.contains(&Subject(from.0)) {
            return;
        }
        let nodes = |contacts: &[Contact]| contacts.iter().map(|it| it.node).collect();
        let roster = Roster { inner: nodes(&inner), outer: nodes(&outer) };
        self.subscriptions.rosters.insert(from, roster);
        inner.into_iter().chain(outer).for_each(|contact| self.remember(now, contact));
        self.want_observers();
        self.count(now, from);
    }

    fn want_observers(&mut self) {
        let rosters = self.subscriptions.rosters.values();
        let now_wanted: BTreeSet<NodeId> =
            rosters.flat_map(|it| it.inner.iter().chain(&it.outer)).copied().filter(|it| *it != self.me).collect();
        for node in self.wants.of(Reason::Subscribed) {
            if !now_wanted.contains(&node) {
                self.unwant(node, Reason::Subscribed);
            }
        }
        for node in now_wanted {
            self.want(node, Reason::Subscribed);
        }
    }

    /// This node's verdict on a node of another jurisdiction: some there spread it.
    pub(super) fn tell_abroad(&mut self, record: &Shared) {
        let Scope::Jurisdiction(jurisdiction) = record.body.scope else { return };
        let about = Self::subjects_of(record);
        let mut there: Vec<NodeId> = self
            .links
            .iter()
            .filter(|(node, link)| link.jurisdiction == jurisdiction && node.0 != about.0)
            .map(|(node, _)| *node)
            .collect();
        self.rng.shuffle(&mut there);
        if there.is_empty() {
            let gates = self.gates.nodes(|it| it == jurisdiction);
            let gates = gates.into_iter().filter(|gate| gate.0 != about.0).take(TOLD_ABROAD);
            gates.for_each(|gate| self.want(gate, Reason::Gate));
        }
        for node in there.into_iter().take(TOLD_ABROAD) {
            self.send(node, Message::Found(vec![Parcel(record.clone())]));
        }
    }

    /// A link came up: its jurisdiction may not have heard this node's verdicts, nor the peer its subscriptions.
    pub(super) fn catch_up(&mut self, node: NodeId, jurisdiction: Jurisdiction) {
        self.ask_if_it_knows(node);
        let ours = |known: &&Shared| known.signer().0 == self.me.0;
        let meant = Scope::Jurisdiction(jurisdiction);
        let verdicts = self.set.of_kind(Tier::Asked, Kind::VERDICT).filter(ours);
        let parcels = verdicts.filter(|it| it.body.scope == meant).map(|it| Parcel(it.clone())).collect();
        self.send_found(node, parcels);
    }

    /// Links to gates are given up once no verdict of this node waits for them.
    pub(super) fn give_up_gates(&mut self) {
        let ours = |known: &&Shared| known.signer().0 == self.me.0;
        if self.set.of_kind(Tier::Asked, Kind::VERDICT).any(|it| ours(&it)) {
            return;
        }
        for node in self.wants.of(Reason::Gate) {
            self.unwant(node, Reason::Gate);
        }
    }
}
