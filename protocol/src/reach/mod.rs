//! Whom to dial, who is on the other end, and what waits until he has introduced himself.
//!
//! ```text
//!   Want ─→ Dial ─→ Link up ─→ Hello sent, Hello awaited ─→ Up: frames flow
//!              ↖── back-off, doubled ──┘ refused: hang up, say why
//! ```
//!
//! The transport finds and authenticates; it decides nothing. A link carries frames only after both sides said
//! [`Hello`]: same mesh, a wire version that both speak, a certificate that counts. Frames for a peer that is being
//! dialled wait in a short queue, so that asking somebody new needs no second mechanism.
mod book;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use book::AddressBook;

use crate::{
    agenda::Agenda,
    frame::{Frame, Hello, WIRE_VERSION},
    id::{CellId, DiskId, MeshId, NodeId},
    identity::{NodeCertificate, NodeIdentity, PublicKey, Signed, Void},
    io::LinkChange,
    machine::{Deadline, Machine, Outbox},
    membership::Address,
    notice::Notice,
    random::{Rng, Seed},
    record::Keyring,
    time::{Instant, Now, millis},
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
/// A peer that does not introduce itself in time is hung up on.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// A peer whose operator has a new key has so long to show a certificate by it.
const RECERTIFY_MAX: Duration = Duration::from_secs(5);
/// A clock farther off than this from the median of its peers' is wrong, and its node signs nothing.
const CLOCK_OFF_MAX: Duration = Duration::from_secs(30);
/// A median of fewer peers says nothing.
const CLOCK_PEERS_MIN: usize = 2;

/// Why a link is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanter {
    /// Configured as a first contact; wanted until anybody is linked.
    Bootstrap,
    /// Overlay or observation.
    Membership,
    /// A member or host of this cell.
    Cell(CellId),
}

/// Input of reach.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The transport says.
    Link {
        /// With whom.
        peer: NodeId,
        /// What.
        change: LinkChange,
    },
    /// A peer introduces itself.
    Hello {
        /// The node that the transport authenticated.
        from: NodeId,
        /// What it says.
        hello: Box<Hello>,
    },
    /// A part wants a link, or no longer.
    Want {
        /// Which part.
        by: Wanter,
        /// To whom.
        peer: NodeId,
        /// Addresses that it knows.
        addresses: Vec<Address>,
        /// Wanted.
        wanted: bool,
    },
    /// Somebody can be found there.
    Addresses {
        /// Who.
        peer: NodeId,
        /// Where, best first.
        addresses: Vec<Address>,
    },
    /// A part sends a frame.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        frame: Frame,
    },
    /// What is known of keys changed.
    Keys(Arc<Keyring>),
    /// This node has a later certificate.
    Certificate(NodeIdentity),
}

/// Output of reach.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Make a link.
    Dial {
        /// To whom.
        peer: NodeId,
        /// Where, best first.
        addresses: Vec<Address>,
    },
    /// Close the link.
    Hangup {
        /// With whom.
        peer: NodeId,
    },
    /// Best effort.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        frame: Frame,
    },
    /// A peer introduced itself and is a member.
    Up {
        /// Who.
        peer: NodeId,
        /// Who vouches for it.
        certificate: Box<Signed<NodeCertificate>>,
        /// Its disk and how often it has started from it.
        disk: (DiskId, u64),
    },
    /// Its link is gone.
    Down(NodeId),
    /// Measured.
    RoundTrip(NodeId, Duration),
    /// Where this node can itself be reached, all of it.
    Listening(Vec<Address>),
    /// This node's clock is wrong, or right again.
    ClockOff(bool),
    /// What happened.
    Notice(Notice),
}

#[derive(Debug)]
enum State {
    /// No link; dialled again at the instant, if wanted.
    Idle { dial_at: Instant },
    /// The transport is dialling.
    Dialling,
    /// Linked, not introduced yet.
    Greeting { until: Instant },
    /// Linked and introduced.
    Linked,
}

