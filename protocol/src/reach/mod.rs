//! Whom to dial, which way, who is on the other end, and what waits until he has introduced himself.
//!
//! ```text
//!   Want ─→ Dial directly ─→ Link up ─→ Hello sent, Hello awaited ─→ Up: frames flow
//!        ╰→ a moment later through a relay ╯        │ relayed: tried directly now and then, and both sides
//!              ↖── back-off, doubled ──┘ refused    ╰ dial each other at once; the link moves and stays up
//! ```
//!
//! The transport finds and authenticates; it decides nothing. A link carries frames only after both sides said
//! [`Hello`]: same mesh, a wire version that both speak, a certificate that counts. Frames for a peer that is being
//! dialled wait in a short queue, so that asking somebody new needs no second mechanism.
pub mod address;
mod io;
mod peer;
mod book;
mod keys;
mod need;
mod vigil;
mod heal;
mod own;
mod relays;
mod find;
mod search;
mod shown;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use book::Source;
pub use find::{Message, Place};
pub use io::{Input, Output, Wanter};
pub use own::{Nat, Odd, Openness};
pub use shown::{LinkShown, ReachShown};

use self::{
    book::AddressBook,
    find::Finds,
    own::Own,
    peer::{Peer, State, Way},
    relays::{Candidate, Relays, Step},
};
use crate::{
    agenda::Agenda,
    frame::{Frame, Hello},
    id::{DiskId, MeshId, NodeId},
    identity::{Admitted, Envelope, NodeCertificate, NodeIdentity},
    io::{LinkChange, Over, Path, PathKind},
    machine::{Deadline, Machine, Outbox},
    membership::Address,
    notice::Notice,
    random::{Rng, Seed},
    record::Keyring,
    time::{Instant, Now, millis},
    wire::{WIRE_HELLO, WireRange},
};

/// Frames that wait for one peer; beyond it the oldest is dropped.
const WAITING_MAX: usize = 64;
/// Peers with frames waiting; beyond it a frame for one more is dropped.
const WAITING_PEERS_MAX: usize = 256;
/// A frame that waited longer is dropped.
const WAITING_TIME_MAX: Duration = Duration::from_secs(5);
/// First wait after a failed dial; doubled up to [`BACK_OFF_MAX`], with a seeded jitter of a half.
const BACK_OFF: Duration = Duration::from_millis(250);
/// A peer that is wanted is dialled at least so often.
const BACK_OFF_MAX: Duration = Duration::from_secs(20);
/// So long a direct dial goes alone before the peer's relays are tried too: a direct link within reach is up by then.
const DIRECT_ALONE: Duration = Duration::from_millis(400);
/// Dials in vain before others are asked where somebody is; he himself is not dialled then to ask him for others.
const FAILURES_BEFORE_FIND: u32 = 2;
/// Addresses of one relay that are announced.
const RELAY_ADDRESSES_MAX: usize = 2;
/// A round trip that was not measured yet, when relays are compared.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(100);
/// An introduction that was not answered is made again after so long: where both sides dial at once, it may have gone down
/// with the connection that was one too many.
const HELLO_AGAIN: Duration = Duration::from_millis(500);
/// A peer that does not introduce itself in time is hung up on.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// Peers linked at once whose operators are not admitted; more are turned away, and may try another node.
const OUTSIDERS_MAX: usize = 32;
/// A clock farther off than this from the median of its peers' is wrong, and its node signs nothing.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(30);
/// A median of fewer peers says nothing.
const CLOCK_PEERS_MIN: usize = 2;

/// What wakes reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Peer(NodeId),
    Relays,
    Finds,
}

/// What reach is told when it opens.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Whom to dial first.
    pub bootstrap: Vec<(NodeId, Vec<Address>)>,
    /// Given by the operator: goes ahead of what sockets say.
    pub announce: Vec<Address>,
    /// This node relays for members that cannot be dialled.
    pub relays: bool,
    /// The wire versions that it speaks.
    pub wire: WireRange,
}

