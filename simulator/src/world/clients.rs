//! Clients, the edges that they speak to, and the guests behind them.
//!
//! ```text
//!   client → edge ─decide→ host of an instance ─Command→ its node … Reply → edge → client
//!               ↖ retry, hold ┘
//! ```
//!
//! The edge asks the very `route::Table::decide` that the real edge asks; the world only carries out what it says.
use std::time::Duration;

use bocage_protocol::{
    cell::{Answer, Outcome, Query, Write},
    command::{Command, Reply},
    id::{CellId, InstanceId, OpId, SessionId},
    refusal::{Code, Refusal},
    route::{Attempt, Decision, RequestFacts, Target},
};

use super::{Bug, Event, MILLI, WORLD, Waiting, World};
use crate::{
    check::{
        cut_contract::{Link, NOTICED},
        exactly_once::ExactlyOnce,
    },
    host::Daemon,
    report::Property,
};

/// The store and the key of an app's counter.
pub(super) const STORE: &str = "default";
pub(super) const COUNTER: &str = "counter";
/// What the keys of entries begin with.
pub(super) const ENTRIES: &str = "entry/";

/// A guest's command takes no longer.
const GUEST_MAX: Duration = Duration::from_secs(5);
/// The edge pings a link with requests under way, and so notices a silent peer after so long.
const SILENCE_AT_EDGE: u64 = 750 * MILLI;
/// A client waits so long before it repeats.
const REPEAT_MS: [u64; 2] = [100, 500];

/// What a client or its edge does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientStep {
    /// The client begins an operation, or repeats one.
    Begin,
    /// The edge decides.
    Decide,
    /// The request arrives where the edge sent it.
    Arrive,
    /// There is no such instance there.
    NotThere,
    /// The answer arrives at the edge.
    Answered,
    /// The edge notices that it will have no answer.
    Lost,
    /// The connection to the edge broke.
    Broken,
    /// The client loses its patience with this attempt.
    GiveUp,
}

/// A client of one app: one operation at a time.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) app: u32,
    /// Among the app's clients.
    pub(super) number: u32,
    /// It speaks to this edge only. Left out: to one drawn for each attempt.
    edge: Option<u32>,
    count: u64,
    current: Option<Current>,
    /// Raised by each step: events of an older one are stale.
    ticket: u32,
    /// Raised by each attempt.
    attempt: u32,
}

#[derive(Debug)]
struct Current {
    writes: bool,
    began: u64,
    /// Answered values before it began.
    floor: i64,
    /// How often it reached an instance, and which one last.
    reached: u32,
    attempts: u32,
    edge: u32,
    edge_life: u32,
    attempt: Attempt,
    attempt_began: u64,
    target: Option<Target>,
    answer: Option<Result<Reply, Refusal>>,
}

impl Client {
    pub(super) const fn new(app: u32, number: u32) -> Self {
        Self { app, number, edge: None, count: 0, current: None, ticket: 0, attempt: 0 }
    }

    /// One that speaks to one edge only.
    pub(super) fn at(edge: u32, app: u32, number: u32) -> Self {
        Self { edge: Some(edge), ..Self::new(app, number) }
    }

    /// Whether it has no operation under way.
    pub(super) const fn is_idle(&self) -> bool {
        self.current.is_none()
    }
}

impl<D: Daemon> World<D> {
    /// A client begins its next operation after some time.
    pub(super) fn client_later(&mut self, client: u32, after: u64) {
        self.client_next(client, after, WORLD, ClientStep::Begin);
    }

    /// The next step of a client's request; makes all planned before stale.
    fn client_next(&mut self, client: u32, after: u64, node: u32, step: ClientStep) {
        let this = &mut self.clients[client as usize];
        this.ticket += 1;
        let ticket = this.ticket;
        self.queue.push(self.at + after, node, Event::Client { client, ticket, step });
    }

    pub(super) fn client(&mut self, client: u32, ticket: u32, step: ClientStep) {
        let this = &self.clients[client as usize];
        let expected = if step == ClientStep::GiveUp { this.attempt } else { this.ticket };
        if ticket != expected {
            return;
        }
        match step {
            ClientStep::Begin => self.begin(client),
            ClientStep::Decide => self.decide(client),
            ClientStep::Arrive => self.arrive_at_guest(client),
            ClientStep::NotThere => self.tried(client, false),
            ClientStep::Lost => self.tried(client, true),
            ClientStep::Answered => self.edge_answers(client),
            ClientStep::Broken => self.repeat(client),
            ClientStep::GiveUp => {
                self.tally.count("attempts_given_up");
                self.repeat(client);
            }
        }
    }

