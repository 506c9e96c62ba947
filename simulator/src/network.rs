//! Links between nodes: who reaches whom, how long a frame takes, and what a crash or cut does to a link.
//!
//! A link behaves like the daemon's long-lived streams: frames arrive in the order they were sent or not at all, and those
//! under way are lost when it goes down. Each end learns by itself, and late, that it went down.
use std::time::Duration;

use bocage_protocol::{
    random::{Rng, Seed, mix},
    resources::Jurisdiction,
};
use rustc_hash::FxHashMap;

use crate::{population::Place, scenario};

mod ground;
mod lanes;
mod bursts;

use bursts::{Bursts, Fate};
use ground::Ground;
pub(crate) use lanes::Flow;
use lanes::Lanes;

const MILLI: u64 = 1_000_000;

/// The network of a world.
#[derive(Debug)]
pub(crate) struct Network {
    settings: scenario::Network,
    places: Vec<Place>,
    /// Cities and lines, if any node stands in one or has one.
    ground: Option<Box<Ground>>,
    /// What waits at lines, if any node has one or is throttled.
    lanes: Option<Box<Lanes>>,
    bursts: Option<Box<Bursts>>,
    /// There are lines or bursts: a frame asks for them.
    shaped: bool,
    /// Which frames come twice.
    twice: Rng,
    links: FxHashMap<(u32, u32), Link>,
    cuts: Vec<Cut>,
    losses: Vec<Loss>,
    late: Vec<Late>,
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
    /// Of all pairs, only so many of 1,000, drawn by this number.
    part: Option<(u64, u64)>,
    /// It flaps, and lets everything through just now.
    pauses: bool,
}

/// How a cut cuts.
#[derive(Clone, Debug)]
pub(crate) struct Cutting {
    pub(crate) from: Vec<bool>,
    pub(crate) to: Vec<bool>,
    pub(crate) one_way: bool,
    pub(crate) part: Option<(u64, u64)>,
}

/// Frames between these take longer.
#[derive(Clone, Debug)]
struct Late {
    fault: usize,
    from: Vec<bool>,
    to: Vec<bool>,
    nanos: u64,
}

/// What becomes of a frame that a node hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It arrives then.
    Arrives(u64),
    /// It arrives then at the far end of the receiver's line.
    AtLine(u64),
    /// A burst swallowed it.
    Lost,
    /// There was no room for it.
    QueueFull,
}

/// Some frames from or to these do not get through.
#[derive(Clone, Debug)]
struct Loss {
    fault: usize,
    whom: Vec<bool>,
    per_mille: u64,
}

impl Network {
    pub(crate) fn new(settings: scenario::Network, seed: Seed) -> Self {
        let bursts = settings.burst.clone().map(|burst| Box::new(Bursts::new(burst, seed.split("bursts").rng())));
        Self {
            places: Vec::new(),
            ground: None,
            lanes: None,
            shaped: bursts.is_some(),
            bursts,
            twice: seed.split("duplicates").rng(),
            links: FxHashMap::default(),
            cuts: Vec::new(),
            losses: Vec::new(),
            late: Vec::new(),
            rng: seed.split("network").rng(),
            settings,
        }
    }

    /// Nodes stand in cities and have lines, as the population says.
    pub(crate) fn stand(&mut self, population: &[scenario::Population]) {
        self.ground = Ground::new(population, &self.settings).map(Box::new);
        if population.iter().any(|group| group.access.is_some()) {
            self.lanes = Some(Box::default());
            self.shaped = true;
        }
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
        for late in &mut self.late {
            let (from, to) = sides(late.fault, &place);
            late.from.push(from);
            late.to.push(to);
        }
        let line = self.ground.as_mut().and_then(|ground| ground.join(&place));
        self.lanes.iter_mut().for_each(|lanes| lanes.join(line));
        self.places.push(place);
    }

    pub(crate) fn place(&self, node: u32) -> &Place {
        &self.places[node as usize]
    }

    /// Begins a cut; gives back the pairs of nodes that have a link across it.
    pub(crate) fn cut(&mut self, fault: usize, cutting: Cutting) -> Vec<(u32, u32)> {
        let Cutting { from, to, one_way, part } = cutting;
        self.cuts.push(Cut { fault, from, to, one_way, part, pauses: false });
        self.across(fault)
    }