/// See the module.
#[derive(Debug)]
pub struct Reach {
    identity: NodeIdentity,
    mesh: MeshId,
    disk: (DiskId, u64),
    wire: WireRange,
    peers: BTreeMap<NodeId, Peer>,
    agenda: Agenda<Timer>,
    book: AddressBook,
    own: Own,
    relays: Relays,
    finds: Finds,
    /// This node relays for others.
    offers_relay: bool,
    clock_off: bool,
    admitted: Admitted,
    credentials: Option<Vec<Envelope>>,
    turned_away: Option<(NodeId, String)>,
    last_clock_ms: Option<i64>,
    keyring: Arc<Keyring>,
    /// This node's own certificate counts no more: everybody hangs up on it, so it dials rarely.
    void: bool,
    rng: Rng,
    outbox: Outbox<Output>,
}

impl Reach {
    /// A reach that wants the bootstrap nodes.
    #[must_use]
    pub fn open(seed: Seed, identity: NodeIdentity, mesh: MeshId, disk: (DiskId, u64), config: Config) -> Self {
        let me = identity.node();
        let mut this = Self {
            identity,
            mesh,
            disk,
            wire: config.wire,
            peers: BTreeMap::new(),
            agenda: Agenda::default(),
            book: AddressBook::default(),
            own: Own::new(config.announce),
            relays: Relays::default(),
            finds: Finds::default(),
            offers_relay: config.relays,
            clock_off: false,
            admitted: Admitted::everybody(),
            credentials: None,
            turned_away: None,
            last_clock_ms: None,
            keyring: Arc::default(),
            void: false,
            rng: seed.rng(),
            outbox: Outbox::default(),
        };
        let mut bootstrap = BTreeMap::<NodeId, Vec<Address>>::new();
        for (peer, addresses) in config.bootstrap.into_iter().filter(|(peer, _)| *peer != me) {
            bootstrap.entry(peer).or_default().extend(addresses);
        }
        for (peer, addresses) in bootstrap {
            // The operator's word counts as much as the peer's own, until that has signed where it is.
            this.book.learn(peer, &addresses, Source::Signed);
            this.peer(peer, Instant::START).wanted_by.insert(Wanter::Bootstrap);
            this.arm(peer);
        }
        this
    }

    /// Whether frames of this peer may enter the other parts.
    #[must_use]
    pub fn admits(&self, peer: NodeId) -> bool {
        matches!(self.peers.get(&peer), Some(Peer { state: State::Linked, .. }))
    }

    /// Where this node says that it can be reached, best first.
    #[must_use]
    pub fn own_addresses(&self) -> Vec<Address> {
        self.own.said().to_vec()
    }

    /// The last peer that was turned away, and why.
    #[must_use]
    pub const fn turned_away(&self) -> Option<&(NodeId, String)> {
        self.turned_away.as_ref()
    }

    /// The clock of the last peer that introduced itself, whether it was let in or not, less this node's.
    #[must_use]
    pub const fn last_clock_ms(&self) -> Option<i64> {
        self.last_clock_ms
    }

    /// Whether a linked peer's frame is for the parts behind: of one whose operator is not admitted only `gossip` is, by
    /// which it may ask to be.
    #[must_use]
    pub fn hears(&self, peer: NodeId, gossip: bool) -> bool {
        let linked = self.peers.get(&peer).filter(|peer| matches!(peer.state, State::Linked));
        linked.is_some_and(|peer| gossip || self.admitted.counts(&peer.operator))
    }

    /// How long a round trip takes to a peer that is linked now.
    #[must_use]
    pub fn round_trip(&self, peer: NodeId) -> Option<Duration> {
        self.peers.get(&peer).filter(|peer| matches!(peer.state, State::Linked))?.round_trip
    }

    /// Peers that are linked now, with their certificates.
    pub fn linked(&self) -> impl Iterator<Item = (NodeId, &NodeCertificate, Option<Duration>)> {
        self.peers
            .iter()
            .filter(|(_, peer)| matches!(peer.state, State::Linked))
            .filter_map(|(id, peer)| Some((*id, peer.certificate.as_ref()?, peer.round_trip)))
    }

