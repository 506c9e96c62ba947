//! What is valid: one of everything, really signed, the same in every process.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bocage_protocol::{
    birth,
    capacity::{self, Offer, Summary},
    cell::{
        self, Barrier, CellConfig, Command, Entry, Evidence, Input, InstanceState, Message, Output, Query, Relief,
        Repair, Replica, Role, Secrets, State, TenantAction, Write,
        fixture::{self, FOUNDED, Founding, Host, Party},
    },
    cells::Mark,
    codec::{self, Blob},
    context::WireContext,
    frame::{Frame, Hello},
    id::{CellId, ContentHash, DiskId, NodeId, ReplicaId, RequestId, TraceId},
    identity::Signed,
    machine::Machine,
    membership::{self, Contact, Liveness, Parcel, Presence, Sums, Verdict},
    random::Seed,
    reach,
    record::{Header, Kind, Known, Order, Record, RecordBody, Scope, Settled, Subject, Tier},
    refusal::{Code, Refusal},
    resources::Resources,
    route,
    store::{CellBoot, CellSnapshot, LogEntry, StoreOp},
    time::{Instant, Now},
    wire::{WIRE_NEWEST, WIRE_OLDEST},
};

type Named<T> = Vec<(String, T)>;

fn named<T>(all: impl IntoIterator<Item = (&'static str, T)>) -> Named<T> {
    all.into_iter().map(|(name, it)| (name.to_owned(), it)).collect()
}

/// Five hosts of five operators, in as many jurisdictions.
pub(super) fn hosts() -> &'static [Host] {
    static HOSTS: OnceLock<Vec<Host>> = OnceLock::new();
    HOSTS.get_or_init(|| fixture::hosts(5))
}

fn says(host: &Host, kind: Kind, scope: Scope, subject: Subject, version: u64, content: Blob) -> Record {
    let generation = u64::from(kind == Kind::PRESENCE || kind == Kind::VERDICT);
    let order = Order { line: 0, generation, version };
    let body = RecordBody { kind, scope, subject, order, expires: FOUNDED + Duration::from_mins(2), content };
    Record { signed: Signed::seal(&host.keys, &body), certificate: Some(host.certificate.clone()) }
}

/// One record of each kind, and an older and a newer offer.
pub(super) fn records() -> Named<Record> {
    let host = &hosts()[0];
    let law = fixture::law("FR");
    let home = Scope::Jurisdiction(law);
    let about = hosts()[1].node();
    let total = Resources { cpu_millis: 8_000, memory_bytes: 16 << 30, disk_bytes: 1 << 40 };
    let offer = Offer { node: host.node(), total, used: Resources::default(), price: fixture::price() };
    let presence = Presence {
        incarnation: 1,
        addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        disk: DiskId([1; 32]),
        boots: 1,
        relays: None,
        draining: None,
    };
    let verdict = Verdict { about, incarnation: 1, state: Liveness::Down, observer: host.node() };
    let gates = vec![(host.node(), presence.addresses.clone())];
    let summary = Summary {
        jurisdiction: law,
        district: 0,
        total,
        used: Resources::default(),
        nodes: 3,
        gates,
        cheapest: vec![(fixture::price().currency, 700_000)],
    };
    let binding = route::Binding {
        host: "guestbook.example.org".into(),
        cell: CellId([9; 32]),
        tenant: Party::tenant("tess").tenant_id(),
        app: "guestbook".into(),
        voters: hosts()[..3].iter().map(|host| (host.node(), law)).collect(),
        addresses: vec![(host.node(), presence.addresses.clone())],
    };
    let itself = Subject(host.node().0);
    let at = FOUNDED.0;
    named([
        ("presence", says(host, Kind::PRESENCE, home, itself, at, codec::encode(&presence))),
        ("offer", says(host, Kind::OFFER, home, itself, at, codec::encode(&offer))),
        ("offer-newer", says(host, Kind::OFFER, home, itself, at + 1, codec::encode(&offer))),
        ("offer-other-word", says(host, Kind::OFFER, home, itself, at + 1, Blob::from("another word"))),
        ("verdict", says(host, Kind::VERDICT, home, Verdict::subject(about, host.node()), at, codec::encode(&verdict))),
        (
            "summary",
            says(host, Kind::SUMMARY, Scope::Mesh, Summary::subject(law, 0, host.node()), at, codec::encode(&summary)),
        ),
        (
            "binding",
            says(host, Kind::BINDING, Scope::Mesh, Subject::of(binding.host.as_bytes()), at, codec::encode(&binding)),
        ),
        ("subscribers", says(host, Kind(99), Scope::Subscribers, Subject([5; 32]), at, Blob::from("?"))),
    ])
}

