//! A small world of whole nodes with a virtual clock and links that exist once somebody dials. Disks take every write at
//! once. Every frame is encoded, read and checked on its way, so what passes here passes between daemons.
use std::{collections::BTreeMap, time::Duration};

use bocage_protocol::{
    cell::CellConfig,
    charter::{Ballot, CaseShown, Charter, Claim, Invite, InviteId, Matter, Motion, Papers, RollShown},
    codec::Blob,
    command::{Command, NodeStatus, Reply, Terms},
    config::Config,
    context::Context,
    frame::Frame,
    id::{MeshId, NodeId, OperatorId, RequestId},
    identity::{Envelope, Founding, Genesis, Keypair, NodeCertificate, NodeIdentity, Party, PublicKey, Signed},
    io::{Input, LinkChange, Output, Over, Path},
    machine::Machine,
    membership,
    node::Node,
    notice::Notice,
    placement::Policy,
    policies::Policies,
    random::Seed,
    refusal::Refusal,
    resources::{Price, Resources, Site},
    store::{Boot, StoreOp},
    time::{Instant, Now, Timestamp},
    wire::WireRange,
};

pub(crate) const FOUNDED: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn keys(name: &str) -> Keypair {
    Keypair::from_secret(blake3::hash(name.as_bytes()).as_bytes())
}

/// The key of an operator's one node.
pub(crate) fn node_keys(operator: &str) -> Keypair {
    keys(&format!("node of {operator}"))
}

pub(crate) fn operator(name: &str) -> Genesis {
    Genesis::new(Party::Operator, name, keys(name).public(), Timestamp(1))
}

pub(crate) fn id(name: &str) -> OperatorId {
    operator(name).operator()
}

/// What everybody offers.
fn terms() -> Terms {
    let total = Resources { cpu_millis: 1_000, memory_bytes: 1 << 30, disk_bytes: 1 << 30 };
    let price = Price { currency: "EUR".parse().unwrap(), cpu_core_hour: 1, memory_gib_hour: 1, disk_gib_hour: 1 };
    Terms { total, price }
}

struct Host {
    node: Node,
    config: Config,
    keyed: BTreeMap<Blob, Blob>,
    linked: Vec<NodeId>,
    notices: Vec<Notice>,
    replies: BTreeMap<RequestId, Result<Reply, Refusal>>,
}

enum Event {
    Frame { from: NodeId, to: NodeId, bytes: Blob },
    Link { of: NodeId, peer: NodeId, change: LinkChange },
}

pub(crate) struct World {
    pub(crate) founding: Founding,
    now: Instant,
    hosts: BTreeMap<NodeId, Host>,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    requests: u64,
    /// By how many seconds clocks are ahead of the others'.
    ahead: BTreeMap<NodeId, i64>,
    /// Whether nothing gets from one to another.
    pub(crate) cut: Box<dyn Fn(NodeId, NodeId) -> bool>,
}

const DELAY: Duration = Duration::from_millis(5);

impl World {
    /// A mesh of founders, whose nodes run.
    pub(crate) fn of(founders: &[&str]) -> Self {
        let operators = founders.iter().map(|name| operator(name)).collect();
        let founding = Founding { name: "hedge".into(), operators, founded: FOUNDED };
        let mut world = Self {
            founding,
            now: Instant::START,
            hosts: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            requests: 0,
            ahead: BTreeMap::new(),
            cut: Box::new(|_, _| false),
        };
        for founder in founders {
            world.start(founder, Some(founders[0]), None);
        }
        world.run(secs(5));
        world
    }

    pub(crate) fn mesh(&self) -> MeshId {
        self.founding.mesh()
    }

    pub(crate) fn clock(&self) -> Now {
        Now { instant: self.now, wall: FOUNDED + secs(60) + self.now.as_duration() }
    }

    /// As this node's clock says.
    fn clock_of(&self, id: NodeId) -> Now {
        let now = self.clock();
        let ahead = self.ahead.get(&id).copied().unwrap_or(0) * 1_000;
        Now { wall: Timestamp(now.wall.0.saturating_add_signed(ahead)), ..now }
    }

