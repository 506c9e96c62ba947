//! A small world of many members: a virtual clock, links with delay, and a stand-in for `reach` that makes the links that
//! members want. What runs in it is the shipped machine.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bocage_protocol::{
    codec::Blob,
    id::{DiskId, MeshId, NodeId},
    identity::{Genesis, Keypair, NodeCertificate, NodeIdentity, Party, PublicKey, Signed},
    machine::Machine,
    membership::{Address, Config, Draft, Input, Liveness, Membership, Message, Output},
    notice::Notice,
    random::{Rng, Seed},
    record::{Kind, RecordBody, Scope, Shared, Subject},
    refusal::Refusal,
    resources::{Jurisdiction, Site},
    time::{Instant, Now, Timestamp},
};

pub(crate) const EPOCH_MS: u64 = 1_800_000_000_000;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn law(code: &str) -> Jurisdiction {
    code.parse().unwrap()
}

pub(crate) fn mesh() -> MeshId {
    MeshId::of(b"test mesh")
}

pub(crate) fn operator_keys(operator: usize) -> Keypair {
    Keypair::from_secret(blake3::hash(format!("operator {operator}").as_bytes()).as_bytes())
}

pub(crate) fn node_keys(number: usize) -> Keypair {
    Keypair::from_secret(blake3::hash(format!("node {number}").as_bytes()).as_bytes())
}

pub(crate) fn certificate(number: usize, operator: usize, jurisdiction: Jurisdiction) -> Signed<NodeCertificate> {
    let keys = operator_keys(operator);
    let certificate = NodeCertificate {
        mesh: mesh(),
        operator: Genesis::new(Party::Operator, &format!("op{operator}"), keys.public(), Timestamp(0)),
        node: node_keys(number).node(),
        site: Site("site".into()),
        jurisdiction,
        domains: Vec::new(),
        not_before: Timestamp(0),
        expires: Timestamp(EPOCH_MS * 2),
        serial: 1,
        sealing: PublicKey([0; 32]),
        successions: None,
    };
    Signed::seal(&keys, &certificate)
}

pub(crate) fn identity(number: usize, operator: usize, jurisdiction: Jurisdiction) -> NodeIdentity {
    let certificate = certificate(number, operator, jurisdiction);
    NodeIdentity::new(node_keys(number), certificate, mesh(), Timestamp(EPOCH_MS)).unwrap()
}

/// Whether what one sends to the other is lost.
pub(crate) type Cut = Box<dyn Fn(&NodeId, &NodeId) -> bool>;

/// One member and what it said so far.
pub(crate) struct Host {
    pub(crate) member: Membership,
    pub(crate) identity: NodeIdentity,
    pub(crate) since: Instant,
    pub(crate) wanted: BTreeSet<NodeId>,
    /// What its disk holds.
    pub(crate) keyed: BTreeMap<Blob, Blob>,
    /// When each record was learned, by hash.
    pub(crate) learned: BTreeMap<[u8; 32], Instant>,
    pub(crate) verdicts: Vec<(Instant, NodeId, Liveness, Vec<Signed<RecordBody>>)>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) weighed: Vec<Result<(), Refusal>>,
    pub(crate) recertify: Vec<(Instant, Timestamp)>,
    wake: Instant,
}