/// Each kind of signed statement.
pub(super) fn statements() -> Named<Vec<u8>> {
    let host = &hosts()[0];
    let founding = Founding::of(&hosts()[..3]);
    let (state, entries) = lived();
    let mut all = named([
        ("genesis", codec::encode(&founding.tenant.signed_genesis())),
        ("certificate", codec::encode(&host.certificate)),
        ("release", codec::encode(&founding.signed_release())),
        ("grant", codec::encode(&host.grant_to(&state, Role::Learn))),
        ("receipt", codec::encode(&host.receipt(&founding.release.workload))),
    ]);
    for (name, record) in records() {
        all.push((format!("record-{name}"), codec::encode(&record.signed)));
    }
    for (name, entry) in entries {
        let signed = match &entry.command {
            Command::Tenant { signed, .. } => codec::encode(signed),
            Command::Data(signed) => codec::encode(signed),
            Command::Renew(signed) => codec::encode(signed),
            Command::Support(signed) => codec::encode(signed),
            Command::Miss(signed) => codec::encode(signed),
            Command::Repair(_) | Command::Succeed(_) => continue,
        };
        all.push((name, signed));
    }
    all.into_iter().map(|(name, bytes)| (name, bytes.to_vec())).collect()
}

/// A cell of three, and one entry of each kind that its state accepts.
pub(super) fn lived() -> (State, Named<Entry>) {
    let founding = Founding::of(&hosts()[..3]);
    let state = State::found(&founding.genesis()).expect("the fixture founds a cell");
    let host = &hosts()[0];
    let tenant = &founding.tenant;
    let writes = |value: &str| {
        vec![
            fixture::set("s", "k", value),
            Write::Increment { store: "s".into(), key: "n".into(), delta: 3 },
            Write::Swap { store: "s".into(), key: "new".into(), expected: 0, value: Some("v".into()) },
            Write::Delete { store: "s".into(), key: "gone".into() },
        ]
    };
    let secrets = Secrets {
        key_generation: 1,
        wraps: vec![(host.node(), Blob::from(&[7; 80][..]))],
        own: Blob::from(&[8; 80][..]),
        values: vec![("TOKEN".into(), Blob::from(&[9; 64][..]))],
    };
    let release = fixture::release("guestbook", b"second", founding.release.policy.clone());
    let receipts = hosts()[..3].iter().map(|host| host.receipt(&release.workload)).collect();
    let op = fixture::op;
    let released = Command::Tenant {
        signed: tenant.sign(Some(state.cell()), op("t", 3), state.time(), TenantAction::Release(Box::new(release))),
        receipts,
    };
    let spare = &hosts()[3];
    let down = hosts()[..2].iter().map(|host| host.verdict(hosts()[2].node(), Liveness::Down)).collect();
    let repairs = [
        (
            "add-learner",
            Repair::AddLearner {
                replaces: Some(ReplicaId(3)),
                evidence: Evidence::Down(down),
                candidate: spare.candidate(),
                grant: spare.grant_to(&state, Role::Learn),
            },
        ),
        ("promote", Repair::Promote { learner: ReplicaId(4), leaves: Some(ReplicaId(3)) }),
        (
            "grant-lease",
            Repair::GrantLease {
                candidate: hosts()[1].candidate(),
                grant: hosts()[1].grant_to(&state, Role::Instance),
                relieves: None,
            },
        ),
        (
            "relieve",
            Repair::GrantLease {
                candidate: hosts()[1].candidate(),
                grant: hosts()[1].grant_to(&state, Role::Instance),
                relieves: Some(Relief {
                    instance: host.lease(&state).instance,
                    presence: host.presence(Some(FOUNDED)),
                }),
            },
        ),
        (
            "drain",
            Repair::EndLease {
                instance: host.lease(&state).instance,
                generation: host.lease(&state).generation,
                evidence: Evidence::Drain(Box::new(host.presence(Some(FOUNDED)))),
            },
        ),
        (
            "copy",
            Repair::AddCopy {
                replaces: Some(ReplicaId(2)),
                evidence: Evidence::Drain(Box::new(host.presence(Some(FOUNDED)))),
                candidate: hosts()[1].candidate(),
                grant: hosts()[1].grant_to(&state, Role::Learn),
            },
        ),
        ("end-copy", Repair::EndCopy { replica: ReplicaId(2), evidence: Evidence::Policy }),
        (
            "end-lease",
            Repair::EndLease {
                instance: host.lease(&state).instance,
                generation: host.lease(&state).generation,
                evidence: Evidence::Silent,
            },
        ),
    ];
    let commands = [
        ("tenant-write", tenant.command(&state, op("t", 1), TenantAction::Write(writes("a")))),
        ("data", host.data(&state, op("d", 1), writes("b"))),
        ("renew", host.renewal(&state, 1, InstanceState::Running)),
        ("support", host.support(&state, ReplicaId(1), 1)),
        ("secrets", tenant.command(&state, op("t", 2), TenantAction::Secrets(secrets))),
        ("release", released),
        ("rollback", tenant.command(&state, op("t", 4), TenantAction::Rollback { to: 1 })),
        ("scale", tenant.command(&state, op("t", 5), TenantAction::Scale { min: 0, max: 2 })),
    ];
    let repairs = repairs.into_iter().map(|(name, repair)| (name, Command::Repair(Box::new(repair))));
    let remove = [("remove", tenant.command(&state, op("t", 6), TenantAction::Remove))];
    let all = commands.into_iter().chain(repairs).chain(remove);
    let entries = named(all.map(|(name, command)| (name, fixture::entry(&state, command))));
    (state, entries)
}

