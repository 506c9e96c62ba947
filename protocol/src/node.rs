//! A node of the mesh: the composite machine. It routes and never decides: each `on_*` below is the diagram of what one
//! part says and who listens.
//!
//! ```text
//!   reach ──frames──→ membership ──records──→ market ──candidates──→ sponsor ──grants──→ host
//!     ↑                    │                                            │                 │
//!     │                    └──bindings──→ router ←──descriptions── cells ←────genesis─────┘
//!     └──────sends── all                     │                      ↑
//!                                          edges      leases ──→ caller ──→ (the leader, wherever it is)
//! ```
mod abroad;
mod calling;
mod converging;
mod departing;
mod fetches;
mod loss;
mod roll;
mod status;
mod ties;
mod wiring;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use self::fetches::{Fetcher, Fetches};
use crate::{
    agenda::Agenda,
    away::{self, Away},
    birth::{self, Goal, Host, HostInput, HostOutput, Sponsor, SponsorInput, SponsorOutput},
    caller::{self, Caller, Owner, What},
    capacity::{self, Market},
    cell,
    cells::{self, Cells},
    charter::{self, Roll},
    codec::{self, Blob},
    command::{Command, Reply},
    config::Config,
    context::Context,
    converge::{self, Converge},
    departure::{self, Departure},
    frame::Frame,
    id::{CellId, NodeId, RequestId},
    identity::NodeIdentity,
    io::{Input, Output},
    lease::{self, Leases},
    machine::{Deadline, Machine, Outbox},
    membership::{self, Membership},
    notice::Notice,
    random::Seed,
    reach::{self, Reach, Wanter},
    record::{Keyring, Kind, Shared},
    refusal::Refusal,
    route::{self, Router},
    store::{Boot, DiskFault, Rot, StoreOp, WriteBatch},
    survey::{self, Surveyor},
    ties::Ties,
    time::Now,
    writes::{Writer, Writes},
};

/// More hand-overs than this in one step means that two parts argue for ever.
const HAND_OVERS_MAX: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Reach,
    Membership,
    Roll,
    Market,
    Cells,
    Caller,
    Leases,
    Host,
    Sponsor,
    Router,
    Away,
    Converge,
    Departure,
    Surveyor,
}

const PARTS: [Part; 14] = [
    Part::Reach,
    Part::Membership,
    Part::Roll,
    Part::Market,
    Part::Cells,
    Part::Caller,
    Part::Leases,
    Part::Host,
    Part::Sponsor,
    Part::Router,
    Part::Away,
    Part::Converge,
    Part::Departure,
    Part::Surveyor,
];

/// What one part says to another.
#[derive(Debug)]
enum HandOver {
    Reach(reach::Input),
    Membership(membership::Input),
    Roll(charter::Input),
    Market(capacity::Input),
    Cells(cells::Input),
    Caller(caller::Input),
    Leases(lease::Input),
    Host(HostInput),
    Sponsor(SponsorInput),
    Router(route::Input),
    Away(away::Input),
    Converge(converge::Input),
    Departure(departure::Input),
    Surveyor(survey::Input),
    /// Somebody asks how far the drain is.
    Drained(RequestId),
    Timeout(Part),
}

/// All parts of a node, wired.
#[derive(Debug)]
pub struct Node {
    identity: NodeIdentity,
    reach: Reach,
    membership: Membership,
    roll: Roll,
    market: Market,
    cells: Cells,
    caller: Caller,
    leases: Leases,
    host: Host,
    sponsor: Sponsor,
    router: Router,
    away: Away,
    converge: Converge,
    departure: Departure,
    surveyor: Surveyor,
    ties: Ties,
    /// Whose presences the cells here listen to: their members and hosts.
    watched: Ties,
    /// Whom sleeping cells rely on.
    vigils: Ties,
    /// Whom this node must reach to hand converging state over.
    handed_over: Ties,
    writes: Writes,
    fetches: Fetches,
    disk_failed: Option<DiskFault>,
    agenda: Agenda<Part>,
    pending: VecDeque<HandOver>,
    outbox: Outbox<Output>,
}

