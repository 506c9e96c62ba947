//! A small deterministic world: some hosts, a network that delays, loses and cuts, disks that forget what was not synced
//! when their host crashes, and clients that repeat each op until they know its fate. Checkers keep their own memory.
mod clients;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

use self::clients::Client;
pub(super) use self::clients::counter;
use crate::{
    cell::{
        Answered, Applied, Barrier, Candidate, CellConfig, Command, Grant, Input, Message, Need, Output, Query,
        Reached, Replica, Report, Role, Seeking, State, TenantAction, Write,
        state::{
            RULES_OF_CONVERGING,
            fixture::{self, FOUNDED, Founding, Host},
        },
    },
    codec::Blob,
    context::Context,
    id::{CellId, ContentHash, NodeId, ReplicaId, RequestId, WriteId},
    identity::Signed,
    machine::Machine,
    notice::Notice,
    placement::Recovery as Recoverers,
    random::{Rng, Seed},
    refusal::{Code, Refusal},
    store::{CellBoot, CellSnapshot, StoreOp, WriteBatch},
    time::{Instant, Now},
};

pub(super) const STORE: &str = "s";
pub(super) const COUNTER: &str = "n";
/// A dead node is missed by those whose cells sleep after so long.
const VIGIL: Duration = Duration::from_secs(2);

/// How the world behaves.
#[derive(Clone, Debug)]
pub(super) struct Knobs {
    pub(super) delay_us: (u64, u64),
    pub(super) write_us: (u64, u64),
    pub(super) loss_per_mille: u64,
    pub(super) config: CellConfig,
    /// Placement answers searches.
    pub(super) places: bool,
    /// Where copies stand.
    pub(super) away: Vec<&'static str>,
    /// Stores that are not the cell's.
    pub(super) converging: Vec<&'static str>,
    /// What copies' messages take longer than those of others.
    pub(super) away_us: u64,
    /// Who must sign a recovery beside the tenant.
    pub(super) recoverers: Recoverers,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            delay_us: (100, 400),
            write_us: (100, 1_000),
            loss_per_mille: 0,
            config: CellConfig::default(),
            places: false,
            away: Vec::new(),
            converging: Vec::new(),
            away_us: 0,
            recoverers: Recoverers::default(),
        }
    }
}

#[derive(Debug)]
enum Event {
    Deliver {
        to: NodeId,
        from: NodeId,
        message: Box<Message>,
    },
    Persisted {
        site: usize,
        epoch: u64,
        write: WriteId,
    },
    Fetched {
        site: usize,
        epoch: u64,
        content: ContentHash,
        bytes: Option<Blob>,
    },
    Found {
        site: usize,
        epoch: u64,
        need: Need,
        found: Option<Box<(Candidate, Signed<Grant>)>>,
    },
    Wake {
        site: usize,
        epoch: u64,
    },
    Crash {
        site: usize,
    },
    Restart {
        site: usize,
    },
    Client {
        client: usize,
    },
    Impatient {
        client: usize,
        request: RequestId,
    },
    /// A sleeping replica is told that another's node is gone, if it still is; one that was told, that it is back.
    Vigil {
        site: usize,
        about: usize,
    },
}

pub(super) struct Site {
    pub(super) host: Host,
    pub(super) replica: Option<Replica>,
    /// The id under which it has left the cell.
    pub(super) left: Option<ReplicaId>,
    /// What it keeps of a line that ended.
    pub(super) kept: Option<State>,
    /// Its host granted a replica, and none has joined by that: as with `Cells`, nobody else joins, and a restart forgets it.
    expects: bool,
    up: bool,
    epoch: u64,
    /// What survives a crash.
    disk: Option<CellBoot>,
    unsynced: VecDeque<(WriteId, WriteBatch)>,
    provides: BTreeMap<ContentHash, Blob>,
    armed: Option<Instant>,
    /// Its wall clock is ahead by so much.
    pub(super) wall_ahead: Duration,
}

