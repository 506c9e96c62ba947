//! The detector of one node.
use std::collections::BTreeMap;

use bocage_protocol::{
    agenda::Agenda,
    codec::{self, Blob},
    id::NodeId,
    machine::{Deadline, Machine, Outbox},
    membership::detector::{Input, Output},
    random::{Rng, Seed},
    time::{Instant, Now},
};

use super::{
    Swim,
    awareness::Awareness,
    rumours::Rumours,
    suspicion::Suspicion,
    wire::{Claim, Incarnation, Letter, Rumour, Say},
};
use crate::chance::log2_of_whole;

/// Pings for others under way at once; beyond it one that is asked for is not made, and whoever asked hears nothing.
const FOR_OTHERS_MAX: usize = 1_024;

/// Clusters of so many nodes and more exchange states less often.
const PUSH_PULL_NODES: u64 = 32;

/// What wakes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// It is time for the next probe.
    Probe,
    /// The ping was not answered.
    Unanswered,
    /// Nor was anything else.
    Failed,
    Gossip,
    Exchange,
    /// A suspicion is over.
    Dead(NodeId),
    /// A ping for another was not answered.
    ForOther(u64),
}

/// What this node thinks of another.
#[derive(Debug)]
struct Member {
    at: Incarnation,
    state: State,
}

#[derive(Debug)]
enum State {
    Alive,
    Suspect(Suspicion),
    Dead { since: Instant },
}

/// The probe under way.
#[derive(Debug)]
struct Probe {
    target: NodeId,
    number: u64,
    /// Others that were asked and can say that they did not hear it either, less those that said so.
    owing: u64,
    /// Somebody was asked who says so.
    asked: bool,
}

/// See the module above.
#[derive(Debug)]
pub(super) struct Machinery {
    swim: Swim,
    me: NodeId,
    rng: Rng,
    mine: Incarnation,
    /// All that are present but this node; the dead too.
    members: BTreeMap<NodeId, Member>,
    /// Whom to probe in this round, last first.
    round: Vec<NodeId>,
    probe: Option<Probe>,
    /// When the time for the next probe comes.
    beat: Instant,
    /// It came while one was under way.
    late: bool,
    awareness: Awareness,
    /// By the number of the ping: who asked for it, under which number.
    for_others: BTreeMap<u64, (NodeId, u64)>,
    numbers: u64,
    rumours: Rumours,
    agenda: Agenda<Timer>,
    outbox: Outbox<Output>,
}

impl Machinery {
    pub(super) fn new(swim: Swim, me: NodeId, seed: Seed, now: Instant) -> Self {
        let mut rng = seed.rng();
        let mut agenda = Agenda::default();
        let beat = now + rng.duration_below(swim.probe_interval);
        let exchange = now + rng.duration_below(swim.push_pull_interval);
        agenda.set(Timer::Probe, Some(Deadline { at: beat, reason: "probe" }));
        agenda.set(Timer::Exchange, Some(Deadline { at: exchange, reason: "exchange states" }));
        Self {
            swim,
            me,
            rng,
            mine: Incarnation::default(),
            members: BTreeMap::new(),
            round: Vec::new(),
            probe: None,
            beat,
            late: false,
            awareness: Awareness::new(swim.awareness_max),
            for_others: BTreeMap::new(),
            numbers: 0,
            rumours: Rumours::default(),
            agenda,
            outbox: Outbox::default(),
        }
    }

    fn wake(&mut self, timer: Timer, at: Instant, reason: &'static str) {
        self.agenda.set(timer, Some(Deadline { at, reason }));
    }

