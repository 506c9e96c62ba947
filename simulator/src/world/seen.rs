//! A world as somebody sees it who looks on. It is only read: nothing is asked, drawn or put on the calendar.
use std::collections::{BTreeMap, BTreeSet};

use bocage_protocol::resources::Jurisdiction;

use super::{SECOND, World};
use crate::{
    geo,
    host::{Daemon, State},
    measure::ms,
    population::Place,
    scene::{AreaSeen, CitySeen, Condition, FaultSeen, PlaceSeen, Scene},
};

/// No scene tells of more pairs of areas that are cut apart: how the nodes are says enough then.
const CUTS_MAX: usize = 1_000;

impl<D: Daemon> World<D> {
    /// At the moment `at`, when everything before it has happened.
    pub(super) fn scene(&self, at: u64) -> Scene {
        let nodes = u32::try_from(self.hosts.len()).expect("nodes are fewer than numbers");
        let areas = Areas::of((0..nodes).map(|node| self.network.place(node)));
        Scene {
            at_s: ms(at) / 1_000.0,
            stood_s: self.stood.map(|stood| ms(stood) / 1_000.0),
            heals: self.healed.is_some(),
            conditions: (0..nodes).map(|node| self.condition(node, at).letter()).collect(),
            leads: self.leads(),
            links: self.links_seen(nodes, &areas),
            cuts: self.cuts_seen(&areas),
            frames: self.observer.as_ref().map_or(0, |observer| observer.frames()),
            availability: self.observer.as_ref().map(|observer| observer.available(at)).unwrap_or_default(),
            faults: self.faults_seen(&areas),
            violations: self.checks.violations.iter().map(|it| format!("{:?}: {}", it.property, it.what)).collect(),
            places: (0..nodes).map(|node| self.place_seen(node, &areas)).collect(),
            areas: areas.seen(),
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

    fn links_seen(&self, nodes: u32, areas: &Areas) -> Vec<(u32, u32, u32)> {
        let mut counts: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for node in 0..nodes {
            for peer in self.hosts[node as usize].peers.range(node + 1..) {
                if self.network.known(node, *peer).is_some_and(|link| link.up == [true; 2]) {
                    *counts.entry(pair(areas.of[node as usize], areas.of[*peer as usize])).or_default() += 1;
                }
            }
        }
        counts.into_iter().map(|((one, other), count)| (one, other, count)).collect()
    }

    fn cuts_seen(&self, areas: &Areas) -> Vec<(u32, u32)> {
        let mut pairs = BTreeSet::new();
        for sides in self.network.sides_of_cuts() {
            let [from, to] = sides.map(|side| areas.among(|node| side[node as usize]));
            let all = from.iter().flat_map(|one| to.iter().map(|other| pair(*one, *other)));
            pairs.extend(all.take(CUTS_MAX - pairs.len()));
        }
        pairs.into_iter().collect()
    }

    fn faults_seen(&self, areas: &Areas) -> Vec<FaultSeen> {
        let seen = self.faults.iter().filter(|fault| fault.is_shown());
        seen.map(|fault| {
            let (what, after, heals_after) = fault.plan();
            let seconds = |nanos: u64| ms(nanos / (SECOND / 1_000) * (SECOND / 1_000)) / 1_000.0;
            let befalls = |node| fault.befalls(&self.population, node, self.network.place(node));
            FaultSeen {
                what: what.name(),
                at_s: seconds(after),
                until_s: heals_after.map(|lasts| seconds(after + lasts)),
                active: fault.is_active(),
                areas: areas.among(befalls).into_iter().collect(),
            }
        })
        .collect()
    }

    fn place_seen(&self, node: u32, areas: &Areas) -> PlaceSeen {
        let place = self.network.place(node);
        let operator = self.population.operator_name(place).to_owned();
        PlaceSeen { area: areas.of[node as usize], site: place.site, operator }
    }
}

/// Where nodes stand, in the order of the first node of each.
#[derive(Debug, Default)]
struct Areas {
    all: Vec<(Jurisdiction, Option<u16>)>,
    /// That of each node.
    of: Vec<u32>,
}

impl Areas {
    fn of<'a>(places: impl Iterator<Item = &'a Place>) -> Self {
        let (mut this, mut numbers) = (Self::default(), BTreeMap::new());
        for place in places {
            let next = u32::try_from(this.all.len()).expect("areas are fewer than nodes");
            let area = (place.jurisdiction, place.city);
            let number = *numbers.entry(area).or_insert(next);
            if number == next {
                this.all.push(area);
            }
            this.of.push(number);
        }
        this
    }

    /// Those in which such a node stands.
    fn among(&self, is_such: impl Fn(u32) -> bool) -> BTreeSet<u32> {
        (0u32..).zip(&self.of).filter(|(node, _)| is_such(*node)).map(|(_, area)| *area).collect()
    }

    fn seen(&self) -> Vec<AreaSeen> {
        // Millionths are far fewer than a float tells apart.
        let degrees = |millionths: i64| f64::from(i32::try_from(millionths).unwrap_or_default()) / 1e6;
        let all = self.all.iter().map(|(jurisdiction, city)| AreaSeen {
            jurisdiction: jurisdiction.to_string(),
            city: city.map(|city| {
                let geo::City { name, at, .. } = &geo::cities()[usize::from(city)];
                CitySeen { name: name.clone(), latitude: degrees(at.latitude), longitude: degrees(at.longitude) }
            }),
        });
        all.collect()
    }
}

/// The lower number first.
const fn pair(one: u32, other: u32) -> (u32, u32) {
    if one <= other { (one, other) } else { (other, one) }
}
