//! Driving one host: start and death of its process, steps of its node and store, and what becomes of their outputs.
use bocage_protocol::{
    id::RequestId,
    io::{Input, LinkChange, Output},
    machine::{Deadline, Machine},
    notice::Notice,
    store::{self, BlockOp, Boot, Store, StoreConfig},
};

use super::{Bug, Event, World};
use crate::{
    blocks::Cost,
    host::{self, Daemon, State, UNARMED},
    population::{address, address_at_home},
    report::Property,
    tape::{Step, Tape},
    trace::{self, FrameMark, Way},
};

/// A node that wants waking at once more often in a row keeps a core busy for nothing.
const SPINS_MAX: u32 = 10_000;

impl<D: Daemon> World<D> {
    /// The process of a host starts: its store reads what the disk holds.
    pub(super) fn start(&mut self, node: u32) {
        let at = self.at;
        let life_seed = {
            let life = self.hosts[node as usize].life + 1;
            let mut of = [0; 8];
            of[..4].copy_from_slice(&node.to_be_bytes());
            of[4..].copy_from_slice(&life.to_be_bytes());
            self.seed.split_for("process", &of)
        };
        let rejoins = self.stood.is_some();
        let host = self.host(node);
        if host.state != State::Down || host.dark {
            return;
        }
        host.life += 1;
        host.state = State::Booting;
        host.rejoining = rejoins.then_some(at);
        host.clock.start(at);
        let segments = host.disk.segments();
        let now = host.clock.now(at);
        let mut store = Store::open(StoreConfig::default(), life_seed.split("store"), segments, now);
        let outputs: Vec<_> = std::iter::from_fn(|| store.poll_output()).collect();
        let deadline = store.poll_timeout();
        host.store = Some(store);
        self.detection.started(node);
        self.trace.note(at, node, Way::Opened, u128::from(self.hosts[node as usize].life));
        self.store_act(node, outputs);
        self.store_arm(node, deadline);
        self.drain_inbox();
    }

    /// The store has read everything: the node opens.
    fn boot(&mut self, node: u32, boot: Boot) {
        let at = self.at;
        let peers = self.bootstrap(node);
        let host = &self.hosts[node as usize];
        let config = self.population.config(node, host.life, self.network.place(node), &host.identity, &peers);
        let mut of = [0; 8];
        of[..4].copy_from_slice(&node.to_be_bytes());
        of[4..].copy_from_slice(&host.life.to_be_bytes());
        let seed = self.seed.split_for("node", &of);
        let now = host.clock.now(at);
        if let Some((taped, tape)) = &mut self.taped
            && *taped == node
        {
            *tape = Some(Tape::new(config.clone(), seed, boot.clone(), now));
        }
        let mut daemon = D::open(config, seed, boot, now);
        let outputs: Vec<_> = std::iter::from_fn(|| daemon.poll_output()).collect();
        if let Some((taped, Some(tape))) = &mut self.taped
            && *taped == node
        {
            tape.outputs(outputs.iter());
        }
        let deadline = daemon.poll_timeout();
        let host = self.host(node);
        host.daemon = Some(daemon);
        host.state = State::Up;
        host.disturbed_at = at;
        self.act(node, outputs);
        self.arm(node, deadline);
        let id = self.hosts[node as usize].id;
        let at_home = self.network.place(node).at_home;
        let address = if at_home { address_at_home(node) } else { address(node) };
        let change = LinkChange::Listening { address };
        let life = self.hosts[node as usize].life;
        self.inbox.push_back((node, life, Input::Link { peer: id, change }));
    }