pub(super) struct World {
    pub(super) now: Instant,
    order: u64,
    pub(super) rng: Rng,
    pub(super) knobs: Knobs,
    queue: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    events: BTreeMap<usize, Event>,
    pub(super) sites: Vec<Site>,
    pub(super) founding: Founding,
    pub(super) cell: CellId,
    cuts: BTreeSet<(usize, usize)>,
    /// Who was told that whose node is gone.
    missed: BTreeSet<(usize, usize)>,
    pub(super) sent: u64,
    clients: Vec<Client>,
    requests: u64,
    /// What was applied on each line at each index, by whoever first.
    agreed: BTreeMap<(u64, u64), [u8; 32]>,
    /// What became of recoveries, by ticket.
    pub(super) carried: BTreeMap<u64, Result<u64, Refusal>>,
    /// Recoveries that were shown and do not count.
    pub(super) unbelieved: Vec<String>,
    /// What was broken, in words.
    pub(super) broken: Vec<String>,
    /// Every counter value that an increment was acknowledged with.
    pub(super) acknowledged: BTreeSet<i64>,
    pub(super) reads: usize,
    pub(super) answers: BTreeMap<RequestId, Reached<Answered>>,
    pub(super) outcomes: BTreeMap<RequestId, Reached<Applied>>,
    pub(super) sought: Vec<(Instant, Need)>,
    pub(super) quarantined: Vec<String>,
    pub(super) fetched: usize,
    /// Hash over every output.
    pub(super) trace: blake3::Hasher,
}

impl World {
    /// `voters` found a cell at once; `spare` hosts stand by.
    pub(super) fn new(seed: u64, voters: usize, spare: usize, knobs: Knobs) -> Self {
        Self::with_round_trip(seed, voters, spare, knobs, None)
    }

    /// The same on loopback: a round trip of half a millisecond is agreed on.
    pub(super) fn near(seed: u64, voters: usize, knobs: Knobs) -> Self {
        Self::with_round_trip(seed, voters, 0, knobs, Some(Duration::from_micros(500)))
    }

    fn with_round_trip(seed: u64, voters: usize, spare: usize, knobs: Knobs, round_trip: Option<Duration>) -> Self {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let hosts = fixture::hosts(voters + spare);
        let mut founding = Founding::of(&hosts[..voters]);
        founding.release.policy.away = knobs.away.iter().map(|law| fixture::law(law)).collect();
        founding.release.policy.recovery = knobs.recoverers.clone();
        founding.release.policy.converging = knobs.converging.iter().map(|store| (*store).to_owned()).collect();
        let mut genesis = founding.genesis();
        if !knobs.converging.is_empty() {
            genesis.rules = RULES_OF_CONVERGING;
        }
        genesis.round_trip = round_trip.unwrap_or(genesis.round_trip);
        let site = |host: Host| Site {
            host,
            replica: None,
            left: None,
            kept: None,
            expects: false,
            up: true,
            epoch: 0,
            disk: None,
            unsynced: VecDeque::new(),
            provides: BTreeMap::new(),
            armed: None,
            wall_ahead: Duration::ZERO,
        };
        let mut this = Self {
            now: Instant::START,
            order: 0,
            rng: Seed(bytes).rng(),
            knobs,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            sites: hosts.into_iter().map(site).collect(),
            founding,
            cell: genesis.cell(),
            cuts: BTreeSet::new(),
            missed: BTreeSet::new(),
            sent: 0,
            clients: Vec::new(),
            requests: 0,
            agreed: BTreeMap::new(),
            carried: BTreeMap::new(),
            unbelieved: Vec::new(),
            broken: Vec::new(),
            acknowledged: BTreeSet::new(),
            reads: 0,
            answers: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            sought: Vec::new(),
            quarantined: Vec::new(),
            fetched: 0,
            trace: blake3::Hasher::new(),
        };
        for at in 0..voters {
            let host = &this.sites[at].host;
            let replica =
                Replica::found(this.knobs.config.clone(), Self::seed_of(at), host.identity(), &genesis, this.clock())
                    .unwrap();
            this.sites[at].replica = Some(replica);
            this.drain(at);
        }
        (0..voters).for_each(|at| this.link(at));
        this
    }

    /// A replica that just started is told whom its node is linked to.
    fn link(&mut self, at: usize) {
        for other in (0..self.sites.len()).filter(|other| *other != at) {
            if self.lives_with(at, other) {
                let node = self.sites[other].host.node();
                self.input(at, Input::Link { node, up: true });
            }
        }
    }

