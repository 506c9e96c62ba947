//! The overlay: a few symmetric neighbours, most of them in this node's jurisdiction so that its records find their way
//! there, and at least one outside so that the mesh hangs together; and contacts to fall back on (Leitão's *HyParView*).
//!
//! Contacts are hints by anybody, and whoever wants to surround a node tells it of its fellows and urges them upon it. So
//! some neighbours are of this node's own choice, by operators not among its neighbours yet, and give way to nobody;
//! whoever came uninvited gives way to the next who does (E. Heilman and others, *Eclipse Attacks on Bitcoin's
//! Peer-to-Peer Network*, 2015). Those of the last run are asked first after a restart.
//!
//! Contacts are exchanged now and then. One of this jurisdiction whose presence is not known here shows that the
//! jurisdiction has fallen into parts that do not hear each other: it becomes a neighbour at once.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Membership, Timer,
    io::{Address, Output, Presence},
    wants::Reason,
    wire::{CONTACTS_MAX, Contact, Message},
};
use crate::{
    codec::{self, Blob},
    id::{NodeId, OperatorId},
    record::{Kind, Settled, Subject, Tier},
    resources::Jurisdiction,
    time::{Instant, Now, Timestamp},
};

/// Up to so many nodes all are neighbours of all: a small mesh is whole at once, and one hop wide.
const SMALL: usize = 8;

/// A link or an answer that does not come within this is not waited for.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// A contact that failed is left alone for so long.
const FAILED_FOR: Duration = Duration::from_secs(20);

/// Contacts that nobody had a link to for so long are not passed on.
const CONTACT_AGE_MAX: Duration = Duration::from_mins(10);

/// How often the overlay is looked at when nothing is missing, and how often contacts are exchanged.
const SHUFFLE: Duration = Duration::from_secs(10);

/// How soon it is looked at again when something is.
const FILL_AGAIN: Duration = Duration::from_millis(500);

/// Contacts kept on disk for the next start.
const CACHED_MAX: usize = 64;

/// How often it is looked whether they have to be written again. A node that dies earlier than this after it met the mesh
/// for the first time needs its bootstrap nodes once more.
pub(super) const CACHE_EVERY: Duration = Duration::from_secs(5);

/// Key of the peer cache in the store.
pub(super) const CACHE: &str = "membership/peers";

/// A contact may be this new: others' clocks differ.
const SEEN_AHEAD_MAX: Duration = Duration::from_secs(5);

/// So many neighbours of this jurisdiction are of this node's own choice, as far as there are any to choose.
const CHOSEN_MIN: usize = 2;

/// Neighbours of the last run that are asked before anybody else: so many, longest known first.
const ANCHORS: usize = 4;

/// Contacts that one peer told of and that nobody met: of `passive_max` no more than this share are one peer's.
const TOLD_SHARE: usize = 4;

/// Neighbours and those who may become some.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Neighbours, each with its jurisdiction.
    pub(super) active: BTreeMap<NodeId, Jurisdiction>,
    /// Neighbours that this node asked, and not they it.
    chosen: BTreeSet<NodeId>,
    /// Neighbours of the last run.
    anchors: Vec<NodeId>,
    /// Who told of a contact that was not met yet.
    told: BTreeMap<NodeId, NodeId>,
    /// Known, neighbours included: at most `passive_max` beside neighbours.
    pub(super) contacts: BTreeMap<NodeId, Contact>,
    /// Asked, or about to be once linked; given up at.
    pending: BTreeMap<NodeId, Instant>,
    pub(super) failed: BTreeMap<NodeId, Instant>,
    /// Who and where, as last written to disk.
    cached: BTreeMap<NodeId, Vec<Address>>,
}

/// How many neighbours of each class there are, may be, and could be found.
struct Room {
    capacity: usize,
    homes: usize,
    abroads: usize,
    home_target: usize,
    abroad_target: usize,
    home_max: usize,
    abroad_max: usize,
}

impl Overlay {
    fn forget(&mut self, node: &NodeId) {
        if !self.active.contains_key(node) {
            self.contacts.remove(node);
        }
        self.told.remove(node);
    }
}