    /// The process of a host dies. `silently`: its machine with it, so that peers notice by silence only.
    pub(super) fn die(&mut self, node: u32, silently: bool) {
        let peers = std::mem::take(&mut self.host(node).peers);
        for peer in peers {
            let noticed = if silently { self.network.silence_noticed() } else { self.network.crash_noticed() };
            let link = self.network.link(node, peer);
            let (mine, epoch) = (crate::network::end(node, peer), link.epoch);
            link.up[mine] = false;
            link.coming[mine] = false;
            self.queue.push(self.at + noticed, peer, Event::LinkLost { peer: node, epoch });
        }
        let rng = &mut self.streams.disk;
        let host = &mut self.hosts[node as usize];
        if host.store.is_some() {
            host.disk.crash(rng);
        }
        host.die();
        self.edges_lost(node, silently);
        self.checks.eviction.ended(node);
        self.checks.offers.ended(node);
        let at = self.at;
        let law = self.network.place(node).jurisdiction;
        self.detection.died(at, node);
        self.observer.iter_mut().for_each(|observer| observer.died(at, node, law));
        self.trace.note(at, node, Way::Fault, u128::from(silently));
    }

    /// Gives an input to a node and drives its host until it is quiet.
    pub(super) fn give(&mut self, node: u32, input: Input) {
        self.step_node(node, Step::Input(input), None);
        self.drain_inbox();
    }

    /// As `give`, if the process still lives the same life.
    pub(super) fn give_if(&mut self, node: u32, life: u32, input: Input) {
        if self.hosts[node as usize].life == life {
            self.give(node, input);
        }
    }

    /// As `give`, a frame whose mark is known.
    pub(super) fn give_frame(&mut self, node: u32, input: Input, mark: FrameMark) {
        self.step_node(node, Step::Input(input), Some(mark));
        self.drain_inbox();
    }

    fn drain_inbox(&mut self) {
        while let Some((node, life, input)) = self.inbox.pop_front() {
            if self.hosts[node as usize].life == life {
                self.step_node(node, Step::Input(input), None);
            }
        }
    }

    pub(super) fn wake(&mut self, node: u32, life: u32) {
        let at = self.at;
        let host = self.host(node);
        if host.life != life || host.armed != at {
            return;
        }
        host.armed = UNARMED;
        let Some(deadline) = host.daemon.as_ref().and_then(Machine::poll_timeout) else { return };
        if host.clock.world_time(deadline.at) > at {
            self.arm(node, Some(deadline));
            return;
        }
        self.step_node(node, Step::Timeout, None);
        self.drain_inbox();
    }

    /// One step of a node, and what it asked for.
    fn step_node(&mut self, node: u32, step: Step<Input>, mark: Option<FrameMark>) {
        let at = self.at;
        let host = &mut self.hosts[node as usize];
        let Some(daemon) = host.daemon.as_mut() else { return };
        let now = host.clock.now(at);
        match &step {
            Step::Input(input) => self.trace.note(at, node, Way::Input, trace::of_input(input, mark)),
            Step::Timeout => self.trace.note(at, node, Way::Timeout, 0),
        }
        host.tail.step(at, name(&step));
        host.spins = if step == Step::Timeout { host.spins + 1 } else { 0 };
        let taping = self.taped.as_ref().is_some_and(|(taped, _)| *taped == node);
        if let Some((_, Some(tape))) = self.taped.as_mut().filter(|_| taping) {
            tape.step(now, step.clone());
        }
        let outputs = std::mem::take(&mut self.scratch);
        let planted = self.bug == Some(Bug::Panic) && node == 0 && self.healed.is_some();
        let stepped = if planted { Err(Box::new("planted") as _) } else { host::step(daemon, now, step, outputs) };
        let stepped = match stepped {
            Ok(stepped) => stepped,
            Err(panic) => {
                let what = host.tail.complaint(panic.as_ref());
                self.violated(Property::Crash, Some(node), what);
                self.die(node, false);
                self.host(node).state = State::Gone;
                return;
            }
        };
        if let Some((_, Some(tape))) = self.taped.as_mut().filter(|_| taping) {
            tape.outputs(stepped.outputs.iter());
        }
        self.act(node, stepped.outputs);
        self.arm(node, stepped.deadline);
    }

    /// Has the node woken when it wants, unless an earlier wake-up is on its way: that one looks again.
    fn arm(&mut self, node: u32, deadline: Option<Deadline>) {
        let at = self.at;
        let host = &mut self.hosts[node as usize];
        let Some(deadline) = deadline.filter(|_| host.daemon.is_some()) else { return };
        let due = host.clock.world_time(deadline.at).max(at);
        if due > at {
            host.spins = 0;
        } else if host.spins > SPINS_MAX {
            let what = format!("it wants waking at once for {:?}, again and again", deadline.reason);
            self.violated(Property::Crash, Some(node), what);
            self.die(node, false);
            self.host(node).state = State::Gone;
            return;
        }
        if due < host.armed {
            host.armed = due;
            let life = host.life;
            self.queue.push(due, node, Event::Wake { life });
        }
    }