impl Node {
    /// Opens a node on what its disk held. Drain its outputs before the first input.
    #[must_use]
    pub fn open(config: Config, seed: Seed, boot: Boot, now: Now) -> Self {
        let Boot { disk, boots, keyed, cells, rot } = boot;
        let Config {
            mesh,
            identity,
            founding,
            request,
            zone,
            bootstrap,
            announce,
            relays,
            offer,
            cell,
            wire,
            membership,
            policies,
        } = config;
        let membership = membership::Config { relays, ..membership };
        let reach = reach::Config { bootstrap, announce, relays, wire };
        let me = identity.node();
        let id = || identity.clone();
        let mut this = Self {
            reach: Reach::open(seed.split("reach"), id(), mesh, (disk, boots), reach),
            membership: Membership::open(membership, seed.split("membership"), id(), mesh, &keyed, disk, boots, now),
            roll: Roll::open(seed.split("roll"), id(), mesh, founding, request, &keyed, now),
            market: Market::open(seed.split("market"), id(), mesh, offer, now),
            cells: Cells::open(cell, seed.split("cells"), id(), cells, now),
            caller: Caller::new(me),
            leases: Leases::open(id(), &keyed, now),
            host: Host::new(id(), mesh, offer),
            sponsor: Sponsor::new(id(), mesh, zone.clone(), policies.placement),
            router: Router::new(me, identity.certificate().jurisdiction, zone),
            away: Away::new(me, identity.certificate().jurisdiction),
            converge: Converge::open(me, seed.split("converge"), &keyed, &rot, (disk, boots), now),
            departure: Departure::open(&keyed, offer),
            surveyor: Surveyor::new(me, mesh, identity.certificate().jurisdiction),
            ties: Ties::default(),
            watched: Ties::default(),
            vigils: Ties::default(),
            handed_over: Ties::default(),
            writes: Writes::default(),
            fetches: Fetches::default(),
            disk_failed: None,
            agenda: Agenda::default(),
            pending: VecDeque::new(),
            outbox: Outbox::default(),
            identity,
        };
        if let Some(detection) = policies.detector {
            let detector = detection.detector(me, seed.split("detector"), now);
            this.membership.detect_by(now, detector);
        }
        this.report_rot(rot);
        for kind in [Kind::OPERATOR, Kind::CHARTER] {
            this.membership.demand(kind, charter::rule);
        }
        this.membership.demand_of_outsiders(charter::rule_for_outsiders);
        for part in PARTS {
            this.drain(part);
        }
        this.settle(now);
        this
    }

    /// What the disk lost is said aloud and dropped, so that it is never written upon; the cells bring it back.
    fn report_rot(&mut self, rot: Rot) {
        for cell in rot.cells {
            let reason = "the disk returned other bytes than were written".to_owned();
            self.outbox.push(Output::Notice(Notice::CellQuarantined { cell, reason }));
            let write = self.writes.number();
            self.outbox.push(Output::Persist { write, batch: WriteBatch { ops: vec![StoreOp::DropCell { cell }] } });
        }
    }

    /// The driver's or a peer's word, and who listens.
    fn on_input(&mut self, input: Input) {
        match input {
            Input::Received { from, frame } => self.on_frame(from, frame.into_inner()),
            Input::Datagram { from, bytes } => {
                self.hand(HandOver::Membership(membership::Input::Datagram { from, bytes }));
            }
            Input::Link { peer, change } => self.hand(HandOver::Reach(reach::Input::Link { peer, change })),
            Input::Persisted(write) => {
                for (writer, write) in self.writes.persisted(write) {
                    self.hand(match writer {
                        Writer::Replica(cell) => HandOver::Cells(cells::Input::Persisted { cell, write }),
                        Writer::Stores(cell) => HandOver::Converge(converge::Input::Persisted { cell, write }),
                    });
                }
            }
            Input::PersistFailed(write, fault) => {
                for (writer, write) in self.writes.failed(write) {
                    let fault = fault.clone();
                    self.hand(match writer {
                        Writer::Replica(cell) => {
                            let input = Box::new(cell::Input::PersistFailed(write, fault));
                            HandOver::Cells(cells::Input::To { cell, input })
                        }
                        Writer::Stores(cell) => HandOver::Converge(converge::Input::PersistFailed { cell, fault }),
                    });
                }
                if self.disk_failed.is_none() {
                    self.disk_failed = Some(fault.clone());
                    self.outbox.push(Output::Notice(Notice::DiskFailed(fault)));
                }
            }
            // A sleeping cell stays in memory, so nothing is loaded after the boot.
            Input::Loaded { .. } | Input::Reading(_) => {}
            Input::Transferred { id, result } => self.on_transferred(id, result.ok()),
            Input::Instance { id, generation, change } => {
                self.hand(HandOver::Leases(lease::Input::Instance { id, generation, change }));
            }
            Input::Command { context, command } => self.on_command(context, *command),
        }
    }

