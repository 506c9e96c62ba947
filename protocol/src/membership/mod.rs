//! Who is there: few neighbours each (`overlay`), records down a tree of them (`broadcast`), what was missed by comparing
//! (`repair`), and a few others who watch each node (`observe`) and agree about it (`tally`).
//!
//! Everything that a node knows of others is a signed record in its [`RecordSet`]; membership decides whom it talks to
//! about them. It asks for links and never dials: that is `reach`'s. A peer cache is kept, so that killing every
//! bootstrap node changes nothing.
mod config;
mod verdict;
mod wire;
mod packed;
mod io;
mod overlay;
mod tree;
mod broadcast;
mod repair;
mod own;
mod draw;
mod observe;
mod tally;
mod gates;
mod keys;
mod subscribe;
mod wants;
mod outsiders;
pub mod detector;

use std::{collections::BTreeMap, time::Duration};

pub use config::Config;
pub use io::{Address, Draft, GatesOf, Input, Output, Presence};
pub use verdict::{Liveness, Verdict};
pub use wire::{Contact, Message, Parcel, Sums};

use self::{
    broadcast::{How, Trees},
    detector::Detector,
    gates::Gates,
    observe::Watches,
    overlay::Overlay,
    own::Own,
    subscribe::Subscriptions,
    tally::Tally,
    tree::Tree,
    wants::{Reason, Wants},
};
use crate::{
    agenda::Agenda,
    codec::Blob,
    id::{DiskId, MeshId, NodeId, OperatorId},
    identity::{NodeCertificate, NodeIdentity, Signed},
    machine::{Deadline, Machine, Outbox},
    notice::Notice,
    random::{Rng, Seed},
    record::{ContentRule, Keyring, Kind, RecordSet, Shared, Tier},
    resources::Jurisdiction,
    time::{Instant, Now, Timestamp},
};

/// A round trip is taken to be so long until it was measured.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(100);

/// A measured round trip counts no longer than this when waiting for a peer.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);

/// What the content of the kinds that are membership's own must keep to.
pub const RULES: [(Kind, ContentRule); 2] = [(Kind::PRESENCE, Presence::rule), (Kind::VERDICT, Verdict::rule)];

/// What wakes membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Renew,
    Expire,
    Announce,
    Missing,
    Beat,
    Fill,
    Shuffle,
    Repair,
    Probe,
    Redraw,
    Subscribe,
    Cache,
    Keys,
    Certificate,
    Detector,
}

/// A peer with a link.
#[derive(Clone, Copy, Debug)]
struct Link {
    jurisdiction: Jurisdiction,
    round_trip: Duration,
    /// When it last gave a sign of life.
    heard: Instant,
}

/// See the top of this file.
#[derive(Debug)]
pub struct Membership {
    config: Config,
    identity: NodeIdentity,
    me: NodeId,
    operator: OperatorId,
    home: Jurisdiction,
    addresses: Vec<Address>,
    draining: Option<Timestamp>,
    disk: DiskId,
    boots: u64,
    mesh: MeshId,
    rng: Rng,
    outbox: Outbox<Output>,
    agenda: Agenda<Timer>,
    set: RecordSet,
    links: BTreeMap<NodeId, Link>,
    wants: Wants,
    own: Own,
    overlay: Overlay,
    trees: Trees,
    shape: BTreeMap<Tier, Tree>,
    watch: Watches,
    tally: Tally,
    /// Says who is down, in an experiment; else observers do.
    detector: Option<Box<dyn Detector>>,
    gates: Gates,
    subscriptions: Subscriptions,
    /// When the record expires for which a wake-up is set.
    expiring: Option<Timestamp>,
    /// Incarnation of each node whose presence is in force here.
    present: BTreeMap<NodeId, u64>,
    double: keys::Double,
    /// The rest of the node was told what the disk kept of keys.
    keys_told: bool,
}

