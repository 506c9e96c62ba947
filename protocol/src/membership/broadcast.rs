//! The broadcast: records in full along a tree of overlay links (see `tree`), their headers along the others; whoever
//! hears of a record that the tree does not bring fetches it (after Leitão's *Plumtree*). Its signer sends it to all
//! neighbours at once.
//!
//! There are two trees, one for the mesh and one for this node's jurisdiction.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Membership, Timer,
    io::Output,
    verdict::Verdict,
    wire::{HEADERS_MAX, Message, Parcel, RECORDS_BYTES_MAX, RECORDS_MAX},
};
use crate::{
    id::NodeId,
    machine::Deadline,
    record::{Header, Inserted, Kind, Shared, Standing, Subject, Tier},
    time::{Instant, Now, Timestamp},
};

/// A record is news for so long, however it came here.
const NEWS: Duration = Duration::from_secs(15);

/// Records announced and not here yet. More are left to repair.
const MISSING_MAX: usize = 8_192;

/// Announcers remembered of each.
const SOURCES_MAX: usize = 4;

/// Records sent at one request; the rest comes by repair.
pub(super) const GIVEN_MAX: usize = 2_048;

/// Whoever was asked for a record that it announced has so long, and one round trip, before the next is asked.
const ANSWER_SLACK: Duration = Duration::from_millis(50);

/// So many records in a row that the tree did not bring, and announced ones are fetched at once.
const PATIENCE_GONE: u32 = 4;

/// How a record came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// This node said it.
    Own,
    /// Down the tree.
    Pushed,
    /// Asked for, or lacked.
    Found,
}

#[derive(Debug)]
struct Missing {
    header: Header,
    sources: Vec<NodeId>,
    due: Instant,
    /// Of one source at least.
    asked: bool,
}

/// Which links are in which tree, and what is about to go down them.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// Links in the tree, to the parent and to children: both ends push.
    pub(super) eager: BTreeSet<(Tier, NodeId)>,
    /// Of this step: sent at its end, several in one message.
    pushes: BTreeMap<NodeId, Vec<Parcel>>,
    prunes: BTreeSet<(Tier, NodeId)>,
    announce: BTreeMap<NodeId, Vec<Header>>,
    /// A wake-up is set for them.
    announcing: bool,
    missing: BTreeMap<(Tier, Kind, u64), Missing>,
    /// Records that a tree did not bring, less those that it brought while they were awaited. The more, the less it is
    /// waited for: whoever sits beside a liar fetches what is announced as soon as it is.
    failed: BTreeMap<Tier, u32>,
}

impl Trees {
    pub(super) fn forget(&mut self, node: NodeId) {
        self.eager.retain(|(_, other)| *other != node);
        self.pushes.remove(&node);
        self.announce.remove(&node);
    }

    /// A node has a record, for it just said so: it need not be told of it.
    fn is_known_to(&mut self, node: NodeId, header: &Header) {
        if let Some(headers) = self.announce.get_mut(&node) {
            headers.retain(|ours| ours.slot() != header.slot() || ours.outranks(header));
        }
    }

    /// How long the tree of a tier is waited for: half as long after each failure.
    fn patience(&self, tier: Tier, whole: Duration) -> Duration {
        match self.failed.get(&tier).copied().unwrap_or(0) {
            failed if failed >= PATIENCE_GONE => Duration::ZERO,
            failed => whole / (1 << failed),
        }
    }

    fn tree_failed(&mut self, tier: Tier) {
        let failed = self.failed.entry(tier).or_default();
        *failed = (*failed + 1).min(PATIENCE_GONE);
    }