    /// From now on an operator's node has a clock that is so many seconds ahead.
    pub(crate) fn set_ahead(&mut self, name: &str, seconds: i64) {
        self.ahead.insert(node_keys(name).node(), seconds);
    }

    pub(crate) fn wall(&self) -> Timestamp {
        self.clock().wall
    }

    fn config(&self, name: &str, bootstrap: Option<&str>, request: Option<Vec<Envelope>>) -> Config {
        let certificate = NodeCertificate {
            mesh: self.mesh(),
            operator: operator(name),
            node: node_keys(name).node(),
            site: Site(name.into()),
            jurisdiction: "FR".parse().unwrap(),
            domains: Vec::new(),
            not_before: Timestamp(0),
            expires: FOUNDED + secs(400 * 86_400),
            serial: 1,
            sealing: PublicKey::default(),
            successions: None,
        };
        let signed = Signed::seal(&keys(name), &certificate);
        let identity = NodeIdentity::new(node_keys(name), signed, self.mesh(), self.wall()).unwrap();
        let first = bootstrap.filter(|first| *first != name).map(|first| node_keys(first).node());
        Config {
            mesh: self.mesh(),
            identity,
            founding: Some(self.founding.clone()),
            request,
            zone: "test".into(),
            bootstrap: first.into_iter().map(|node| (node, vec![format!("/{node}")])).collect(),
            announce: vec![format!("/{}", node_keys(name).node())],
            relays: false,
            offer: Some(terms()),
            cell: CellConfig::default(),
            wire: WireRange::default(),
            membership: membership::Config::default(),
            policies: Policies::default(),
        }
    }

    /// Starts an operator's node.
    pub(crate) fn start(&mut self, name: &str, bootstrap: Option<&str>, request: Option<Vec<Envelope>>) {
        let config = self.config(name, bootstrap, request);
        self.open(config, BTreeMap::new());
    }

    /// Starts a node that does not know how its mesh was founded.
    pub(crate) fn start_ignorant(&mut self, name: &str, bootstrap: &str) {
        let config = Config { founding: None, ..self.config(name, Some(bootstrap), None) };
        self.open(config, BTreeMap::new());
    }

    fn open(&mut self, config: Config, keyed: BTreeMap<Blob, Blob>) {
        let id = config.identity.node();
        let boot = Boot { boots: 1, keyed: keyed.clone(), ..Boot::default() };
        let seed = Seed(*blake3::hash(&id.0).as_bytes());
        let node = Node::open(config.clone(), seed, boot, self.clock_of(id));
        let host = Host { node, config, keyed, linked: Vec::new(), notices: Vec::new(), replies: BTreeMap::new() };
        self.hosts.insert(id, host);
        self.drain(id);
        let change = LinkChange::Listening { address: format!("/{id}") };
        self.input(id, Input::Link { peer: id, change });
    }

    /// Kills an operator's node; its disk is kept and comes back with `restart`.
    pub(crate) fn kill(&mut self, name: &str) -> Killed {
        let id = node_keys(name).node();
        let host = self.hosts.remove(&id).expect("it runs");
        for peer in host.linked {
            if let Some(other) = self.hosts.get_mut(&peer) {
                other.linked.retain(|it| *it != id);
                self.push(DELAY, Event::Link { of: peer, peer: id, change: LinkChange::Down });
            }
        }
        Killed(Box::new(host.config), host.keyed)
    }