    fn on_frame(&mut self, from: NodeId, frame: Frame) {
        if let Frame::Hello(mut hello) = frame {
            // Whoever was admitted somewhere else shows by what, so that nobody need be asked.
            if let Some(credentials) = hello.credentials.take() {
                self.hand(HandOver::Roll(charter::Input::Shown(credentials)));
            }
            return self.hand(HandOver::Reach(reach::Input::Hello { from, hello }));
        }
        if !self.reach.hears(from, matches!(frame, Frame::Gossip(_))) {
            return;
        }
        match frame {
            Frame::Hello(_) => unreachable!("handed to reach above"),
            Frame::Gossip(message) => {
                self.hand(HandOver::Membership(membership::Input::Received { from, message }));
            }
            Frame::Cell { cell, message } => match message {
                cell::Message::Outcome { request, result } => {
                    self.hand(HandOver::Caller(caller::Input::Outcome { from, request, result }));
                }
                cell::Message::Answers { request, result } => {
                    self.hand(HandOver::Caller(caller::Input::Answers { from, request, result }));
                }
                cell::Message::Raft { .. }
                | cell::Message::Propose { .. }
                | cell::Message::Read { .. }
                | cell::Message::Sleep { .. }
                | cell::Message::Slept { .. }
                | cell::Message::Prove { .. }
                | cell::Message::Committed { .. }
                | cell::Message::Outdated { .. }
                | cell::Message::Recovered(_)
                | cell::Message::Wake { .. } => {
                    self.hand(HandOver::Cells(cells::Input::Received { from, cell, message }));
                }
                cell::Message::Surveyed { request, .. } if request == cell::MEMBER_ASKED => {
                    self.hand(HandOver::Cells(cells::Input::Received { from, cell, message }));
                }
                cell::Message::Survey { .. }
                | cell::Message::Surveyed { .. }
                | cell::Message::Recover { .. }
                | cell::Message::Carried { .. } => {
                    self.hand(HandOver::Surveyor(survey::Input::Received { from, cell, message }));
                }
            },
            Frame::Birth(message) => self.on_birth(from, message),
            Frame::Route(message) => self.hand(HandOver::Router(route::Input::Received { from, message })),
            Frame::Reach(message) => self.hand(HandOver::Reach(reach::Input::Received { from, message })),
            Frame::Mark(mark) => self.hand(HandOver::Cells(cells::Input::Mark { from, mark })),
            Frame::Converge { cell, message } => {
                self.hand(HandOver::Converge(converge::Input::Received { from, cell, message }));
            }
        }
    }

    /// A frame of placing, from another node or from this one: to the host if it asks, to the sponsor if it answers.
    fn on_birth(&mut self, from: NodeId, message: birth::Message) {
        use birth::Message;
        match message {
            Message::Candidates { context, ask } => {
                let named = self.market.answer(&ask);
                let withheld = (!named.withheld.is_empty()).then_some(named.withheld);
                let candidates = named.candidates;
                let message = Message::CandidatesFound { request: context.request, candidates, withheld };
                self.send(from, Frame::Birth(message));
            }
            Message::Grant { .. } | Message::Store { .. } | Message::Found { .. } => {
                self.hand(HandOver::Host(HostInput::Received { from, message }));
            }
            Message::CandidatesFound { .. }
            | Message::Granted { .. }
            | Message::Stored { .. }
            | Message::Founded { .. } => {
                self.hand(HandOver::Sponsor(SponsorInput::Received { from, message }));
            }
        }
    }