    fn seed_of(site: usize) -> Seed {
        Seed([u8::try_from(site).unwrap(); 32])
    }

    pub(super) fn clock(&self) -> Now {
        Now { instant: self.now, wall: FOUNDED + self.now.as_duration() }
    }

    fn clock_of(&self, site: usize) -> Now {
        let clock = self.clock();
        Now { wall: clock.wall + self.sites[site].wall_ahead, ..clock }
    }

    fn at(&mut self, delay: Duration, event: Event) {
        self.order += 1;
        let key = usize::try_from(self.order).unwrap();
        self.events.insert(key, event);
        self.queue.push(Reverse((self.now + delay, self.order, key)));
    }

    fn us(&mut self, (from, to): (u64, u64)) -> Duration {
        Duration::from_micros(from + self.rng.below(to - from + 1))
    }

    pub(super) fn crash_at(&mut self, delay: Duration, site: usize) {
        self.at(delay, Event::Crash { site });
    }

    pub(super) fn restart_at(&mut self, delay: Duration, site: usize) {
        self.at(delay, Event::Restart { site });
    }

    pub(super) fn cut(&mut self, one: usize, other: usize, on: bool) {
        let pair = (one.min(other), one.max(other));
        if on {
            self.cuts.insert(pair)
        } else {
            self.cuts.remove(&pair)
        };
        self.watch(one, other);
        self.watch(other, one);
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |site: &Site| site.replica.as_ref().is_some_and(Replica::is_leader);
        let mut leaders: Vec<usize> = (0..self.sites.len()).filter(|at| leads(&self.sites[*at])).collect();
        leaders.sort_by_key(|at| self.sites[*at].replica.as_ref().unwrap().raw.raft.term);
        leaders.pop()
    }

    pub(super) fn replica(&self, site: usize) -> &Replica {
        self.sites[site].replica.as_ref().expect("a replica runs there")
    }

    pub(super) fn state(&self, site: usize) -> &State {
        self.replica(site).state().expect("it has state")
    }

    pub(super) fn applied(&self, site: usize) -> u64 {
        self.sites[site].replica.as_ref().and_then(Replica::state).map_or(0, State::applied)
    }

    pub(super) fn write(&self, seq: u64, writes: Vec<Write>) -> Command {
        let op = fixture::op("test", seq);
        let state = self.state(self.leader().unwrap_or(0));
        self.founding.tenant.command(state, op, TenantAction::Write(writes))
    }

    /// Proposes at a site; the outcome is in `outcomes`.
    pub(super) fn propose(&mut self, site: usize, command: Command, patience: Duration) -> RequestId {
        let request = self.request();
        let context = Context::until(request, self.now + patience);
        self.input(site, Input::Propose { context, command: Box::new(command) });
        request
    }

    /// Reads the counter at a site; the answer is in `answers`.
    pub(super) fn read(&mut self, site: usize, barrier: Barrier, patience: Duration) -> RequestId {
        let request = self.request();
        let context = Context::until(request, self.now + patience);
        let queries = vec![Query::Get { store: STORE.into(), key: COUNTER.into() }];
        self.input(site, Input::Read { context, barrier, queries });
        request
    }

    pub(super) fn input(&mut self, site: usize, input: Input) {
        let now = self.clock_of(site);
        if !self.sites[site].up {
            return;
        }
        let Some(replica) = &mut self.sites[site].replica else { return };
        replica.handle_input(now, input);
        self.drain(site);
    }

    /// A bug in a step of this replica.
    pub(super) fn break_down(&mut self, site: usize, what: &'static str) {
        let now = self.clock_of(site);
        let replica = self.sites[site].replica.as_mut().expect("a replica runs there");
        replica.outbox.begin_step();
        replica.contained(now, |_| panic!("{what}"));
        self.drain(site);
    }

