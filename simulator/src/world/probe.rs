//! The question of `bocage sim validate`, asked in this world as it is asked of real processes: at the same moments, of the
//! same nodes, by the same client, who looks as often. What is asked is in `scenario::validate`; how both are held against
//! each other, in `validate`.
use std::{collections::BTreeMap, sync::Arc};

use bocage_protocol::{
    command::{Command, Reply},
    placement::Policy,
    random::Rng,
    refusal::Refusal,
};

use super::{
    Event, MILLI, SECOND, WORLD, Waiting, World,
    clients::Client,
    watch::{ASK_MAX, Beat},
};
use crate::{
    host::Daemon,
    population::terms,
    scenario::{Question, Validate},
    validate::{ANSWERS_A_MESH, BACK, PHASE, QUIET, REST, WATCH, WRITES_BEFORE, pause, policy_of_all, price_asked},
};

/// The answer came by then, or never.
const GIVE_UP: u64 = 60 * SECOND;

/// What the probe does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The client begins to write, or nodes are asked for the first time.
    Begin,
    /// The leader dies, or the price changes.
    Act,
    /// Nodes are asked whether they know.
    Look,
    /// The client's writes were watched long enough.
    Watched,
    /// The old price is asked again.
    Restore,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Probe {
    asked: Validate,
    rng: Rng,
    /// Whom it befalls, once it begins: the leader, or the node whose price changes.
    whom: u32,
    /// When it befell it.
    acted: Option<u64>,
    /// When writes were acknowledged.
    acknowledged: Vec<u64>,
    policy: Arc<Policy>,
    /// What a plan of everybody costs, by who was asked: before the price changed, and since it is known to have.
    before: BTreeMap<u32, u64>,
    knows: BTreeMap<u32, u64>,
    /// Nodes are asked again and again.
    looks: bool,
    /// In nanoseconds.
    answers: Vec<u64>,
}

impl Probe {
    pub(super) fn new(asked: Validate, rng: Rng) -> Self {
        Self {
            asked,
            rng,
            whom: 0,
            acted: None,
            acknowledged: Vec::new(),
            policy: Arc::default(),
            before: BTreeMap::new(),
            knows: BTreeMap::new(),
            looks: false,
            answers: Vec::new(),
        }
    }
}

const fn nanos(of: std::time::Duration) -> u64 {
    of.as_secs() * SECOND + of.subsec_nanos() as u64
}

impl<D: Daemon> World<D> {
    /// The mesh stands: the question comes once it is quiet.
    pub(super) fn plan_probe(&mut self) {
        if self.probe.is_some() {
            self.ask_after(nanos(QUIET));
        }
    }

    fn ask_after(&mut self, quiet: u64) {
        let Some(probe) = &mut self.probe else { return };
        let phase = probe.rng.below(nanos(PHASE));
        self.probe_later(quiet, Step::Begin);
        self.probe_later(quiet + nanos(WRITES_BEFORE) + phase, Step::Act);
    }

    /// One answer; the next question comes once the mesh is as before.
    fn answer(&mut self, nanos_taken: u64, quiet: u64) {
        let Some(probe) = &mut self.probe else { return };
        probe.answers.push(nanos_taken);
        (probe.acted, probe.looks) = (None, false);
        probe.acknowledged.clear();
        probe.before.clear();
        probe.knows.clear();
        if probe.answers.len() == ANSWERS_A_MESH as usize {
            self.over = true;
        } else {
            self.ask_after(quiet);
        }
    }

    fn probe_later(&mut self, after: u64, step: Step) {
        self.queue.push(self.at + after, WORLD, Event::Beat(Beat::Probe(step)));
    }

    pub(super) fn probe(&mut self, step: Step) {
        let Some(question) = self.probe.as_ref().map(|probe| probe.asked.question) else { return };
        match (question, step) {
            (Question::Failover, Step::Begin) => self.begin_writing(),
            (Question::Failover, Step::Act) => self.kill_leader(),
            (Question::Failover, Step::Watched) => self.watched(),
            (Question::Offer, Step::Begin) => self.begin_looking(),
            (Question::Offer, Step::Act) => self.ask_another_price(),
            (Question::Offer, Step::Look) => self.look(),
            (Question::Offer, Step::Restore) => self.ask_price(|price| price),
            (Question::Failover, Step::Look | Step::Restore) | (Question::Offer, Step::Watched) => {}
        }
    }

    /// What the probe found, in nanoseconds.
    pub(crate) fn probed(&self) -> &[u64] {
        self.probe.as_ref().map_or(&[], |probe| probe.answers.as_slice())
    }