    /// This node's clock less the median of its peers', in milliseconds.
    #[must_use]
    pub fn clock_off_ms(&self) -> i64 {
        let mut offsets: Vec<i64> = self.peers.values().filter_map(|peer| peer.clock_off_ms).collect();
        let is_member = self.admitted.counts(&self.identity.certificate().operator_id());
        if offsets.len() < if is_member { CLOCK_PEERS_MIN } else { 1 } {
            return 0;
        }
        offsets.sort_unstable();
        -offsets[offsets.len() / 2]
    }

    /// The wire version of the link to a peer that is linked now.
    #[must_use]
    pub fn wire(&self, peer: NodeId) -> Option<u16> {
        self.peers.get(&peer).filter(|peer| matches!(peer.state, State::Linked)).map(|peer| peer.wire)
    }

    /// Where a peer was last said to be.
    #[must_use]
    pub fn addresses(&self, peer: NodeId) -> Vec<Address> {
        self.book.of(peer)
    }

    fn peer(&mut self, id: NodeId, now: Instant) -> &mut Peer {
        self.peers.entry(id).or_insert_with(|| Peer::new(now))
    }

    fn want(&mut self, now: Now, by: Wanter, id: NodeId, addresses: &[Address], wanted: bool) {
        self.book.learn(id, addresses, Source::Hint);
        let peer = self.peer(id, now.instant);
        if wanted {
            peer.wanted_by.insert(by);
            self.needs(now, id);
            self.dial_if_due(now, id);
            if !self.book.knows(id) && by.wants_nobody_else() {
                self.look_for(now, id);
            }
        } else {
            peer.wanted_by.remove(&by);
        }
    }

    /// Puts the next moment at which something is due for this peer on the agenda.
    fn arm(&mut self, id: NodeId) {
        let due = self.peers.get(&id).and_then(|peer| match peer.state {
            State::Idle { dial_at } => {
                let dial = Deadline { at: dial_at, reason: "dial" };
                if peer.is_needed() { self.book.knows(id).then_some(dial) } else { Some(Self::forgotten_at(dial_at)) }
            }
            State::Greeting => {
                Some(Deadline { at: peer.turned_away_at().min(peer.greeted + HELLO_AGAIN), reason: "greeting" })
            }
            State::Dialling { relayed: Way::At(at), .. } => Some(Deadline { at, reason: "dial through a relay" }),
            State::Dialling { .. } => None,
            State::Linked => {
                let void = peer.void_at.map(|at| Deadline { at, reason: "a certificate by a dead key" });
                let direct = peer.direct_at.map(|at| Deadline { at, reason: "dial directly" });
                void.into_iter().chain(direct).chain(Self::lingers_until(peer)).chain(Self::probed_at(peer)).min()
            }
        });
        self.agenda.set(Timer::Peer(id), due);
    }

    /// What is known of where a peer is: directly, and through relays.
    fn ways(&self, id: NodeId) -> (Vec<Address>, Vec<Address>) {
        self.book.of(id).into_iter().partition(|address| !address::is_relayed(address))
    }