/// One replica's disk after a while, and what the others sent to it meanwhile.
pub(super) struct Cell {
    pub(super) id: CellId,
    pub(super) hosts: &'static [Host],
    /// Of the first host.
    pub(super) boot: CellBoot,
    /// From which host, how long after the one before, what.
    heard: Vec<(u8, u64, Message)>,
}

/// See [`Cell`].
pub(super) fn cell() -> &'static Cell {
    static CELL: OnceLock<Cell> = OnceLock::new();
    CELL.get_or_init(live)
}

/// Three replicas elect a leader and agree on some writes, without delay and in virtual time.
fn live() -> Cell {
    let hosts = &hosts()[..3];
    let founding = Founding::of(hosts);
    let genesis = founding.genesis();
    let mut now = Now { instant: Instant::START, wall: FOUNDED };
    let mut replicas: Vec<Replica> = (0_u8..)
        .zip(hosts)
        .map(|(n, host)| {
            Replica::found(CellConfig::default(), Seed([n; 32]), host.identity(), &genesis, now)
                .expect("the fixture founds a cell")
        })
        .collect();
    let mut boot = CellBoot::default();
    let mut heard = Vec::new();
    let mut last_heard = now.instant;
    let mut under_way: VecDeque<(usize, NodeId, Message)> = VecDeque::new();
    let mut proposed = 0;
    for (at, replica) in replicas.iter_mut().enumerate() {
        settle(at, replica, now, hosts, &mut boot, &mut under_way);
    }
    for step in 0..400_u64 {
        for (at, replica) in replicas.iter_mut().enumerate() {
            replica.handle_timeout(now);
            settle(at, replica, now, hosts, &mut boot, &mut under_way);
        }
        while let Some((to, from, message)) = under_way.pop_front() {
            if to == 0 && heard.len() < 60 {
                let sender = hosts.iter().position(|host| host.node() == from).expect("only members send");
                let after = now.instant.since(last_heard).as_millis();
                heard.push((
                    u8::try_from(sender).expect("three"),
                    u64::try_from(after).expect("short"),
                    message.clone(),
                ));
                last_heard = now.instant;
            }
            replicas[to].handle_input(now, Input::Received { from, message });
            settle(to, &mut replicas[to], now, hosts, &mut boot, &mut under_way);
        }
        if step % 40 == 39
            && let Some(leader) = replicas.iter().position(Replica::is_leader)
        {
            proposed += 1;
            let state = replicas[leader].state().expect("a founder has state");
            let value = format!("v{proposed}");
            let command = founding.tenant.command(
                state,
                fixture::op("t", proposed),
                TenantAction::Write(vec![fixture::set("s", "k", &value)]),
            );
            let message = Message::Propose { context: context(proposed), command: Box::new(command) };
            under_way.push_back((leader, hosts[(leader + 1) % 3].node(), message));
        }
        now = Now { instant: now.instant + Duration::from_millis(10), wall: now.wall + Duration::from_millis(10) };
    }
    assert!(proposed > 3 && boot.entries.len() > 3, "the fixture's cell has elected and agreed");
    Cell { id: genesis.cell(), hosts, boot, heard }
}