/// Reads the peer cache of an earlier run.
pub(super) fn cached(stored: Option<&Blob>) -> Vec<Contact> {
    stored.and_then(|bytes| codec::decode("peer cache", bytes).ok()).unwrap_or_default()
}

impl Membership {
    /// Where a node was last said to be.
    pub(super) fn addresses_of(&self, node: NodeId) -> Vec<Address> {
        let presence = self.set.find_any(Kind::PRESENCE, Subject(node.0)).and_then(|known| Presence::read(known));
        let known = presence.map(|presence| presence.addresses).filter(|addresses| !addresses.is_empty());
        known
            .or_else(|| self.overlay.contacts.get(&node).map(|contact| contact.addresses.clone()))
            .or_else(|| self.gates.addresses_of(node))
            .unwrap_or_default()
    }

    fn me(&self, now: Now) -> Contact {
        Contact { node: self.me, addresses: self.addresses.clone(), jurisdiction: self.home, seen: now.wall }
    }

    /// Nodes that could become neighbours, of this jurisdiction or of others, in order of their ids.
    fn candidates(&self, home: bool) -> BTreeSet<NodeId> {
        self.candidates_up_to(home, usize::MAX)
    }

    /// How many there are or could be of a class: `have`, and as many more as make a difference. It is asked often, and a
    /// jurisdiction may be large.
    fn possible(&self, home: bool, have: usize) -> usize {
        let enough = SMALL.max(self.config.active_max);
        have + self.candidates_up_to(home, enough.saturating_sub(have)).len()
    }