impl Membership {
    /// Opens membership on what the disk held under keys that begin with `membership/`. Publishes this node's presence
    /// and asks for links to the nodes of the peer cache at the first timeout, which is due at once.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is one thing that the node knows and membership does not")]
    pub fn open(
        config: Config,
        seed: Seed,
        identity: NodeIdentity,
        mesh: MeshId,
        keyed: &BTreeMap<Blob, Blob>,
        disk: DiskId,
        boots: u64,
        now: Now,
    ) -> Self {
        let home = identity.certificate().jurisdiction;
        let mut set = RecordSet::new(mesh, home, Keyring::recall(keyed));
        for (kind, rule) in RULES {
            set.demand(kind, rule);
        }
        let mut this = Self {
            config,
            me: identity.node(),
            operator: identity.certificate().operator_id(),
            identity,
            home,
            addresses: Vec::new(),
            draining: None,
            disk,
            boots,
            mesh,
            rng: seed.split("membership").rng(),
            outbox: Outbox::default(),
            agenda: Agenda::default(),
            set,
            links: BTreeMap::new(),
            wants: Wants::default(),
            own: Own::open(keyed.get(&Blob::from(own::COUNTERS))),
            overlay: Overlay::default(),
            trees: Trees::default(),
            shape: BTreeMap::new(),
            watch: Watches::default(),
            tally: Tally::default(),
            detector: None,
            gates: Gates::default(),
            subscriptions: Subscriptions::default(),
            expiring: None,
            present: BTreeMap::new(),
            double: keys::Double::new(now.instant),
            keys_told: false,
        };
        this.recall(overlay::cached(keyed.get(&Blob::from(overlay::CACHE))), now);
        this.wake(Timer::Renew, now.instant, "publish the presence");
        this.wake(Timer::Fill, now.instant, "look for neighbours");
        this.watch_certificate(now);
        for (timer, every, reason) in [
            (Timer::Shuffle, Duration::from_secs(2), "exchange contacts"),
            (Timer::Repair, this.config.repair / 4, "compare with a neighbour"),
            (Timer::Probe, this.config.probe, "probe"),
            (Timer::Beat, this.config.beat, "beat"),
            (Timer::Cache, Duration::from_secs(2), "keep the peer cache"),
            (Timer::Keys, keys::FIRST, "publish words about keys"),
        ] {
            let wait = this.jittered(every);
            this.wake(timer, now.instant + wait, reason);
        }
        this
    }

    /// What an operator that is not admitted may say: this of kind `OPERATOR`, and nothing else. Call before the first
    /// input.
    pub fn demand_of_outsiders(&mut self, rule: ContentRule) {
        self.set.demand_of_outsiders(rule);
    }

    /// What the owner of a kind demands of its content before the set takes it in. Call before the first input.
    pub fn demand(&mut self, kind: Kind, rule: ContentRule) {
        self.set.demand(kind, rule);
    }

    /// The records in force here.
    #[must_use]
    pub const fn records(&self) -> &RecordSet {
        &self.set
    }

    /// Where another process says it is that runs with this node's key, if one did lately.
    #[must_use]
    pub fn double(&self) -> Option<&[Address]> {
        self.double.seen()
    }