    /// A cut that flaps lets everything through, or no longer; gives back the pairs of nodes that have a link across it.
    pub(crate) fn flap(&mut self, fault: usize, pauses: bool) -> Vec<(u32, u32)> {
        self.cuts.iter_mut().filter(|cut| cut.fault == fault).for_each(|cut| cut.pauses = pauses);
        self.across(fault)
    }

    fn across(&self, fault: usize) -> Vec<(u32, u32)> {
        let Some(cut) = self.cuts.iter().find(|cut| cut.fault == fault) else { return Vec::new() };
        let alive = |link: &Link| link.up != [false; 2] || link.coming != [false; 2];
        let across = |(a, b): (u32, u32)| cut.stops(a, b) || cut.stops(b, a);
        let mut pairs: Vec<(u32, u32)> =
            self.links.iter().filter(|(pair, link)| alive(link) && across(**pair)).map(|(pair, _)| *pair).collect();
        // In order of the nodes, not of the map.
        pairs.sort_unstable();
        pairs
    }

    /// Frames of these nodes begin to get lost.
    pub(crate) fn lose(&mut self, fault: usize, whom: Vec<bool>, per_mille: u64) {
        self.losses.push(Loss { fault, whom, per_mille });
    }

    /// Frames between these nodes begin to take longer.
    pub(crate) fn delay_between(&mut self, fault: usize, from: Vec<bool>, to: Vec<bool>, nanos: u64) {
        self.late.push(Late { fault, from, to, nanos });
    }

    /// These nodes carry no more than so much from now on.
    pub(crate) fn throttle(&mut self, fault: usize, whom: &[u32], mbit: u64, at: u64) {
        let nodes = self.places.len();
        let lanes = self.lanes.get_or_insert_with(|| {
            let mut lanes = Box::<Lanes>::default();
            (0..nodes).for_each(|_| lanes.join(None));
            lanes
        });
        lanes.throttle(fault, whom.iter().copied(), mbit, at);
        self.shaped = true;
    }