    fn begin(&mut self, client: u32) {
        let running = self.members();
        let mut drawn = || self.streams.clients.index(running.len()).map(|index| running[index]);
        let Some(edge) = self.clients[client as usize].edge.or_else(&mut drawn) else {
            return self.client_later(client, 500 * MILLI);
        };
        let (at, edge_life) = (self.at, self.hosts[edge as usize].life);
        let this = &mut self.clients[client as usize];
        let checker = &mut self.checks.exactly_once[this.app as usize];
        if this.current.is_none() {
            if self.tally.clients_stopped {
                return;
            }
            this.count += 1;
            let reads = self.streams.clients.chance(self.scenario.workload.reads_per_mille);
            // An app that owes a write is written.
            let owes = self.checks.convergence.is_silent(&self.apps[this.app as usize].name);
            let writes = owes || !reads;
            if writes {
                checker.begun((this.number, this.count));
            }
            this.current = Some(Current {
                writes,
                began: at,
                floor: checker.floor(),
                reached: 0,
                attempts: 0,
                edge,
                edge_life,
                attempt: Attempt::default(),
                attempt_began: at,
                target: None,
                answer: None,
            });
        }
        let current = this.current.as_mut().expect("made above");
        (current.edge, current.edge_life) = (edge, edge_life);
        current.attempt = Attempt::default();
        current.attempt_began = at;
        current.attempts += 1;
        this.attempt += 1;
        let patience = self.scenario.workload.attempt_ms_max * MILLI;
        let give_up = Event::Client { client, ticket: this.attempt, step: ClientStep::GiveUp };
        self.queue.push(at + patience, WORLD, give_up);
        self.decide(client);
    }

    fn repeat(&mut self, client: u32) {
        if self.bug == Some(Bug::InventedAnswer)
            && let Some(current) = &self.clients[client as usize].current
            && current.writes
            && current.attempts == 1
        {
            let value = current.floor + 1;
            return self.wrote(client, value, None);
        }
        self.tally.count("attempts_repeated");
        if let Some((edge, tried_at)) = self.tried_at(client) {
            self.observe_failure(edge, tried_at);
        }
        let this = &mut self.clients[client as usize];
        this.attempt += 1;
        if let Some(current) = &mut this.current {
            current.target = None;
            current.answer = None;
        }
        let [least, most] = REPEAT_MS;
        let after = least * MILLI + self.streams.clients.below((most - least) * MILLI);
        self.client_later(client, after);
    }

    /// At which edge the attempt under way is made, and since when.
    fn tried_at(&self, client: u32) -> Option<(u32, u64)> {
        let current = self.clients[client as usize].current.as_ref()?;
        Some((current.edge, current.attempt_began))
    }

    /// The edge asks its table.
    fn decide(&mut self, client: u32) {
        let at = self.at;
        let this = &mut self.clients[client as usize];
        let host = &self.apps[this.app as usize].host;
        let Some(current) = &mut this.current else { return };
        let edge = current.edge;
        if self.hosts[edge as usize].life != current.edge_life {
            return self.repeat(client);
        }
        let waited = Duration::from_nanos(at - current.attempt_began);
        let facts = RequestFacts { host, repeatable: true, waited };
        match self.hosts[edge as usize].table.decide(&facts, &current.attempt) {
            Decision::Go(target) => self.go(client, edge, target),
            Decision::Resolve => {
                let command = Command::Resolve { host: host.clone() };
                this.ticket += 1;
                let waiting = Waiting::Resolve { client, ticket: this.ticket };
                self.ask(edge, waiting, None, command, GUEST_MAX);
            }
            Decision::Hold { at_most, .. } => {
                let after = u64::try_from(at_most.as_nanos()).unwrap_or(MILLI).max(MILLI);
                self.client_next(client, after, edge, ClientStep::Decide);
            }
            Decision::Refuse(refusal) => self.refused(client, &refusal),
        }
    }

    fn refused(&mut self, client: u32, refusal: &Refusal) {
        self.tally.refused(refusal);
        self.repeat(client);
    }

    pub(super) fn resolved(&mut self, client: u32, ticket: u32, result: Result<Reply, Refusal>) {
        let this = &self.clients[client as usize];
        let (true, Some(current)) = (this.ticket == ticket, &this.current) else { return };
        let edge = current.edge;
        match result {
            Ok(_) => self.client_next(client, MILLI / 10, edge, ClientStep::Decide),
            Err(refusal) => self.refused(client, &refusal),
        }
    }

