//! What the observer is told, and what the world counts on the way whether somebody observes it or not.
use std::collections::{BTreeMap, BTreeSet};

use bocage_protocol::{
    id::{CellId, NodeId, ReplicaId},
    membership::Liveness,
    notice::Notice,
    resources::Jurisdiction,
};

use super::{World, offers::WELL_AFTER};
use crate::{
    detection::Detected,
    host::Daemon,
    observe::{Observer, Shares},
    results::Row,
    spectator::Spectator,
};

/// Leaders and replicas that were seen so far.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The term of the newest leader of each cell, and who that is.
    led: BTreeMap<CellId, (u64, NodeId)>,
    replicas: BTreeSet<(CellId, ReplicaId)>,
}

impl Turns {
    /// Of each cell that ever had one.
    pub(super) fn leaders(&self) -> impl Iterator<Item = NodeId> {
        self.led.values().map(|(_, leader)| *leader)
    }
}

impl<D: Daemon> World<D> {
    /// What an observer has written down; empty without one.
    pub(crate) fn take_rows(&mut self) -> (Vec<Row>, u64) {
        self.observer.take().map(|observer| observer.into_rows()).unwrap_or_default()
    }

    /// Intervals that ended before `at`.
    pub(super) fn observe_until(&mut self, at: u64) {
        while self.observer.as_ref().is_some_and(|observer| observer.next() <= at) {
            let living = self.living();
            let shares = self.shares();
            let Some(observer) = &mut self.observer else { return };
            observer.interval(&living, &shares);
        }
    }

    /// The moments before `at` at which somebody looks; false once nobody does any more.
    pub(super) fn look_until(&self, at: u64, look_at: &mut u64, spectator: &mut dyn Spectator) -> bool {
        while *look_at <= at {
            let moment = *look_at;
            if !spectator.stays() {
                return false;
            }
            spectator.look(&|| self.scene(moment));
            let every = u64::try_from(spectator.every().as_nanos()).unwrap_or(u64::MAX).max(super::MILLI);
            *look_at = look_at.saturating_add(every);
        }
        true
    }

    fn living(&self) -> BTreeMap<Jurisdiction, Vec<u32>> {
        let mut living: BTreeMap<Jurisdiction, Vec<u32>> =
            self.population.places.iter().map(|place| (place.jurisdiction, Vec::new())).collect();
        for node in self.running() {
            living.entry(self.network.place(node).jurisdiction).or_default().push(node);
        }
        living
    }

    /// Who has how many of the nodes that run, of the votes and of the leases of all apps, as far as these were described.
    fn shares(&self) -> Vec<(&'static str, &'static str, Shares)> {
        let mut held: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        held.insert("nodes", self.running());
        for app in &self.apps {
            let newest = app.described.values().max_by_key(|(_, description)| (description.line, description.applied));
            let Some((_, description)) = newest else { continue };
            let voters = description.voters().filter_map(|node| self.numbers.get(&node).copied());
            held.entry("votes").or_default().extend(voters);
            let leases = description.leases.iter().filter_map(|lease| self.numbers.get(&lease.node).copied());
            held.entry("leases").or_default().extend(leases);
        }
        let mut all = Vec::new();
        for (kind, nodes) in held {
            let (mut operators, mut laws) = (Shares::new(), Shares::new());
            for node in nodes {
                let place = self.network.place(node);
                *operators.entry(self.population.operator_name(place).to_owned()).or_default() += 1;
                *laws.entry(place.jurisdiction.to_string()).or_default() += 1;
            }
            all.push((kind, "operator", operators));
            all.push((kind, "jurisdiction", laws));
        }
        all
    }

    /// A client's operation was answered.
    pub(super) fn observe_answer(&mut self, kind: &'static str, edge: u32, began: u64, tried_at: u64) {
        let law = self.network.place(edge).jurisdiction;
        if let Some(observer) = &mut self.observer {
            observer.acknowledged(self.at, kind, law, began, tried_at);
        }
    }

    /// A client's attempt failed.
    pub(super) fn observe_failure(&mut self, edge: u32, tried_at: u64) {
        let law = self.network.place(edge).jurisdiction;
        if let Some(observer) = &mut self.observer {
            observer.failed(law, tried_at);
        }
    }

    /// A node noticed something.
    pub(super) fn observe_notice(&mut self, by: u32, notice: &Notice) {
        let at = self.at;
        match notice {
            Notice::Leader { cell, leader: Some(leader), term } => {
                let newest = self.turns.led.entry(*cell).or_insert((*term, *leader));
                let changed = newest.0 < *term;
                if changed {
                    *newest = (*term, *leader);
                }
                if changed && self.stood.is_some() {
                    self.tally.count("leaders_changed");
                    self.observer.iter_mut().for_each(|observer| observer.leader_changed(at));
                }
            }
            Notice::CellOpened { cell, replica } => {
                let is_new = self.turns.replicas.insert((*cell, *replica));
                let law = self.network.place(by).jurisdiction;
                if is_new && self.stood.is_some() {
                    self.tally.count("replicas_repaired");
                    self.observer.iter_mut().for_each(|observer| observer.repaired(at, by, law));
                }
            }
            Notice::Verdict { about, state } => {
                if *state != Liveness::Alive {
                    self.tally.count("nodes_called_down");
                }
                let Some(about) = self.numbers.get(about).copied() else { return };
                if *state == Liveness::Down && self.stood.is_some() {
                    self.called_down(by, about);
                }
            }
            _ => {}
        }
    }

    /// A node counts another as down: a dead one, or it is mistaken.
    fn called_down(&mut self, by: u32, about: u32) {
        let at = self.at;
        let law = self.network.place(about).jurisdiction;
        if self.detection.is_dead(about) {
            if let Some(Detected { took, first }) = self.detection.noticed(at, by, about)
                && let Some(observer) = &mut self.observer
            {
                observer.detected(at, about, law, took, first);
            }
            return;
        }
        let is_well = self.is_well(about, WELL_AFTER);
        let stalled_until = self.hosts[about as usize].stalled_until;
        // Who just came back from somewhere else is no matter of a detector's.
        if is_well || (stalled_until > 0 && stalled_until + WELL_AFTER > at) {
            self.detection.mistaken(is_well);
            let kind = if is_well { "well" } else { "stalled" };
            self.observer.iter_mut().for_each(|observer| observer.falsely_down(at, about, law, kind));
        }
    }

    /// The run is over.
    pub(super) fn observe_end(&mut self) {
        let Some(mut observer) = self.observer.take() else { return };
        let at = self.at;
        if let Some((converged, healed)) = self.checks.convergence.converged_at().zip(self.healed) {
            observer.sample(converged, "converge_ms", converged - healed);
        }
        for nanos in self.tally.offer_times.iter() {
            observer.sample(at, "offer_known_ms", nanos);
        }
        for nanos in self.tally.rejoins.iter() {
            observer.sample(at, "rejoin_ms", nanos);
        }
        let laws: Vec<Jurisdiction> =
            (0u32..).zip(&self.hosts).map(|(it, _)| self.network.place(it).jurisdiction).collect();
        observer.end(at, &laws);
        self.observer = Some(observer);
    }

    pub(super) fn observer(seed: u64, every_ms: u64) -> Box<Observer> {
        Box::new(Observer::new(seed, every_ms * super::MILLI))
    }
}
