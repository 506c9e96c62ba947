//! Content stores and runtimes: bytes that go from host to host, instances that start and stop.
use bocage_protocol::{
    cell::Workload,
    id::{InstanceId, NodeId, TransferId},
    io::{Content, ContentKind, Input, Order, TransferFault},
};

use super::{Event, InstanceTurn, MILLI, UnderWay, WORLD, World, change};
use crate::{
    host::{Daemon, Running},
    network::Flow,
};

/// Starting an instance takes so long: compiling, mostly.
const START_MS: [u64; 2] = [30, 120];

/// Stopping one.
const STOP_MS: u64 = 5;

impl<D: Daemon> World<D> {
    pub(super) fn transfer(&mut self, node: u32, id: TransferId, from: NodeId, what: &Content) {
        let life = self.hosts[node as usize].life;
        let giver = self.numbers.get(&from).copied();
        let (result, after) = self.fetched(node, giver, what);
        let from = giver.unwrap_or(node);
        let from_life = self.hosts[from as usize].life;
        let bytes = result.as_ref().ok().filter(|_| from != node && self.network.shares_lines(from, node));
        let shared = bytes.map(|bytes| bytes.len() as u64);
        let hand_over = what.kind == ContentKind::Snapshot;
        let slot = self.transfers.put(UnderWay { id, from, from_life, hand_over, hash: what.hash, result });
        if let Some(size_bytes) = shared {
            let flow = Flow::new(from, node, life, slot, self.scenario.disk.sync_us[1] * 1_000);
            self.network.begin_flow(self.at, size_bytes, flow);
            return self.plan_flows();
        }
        self.queue.push(self.at + after, node, Event::Transferred { life, slot });
    }

    /// The next transfer over shared lines ends then, unless they change before.
    pub(super) fn plan_flows(&mut self) {
        if let Some((at, ticket)) = self.network.next_flow() {
            self.queue.push(at.max(self.at), WORLD, Event::FlowEnds { ticket });
        }
    }

    pub(super) fn flow_ends(&mut self, ticket: u32) {
        if !self.network.flows_since(ticket) {
            return;
        }
        for flow in self.network.ended_flows(self.at) {
            let Flow { to, life, slot, then, .. } = flow;
            self.queue.push(self.at + then, to, Event::Transferred { life, slot });
        }
        self.plan_flows();
    }

    /// What will come of a transfer if nothing befalls it, and when.
    fn fetched(
        &mut self,
        node: u32,
        giver: Option<u32>,
        what: &Content,
    ) -> (Result<bocage_protocol::codec::Blob, TransferFault>, u64) {
        let Some(giver) = giver else { return (Err(TransferFault::NotThere), MILLI) };
        let bytes = self.hosts[giver as usize].content.get(&what.hash).cloned();
        if giver == node {
            return (bytes.ok_or(TransferFault::NotThere), MILLI / 10);
        }
        if !self.runs(giver) || !self.network.linked(node, giver) {
            return (Err(TransferFault::Broken("no answer".into())), self.network.dial_max());
        }
        let size_bytes = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let takes = self.network.transfer_time(giver, node, size_bytes.min(what.size_bytes_max));
        match bytes {
            None => (Err(TransferFault::NotThere), takes),
            Some(_) if size_bytes > what.size_bytes_max => (Err(TransferFault::TooLong), takes),
            Some(bytes) => (Ok(bytes), takes + self.scenario.disk.sync_us[1] * 1_000),
        }
    }

    pub(super) fn transferred(&mut self, node: u32, life: u32, slot: u32) {
        let UnderWay { id, from, from_life, hand_over, hash, mut result } = self.transfers.take(slot);
        if self.hosts[node as usize].life != life {
            return;
        }
        let broken = self.hosts[from as usize].life != from_life || !self.network.linked(node, from);
        if from != node && broken && result.is_ok() {
            result = Err(TransferFault::Broken("the link went down".into()));
        }
        if let Ok(bytes) = &result {
            self.host(node).content.insert(hash, bytes.clone());
            self.tally.count("transfers");
        }
        let result = result.map(|bytes| hand_over.then_some(bytes));
        self.give(node, Input::Transferred { id, result });
    }

    pub(super) fn run_order(&mut self, node: u32, order: Order) {
        match order {
            Order::Start(start) => {
                let id = start.instance;
                let component = match start.workload {
                    Workload::Component { hash, .. } => Some(hash),
                    Workload::Container { .. } | Workload::Site { .. } => None,
                };
                let instances = &mut self.host(node).instances;
                if instances.get(&id).is_some_and(|running| running.generation > start.generation) {
                    return;
                }
                let serves = instances.get(&id).is_some_and(|running| running.serves);
                let running = Running { generation: start.generation, component, serves };
                instances.insert(id, running);
                let [least, most] = START_MS;
                let after = least * MILLI + self.streams.runtime.below((most - least) * MILLI);
                self.instance_later(node, after, id, start.generation, true);
            }
            Order::Stop { instance, generation } => {
                let instances = &mut self.host(node).instances;
                if instances.get(&instance).is_some_and(|running| running.generation > generation) {
                    return;
                }
                instances.remove(&instance);
                self.instance_later(node, STOP_MS * MILLI, instance, generation, false);
            }
        }
    }

    fn instance_later(&mut self, node: u32, after: u64, id: InstanceId, generation: u64, starts: bool) {
        let life = self.hosts[node as usize].life;
        let turn = InstanceTurn { life, id, generation, starts };
        self.queue.push(self.at + after, node, Event::Instance(Box::new(turn)));
    }

    pub(super) fn instance(&mut self, node: u32, turn: &InstanceTurn) {
        let InstanceTurn { life, id, generation, starts } = *turn;
        let host = self.host(node);
        if host.life != life {
            return;
        }
        let mut ready = false;
        if starts {
            let Some(running) = host.instances.get_mut(&id).filter(|running| running.generation == generation) else {
                return;
            };
            ready = running.component.is_some_and(|hash| host.content.contains_key(&hash));
            running.serves = ready;
        }
        let change = change(starts, ready);
        self.tally.count(if ready { "instances_started" } else { "instances_stopped_or_failed" });
        self.give(node, Input::Instance { id, generation, change });
    }
}