    fn drain(&mut self, site: usize) {
        let mut outputs = Vec::new();
        let Some(replica) = &mut self.sites[site].replica else { return };
        while let Some(output) = replica.poll_output() {
            outputs.push(output);
        }
        let due = replica.poll_timeout().map(|deadline| deadline.at);
        for output in outputs {
            self.trace.update(format!("{:?} {site} {output:?}", self.now).as_bytes());
            self.carry_out(site, output);
        }
        let epoch = self.sites[site].epoch;
        if let Some(due) = due.filter(|due| self.sites[site].armed.is_none_or(|armed| *due < armed)) {
            self.sites[site].armed = Some(due);
            self.at(due.since(self.now), Event::Wake { site, epoch });
        }
    }

    fn site_of(&self, node: NodeId) -> Option<usize> {
        self.sites.iter().position(|site| site.host.node() == node)
    }

    fn carry_out(&mut self, site: usize, output: Output) {
        let epoch = self.sites[site].epoch;
        match output {
            Output::Send { to, message } => {
                self.sent += 1;
                let far = self.site_of(to).is_some_and(|to| site.max(to) >= self.founding.voters.len());
                let far = Duration::from_micros(if far { self.knobs.away_us } else { 0 });
                let delay = self.us(self.knobs.delay_us) + far;
                if !self.rng.chance(self.knobs.loss_per_mille) {
                    let from = self.sites[site].host.node();
                    // What crosses the network is what the encoding makes of it.
                    let bytes = crate::codec::encode(&message);
                    let message = crate::codec::decode("message", &bytes).expect("own messages decode");
                    self.at(delay, Event::Deliver { to, from, message: Box::new(message) });
                }
            }
            Output::Persist { write, batch } => {
                let delay = self.us(self.knobs.write_us);
                self.sites[site].unsynced.push_back((write, batch));
                self.at(delay, Event::Persisted { site, epoch, write });
            }
            Output::Provide { content, bytes } => {
                self.sites[site].provides.insert(content, bytes);
            }
            Output::Withdraw { content } => {
                self.sites[site].provides.remove(&content);
            }
            Output::Fetch { from, content, size_bytes } => {
                let bytes = self.site_of(from).and_then(|at| self.sites[at].provides.get(&content).cloned());
                assert!(bytes.as_ref().is_none_or(|bytes| bytes.len() as u64 == size_bytes));
                self.at(Duration::from_millis(20), Event::Fetched { site, epoch, content, bytes });
            }
            Output::Outcome { request, result } => self.outcome(request, result),
            Output::Answers { request, result } => self.answer(request, result),
            Output::Seek(need) => {
                self.sought.push((self.now, need.clone()));
                if self.knobs.places {
                    let found = self.place(site, &need).map(Box::new);
                    self.at(Duration::from_millis(30), Event::Found { site, epoch, need, found });
                }
            }
            Output::Notice(Notice::Applied { line, index, digest, .. }) => {
                let first = *self.agreed.entry((line, index)).or_insert(digest);
                if first != digest {
                    self.broken.push(format!("site {site} disagrees at {index} of line {line}"));
                }
            }
            Output::Notice(Notice::CellQuarantined { reason, .. }) => self.quarantined.push(reason),
            Output::Left => {
                let replica = self.sites[site].replica.take().expect("only a replica says that it left");
                self.sites[site].left = Some(replica.replica());
                self.sites[site].disk = None;
            }
            Output::Ended(kept) => {
                let replica = self.sites[site].replica.take().expect("only a replica's line ends");
                self.sites[site].left = Some(replica.replica());
                self.sites[site].kept = kept.map(|state| State::decode(&state).expect("what is kept can be read"));
            }
            Output::Carried { ticket, result } => {
                assert!(self.carried.insert(ticket, result).is_none(), "a recovery is answered once");
            }
            Output::Notice(Notice::RecoveryRefused { reason, .. }) => self.unbelieved.push(reason),
            Output::Notice(_) | Output::Described(_) | Output::Sleeps(_) => {}
        }
    }

