//! Links between nodes: who reaches whom, how long a frame takes, and what a crash or cut does to a link.
//!
//! A link behaves like the daemon's long-lived streams: frames arrive in the order they were sent or not at all, and those
//! under way are lost when it goes down. Each end learns by itself, and late, that it went down.
use std::time::Duration;

use bocage_protocol::{random::Rng, resources::Jurisdiction};
use rustc_hash::FxHashMap;

use crate::{population::Place, scenario};

const MILLI: u64 = 1_000_000;

/// The network of a world.
#[derive(Debug)]
pub(crate) struct Network {
    settings: scenario::Network,
    places: Vec<Place>,
    links: FxHashMap<(u32, u32), Link>,
    cuts: Vec<Cut>,
    losses: Vec<Loss>,
    rng: Rng,
}

/// A link of two nodes. Index 0 is the node with the lower number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    /// Raised by each dial: events of an older one are stale.
    pub(crate) epoch: u32,
    /// This end believes in it.
    pub(crate) up: [bool; 2],
    /// This end will hear that it is up.
    pub(crate) coming: [bool; 2],
    /// This node carries it.
    pub(crate) relay: Option<u32>,
    /// When the last frame from this end arrives: a later one arrives no earlier.
    last: [u64; 2],
}

/// Frames from `from` do not reach `to`.
#[derive(Clone, Debug)]
struct Cut {
    fault: usize,
    from: Vec<bool>,
    to: Vec<bool>,
    one_way: bool,
}

/// Some frames from or to these do not get through.
#[derive(Clone, Debug)]
struct Loss {
    fault: usize,
    whom: Vec<bool>,
    per_mille: u64,
}

impl Network {
    pub(crate) fn new(settings: scenario::Network, rng: Rng) -> Self {
        let (links, cuts) = (FxHashMap::default(), Vec::new());
        Self { settings, places: Vec::new(), links, cuts, losses: Vec::new(), rng }
    }

    /// A node joins at a place, its number being the count of nodes before it. `sides` says for each cut by its fault
    /// whether the node stands on the cut-off side, on the other, or on neither.
    pub(crate) fn join(&mut self, place: Place, sides: impl Fn(usize, &Place) -> (bool, bool)) {
        for cut in &mut self.cuts {
            let (from, to) = sides(cut.fault, &place);
            cut.from.push(from);
            cut.to.push(to);
        }
        for loss in &mut self.losses {
            loss.whom.push(sides(loss.fault, &place).0);
        }
        self.places.push(place);
    }

    pub(crate) fn place(&self, node: u32) -> &Place {
        &self.places[node as usize]
    }

    /// Begins a cut; gives back the pairs of nodes that have a link across it.
    pub(crate) fn cut(&mut self, fault: usize, from: Vec<bool>, to: Vec<bool>, one_way: bool) -> Vec<(u32, u32)> {
        let cut = Cut { fault, from, to, one_way };
        let alive = |link: &Link| link.up != [false; 2] || link.coming != [false; 2];
        let across = |(a, b): (u32, u32)| cut.stops(a, b) || cut.stops(b, a);
        let mut pairs: Vec<(u32, u32)> =
            self.links.iter().filter(|(pair, link)| alive(link) && across(**pair)).map(|(pair, _)| *pair).collect();
        // In order of the nodes, not of the map.
        pairs.sort_unstable();
        self.cuts.push(cut);
        pairs
    }

    /// Frames of these nodes begin to get lost.
    pub(crate) fn lose(&mut self, fault: usize, whom: Vec<bool>, per_mille: u64) {
        self.losses.push(Loss { fault, whom, per_mille });
    }

    /// What the fault did to the network is over.
    pub(crate) fn heal(&mut self, fault: usize) {
        self.cuts.retain(|cut| cut.fault != fault);
        self.losses.retain(|loss| loss.fault != fault);
    }

    /// Whether a frame from one node gets to another now.
    pub(crate) fn reaches(&self, from: u32, to: u32) -> bool {
        !self.cuts.iter().any(|cut| cut.stops(from, to))
    }

    /// Whether nothing is cut or loses frames now.
    pub(crate) fn is_whole(&self) -> bool {
        self.cuts.is_empty() && self.losses.is_empty()
    }

    /// Whether a cut has a node on the side that it cuts off.
    pub(crate) fn is_cut_off(&self, node: u32) -> bool {
        self.cuts.iter().any(|cut| cut.from[node as usize])
    }

    /// Whether two nodes can talk now.
    pub(crate) fn linked(&self, a: u32, b: u32) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    /// The faults that cut two nodes apart now.
    pub(crate) fn cuts_between(&self, a: u32, b: u32) -> Vec<usize> {
        self.cuts.iter().filter(|cut| cut.stops(a, b) || cut.stops(b, a)).map(|cut| cut.fault).collect()
    }

    /// Whether this one frame is dropped though the link is up.
    pub(crate) fn loses(&mut self, from: u32, to: u32) -> bool {
        if !self.reaches(from, to) {
            return true;
        }
        let touched = |loss: &&Loss| loss.whom[from as usize] || loss.whom[to as usize];
        let burst = self.losses.iter().filter(touched).map(|loss| loss.per_mille).max().unwrap_or(0);
        let per_mille = burst.max(self.settings.loss_per_mille);
        per_mille > 0 && self.rng.chance(per_mille)
    }