    fn begin_writing(&mut self) {
        let leader = self.turns.leaders().next().and_then(|leader| self.numbers.get(&leader).copied());
        let running = self.running();
        let Some(probe) = &mut self.probe else { return };
        // Nobody leads: the run shows nothing, and says so.
        let Some(leader) = leader else { return };
        let others: Vec<u32> = running.into_iter().filter(|node| *node != leader).collect();
        let Some(edge) = probe.rng.index(others.len()).map(|index| others[index]) else { return };
        probe.whom = leader;
        // One client at a time: the one before has stopped.
        let client = u32::try_from(self.clients.len()).expect("clients are fewer than numbers");
        self.clients.push(Client::at(edge, 0, client));
        self.client_later(client, 0);
    }

    fn kill_leader(&mut self) {
        let at = self.at;
        let Some(probe) = self.probe.as_mut().filter(|_| !self.clients.is_empty()) else { return };
        probe.acted = Some(at);
        let whom = probe.whom;
        self.die(whom, false);
        self.probe_later(nanos(WATCH), Step::Watched);
    }

    /// A client has its answer to a write.
    pub(super) fn probe_acknowledged(&mut self) {
        let at = self.at;
        self.probe.iter_mut().for_each(|probe| probe.acknowledged.push(at));
    }

    fn watched(&mut self) {
        let at = self.at;
        let Some((probe, acted)) = self.probe.as_mut().and_then(|probe| probe.acted.map(|acted| (probe, acted))) else {
            return;
        };
        let (whom, pause) = (probe.whom, pause(acted, &probe.acknowledged));
        match pause {
            Some(pause) => {
                self.clients_go();
                self.queue.push(at, whom, Event::Start);
                self.answer(pause, nanos(BACK) + nanos(REST));
            }
            None if at < acted + GIVE_UP => self.probe_later(10 * MILLI, Step::Watched),
            None => self.over = true,
        }
    }

    fn begin_looking(&mut self) {
        let running = self.running();
        let count = u32::try_from(running.len()).expect("nodes are fewer than numbers");
        let Some(law) = running.first().map(|node| self.network.place(*node).jurisdiction) else { return };
        let Some(probe) = &mut self.probe else { return };
        probe.policy = Arc::new(policy_of_all(law, count));
        probe.whom = probe.rng.index(running.len()).map_or(0, |index| running[index]);
        probe.looks = true;
        self.look();
    }

    fn look(&mut self) {
        let Some(probe) = self.probe.as_ref().filter(|probe| probe.looks) else { return };
        let (policy, asked) = (Arc::clone(&probe.policy), probe.asked);
        self.probe_later(asked.look_every_ms * MILLI, Step::Look);
        for node in self.running() {
            let command = Command::Plan { policy: Box::new((*policy).clone()) };
            self.ask(node, Waiting::Reckoned { asked_at: self.at }, None, command, ASK_MAX);
        }
    }

    fn ask_another_price(&mut self) {
        let at = self.at;
        let Some(probe) = &mut self.probe else { return };
        probe.acted = Some(at);
        self.ask_price(price_asked);
    }

    fn ask_price(&mut self, of: fn(u64) -> u64) {
        let Some(whom) = self.probe.as_ref().map(|probe| probe.whom) else { return };
        let mut terms = terms();
        terms.price.cpu_core_hour = of(terms.price.cpu_core_hour);
        self.ask(whom, Waiting::Offered, None, Command::Offer(Some(terms)), ASK_MAX);
    }

    /// A node says what a plan of everybody costs.
    pub(super) fn reckoned(&mut self, node: u32, asked_at: u64, result: Result<Reply, Refusal>) {
        let others = self.running().len().saturating_sub(1);
        let at = self.at;
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.looks) else { return };
        let Ok(Reply::Planned(plan)) = result else { return };
        let Some(acted) = probe.acted.filter(|acted| *acted <= asked_at) else {
            probe.before.insert(node, plan.price_per_hour);
            return;
        };
        let knows = probe.before.get(&node).is_some_and(|before| *before != plan.price_per_hour);
        if !knows || node == probe.whom {
            self.over |= at > acted + GIVE_UP;
            return;
        }
        probe.knows.entry(node).or_insert(asked_at);
        if probe.knows.len() == others {
            let last = probe.knows.values().max().map_or(0, |last| last - acted);
            self.answer(last, nanos(REST));
            self.probe_later(0, Step::Restore);
        }
    }
}