    pub(crate) fn restart(&mut self, killed: Killed) {
        self.open(*killed.0, killed.1);
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    fn input(&mut self, id: NodeId, input: Input) {
        let now = self.clock_of(id);
        if let Some(host) = self.hosts.get_mut(&id) {
            host.node.handle_input(now, input);
            self.drain(id);
        }
    }

    fn drain(&mut self, id: NodeId) {
        let mut persisted = Vec::new();
        while let Some(output) = self.hosts.get_mut(&id).and_then(|host| host.node.poll_output()) {
            let host = self.hosts.get_mut(&id).expect("it was there");
            match output {
                Output::Dial { peer, via } => self.dial(id, peer, &via),
                Output::Hangup { peer } => self.hang_up(id, peer),
                Output::Send { to, wire, frame } => {
                    let bytes = frame.encode(wire);
                    self.push(DELAY, Event::Frame { from: id, to, bytes });
                }
                Output::Persist { write, batch } => {
                    for op in batch.ops {
                        match op {
                            StoreOp::Put { key, value } => drop(host.keyed.insert(key, value)),
                            StoreOp::Delete { key } => drop(host.keyed.remove(&key)),
                            _ => unreachable!("there are no cells here"),
                        }
                    }
                    persisted.push(write);
                }
                Output::Reply { request, result } => drop(host.replies.insert(request, result)),
                Output::Notice(notice) => host.notices.push(notice),
                _ => {}
            }
        }
        for write in persisted {
            self.input(id, Input::Persisted(write));
        }
    }

    fn dial(&mut self, from: NodeId, to: NodeId, via: &Path) {
        let there = self.hosts.contains_key(&to) && !(self.cut)(from, to);
        if !there {
            let change = LinkChange::Unreachable { path: via.kind(), why: "nobody there".into() };
            return self.push(DELAY, Event::Link { of: from, peer: to, change });
        }
        for (of, peer) in [(from, to), (to, from)] {
            let host = self.hosts.get_mut(&of).expect("both run");
            if !host.linked.contains(&peer) {
                host.linked.push(peer);
                self.push(DELAY, Event::Link { of, peer, change: LinkChange::Up { address: None, over: Over::Quic } });
            }
        }
    }

    fn hang_up(&mut self, one: NodeId, other: NodeId) {
        for (of, peer) in [(one, other), (other, one)] {
            let Some(host) = self.hosts.get_mut(&of) else { continue };
            if host.linked.contains(&peer) {
                host.linked.retain(|it| *it != peer);
                self.push(DELAY * 2, Event::Link { of, peer, change: LinkChange::Down });
            }
        }
    }

    fn next(&self) -> Option<(Instant, Option<NodeId>)> {
        let event = self.queue.first_key_value().map(|((at, _), _)| (*at, None));
        let due = |(id, host): (&NodeId, &Host)| host.node.poll_timeout().map(|due| (due.at.max(self.now), Some(*id)));
        self.hosts.iter().filter_map(due).chain(event).min_by_key(|(at, _)| *at)
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, who)) = self.next().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            if let Some(id) = who {
                let now = self.clock_of(id);
                self.hosts.get_mut(&id).expect("it has a deadline").node.handle_timeout(now);
                self.drain(id);
                continue;
            }
            let (_, event) = self.queue.pop_first().expect("it was the next");
            match event {
                Event::Link { of, peer, change } => self.input(of, Input::Link { peer, change }),
                Event::Frame { from, to, bytes } => {
                    let linked = self.hosts.get(&to).is_some_and(|host| host.linked.contains(&from));
                    if linked && !(self.cut)(from, to) {
                        let frame = Frame::decode(&bytes, WireRange::default()).expect("a node's frame reads");
                        let frame = frame.check(|_| false).expect("a node's signatures hold");
                        self.input(to, Input::Received { from, frame });
                    }
                }
            }
        }
        self.now = end;
    }

    fn ask(&mut self, name: &str, command: Command) -> Result<Reply, Refusal> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let node = node_keys(name).node();
        self.input(
            node,
            Input::Command { context: Context::until(request, self.now + secs(5)), command: Box::new(command) },
        );
        self.hosts.get_mut(&node).expect("it runs").replies.remove(&request).expect("the roll answers at once")
    }

    pub(crate) fn roll(&mut self, name: &str) -> RollShown {
        match self.ask(name, Command::Roll) {
            Ok(Reply::Roll(roll)) => *roll,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn status(&mut self, name: &str) -> NodeStatus {
        match self.ask(name, Command::Status) {
            Ok(Reply::Status(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Nodes that a plan by this operator's node takes into account, whether it places anything there or not.
    pub(crate) fn candidates(&mut self, name: &str) -> Vec<NodeId> {
        let policy = Box::new(Policy { home: vec!["FR".parse().unwrap()], ..Policy::default() });
        match self.ask(name, Command::Plan { policy }) {
            Ok(Reply::Planned(plan)) => {
                let placed = plan.placed.iter().map(|placed| placed.node);
                placed.chain(plan.rejected.iter().map(|(node, _)| *node)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Brings papers to an operator's node, as a person would.
    pub(crate) fn bring(&mut self, name: &str, statements: Vec<Envelope>) -> Result<Reply, Refusal> {
        self.ask(name, Command::Papers(Box::new(Papers { statements, founding: None })))
    }

    /// Whether `node`'s node counts an operator.
    pub(crate) fn counts(&mut self, node: &str, name: &str) -> bool {
        let operator = id(name);
        self.roll(node).members.iter().any(|it| it.operator.operator() == operator && it.excluded.is_none())
    }

    pub(crate) fn case_of(&mut self, node: &str, newcomer: &str) -> Option<CaseShown> {
        let is = |case: &CaseShown| matches!(&case.motion.matter, Matter::Admit { operator: asks, .. } if *asks == operator(newcomer));
        self.roll(node).cases.into_iter().find(is)
    }

    pub(crate) fn notices(&self, name: &str) -> &[Notice] {
        &self.hosts[&node_keys(name).node()].notices
    }

    /// Whether two operators' nodes are linked and have introduced themselves.
    pub(crate) fn peers_of(&mut self, name: &str) -> Vec<NodeId> {
        self.status(name).peers.iter().map(|peer| peer.node).collect()
    }

    pub(crate) fn charter(&self) -> Charter {
        Charter::first(&self.founding)
    }

    /// A newcomer's request without an invite.
    pub(crate) fn request(&self, newcomer: &str) -> Vec<Envelope> {
        vec![self.motion(newcomer, Matter::Admit { operator: operator(newcomer), invite: None }).envelope().clone()]
    }

    pub(crate) fn motion(&self, by: &str, matter: Matter) -> Signed<Motion> {
        let motion = Motion { mesh: self.mesh(), charter: self.charter().hash(), matter, made: self.wall() };
        Signed::seal(&keys(by), &motion)
    }

    pub(crate) fn ballot(&self, elector: &str, motion: [u8; 32]) -> Envelope {
        let ballot = Ballot { motion, elector: id(elector), yes: true, at: self.wall() };
        Signed::seal(&keys(elector), &ballot).envelope().clone()
    }

    /// An invite by `electors`, whose uses the node of `witness` counts.
    pub(crate) fn invite(&self, electors: &[&str], witness: &str, uses: u32) -> (Invite, Vec<Envelope>) {
        let invite = Invite {
            mesh: self.mesh(),
            charter: self.charter().hash(),
            id: InviteId([9; 16]),
            bearer: keys("bearer").public(),
            witness: node_keys(witness).node(),
            uses,
            expires: self.wall() + secs(3_600),
            made: self.wall(),
        };
        let signed = electors.iter().map(|elector| Signed::seal(&keys(elector), &invite).envelope().clone()).collect();
        (invite, signed)
    }

    /// The request of a newcomer who holds an invite.
    pub(crate) fn invited(&self, newcomer: &str, (invite, signed): &(Invite, Vec<Envelope>)) -> Vec<Envelope> {
        let matter = Matter::Admit { operator: operator(newcomer), invite: Some(invite.id) };
        let motion = self.motion(newcomer, matter);
        let claim = Signed::seal(&keys("bearer"), &Claim { motion: motion.hash(), invite: invite.id });
        let mut statements = vec![motion.envelope().clone()];
        statements.extend(signed.iter().cloned());
        statements.push(claim.envelope().clone());
        statements
    }
}

/// What is left of a node whose process died.
pub(crate) struct Killed(Box<Config>, BTreeMap<Blob, Blob>);