    /// How many there are, this node too.
    fn count(&self) -> usize {
        self.members.len() + 1
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// So many random ones of those that fit.
    fn some(&mut self, count: usize, fits: impl Fn(&NodeId, &Member) -> bool) -> Vec<NodeId> {
        let mut fitting: Vec<NodeId> =
            self.members.iter().filter(|(node, member)| fits(node, member)).map(|(node, _)| *node).collect();
        self.rng.shuffle(&mut fitting);
        fitting.truncate(count);
        fitting
    }

    /// Each news goes out so often.
    fn limit(&self) -> u64 {
        let digits = (self.count() as u64 + 1).checked_ilog10().unwrap_or(0);
        let is_power = 10_u64.pow(digits) == self.count() as u64 + 1;
        self.swim.retransmit_mult * (u64::from(digits) + u64::from(!is_power))
    }

    /// A datagram with news, as far as there are any.
    fn send(&mut self, to: NodeId, say: Say) {
        let rumours = self.rumours.take(self.limit());
        self.send_with(to, say, rumours);
    }

    fn send_with(&mut self, to: NodeId, say: Say, rumours: Vec<Rumour>) {
        let bytes: Blob = codec::encode(&Letter { say, rumours });
        self.outbox.push(Output::Datagram { to, bytes });
    }

    fn spread(&mut self, now: Instant, rumour: Rumour) {
        if self.rumours.is_empty() {
            let wait = self.swim.gossip_interval;
            self.wake(Timer::Gossip, now + wait, "spread news");
        }
        self.rumours.add(rumour);
    }

    fn gossip(&mut self, now: Instant) {
        let dead_for = self.swim.gossip_to_the_dead;
        let hears = |_: &NodeId, member: &Member| match member.state {
            State::Alive | State::Suspect(_) => true,
            State::Dead { since } => now.since(since) <= dead_for,
        };
        for node in self.some(self.swim.gossip_nodes, hears) {
            if !self.rumours.is_empty() {
                self.send(node, Say::Nothing);
            }
        }
        if !self.rumours.is_empty() {
            let wait = self.swim.gossip_interval;
            self.wake(Timer::Gossip, now + wait, "spread news");
        }
    }

    /// The time for the next probe has come. The beat goes on whatever was missed: who stood still with others must not probe
    /// in step with them ever after.
    fn beat(&mut self, now: Instant) {
        while self.beat <= now {
            self.beat = self.beat + self.swim.probe_interval;
        }
        self.wake(Timer::Probe, self.beat, "probe");
        if self.probe.is_some() {
            self.late = true;
        } else {
            self.probe(now);
        }
    }

    fn probe(&mut self, now: Instant) {
        let Some(target) = self.next_target() else { return };
        let number = self.number();
        self.probe = Some(Probe { target, number, owing: 0, asked: false });
        let mut rumours = self.rumours.take(self.limit());
        if let Some(member) = self.members.get(&target)
            && self.swim.has_lifeguard()
            && matches!(member.state, State::Suspect(_))
            && rumours.iter().all(|rumour| rumour.about != target)
        {
            // The buddy system: whoever is suspected hears of it first, and can refute it.
            rumours.push(Rumour { about: target, at: member.at, claim: Claim::Suspect, from: self.me });
        }
        self.send_with(target, Say::Ping(number), rumours);
        self.wake(Timer::Unanswered, now + self.swim.probe_timeout, "ask others to ping");
        let gives_up = self.awareness.scaled(self.swim.probe_interval);
        self.wake(Timer::Failed, now + gives_up, "give a probe up");
    }

    fn next_target(&mut self) -> Option<NodeId> {
        let lives = |member: &Member| !matches!(member.state, State::Dead { .. });
        for _ in 0..2 {
            while let Some(node) = self.round.pop() {
                if self.members.get(&node).is_some_and(lives) {
                    return Some(node);
                }
            }
            self.round = self.some(usize::MAX, |_, member| lives(member));
        }
        None
    }

    /// The ping was not answered: others are asked.
    fn unanswered(&mut self) {
        let Some((target, number)) = self.probe.as_ref().map(|probe| (probe.target, probe.number)) else { return };
        let fits = |node: &NodeId, member: &Member| *node != target && matches!(member.state, State::Alive);
        let others = self.some(self.swim.indirect_checks, fits);
        if let Some(probe) = self.probe.as_mut().filter(|_| self.swim.has_lifeguard()) {
            (probe.owing, probe.asked) = (others.len() as u64, !others.is_empty());
        }
        for node in others {
            self.send(node, Say::PingFor(number, target));
        }
    }

    /// The probe under way is over. Call `go_on` once all is said about it.
    fn probed(&mut self) -> Option<Probe> {
        let probe = self.probe.take()?;
        self.agenda.set(Timer::Unanswered, None);
        self.agenda.set(Timer::Failed, None);
        Some(probe)
    }

    /// The time for the next probe came meanwhile.
    fn go_on(&mut self, now: Instant) {
        if std::mem::take(&mut self.late) {
            self.probe(now);
        }
    }

    fn failed(&mut self, now: Instant) {
        let Some(probe) = self.probed() else { return };
        // Whoever was asked and says nothing at all: it is rather this node that does not hear.
        self.awareness.worse(if probe.asked { probe.owing } else { 1 });
        if let Some(member) = self.members.get(&probe.target) {
            let at = member.at;
            self.suspect(now, probe.target, at, self.me);
        }
        self.go_on(now);
    }

    fn acknowledged(&mut self, now: Instant, number: u64) {
        if self.probe.as_ref().is_some_and(|probe| probe.number == number) {
            self.probed();
            self.awareness.better();
            self.go_on(now);
        } else if let Some((origin, number)) = self.for_others.remove(&number) {
            self.send(origin, Say::Ack(number));
        }
    }

    fn ping_for(&mut self, now: Instant, origin: NodeId, theirs: u64, target: NodeId) {
        if self.for_others.len() >= FOR_OTHERS_MAX {
            return;
        }
        let number = self.number();
        self.for_others.insert(number, (origin, theirs));
        self.send(target, Say::Ping(number));
        self.wake(Timer::ForOther(number), now + self.swim.probe_timeout, "say that a ping for another failed");
    }

    fn failed_for(&mut self, number: u64) {
        let Some((origin, number)) = self.for_others.remove(&number) else { return };
        if self.swim.has_lifeguard() {
            self.send(origin, Say::Nack(number));
        }
    }

    /// Two nodes tell each other all that they know.
    fn exchange(&mut self, now: Instant) {
        // As memberlist: from 33 nodes on twice, from 65 on three times as seldom, and so on.
        let doublings = log2_of_whole((self.count() as u64).div_ceil(PUSH_PULL_NODES)).unsigned_abs().div_ceil(1 << 32);
        let seldom = u32::try_from(doublings).unwrap_or(u32::MAX).saturating_add(1);
        self.wake(Timer::Exchange, now + self.swim.push_pull_interval * seldom, "exchange states");
        for node in self.some(1, |_, member| matches!(member.state, State::Alive)) {
            self.tell_state(node, false);
        }
    }

    fn tell_state(&mut self, to: NodeId, answer: bool) {
        let mine = Rumour { about: self.me, at: self.mine, claim: Claim::Alive, from: self.me };
        let others = self.members.iter().map(|(node, member)| {
            let claim = match member.state {
                State::Alive => Claim::Alive,
                State::Suspect(_) => Claim::Suspect,
                State::Dead { .. } => Claim::Dead,
            };
            Rumour { about: *node, at: member.at, claim, from: self.me }
        });
        let members = std::iter::once(mine).chain(others).collect();
        self.send_with(to, Say::State { answer, members }, Vec::new());
    }

    fn present(&mut self, now: Instant, node: NodeId, life: u64) {
        let at = Incarnation { life, refuted: 0 };
        if node == self.me {
            self.mine = self.mine.max(at);
            return;
        }
        let mut is_new = false;
        self.members.entry(node).or_insert_with(|| {
            is_new = true;
            Member { at, state: State::Alive }
        });
        if is_new {
            // Somewhere in what is left of this round, so that newcomers are not probed in one go.
            let place = self.rng.index(self.round.len() + 1).unwrap_or(0);
            self.round.insert(place, node);
        } else {
            self.alive(now, node, at);
        }
    }

    fn absent(&mut self, node: NodeId) {
        self.members.remove(&node);
        self.agenda.set(Timer::Dead(node), None);
    }

    fn hear(&mut self, now: Instant, rumour: Rumour) {
        let Rumour { about, at, claim, from } = rumour;
        match claim {
            Claim::Alive => self.alive(now, about, at),
            Claim::Suspect => self.suspect(now, about, at, from),
            Claim::Dead => self.dead(now, about, at, from),
        }
    }

    fn alive(&mut self, now: Instant, about: NodeId, at: Incarnation) {
        let Some(member) = self.members.get_mut(&about).filter(|member| member.at < at) else { return };
        member.at = at;
        let before = std::mem::replace(&mut member.state, State::Alive);
        self.agenda.set(Timer::Dead(about), None);
        if matches!(before, State::Dead { .. }) {
            self.outbox.push(Output::Alive(about));
        }
        self.spread(now, Rumour { about, at, claim: Claim::Alive, from: self.me });
    }

    fn suspect(&mut self, now: Instant, about: NodeId, at: Incarnation, from: NodeId) {
        if about == self.me {
            return self.refute(now, at);
        }
        let count = self.count();
        let Some(member) = self.members.get_mut(&about).filter(|member| member.at <= at) else { return };
        let suspicion = match &mut member.state {
            State::Dead { .. } => return,
            State::Suspect(suspicion) => {
                if !suspicion.confirm(from) {
                    return;
                }
                suspicion
            }
            state @ State::Alive => {
                member.at = at;
                *state = State::Suspect(Suspicion::new(&self.swim, count, from, now));
                let State::Suspect(suspicion) = state else { return };
                suspicion
            }
        };
        let ends = suspicion.ends();
        self.wake(Timer::Dead(about), ends, "end a suspicion");
        self.spread(now, Rumour { about, at, claim: Claim::Suspect, from });
    }

    fn dead(&mut self, now: Instant, about: NodeId, at: Incarnation, from: NodeId) {
        if about == self.me {
            return self.refute(now, at);
        }
        let Some(member) = self.members.get_mut(&about).filter(|member| member.at <= at) else { return };
        if matches!(member.state, State::Dead { .. }) {
            return;
        }
        (member.at, member.state) = (at, State::Dead { since: now });
        self.agenda.set(Timer::Dead(about), None);
        self.outbox.push(Output::Down(about));
        self.spread(now, Rumour { about, at, claim: Claim::Dead, from });
    }

    /// This node is accused, and lives.
    fn refute(&mut self, now: Instant, accused: Incarnation) {
        if accused < self.mine {
            return;
        }
        self.mine = Incarnation { refuted: accused.refuted + 1, ..accused };
        self.awareness.worse(1);
        self.spread(now, Rumour { about: self.me, at: self.mine, claim: Claim::Alive, from: self.me });
    }

    fn read(&mut self, now: Instant, from: NodeId, letter: Letter) {
        letter.rumours.into_iter().for_each(|rumour| self.hear(now, rumour));
        match letter.say {
            Say::Nothing => {}
            Say::Ping(number) => self.send(from, Say::Ack(number)),
            Say::Ack(number) => self.acknowledged(now, number),
            Say::PingFor(number, target) => self.ping_for(now, from, number, target),
            Say::Nack(number) => {
                if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
                    probe.owing = probe.owing.saturating_sub(1);
                }
            }
            Say::State { answer, members } => {
                if !answer {
                    self.tell_state(from, true);
                }
                for rumour in members {
                    // Who is dead there is only suspected here: it may have come back.
                    let claim = if rumour.claim == Claim::Alive { Claim::Alive } else { Claim::Suspect };
                    self.hear(now, Rumour { claim, from: self.me, ..rumour });
                }
            }
        }
    }
}

