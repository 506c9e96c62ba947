//! What befalls the world: the scenario's timeline and its random churn, each fault with what it touched.
//!
//! Each fault draws from a stream of its own, named after what and when it is, and chooses nodes by a rank that each has in
//! that stream. So it befalls the same nodes at the same times whatever else goes on: two variants of a scenario, or one
//! scenario with a fault taken out, see the same of all others.
use bocage_protocol::{
    command::Command,
    departure,
    random::{Seed, mix},
};

use super::{Event, MILLI, SECOND, WORLD, Waiting, World, watch::ASK_MAX};
use crate::{
    host::{Daemon, State},
    network::Cutting,
    population::{Place, Population},
    report::{FaultShown, Property},
    scenario::{self, Select, What},
};

/// A fault of this run.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) spec: scenario::Fault,
    /// When it begins, in nanoseconds after the mesh stood.
    after: u64,
    /// Its line in the report; many random ones share one.
    pub(super) shown: usize,
    declared: bool,
    /// All its randomness.
    pub(super) stream: Seed,
    /// Nodes that it holds down.
    holds: Vec<u32>,
    heals_after: Option<u64>,
    pub(super) active: bool,
}

/// A stall without `for_s` lasts so long.
const STALL: u64 = 5 * SECOND;

/// A node that takes another's place starts so long after it left.
const REPLACED_MS: [u64; 2] = [500, 3_000];

impl Fault {
    /// Whether a node at a place stands on the side that is cut off, and on the other.
    pub(super) fn sides(&self, population: &Population, number: u32, place: &Place) -> (bool, bool) {
        let who = population.matches(&self.spec.who, number, place);
        let from = self.spec.from.as_ref().map_or(!who, |from| population.matches(from, number, place));
        (who, from)
    }

    /// Whether somebody who looks on sees it: random ones are too many, but while they last.
    pub(super) const fn is_shown(&self) -> bool {
        self.declared || self.active
    }

    pub(super) const fn is_active(&self) -> bool {
        self.active
    }

    /// Whether it befalls a node now, as far as that is known: by its name in the scenario, or because it is held down.
    pub(super) fn befalls(&self, population: &Population, number: u32, place: &Place) -> bool {
        let named = match self.spec.what {
            What::Crowd | What::RecoverApps => false,
            _ => self.spec.who.any.is_none() && population.matches(&self.spec.who, number, place),
        };
        // They are held in the order of their numbers.
        self.active && (named || self.holds.binary_search(&number).is_ok())
    }

    /// What, when it begins after the mesh stood, and after how long it heals.
    pub(super) const fn plan(&self) -> (What, u64, Option<u64>) {
        (self.spec.what, self.after, self.heals_after)
    }
}

impl<D: Daemon> World<D> {
    /// Puts the timeline and the churn on the calendar.
    pub(super) fn plan_faults(&mut self) {
        let declared: Vec<scenario::Fault> = self.scenario.fault.iter().map(|fault| fault.get_ref().clone()).collect();
        for spec in declared {
            self.shown.push(FaultShown { what: spec.what, at_s: spec.at_s, touched: 0 });
            let (at, heals_after) = (spec.at_s * SECOND, spec.for_s.map(|seconds| seconds * SECOND));
            self.plan_fault(at, spec, heals_after, true);
        }
        let churn = self.scenario.churn.clone();
        self.plan_churn(What::Replace, churn.replaced_per_mille, None);
        self.plan_churn(What::Crash, churn.crashed_per_mille, Some(churn.down_ms));
        self.plan_model(&churn);
    }

    pub(super) fn plan_fault(&mut self, after: u64, spec: scenario::Fault, heals_after: Option<u64>, declared: bool) {
        let shown = self.shown.len() - 1;
        let number = u32::try_from(self.faults.len()).expect("faults are fewer than numbers");
        let alike = self.faults.iter().filter(|fault| fault.spec.what == spec.what && fault.after == after).count();
        let named: Vec<u8> = after.to_be_bytes().into_iter().chain((alike as u64).to_be_bytes()).collect();
        let stream = self.seed.split("faults").split_for(spec.what.name(), &named);
        self.faults.push(Fault { spec, after, shown, declared, stream, holds: Vec::new(), heals_after, active: false });
        self.queue.push(self.at + after, WORLD, Event::Fault { fault: number });
    }