    fn on_command(&mut self, context: Context, command: Command) {
        match command {
            Command::Deploy { tenant, successions, release } => {
                self.start(context, Goal::Deploy { tenant, successions, release });
            }
            Command::Plan { policy } => self.start(context, Goal::Plan { policy }),
            Command::Submit { .. } | Command::Read { .. } | Command::Write { .. } | Command::GuestRead { .. } => {
                self.hand(HandOver::Converge(converge::Input::Asked { context, command: Box::new(command) }));
            }
            Command::Resolve { host } => self.hand(HandOver::Router(route::Input::Resolve { context, host })),
            Command::Offer(terms) => {
                self.hand(HandOver::Departure(departure::Input::Terms(terms)));
                self.reply(context.request, Ok(Reply::Done));
            }
            Command::Drain(order) => {
                let request = context.request;
                self.hand(HandOver::Departure(departure::Input::Order { request, order }));
            }
            Command::Drained => self.hand(HandOver::Drained(context.request)),
            Command::Depart => {
                self.hand(HandOver::Cells(cells::Input::Depart));
                self.hand(HandOver::Leases(lease::Input::Depart));
                self.reply(context.request, Ok(Reply::Done));
            }
            Command::Reach => {
                let reach = Reply::Reach(Box::new(self.reach.shown()));
                self.reply(context.request, Ok(reach));
            }
            Command::Roll => self.hand(HandOver::Roll(charter::Input::Show(context))),
            Command::Papers(papers) => {
                self.hand(HandOver::Roll(charter::Input::Submit { context, papers: *papers }));
            }
            Command::Status => {
                let status = Reply::Status(Box::new(self.status()));
                self.reply(context.request, Ok(status));
            }
            Command::Survey { cell } => self.hand(HandOver::Surveyor(survey::Input::Survey { context, cell })),
            Command::Recover(papers) => self.hand(HandOver::Surveyor(survey::Input::Recover { context, papers })),
            Command::Cells => {
                let cells = Reply::Cells(self.leases.descriptions().collect());
                self.reply(context.request, Ok(cells));
            }
            Command::Word(word) => {
                self.hand(HandOver::Membership(membership::Input::Word { request: context.request, word }));
            }
            Command::Certificate(certificate) => {
                let input = membership::Input::Certificate { request: context.request, certificate };
                self.hand(HandOver::Membership(input));
            }
            Command::Bring { content, size_bytes_max, from } => {
                self.bring(context.request, content, size_bytes_max, from);
            }
            Command::Apps { tenant, app } => {
                let apps = Reply::Apps(self.router.apps(tenant, app.as_deref()));
                self.reply(context.request, Ok(apps));
            }
        }
    }