    /// The first spare host that is up and not in the cell yet.
    fn place(&mut self, site: usize, need: &Need) -> Option<(Candidate, Signed<Grant>)> {
        let state = self.state(site);
        let taken: BTreeSet<NodeId> = match need.role {
            Seeking::Replica | Seeking::Copy => state.members().map(|member| member.node).collect(),
            Seeking::Instance => state.leases().map(|lease| lease.node).collect(),
        };
        let lawful = |host: &Host| {
            let law = host.certificate.open().expect("a fixture's certificate can be read").jurisdiction;
            need.law.is_none_or(|wanted| wanted == law) && need.node.is_none_or(|wanted| wanted == host.node())
        };
        let rejoins = |host: &Host| need.role == Seeking::Replica && need.node == Some(host.node());
        let free = |(at, other): &(usize, &Site)| {
            let taken = taken.contains(&other.host.node()) && !rejoins(&other.host);
            self.lives_with(site, *at) && !taken && lawful(&other.host)
        };
        let (at, Site { host, .. }) = self.sites.iter().enumerate().find(free)?;
        let role = Role::from(need.role);
        let found = (host.candidate(), host.grant_to(state, role));
        self.sites[at].expects |= need.role != Seeking::Instance;
        Some(found)
    }

    /// What pairs of nodes notice: see `reach/vigil`.
    fn watch(&mut self, site: usize, about: usize) {
        let delay = if self.lives_with(site, about) { Duration::from_millis(50) } else { VIGIL };
        self.at(delay, Event::Vigil { site, about });
    }

    fn lives_with(&self, site: usize, about: usize) -> bool {
        self.sites[about].up && !self.cuts.contains(&(site.min(about), site.max(about)))
    }

    fn vigil(&mut self, site: usize, about: usize) {
        let asleep = self.sites[site].replica.as_ref().is_some_and(Replica::is_asleep);
        let up = self.lives_with(site, about);
        let told = if up { self.missed.remove(&(site, about)) } else { asleep && self.missed.insert((site, about)) };
        if told {
            let node = self.sites[about].host.node();
            self.input(site, Input::Link { node, up });
        }
    }

    fn crash(&mut self, site: usize) {
        for other in (0..self.sites.len()).filter(|other| *other != site) {
            self.missed.remove(&(site, other));
            self.watch(other, site);
        }
        let site = &mut self.sites[site];
        site.up = false;
        site.epoch += 1;
        site.replica = None;
        site.expects = false;
        site.unsynced.clear();
        site.provides.clear();
        site.armed = None;
    }

    fn restart(&mut self, at: usize) {
        if self.sites[at].up {
            return;
        }
        for other in (0..self.sites.len()).filter(|other| *other != at) {
            self.watch(other, at);
        }
        let now = self.clock();
        let seed = Self::seed_of(at);
        let (cell, config) = (self.cell, self.knobs.config.clone());
        let genesis = self.founding.genesis();
        assert!(genesis.cell() == self.cell || self.sites[at].disk.is_some(), "only a usual cell is founded again");
        let site = &mut self.sites[at];
        site.up = true;
        let me = site.host.identity();
        // A founder that crashed before its first write was durable is founded again.
        let replica = match site.disk.clone() {
            Some(boot) => Some(Replica::open(config, seed, me, cell, boot, now).expect("what was kept opens")),
            None => Replica::found(config, seed, me, &genesis, now).ok(),
        };
        self.sites[at].replica = replica;
        self.drain(at);
        self.link(at);
    }

    fn deliver(&mut self, to: NodeId, from: NodeId, message: Message) {
        let (Some(to), Some(from_site)) = (self.site_of(to), self.site_of(from)) else { return };
        if self.cuts.contains(&(to.min(from_site), to.max(from_site))) || !self.sites[to].up {
            return;
        }
        let (now, seed, config, cell) = (self.clock(), Self::seed_of(to), self.knobs.config.clone(), self.cell);
        let site = &mut self.sites[to];
        if let Message::Survey { context } = message {
            let holding = site.replica.as_ref().and_then(|replica| replica.holding(now.instant));
            let report = Box::new(Report { holding, ..Report::default() });
            let message = Box::new(Message::Surveyed { request: context.request, report });
            let (to, from) = (from, site.host.node());
            return self.at(Duration::from_millis(1), Event::Deliver { to, from, message });
        }
        if let (None, Message::Raft { message, .. }) = (&site.replica, &message)
            && site.left != Some(ReplicaId(message.to))
            && std::mem::take(&mut site.expects)
        {
            let me = site.host.identity();
            site.replica = Some(Replica::join(config, seed, me, cell, ReplicaId(message.to), now));
            self.drain(to);
            self.link(to);
        }
        self.input(to, Input::Received { from, message });
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_while(end, |_| true);
    }

