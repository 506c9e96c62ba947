//! A world as somebody sees it who looks on. It is only read: nothing is asked, drawn or put on the calendar.
use std::collections::BTreeMap;

use super::{SECOND, World};
use crate::{
    host::{Daemon, State},
    measure::ms,
    scene::{Condition, FaultSeen, PlaceSeen, Scene},
};

impl<D: Daemon> World<D> {
    /// At the moment `at`, when everything before it has happened.
    pub(super) fn scene(&self, at: u64) -> Scene {
        let nodes = u32::try_from(self.hosts.len()).expect("nodes are fewer than numbers");
        Scene {
            at_s: ms(at) / 1_000.0,
            stood_s: self.stood.map(|stood| ms(stood) / 1_000.0),
            heals: self.healed.is_some(),
            conditions: (0..nodes).map(|node| self.condition(node, at).letter()).collect(),
            leads: self.leads(),
            links: self.links_seen(nodes),
            frames: self.observer.as_ref().map_or(0, |observer| observer.frames()),
            availability: self.observer.as_ref().map(|observer| observer.available(at)).unwrap_or_default(),
            faults: self.faults_seen(),
            violations: self.checks.violations.iter().map(|it| format!("{:?}: {}", it.property, it.what)).collect(),
            places: (0..nodes).map(|node| self.place_seen(node)).collect(),
        }
    }

    fn condition(&self, node: u32, at: u64) -> Condition {
        let host = &self.hosts[node as usize];
        match host.state {
            State::Gone => Condition::Gone,
            State::Down => Condition::Down,
            State::Booting => Condition::Booting,
            State::Up if host.stalled_until > at => Condition::Stalled,
            State::Up if self.network.is_cut_off(node) => Condition::CutOff,
            State::Up => Condition::Up,
        }
    }

    /// By the last word of each cell's own leader; of those that run.
    fn leads(&self) -> BTreeMap<u32, u32> {
        let mut leads = BTreeMap::new();
        for leader in self.turns.leaders().filter_map(|node| self.numbers.get(&node)).filter(|node| self.runs(**node)) {
            *leads.entry(*leader).or_default() += 1;
        }
        leads
    }

    fn links_seen(&self, nodes: u32) -> Vec<(String, String, u32)> {
        let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
        for node in 0..nodes {
            for peer in self.hosts[node as usize].peers.range(node + 1..) {
                if self.network.known(node, *peer).is_none_or(|link| link.up != [true; 2]) {
                    continue;
                }
                let [one, other] = [node, *peer].map(|it| self.network.place(it).jurisdiction.to_string());
                let pair = if one <= other { (one, other) } else { (other, one) };
                *counts.entry(pair).or_default() += 1;
            }
        }
        counts.into_iter().map(|((one, other), count)| (one, other, count)).collect()
    }

    fn faults_seen(&self) -> Vec<FaultSeen> {
        let seen = self.faults.iter().filter(|fault| fault.is_shown());
        seen.map(|fault| {
            let (what, after, heals_after) = fault.plan();
            let seconds = |nanos: u64| ms(nanos / (SECOND / 1_000) * (SECOND / 1_000)) / 1_000.0;
            let until_s = heals_after.map(|lasts| seconds(after + lasts));
            FaultSeen { what: what.name(), at_s: seconds(after), until_s, active: fault.is_active() }
        })
        .collect()
    }

    fn place_seen(&self, node: u32) -> PlaceSeen {
        let place = self.network.place(node);
        PlaceSeen {
            jurisdiction: place.jurisdiction.to_string(),
            site: place.site,
            operator: self.population.operator_name(place).to_owned(),
        }
    }
}