    fn on_reach(&mut self, output: reach::Output) {
        match output {
            reach::Output::Dial { peer, via } => self.outbox.push(Output::Dial { peer, via }),
            reach::Output::Reserve { relay, wanted } => self.outbox.push(Output::Reserve { relay, wanted }),
            reach::Output::Hangup { peer } => self.outbox.push(Output::Hangup { peer }),
            reach::Output::Send { to, wire, frame } => self.outbox.push(Output::Send { to, wire, frame }),
            reach::Output::Up { peer, certificate, disk: _ } => {
                self.hand(HandOver::Surveyor(survey::Input::PeerUp { peer, certificate: certificate.clone() }));
                self.hand(HandOver::Membership(membership::Input::PeerUp { peer, certificate }));
                self.hand(HandOver::Router(route::Input::PeerUp(peer)));
                self.hand(HandOver::Cells(cells::Input::Link { node: peer, up: true }));
                self.hand(HandOver::Caller(caller::Input::PeerUp(peer)));
                self.hand(HandOver::Away(away::Input::PeerUp(peer)));
                self.hand(HandOver::Converge(converge::Input::PeerUp(peer)));
            }
            reach::Output::Down(peer) => {
                self.hand(HandOver::Membership(membership::Input::PeerDown(peer)));
                self.hand(HandOver::Cells(cells::Input::Link { node: peer, up: false }));
                self.hand(HandOver::Leases(lease::Input::PeerDown(peer)));
                self.hand(HandOver::Caller(caller::Input::PeerDown(peer)));
                self.hand(HandOver::Router(route::Input::PeerDown(peer)));
                self.hand(HandOver::Surveyor(survey::Input::PeerDown(peer)));
                self.hand(HandOver::Away(away::Input::PeerDown(peer)));
                self.hand(HandOver::Converge(converge::Input::PeerDown(peer)));
            }
            reach::Output::Silent(peer) => {
                self.hand(HandOver::Away(away::Input::PeerDown(peer)));
                self.hand(HandOver::Cells(cells::Input::Link { node: peer, up: false }));
                self.hand(HandOver::Leases(lease::Input::PeerDown(peer)));
            }
            reach::Output::Heard(peer) => {
                self.hand(HandOver::Away(away::Input::PeerUp(peer)));
                self.hand(HandOver::Cells(cells::Input::Link { node: peer, up: true }));
            }
            reach::Output::RoundTrip(peer, round_trip) => {
                self.hand(HandOver::Membership(membership::Input::RoundTrip(peer, round_trip)));
                self.hand(HandOver::Market(capacity::Input::RoundTrip(peer, round_trip)));
                self.hand(HandOver::Router(route::Input::RoundTrip(peer, round_trip)));
            }
            reach::Output::Reachable(addresses) => {
                self.hand(HandOver::Membership(membership::Input::Addresses(addresses)));
            }
            reach::Output::ClockOff(off) => self.hand(HandOver::Membership(membership::Input::ClockOff(off))),
            reach::Output::Notice(notice) => self.outbox.push(Output::Notice(notice)),
        }
    }

    fn on_membership(&mut self, output: membership::Output) {
        match output {
            membership::Output::Send { to, message } => self.send(to, Frame::Gossip(message)),
            membership::Output::Datagram { to, bytes } => self.outbox.push(Output::Datagram { to, bytes }),
            membership::Output::Want { peer, addresses, wanted } => {
                let by = Wanter::Membership;
                self.hand(HandOver::Reach(reach::Input::Want { by, peer, addresses, wanted }));
            }
            membership::Output::Learned(record) => self.on_learned(record),
            membership::Output::Expired(record) => {
                self.hand(HandOver::Market(capacity::Input::Expired(record.clone())));
                if record.body.kind.carries_statements() {
                    self.hand(HandOver::Roll(charter::Input::Expired(record)));
                } else if record.body.kind == Kind::BINDING {
                    self.hand(HandOver::Router(route::Input::Expired(record)));
                }
            }
            membership::Output::Verdict { about, state, evidence } => {
                let down = state != membership::Liveness::Alive;
                self.hand(HandOver::Market(capacity::Input::Verdict { about, down }));
                self.hand(HandOver::Cells(cells::Input::Verdict { node: about, down, evidence }));
            }
            membership::Output::Keep { key, value } => self.keep(key, value),
            membership::Output::Weighed { request, result } => self.reply(request, result.map(|()| Reply::Done)),
            membership::Output::Certified(identity) => {
                self.identity = (*identity).clone();
                self.hand(HandOver::Reach(reach::Input::Certificate(*identity)));
            }
            membership::Output::Recertify { expires } => self.outbox.push(Output::Recertify { expires }),
            membership::Output::Keys(keyring) => self.on_keys(&keyring),
            membership::Output::Notice(notice) => self.outbox.push(Output::Notice(notice)),
        }
    }