#[cfg(test)]
impl Machinery {
    /// Whether a node is known to have said that it lives, since it started.
    pub(super) fn refuted(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.at.refuted > 0)
    }

    /// When within an interval its probes begin, in nanoseconds.
    pub(super) fn phase(&self) -> u128 {
        u128::from(self.beat.as_nanos()) % self.swim.probe_interval.as_nanos()
    }
}

impl Machine for Machinery {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Present { node, life } => self.present(now.instant, node, life),
            Input::Absent(node) => self.absent(node),
            Input::Datagram { from, bytes } => {
                // Whoever is no member here says nothing that counts; nor does what cannot be read.
                if self.members.contains_key(&from)
                    && let Ok(letter) = codec::decode::<Letter>("a detector's letter", &bytes)
                {
                    self.read(now.instant, from, letter);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(timer) = self.agenda.pop_due(now) {
            let now = now.instant;
            match timer {
                Timer::Probe => self.beat(now),
                Timer::Unanswered => self.unanswered(),
                Timer::Failed => self.failed(now),
                Timer::Gossip => self.gossip(now),
                Timer::Exchange => self.exchange(now),
                Timer::Dead(node) => {
                    let at = self.members.get(&node).map(|member| member.at).unwrap_or_default();
                    self.dead(now, node, at, self.me);
                }
                Timer::ForOther(number) => self.failed_for(number),
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}