#[derive(Debug)]
struct Peer {
    state: State,
    wanted_by: BTreeSet<Wanter>,
    /// Failed dials since the last link.
    failures: u32,
    /// Frames that wait for the introduction, with the time they came.
    waiting: VecDeque<(Instant, Frame)>,
    /// Its wall clock less ours, in milliseconds, when it introduced itself.
    clock_off_ms: Option<i64>,
    round_trip: Option<Duration>,
    certificate: Option<NodeCertificate>,
    /// Who signed that.
    certified_by: PublicKey,
    /// Its introduction was refused: it is not dialled again at once.
    refused: bool,
    /// Its operator has a new key: it is hung up on then, unless it shows a new certificate before.
    void_at: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub struct Reach {
    identity: NodeIdentity,
    mesh: MeshId,
    disk: (DiskId, u64),
    peers: BTreeMap<NodeId, Peer>,
    agenda: Agenda<NodeId>,
    book: AddressBook,
    listening: Vec<Address>,
    /// Given by the operator: goes ahead of what sockets say.
    announce: Vec<Address>,
    clock_off: bool,
    keyring: Arc<Keyring>,
    rng: Rng,
    outbox: Outbox<Output>,
}

impl Reach {
    /// A reach that wants `bootstrap`.
    #[must_use]
    pub fn open(
        seed: Seed,
        identity: NodeIdentity,
        mesh: MeshId,
        disk: (DiskId, u64),
        bootstrap: &[(NodeId, Vec<Address>)],
        announce: Vec<Address>,
    ) -> Self {
        let me = identity.node();
        let mut this = Self {
            identity,
            mesh,
            disk,
            peers: BTreeMap::new(),
            agenda: Agenda::default(),
            book: AddressBook::default(),
            listening: Vec::new(),
            announce,
            clock_off: false,
            keyring: Arc::default(),
            rng: seed.rng(),
            outbox: Outbox::default(),
        };
        for (peer, addresses) in bootstrap.iter().filter(|(peer, _)| *peer != me) {
            this.book.learn(*peer, addresses);
            this.peer(*peer, Instant::START).wanted_by.insert(Wanter::Bootstrap);
            this.arm(*peer);
        }
        this
    }

    /// Whether frames of this peer may enter the other parts.
    #[must_use]
    pub fn admits(&self, peer: NodeId) -> bool {
        matches!(self.peers.get(&peer), Some(Peer { state: State::Linked, .. }))
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
        if offsets.len() < CLOCK_PEERS_MIN {
            return 0;
        }
        offsets.sort_unstable();
        -offsets[offsets.len() / 2]
    }

    /// Where a peer was last said to be.
    #[must_use]
    pub fn addresses(&self, peer: NodeId) -> Vec<Address> {
        self.book.of(peer)
    }

    fn peer(&mut self, id: NodeId, now: Instant) -> &mut Peer {
        self.peers.entry(id).or_insert_with(|| Peer {
            state: State::Idle { dial_at: now },
            wanted_by: BTreeSet::new(),
            failures: 0,
            waiting: VecDeque::new(),
            clock_off_ms: None,
            round_trip: None,
            certificate: None,
            certified_by: PublicKey::default(),
            refused: false,
            void_at: None,
        })
    }

    fn want(&mut self, now: Now, by: Wanter, id: NodeId, addresses: &[Address], wanted: bool) {
        self.book.learn(id, addresses);
        let peer = self.peer(id, now.instant);
        if wanted {
            peer.wanted_by.insert(by);
            self.dial_if_due(now, id);
        } else {
            peer.wanted_by.remove(&by);
        }
    }

    /// Puts the next moment at which something is due for this peer on the agenda.
    fn arm(&mut self, id: NodeId) {
        let due = self.peers.get(&id).and_then(|peer| match peer.state {
            State::Idle { dial_at } => {
                let needed = !peer.wanted_by.is_empty() || !peer.waiting.is_empty();
                (needed && self.book.knows(id)).then_some(Deadline { at: dial_at, reason: "dial" })
            }
            State::Greeting { until } => Some(Deadline { at: until, reason: "greeting" }),
            State::Linked => peer.void_at.map(|at| Deadline { at, reason: "a certificate by a dead key" }),
            State::Dialling => None,
        });
        self.agenda.set(id, due);
    }

    fn dial_if_due(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let State::Idle { dial_at } = peer.state else { return };
        let needed = !peer.wanted_by.is_empty() || !peer.waiting.is_empty();
        let addresses = self.book.of(id);
        if !needed || addresses.is_empty() || now.instant < dial_at {
            return;
        }
        peer.state = State::Dialling;
        self.outbox.push(Output::Dial { peer: id, addresses });
    }