    /// All who ask what a signature is worth.
    fn on_keys(&mut self, keyring: &Arc<Keyring>) {
        self.hand(HandOver::Reach(reach::Input::Keys(keyring.clone())));
        self.hand(HandOver::Market(capacity::Input::Keys(keyring.clone())));
        self.hand(HandOver::Sponsor(SponsorInput::Keys(keyring.clone())));
        self.hand(HandOver::Host(HostInput::Keys(keyring.clone())));
        self.hand(HandOver::Cells(cells::Input::Keys(keyring.clone())));
        self.outbox.push(Output::Keys(keyring.clone()));
    }

    fn on_learned(&mut self, record: Shared) {
        if record.body.kind == Kind::PRESENCE
            && let Ok(presence) = codec::decode::<membership::Presence>("presence", &record.body.content)
        {
            let (peer, addresses, source) = (NodeId(record.signer().0), presence.addresses, reach::Source::Signed);
            self.hand(HandOver::Reach(reach::Input::Addresses { peer, addresses, source }));
            let willing = presence.relays == Some(true);
            self.hand(HandOver::Reach(reach::Input::Relays { peer, willing }));
            let signed = presence.draining.map(|_| Box::new(record.record.signed.clone()));
            self.hand(HandOver::Cells(cells::Input::Drain { node: peer, presence: signed }));
        }
        if record.body.kind == Kind::BINDING {
            self.hand(HandOver::Router(route::Input::Learned(record.clone())));
        }
        if record.body.kind.carries_statements() {
            return self.hand(HandOver::Roll(charter::Input::Learned(record)));
        }
        self.hand(HandOver::Market(capacity::Input::Learned(record)));
    }

    fn on_market(&mut self, output: capacity::Output) {
        match output {
            capacity::Output::Publish(draft) => self.hand(HandOver::Membership(membership::Input::Publish(draft))),
            capacity::Output::Gates(gates) => {
                self.hand(HandOver::Membership(membership::Input::Gates(gates.clone())));
                self.hand(HandOver::Surveyor(survey::Input::Gates(gates.clone())));
                self.hand(HandOver::Sponsor(SponsorInput::Gates(gates)));
            }
            capacity::Output::Notice(notice) => self.outbox.push(Output::Notice(notice)),
        }
    }

    fn on_cells(&mut self, output: cells::Output) {
        match output {
            cells::Output::Of { cell, output } => self.on_cell(cell, output),
            cells::Output::ToHost { from, cell, message } => {
                self.hand(HandOver::Leases(lease::Input::Received { from, cell, message }));
            }
            cells::Output::Mark { to, mark } => self.send(to, Frame::Mark(mark)),
            cells::Output::Opened { cell, result } => {
                self.hand(HandOver::Host(HostInput::Opened { cell, result }));
            }
            cells::Output::Closed(cell) => {
                self.writes.forget(Writer::Replica(cell));
                let write = self.writes.number();
                let batch = WriteBatch { ops: vec![StoreOp::DropCell { cell }] };
                self.outbox.push(Output::Persist { write, batch });
                self.want_nodes(cell, BTreeSet::new(), BTreeSet::new());
                self.watch(cell, BTreeSet::new());
                self.hand(HandOver::Leases(lease::Input::Closed(cell)));
                self.hand(HandOver::Router(route::Input::Closed(cell)));
            }
        }
    }