    fn go(&mut self, client: u32, edge: u32, target: Target) {
        let there = self.numbers.get(&target.node).copied();
        let current = self.clients[client as usize].current.as_mut().expect("it is being routed");
        current.target = Some(target);
        let Some(there) = there else { return self.client_next(client, SILENCE_AT_EDGE, edge, ClientStep::Lost) };
        if there == edge {
            return self.client_next(client, 0, there, ClientStep::Arrive);
        }
        if !self.network.linked(edge, there) {
            return self.client_next(client, SILENCE_AT_EDGE, edge, ClientStep::Lost);
        }
        let delay = self.network.delay_now(edge, there);
        self.client_next(client, delay, there, ClientStep::Arrive);
    }

    /// Where the request is now, if it was sent on: edge, node, instance, generation.
    fn sent_to(&self, client: u32) -> Option<(u32, u32, InstanceId, u64)> {
        let current = self.clients[client as usize].current.as_ref()?;
        let target = current.target.as_ref()?;
        let node = self.numbers.get(&target.node)?;
        Some((current.edge, *node, target.instance, target.generation))
    }

    fn arrive_at_guest(&mut self, client: u32) {
        let Some((edge, node, instance, generation)) = self.sent_to(client) else { return };
        let back = if edge == node { 0 } else { self.network.delay_now(node, edge) };
        if !self.runs(node) || !self.network.linked(edge, node) {
            return self.client_next(client, SILENCE_AT_EDGE, edge, ClientStep::Lost);
        }
        let running = self.hosts[node as usize].instances.get(&instance);
        if !running.is_some_and(|running| running.serves && running.generation == generation) {
            self.tally.count("requests_to_absent_instances");
            return self.client_next(client, back, edge, ClientStep::NotThere);
        }
        let this = &mut self.clients[client as usize];
        this.ticket += 1;
        let waiting = Waiting::Guest { client, ticket: this.ticket };
        let current = this.current.as_mut().expect("it has a target");
        current.reached += 1;
        let again = if self.bug == Some(Bug::NewOpOnRetry) { current.attempts } else { 0 };
        let entry = ExactlyOnce::key((this.number, this.count));
        let app = &self.apps[this.app as usize].name;
        let session = SessionId::of(format!("{app} {entry} {again}").as_bytes());
        if current.writes {
            let command = Command::Write { instance, generation, writes: writes(&entry) };
            self.ask(node, waiting, Some(OpId { session, seq: 1 }), command, GUEST_MAX);
        } else {
            let (store, key) = (STORE.to_owned(), COUNTER.to_owned());
            let command = Command::GuestRead { instance, seen: None, queries: vec![Query::Get { store, key }] };
            self.ask(node, waiting, None, command, GUEST_MAX);
        }
    }

    /// The guest's node has answered.
    pub(super) fn guest_answered(&mut self, client: u32, ticket: u32, result: Result<Reply, Refusal>) {
        if self.clients[client as usize].ticket != ticket {
            return;
        }
        let Some((edge, node, ..)) = self.sent_to(client) else { return };
        self.check_contract(client, node, &result);
        let current = self.clients[client as usize].current.as_mut().expect("it has a target");
        current.answer = Some(result);
        if edge == node {
            return self.client_next(client, 0, edge, ClientStep::Answered);
        }
        if !self.network.linked(edge, node) {
            return self.client_next(client, SILENCE_AT_EDGE, edge, ClientStep::Lost);
        }
        let delay = self.network.delay_now(node, edge);
        self.client_next(client, delay, edge, ClientStep::Answered);
    }

    /// The instance did not answer; `perhaps`: it may have done it.
    fn tried(&mut self, client: u32, perhaps: bool) {
        let Some(current) = &mut self.clients[client as usize].current else { return };
        if let Some(target) = current.target.take() {
            current.attempt.tried.push(target.instance);
        }
        current.attempt.perhaps_done |= perhaps;
        current.answer = None;
        self.decide(client);
    }

    fn edge_answers(&mut self, client: u32) {
        let sent_to = self.sent_to(client);
        let Some(current) = &mut self.clients[client as usize].current else { return };
        if self.hosts[current.edge as usize].life != current.edge_life {
            return self.repeat(client);
        }
        let answer = current.answer.take();
        match answer {
            Some(Ok(reply)) => self.told(client, &reply, sent_to),
            Some(Err(refusal)) => self.refused(client, &refusal),
            None => self.repeat(client),
        }
    }