    fn plan_churn(&mut self, what: What, per_mille_per_minute: u64, down_ms: Option<[u64; 2]>) {
        let duration = self.scenario.duration_s * SECOND;
        let nodes = self.hosts.len() as u64;
        let count = per_mille_per_minute * nodes * self.scenario.duration_s / 60_000;
        if count == 0 {
            return;
        }
        self.shown.push(FaultShown { what, at_s: 0, touched: 0 });
        let stream = self.seed.split("churn");
        for number in 0..count {
            let mut rng = stream.split_for(what.name(), &number.to_be_bytes()).rng();
            let share = duration / count;
            let after = number * share + rng.below(share);
            let who = Select { any: Some(1), ..Select::default() };
            let spec = scenario::Fault { who, ..scenario::Fault::new(0, what) };
            let heals_after =
                down_ms.map(|[least, most]| least * MILLI + rng.below((most.max(least) - least) * MILLI + 1));
            self.plan_fault(after, spec, heals_after, false);
        }
    }

    /// Those selected, by number; `any` of them by their ranks in a stream.
    pub(super) fn selected(&self, select: &Select, runs: bool, stream: Seed) -> Vec<u32> {
        let network = &self.network;
        let mut chosen: Vec<u32> = (0u32..)
            .zip(&self.hosts)
            .filter(|(_, host)| if runs { host.daemon.is_some() } else { host.state != State::Gone })
            .map(|(number, _)| number)
            .filter(|number| self.population.matches(select, *number, network.place(*number)))
            .collect();
        if let Some(any) = select.any {
            let base = stream.split("any").rng().next();
            chosen.sort_by_key(|node| (mix(base ^ mix(u64::from(*node))), *node));
            chosen.truncate(any as usize);
            chosen.sort_unstable();
        }
        chosen
    }

    pub(super) fn fault(&mut self, number: u32) {
        let Fault { spec, shown, heals_after, stream, .. } = self.faults[number as usize].clone();
        if self.healed.is_some() {
            return;
        }
        let (touched, holds) = self.befall(number, &spec, stream);
        self.shown[shown].touched += touched;
        let at = self.at;
        self.observer.iter_mut().for_each(|observer| observer.fault(at, spec.what, Some(touched)));
        let fault = &mut self.faults[number as usize];
        fault.holds = holds;
        fault.active = true;
        if let Some(after) = heals_after {
            self.queue.push(self.at + after, WORLD, Event::Heal { fault: number });
        }
    }

    /// Does it; how many nodes or links were touched, and which nodes it holds down.
    fn befall(&mut self, number: u32, spec: &scenario::Fault, stream: Seed) -> (u64, Vec<u32>) {
        if spec.what == What::RecoverApps {
            return (self.recover_apps(spec.fork), Vec::new());
        }
        match spec.what {
            What::Cut => return (self.cut(number, spec, stream), Vec::new()),
            What::Delay => return (self.delay_between(number, spec, stream), Vec::new()),
            What::Crowd => return (self.crowd(spec.times, stream), Vec::new()),
            _ => {}
        }
        let chosen = self.selected(&spec.who, true, stream);
        if spec.what == What::Loss {
            let mut whom = vec![false; self.hosts.len()];
            for node in &chosen {
                whom[*node as usize] = true;
            }
            self.network.lose(number as usize, whom, spec.per_mille);
            return (chosen.len() as u64, Vec::new());
        }
        match spec.what {
            What::Drain => self.drain(&chosen),
            What::Revoke => self.revoke(&chosen),
            What::Recover => self.recover(&chosen),
            What::Throttle => {
                self.network.throttle(number as usize, &chosen, spec.mbit, self.at);
                self.plan_flows();
                return (chosen.len() as u64, Vec::new());
            }
            What::Blackout => {
                // Counted when its battery is empty, for before that nothing has befallen a node.
                self.run_on_battery(number, &chosen, spec.battery_s.unwrap_or_default(), stream);
                return (0, chosen);
            }
            What::Fire => {
                let powerless = self.burn(&chosen);
                return (chosen.len() as u64, powerless);
            }
            _ => chosen.iter().for_each(|node| self.befall_node(*node, spec, stream)),
        }
        (chosen.len() as u64, chosen)
    }