    /// What the fault did to the network is over.
    pub(crate) fn heal(&mut self, fault: usize, at: u64) {
        self.cuts.retain(|cut| cut.fault != fault);
        self.losses.retain(|loss| loss.fault != fault);
        self.late.retain(|late| late.fault != fault);
        self.lanes.iter_mut().for_each(|lanes| lanes.unthrottle(fault, at));
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

    /// The two sides of each cut that cuts now: whether a node stands there, by its number.
    pub(crate) fn sides_of_cuts(&self) -> impl Iterator<Item = [&[bool]; 2]> {
        self.cuts.iter().filter(|cut| !cut.pauses).map(|cut| [&*cut.from, &*cut.to])
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
        let delay = self.delay_over_ground(from, to);
        if self.late.is_empty() {
            return delay;
        }
        let (a, b) = (from as usize, to as usize);
        let touched = |late: &&Late| (late.from[a] && late.to[b]) || (late.to[a] && late.from[b]);
        delay + self.late.iter().filter(touched).map(|late| late.nanos).sum::<u64>()
    }

    fn delay_over_ground(&self, from: u32, to: u32) -> u64 {
        let (here, there) = (from, to);
        let (from, to) = (self.place(from), self.place(to));
        if from.site == to.site {
            return self.settings.site_us * 1_000;
        }
        match &self.ground {
            None => self.delay_by_law(from, to),
            Some(ground) => {
                let lines = ground.lines_delay(here, there);
                lines + ground.delay(here, there).unwrap_or_else(|| self.delay_by_law(from, to))
            }
        }
    }

    fn delay_by_law(&self, from: &Place, to: &Place) -> u64 {
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
        let right_skewed = self.rng.below(self.late_max(from, to, delay) + 1);
        delay + self.rng.below(right_skewed + 1)
    }

    /// By how much a frame is late on the average, in nanoseconds: of two even draws, one below the other, that is a quarter.
    pub(crate) fn late_on_average(&self, from: u32, to: u32) -> u64 {
        self.late_max(from, to, self.delay(from, to)) / 4
    }

    fn late_max(&self, from: u32, to: u32, delay: u64) -> u64 {
        match &self.ground {
            None => delay * self.settings.jitter_percent / 100,
            Some(ground) => self.most_late(ground, from, to, delay),
        }
    }

    /// By how much a frame may be late where there are cities and lines. A quarter of it on the average.
    fn most_late(&self, ground: &Ground, from: u32, to: u32, delay: u64) -> u64 {
        let of_way = || delay.saturating_sub(ground.lines_delay(from, to)) * self.settings.jitter_percent / 100;
        let same_site = self.place(from).site == self.place(to).site;
        if same_site {
            return delay * self.settings.jitter_percent / 100;
        }
        let mean_of_lines = ground.lines_jitter(from, to);
        ground.jitter(from, to).map_or_else(of_way, |mean| 4 * mean) + 4 * mean_of_lines
    }

    /// What a ping between two nodes says.
    pub(crate) fn round_trip(&self, a: u32, b: u32) -> Duration {
        Duration::from_nanos(self.delay(a, b) + self.delay(b, a))
    }

    /// When a frame sent at `at` on an open link arrives: behind the one before it.
    pub(crate) fn arrival(&mut self, from: u32, to: u32, at: u64) -> u64 {
        let sampled = at + self.delay_now(from, to) + self.settings.frame_us * 1_000;
        let last = &mut self.link(from, to).last[end(from, to)];
        *last = sampled.max(*last);
        *last
    }

    /// What becomes of a frame of so many bytes that is handed over at `at`.
    pub(crate) fn sent(&mut self, from: u32, to: u32, at: u64, size_bytes: u64) -> Sent {
        if !self.shaped || self.place(from).site == self.place(to).site {
            return Sent::Arrives(self.arrival(from, to, at));
        }
        let left = self.lanes.as_mut().map_or(Some(at), |lanes| lanes.leaves(from, at, size_bytes));
        let Some(left) = left else { return Sent::QueueFull };
        let round_trip = self.delay(from, to) + self.delay(to, from);
        let fate = self.bursts.as_mut().map_or(Fate::Late(0), |bursts| bursts.fate(from, to, left, round_trip));
        let Fate::Late(late) = fate else { return Sent::Lost };
        let arrival = self.arrival(from, to, left + late);
        let bounded = self.lanes.as_ref().is_some_and(|lanes| lanes.bounds(to));
        if bounded { Sent::AtLine(arrival) } else { Sent::Arrives(arrival) }
    }

    /// When a frame that came to the far end of a node's line has come through, and whether it was held back.
    pub(crate) fn through_line(&mut self, node: u32, at: u64, size_bytes: u64) -> (u64, bool) {
        self.lanes.as_mut().map_or((at, false), |lanes| lanes.comes(node, at, size_bytes))
    }

    /// Whether a frame comes a second time.
    pub(crate) fn comes_twice(&mut self) -> bool {
        let per_mille = self.settings.duplicates_per_mille;
        per_mille > 0 && self.twice.chance(per_mille)
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

    /// Whether a transfer between two nodes shares a line with others.
    pub(crate) fn shares_lines(&self, from: u32, to: u32) -> bool {
        let bounded = |lanes: &Lanes| lanes.bounds(from) || lanes.bounds(to);
        self.lanes.as_ref().is_some_and(|lanes| bounded(lanes)) && self.place(from).site != self.place(to).site
    }

    /// A transfer of so many bytes over shared lines begins; how long asking for it takes.
    pub(crate) fn begin_flow(&mut self, at: u64, size_bytes: u64, mut flow: Flow) {
        flow.then += 2 * self.delay_now(flow.to, flow.from);
        let kbit_max = self.settings.bandwidth_mbit.max(1) * 1_000;
        self.lanes.iter_mut().for_each(|lanes| lanes.begin(at, size_bytes, kbit_max, flow));
    }

    /// Transfers over shared lines that have ended by now.
    pub(crate) fn ended_flows(&mut self, at: u64) -> Vec<Flow> {
        self.lanes.as_mut().map_or_else(Vec::new, |lanes| lanes.ended(at))
    }

    /// When the next transfer over shared lines ends, and what that was worked out from.
    pub(crate) fn next_flow(&self) -> Option<(u64, u32)> {
        let lanes = self.lanes.as_ref()?;
        Some((lanes.next_end()?, lanes.ticket))
    }

    /// Whether a time worked out from this still holds.
    pub(crate) fn flows_since(&self, ticket: u32) -> bool {
        self.lanes.as_ref().is_some_and(|lanes| lanes.ticket == ticket)
    }

    /// So many round trips come before the one that opens a link.
    pub(crate) fn handshakes(&self) -> u64 {
        self.settings.handshake_round_trips.saturating_sub(1)
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
        let between = (self.from[a] && self.to[b]) || (!self.one_way && self.to[a] && self.from[b]);
        between && !self.pauses && self.part.is_none_or(|part| Self::takes(part, from, to))
    }

    /// Whether a pair of nodes is of the part that is cut.
    const fn takes((base, per_mille): (u64, u64), a: u32, b: u32) -> bool {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        mix(base ^ mix(((low as u64) << 32) | high as u64)) % 1_000 < per_mille
    }
}

/// Which end of their link `node` is.
pub(crate) fn end(node: u32, peer: u32) -> usize {
    usize::from(node > peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        let mut network = Network::new(scenario::Network::default(), Seed([1; 32]));
        for (number, jurisdiction) in ["FR", "FR", "DE"].into_iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            let jurisdiction = jurisdiction.parse().unwrap();
            network.join(
                Place { jurisdiction, operator: number, site: number, at_home: false, city: None, access: None },
                |_, _| (false, false),
            );
        }
        network
    }

    #[test]
    fn a_two_way_cut_stops_both_ways_and_a_one_way_cut_one() {
        let mut network = network();
        network.link(0, 2).up = [true; 2];
        network.link(0, 1).up = [true; 2];
        let (fr, de) = (vec![true, true, false], vec![false, false, true]);
        let cutting = |one_way| Cutting { from: fr.clone(), to: de.clone(), one_way, part: None };
        assert_eq!(network.cut(7, cutting(false)), [(0, 2)]);
        assert!(!network.reaches(0, 2) && !network.reaches(2, 0) && network.linked(0, 1));
        network.heal(7, 0);
        assert!(network.linked(0, 2));
        network.cut(8, cutting(true));
        assert!(!network.reaches(0, 2) && network.reaches(2, 0));
    }

    #[test]
    fn a_cut_that_flaps_lets_through_now_and_then_and_a_partial_one_some_pairs() {
        let mut network = network();
        network.link(0, 2).up = [true; 2];
        let (fr, de) = (vec![true, true, false], vec![false, false, true]);
        network.cut(7, Cutting { from: fr.clone(), to: de.clone(), one_way: false, part: None });
        assert_eq!(network.flap(7, true), []);
        assert!(network.linked(0, 2));
        assert_eq!(network.flap(7, false), [(0, 2)]);
        assert!(!network.linked(0, 2));
        network.heal(7, 0);
        let cut_pairs = (0..1_000).filter(|base| {
            network.cut(8, Cutting { from: fr.clone(), to: de.clone(), one_way: false, part: Some((*base, 300)) });
            let cut = !network.reaches(0, 2);
            assert_eq!(cut, !network.reaches(2, 0), "a pair is cut both ways or not at all");
            network.heal(8, 0);
            cut
        });
        let cut_pairs = cut_pairs.count();
        assert!((250..350).contains(&cut_pairs), "{cut_pairs}");
    }

    #[test]
    fn a_delay_of_a_fault_lies_between_those_it_names_only() {
        let mut network = network();
        let before = (network.delay(0, 2), network.delay(0, 1));
        network.delay_between(3, vec![true, true, false], vec![false, false, true], 450 * MILLI);
        assert_eq!(network.delay(0, 2), before.0 + 450 * MILLI);
        assert_eq!(network.delay(2, 0), before.0 + 450 * MILLI);
        assert_eq!(network.delay(0, 1), before.1);
        network.heal(3, 0);
        assert_eq!(network.delay(0, 2), before.0);
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