    /// The client has its answer.
    fn told(&mut self, client: u32, reply: &Reply, sent_to: Option<(u32, u32, InstanceId, u64)>) {
        match reply {
            Reply::Applied(applied) => match &applied.outcome {
                Outcome::Written { version, counters } => {
                    let accepted = sent_to.map(|(_, _, instance, generation)| (instance, generation, *version));
                    let value = counters.first().copied().unwrap_or_default();
                    self.wrote(client, value, accepted);
                }
                Outcome::Refused(refusal) => self.refused(client, refusal),
                Outcome::Conflict { .. } | Outcome::Released(_) | Outcome::Done => {
                    let outcome = &applied.outcome;
                    let what = format!("a write was answered by {outcome:?}");
                    self.violated(Property::ExactlyOnce, None, what);
                    self.finish(client);
                }
            },
            Reply::GuestRead { answered, age: None, .. } => self.has_read(client, answered.answers.first()),
            Reply::GuestRead { age: Some(_), .. } => {
                self.tally.count("reads_from_copies");
                self.finish(client);
            }
            other => {
                self.violated(Property::ExactlyOnce, None, format!("a guest's command was answered by {other:?}"));
                self.finish(client);
            }
        }
    }

    fn wrote(&mut self, client: u32, value: i64, accepted: Option<(InstanceId, u64, u64)>) {
        let at = self.at;
        let this = &self.clients[client as usize];
        let (app, op) = (this.app, (this.number, this.count));
        let Some(current) = &this.current else { return };
        let (began, reached) = (current.began, current.reached);
        let (edge, tried_at) = (current.edge, current.attempt_began);
        self.observe_answer("write", edge, began, tried_at);
        self.probe_acknowledged();
        self.tally.writes.add(at - began);
        if self.scenario.check.exactly_once {
            let found = self.checks.exactly_once[app as usize].answered(op, value, at);
            let name = self.apps[app as usize].name.clone();
            self.note(Property::ExactlyOnce, None, found.map_err(|what| format!("app {name}: {what}")));
        }
        if let Some((instance, generation, index)) = accepted
            && reached == 1
            && self.scenario.check.fencing
        {
            self.check_fence(app, instance, generation, index);
        }
        self.checks.cut_contract[app as usize].told(at, value);
        let app = &mut self.apps[app as usize];
        app.silent_max = app.silent_max.max(at - app.acknowledged_at.max(began));
        app.acknowledged_at = at;
        if self.healed.is_some_and(|healed| began >= healed) {
            self.checks.convergence.wrote(&app.name);
        }
        self.finish(client);
    }

    /// A guest's node has answered: where its app is away, as the app's contract says?
    fn check_contract(&mut self, client: u32, node: u32, result: &Result<Reply, Refusal>) {
        let this = &self.clients[client as usize];
        let (Some(current), app) = (&this.current, this.app) else { return };
        let law = self.network.place(node).jurisdiction;
        if current.writes || !self.scenario.check.cut_contract || !self.apps[app as usize].is_away(law) {
            return;
        }
        let (contract, link, at) = (self.apps[app as usize].contract(), self.link_home(app, node), self.at);
        let cut_for = Duration::from_nanos(self.cut_began.map_or(0, |began| at - began));
        let found = match result {
            Ok(Reply::GuestRead { answered, age: Some(age), stale }) => {
                self.tally.count(if *stale { "reads_stale_in_a_cut" } else { "reads_fresh_away" });
                let age = if self.bug == Some(Bug::AgelessRead) { Duration::ZERO } else { *age };
                let value = match answered.answers.first() {
                    Some(Answer::Value(value)) => value.as_ref().map_or(Some(0), |value| number(&value.value)),
                    _ => None,
                };
                let value = value.unwrap_or(i64::MIN);
                self.checks.cut_contract[app as usize].read(&contract, link, at, value, age)
            }
            Ok(_) => Ok(()),
            Err(refusal) => {
                self.tally.count("reads_refused_away");
                self.checks.cut_contract[app as usize].refused(&contract, link, cut_for, &refusal.detail)
            }
        };
        let name = self.apps[app as usize].name.clone();
        self.note(Property::CutContract, Some(node), found.map_err(|what| format!("app {name}: {what}")));
    }

    /// Whether a node can reach any of an app's home, and has been able to for a while.
    fn link_home(&self, app: u32, node: u32) -> Link {
        let at = self.at;
        let lately = |since: u64| at.saturating_sub(since) < NOTICED;
        let Some(began) = self.cut_began else {
            return if lately(self.last_cut_at) && self.last_cut_at > 0 { Link::Changing } else { Link::Whole };
        };
        let count = u32::try_from(self.hosts.len()).expect("nodes are fewer than numbers");
        let app = &self.apps[app as usize];
        let is_home = |number: &u32| app.is_home(self.network.place(*number).jurisdiction);
        let reaches = (0..count).filter(is_home).any(|number| self.network.linked(node, number));
        match (reaches, lately(began)) {
            (true, false) => Link::Whole,
            (false, false) => Link::Cut,
            (_, true) => Link::Changing,
        }
    }

