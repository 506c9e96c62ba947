//! Guests that write to converging stores wherever they run, on both sides of a cut, and what all members hold in the end.
use bocage_protocol::{
    cell::{Answer, Answered, Barrier, Outcome, Query, Write},
    command::{Command, Reply},
    id::{InstanceId, OpId, SessionId},
    refusal::Refusal,
};

use super::{
    Beat, Event, MILLI, SECOND, WORLD, Waiting, World,
    clients::number,
    watch::{ASK_MAX, DESCRIBE_EVERY},
};
use crate::{
    check::converge::{Kind, REGISTERS},
    host::Daemon,
    report::Property,
};

/// The converging store of an app that has one.
pub(super) const SHARED: &str = "shared";
const COUNTER: &str = "visits";
/// So many of 1,000 writes are asked for twice, as a client does that lost its patience.
const TWICE_PER_MILLE: u64 = 200;
/// A member that did not answer is asked again after so long.
const AGAIN: u64 = SECOND;

fn register(of: u64) -> String {
    format!("who/{of}")
}

impl<D: Daemon> World<D> {
    /// Guests begin to write to the converging store of an app.
    pub(super) fn share_later(&mut self, app: u32) {
        if self.apps[app as usize].shares() {
            let think = self.scenario.workload.think_ms * MILLI;
            let after = think / 2 + self.streams.clients.below(think + 1);
            self.queue.push(self.at + after, WORLD, Event::Beat(Beat::Share { app }));
        }
    }

    /// A guest writes, somewhere.
    pub(super) fn share(&mut self, app: u32) {
        if self.tally.clients_stopped {
            return;
        }
        self.share_later(app);
        let Some(cell) = self.apps[app as usize].cell else { return };
        let there: Vec<(u32, InstanceId, u64)> = (0_u32..)
            .zip(&self.hosts)
            .filter(|(_, host)| host.daemon.is_some() && host.stalled_until <= self.at)
            .flat_map(|(node, host)| host.instances.iter().map(move |(id, running)| (node, id, running)))
            .filter(|(_, id, running)| id.cell == cell && running.serves)
            .map(|(node, id, running)| (node, *id, running.generation))
            .collect();
        let Some(index) = self.streams.clients.index(there.len()) else { return };
        let (node, instance, generation) = there[index];
        let draw = &mut self.streams.clients;
        let (of, delta) = (draw.below(REGISTERS), i64::try_from(1 + draw.below(3)).unwrap_or(1));
        let kind = match draw.below(10) {
            0..5 => Kind::Add(delta),
            5..8 => Kind::Set(of),
            _ => Kind::Delete(of),
        };
        let times = if draw.chance(TWICE_PER_MILLE) { 2 } else { 1 };
        let write = self.checks.converge[app as usize].begun(node, self.at, kind);
        let store = SHARED.to_owned();
        let writes = vec![match kind {
            Kind::Add(delta) => Write::Increment { store, key: COUNTER.into(), delta },
            Kind::Set(of) => Write::Set { store, key: register(of), value: write.to_string().as_str().into() },
            Kind::Delete(of) => Write::Delete { store, key: register(of) },
        }];
        let session = SessionId::of(format!("{} {write}", self.apps[app as usize].name).as_bytes());
        for _ in 0..times {
            let command = Command::Write { instance, generation, writes: writes.clone() };
            self.ask(node, Waiting::Shared { app, write }, Some(OpId { session, seq: 1 }), command, ASK_MAX);
        }
    }

    pub(super) fn shared(&mut self, app: u32, write: i64, result: Result<Reply, Refusal>) {
        match result {
            Ok(Reply::Applied(applied)) if matches!(applied.outcome, Outcome::Written { .. }) => {
                if self.cut_began.is_some() {
                    self.tally.count("shared_writes_in_a_cut");
                }
                self.checks.converge[app as usize].answered(write);
            }
            Ok(other) => self.violated(Property::Converge, None, format!("a write was answered by {other:?}")),
            Err(refusal) => self.tally.remark("a shared write refused", &refusal.detail),
        }
    }

    /// All members of an app that live are asked what they hold.
    pub(super) fn compare(&mut self, app: u32) {
        for node in self.sharers(app) {
            self.compare_at(app, node);
        }
    }

    /// Nodes that run and have lately said themselves that they belong to an app: others would ask the cell, which holds nothing
    /// of it.
    fn sharers(&self, app: u32) -> Vec<u32> {
        let lately = self.at.saturating_sub(2 * DESCRIBE_EVERY);
        let said =
            self.apps[app as usize].described.iter().filter(|(node, (at, _))| *at >= lately && self.runs(**node));
        let belongs = said.filter(|(node, (_, it))| {
            let id = self.hosts[**node as usize].id;
            it.members.iter().any(|member| member.node == id) || it.leases.iter().any(|lease| lease.node == id)
        });
        belongs.map(|(node, _)| *node).collect()
    }

    pub(super) fn compare_at(&mut self, app: u32, node: u32) {
        let Some(cell) = self.apps[app as usize].cell.filter(|_| self.runs(node)) else { return };
        let keys = std::iter::once(COUNTER.to_owned()).chain((0..REGISTERS).map(register));
        let queries = keys.map(|key| Query::Get { store: SHARED.to_owned(), key }).collect();
        let command = Command::Read { cell, barrier: Barrier::AtLeast(0), queries };
        self.ask(node, Waiting::Same { app }, None, command, ASK_MAX);
    }

    pub(super) fn compared(&mut self, app: u32, node: u32, result: Result<Reply, Refusal>) {
        let Ok(Reply::Answered(Answered { answers, .. })) = result else {
            let beat = Beat::CompareAt { app, node };
            return self.queue.push(self.at + AGAIN, WORLD, Event::Beat(beat));
        };
        let value = |answer: &Answer| match answer {
            Answer::Value(value) => value.as_ref().map(|value| number(&value.value).unwrap_or(i64::MIN)),
            _ => Some(i64::MIN),
        };
        self.checks.converge[app as usize].held(node, answers.iter().map(value).collect());
    }

    /// What was held against what was written.
    pub(super) fn end_sharing(&mut self) {
        let healed = self.healed.unwrap_or(u64::MAX);
        for app in 0..self.apps.len() {
            let this = &self.apps[app];
            if this.cell.is_none() || !this.shares() {
                continue;
            }
            let (name, found) = (this.name.clone(), self.checks.converge[app].ended(healed));
            self.note(Property::Converge, None, found.map_err(|what| format!("app {name}: {what}")));
        }
    }
}