    /// The delay from one node to another without jitter, in nanoseconds.
    pub(crate) fn delay(&self, from: u32, to: u32) -> u64 {
        let (from, to) = (self.place(from), self.place(to));
        if from.site == to.site {
            return self.settings.site_us * 1_000;
        }
        if from.jurisdiction == to.jurisdiction {
            return self.settings.inside_ms * MILLI;
        }
        let pair = |[a, b]: [Jurisdiction; 2]| {
            (a == from.jurisdiction && b == to.jurisdiction) || (b == from.jurisdiction && a == to.jurisdiction)
        };
        let between = self.settings.between.iter().find(|between| pair(between.jurisdictions));
        between.map_or(self.settings.delay_ms, |between| between.delay_ms) * MILLI
    }

    /// The delay of one frame, with jitter: mostly little, seldom all of it.
    pub(crate) fn delay_now(&mut self, from: u32, to: u32) -> u64 {
        let delay = self.delay(from, to);
        let most = delay * self.settings.jitter_percent / 100;
        let right_skewed = self.rng.below(most + 1);
        delay + self.rng.below(right_skewed + 1)
    }

    /// What a ping between two nodes says.
    pub(crate) fn round_trip(&self, a: u32, b: u32) -> Duration {
        Duration::from_nanos(self.delay(a, b) + self.delay(b, a))
    }

    /// When a frame sent at `at` on an open link arrives: behind the one before it.
    pub(crate) fn arrival(&mut self, from: u32, to: u32, at: u64) -> u64 {
        let sampled = at + self.delay_now(from, to);
        let last = &mut self.link(from, to).last[end(from, to)];
        *last = sampled.max(*last);
        *last
    }

    /// The link's frames from `from` arrive no earlier than `at`.
    pub(crate) fn not_before(&mut self, from: u32, to: u32, at: u64) {
        self.link(from, to).last[end(from, to)] = at;
    }

    /// How long a transfer of so many bytes takes once asked for, and the asking.
    pub(crate) fn transfer_time(&mut self, from: u32, to: u32, size_bytes: u64) -> u64 {
        let asking = 2 * self.delay_now(to, from);
        asking + size_bytes * 8_000 / self.settings.bandwidth_mbit.max(1)
    }

    /// How long until silence is noticed.
    pub(crate) fn silence_noticed(&mut self) -> u64 {
        self.draw(self.settings.silence_noticed_ms)
    }

    /// How long until the death of a process is noticed.
    pub(crate) fn crash_noticed(&mut self) -> u64 {
        self.draw(self.settings.crash_noticed_ms)
    }

    /// How long until a dial gives up.
    pub(crate) const fn dial_max(&self) -> u64 {
        self.settings.dial_ms_max * MILLI
    }

    fn draw(&mut self, [least, most]: [u64; 2]) -> u64 {
        least * MILLI + self.rng.below((most - least) * MILLI + 1)
    }

    /// The link of two nodes, if there ever was one.
    pub(crate) fn known(&self, a: u32, b: u32) -> Option<&Link> {
        self.links.get(&(a.min(b), a.max(b)))
    }

    /// The link of two nodes, new if there was none.
    pub(crate) fn link(&mut self, a: u32, b: u32) -> &mut Link {
        self.links.entry((a.min(b), a.max(b))).or_default()
    }
}

impl Cut {
    fn stops(&self, from: u32, to: u32) -> bool {
        let (a, b) = (from as usize, to as usize);
        (self.from[a] && self.to[b]) || (!self.one_way && self.to[a] && self.from[b])
    }
}

/// Which end of their link `node` is.
pub(crate) fn end(node: u32, peer: u32) -> usize {
    usize::from(node > peer)
}

#[cfg(test)]
mod tests {
    use bocage_protocol::random::Seed;

    use super::*;

    fn network() -> Network {
        let mut network = Network::new(scenario::Network::default(), Seed([1; 32]).rng());
        for (number, jurisdiction) in ["FR", "FR", "DE"].into_iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            let jurisdiction = jurisdiction.parse().unwrap();
            network.join(Place { jurisdiction, operator: number, site: number, at_home: false }, |_, _| (false, false));
        }
        network
    }

    #[test]
    fn a_two_way_cut_stops_both_ways_and_a_one_way_cut_one() {
        let mut network = network();
        network.link(0, 2).up = [true; 2];
        network.link(0, 1).up = [true; 2];
        let (fr, de) = (vec![true, true, false], vec![false, false, true]);
        assert_eq!(network.cut(7, fr.clone(), de.clone(), false), [(0, 2)]);
        assert!(!network.reaches(0, 2) && !network.reaches(2, 0) && network.linked(0, 1));
        network.heal(7);
        assert!(network.linked(0, 2));
        network.cut(8, fr, de, true);
        assert!(!network.reaches(0, 2) && network.reaches(2, 0));
    }

    #[test]
    fn frames_of_a_link_arrive_in_order_and_never_too_soon() {
        let mut network = network();
        let mut last = 0;
        for sent in (0..1_000_000_000).step_by(100_000) {
            let arrival = network.arrival(0, 2, sent);
            assert!(arrival >= last && arrival >= sent + 20 * MILLI && arrival <= sent + 25 * MILLI + MILLI);
            last = arrival;
        }
        assert_eq!(network.round_trip(0, 1), Duration::from_millis(16));
    }
}
