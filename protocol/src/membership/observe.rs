//! Observers: each node is watched by a few others of distinct operators, drawn by rendezvous hashing, half inside its
//! jurisdiction and half among the gates of others (the idea is *Rapid*'s). Who is silent for some probes, also to a
//! second prober, gets a signed verdict; a quorum of them counts (see `tally`).
//!
//! A watcher who misses most of those that it watches holds its tongue: it is rather itself that is cut off.
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use super::{
    Membership, Timer,
    draw::Field,
    io::{Draft, Presence},
    verdict::{Liveness, Verdict},
    wants::Reason,
    wire::{Message, Parcel},
};
use crate::{
    codec,
    id::{NodeId, OperatorId},
    record::{Inserted, Kind, Scope, Shared, Subject, Tier},
    resources::Jurisdiction,
    time::{Instant, Now},
};

/// Observers of each node inside its own jurisdiction, of `observers` in all.
pub(super) const fn inner_of(observers: usize) -> usize {
    observers.div_ceil(2)
}

/// Nodes of other jurisdictions that one node watches; more who ask are not watched.
const OUTER_WATCHED_MAX: usize = 40;

/// How long a `Watch` or `Subscribe` holds; it is said again three times as often.
pub(super) const ASKED_FOR: Duration = Duration::from_mins(1);

/// Changes of the field are gathered for so long before observers are drawn again.
const REDRAW_AFTER: Duration = Duration::from_millis(500);

/// Observers outside that stay without a link for so long are replaced.
const OUTER_LINK_MAX: Duration = Duration::from_secs(5);

/// Neighbours that nobody here observes are probed at every so many probes: their links tell the rest.
const NEIGHBOUR_EVERY: u64 = 4;

/// Peers that have asked this node to probe another at once.
const PROBES_FOR_OTHERS_MAX: usize = 64;

/// A node that is watched, or a neighbour.
#[derive(Debug)]
struct Watched {
    /// Drawn inside the jurisdiction.
    inner: bool,
    /// Asked by a node of another jurisdiction, until.
    outer_until: Option<Instant>,
    jurisdiction: Jurisdiction,
    /// A ping is out.
    pinged: bool,
    lost: u32,
    /// What this node last said.
    said: Liveness,
}

/// Whom this node watches, and what it heard.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watched: BTreeMap<NodeId, Watched>,
    /// Pings to neighbours that nobody here observes, unanswered.
    neighbours: BTreeMap<NodeId, u32>,
    ticks: u64,
    last_tick: Instant,
    redraw_set: bool,
    /// Whom this node watches inside its jurisdiction, and who watches it: the draw gives them, so nobody chooses to be
    /// among them, and headers go to them as to neighbours.
    pub(super) drawn: BTreeSet<NodeId>,
    /// Drawn outside to watch this node, since when without a link.
    outer: BTreeMap<NodeId, Instant>,
    shunned: BTreeMap<NodeId, Instant>,
    /// Who wants to know whether these answer, until.
    for_others: BTreeMap<NodeId, BTreeMap<NodeId, Instant>>,
    next_watch: Instant,
}

impl Watched {
    fn observed(&self) -> bool {
        self.inner || self.outer_until.is_some()
    }
}

impl Membership {
    /// All nodes of this jurisdiction that count as observers: known by presence, not down.
    pub(super) fn field(&self) -> Field {
        let present = self.set.of_kind(Tier::Home, Kind::PRESENCE).map(|known| NodeId(known.body.subject.0));
        let up = present.filter(|node| !self.tally.is_down(node));
        Field::new(up.filter_map(|node| Some((node, self.set.certificate(&node)?.operator))))
    }

    /// The field changed: observers are drawn again soon.
    pub(super) fn redraw_soon(&mut self, now: Now) {
        if !self.watch.redraw_set {
            self.watch.redraw_set = true;
            self.wake(Timer::Redraw, now.instant + REDRAW_AFTER, "draw observers");
        }
    }

    /// Draws whom this node watches, and who watches it from outside.
    pub(super) fn redraw(&mut self, now: Now) {
        self.watch.redraw_set = false;
        let field = self.field();
        let count = inner_of(self.config.observers);
        let present: Vec<NodeId> =
            self.set.of_kind(Tier::Home, Kind::PRESENCE).map(|known| NodeId(known.body.subject.0)).collect();
        let drawn: BTreeSet<NodeId> = present
            .into_iter()
            .filter(|about| *about != self.me)
            .filter(|about| {
                let Some(of) = self.set.certificate(about) else { return false };
                field.draws(self.me, self.operator, *about, of.operator, count)
            })
            .collect();
        let before: Vec<NodeId> = self.watch.watched.iter().filter(|(_, it)| it.inner).map(|(node, _)| *node).collect();
        for node in before.into_iter().filter(|node| !drawn.contains(node)) {
            if let Some(watched) = self.watch.watched.get_mut(&node) {
                watched.inner = false;
            }
            self.stop_watching_unless_observed(node);
        }
        let watchers = field.draw(self.me, Some(self.operator), count);
        self.watch.drawn = drawn.iter().copied().chain(watchers).collect();
        for node in drawn {
            self.watch_node(node, self.home).inner = true;
            self.want(node, Reason::Observe);
        }
        self.draw_outer(now, &field);
        self.give_up_gates();
    }