    fn befall_node(&mut self, node: u32, spec: &scenario::Fault, stream: Seed) {
        match spec.what {
            What::Crash => self.die(node, false),
            What::Power => self.die(node, true),
            What::Wipe => {
                self.die(node, false);
                let host = self.host(node);
                host.disk.wipe();
                host.content.clear();
            }
            What::Stall => self.stall(node, spec.for_s.map_or(STALL, |seconds| seconds * SECOND)),
            What::FailSync => self.host(node).disk.failing = true,
            What::DiskFull => self.host(node).disk.full = true,
            What::Slow => self.slow_down(node, spec.slow_us * 1_000),
            What::Rot => {
                self.die(node, false);
                let mut rng = stream.split_for("rot", &node.to_be_bytes()).rng();
                let host = self.host(node);
                host.disk.rot(&mut rng);
                host.rotten = true;
            }
            What::Leave => self.leave(node),
            What::Replace => {
                self.leave(node);
                let place = *self.network.place(node);
                let new = self.settle(place);
                let [least, most] = REPLACED_MS;
                let mut rng = stream.split_for("start", &node.to_be_bytes()).rng();
                let after = least * MILLI + rng.below((most - least) * MILLI);
                self.queue.push(self.at + after, new, Event::Start);
            }
            What::Cut | What::Loss | What::Delay | What::Throttle => unreachable!("befalls links"),
            What::Blackout | What::Fire => unreachable!("befalls sites"),
            What::Crowd => unreachable!("befalls clients"),
            What::Drain => unreachable!("an order of its operator"),
            What::Revoke | What::Recover => unreachable!("befalls keys"),
            What::RecoverApps => unreachable!("befalls apps"),
        }
    }

    fn drain(&mut self, nodes: &[u32]) {
        let order = departure::Order { within: departure::DRAIN_MAX, as_crash: false };
        for node in nodes {
            self.ask(*node, Waiting::Told, None, Command::Drain(Some(order)), ASK_MAX);
        }
    }

    /// It was drained long enough: what does it still hold?
    fn end_drain(&mut self, nodes: &[u32]) {
        for node in nodes.iter().filter(|node| self.runs(**node)).copied().collect::<Vec<_>>() {
            self.ask(node, Waiting::Drained, None, Command::Drained, ASK_MAX);
            self.ask(node, Waiting::Told, None, Command::Drain(None), ASK_MAX);
        }
    }

    pub(super) fn leave(&mut self, node: u32) {
        self.die(node, true);
        let host = self.host(node);
        host.state = State::Gone;
        host.disk.wipe();
        host.content.clear();
    }

    fn stall(&mut self, node: u32, lasts: u64) {
        let until = self.at + lasts;
        let host = self.host(node);
        (host.stalled_until, host.disturbed_at) = (until, until);
        let peers: Vec<u32> = self.host(node).peers.iter().copied().collect();
        for peer in peers {
            let epoch = self.network.link(node, peer).epoch;
            let noticed = self.network.silence_noticed();
            if noticed < lasts {
                self.queue.push(self.at + noticed, peer, Event::LinkLost { peer: node, epoch });
                self.queue.push(until, node, Event::LinkLost { peer, epoch });
            }
        }
    }

    fn cut(&mut self, number: u32, spec: &scenario::Fault, stream: Seed) -> u64 {
        let (from, to) = self.both_sides(spec, stream);
        self.cut_began = self.cut_began.or(Some(self.at));
        let part = (spec.part_per_mille > 0).then(|| (stream.split("part").rng().next(), spec.part_per_mille));
        let pairs = self.network.cut(number as usize, Cutting { from, to, one_way: spec.one_way, part });
        self.silence(&pairs);
        if let Some([cut, _]) = spec.flaps_ms {
            self.queue.push(self.at + cut * MILLI, WORLD, Event::Flap { fault: number, pauses: true });
        }
        pairs.len() as u64
    }

    /// A cut that flaps begins to let everything through, or to cut again.
    pub(super) fn flap(&mut self, number: u32, pauses: bool) {
        let fault = &self.faults[number as usize];
        let (true, Some([cut, whole]), shown) = (fault.active, fault.spec.flaps_ms, fault.shown) else { return };
        let pairs = self.network.flap(number as usize, pauses);
        if !pauses {
            self.silence(&pairs);
            self.shown[shown].touched += pairs.len() as u64;
        }
        let lasts = if pauses { whole } else { cut };
        self.queue.push(self.at + lasts * MILLI, WORLD, Event::Flap { fault: number, pauses: !pauses });
    }