fn settle(
    at: usize,
    replica: &mut Replica,
    now: Now,
    hosts: &[Host],
    boot: &mut CellBoot,
    under_way: &mut VecDeque<(usize, NodeId, Message)>,
) {
    loop {
        let mut durable = None;
        while let Some(output) = replica.poll_output() {
            match output {
                Output::Persist { write, batch } => {
                    durable = Some(write);
                    if at == 0 {
                        batch.ops.into_iter().for_each(|op| keep(boot, op));
                    }
                }
                Output::Send { to, message } => {
                    if let Some(to) = hosts.iter().position(|host| host.node() == to) {
                        under_way.push_back((to, hosts[at].node(), message));
                    }
                }
                Output::Provide { .. }
                | Output::Withdraw { .. }
                | Output::Fetch { .. }
                | Output::Outcome { .. }
                | Output::Answers { .. }
                | Output::Described(_)
                | Output::Seek(_)
                | Output::Left
                | Output::Ended(_)
                | Output::Carried { .. }
                | Output::Sleeps(_)
                | Output::Notice(_) => {}
            }
        }
        let Some(write) = durable else { return };
        replica.handle_input(now, Input::Persisted(write));
    }
}

fn keep(boot: &mut CellBoot, op: StoreOp) {
    match op {
        StoreOp::Append { entries, .. } => {
            let first = entries.first().map_or(u64::MAX, |entry| entry.index);
            boot.entries.retain(|entry| entry.index < first);
            boot.entries.extend(entries);
        }
        StoreOp::HardState { state, .. } => boot.hard_state = state,
        StoreOp::Snapshot { meta, state, .. } => {
            boot.entries.retain(|entry| entry.index > meta.index);
            boot.snapshot = Some(CellSnapshot { meta, state });
        }
        StoreOp::DropCell { .. } | StoreOp::Put { .. } | StoreOp::Delete { .. } => {}
    }
}

fn context(request: u64) -> WireContext {
    WireContext {
        op: None,
        request: RequestId(request),
        tenant: None,
        trace: TraceId::default(),
        left: Duration::from_secs(1),
    }
}