    fn on_link(&mut self, now: Now, id: NodeId, change: LinkChange) {
        match change {
            LinkChange::Up { address } => {
                if let Some(address) = address {
                    self.book.prefer(id, &address);
                }
                let peer = self.peer(id, now.instant);
                if matches!(peer.state, State::Greeting { .. } | State::Linked) {
                    return;
                }
                peer.state = State::Greeting { until: now.instant + HELLO_MAX };
                peer.failures = 0;
                let frame = Frame::Hello(Box::new(self.hello(now)));
                self.outbox.push(Output::Send { to: id, frame });
            }
            LinkChange::Down => self.lost(now, id),
            LinkChange::Unreachable { .. } => {
                let jitter = self.rng.below(512);
                let peer = self.peer(id, now.instant);
                if matches!(peer.state, State::Greeting { .. } | State::Linked) {
                    return;
                }
                let wait = BACK_OFF.saturating_mul(1 << peer.failures.min(8)).min(BACK_OFF_MAX);
                peer.failures = peer.failures.saturating_add(1);
                let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
                let dial_at = now.instant + Duration::from_nanos(wait_ns / 1024 * (512 + jitter));
                peer.state = State::Idle { dial_at };
                peer.waiting.retain(|(since, _)| now.instant.since(*since) < WAITING_TIME_MAX);
            }
            LinkChange::RoundTrip(round_trip) => {
                let peer = self.peer(id, now.instant);
                peer.round_trip = Some(round_trip);
                if matches!(peer.state, State::Linked) {
                    self.outbox.push(Output::RoundTrip(id, round_trip));
                }
            }
            LinkChange::Full => {}
            LinkChange::Discovered { address } => {
                self.book.learn(id, &[address]);
                self.peer(id, now.instant).wanted_by.insert(Wanter::Bootstrap);
                self.dial_if_due(now, id);
            }
            LinkChange::Listening { address } => {
                if !self.listening.contains(&address) {
                    self.listening.push(address);
                    let mut all = self.announce.clone();
                    all.extend(self.listening.iter().filter(|address| !self.announce.contains(address)).cloned());
                    self.outbox.push(Output::Listening(all));
                }
            }
        }
    }

    fn lost(&mut self, now: Now, id: NodeId) {
        let jitter = self.rng.duration_below(BACK_OFF);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let was_linked = matches!(peer.state, State::Linked);
        let wait = if peer.refused { BACK_OFF_MAX } else { Duration::ZERO };
        peer.state = State::Idle { dial_at: now.instant + wait + jitter };
        peer.clock_off_ms = None;
        if was_linked {
            self.outbox.push(Output::Down(id));
            self.outbox.push(Output::Notice(Notice::PeerDown(id)));
        }
        self.dial_if_due(now, id);
    }

    fn hello(&self, now: Now) -> Hello {
        Hello {
            wire: WIRE_VERSION,
            wire_min: 1,
            mesh: self.mesh,
            certificate: self.identity.signed_certificate().clone(),
            disk: self.disk.0,
            boots: self.disk.1,
            wall: now.wall,
        }
    }

    fn on_hello(&mut self, now: Now, from: NodeId, hello: Hello) {
        let certificate = match self.judge(now, from, &hello) {
            Ok(certificate) => certificate,
            Err(reason) => {
                return self.turn_away(now, from, reason);
            }
        };
        let peer = self.peer(from, now.instant);
        let known = matches!(peer.state, State::Linked);
        peer.state = State::Linked;
        peer.failures = 0;
        peer.certificate = Some(certificate);
        peer.certified_by = hello.certificate.key();
        peer.refused = false;
        peer.void_at = None;
        let theirs = i64::try_from(hello.wall.0).unwrap_or(i64::MAX);
        peer.clock_off_ms = Some(theirs.saturating_sub(i64::try_from(now.wall.0).unwrap_or(i64::MAX)));
        let waiting = std::mem::take(&mut peer.waiting);
        if !known {
            let certificate = Box::new(hello.certificate);
            self.outbox.push(Output::Up { peer: from, certificate, disk: (hello.disk, hello.boots) });
            self.outbox.push(Output::Notice(Notice::PeerUp(from)));
        }
        for (_, frame) in waiting {
            self.outbox.push(Output::Send { to: from, frame });
        }
        self.judge_clock();
    }