    /// Does what a node asks for.
    fn act(&mut self, node: u32, mut outputs: Vec<Output>) {
        for output in outputs.drain(..) {
            if let Output::Send { to, wire, frame } = output {
                self.send(node, to, wire, frame);
                continue;
            }
            self.trace.note(self.at, node, Way::Output, trace::of_output(&output, None));
            match output {
                Output::Send { .. } => unreachable!("sent above"),
                Output::Datagram { to, bytes } => self.datagram(node, to, bytes),
                Output::Dial { peer, via } => self.dial(node, peer, &via),
                Output::Reserve { relay, wanted } => self.reserve(node, relay, wanted),
                Output::Hangup { peer } if self.keeps_link(node, peer) => {}
                Output::Hangup { peer } => self.hang_up(node, peer),
                Output::Persist { write, batch } => self.store_step(node, store::Input::Persist { write, batch }),
                Output::Load { read, key } => self.store_step(node, store::Input::Load { read, key }),
                Output::Transfer { id, from, what } => self.transfer(node, id, from, &what),
                Output::Provide { content, bytes } => {
                    self.host(node).content.insert(content, bytes);
                }
                Output::Withdraw { content } => {
                    self.host(node).content.remove(&content);
                }
                Output::Run(order) => self.run_order(node, order),
                Output::Serve(delta) => self.host(node).table.change(delta),
                // Nobody asks at a door in this world.
                Output::Keys(_) => {}
                // Certificates last a year here; their operators' keys lie elsewhere.
                Output::Recertify { .. } => self.tally.count("certificates_ending"),
                Output::Reply { request, result } => self.reply(node, request, result),
                Output::Notice(notice) => self.noticed(node, &notice),
            }
        }
        if self.scratch.capacity() < outputs.capacity() {
            self.scratch = outputs;
        }
    }

    fn reply(
        &mut self,
        node: u32,
        request: RequestId,
        result: Result<bocage_protocol::command::Reply, bocage_protocol::refusal::Refusal>,
    ) {
        match self.waiting.remove(&(node, request)) {
            Some(waiting) => self.answered(node, waiting, result),
            None => self.tally.count("replies_to_nobody"),
        }
    }

    fn noticed(&mut self, node: u32, notice: &Notice) {
        self.tally.notice(notice);
        self.observe_notice(node, notice);
        self.noticed_of(node, notice);
        self.learnt(node, notice);
        if let Notice::Applied { cell, line, index, digest } = notice {
            let mut digest = *digest;
            let corrupt = self.hosts[node as usize].corrupt && self.stood.is_some();
            digest[0] ^= u8::from(corrupt);
            if self.scenario.check.agreement {
                let found = self.checks.agreement.applied(*cell, *line, *index, &digest);
                self.note(Property::Agreement, Some(node), found);
            }
        }
        if let Notice::CellQuarantined { cell, reason } = notice
            && !self.hosts[node as usize].rotten
        {
            let what = format!("its replica of cell {cell:?} stopped for ever: {reason}");
            self.violated(Property::Crash, Some(node), what);
        }
    }

    /// One step of a store, and what it asked for.
    fn store_step(&mut self, node: u32, input: store::Input) {
        self.trace.note(self.at, node, Way::StoreInput, trace::of_store_input(&input));
        self.step_store(node, Step::Input(input));
    }

    fn step_store(&mut self, node: u32, step: Step<store::Input>) {
        let at = self.at;
        let outputs = std::mem::take(&mut self.store_scratch);
        let host = &mut self.hosts[node as usize];
        let Some(store) = host.store.as_mut() else { return };
        let now = host.clock.now(at);
        match host::step(store, now, step, outputs) {
            Ok(stepped) => {
                self.store_act(node, stepped.outputs);
                self.store_arm(node, stepped.deadline);
            }
            Err(panic) => {
                let what = host.tail.complaint(panic.as_ref());
                self.violated(Property::Crash, Some(node), format!("in its store, {what}"));
                self.die(node, false);
                self.host(node).state = State::Gone;
            }
        }
    }