/// What the replica heard, and what else a member may say.
pub(super) fn letters() -> Named<Vec<u8>> {
    type Letter = (u8, u64, Blob);
    let cell = cell();
    let letter = |(from, after, message): &(u8, u64, Message)| (*from, *after, codec::encode(message));
    let mut seeds: Named<Vec<Letter>> = cell
        .heard
        .chunks(6)
        .enumerate()
        .map(|(nth, chunk)| (format!("heard-{nth}"), chunk.iter().map(letter).collect()))
        .collect();
    // An append as a leader of the next term would send it, and an election around it.
    let last = cell.boot.entries.last().cloned().expect("the fixture has a log");
    let term = cell.boot.hard_state.term;
    let raft = |message| Message::Raft { line: 1, message };
    let base = cell::RaftMessage { from: 2, to: 1, term: term + 1, ..cell::RaftMessage::default() };
    let entry = LogEntry { index: last.index + 1, term: term + 1, ..last.clone() };
    let append = cell::RaftMessage {
        kind: 3,
        index: last.index,
        log_term: last.term,
        commit: last.index,
        commit_term: last.term,
        entries: vec![entry],
        ..base.clone()
    };
    let heartbeat = cell::RaftMessage { kind: 8, commit: last.index, ..base.clone() };
    let vote = cell::RaftMessage { kind: 5, index: last.index, log_term: last.term, ..base.clone() };
    let snapshot = cell::RaftMessage {
        kind: 7,
        snapshot: Some(Box::new(cell::SnapshotOffer {
            meta: bocage_protocol::store::SnapshotMeta {
                index: last.index + 10,
                term: term + 1,
                voters: vec![1, 2, 3],
                ..bocage_protocol::store::SnapshotMeta::default()
            },
            content: ContentHash([3; 32]),
            size_bytes: 1_000,
        })),
        ..base.clone()
    };
    let granted = cell::RaftMessage { kind: 6, ..base.clone() };
    let pre = cell::RaftMessage { kind: 18, ..base.clone() };
    let next = [vote, append, heartbeat, snapshot].map(|message| (1, 1, codec::encode(&raft(message))));
    seeds.push(("next-leader".into(), next.to_vec()));
    // It campaigns after a silence; the others answer.
    let silence = codec::encode(&Message::Read {
        context: context(1),
        barrier: Barrier::AtLeast(1),
        queries: vec![Query::Describe],
    });
    let wins = [
        (1, 4_000, silence.clone()),
        (1, 1, codec::encode(&raft(pre))),
        (1, 1, codec::encode(&raft(granted))),
        (2, 300, silence),
    ];
    seeds.push(("campaign".into(), wins.to_vec()));
    let state = lived().0;
    let (_, entries) = lived();
    let mut others: Vec<Letter> = entries
        .into_iter()
        .map(|(_, entry)| {
            (1, 0, codec::encode(&Message::Propose { context: context(9), command: Box::new(entry.command) }))
        })
        .collect();
    let read = Message::Read {
        context: context(2),
        barrier: Barrier::Linear,
        queries: vec![
            Query::Get { store: "s".into(), key: "k".into() },
            Query::List { store: "s".into(), prefix: "k".into(), after: None, limit: 5 },
        ],
    };
    others.push((2, 0, codec::encode(&read)));
    seeds.push(("callers".into(), others));
    assert_eq!(state.line(), 1);
    seeds.into_iter().map(|(name, letters)| (name, codec::encode(&letters).to_vec())).collect()
}

/// One frame of each kind, and of those that the newest wire version packs a second one.
pub(super) fn frames() -> Named<Vec<u8>> {
    let mut all = Named::new();
    for (name, frame) in all_frames() {
        let (plain, packed) = (frame.encode(WIRE_OLDEST).to_vec(), frame.encode(WIRE_NEWEST).to_vec());
        // Behind the version.
        if plain[2..] != packed[2..] {
            all.push((format!("{name}-packed"), packed));
        }
        all.push((name, plain));
    }
    all
}