    fn on_cell(&mut self, cell: CellId, output: cell::Output) {
        match output {
            cell::Output::Send { to, message } => self.send(to, Frame::Cell { cell, message }),
            cell::Output::Persist { write, batch } => {
                let write = self.writes.number_for(Writer::Replica(cell), write);
                self.outbox.push(Output::Persist { write, batch });
            }
            cell::Output::Provide { content, bytes } => self.outbox.push(Output::Provide { content, bytes }),
            cell::Output::Withdraw { content } => self.outbox.push(Output::Withdraw { content }),
            cell::Output::Fetch { from, content, size_bytes } => {
                self.fetch(Fetcher::Cell(cell), from, content, size_bytes);
            }
            cell::Output::Outcome { request, result } => {
                let from = self.identity.node();
                self.hand(HandOver::Caller(caller::Input::Outcome { from, request, result }));
            }
            cell::Output::Answers { request, result } => {
                let from = self.identity.node();
                self.hand(HandOver::Caller(caller::Input::Answers { from, request, result }));
            }
            cell::Output::Described(description) => {
                self.want_members(&description);
                self.tell_stores(&description);
                self.hand(HandOver::Router(route::Input::Described(description.clone())));
                self.hand(HandOver::Leases(lease::Input::Described { description, local: true }));
            }
            cell::Output::Seek(need) => {
                let Some(description) = self.cells.description(cell) else { return };
                let context = Context::until(RequestId::default(), crate::time::Instant::START);
                self.start(context, Goal::Seek { description, need });
            }
            // The cells say that it is closed.
            cell::Output::Left | cell::Output::Ended(_) => {}
            cell::Output::Carried { ticket, result } => {
                self.hand(HandOver::Surveyor(survey::Input::Carried { ticket, result }));
            }
            cell::Output::Sleeps(on) => {
                let asleep = on.is_some();
                self.watch(cell, on.unwrap_or_default());
                self.hand(HandOver::Leases(lease::Input::Sleeps { cell, asleep }));
            }
            cell::Output::Notice(notice) => self.outbox.push(Output::Notice(notice)),
        }
    }

    fn on_leases(&mut self, output: lease::Output) {
        match output {
            lease::Output::Run(order) => self.outbox.push(Output::Run(order)),
            lease::Output::Call { call, context, cell, what } => self.call(Owner::Leases(call), context, cell, what),
            lease::Output::Submit { context, cell, command } => {
                self.call(Owner::Person(context.request), context, cell, What::Submit(command));
            }
            lease::Output::Refuse { request, refusal } => self.reply(request, Err(refusal)),
            lease::Output::Fetch { from, content, size_bytes } => {
                self.fetch(Fetcher::Leases, from, content, size_bytes);
            }
            lease::Output::Keep { key, value } => self.keep(key, value),
            lease::Output::Send { to, cell, message } => self.send(to, Frame::Cell { cell, message }),
            lease::Output::Sleeps { cell, on } => self.watch(cell, on.into_iter().collect()),
            lease::Output::Used(used) => {
                self.hand(HandOver::Market(capacity::Input::Used(used)));
                self.hand(HandOver::Host(HostInput::Used(used)));
            }
            lease::Output::Serving { instance, running } => {
                self.hand(HandOver::Router(route::Input::Serving { instance, running }));
            }
            lease::Output::Over(description) => self.hand(HandOver::Converge(converge::Input::Over(description))),
            lease::Output::Distant(description) => {
                self.want_members(&description);
                self.tell_stores(&description);
                let (cell, leader) = (description.cell, description.leader);
                let voters = description.voters().collect();
                self.hand(HandOver::Caller(caller::Input::Located { cell, voters, leader }));
            }
            lease::Output::Notice(notice) => self.outbox.push(Output::Notice(notice)),
        }
    }

    fn on_host(&mut self, output: HostOutput) {
        match output {
            HostOutput::Send { to, message } => self.send(to, Frame::Birth(message)),
            HostOutput::Fetch { from, content, size_bytes } => self.fetch(Fetcher::Host, from, content, size_bytes),
            HostOutput::Open(genesis) => self.hand(HandOver::Cells(cells::Input::Found(genesis))),
            HostOutput::Host(description) => {
                let description = (*description).into();
                self.hand(HandOver::Leases(lease::Input::Described { description, local: false }));
            }
            HostOutput::Expect(cell) => self.hand(HandOver::Cells(cells::Input::Expect(cell))),
        }
    }