    fn check_fence(&mut self, app: u32, instance: InstanceId, generation: u64, index: u64) {
        let line = self.apps[app as usize].line;
        let cell: CellId = instance.cell;
        let fencing = &mut self.checks.fencing;
        let mut found = fencing.accepted(cell, line, instance, generation, index);
        if self.bug == Some(Bug::StaleLease)
            && let Some((number, generation)) = fencing.ended_before(cell, line, index)
        {
            found = fencing.accepted(cell, line, InstanceId { cell, number }, generation, index);
        }
        self.note(Property::Fencing, None, found);
    }

    fn has_read(&mut self, client: u32, answer: Option<&Answer>) {
        let this = &self.clients[client as usize];
        let Some(current) = &this.current else { return };
        let app = this.app as usize;
        let (floor, began) = (current.floor, current.began);
        let (edge, tried_at) = (current.edge, current.attempt_began);
        self.observe_answer("read", edge, began, tried_at);
        self.tally.reads.add(self.at - began);
        let found = match answer {
            Some(Answer::Value(value)) => {
                let value = value.as_ref().map_or(Some(0), |value| number(&value.value));
                match value {
                    Some(value) => self.checks.exactly_once[app].read(floor, value),
                    None => Err("the counter is not a number".into()),
                }
            }
            other => Err(format!("a read was answered by {other:?}")),
        };
        if self.scenario.check.exactly_once {
            let name = self.apps[app].name.clone();
            self.note(Property::ExactlyOnce, None, found.map_err(|what| format!("app {name}: {what}")));
        }
        self.finish(client);
    }

    fn finish(&mut self, client: u32) {
        let this = &mut self.clients[client as usize];
        this.current = None;
        this.attempt += 1;
        let think = self.scenario.workload.think_ms * MILLI / self.crowd;
        let after = think / 2 + self.streams.clients.below(think + 1);
        self.client_later(client, after);
    }

    /// What was seen on a line that has ended may be gone.
    pub(super) fn lower_floors(&mut self, app: u32, floor: i64) {
        for client in self.clients.iter_mut().filter(|client| client.app == app) {
            if let Some(current) = &mut client.current {
                current.floor = current.floor.min(floor);
            }
        }
    }

    /// What is still under way is let go of: nobody waits for it any more.
    pub(super) fn clients_go(&mut self) {
        for client in &mut self.clients {
            self.tally.abandoned += u64::from(client.current.take().is_some());
            client.ticket += 1;
            client.attempt += 1;
        }
    }

    /// A host died: edges notice that it does not answer, clients that their edge is gone.
    pub(super) fn edges_lost(&mut self, node: u32, silently: bool) {
        let id = self.hosts[node as usize].id;
        for client in 0..u32::try_from(self.clients.len()).expect("clients are fewer than numbers") {
            let Some(current) = &self.clients[client as usize].current else { continue };
            let edge = current.edge;
            let waits_there = current.target.as_ref().is_some_and(|target| target.node == id);
            if edge == node {
                self.client_next(client, 0, WORLD, ClientStep::Broken);
            } else if waits_there && current.answer.is_none() {
                let after = if silently { SILENCE_AT_EDGE } else { self.network.crash_noticed() };
                self.client_next(client, after, edge, ClientStep::Lost);
            }
        }
    }
}

/// What an operation does: one more, and its entry.
fn writes(entry: &str) -> Vec<Write> {
    let store = STORE.to_owned();
    let key = format!("{ENTRIES}{entry}");
    vec![
        Write::Increment { store: store.clone(), key: COUNTER.into(), delta: 1 },
        Write::Set { store, key, value: entry.into() },
    ]
}

/// The number that a counter's bytes say.
pub(super) fn number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A refusal's code as a count's name.
pub(super) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::NotFound => "refused_not_found",
        Code::Conflict => "refused_conflict",
        Code::Unauthorised => "refused_unauthorised",
        Code::Unplaceable => "refused_unplaceable",
        Code::Fenced => "refused_fenced",
        Code::Full => "refused_full",
        Code::Timeout => "refused_timeout",
        Code::Unreachable => "refused_unreachable",
        Code::Invalid => "refused_invalid",
        Code::Unsupported => "refused_unsupported",
        Code::DiskFailed => "refused_disk_failed",
        Code::Expired => "refused_expired",
        Code::NotLeader => "refused_not_leader",
        Code::InstanceFailed => "refused_instance_failed",
    }
}