/// The same, not encoded yet.
pub(super) fn all_frames() -> Named<Frame> {
    use birth::Message as Birth;
    use membership::Message as Gossip;

    let host = &hosts()[1];
    let law = fixture::law("FR");
    let parcel = |record: &Record| Parcel(Arc::new(Known::read(record.clone()).expect("own records read")));
    let records = records();
    let parcels: Vec<Parcel> = records.iter().map(|(_, record)| parcel(record)).collect();
    let header = |parcel: &Parcel| Header {
        tier: Tier::Home,
        kind: parcel.body.kind,
        subject: 7,
        order: parcel.body.order,
        hash: 8,
    };
    let headers: Vec<Header> = parcels.iter().map(header).collect();
    let contact = |host: &Host| Contact {
        node: host.node(),
        addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        jurisdiction: law,
        seen: FOUNDED,
    };
    let contacts: Vec<Contact> = hosts().iter().map(contact).collect();
    let settled = Settled::at(FOUNDED);
    let sums = vec![Sums { tier: Tier::Home, buckets: vec![3; 64] }, Sums { tier: Tier::Mesh, buckets: vec![4; 64] }];
    let me = contact(host);
    let gossip = named([
        ("records", Gossip::Records(parcels.clone())),
        ("announce", Gossip::Announce(headers.clone())),
        ("graft", Gossip::Graft(Tier::Home)),
        ("prune", Gossip::Prune(Tier::Mesh)),
        ("digest", Gossip::Digest { settled, sums }),
        ("have", Gossip::Have { settled, tier: Tier::Home, buckets: vec![0, 1, 63], headers: headers.clone() }),
        ("fetch", Gossip::Fetch(headers)),
        ("found-records", Gossip::Found(parcels.clone())),
        ("neighbour", Gossip::Neighbour { urgent: true, me: me.clone(), contacts: contacts.clone() }),
        ("welcome", Gossip::Welcome { accepted: true, me, contacts: contacts.clone() }),
        ("part", Gossip::Part),
        ("shuffle", Gossip::Shuffle { answer: false, contacts: contacts.clone() }),
        ("ping", Gossip::Ping(7)),
        ("ack", Gossip::Ack(7)),
        ("probe", Gossip::Probe(hosts()[2].node())),
        ("probed", Gossip::Probed(hosts()[2].node())),
        ("watch", Gossip::Watch(parcels[0].clone())),
        ("subscribe", Gossip::Subscribe(vec![Subject([5; 32]), Subject(host.node().0)])),
        ("observers", Gossip::Observers { inner: contacts.clone(), outer: contacts }),
        ("beat", Gossip::Beat { tier: Tier::Home, root: host.node(), number: FOUNDED.0, hops: 1 }),
    ]);
    let mut frames: Named<Frame> = gossip.into_iter().map(|(name, message)| (name, Frame::Gossip(message))).collect();
    frames.push(("hello".into(), hello(host)));
    let cell = cell();
    let mut kinds: BTreeMap<String, Message> = BTreeMap::new();
    for (_, _, message) in &cell.heard {
        let name = match message {
            Message::Raft { message, .. } => format!("raft-{}", message.kind),
            Message::Propose { .. } => "propose".into(),
            Message::Outcome { .. } => "outcome".into(),
            Message::Read { .. } => "read".into(),
            Message::Answers { .. } => "answers".into(),
            Message::Sleep { .. } => "sleep".into(),
            Message::Slept { .. } => "slept".into(),
            Message::Prove { .. } => "prove".into(),
            Message::Committed { .. } => "committed".into(),
            Message::Wake { .. } => "wake".into(),
            Message::Outdated { .. } => "outdated".into(),
            Message::Recovered(_) => "recovered".into(),
            Message::Survey { .. } => "survey".into(),
            Message::Surveyed { .. } => "surveyed".into(),
            Message::Recover { .. } => "recover".into(),
            Message::Carried { .. } => "carried".into(),
        };
        kinds.entry(name).or_insert_with(|| message.clone());
    }
    let (state, entries) = lived();
    for (name, entry) in entries {
        let message = Message::Propose { context: context(1), command: Box::new(entry.command) };
        kinds.insert(format!("propose-{name}"), message);
    }
    let described = cell::Answer::Description(Box::new(state.description()));
    let answered = cell::Answered { index: 5, answers: vec![described, cell::Answer::Value(None)] };
    kinds.insert("answers".into(), Message::Answers { request: RequestId(3), result: cell::Reached::Yes(answered) });
    let applied = cell::Applied { index: 5, outcome: cell::Outcome::Done };
    kinds.insert("outcome".into(), Message::Outcome { request: RequestId(3), result: cell::Reached::Yes(applied) });
    let refused = cell::Reached::No(Refusal::definite(Code::Full, "full"));
    kinds.insert("outcome-no".into(), Message::Outcome { request: RequestId(3), result: refused });
    kinds.insert("sleep".into(), Message::Sleep { line: 1, term: 1, index: 5 });
    kinds.insert("outdated".into(), Message::Outdated { line: 0 });
    kinds.insert("survey".into(), Message::Survey { context: context(4) });
    kinds.insert("surveyed".into(), Message::Surveyed { request: RequestId(4), report: Box::default() });
    kinds.insert("carried".into(), Message::Carried { request: RequestId(4), result: Ok(2) });
    // By somebody who is not the tenant, and well signed: what is true would rightly stop a replica.
    let base = cell::Base { node: host.node(), replica: ReplicaId(1), term: 1, index: state.applied() };
    let thief = fixture::Party::tenant("thief");
    let papers = fixture::recovery(&state, base, &thief, &[], FOUNDED);
    let (recovery, replica) = (papers.statement.hash(), ReplicaId(9));
    let carried = cell::Carried { recovery, cell: state.cell(), line: 2, index: 6, replica, at: FOUNDED };
    let carried = Signed::seal(&host.keys, &carried);
    let recovered = cell::Recovered { papers: papers.clone(), carried };
    kinds.insert("recovered".into(), Message::Recovered(Box::new(recovered)));
    kinds.insert("recover".into(), Message::Recover { context: context(5), papers: Box::new(papers) });
    kinds.insert("slept".into(), Message::Slept { line: 1, term: 1, index: 5 });
    kinds.insert("wake".into(), Message::Wake { line: 1 });
    frames.extend(kinds.into_iter().map(|(name, message)| (name, Frame::Cell { cell: cell.id, message })));

    let founding = Founding::of(&hosts()[..3]);
    let workload = &founding.release.workload;
    let need = Resources { cpu_millis: 100, memory_bytes: 1 << 20, disk_bytes: 1 << 20 };
    let birth = named([
        (
            "candidates",
            Birth::Candidates { context: context(1), ask: capacity::Ask { jurisdiction: law, need, count: 3 } },
        ),
        (
            "candidates-found",
            Birth::CandidatesFound {
                request: RequestId(1),
                candidates: hosts()[..2]
                    .iter()
                    .map(|host| (host.candidate(), vec!["/ip4/192.0.2.1/tcp/1".into()]))
                    .collect(),
                withheld: Some(vec![NodeId([7; 32])]),
            },
        ),
        (
            "grant",
            Birth::Grant {
                context: context(1),
                purpose: ContentHash([4; 32]),
                tenant: founding.tenant.tenant_id(),
                roles: vec![(Role::Vote, need), (Role::Instance, need)],
            },
        ),
        ("granted", Birth::Granted { request: RequestId(1), result: Ok(vec![host.grant_to(&state, Role::Learn)]) }),
        (
            "store",
            Birth::Store { context: context(1), content: ContentHash([4; 32]), size_bytes: 9, holder: host.node() },
        ),
        ("stored", Birth::Stored { request: RequestId(1), result: Ok(host.receipt(workload)) }),
        ("found", Birth::Found { context: context(1), genesis: Box::new(founding.genesis()) }),
        ("founded", Birth::Founded { request: RequestId(1), result: Err(Refusal::definite(Code::Invalid, "no")) }),
    ]);
    frames.extend(birth.into_iter().map(|(name, message)| (name, Frame::Birth(message))));
    let update = route::Update {
        cell: cell.id,
        line: 1,
        applied: 9,
        instances: vec![(hosts()[0].lease(&state).instance, 1, hosts()[0].node())],
        voters: hosts()[..3].iter().map(Host::node).collect(),
        leader: Some(hosts()[0].node()),
        hosts: vec!["guestbook.example.org".into()],
        removed: false,
    };
    let route = named([
        ("route-subscribe", route::Message::Subscribe { cell: cell.id }),
        ("route-update", route::Message::Update(update)),
        ("route-unknown", route::Message::Unknown { cell: cell.id }),
    ]);
    let (node, addresses) = (hosts()[1].node(), vec!["/ip4/198.51.100.1/udp/4001/quic-v1".to_owned()]);
    let places = vec![reach::Place { node, addresses }];
    let found = named([
        ("reach-find", reach::Message::Find(node)),
        ("reach-found", reach::Message::Found { target: node, places }),
    ]);
    frames.extend(found.into_iter().map(|(name, message)| (name, Frame::Reach(message))));
    frames.push(("mark-ask".into(), Frame::Mark(Mark::Ask { stamp: 9, echo: 4, asleep: [7; 16] })));
    frames.push(("mark-closed".into(), Frame::Mark(Mark::Closed { echo: 9, stamp: 5, asleep: [7; 16], age: Some(1) })));
    frames.extend(route.into_iter().map(|(name, message)| (name, Frame::Route(message))));
    frames
}

/// How a host introduces itself.
pub(super) fn hello(host: &Host) -> Frame {
    Frame::Hello(Box::new(Hello {
        wire: WIRE_NEWEST,
        wire_min: 1,
        mesh: fixture::mesh(),
        certificate: host.certificate.clone(),
        disk: DiskId([2; 32]),
        boots: 1,
        wall: FOUNDED,
        relays: Some(true),
        finds: Some(true),
        credentials: None,
        parts: Some(true),
        sleeps: Some(true),
        recovers: Some(true),
        converges: Some(true),
    }))
}