    fn dial_if_due(&mut self, now: Now, id: NodeId) {
        if !self.peers.get(&id).is_some_and(|peer| peer.is_due(now.instant)) {
            return;
        }
        let (direct, relayed) = self.ways(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match peer.state {
            State::Idle { dial_at } if now.instant >= dial_at && peer.is_needed() => {
                let ways = match (direct.is_empty(), relayed.is_empty()) {
                    (true, true) => return,
                    (true, false) => (Way::None, Way::Trying),
                    (false, true) => (Way::Trying, Way::None),
                    (false, false) => (Way::Trying, Way::At(now.instant + DIRECT_ALONE)),
                };
                peer.state = State::Dialling { direct: ways.0, relayed: ways.1 };
                if ways.0 == Way::Trying {
                    self.outbox.push(Output::Dial { peer: id, via: Path::Direct(direct) });
                }
                if ways.1 == Way::Trying {
                    self.outbox.push(Output::Dial { peer: id, via: Path::Relayed(relayed) });
                }
            }
            State::Dialling { direct, relayed: Way::At(at) } if now.instant >= at || direct.is_over() => {
                peer.state = State::Dialling { direct, relayed: Way::Trying };
                self.outbox.push(Output::Dial { peer: id, via: Path::Relayed(relayed) });
            }
            State::Linked if peer.direct_at.is_some_and(|at| now.instant >= at) => {
                peer.tries_directly(now.instant);
                if !direct.is_empty() {
                    self.outbox.push(Output::Dial { peer: id, via: Path::Direct(direct) });
                }
            }
            State::Idle { .. } | State::Dialling { .. } | State::Greeting | State::Linked => {}
        }
    }

    fn on_link(&mut self, now: Now, id: NodeId, change: LinkChange) {
        match change {
            LinkChange::Up { address, over } => {
                let returns = self.was_cut_off(id);
                self.worked(id, address, over);
                let peer = self.peer(id, now.instant);
                peer.goes_over(over, now.instant);
                if peer.has_link() {
                    return;
                }
                peer.state = State::Greeting;
                (peer.up_at, peer.used_at) = (now.instant, now.instant);
                peer.failures = 0;
                self.greet(now, id);
                if returns {
                    self.dial_the_lost(now);
                }
            }
            LinkChange::Moved { address, over } => {
                self.worked(id, address, over);
                let peer = self.peer(id, now.instant);
                if peer.has_link() {
                    peer.goes_over(over, now.instant);
                    self.outbox.push(Output::Notice(Notice::PeerMoved { peer: id, over }));
                }
            }
            LinkChange::Down => self.lost(now, id),
            LinkChange::Unreachable { path, why } => self.unreachable(now, id, path, &why),
            LinkChange::RoundTrip(round_trip) => {
                let peer = self.peer(id, now.instant);
                peer.round_trip = Some(round_trip);
                if matches!(peer.state, State::Linked) {
                    self.outbox.push(Output::RoundTrip(id, round_trip));
                }
                return;
            }
            LinkChange::Full => {}
            LinkChange::Discovered { address } => {
                self.book.learn(id, &[address], Source::Hint);
                self.peer(id, now.instant).wanted_by.insert(Wanter::Bootstrap);
                self.dial_if_due(now, id);
            }
            LinkChange::Listening { address } => self.own.listens(address),
            LinkChange::Deaf { address } => self.own.is_deaf(&address),
            LinkChange::Reserved => self.relays.agreed(id),
            LinkChange::Unreserved { why } => {
                self.relays.lost(id, now.instant);
                self.outbox.push(Output::Notice(Notice::RelayLost { relay: id, why }));
            }
            LinkChange::Tested { address, reached } => self.own.was_tested(id, address, reached),
            LinkChange::Observed { address } => self.own.is_seen(id, address),
            LinkChange::Punched { failed } => self.peer(id, now.instant).was_punched(failed.as_deref()),
        }
        self.mind_relays(now);
    }

    /// A link was made there.
    fn worked(&mut self, id: NodeId, address: Option<Address>, over: Over) {
        if let Some(address) = address.filter(|_| !over.is_relayed()) {
            self.book.prefer(id, &address);
        }
    }

    fn unreachable(&mut self, now: Now, id: NodeId, path: PathKind, why: &str) {
        let jitter = self.rng.below(512);
        let peer = self.peer(id, now.instant);
        peer.has_failed(path, why);
        let State::Dialling { direct, relayed } = &mut peer.state else { return };
        match path {
            PathKind::Direct => *direct = Way::Failed,
            PathKind::Relayed => *relayed = Way::Failed,
        }
        if direct.is_over() && relayed.is_over() {
            let wait = BACK_OFF.saturating_mul(1 << peer.failures.min(8)).min(BACK_OFF_MAX);
            peer.failures = peer.failures.saturating_add(1);
            let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
            let dial_at = now.instant + Duration::from_nanos(wait_ns / 1024 * (512 + jitter));
            peer.state = State::Idle { dial_at };
            peer.waiting.retain(|(since, _)| now.instant.since(*since) < WAITING_TIME_MAX);
            let in_vain = peer.failures >= FAILURES_BEFORE_FIND && peer.is_worth_finding();
            self.book.doubt(id);
            if in_vain {
                self.look_for(now, id);
            }
        }
        self.dial_if_due(now, id);
    }

    fn lost(&mut self, now: Now, id: NodeId) {
        let jitter = self.rng.duration_below(BACK_OFF);
        self.own.forget(id);
        self.relays.lost(id, now.instant);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let was_linked = matches!(peer.state, State::Linked);
        let wait = if peer.refused || self.void { BACK_OFF_MAX } else { Duration::ZERO };
        peer.lost(now.instant + wait + jitter);
        if peer.left_alone {
            let dial_at = self.leave_alone(now);
            self.peer(id, now.instant).state = State::Idle { dial_at };
        }
        self.fall_back(now);
        if was_linked {
            self.begin_vigil_anew(now, id);
            self.outbox.push(Output::Down(id));
            self.outbox.push(Output::Notice(Notice::PeerDown(id)));
        }
        self.dial_if_due(now, id);
    }

    /// Sees to it that enough others relay for this node, and says where it can be reached if that changed.
    fn mind_relays(&mut self, now: Now) {
        let wanted = self.own.relays_wanted();
        let direct =
            |peer: &Peer| matches!(peer.state, State::Linked) && peer.over.is_some_and(|over| !over.is_relayed());
        let linked = self.peers.iter().filter(|(_, peer)| direct(peer)).filter_map(|(node, peer)| {
            let operator = peer.certificate.as_ref()?.operator_id();
            Some(Candidate { node: *node, operator, round_trip: peer.round_trip.unwrap_or(ROUND_TRIP_UNKNOWN) })
        });
        let candidates: Vec<Candidate> = if wanted == 0 { Vec::new() } else { linked.collect() };
        for step in self.relays.mind(wanted, &candidates, now.instant) {
            let (relay, wanted) = match step {
                Step::Reserve(relay) => (relay, true),
                Step::Release(relay) => (relay, false),
            };
            self.outbox.push(Output::Reserve { relay, wanted });
        }
        for relay in self.relays.worth_a_link(wanted) {
            if !self.peers.get(&relay).is_some_and(|peer| peer.wanted_by.contains(&Wanter::Relay)) {
                self.want(now, Wanter::Relay, relay, &[], true);
                self.arm(relay);
            }
        }
        self.agenda.set(Timer::Relays, self.relays.next_due());
        let mut relayed = Vec::new();
        for relay in self.relays.agreeing() {
            let (direct, _) = self.ways(relay);
            relayed.extend(direct.iter().take(RELAY_ADDRESSES_MAX).map(|at| address::through(relay, at)));
        }
        if let Some(addresses) = self.own.news(&relayed) {
            self.outbox.push(Output::Reachable(addresses));
        }
    }

    fn hello(&self, now: Now) -> Hello {
        Hello {
            wire: self.wire.newest(),
            wire_min: self.wire.oldest(),
            mesh: self.mesh,
            certificate: self.identity.signed_certificate().clone(),
            disk: self.disk.0,
            boots: self.disk.1,
            wall: now.wall,
            relays: self.offers_relay.then_some(true),
            finds: Some(true),
            parts: Some(true),
            sleeps: Some(true),
            recovers: Some(true),
            converges: Some(true),
            credentials: self.credentials.clone(),
        }
    }

    /// Introduces this node to whoever is at the other end of a link.
    fn greet(&mut self, now: Now, id: NodeId) {
        let frame = Frame::Hello(Box::new(self.hello(now)));
        self.peer(id, now.instant).greeted = now.instant;
        self.outbox.push(Output::Send { to: id, wire: WIRE_HELLO, frame });
    }

    fn on_hello(&mut self, now: Now, from: NodeId, hello: Hello) {
        let theirs = i64::try_from(hello.wall.0).unwrap_or(i64::MAX);
        let clock_off_ms = theirs.saturating_sub(i64::try_from(now.wall.0).unwrap_or(i64::MAX));
        self.last_clock_ms = Some(clock_off_ms);
        let (certificate, wire) = match self.judge(now, from, &hello) {
            Ok(judged) => judged,
            Err(reason) => {
                self.turned_away = Some((from, reason.clone()));
                return self.turn_away(now, from, reason);
            }
        };
        let peer = self.peer(from, now.instant);
        let known = matches!(peer.state, State::Linked);
        let life = (hello.disk, hello.boots);
        if known && peer.life != Some(life) {
            // It has started anew while its old link seemed to stand, or runs twice: what is sent there goes to nobody, or
            // to the other one. It dials again.
            let doubled = peer.life.is_some_and(|(disk, _)| disk != hello.disk);
            let reason = "it has started anew: it is linked afresh".to_owned();
            let notice = if doubled { Notice::PeerDoubled(from) } else { Notice::PeerRefused { peer: from, reason } };
            self.outbox.push(Output::Notice(notice));
            self.outbox.push(Output::Hangup { peer: from });
            return;
        }
        peer.life = Some(life);
        peer.state = State::Linked;
        peer.failures = 0;
        peer.operator = certificate.operator_id();
        peer.certificate = Some(certificate);
        peer.finds = hello.finds == Some(true);
        peer.parts = hello.parts == Some(true);
        peer.sleeps = hello.sleeps == Some(true);
        peer.recovers = hello.recovers == Some(true);
        peer.converges = hello.converges == Some(true);
        peer.wire = wire;
        peer.certified_by = hello.certificate.key();
        peer.refused = false;
        peer.void_at = None;
        peer.clock_off_ms = Some(clock_off_ms);
        let waiting = std::mem::take(&mut peer.waiting);
        // Who introduces himself twice has not heard this node's own introduction.
        let unheard = known && now.instant >= peer.greeted + HELLO_AGAIN && now.instant < peer.turned_away_at();
        if unheard {
            self.greet(now, from);
        }
        self.relays.is_willing(from, hello.relays == Some(true));
        // First of all: who learns here that his clock is off says nothing to this peer.
        self.judge_clock();
        if !known {
            self.begin_vigil_anew(now, from);
            let certificate = Box::new(hello.certificate);
            self.outbox.push(Output::Up { peer: from, certificate, disk: (hello.disk, hello.boots) });
            self.outbox.push(Output::Notice(Notice::PeerUp(from)));
        }
        for (_, frame) in waiting {
            self.outbox.push(Output::Send { to: from, wire, frame });
        }
        self.mind_relays(now);
        self.ask_now(from);
    }

    /// What its certificate says and what its link speaks, or why this peer is turned away.
    fn judge(&self, now: Now, from: NodeId, hello: &Hello) -> Result<(NodeCertificate, u16), String> {
        if hello.mesh != self.mesh {
            return Err(format!("it is of another mesh, {}; this is {}", hello.mesh.short(), self.mesh.short()));
        }
        let wire = self.wire.common(WireRange::claimed(hello.wire_min, hello.wire))?;
        let certificate =
            NodeCertificate::accept(&hello.certificate, self.mesh, now.wall).map_err(|error| error.to_string())?;
        if certificate.node != from {
            return Err("it shows another node's certificate".into());
        }
        let counts = self.keyring.counts(&certificate, hello.certificate.key());
        counts.map_err(|why| format!("its certificate counts no more: {why}"))?;
        let operator = certificate.operator_id();
        if self.admitted.excluded(&operator) {
            return Err(format!("its operator, {}, was excluded from this mesh", certificate.operator.name));
        }
        if !self.admitted.counts(&operator) && !self.admits(from) && self.outsiders() >= OUTSIDERS_MAX {
            return Err(format!(
                "{OUTSIDERS_MAX} peers that are not admitted are linked already: it may try another node"
            ));
        }
        Ok((certificate, wire))
    }

    fn outsiders(&self) -> usize {
        let linked = self.peers.values().filter(|peer| matches!(peer.state, State::Linked));
        linked.filter(|peer| !self.admitted.counts(&peer.operator)).count()
    }

    /// Whoever was excluded is hung up on.
    fn count(&mut self, now: Now, admitted: Admitted) {
        self.admitted = admitted;
        let linked = self.peers.iter().filter(|(_, peer)| matches!(peer.state, State::Linked));
        let excluded = linked.filter(|(_, peer)| self.admitted.excluded(&peer.operator));
        for peer in excluded.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.turn_away(now, peer, "its operator was excluded from this mesh".to_owned());
        }
        self.judge_clock();
    }