    fn delay_between(&mut self, number: u32, spec: &scenario::Fault, stream: Seed) -> u64 {
        let (from, to) = self.both_sides(spec, stream);
        let count = |side: &[bool]| side.iter().filter(|stands| **stands).count() as u64;
        let touched = if count(&from) > 0 && count(&to) > 0 { count(&from) } else { 0 };
        self.network.delay_between(number as usize, from, to, spec.delay_ms * MILLI);
        touched
    }

    /// Who stands on which side of what lies between nodes.
    fn both_sides(&self, spec: &scenario::Fault, stream: Seed) -> (Vec<bool>, Vec<bool>) {
        let mut from = vec![false; self.hosts.len()];
        self.selected(&spec.who, false, stream).iter().for_each(|node| from[*node as usize] = true);
        let mut to: Vec<bool> = from.iter().map(|inside| !inside).collect();
        if let Some(other) = &spec.from {
            to = vec![false; self.hosts.len()];
            self.selected(other, false, stream).iter().for_each(|node| to[*node as usize] = true);
        }
        (from, to)
    }

    /// A dial came to nothing because of cuts: they touched something.
    pub(super) fn cut_touches(&mut self, a: u32, b: u32) {
        for fault in self.network.cuts_between(a, b) {
            let shown = self.faults[fault].shown;
            self.shown[shown].touched += 1;
        }
    }

    pub(super) fn heal(&mut self, number: u32) {
        let fault = &mut self.faults[number as usize];
        if !std::mem::take(&mut fault.active) {
            return;
        }
        let holds = std::mem::take(&mut fault.holds);
        let what = fault.spec.what;
        let at = self.at;
        self.observer.iter_mut().for_each(|observer| observer.fault(at, what, None));
        match what {
            What::Cut | What::Loss => {
                self.network.heal(number as usize, self.at);
                self.last_cut_at = self.at;
                if self.network.is_whole() {
                    self.cut_began = None;
                }
            }
            What::Delay => self.network.heal(number as usize, self.at),
            What::Throttle => {
                self.network.heal(number as usize, self.at);
                self.plan_flows();
            }
            What::Slow => holds.iter().for_each(|node| self.slow_down(*node, 0)),
            What::Blackout | What::Fire => self.power_back(number, &holds),
            What::Crowd => self.crowd_goes(),
            What::Crash | What::Power | What::Wipe | What::Rot => {
                for node in holds {
                    self.queue.push(self.at, node, Event::Start);
                }
            }
            What::FailSync | What::DiskFull => {
                for node in holds {
                    let disk = &mut self.host(node).disk;
                    *(if what == What::FailSync { &mut disk.failing } else { &mut disk.full }) = false;
                    if self.runs(node) {
                        self.die(node, false);
                    }
                    self.queue.push(self.at + SECOND, node, Event::Start);
                }
            }
            What::Drain => self.end_drain(&holds),
            What::Stall | What::Replace | What::Leave | What::Revoke | What::Recover | What::RecoverApps => {}
        }
    }

    /// The time of faults is over: everything heals. A declared fault that touched nothing is told.
    pub(super) fn heal_all(&mut self) {
        for number in 0..u32::try_from(self.faults.len()).expect("faults are fewer than numbers") {
            self.heal(number);
        }
        let idle: Vec<FaultShown> = self
            .faults
            .iter()
            .filter(|fault| self.scenario.check.faults && fault.declared && self.shown[fault.shown].touched == 0)
            .map(|fault| self.shown[fault.shown].clone())
            .collect();
        for FaultShown { what, at_s, .. } in idle {
            self.violated(Property::Fault, None, format!("the declared {what:?} at {at_s} s touched nothing"));
        }
        for node in 0..u32::try_from(self.hosts.len()).expect("nodes are fewer than numbers") {
            if self.hosts[node as usize].state == State::Down {
                self.queue.push(self.at, node, Event::Start);
            }
        }
        self.healed = Some(self.at);
    }
}