    fn candidates_up_to(&self, home: bool, max: usize) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        if self.is_outside() {
            return found;
        }
        let is_class = |jurisdiction: Jurisdiction| (jurisdiction == self.home) == home;
        let contacts = self.overlay.contacts.values().filter(|it| is_class(it.jurisdiction)).map(|it| it.node);
        let links = self.links.iter().filter(|(_, link)| is_class(link.jurisdiction)).map(|(node, _)| *node);
        let presences = self.set.of_kind(Tier::Home, Kind::PRESENCE).map(|known| NodeId(known.body.subject.0));
        let known = contacts.chain(links).chain(presences.filter(|_| home)).chain(self.gates.nodes(is_class));
        for node in known {
            if found.len() >= max {
                break;
            }
            if self.may_court(node) {
                found.insert(node);
            }
        }
        found
    }

    fn may_court(&self, node: NodeId) -> bool {
        let overlay = &self.overlay;
        let is_free = node != self.me && !overlay.active.contains_key(&node) && !overlay.failed.contains_key(&node);
        is_free && !self.is_outsider(node) && !self.tally.is_down(&node)
    }

    fn room(&self) -> Room {
        let (homes, abroads) = self.classes();
        let home_possible = self.possible(true, homes);
        let abroad_possible = self.possible(false, abroads);
        let small = home_possible + abroad_possible < SMALL;
        let capacity = if small { self.config.active_max.max(SMALL - 1) } else { self.config.active_max };
        // One place stays free for whoever comes.
        let target = if small { capacity } else { capacity - 1 };
        let home_target = target.saturating_sub(abroad_possible.min(1)).min(home_possible);
        let abroad_target = (target - home_target).min(abroad_possible);
        let home_max = capacity - abroad_possible.min(1);
        let abroad_max = capacity.saturating_sub(home_possible).max(2);
        Room { capacity, homes, abroads, home_target, abroad_target, home_max, abroad_max }
    }

    fn classes(&self) -> (usize, usize) {
        let homes = self.overlay.active.values().filter(|it| **it == self.home).count();
        (homes, self.overlay.active.len() - homes)
    }

    /// Looks for neighbours where there are too few, gives one up where there are too many.
    pub(super) fn fill(&mut self, now: Now) {
        self.give_up(now);
        let room = self.room();
        let chosen =
            self.overlay.chosen.iter().filter(|node| self.overlay.active.get(node) == Some(&self.home)).count();
        let own_choice = CHOSEN_MIN.min(room.home_target).saturating_sub(chosen);
        let own_choice = own_choice.min(self.candidates_up_to(true, own_choice).len());
        let lacking = room.homes < room.home_target || room.abroads < room.abroad_target;
        self.seek(now, true, room.home_target.saturating_sub(room.homes).max(own_choice));
        self.seek(now, false, room.abroad_target.saturating_sub(room.abroads));
        self.shrink();
        let wait = if lacking || !self.overlay.pending.is_empty() { FILL_AGAIN } else { SHUFFLE };
        let wait = self.jittered(wait);
        self.wake(Timer::Fill, now.instant + wait, "look for neighbours");
    }

    /// A node was met by its presence: in a small mesh it becomes a neighbour.
    pub(super) fn fill_if_small(&mut self, now: Now) {
        if self.present.len() < SMALL {
            self.fill_now(now);
        }
    }

    /// Looks for neighbours soon.
    pub(super) fn fill_now(&mut self, now: Now) {
        self.wake(Timer::Fill, now.instant, "look for neighbours");
    }

    /// Forgets candidates that did not answer.
    fn give_up(&mut self, now: Now) {
        self.overlay.failed.retain(|_, until| *until > now.instant);
        let late: Vec<NodeId> =
            self.overlay.pending.iter().filter(|(_, until)| **until <= now.instant).map(|(node, _)| *node).collect();
        for node in late {
            self.overlay.forget(&node);
            self.overlay.anchors.retain(|anchor| *anchor != node);
            self.turned_down(now, node);
        }
    }

    fn turned_down(&mut self, now: Now, node: NodeId) {
        if self.overlay.pending.remove(&node).is_some() {
            self.overlay.failed.insert(node, now.instant + FAILED_FOR);
            self.unwant(node, Reason::Neighbour);
        }
    }

    fn seek(&mut self, now: Now, home: bool, count: usize) {
        if count == 0 {
            return;
        }
        let candidates = self.candidates(home).into_iter();
        let (under_way, mut candidates): (Vec<NodeId>, Vec<NodeId>) =
            candidates.partition(|node| self.overlay.pending.contains_key(node));
        if under_way.len() >= count {
            return;
        }
        self.rng.shuffle(&mut candidates);
        // Whoever is linked already answers soonest: what a newcomer without a neighbour needs. Then who was a neighbour
        // in the last run; then who is known by its presence, of an operator that is no neighbour yet.
        let alone = self.overlay.active.is_empty();
        let near: BTreeSet<_> = self.overlay.active.keys().filter_map(|node| self.operator_of(*node)).collect();
        let met = |node: &NodeId| self.operator_of(*node).is_some_and(|operator| !near.contains(&operator));
        candidates.sort_by_cached_key(|node| {
            (!self.overlay.anchors.contains(node), alone && !self.links.contains_key(node), !met(node))
        });
        for node in candidates.into_iter().take(count - under_way.len()) {
            self.court(now, node);
        }
    }

    fn operator_of(&self, node: NodeId) -> Option<OperatorId> {
        self.set.certificate(&node).map(|by| by.operator)
    }

    /// Asks a node to be a neighbour, as soon as there is a link.
    fn court(&mut self, now: Now, node: NodeId) {
        self.overlay.pending.insert(node, now.instant + ANSWER_MAX);
        self.want(node, Reason::Neighbour);
        if self.links.contains_key(&node) {
            self.ask(now, node);
        }
    }

    fn ask(&mut self, now: Now, node: NodeId) {
        let room = self.room();
        let Some(link) = self.links.get(&node) else { return };
        let jurisdiction = link.jurisdiction;
        let (has, target) =
            if jurisdiction == self.home { (room.homes, room.home_target) } else { (room.abroads, room.abroad_target) };
        let stranger = jurisdiction == self.home && self.set.find_any(Kind::PRESENCE, Subject(node.0)).is_none();
        let urgent = has * 2 < target || stranger;
        let contacts = self.sample(now, jurisdiction, node);
        let me = self.me(now);
        self.send(node, Message::Neighbour { urgent, me, contacts });
    }

    /// A link came up: it may be one that was waited for.
    pub(super) fn linked(&mut self, now: Now, node: NodeId) {
        self.overlay.failed.remove(&node);
        self.overlay.told.remove(&node);
        if self.overlay.pending.contains_key(&node) {
            self.ask(now, node);
            return;
        }
        let room = self.room();
        if room.homes < room.home_target || room.abroads < room.abroad_target {
            self.fill_now(now);
        }
    }

    pub(super) fn unlinked(&mut self, now: Now, node: NodeId) {
        if self.overlay.active.contains_key(&node) {
            self.drop_neighbour(node);
        }
        self.fill_now(now);
    }

    pub(super) fn on_neighbour(&mut self, now: Now, from: NodeId, urgent: bool, me: Contact, contacts: Vec<Contact>) {
        let Some(link) = self.links.get(&from) else { return };
        let jurisdiction = link.jurisdiction;
        self.meet(now, from, jurisdiction, me, contacts);
        let accepted = self.admit(from, jurisdiction, urgent);
        if accepted {
            self.add_neighbour(now, from, jurisdiction);
        }
        let contacts = self.sample(now, jurisdiction, from);
        let me = self.me(now);
        self.send(from, Message::Welcome { accepted, me, contacts });
        self.fill_now(now);
    }

    /// Whether there is room for a neighbour; makes some for an urgent one.
    fn admit(&mut self, node: NodeId, jurisdiction: Jurisdiction, urgent: bool) -> bool {
        if self.overlay.active.contains_key(&node) {
            return true;
        }
        let room = self.room();
        let home = jurisdiction == self.home;
        let class_full = if home { room.homes >= room.home_max } else { room.abroads >= room.abroad_max };
        if !class_full && self.overlay.active.len() < room.capacity {
            return true;
        }
        urgent && self.part_with_one(if class_full { home } else { room.homes >= room.abroads })
    }

    /// Gives up whoever is too many: those that came uninvited first, then some of this node's choice, for a mesh that grew
    /// out of being small leaves it with more of them than it may have.
    fn shrink(&mut self) {
        loop {
            let room = self.room();
            let home = room.homes > room.home_max;
            if self.overlay.active.len() <= room.capacity
                || !(self.part_with_one(home) || self.part_with_one_of(home, |_, _| true))
            {
                return;
            }
        }
    }

    /// Gives up a random neighbour of a class that is not of this node's choice; false if there is none.
    fn part_with_one(&mut self, home: bool) -> bool {
        self.part_with_one_of(home, |overlay, node| !overlay.chosen.contains(node))
    }

    fn part_with_one_of(&mut self, home: bool, may: impl Fn(&Overlay, &NodeId) -> bool) -> bool {
        let of_class = |jurisdiction: &Jurisdiction| (*jurisdiction == self.home) == home;
        let active = self.overlay.active.iter();
        let class: Vec<NodeId> = active
            .filter(|(node, jurisdiction)| of_class(jurisdiction) && may(&self.overlay, node))
            .map(|(node, _)| *node)
            .collect();
        let Some(index) = self.rng.index(class.len()) else { return false };
        self.send(class[index], Message::Part);
        self.drop_neighbour(class[index]);
        true
    }

    pub(super) fn on_welcome(&mut self, now: Now, from: NodeId, accepted: bool, me: Contact, contacts: Vec<Contact>) {
        let Some(link) = self.links.get(&from) else { return };
        let jurisdiction = link.jurisdiction;
        let asked = self.overlay.pending.contains_key(&from);
        self.meet(now, from, jurisdiction, me, contacts);
        if !asked {
            // An answer to a question that was given up: the other side must not count on this one.
            if accepted && !self.overlay.active.contains_key(&from) {
                self.send(from, Message::Part);
            }
        } else if accepted {
            self.overlay.chosen.insert(from);
            self.add_neighbour(now, from, jurisdiction);
        } else {
            self.turned_down(now, from);
        }
        self.fill_now(now);
    }

    pub(super) fn on_part(&mut self, now: Now, from: NodeId) {
        if self.overlay.active.contains_key(&from) {
            self.drop_neighbour(from);
            self.fill_now(now);
        }
    }

    fn add_neighbour(&mut self, now: Now, node: NodeId, jurisdiction: Jurisdiction) {
        self.overlay.pending.remove(&node);
        self.want(node, Reason::Neighbour);
        if self.overlay.active.insert(node, jurisdiction).is_none() {
            self.join_trees(node);
            // One of the two begins, whoever asked the other first.
            if self.me < node {
                self.compare(node, Settled::with_young(now.wall));
            }
        }
    }

    pub(super) fn drop_neighbour(&mut self, node: NodeId) {
        self.overlay.active.remove(&node);
        self.overlay.chosen.remove(&node);
        self.overlay.anchors.retain(|anchor| *anchor != node);
        self.unwant(node, Reason::Neighbour);
        self.leave_trees(node);
    }

    /// A neighbour is silent though its link stands.
    pub(super) fn neighbour_silent(&mut self, now: Now, node: NodeId) {
        self.overlay.failed.insert(node, now.instant + FAILED_FOR);
        self.drop_neighbour(node);
        self.fill_now(now);
    }

    fn meet(&mut self, now: Now, from: NodeId, jurisdiction: Jurisdiction, me: Contact, contacts: Vec<Contact>) {
        self.remember(now, Contact { node: from, jurisdiction, seen: now.wall, ..me });
        self.hear_of(now, from, contacts);
    }

    /// Keeps contacts that a peer told of, no more of one peer than its share.
    fn hear_of(&mut self, now: Now, from: NodeId, contacts: Vec<Contact>) {
        let share = (self.config.passive_max / TOLD_SHARE).max(1);
        for contact in contacts {
            let node = contact.node;
            if self.overlay.contacts.contains_key(&node) {
                self.remember(now, contact);
                continue;
            }
            let told: Vec<NodeId> =
                self.overlay.told.iter().filter(|(_, by)| **by == from).map(|(it, _)| *it).collect();
            if told.len() >= share
                && let Some(index) = self.rng.index(told.len())
            {
                self.overlay.forget(&told[index]);
            }
            self.remember(now, contact);
            if self.overlay.contacts.contains_key(&node) {
                self.overlay.told.insert(node, from);
            }
        }
    }

    /// Keeps a contact, the latest word of each; beyond the bound a random one that is no neighbour goes.
    pub(super) fn remember(&mut self, now: Now, mut contact: Contact) {
        if contact.node == self.me || contact.addresses.is_empty() {
            return;
        }
        contact.seen = contact.seen.min(now.wall + SEEN_AHEAD_MAX);
        if self.overlay.contacts.get(&contact.node).is_some_and(|known| known.seen >= contact.seen) {
            return;
        }
        if contact.seen + CONTACT_AGE_MAX < now.wall {
            return;
        }
        self.overlay.contacts.insert(contact.node, contact);
        let overlay = &mut self.overlay;
        if overlay.contacts.len() <= self.config.passive_max {
            return;
        }
        let mut spare: Vec<NodeId> =
            overlay.contacts.keys().filter(|node| !overlay.active.contains_key(node)).copied().collect();
        while spare.len() > self.config.passive_max {
            let Some(chosen) = self.rng.index(spare.len()) else { return };
            overlay.forget(&spare.swap_remove(chosen));
        }
    }

    /// Some contacts for a peer of a jurisdiction: most of them of its own.
    fn sample(&mut self, now: Now, jurisdiction: Jurisdiction, to: NodeId) -> Vec<Contact> {
        self.freshen(now.wall);
        let mut all: Vec<&Contact> = self
            .overlay
            .contacts
            .values()
            .filter(|it| it.node != to && now.wall <= it.seen + CONTACT_AGE_MAX)
            .collect();
        self.rng.shuffle(&mut all);
        let (theirs, others): (Vec<&Contact>, Vec<&Contact>) =
            all.into_iter().partition(|it| it.jurisdiction == jurisdiction);
        let others_least = others.len().min(CONTACTS_MAX / 4);
        let theirs = theirs.into_iter().take(CONTACTS_MAX - others_least);
        theirs.chain(others).take(CONTACTS_MAX).cloned().collect()
    }

    /// Linked nodes are seen now.
    fn freshen(&mut self, wall: Timestamp) {
        for (node, contact) in &mut self.overlay.contacts {
            if self.links.contains_key(node) {
                contact.seen = contact.seen.max(wall);
            }
        }
    }

    /// Exchanges contacts with a random neighbour, and looks for parts of the jurisdiction that are not heard here.
    pub(super) fn shuffle(&mut self, now: Now) {
        let neighbours: Vec<(NodeId, Jurisdiction)> = self.overlay.active.iter().map(|(n, j)| (*n, *j)).collect();
        if let Some(chosen) = self.rng.index(neighbours.len()) {
            let (node, jurisdiction) = neighbours[chosen];
            let mut contacts = self.sample(now, jurisdiction, node);
            contacts.truncate(CONTACTS_MAX - 1);
            contacts.push(self.me(now));
            self.send(node, Message::Shuffle { answer: false, contacts });
        }
        self.court_a_stranger(now);
        let wait = self.jittered(SHUFFLE);
        self.wake(Timer::Shuffle, now.instant + wait, "exchange contacts");
    }

    fn court_a_stranger(&mut self, now: Now) {
        let strangers: Vec<NodeId> = self
            .candidates(true)
            .into_iter()
            .filter(|node| !self.overlay.pending.contains_key(node))
            .filter(|node| self.set.find(Tier::Home, Kind::PRESENCE, Subject(node.0)).is_none())
            .collect();
        if let Some(chosen) = self.rng.index(strangers.len()) {
            self.court(now, strangers[chosen]);
        }
    }

    pub(super) fn on_shuffle(&mut self, now: Now, from: NodeId, answer: bool, contacts: Vec<Contact>) {
        if !answer && let Some(link) = self.links.get(&from) {
            let contacts = self.sample(now, link.jurisdiction, from);
            self.send(from, Message::Shuffle { answer: true, contacts });
        }
        self.hear_of(now, from, contacts);
    }

    /// Writes the best contacts down for the next start: neighbours, then linked nodes, then the latest seen.
    pub(super) fn cache(&mut self, now: Now) {
        self.freshen(now.wall);
        let mut best: Vec<&Contact> = self.overlay.contacts.values().collect();
        best.sort_by_key(|it| {
            let (neighbour, linked) = (self.overlay.active.contains_key(&it.node), self.links.contains_key(&it.node));
            let chosen = self.overlay.chosen.contains(&it.node);
            (!chosen, !neighbour, !linked, std::cmp::Reverse(it.seen), it.node)
        });
        best.truncate(CACHED_MAX);
        // Where they are now, by their own word: a contact says where they were when they were met.
        let where_now = |it: &Contact| Contact { addresses: self.addresses_of(it.node), ..it.clone() };
        let best: Vec<Contact> = best.into_iter().map(where_now).collect();
        let cached: BTreeMap<NodeId, Vec<Address>> = best.iter().map(|it| (it.node, it.addresses.clone())).collect();
        if !cached.is_empty() && cached != self.overlay.cached {
            let value = Some(codec::encode(&best));
            self.overlay.cached = cached;
            self.outbox.push(Output::Keep { key: CACHE.into(), value });
        }
        self.wake(Timer::Cache, now.instant + CACHE_EVERY, "keep the peer cache");
    }

    /// Starts from the contacts of an earlier run, whatever their age.
    pub(super) fn recall(&mut self, contacts: Vec<Contact>, now: Now) {
        self.overlay.anchors = contacts.iter().take(ANCHORS).map(|contact| contact.node).collect();
        for contact in contacts.into_iter().take(CACHED_MAX) {
            let seen = now.wall - CONTACT_AGE_MAX / 2;
            self.remember(now, Contact { seen: contact.seen.max(seen), ..contact });
        }
    }
}