    fn judge_clock(&mut self) {
        let off_ms = self.clock_off_ms();
        let off = off_ms.unsigned_abs() > millis(CLOCK_OFF_MAX);
        if off == self.clock_off {
            return;
        }
        self.clock_off = off;
        self.outbox.push(Output::ClockOff(off));
        if off {
            let by = Duration::from_millis(off_ms.unsigned_abs());
            self.outbox.push(Output::Notice(Notice::ClockOff { by, ahead: off_ms > 0 }));
        }
    }

    /// A frame for somebody who is not linked: it waits for him, if he may come.
    fn wait_for(&mut self, now: Now, to: NodeId, frame: Frame) {
        let queued = self.peers.values().filter(|peer| !peer.waiting.is_empty()).count();
        let under_way = |peer: &Peer| matches!(peer.state, State::Greeting | State::Dialling { .. });
        let may_come = self.book.knows(to) || self.peers.get(&to).is_some_and(under_way) || self.is_looked_for(now, to);
        let peer = self.peer(to, now.instant);
        if !may_come || (peer.waiting.is_empty() && queued >= WAITING_PEERS_MAX) {
            return;
        }
        if peer.waiting.len() == WAITING_MAX {
            peer.waiting.pop_front();
        }
        peer.waiting.push_back((now.instant, frame));
        self.needs(now, to);
        self.dial_if_due(now, to);
    }
}