    fn watch_node(&mut self, node: NodeId, jurisdiction: Jurisdiction) -> &mut Watched {
        self.watch.watched.entry(node).or_insert(Watched {
            inner: false,
            outer_until: None,
            jurisdiction,
            pinged: false,
            lost: 0,
            said: Liveness::Alive,
        })
    }

    fn stop_watching_unless_observed(&mut self, node: NodeId) {
        let Some(watched) = self.watch.watched.get(&node) else { return };
        if watched.observed() {
            return;
        }
        let scope = Scope::Jurisdiction(watched.jurisdiction);
        self.watch.watched.remove(&node);
        self.stop_renewing(Kind::VERDICT, scope, Verdict::subject(node, self.me));
        self.unwant(node, Reason::Observe);
    }

    /// How many observers outside a node draws: as many as it lacks inside, too.
    pub(super) fn outer_wanted(&self, inner: usize) -> usize {
        self.config.observers.saturating_sub(inner.min(inner_of(self.config.observers)))
    }

    /// Who may watch nodes of this jurisdiction from outside: gates, and linked nodes where no gates are known.
    pub(super) fn outside(&self) -> Field {
        let mut candidates = self.gates.nodes(|jurisdiction| jurisdiction != self.home);
        candidates.extend(self.links.iter().filter(|(_, link)| link.jurisdiction != self.home).map(|(node, _)| *node));
        candidates.sort_unstable();
        candidates.dedup();
        candidates.retain(|node| !self.watch.shunned.contains_key(node) && !self.tally.is_down(node));
        let linked = |node: &NodeId| self.links.get(node);
        candidates.retain(|node| linked(node).is_none_or(|it| self.gates.may_be_gate(it.jurisdiction, *node)));
        // Of a gate that was never met the operator is not known: each counts as one until it is.
        let operator = |node: &NodeId| self.set.certificate(node).map_or(OperatorId(node.0), |it| it.operator);
        Field::new(candidates.iter().map(|node| (*node, operator(node))))
    }

    /// Draws who watches this node from outside, and asks them.
    fn draw_outer(&mut self, now: Now, field: &Field) {
        self.shun_unlinked(now);
        let count = self.outer_wanted(field.others(Some(self.operator)));
        let drawn = self.outside().draw(self.me, Some(self.operator), count);
        let gone: Vec<NodeId> = self.watch.outer.keys().filter(|node| !drawn.contains(node)).copied().collect();
        for node in gone {
            self.watch.outer.remove(&node);
            self.unwant(node, Reason::Observer);
        }
        for node in drawn {
            if let Entry::Vacant(entry) = self.watch.outer.entry(node) {
                entry.insert(now.instant);
                self.want(node, Reason::Observer);
                self.ask_to_watch(node);
            }
        }
    }

    fn shun_unlinked(&mut self, now: Now) {
        self.watch.shunned.retain(|_, until| *until > now.instant);
        for (node, since) in &mut self.watch.outer {
            if self.links.contains_key(node) {
                *since = now.instant;
            } else if now.instant.since(*since) > OUTER_LINK_MAX {
                self.watch.shunned.insert(*node, now.instant + ASKED_FOR);
            }
        }
    }

    fn ask_to_watch(&mut self, node: NodeId) {
        if let Some(presence) = self.set.find(Tier::Home, Kind::PRESENCE, Subject(self.me.0)).cloned() {
            self.send(node, Message::Watch(Parcel(presence)));
        }
    }

    /// Tells the observers outside of a new presence, or again that they shall watch.
    pub(super) fn ask_all_to_watch(&mut self) {
        let outer: Vec<NodeId> = self.watch.outer.keys().copied().collect();
        for node in outer {
            self.ask_to_watch(node);
        }
    }

    /// A link came up: to somebody who shall watch this node, perhaps.
    pub(super) fn greet_observer(&mut self, now: Now, node: NodeId) {
        if self.watch.outer.contains_key(&node) {
            self.ask_to_watch(node);
        }
        if self.links.get(&node).is_some_and(|link| link.jurisdiction != self.home) {
            self.redraw_soon(now);
        }
    }