    pub(super) fn store_wake(&mut self, node: u32, life: u32) {
        let at = self.at;
        let host = self.host(node);
        if host.life != life || host.store_armed != at {
            return;
        }
        host.store_armed = UNARMED;
        let Some(deadline) = host.store.as_ref().and_then(Machine::poll_timeout) else { return };
        if host.clock.world_time(deadline.at) > at {
            self.store_arm(node, Some(deadline));
            return;
        }
        self.trace.note(at, node, Way::StoreTimeout, 0);
        self.step_store(node, Step::Timeout);
        self.drain_inbox();
    }

    fn store_arm(&mut self, node: u32, deadline: Option<Deadline>) {
        let at = self.at;
        let host = &mut self.hosts[node as usize];
        let Some(deadline) = deadline.filter(|_| host.store.is_some()) else { return };
        let due = host.clock.world_time(deadline.at).max(at);
        if due < host.store_armed {
            host.store_armed = due;
            let life = host.life;
            self.queue.push(due, node, Event::StoreWake { life });
        }
    }

    fn store_act(&mut self, node: u32, mut outputs: Vec<store::Output>) {
        let life = self.hosts[node as usize].life;
        for output in outputs.drain(..) {
            self.trace.note(self.at, node, Way::StoreOutput, trace::of_store_output(&output));
            if let Some((op, cost)) = self.host(node).disk.begin(&output) {
                let takes = self.disk_time(cost);
                self.queue.push(self.at + takes, node, Event::Block { life, op });
                continue;
            }
            match output {
                store::Output::Booted(boot) => self.boot(node, *boot),
                // As declared: the process ends, and is started again when the disk is well.
                store::Output::Unopened(_) if self.hosts[node as usize].disk.fails() => self.die(node, false),
                store::Output::Unopened(fault) => {
                    let what = format!("its store could not be opened: {fault}");
                    self.violated(Property::Crash, Some(node), what);
                }
                store::Output::Persisted(write) => self.inbox.push_back((node, life, Input::Persisted(write))),
                store::Output::PersistFailed(write, fault) => {
                    self.inbox.push_back((node, life, Input::PersistFailed(write, fault)));
                }
                store::Output::Loaded { read, result } => {
                    self.inbox.push_back((node, life, Input::Loaded { read, result }));
                }
                store::Output::Create { .. }
                | store::Output::Write { .. }
                | store::Output::Sync { .. }
                | store::Output::Read { .. }
                | store::Output::Trim { .. } => self.tally.count("verbs_on_missing_segments"),
            }
        }
        if self.store_scratch.capacity() < outputs.capacity() {
            self.store_scratch = outputs;
        }
    }

    fn disk_time(&mut self, cost: Cost) -> u64 {
        let disk = &self.scenario.disk;
        let [least, most] = disk.sync_us;
        match cost {
            Cost::Quick => disk.verb_us * 1_000,
            Cost::Sync => least * 1_000 + self.streams.disk.below((most - least) * 1_000 + 1),
        }
    }

    pub(super) fn block_done(&mut self, node: u32, life: u32, op: BlockOp) {
        let host = self.host(node);
        if host.life != life {
            return;
        }
        let Some(input) = host.disk.complete(op) else { return };
        self.store_step(node, input);
        self.drain_inbox();
    }
}

fn name(step: &Step<Input>) -> &'static str {
    match step {
        Step::Timeout => "timeout",
        Step::Input(input) => match input {
            Input::Received { .. } => "frame",
            Input::Datagram { .. } => "datagram",
            Input::Link { .. } => "link",
            Input::Persisted(_) => "persisted",
            Input::PersistFailed(..) => "persist failed",
            Input::Loaded { .. } => "loaded",
            Input::Transferred { .. } => "transferred",
            Input::Instance { .. } => "instance",
            Input::Reading(_) => "reading",
            Input::Command { .. } => "command",
        },
    }
}