enum Event {
    Deliver { from: NodeId, to: NodeId, message: Message },
    Up(NodeId, NodeId),
    Down(NodeId, NodeId),
    Wake(NodeId),
    Dial(NodeId, NodeId),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    pub(crate) links: BTreeSet<(NodeId, NodeId)>,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    pub(crate) rng: Rng,
    pub(crate) delay: Duration,
    /// A message or link between them is lost.
    pub(crate) cut: Cut,
    /// Copies of each record that were delivered, by hash.
    pub(crate) copies: BTreeMap<[u8; 32], u64>,
    /// Records that came because they were asked for.
    pub(crate) fetched: u64,
    /// Records whose headers one told another: the start of the hash, who, whom.
    pub(crate) told: BTreeSet<(u64, NodeId, NodeId)>,
    /// These push nothing of what others said.
    pub(crate) mute: BTreeSet<NodeId>,
    pub(crate) messages: u64,
    pub(crate) config: Config,
    /// Those whose certificates were made, dead ones too.
    pub(crate) laws: BTreeMap<NodeId, Jurisdiction>,
    /// Every record delivered to a node of another jurisdiction than the record's scope.
    pub(crate) strays: u64,
    /// Who was asked to say what is said about somebody.
    pub(crate) asked: BTreeSet<NodeId>,
    pub(crate) bootstrap: Vec<NodeId>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            now: Instant::START,
            hosts: BTreeMap::new(),
            links: BTreeSet::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            rng: Seed(bytes).rng(),
            delay: ms(50),
            cut: Box::new(|_, _| false),
            copies: BTreeMap::new(),
            fetched: 0,
            told: BTreeSet::new(),
            mute: BTreeSet::new(),
            messages: 0,
            config: Config::default(),
            laws: BTreeMap::new(),
            strays: 0,
            asked: BTreeSet::new(),
            bootstrap: Vec::new(),
        }
    }

    pub(crate) fn clock(&self) -> Now {
        Now { instant: self.now, wall: Timestamp(EPOCH_MS) + self.now.as_duration() }
    }

    pub(crate) fn start(&mut self, number: usize, operator: usize, jurisdiction: Jurisdiction) -> NodeId {
        let identity = identity(number, operator, jurisdiction);
        self.start_with(identity, BTreeMap::new(), number)
    }

    pub(crate) fn start_with(&mut self, identity: NodeIdentity, keyed: BTreeMap<Blob, Blob>, number: usize) -> NodeId {
        let node = identity.node();
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let disk = DiskId::of(&number.to_le_bytes());
        let config = self.config.clone();
        let now = self.clock();
        let member = Membership::open(config, Seed(seed), identity.clone(), mesh(), &keyed, disk, 1, now);
        self.laws.insert(node, identity.certificate().jurisdiction);
        let host = Host {
            member,
            identity,
            since: self.now,
            wanted: BTreeSet::new(),
            keyed,
            learned: BTreeMap::new(),
            verdicts: Vec::new(),
            notices: Vec::new(),
            weighed: Vec::new(),
            recertify: Vec::new(),
            wake: Instant::from_nanos(u64::MAX),
        };
        self.hosts.insert(node, host);
        self.input(node, Input::Addresses(vec![Address::from(format!("/node/{number}"))]));
        for peer in self.bootstrap.clone() {
            if peer != node {
                self.push(Duration::ZERO, Event::Dial(node, peer));
            }
        }
        node
    }

    /// Kills without a word; its peers notice after `notice`.
    pub(crate) fn kill(&mut self, node: NodeId, notice: Duration) -> Host {
        let host = self.hosts.remove(&node).expect("it runs");
        for (a, b) in self.links.clone() {
            if a == node || b == node {
                self.links.remove(&(a, b));
                let other = if a == node { b } else { a };
                self.push(notice, Event::Down(other, node));
            }
        }
        host
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    pub(crate) fn input(&mut self, node: NodeId, input: Input) {
        let now = self.clock();
        let Some(host) = self.hosts.get_mut(&node) else { return };
        host.member.handle_input(now, input);
        self.drain(node);
    }

    fn drain(&mut self, node: NodeId) {
        let (now, delay) = (self.now, self.delay);
        let Some(mut host) = self.hosts.remove(&node) else { return };
        while let Some(output) = host.member.poll_output() {
            match output {
                Output::Send { to, mut message } => {
                    if let Message::Records(parcels) = &mut message
                        && self.mute.contains(&node)
                    {
                        parcels.retain(|parcel| parcel.signer().0 == node.0);
                    }
                    let jitter = self.rng.duration_below(ms(5));
                    self.push(delay + jitter, Event::Deliver { from: node, to, message });
                }
                Output::Want { peer, wanted: true, .. } => {
                    host.wanted.insert(peer);
                    self.push(Duration::ZERO, Event::Dial(node, peer));
                }
                Output::Want { peer, wanted: false, .. } => {
                    host.wanted.remove(&peer);
                }
                Output::Learned(record) => {
                    host.learned.insert(record.hash, now);
                }
                Output::Expired(_) | Output::Keys(_) | Output::Datagram { .. } => {}
                Output::Verdict { about, state, evidence } => host.verdicts.push((now, about, state, evidence)),
                Output::Keep { key, value: Some(value) } => {
                    host.keyed.insert(key, value);
                }
                Output::Keep { key, value: None } => {
                    host.keyed.remove(&key);
                }
                Output::Weighed { result, .. } => host.weighed.push(result),
                Output::Recertify { expires } => host.recertify.push((now, expires)),
                Output::Certified(identity) => host.identity = *identity,
                Output::Notice(notice) => host.notices.push(notice),
            }
        }
        if let Some(deadline) = host.member.poll_timeout()
            && deadline.at != host.wake
        {
            host.wake = deadline.at;
            let after = deadline.at.since(now);
            self.push(after, Event::Wake(node));
        }
        self.hosts.insert(node, host);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(((at, _), _)) = self.queue.first_key_value()
            && *at <= end
        {
            let ((at, _), event) = self.queue.pop_first().expect("it was there");
            self.now = at;
            self.step(event);
        }
        self.now = end;
    }

    fn linked(&self, a: NodeId, b: NodeId) -> bool {
        self.links.contains(&(a.min(b), a.max(b)))
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                self.messages += 1;
                if let Message::Announce(headers) = &message {
                    self.told.extend(headers.iter().map(|header| (header.hash, from, to)));
                }
                if self.linked(from, to) && !(self.cut)(&from, &to) {
                    self.count(to, &message);
                    self.input(to, Input::Received { from, message });
                }
            }
            Event::Wake(node) => {
                let now = self.clock();
                let Some(host) = self.hosts.get_mut(&node) else { return };
                if host.wake > self.now {
                    return;
                }
                host.wake = Instant::from_nanos(u64::MAX);
                host.member.handle_timeout(now);
                self.drain(node);
            }
            Event::Dial(from, to) => self.dial(from, to),
            Event::Up(a, b) => self.up(a, b),
            Event::Down(node, peer) => self.input(node, Input::PeerDown(peer)),
        }
    }

    pub(crate) fn dial(&mut self, from: NodeId, to: NodeId) {
        if self.linked(from, to) || !self.hosts.contains_key(&from) {
            return;
        }
        if self.hosts.contains_key(&to) && !(self.cut)(&from, &to) {
            self.push(self.delay * 3, Event::Up(from, to));
        } else if self.hosts[&from].wanted.contains(&to) {
            self.push(secs(2), Event::Dial(from, to));
        }
    }

    fn up(&mut self, a: NodeId, b: NodeId) {
        if self.linked(a, b) || !self.hosts.contains_key(&a) || !self.hosts.contains_key(&b) {
            return;
        }
        self.links.insert((a.min(b), a.max(b)));
        for (node, peer) in [(a, b), (b, a)] {
            let certificate = Box::new(self.hosts[&peer].identity.signed_certificate().clone());
            self.input(node, Input::PeerUp { peer, certificate });
            self.input(node, Input::RoundTrip(peer, self.delay * 2));
        }
    }

    fn count(&mut self, to: NodeId, message: &Message) {
        if matches!(message, Message::Subscribe(_)) {
            self.asked.insert(to);
        }
        if let Message::Found(parcels) = message {
            self.fetched += parcels.len() as u64;
        }
        if let Message::Records(parcels) | Message::Found(parcels) = message {
            for parcel in parcels {
                *self.copies.entry(parcel.hash).or_default() += 1;
                if let Scope::Jurisdiction(jurisdiction) = parcel.body.scope
                    && jurisdiction != self.laws[&to]
                {
                    self.strays += 1;
                }
            }
        }
    }

    /// Links two nodes at once, whether either wants it or not.
    pub(crate) fn link(&mut self, a: NodeId, b: NodeId) {
        self.up(a, b);
    }

    /// Breaks every link that the cut forbids, and remakes wanted ones that it allows.
    pub(crate) fn apply_cut(&mut self) {
        for (a, b) in self.links.clone() {
            if (self.cut)(&a, &b) {
                self.links.remove(&(a, b));
                self.push(secs(1), Event::Down(a, b));
                self.push(secs(1), Event::Down(b, a));
            }
        }
        self.redial();
    }

    /// Dials what is wanted and not linked, as `reach` does now and then.
    pub(crate) fn redial(&mut self) {
        let wanted: Vec<(NodeId, NodeId)> =
            self.hosts.iter().flat_map(|(node, host)| host.wanted.iter().map(|peer| (*node, *peer))).collect();
        for (node, peer) in wanted {
            self.push(Duration::ZERO, Event::Dial(node, peer));
        }
    }

    /// Publishes an offer of a node: `content` is its whole content.
    pub(crate) fn offer(&mut self, node: NodeId, content: &str) -> [u8; 32] {
        let scope = Scope::Jurisdiction(self.laws[&node]);
        self.publish(node, Kind::OFFER, scope, Subject(node.0), content)
    }

    pub(crate) fn publish(
        &mut self,
        node: NodeId,
        kind: Kind,
        scope: Scope,
        subject: Subject,
        content: &str,
    ) -> [u8; 32] {
        let content = Blob::from(content);
        let draft = Draft { kind, scope, subject, line: 0, generation: 0, lifetime: secs(120), content };
        self.input(node, Input::Publish(draft));
        self.record(node, kind, subject).map(|record| record.hash).expect("a node holds what it publishes")
    }

    pub(crate) fn record(&self, node: NodeId, kind: Kind, subject: Subject) -> Option<Shared> {
        self.hosts[&node].member.records().find_any(kind, subject).cloned()
    }

    /// Whether a node holds exactly this content.
    pub(crate) fn knows(&self, node: NodeId, kind: Kind, subject: Subject, content: &str) -> bool {
        self.record(node, kind, subject).is_some_and(|record| record.body.content == Blob::from(content))
    }

    pub(crate) fn alive(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    pub(crate) fn of(&self, jurisdiction: Jurisdiction) -> Vec<NodeId> {
        self.alive().into_iter().filter(|node| self.laws[node] == jurisdiction).collect()
    }

    /// The gates of each jurisdiction, the first few of its nodes: what `capacity` makes of summaries.
    pub(crate) fn give_gates(&mut self, each: usize) {
        let mut gates: BTreeMap<Jurisdiction, Vec<(NodeId, Vec<Address>)>> = BTreeMap::new();
        for node in self.alive() {
            let of = gates.entry(self.laws[&node]).or_default();
            if of.len() < each {
                of.push((node, vec!["/gate".to_owned()]));
            }
        }
        let gates: Vec<_> = gates.into_iter().collect();
        for node in self.alive() {
            self.input(node, Input::Gates(gates.clone()));
        }
    }
}

/// The operators of the demo: FR, FR, DE, BE, CN, one node each.
pub(crate) fn demo(seed: u64) -> (World, Vec<NodeId>) {
    let mut world = World::new(seed);
    world.delay = ms(1);
    world.bootstrap = vec![node_keys(0).node()];
    let laws = ["FR", "FR", "DE", "BE", "CN"];
    let nodes = laws.iter().enumerate().map(|(n, code)| world.start(n, n, law(code))).collect();
    (world, nodes)
}

/// A mesh of `count` nodes spread evenly over jurisdictions and operators, started over ten seconds and settled.
pub(crate) fn settled(seed: u64, count: usize, laws: &[&str], operators: usize) -> World {
    settled_with(seed, count, laws, operators, Config::default())
}

pub(crate) fn settled_with(seed: u64, count: usize, laws: &[&str], operators: usize, config: Config) -> World {
    let mut world = World::new(seed);
    world.config = config;
    world.bootstrap = (0..3).map(|n| node_keys(n).node()).collect();
    for n in 0..count {
        world.start(n, n % operators, law(laws[n % laws.len()]));
        world.run(secs(10) / u32::try_from(count).unwrap());
    }
    world.run(secs(20));
    world
}