    pub(super) fn outer_observers(&self) -> Vec<NodeId> {
        self.watch.outer.keys().copied().collect()
    }

    pub(super) fn on_watch(&mut self, now: Now, from: NodeId, presence: &Shared) {
        let Some(link) = self.links.get(&from) else { return };
        let jurisdiction = link.jurisdiction;
        let about_itself = presence.body.kind == Kind::PRESENCE && presence.body.subject.0 == from.0;
        let full = self.watch.watched.values().filter(|it| it.outer_until.is_some()).count() >= OUTER_WATCHED_MAX;
        let known = self.watch.watched.get(&from).is_some_and(|it| it.outer_until.is_some());
        if jurisdiction == self.home || !about_itself || (full && !known) {
            return;
        }
        match self.set.insert(presence, now.wall) {
            Inserted::Fresh | Inserted::Newer(_) => {
                self.learned(now, presence, Some(from), super::broadcast::How::Found);
            }
            Inserted::Duplicate | Inserted::Stale | Inserted::Contradiction { .. } => {}
            Inserted::Refused(reason) => return self.refused(from, reason.to_string()),
        }
        self.watch_node(from, jurisdiction).outer_until = Some(now.instant + ASKED_FOR);
        self.want(from, Reason::Observe);
    }

    /// A peer lives, as far as this node sees.
    pub(super) fn heard(&mut self, now: Now, from: NodeId) {
        if let Some(link) = self.links.get_mut(&from) {
            link.heard = now.instant;
        }
        self.watch.neighbours.remove(&from);
        if let Some(waiting) = self.watch.for_others.remove(&from) {
            for node in waiting.into_keys() {
                self.send(node, Message::Probed(from));
            }
        }
        self.answered(now, from);
    }

    /// A watched node answered, here or to another.
    pub(super) fn answered(&mut self, now: Now, node: NodeId) {
        let Some(watched) = self.watch.watched.get_mut(&node) else { return };
        (watched.lost, watched.pinged) = (0, false);
        if watched.said != Liveness::Alive {
            self.say(now, node, Liveness::Alive);
        }
    }

    /// A presence of a higher incarnation: what was said of the one before counts no more.
    pub(super) fn reborn(&mut self, node: NodeId) {
        let Some(watched) = self.watch.watched.get_mut(&node) else { return };
        (watched.lost, watched.pinged, watched.said) = (0, false, Liveness::Alive);
        let scope = Scope::Jurisdiction(watched.jurisdiction);
        self.stop_renewing(Kind::VERDICT, scope, Verdict::subject(node, self.me));
    }

    pub(super) fn on_probe(&mut self, now: Now, from: NodeId, target: NodeId) {
        if !self.links.contains_key(&target) || target == from {
            return;
        }
        let waiting: usize = self.watch.for_others.values().map(BTreeMap::len).sum();
        if waiting < PROBES_FOR_OTHERS_MAX {
            let until = now.instant + self.config.probe * 3;
            self.watch.for_others.entry(target).or_default().insert(from, until);
            self.send(target, Message::Ping(self.watch.ticks));
        }
    }

    /// Every probe interval: counts what is silent, asks others, says what is clear.
    pub(super) fn probe(&mut self, now: Now) {
        let probe = self.config.probe;
        self.wake(Timer::Probe, now.instant + probe, "probe");
        let late = now.instant.since(self.watch.last_tick) > probe * 2;
        self.watch.last_tick = now.instant;
        self.watch.ticks += 1;
        self.end_outer_watches(now);
        self.watch.for_others.retain(|_, waiting| {
            waiting.retain(|_, until| *until > now.instant);
            !waiting.is_empty()
        });
        if now.instant >= self.watch.next_watch {
            self.watch.next_watch = now.instant + ASKED_FOR / 3;
            self.ask_all_to_watch();
            self.redraw_soon(now);
        }
        self.refute_what_stands(now);
        let observes = self.detector.is_none();
        if observes {
            self.probe_watched(now, late);
        }
        if self.watch.ticks.is_multiple_of(NEIGHBOUR_EVERY) {
            self.probe_neighbours(now, late);
        }
        if observes && !late {
            self.judge(now);
        }
    }

    fn end_outer_watches(&mut self, now: Now) {
        let over: Vec<NodeId> = self
            .watch
            .watched
            .iter()
            .filter(|(_, it)| it.outer_until.is_some_and(|until| until <= now.instant))
            // One that is silent cannot ask again: the watch goes on until its presence expires.
            .filter(|(node, it)| it.lost == 0 || self.set.find_any(Kind::PRESENCE, Subject(node.0)).is_none())
            .map(|(node, _)| *node)
            .collect();
        for node in over {
            if let Some(watched) = self.watch.watched.get_mut(&node) {
                watched.outer_until = None;
            }
            self.stop_watching_unless_observed(node);
        }
    }