    /// The neighbours in the overlay, in order of their ids.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        self.overlay.active.keys().copied()
    }

    /// This node's own incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.own.incarnation
    }

    /// Where a node was last said to be; empty if nobody said.
    #[must_use]
    pub fn addresses(&self, node: NodeId) -> Vec<Address> {
        self.addresses_of(node)
    }

    fn wake(&mut self, timer: Timer, at: Instant, reason: &'static str) {
        self.agenda.set(timer, Some(Deadline { at, reason }));
    }

    /// Within an eighth of `every`, so that nodes started together do not stay in step.
    fn jittered(&mut self, every: Duration) -> Duration {
        every * 7 / 8 + self.rng.duration_below(every / 4)
    }

    /// Sends if there is a link; what needs one says so by `want`.
    fn send(&mut self, to: NodeId, message: Message) {
        if self.links.contains_key(&to) {
            self.outbox.push(Output::Send { to, message });
        }
    }

    fn want(&mut self, peer: NodeId, reason: Reason) {
        if self.wants.add(peer, reason) {
            let addresses = self.addresses_of(peer);
            self.outbox.push(Output::Want { peer, addresses, wanted: true });
        }
    }

    fn unwant(&mut self, peer: NodeId, reason: Reason) {
        if self.wants.remove(peer, reason) {
            self.outbox.push(Output::Want { peer, addresses: Vec::new(), wanted: false });
        }
    }

    fn round_trip(&self, peer: NodeId) -> Duration {
        self.links.get(&peer).map_or(ROUND_TRIP_UNKNOWN, |link| link.round_trip)
    }

    fn on_peer_up(&mut self, now: Now, peer: NodeId, certificate: &Signed<NodeCertificate>) {
        let by = match self.set.pin(certificate, now.wall) {
            Ok(by) if by.certificate.node == peer => by,
            Ok(by) => {
                self.set.unpin(by.certificate.node);
                let reason = crate::record::Refused::OtherCertificate.to_string();
                return self.outbox.push(Output::Notice(Notice::PeerRefused { peer, reason }));
            }
            Err(error) => {
                let reason = error.to_string();
                return self.outbox.push(Output::Notice(Notice::PeerRefused { peer, reason }));
            }
        };
        let jurisdiction = by.certificate.jurisdiction;
        self.links.insert(peer, Link { jurisdiction, round_trip: ROUND_TRIP_UNKNOWN, heard: now.instant });
        self.forget_subscriber(peer);
        self.heard(now, peer);
        self.greet_outsider(peer);
        if self.is_outsider(peer) {
            return;
        }
        self.linked(now, peer);
        self.greet_observer(now, peer);
        self.catch_up(peer, jurisdiction);
    }

    fn on_peer_down(&mut self, now: Now, peer: NodeId) {
        if self.links.remove(&peer).is_some() {
            self.set.unpin(peer);
            self.unlinked(now, peer);
        }
    }

    fn on_message(&mut self, now: Now, from: NodeId, message: Message) {
        if !self.links.contains_key(&from) {
            return;
        }
        if !message.is_within_bounds() {
            return self.refused(from, "a list in its message is longer than allowed".to_owned());
        }
        self.heard(now, from);
        if self.is_outsider(from) && !Self::hears_from_outsider(&message) {
            return;
        }
        match message {
            Message::Records(parcels) => self.take(now, from, parcels, How::Pushed),
            Message::Found(parcels) => self.take(now, from, parcels, How::Found),
            Message::Announce(headers) => self.on_announce(now, from, &headers),
            Message::Graft(tier) => self.on_graft(from, tier),
            Message::Prune(tier) => self.on_prune(from, tier),
            Message::Digest { settled, sums } => self.on_digest(from, settled, &sums),
            Message::Have { settled, tier, buckets, headers } => {
                self.on_have(from, settled, tier, &buckets, &headers);
            }
            Message::Fetch(headers) => self.give(from, &headers),
            Message::Neighbour { urgent, me, contacts } => self.on_neighbour(now, from, urgent, me, contacts),
            Message::Welcome { accepted, me, contacts } => self.on_welcome(now, from, accepted, me, contacts),
            Message::Part => self.on_part(now, from),
            Message::Shuffle { answer, contacts } => self.on_shuffle(now, from, answer, contacts),
            Message::Ping(number) => self.send(from, Message::Ack(number)),
            Message::Ack(_) => {}
            Message::Probe(target) => self.on_probe(now, from, target),
            Message::Probed(target) => self.answered(now, target),
            Message::Beat { tier, root, number, hops } => self.on_beat(now, from, tier, root, number, hops),
            Message::Watch(parcel) => self.on_watch(now, from, &parcel.0),
            Message::Subscribe(subjects) => self.on_subscribe(now, from, subjects),
            Message::Observers { inner, outer } => self.on_observers(now, from, inner, outer),
        }
    }

    /// A presence is in force.
    fn on_presence(&mut self, now: Now, record: &Shared) {
        let Some(presence) = Presence::read(record) else { return };
        let node = NodeId(record.body.subject.0);
        if self.set.tier(record.body.scope) == Tier::Home {
            self.sense(now, detector::Input::Present { node, life: presence.incarnation });
        }
        if node == self.me {
            self.ask_all_to_watch();
        }
        let before = self.present.insert(node, presence.incarnation);
        if before.is_none() {
            self.redraw_soon(now);
            if self.set.tier(record.body.scope) == Tier::Home {
                self.fill_if_small(now);
            }
        } else if before < Some(presence.incarnation) {
            self.reborn(node);
            self.count(now, node);
        }
    }

    fn expire(&mut self, now: Now) {
        for record in self.set.expire(now.wall) {
            self.ended(now, record);
        }
    }

    /// A record is in force no more.
    fn ended(&mut self, now: Now, record: Shared) {
        match record.body.kind {
            Kind::PRESENCE => {
                let node = NodeId(record.body.subject.0);
                self.present.remove(&node);
                self.forget_state(now, node);
                self.sense(now, detector::Input::Absent(node));
                self.redraw_soon(now);
            }
            Kind::VERDICT => self.verdict_expired(now, &record),
            _ => {}
        }
        self.outbox.push(Output::Expired(record));
    }

    fn on_addresses(&mut self, now: Now, mut addresses: Vec<Address>) {
        addresses.retain(|address| address.len() <= wire::ADDRESS_BYTES_MAX);
        addresses.truncate(wire::ADDRESSES_MAX);
        if addresses != self.addresses {
            self.addresses = addresses;
            self.publish_presence(now);
        }
    }

    fn on_drain(&mut self, now: Now, draining: Option<Timestamp>) {
        if draining != self.draining {
            self.draining = draining;
            self.publish_presence(now);
        }
    }

    fn on_clock(&mut self, now: Now, off: bool) {
        self.own.clock_off = off;
        self.renew(now);
    }

    fn fire(&mut self, now: Now, timer: Timer) {
        match timer {
            Timer::Renew => {
                if !self.present.contains_key(&self.me) {
                    self.publish_presence(now);
                }
                self.renew(now);
            }
            Timer::Expire => {
                self.expiring = None;
                self.expire(now);
            }
            Timer::Announce => self.announce(),
            Timer::Missing => self.fetch_missing(now),
            Timer::Beat => self.beat(now),
            Timer::Fill => self.fill(now),
            Timer::Shuffle => self.shuffle(now),
            Timer::Repair => self.repair(now),
            Timer::Probe => self.probe(now),
            Timer::Redraw => self.redraw(now),
            Timer::Subscribe => self.say_subscriptions(now),
            Timer::Cache => self.cache(now),
            Timer::Keys => self.uphold_words(now),
            Timer::Certificate => self.watch_certificate(now),
            Timer::Detector => self.wake_detector(now),
        }
    }

    fn end_step(&mut self, now: Now) {
        self.on_news(now);
        self.flush(now);
        self.schedule_expiry(now);
    }
}

