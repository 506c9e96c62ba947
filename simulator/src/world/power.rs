//! Power: machines on their batteries, sites that burn, and light that comes back to one site after the other.
use bocage_protocol::random::Seed;

use super::{Event, SECOND, World};
use crate::host::{Daemon, State};

impl<D: Daemon> World<D> {
    /// The grid is gone: each of these goes on until its battery is empty.
    pub(super) fn run_on_battery(&mut self, fault: u32, nodes: &[u32], [least, most]: [u64; 2], stream: Seed) {
        for node in nodes {
            let mut rng = stream.split_for("battery", &node.to_be_bytes()).rng();
            let lasts = least * SECOND + rng.below((most - least) * SECOND + 1);
            self.queue.push(self.at + lasts, *node, Event::BatteryEmpty { fault });
        }
    }

    pub(super) fn battery_empty(&mut self, node: u32, fault: u32) {
        let fault = &self.faults[fault as usize];
        if fault.active && self.hosts[node as usize].state != State::Gone {
            self.shown[fault.shown].touched += 1;
            self.darken(node);
        }
    }

    /// These burn; gives back the others of their operators in their cities, which lose their power.
    pub(super) fn burn(&mut self, nodes: &[u32]) -> Vec<u32> {
        let burning: Vec<_> = nodes.iter().map(|node| *self.network.place(*node)).collect();
        let all = 0..u32::try_from(self.hosts.len()).expect("nodes are fewer than numbers");
        let campus = all.filter(|number| {
            let place = self.network.place(*number);
            let near = |burnt: &&crate::population::Place| burnt.operator == place.operator && burnt.city == place.city;
            let stands = self.hosts[*number as usize].state != State::Gone && !nodes.contains(number);
            stands && burning.iter().any(|burnt| near(&burnt))
        });
        let campus: Vec<u32> = campus.collect();
        for node in nodes {
            self.leave(*node);
        }
        for node in &campus {
            self.darken(*node);
        }
        campus
    }

    /// A machine loses its power.
    fn darken(&mut self, node: u32) {
        if self.hosts[node as usize].state != State::Down {
            self.die(node, true);
        }
        self.host(node).dark = true;
    }

    /// Power comes back to one site after the other, to all nodes of a site at once.
    pub(super) fn power_back(&mut self, fault: u32, nodes: &[u32]) {
        let fault = &self.faults[fault as usize];
        let (within, stream) = (fault.spec.back_s * SECOND, fault.stream);
        for node in nodes {
            let site = self.network.place(*node).site;
            let after = stream.split_for("back", &site.to_be_bytes()).rng().below(within + 1);
            self.queue.push(self.at + after, *node, Event::PowerBack);
        }
    }

    pub(super) fn has_power(&mut self, node: u32) {
        if std::mem::take(&mut self.host(node).dark) {
            self.start(node);
        }
    }
}