    fn tree_kept_up(&mut self, tier: Tier) {
        if let Some(failed) = self.failed.get_mut(&tier) {
            *failed = failed.saturating_sub(1);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.missing.values().map(|missing| missing.due).min()
    }
}

/// Cuts records into messages within the bounds.
pub(super) fn packed(parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
    let mut messages: Vec<Vec<Parcel>> = Vec::new();
    let mut bytes = 0;
    for parcel in parcels {
        let size = parcel.record.signed.envelope().payload.len() + 1_024;
        if bytes + size > RECORDS_BYTES_MAX || messages.last().is_none_or(|last| last.len() >= RECORDS_MAX) {
            messages.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        messages.last_mut().expect("one was pushed if there was none").push(parcel);
    }
    messages
}

impl Membership {
    /// Takes in records from a peer.
    pub(super) fn take(&mut self, now: Now, from: NodeId, parcels: Vec<Parcel>, how: How) {
        for Parcel(record) in parcels {
            let tier = self.set.tier(record.body.scope);
            if tier == Tier::Asked && !self.is_wanted(&record) {
                self.refused(from, crate::record::Refused::NotForHere.to_string());
                continue;
            }
            if record.signer().0 == self.me.0 && !self.is_ours(tier, &record) {
                self.overtaken(now, &record);
                continue;
            }
            self.take_one(now, from, tier, &record, how);
        }
    }

    /// Whether a record signed by this node's key is one that this process signed, or an older one.
    fn is_ours(&self, tier: Tier, record: &Shared) -> bool {
        let ours = self.set.find(tier, record.body.kind, record.body.subject);
        ours.is_some_and(|ours| ours.body.order >= record.body.order)
    }

    fn take_one(&mut self, now: Now, from: NodeId, tier: Tier, record: &Shared, how: How) {
        match self.set.insert(record, now.wall) {
            Inserted::Fresh | Inserted::Newer(_) => self.learned(now, record, Some(from), how),
            Inserted::Duplicate => {
                self.trees.is_known_to(from, &Header::of(tier, record));
                // A link of the tree may bring one twice while the tree changes; any other is not in it by right.
                if how == How::Pushed && tier != Tier::Asked && !self.trees.eager.contains(&(tier, from)) {
                    self.trees.prunes.insert((tier, from));
                }
                if self.is_by_the_tree(tier, record, Some(from), how) {
                    self.trees.tree_kept_up(tier);
                }
            }
            Inserted::Stale => {}
            Inserted::Contradiction { kept, proof } => {
                self.accuse(&proof);
                if kept.hash == record.hash {
                    self.learned(now, record, Some(from), how);
                } else {
                    self.spread(now, tier, record, Some(from), how);
                }
            }
            Inserted::Refused(reason) => self.refused(from, reason.to_string()),
        }
    }

    /// A record is in force from now on.
    pub(super) fn learned(&mut self, now: Now, record: &Shared, from: Option<NodeId>, how: How) {
        let tier = self.set.tier(record.body.scope);
        let header = Header::of(tier, record);
        let by_the_tree = self.is_by_the_tree(tier, record, from, how);
        if let Some(from) = from.filter(|_| by_the_tree) {
            self.parent_brought(tier, from);
        }
        if self.trees.missing.get(&header.slot()).is_some_and(|missing| !missing.header.outranks(&header)) {
            self.trees.missing.remove(&header.slot());
            if by_the_tree {
                self.trees.tree_kept_up(tier);
            }
        }
        self.outbox.push(Output::Learned(record.clone()));
        self.spread(now, tier, record, from, how);
        match record.body.kind {
            Kind::PRESENCE => self.on_presence(now, record),
            Kind::VERDICT => self.on_verdict(now, record),
            _ => {}
        }
    }

    /// Whether a record came down the tree, and not from its signer, who tells all his neighbours.
    fn is_by_the_tree(&self, tier: Tier, record: &Shared, from: Option<NodeId>, how: How) -> bool {
        how == How::Pushed
            && from.is_some_and(|from| record.signer().0 != from.0 && self.trees.eager.contains(&(tier, from)))
    }

    fn spread(&mut self, now: Now, tier: Tier, record: &Shared, from: Option<NodeId>, how: How) {
        self.tell_subscribers(record, from);
        self.tell_outsiders(record, from);
        if tier == Tier::Asked {
            if how == How::Own {
                self.tell_abroad(record);
            }
            return;
        }
        let header = Header::of(tier, record);
        // Old records that repair found are known nearly everywhere; a young one is a newcomer's, or one that was lost.
        let pushed = how != How::Found || now.wall <= Timestamp(record.body.order.version) + NEWS;
        for (node, jurisdiction) in &self.overlay.active {
            if Some(*node) == from || (tier == Tier::Home && *jurisdiction != self.home) {
                continue;
            }
            // Who says something tells all his neighbours: from several places of the tree it is sooner at the others, and
            // his own place in it may just be lost.
            if how == How::Own || (pushed && self.trees.eager.contains(&(tier, *node))) {
                self.trees.pushes.entry(*node).or_default().push(Parcel(record.clone()));
            } else {
                self.trees.announce.entry(*node).or_default().push(header);
            }
        }
        let beside = |node: &&NodeId| !self.overlay.active.contains_key(node) && self.links.contains_key(node);
        for node in self.watch.drawn.iter().filter(beside).filter(|node| tier == Tier::Home && Some(**node) != from) {
            self.trees.announce.entry(*node).or_default().push(header);
        }
    }

    /// Ends a step: sends what it put on the trees.
    pub(super) fn flush(&mut self, now: Now) {
        for (tier, node) in std::mem::take(&mut self.trees.prunes) {
            self.send(node, Message::Prune(tier));
        }
        for (node, parcels) in std::mem::take(&mut self.trees.pushes) {
            for parcels in packed(parcels) {
                self.send(node, Message::Records(parcels));
            }
        }
        if !self.trees.announce.is_empty() && !self.trees.announcing {
            self.trees.announcing = true;
            // Two neighbours that hear of it together do not both tell the other: by then one of them has heard.
            let least = self.config.announce_after;
            let wait = least + self.rng.duration_below(least);
            self.wake(Timer::Announce, now.instant + wait, "headers wait");
        }
        let next = self.trees.next_due().map(|at| Deadline { at, reason: "an announced record is missing" });
        self.agenda.set(Timer::Missing, next);
    }

    pub(super) fn announce(&mut self) {
        self.trees.announcing = false;
        for (node, mut headers) in std::mem::take(&mut self.trees.announce) {
            headers.truncate(HEADERS_MAX);
            if !headers.is_empty() {
                self.send(node, Message::Announce(headers));
            }
        }
    }

    pub(super) fn on_announce(&mut self, now: Now, from: NodeId, headers: &[Header]) {
        for header in headers {
            self.trees.is_known_to(from, header);
            if !self.shares(header.tier, from) || self.set.standing(header) != Standing::Lacking {
                continue;
            }
            let patience = self.trees.patience(header.tier, self.config.graft_after);
            let wait = if patience.is_zero() { patience } else { patience + self.round_trip(from) };
            let due = now.instant + wait;
            let room = self.trees.missing.len() < MISSING_MAX;
            match self.trees.missing.get_mut(&header.slot()) {
                Some(missing) if header.outranks(&missing.header) => {
                    *missing = Missing { header: *header, sources: vec![from], due, asked: false };
                }
                Some(missing) if missing.sources.len() < SOURCES_MAX && !missing.sources.contains(&from) => {
                    missing.sources.push(from);
                }
                None if room => {
                    let missing = Missing { header: *header, sources: vec![from], due, asked: false };
                    self.trees.missing.insert(header.slot(), missing);
                }
                Some(_) | None => {}
            }
        }
    }

    /// Asks for what the tree did not bring.
    pub(super) fn fetch_missing(&mut self, now: Now) {
        let mut asks: BTreeMap<NodeId, Vec<Header>> = BTreeMap::new();
        let links = &self.links;
        let mut failed = Vec::new();
        self.trees.missing.retain(|_, missing| {
            if missing.due > now.instant {
                return true;
            }
            missing.sources.retain(|node| links.contains_key(node));
            if missing.sources.is_empty() {
                return false;
            }
            let source = missing.sources.remove(0);
            let round_trip = links.get(&source).map_or(Duration::ZERO, |link| link.round_trip);
            // Whoever announced it has it: an answer takes a round trip, or it is a lie and the next one is asked.
            missing.due = now.instant + ANSWER_SLACK + round_trip;
            if !std::mem::replace(&mut missing.asked, true) {
                failed.push(missing.header.tier);
            }
            asks.entry(source).or_default().push(missing.header);
            true
        });
        for tier in failed {
            self.trees.tree_failed(tier);
            self.parent_failed(now, tier);
        }
        for (source, missing) in asks {
            self.send(source, Message::Fetch(missing));
        }
    }

    /// Sends what is here of these, or newer, as far as the peer may see it.
    pub(super) fn give(&mut self, to: NodeId, headers: &[Header]) {
        let parcels = headers
            .iter()
            .filter(|header| self.shares(header.tier, to))
            .take(GIVEN_MAX)
            .filter_map(|header| self.set.in_slot(header).filter(|ours| ours.body.order >= header.order))
            .map(|known| Parcel(known.clone()))
            .collect();
        self.send_found(to, parcels);
    }

    pub(super) fn send_found(&mut self, to: NodeId, parcels: Vec<Parcel>) {
        for parcels in packed(parcels) {
            self.send(to, Message::Found(parcels));
        }
    }

    /// Whether both this node and a peer hold a tier.
    pub(super) fn shares(&self, tier: Tier, peer: NodeId) -> bool {
        match tier {
            Tier::Mesh => true,
            Tier::Home => self.links.get(&peer).is_some_and(|link| link.jurisdiction == self.home),
            Tier::Asked => false,
        }
    }

    /// The subjects under which subscribers may have asked for a record.
    pub(super) fn subjects_of(record: &Shared) -> Subject {
        match record.body.kind {
            Kind::VERDICT => Verdict::read(record).map_or(record.body.subject, |it| Subject(it.about.0)),
            _ => record.body.subject,
        }
    }
}