impl Machine for Membership {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::PeerUp { peer, certificate } => self.on_peer_up(now, peer, &certificate),
            Input::PeerDown(peer) => self.on_peer_down(now, peer),
            Input::RoundTrip(peer, round_trip) => {
                if let Some(link) = self.links.get_mut(&peer) {
                    link.round_trip = round_trip.min(ROUND_TRIP_MAX);
                }
            }
            Input::Received { from, message } => self.on_message(now, from, message),
            Input::Datagram { from, bytes } => self.sense(now, detector::Input::Datagram { from, bytes }),
            Input::Publish(draft) => self.publish(now, draft),
            Input::Say(draft) => self.publish_once(now, draft),
            Input::Counted(admitted) => self.on_counted(now, admitted),
            Input::Withdraw { kind, scope, subject } => self.withdraw(now, kind, scope, subject),
            Input::Subscribe { subject, wanted } => self.subscribe(now, subject, wanted),
            Input::Addresses(addresses) => self.on_addresses(now, addresses),
            Input::Heard(peer) => self.heard(now, peer),
            Input::Gates(gates) => {
                self.gates = Gates::new(gates);
                self.redraw_soon(now);
            }
            Input::Drain(draining) => self.on_drain(now, draining),
            Input::ClockOff(off) => self.on_clock(now, off),
            Input::Word { request, word } => self.on_word(now, request, &word),
            Input::Certificate { request, certificate } => self.on_certificate(now, request, *certificate),
        }
        self.end_step(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(timer) = self.agenda.pop_due(now) {
            self.fire(now, timer);
        }
        self.end_step(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}
