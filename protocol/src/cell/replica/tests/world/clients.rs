//! Clients of the world: each adds to one counter and reads it, repeats what was not answered, and holds every answer against what was
//! acknowledged.
use std::time::Duration;

use super::{COUNTER, Event, STORE, World};
use crate::{
    cell::{
        Answer, Answered, Applied, Barrier, Command, Input, Outcome, Query, Reached, TenantAction, Write,
        state::fixture::{self, FOUNDED},
    },
    context::Context,
    id::{NodeId, RequestId},
};

/// A client that adds to the counter and reads it, one after the other.
#[derive(Debug)]
pub(super) struct Client {
    seq: u64,
    target: usize,
    /// The request under way; of a read, what had been acknowledged when it began.
    waits: Option<(RequestId, Option<i64>)>,
    reads_next: bool,
    stop: bool,
    patience: Duration,
}

impl World {
    /// A client starts to count, asking `target` first.
    pub(in super::super) fn add_client(&mut self, target: usize) {
        self.clients.push(Client {
            seq: 1,
            target,
            waits: None,
            reads_next: false,
            stop: false,
            patience: Duration::from_millis(600),
        });
        let client = self.clients.len() - 1;
        self.at(Duration::ZERO, Event::Client { client });
    }

    pub(in super::super) fn stop_clients(&mut self) {
        for client in &mut self.clients {
            client.stop = true;
        }
    }

    /// A client that asks another as soon as nobody answers.
    pub(in super::super) fn add_impatient_client(&mut self, target: usize) {
        self.add_client(target);
        self.clients.last_mut().expect("it was just added").patience = Duration::from_millis(25);
    }

    pub(in super::super) fn clients_are_idle(&self) -> bool {
        self.clients.iter().all(|client| client.waits.is_none())
    }

    pub(super) fn outcome(&mut self, request: RequestId, result: Reached<Applied>) {
        let waiting = self.clients.iter().position(|client| client.waits.is_some_and(|(waits, _)| waits == request));
        if let Some(client) = waiting {
            let pause = self.us((500, 20_000));
            match &result {
                Reached::Yes(Applied { outcome: Outcome::Written { counters, .. }, .. }) => {
                    if !self.acknowledged.insert(counters[0]) {
                        self.broken.push(format!("the value {} was given twice", counters[0]));
                    }
                    self.clients[client].seq += 1;
                    self.clients[client].reads_next = true;
                }
                Reached::Yes(other) => self.broken.push(format!("an increment did {other:?}")),
                Reached::NotLeader(hint) => self.turn(client, *hint),
                Reached::No(_) => self.turn(client, None),
            }
            self.clients[client].waits = None;
            self.at(pause, Event::Client { client });
        }
        if self.outcomes.insert(request, result).is_some() {
            self.broken.push(format!("{request:?} was answered twice"));
        }
    }

    pub(super) fn answer(&mut self, request: RequestId, result: Reached<Answered>) {
        let waiting = self.clients.iter().position(|client| client.waits.is_some_and(|(waits, _)| waits == request));
        if let Some(client) = waiting {
            let pause = self.us((500, 20_000));
            let floor = self.clients[client].waits.and_then(|(_, floor)| floor).unwrap_or(0);
            match &result {
                Reached::Yes(Answered { answers, .. }) => {
                    let value = counter(&answers[0]);
                    if value < floor {
                        self.broken.push(format!("a stale read: {value} after {floor} was acknowledged"));
                    }
                    self.reads += 1;
                    self.clients[client].reads_next = false;
                }
                Reached::NotLeader(hint) => self.turn(client, *hint),
                Reached::No(_) => self.turn(client, None),
            }
            self.clients[client].waits = None;
            self.at(pause, Event::Client { client });
        }
        if self.answers.insert(request, result).is_some() {
            self.broken.push(format!("{request:?} was answered twice"));
        }
    }

    /// Nobody answered in time: another is asked.
    pub(super) fn lose_patience(&mut self, client: usize, request: RequestId) {
        if self.clients[client].waits.is_some_and(|(waits, _)| waits == request) {
            self.clients[client].waits = None;
            self.turn(client, None);
            self.run_client(client);
        }
    }

    fn turn(&mut self, client: usize, hint: Option<NodeId>) {
        let next = (self.clients[client].target + 1) % self.sites.len();
        self.clients[client].target = hint.and_then(|node| self.site_of(node)).unwrap_or(next);
    }

    pub(super) fn run_client(&mut self, client: usize) {
        let Client { seq, target, reads_next, stop, patience, .. } = self.clients[client];
        if stop || self.clients[client].waits.is_some() {
            return;
        }
        let request = self.request();
        let floor = reads_next.then(|| self.acknowledged.last().copied().unwrap_or(0));
        self.clients[client].waits = Some((request, floor));
        self.at(patience * 2, Event::Impatient { client, request });
        let context = Context::until(request, self.now + patience);
        let input = if reads_next {
            let queries = vec![Query::Get { store: STORE.into(), key: COUNTER.into() }];
            Input::Read { context, barrier: Barrier::Linear, queries }
        } else {
            let op = fixture::op(&format!("client {client}"), seq);
            let write = Write::Increment { store: STORE.into(), key: COUNTER.into(), delta: 1 };
            let action = TenantAction::Write(vec![write]);
            let signed = self.founding.tenant.sign(Some(self.cell), op, FOUNDED, action);
            Input::Propose { context, command: Box::new(Command::Tenant { signed, receipts: Vec::new() }) }
        };
        self.input(target, input);
    }
}

/// The counter in an answer.
pub(in super::super) fn counter(answer: &Answer) -> i64 {
    let Answer::Value(value) = answer else { panic!("asked for a value, got {answer:?}") };
    value.as_ref().map_or(0, |value| std::str::from_utf8(&value.value).unwrap().parse().unwrap())
}