    /// What its certificate says, or why this peer is turned away.
    fn judge(&self, now: Now, from: NodeId, hello: &Hello) -> Result<NodeCertificate, String> {
        if hello.mesh != self.mesh {
            return Err(format!("it is of another mesh, {}; this is {}", hello.mesh.short(), self.mesh.short()));
        }
        if hello.wire_min > WIRE_VERSION {
            return Err(format!("it speaks wire versions from {} up; this node up to {WIRE_VERSION}", hello.wire_min));
        }
        let certificate =
            NodeCertificate::accept(&hello.certificate, self.mesh, now.wall).map_err(|error| error.to_string())?;
        if certificate.node != from {
            return Err("it shows another node's certificate".into());
        }
        let counts = self.keyring.counts(&certificate, hello.certificate.key());
        counts.map_err(|why| format!("its certificate counts no more: {why}"))?;
        Ok(certificate)
    }

    /// Hangs up on a peer, whether it was a member until now or not.
    fn turn_away(&mut self, now: Now, id: NodeId, reason: String) {
        self.outbox.push(Output::Notice(Notice::PeerRefused { peer: id, reason }));
        self.outbox.push(Output::Hangup { peer: id });
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.refused = true;
        peer.waiting.clear();
        if matches!(peer.state, State::Linked) {
            self.lost(now, id);
            self.arm(id);
        }
    }

    /// Whose certificate counts no more is a member no more.
    fn on_keys(&mut self, now: Now, keyring: Arc<Keyring>) {
        self.keyring = keyring;
        let void =
            self.peers.iter().filter(|(_, peer)| matches!(peer.state, State::Linked)).filter_map(|(id, peer)| {
                let certificate = peer.certificate.as_ref()?;
                let why = self.keyring.counts(certificate, peer.certified_by).err()?;
                Some((*id, why))
            });
        for (id, why) in void.collect::<Vec<_>>() {
            match (why, self.peers.get_mut(&id)) {
                // Its new certificate may be on its way.
                (Void::Superseded { .. }, Some(peer)) if peer.void_at.is_none() => {
                    peer.void_at = Some(now.instant + RECERTIFY_MAX);
                    self.arm(id);
                }
                (Void::Superseded { .. }, _) => {}
                (Void::Revoked, _) => self.turn_away(now, id, format!("its certificate counts no more: {why}")),
            }
        }
    }

    /// Hangs up on a peer that still shows a certificate by a dead key.
    fn end_void(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.void_at.is_some_and(|at| at <= now.instant) {
            peer.void_at = None;
            let counts = peer.certificate.as_ref().map(|it| self.keyring.counts(it, peer.certified_by));
            if let Some(Err(why)) = counts {
                self.turn_away(now, id, format!("its certificate counts no more: {why}"));
            }
        }
    }

    /// Introduces this node anew to everybody.
    fn on_certificate(&mut self, now: Now, identity: NodeIdentity) {
        self.identity = identity;
        let linked = self.peers.iter().filter(|(_, peer)| matches!(peer.state, State::Linked | State::Greeting { .. }));
        for to in linked.map(|(id, _)| *id).collect::<Vec<_>>() {
            let frame = Frame::Hello(Box::new(self.hello(now)));
            self.outbox.push(Output::Send { to, frame });
        }
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

    fn send(&mut self, now: Now, to: NodeId, frame: Frame) {
        if self.admits(to) {
            self.outbox.push(Output::Send { to, frame });
            return;
        }
        let queued = self.peers.values().filter(|peer| !peer.waiting.is_empty()).count();
        let has_addresses = !self.book.of(to).is_empty();
        let peer = self.peer(to, now.instant);
        let reachable = has_addresses || matches!(peer.state, State::Greeting { .. } | State::Dialling);
        if !reachable || (peer.waiting.is_empty() && queued >= WAITING_PEERS_MAX) {
            return;
        }
        if peer.waiting.len() == WAITING_MAX {
            peer.waiting.pop_front();
        }
        peer.waiting.push_back((now.instant, frame));
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
            Input::Addresses { peer, addresses } => {
                self.book.learn(peer, &addresses);
                self.dial_if_due(now, peer);
                peer
            }
            Input::Send { to, frame } => {
                self.send(now, to, frame);
                to
            }
            Input::Keys(keyring) => return self.on_keys(now, keyring),
            Input::Certificate(identity) => return self.on_certificate(now, identity),
        };
        self.arm(touched);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(id) = self.agenda.pop_due(now) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if let State::Greeting { until } = peer.state
                && until <= now.instant
            {
                let reason = "it did not introduce itself in time".to_owned();
                self.outbox.push(Output::Notice(Notice::PeerRefused { peer: id, reason }));
                self.outbox.push(Output::Hangup { peer: id });
                peer.state = State::Idle { dial_at: now.instant + BACK_OFF_MAX };
            }
            self.end_void(now, id);
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
