//! What wears the world down: machines that are slow, crowds of clients, and nodes that come and go as published models of
//! real systems say.
use bocage_protocol::random::Seed;

use super::{Event, MILLI, SECOND, World};
use crate::{
    host::Daemon,
    report::FaultShown,
    scenario::{self, Select, What},
};

impl Event {
    /// Whether a node has work with it.
    pub(super) const fn is_work(&self) -> bool {
        matches!(self, Self::Frame { .. } | Self::Wake { .. } | Self::Later { .. })
    }
}

impl<D: Daemon> World<D> {
    /// What a node does takes so long from now on.
    pub(super) fn slow_down(&mut self, node: u32, takes: u64) {
        let at = self.at;
        let host = self.host(node);
        let (before, now) = (host.slow > 0, takes > 0);
        host.slow = takes;
        host.disturbed_at = at;
        self.slow_nodes = self.slow_nodes + u32::from(now) - u32::from(before);
    }

    /// A slow node is busy with what it just did.
    pub(super) fn be_busy(&mut self, node: u32) {
        let at = self.at;
        if let Some(host) = self.hosts.get_mut(node as usize).filter(|host| host.slow > 0) {
            host.stalled_until = host.stalled_until.max(at + host.slow);
        }
    }

    /// Clients come back so many times as soon; those that are away do now.
    pub(super) fn crowd(&mut self, times: u64, stream: Seed) -> u64 {
        self.crowd = times;
        let mut rng = stream.split("clients").rng();
        let think = self.scenario.workload.think_ms * MILLI / times;
        let idle: Vec<u32> =
            (0u32..).zip(&self.clients).filter(|(_, client)| client.is_idle()).map(|(number, _)| number).collect();
        for client in idle {
            let after = rng.below(think + 1);
            self.client_later(client, after);
        }
        self.clients.len() as u64
    }

    pub(super) const fn crowd_goes(&mut self) {
        self.crowd = 1;
    }

    /// Each node comes and goes as the model says, some together with their site.
    pub(super) fn plan_model(&mut self, churn: &scenario::Churn) {
        let Some(model) = churn.model else { return };
        let duration = self.scenario.duration_s * SECOND;
        self.shown.push(FaultShown { what: What::Power, at_s: 0, touched: 0 });
        let stream = self.seed.split("churn").split(model.name());
        let [stays, stays_away] = model.fits(churn.family);
        for node in 0..u32::try_from(self.hosts.len()).expect("nodes are fewer than numbers") {
            let mut rng = stream.split_for("node", &node.to_be_bytes()).rng();
            let mut at = 0;
            loop {
                let up = stays.draw(&mut rng) * SECOND / churn.faster.max(1);
                let down = stays_away.draw(&mut rng) * SECOND / churn.faster.max(1);
                let whole_site = rng.chance(churn.whole_site_per_mille);
                at += up.max(SECOND);
                if at >= duration {
                    break;
                }
                let site = whole_site.then(|| self.population.site_name(self.network.place(node)).to_owned());
                let node = site.is_none().then_some(node);
                let who = Select { node, site, ..Select::default() };
                let spec = scenario::Fault { who, ..scenario::Fault::new(0, What::Power) };
                let down = down.max(SECOND);
                self.plan_fault(at, spec, Some(down), false);
                at += down;
            }
        }
    }
}