impl Machine for Reach {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        let touched = match input {
            Input::Link { peer, change } => {
                self.on_link(now, peer, change);
                peer
            }
            Input::Hello { from, hello } => {
                self.on_hello(now, from, *hello);
                from
            }
            Input::Want { by, peer, addresses, wanted } => {
                if peer != self.identity.node() {
                    self.want(now, by, peer, &addresses, wanted);
                }
                peer
            }
            Input::Watch { peer, wanted } => {
                self.watch(now, peer, wanted);
                peer
            }
            Input::Addresses { peer, addresses, source } => {
                self.book.learn(peer, &addresses, source);
                self.dial_if_due(now, peer);
                peer
            }
            Input::Relays { peer, willing } => {
                if peer != self.identity.node() {
                    self.relays.is_willing(peer, willing);
                    self.mind_relays(now);
                }
                peer
            }
            Input::Received { from, message } => {
                self.on_message(now, from, message);
                from
            }
            Input::Send { to, frame } => {
                if !self.understands(to, &frame) {
                    return;
                }
                if let Some(wire) = self.wire(to) {
                    self.needs(now, to);
                    return self.outbox.push(Output::Send { to, wire, frame });
                }
                self.wait_for(now, to, frame);
                to
            }
            Input::Counted(admitted) => return self.count(now, admitted),
            Input::Credentials(statements) => {
                self.credentials = Some(statements);
                return;
            }
            Input::Keys(keyring) => return self.on_keys(now, keyring),
            Input::Certificate(identity) => return self.on_certificate(now, identity),
        };
        self.arm(touched);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(timer) = self.agenda.pop_due(now) {
            let id = match timer {
                Timer::Peer(id) => id,
                Timer::Relays => {
                    self.mind_relays(now);
                    continue;
                }
                Timer::Finds => {
                    self.search_on(now);
                    continue;
                }
            };
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            match peer.state {
                State::Greeting if peer.turned_away_at() <= now.instant => {
                    let reason =
                        "it did not introduce itself in time; does another process run with this node's key? A peer \
                                  answers only one of the two"
                            .to_owned();
                    self.outbox.push(Output::Notice(Notice::PeerRefused { peer: id, reason }));
                    self.outbox.push(Output::Hangup { peer: id });
                    peer.state = State::Idle { dial_at: now.instant + BACK_OFF_MAX };
                }
                State::Greeting if now.instant >= peer.greeted + HELLO_AGAIN => self.greet(now, id),
                State::Idle { .. } | State::Dialling { .. } | State::Greeting | State::Linked => {}
            }
            self.end_void(now, id);
            self.probe_if_due(now, id);
            self.let_go(now, id);
            self.dial_if_due(now, id);
            self.arm(id);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}

#[cfg(test)]
mod tests;