    /// Runs until `until` holds, at most so long. How long it took; `None`: it does not hold.
    pub(super) fn run_until(&mut self, time: Duration, until: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        let end = start + time;
        self.run_while(end, |world| !until(world));
        until(self).then(|| self.now.since(start))
    }

    fn run_while(&mut self, end: Instant, go_on: impl Fn(&Self) -> bool) {
        while go_on(self) {
            match self.queue.peek() {
                Some(Reverse((at, _, _))) if *at <= end => {}
                _ => {
                    self.now = self.now.max(end);
                    return;
                }
            }
            let Some(Reverse((at, _, key))) = self.queue.pop() else { return };
            self.now = at;
            let event = self.events.remove(&key).expect("an event is queued once");
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, message } => self.deliver(to, from, *message),
            Event::Persisted { site, epoch, write } => {
                if self.sites[site].epoch != epoch {
                    return;
                }
                let mut synced = false;
                while let Some((_, batch)) = self.sites[site].unsynced.pop_front_if(|(first, _)| *first <= write) {
                    keep(self.cell, &mut self.sites[site].disk, batch);
                    synced = true;
                }
                if synced {
                    self.input(site, Input::Persisted(write));
                }
            }
            Event::Fetched { site, epoch, content, bytes } => {
                if self.sites[site].epoch == epoch {
                    self.fetched += usize::from(bytes.is_some());
                    self.input(site, Input::Fetched { content, bytes });
                }
            }
            Event::Found { site, epoch, need, found } => {
                if self.sites[site].epoch == epoch {
                    self.input(site, Input::Found { need, found });
                }
            }
            Event::Wake { site, epoch } => {
                if self.sites[site].epoch == epoch {
                    self.sites[site].armed = None;
                    let now = self.clock_of(site);
                    if let Some(replica) = &mut self.sites[site].replica {
                        replica.handle_timeout(now);
                    }
                    self.drain(site);
                }
            }
            Event::Crash { site } => self.crash(site),
            Event::Restart { site } => self.restart(site),
            Event::Vigil { site, about } => self.vigil(site, about),
            Event::Client { client } => self.run_client(client),
            Event::Impatient { client, request } => {
                self.lose_patience(client, request);
            }
        }
    }

    /// Loses its disk, and runs again a moment later: it holds nothing of the cell.
    pub(super) fn wipe(&mut self, at: usize) {
        self.crash(at);
        let site = &mut self.sites[at];
        (site.disk, site.up) = (None, true);
    }

    /// Crashes at once.
    pub(super) fn kill(&mut self, site: usize) {
        self.crash(site);
    }

    /// Fails when anything was broken, with all of it.
    pub(super) fn assert_sound(&self) {
        assert!(self.broken.is_empty() && self.quarantined.is_empty(), "{:?} {:?}", self.broken, self.quarantined);
    }
}

fn keep(usual: CellId, disk: &mut Option<CellBoot>, batch: WriteBatch) {
    for op in batch.ops {
        // A line that ended is kept under another name.
        if matches!(op, StoreOp::Snapshot { cell, .. } if cell != usual) {
            continue;
        }
        let boot = disk.get_or_insert_default();
        match op {
            StoreOp::Append { entries, .. } => {
                let first = entries[0].index;
                boot.entries.retain(|entry| entry.index < first);
                boot.entries.extend(entries);
            }
            StoreOp::HardState { state, .. } => boot.hard_state = state,
            StoreOp::Snapshot { meta, state, .. } => {
                boot.entries.retain(|entry| entry.index > meta.index);
                boot.snapshot = Some(CellSnapshot { meta, state });
            }
            StoreOp::DropCell { .. } => *disk = None,
            StoreOp::Put { .. } | StoreOp::Delete { .. } => panic!("a replica keeps nothing else"),
        }
    }
}

/// Whether a read was refused because nobody agreed in time.
pub(super) fn is_timeout<T>(reached: &Reached<T>) -> bool {
    matches!(reached, Reached::No(refusal) if refusal.code == Code::Timeout)
}