    fn on_sponsor(&mut self, output: SponsorOutput) {
        match output {
            SponsorOutput::AskHere { request, ask } => {
                let named = self.market.answer(&ask);
                self.hand(HandOver::Sponsor(SponsorInput::Candidates { request, named }));
            }
            SponsorOutput::Send { to, addresses, message } => {
                self.hint(to, addresses);
                self.send(to, Frame::Birth(message));
            }
            SponsorOutput::Call { call, context, cell, what } => {
                self.call(Owner::Sponsor(call), context, cell, what);
            }
            SponsorOutput::Submit { context, cell, command } => {
                self.call(Owner::Person(context.request), context, cell, What::Submit(command));
            }
            SponsorOutput::Found { cell, need, found } => {
                let input = Box::new(cell::Input::Found { need, found: found.map(Box::new) });
                self.hand(HandOver::Cells(cells::Input::To { cell, input }));
            }
            SponsorOutput::Reply { request, result } => self.reply(request, result),
        }
    }

    fn on_router(&mut self, output: route::Output) {
        match output {
            route::Output::Send { to, message } => self.send(to, Frame::Route(message)),
            route::Output::Find { peer, addresses } => self.hint(peer, addresses),
            route::Output::Want { cell, peer, wanted } => self.want(Wanter::Route(cell), peer, wanted),
            route::Output::Serve(delta) => self.outbox.push(Output::Serve(delta)),
            route::Output::Located { cell, voters, leader } => {
                let known = voters.clone();
                self.hand(HandOver::Surveyor(survey::Input::Located { cell, voters: known }));
                self.hand(HandOver::Caller(caller::Input::Located { cell, voters, leader }));
            }
            route::Output::News(cell) => self.hand(HandOver::Leases(lease::Input::News(cell))),
            route::Output::Later { cell, line, nodes } => {
                let input = Box::new(cell::Input::Later { line, nodes });
                self.hand(HandOver::Cells(cells::Input::To { cell, input }));
            }
            route::Output::Publish(draft) => self.hand(HandOver::Membership(membership::Input::Publish(draft))),
            route::Output::Resolved { request, result } => self.reply(request, result.map(|()| Reply::Done)),
        }
    }

    fn start(&mut self, context: Context, goal: Goal) {
        self.hand(HandOver::Sponsor(SponsorInput::Start { context, goal: Box::new(goal) }));
    }

    fn call(&mut self, owner: Owner, context: Context, cell: CellId, what: What) {
        self.hand(HandOver::Caller(caller::Input::Call { owner, context, cell, what }));
    }

    fn reply(&mut self, request: RequestId, result: Result<Reply, Refusal>) {
        self.outbox.push(Output::Reply { request, result });
    }

    /// A frame to a node; what goes to this one comes straight back in.
    fn send(&mut self, to: NodeId, frame: Frame) {
        self.hand(HandOver::Reach(reach::Input::Send { to, frame }));
    }

    fn hint(&mut self, peer: NodeId, addresses: Vec<membership::Address>) {
        let source = reach::Source::Hint;
        self.hand(HandOver::Reach(reach::Input::Addresses { peer, addresses, source }));
    }

    fn want(&mut self, by: Wanter, peer: NodeId, wanted: bool) {
        self.hand(HandOver::Reach(reach::Input::Want { by, peer, addresses: Vec::new(), wanted }));
    }

    fn keep(&mut self, key: Blob, value: Option<Blob>) {
        let op = match value {
            Some(value) => StoreOp::Put { key, value },
            None => StoreOp::Delete { key },
        };
        let write = self.writes.number();
        self.outbox.push(Output::Persist { write, batch: WriteBatch { ops: vec![op] } });
    }

    fn hand(&mut self, hand_over: HandOver) {
        self.pending.push_back(hand_over);
    }

    /// Hands inputs to one part at a time and drains it before the next, so that the contract holds inside the node as it
    /// does outside.
    fn settle(&mut self, now: Now) {
        for _ in 0..HAND_OVERS_MAX {
            let Some(hand_over) = self.pending.pop_front() else { return };
            let part = self.deliver(now, hand_over);
            if let Some(part) = part {
                self.drain(part);
            }
        }
        unreachable!("the parts of a node handed over {HAND_OVERS_MAX} times in one step");
    }
}

impl Machine for Node {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        self.on_input(input);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(part) = self.agenda.pop_due(now) {
            self.hand(HandOver::Timeout(part));
        }
        self.settle(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}