    fn probe_watched(&mut self, now: Now, late: bool) {
        let nodes: Vec<NodeId> = self.watch.watched.keys().copied().collect();
        for node in nodes {
            let link = self.links.get(&node);
            let heard = link.is_some_and(|link| now.instant.since(link.heard) < self.config.probe);
            let Some(watched) = self.watch.watched.get_mut(&node) else { continue };
            if heard {
                watched.pinged = false;
                continue;
            }
            // Without a link every probe is lost.
            if !late && (watched.pinged || link.is_none()) {
                watched.lost = watched.lost.saturating_add(1);
            }
            watched.pinged = true;
            let second = watched.lost + 1 >= self.config.probes_lost;
            self.send(node, Message::Ping(self.watch.ticks));
            if second {
                self.ask_others_to_probe(node);
            }
        }
    }

    /// Two linked peers, of whichever jurisdiction.
    fn ask_others_to_probe(&mut self, about: NodeId) {
        let mut others: Vec<NodeId> = self.links.keys().copied().filter(|node| *node != about).collect();
        self.rng.shuffle(&mut others);
        others.into_iter().take(2).for_each(|node| self.send(node, Message::Probe(about)));
    }

    fn probe_neighbours(&mut self, now: Now, late: bool) {
        let quiet = self.config.probe * u32::try_from(NEIGHBOUR_EVERY).unwrap_or(u32::MAX);
        let nodes: Vec<NodeId> = self.overlay.active.keys().copied().collect();
        for node in nodes {
            let heard = self.links.get(&node).is_some_and(|link| now.instant.since(link.heard) < quiet);
            if heard || late {
                self.watch.neighbours.remove(&node);
                continue;
            }
            let lost = self.watch.neighbours.entry(node).or_default();
            *lost += 1;
            if *lost > 2 {
                self.watch.neighbours.remove(&node);
                self.neighbour_silent(now, node);
            } else {
                self.send(node, Message::Ping(self.watch.ticks));
            }
        }
    }

    fn judge(&mut self, now: Now) {
        if self.own.clock_off || self.is_cut_off(now) {
            return;
        }
        let silent: Vec<(NodeId, Jurisdiction)> = self
            .watch
            .watched
            .iter()
            .filter(|(_, it)| it.observed() && it.lost >= self.config.probes_lost && it.said == Liveness::Alive)
            .map(|(node, it)| (*node, it.jurisdiction))
            .collect();
        for (node, jurisdiction) in silent {
            let state = if jurisdiction == self.home { Liveness::Down } else { Liveness::UnreachableFrom(self.home) };
            self.say(now, node, state);
        }
    }

    /// Whether it is rather this node that nobody reaches: nothing came in for two probes, or most of several that it
    /// watches are silent at once.
    fn is_cut_off(&self, now: Now) -> bool {
        let patience = self.config.probe * 2;
        if !self.links.values().any(|link| now.instant.since(link.heard) < patience) {
            return true;
        }
        // What is silent for long is no stall of this node: then it speaks whatever the count.
        let long = self.config.probes_lost.saturating_mul(4);
        let fresh = |it: &&Watched| (1..long).contains(&it.lost) && it.said == Liveness::Alive;
        let steady = self.watch.watched.values().filter(|it| it.said == Liveness::Alive).count();
        let silent = self.watch.watched.values().filter(fresh).count();
        steady >= 4 && silent * 2 > steady
    }

    fn say(&mut self, now: Now, about: NodeId, state: Liveness) {
        let Some(presence) = self.set.find_any(Kind::PRESENCE, Subject(about.0)) else { return };
        let Some(Presence { incarnation, .. }) = Presence::read(presence) else { return };
        let Some(watched) = self.watch.watched.get_mut(&about) else { return };
        watched.said = state;
        let verdict = Verdict { about, incarnation, state, observer: self.me };
        let draft = Draft {
            kind: Kind::VERDICT,
            scope: Scope::Jurisdiction(watched.jurisdiction),
            subject: Verdict::subject(about, self.me),
            line: 0,
            generation: incarnation,
            lifetime: self.config.record_lifetime,
            content: codec::encode(&verdict),
        };
        match state {
            Liveness::Alive => self.publish_once(now, draft),
            Liveness::Down | Liveness::UnreachableFrom(_) => self.publish(now, draft),
        }
    }
}
