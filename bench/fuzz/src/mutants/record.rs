//! Records for the replicated set of a node in FR: they come as frames.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bocage_protocol::{
    capacity::Offer,
    cell::fixture::{self, FOUNDED, Host},
    codec::{self, Blob},
    frame::Frame,
    id::{DiskId, MeshId},
    identity::{Keypair, NodeCertificate, Signed},
    membership::{self, Liveness, Message, Parcel, Presence, Verdict},
    random::Rng,
    record::{
        CONTENT_BYTES_MAX, Inserted, Keyring, Kind, Known, Order, Record, RecordBody, RecordSet, Scope, Subject, Tier,
    },
    resources::Resources,
    time::Timestamp,
    wire::{WIRE_NEWEST, WireRange},
};

use super::{
    Arena,
    bytes::{carry, damage, graft, other_domain},
};

pub(super) struct Records {
    set: RecordSet,
    /// All of FR; the last is the attacker's, certified like the others.
    hosts: Vec<Host>,
    /// What was really said, by hash of its payload.
    said: BTreeSet<[u8; 32]>,
    /// Said and replaced since.
    old: Vec<Record>,
    wall: Timestamp,
}

const HONEST: usize = 4;

impl Records {
    pub(super) fn new() -> Self {
        let mut set = RecordSet::new(fixture::mesh(), fixture::law("FR"), Keyring::default());
        for (kind, rule) in membership::RULES {
            set.demand(kind, rule);
        }
        let hosts = (0..=HONEST).map(|n| Host::new(&format!("operator {n}"), &format!("site {n}"), "FR")).collect();
        Self { set, hosts, said: BTreeSet::new(), old: Vec::new(), wall: FOUNDED }
    }

    /// What a host would say now, with a version never used before. It is not signed yet.
    fn draft(&mut self, n: usize, rng: &mut Rng) -> RecordBody {
        self.wall = self.wall + Duration::from_millis(1);
        let host = &self.hosts[n];
        let home = Scope::Jurisdiction(fixture::law("FR"));
        let (kind, subject, content) = match rng.below(3) {
            0 => {
                let presence = Presence {
                    incarnation: 1,
                    addresses: Vec::new(),
                    disk: DiskId([1; 32]),
                    boots: rng.below(9),
                    relays: None,
                    draining: None,
                };
                (Kind::PRESENCE, Subject(host.node().0), codec::encode(&presence))
            }
            1 => {
                let total = Resources { cpu_millis: rng.below(9_000), memory_bytes: 1 << 30, disk_bytes: 1 << 40 };
                let offer = Offer { node: host.node(), total, used: Resources::default(), price: fixture::price() };
                (Kind::OFFER, Subject(host.node().0), codec::encode(&offer))
            }
            _ => {
                let about = self.hosts[(n + 1) % HONEST].node();
                let verdict = Verdict { about, incarnation: 1, state: Liveness::Down, observer: host.node() };
                (Kind::VERDICT, Verdict::subject(about, host.node()), codec::encode(&verdict))
            }
        };
        let generation = u64::from(kind != Kind::OFFER);
        let order = Order { line: 0, generation, version: self.wall.0 };
        RecordBody { kind, scope: home, subject, order, expires: self.wall + Duration::from_mins(2), content }
    }

    fn seal(&self, n: usize, body: &RecordBody) -> Record {
        let host = &self.hosts[n];
        Record { signed: Signed::seal(&host.keys, body), certificate: Some(host.certificate.clone()) }
    }

    /// Hands bytes to the set as a peer's; whether something is in force now that nobody said.
    fn offer(&mut self, bytes: &[u8]) -> bool {
        let Ok(frame) = Frame::decode(bytes, WireRange::default()) else { return false };
        let Ok(frame) = frame.check(|_| false) else { return false };
        let Frame::Gossip(Message::Records(parcels)) = frame.into_inner() else { return false };
        let mut changed = false;
        for Parcel(known) in parcels {
            match self.set.insert(&known, self.wall) {
                Inserted::Fresh | Inserted::Newer(_) | Inserted::Contradiction { .. } => {
                    changed |= !self.said.contains(&known.hash);
                }
                Inserted::Duplicate | Inserted::Stale | Inserted::Refused(_) => {}
            }
        }
        changed
    }

    fn offer_record(&mut self, record: &Record) -> bool {
        self.offer(&frame(record))
    }

    fn certificate(
        &self,
        n: usize,
        change: impl FnOnce(&mut NodeCertificate),
        by: &Keypair,
    ) -> Signed<NodeCertificate> {
        let mut certificate = self.hosts[n].certificate.open().expect("a fixture's certificate reads");
        change(&mut certificate);
        Signed::seal(by, &certificate)
    }
}

fn frame(record: &Record) -> Blob {
    let known = Known::read(record.clone());
    match known {
        Some(known) => Frame::Gossip(Message::Records(vec![Parcel(Arc::new(known))])).encode(WIRE_NEWEST),
        // Unreadable inside: as bytes a peer can send it all the same.
        None => codec::encode(&(WIRE_NEWEST, Raw(record))),
    }
}

/// `Frame::Gossip(Message::Records([record]))`, by its numbers.
struct Raw<'a>(&'a Record);

impl minicbor::Encode<()> for Raw<'_> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut (),
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.u8(1)?.array(1)?.array(2)?.u8(0)?.array(1)?.array(1)?;
        self.0.encode(e, ctx)
    }
}

impl Arena for Records {
    const NAME: &'static str = "records";

    fn honest(&mut self, rng: &mut Rng) -> bool {
        self.set.expire(self.wall);
        let n = rng.index(HONEST).unwrap_or(0);
        let body = self.draft(n, rng);
        let record = self.seal(n, &body);
        self.said.insert(record.signed.hash());
        let tier = Tier::Home;
        if let Some(before) = self.set.find(tier, body.kind, body.subject) {
            self.old.push(before.record.clone());
            if self.old.len() > 64 {
                self.old.remove(0);
            }
        }
        self.offer_record(&record);
        self.set.find(tier, body.kind, body.subject).is_some_and(|it| it.hash == record.signed.hash())
    }

    fn mutant(&mut self, rng: &mut Rng) -> (&'static str, bool) {
        let (n, attacker) = (rng.index(HONEST).unwrap_or(0), HONEST);
        let body = self.draft(n, rng);
        let right = self.seal(n, &body);
        let with = |body: RecordBody| Record { signed: Signed::seal(&self.hosts[n].keys, &body), ..right.clone() };
        let (what, record) = match rng.below(20) {
            0..=3 => {
                // What a damaged frame still says rightly was really said.
                self.said.insert(right.signed.hash());
                let (what, bytes) = damage(&frame(&right), rng);
                let changed = self.offer(&bytes);
                self.said.remove(&right.signed.hash());
                return (what, changed);
            }
            4..=6 => {
                let other = self.seal(attacker, &body);
                let (what, signed) = graft(&right.signed, other.signed.envelope(), rng);
                (what, Record { signed, ..right })
            }
            7 => ("re-signed: signed as another kind of statement", {
                let signed = other_domain(&right.signed, &self.hosts[n].keys);
                Record { signed, ..right }
            }),
            // A verdict so signed names another observer than its signer.
            8 => ("re-signed: by another member, with its own certificate", self.seal(attacker, &body)),
            9 => {
                let signed = self.seal(attacker, &body).signed;
                ("re-signed: by another member, with the victim's certificate", Record { signed, ..right })
            }
            10 => {
                let stranger = Keypair::from_secret(&std::array::from_fn(|_| rng.next().to_be_bytes()[0]));
                let certificate = Some(self.hosts[n].certificate.clone());
                (
                    "re-signed: by a key that nobody certified",
                    Record { signed: Signed::seal(&stranger, &body), certificate },
                )
            }
            11 => {
                let scope = match rng.below(3) {
                    0 => Scope::Mesh,
                    1 => Scope::Jurisdiction(fixture::law("DE")),
                    _ => Scope::Subscribers,
                };
                if body.kind == Kind::VERDICT && matches!(scope, Scope::Jurisdiction(_)) {
                    // Verdicts go where their subject lives: that is lawful.
                    ("re-scoped: to the whole mesh or to nobody", with(RecordBody { scope: Scope::Mesh, ..body }))
                } else {
                    ("re-scoped: by its own signer", with(RecordBody { scope, ..body }))
                }
            }
            12 => {
                let subject = Subject(std::array::from_fn(|_| rng.next().to_be_bytes()[0]));
                ("re-scoped: about another subject", with(RecordBody { subject, ..body }))
            }
            13 => {
                let expires = self.wall - Duration::from_millis(rng.below(100_000));
                ("expired", with(RecordBody { expires, ..body }))
            }
            14 => match rng.below(3) {
                0 => {
                    let version = (self.wall + Duration::from_millis(60_001 + rng.below(1 << 40))).0;
                    (
                        "of the future: a version ahead of the clock",
                        with(RecordBody { order: Order { version, ..body.order }, ..body }),
                    )
                }
                1 => {
                    let expires = self.wall + Duration::from_hours(25) + Duration::from_millis(rng.below(1 << 40));
                    ("of the future: lives longer than its kind may", with(RecordBody { expires, ..body }))
                }
                _ => {
                    let content = Blob::from(vec![7; CONTENT_BYTES_MAX + 1 + rng.index(2_000).unwrap_or(0)]);
                    ("extended: content beyond its bound", with(RecordBody { content, ..body }))
                }
            },
            15 => match rng.index(self.old.len()) {
                Some(at) => {
                    // It was said once; in force again it would be news.
                    let old = self.old[at].clone();
                    let hash = old.signed.hash();
                    self.said.remove(&hash);
                    let changed = self.offer_record(&old);
                    self.said.insert(hash);
                    return ("replayed: an older version", changed);
                }
                None => return ("replayed: an older version", false),
            },
            16 => {
                let other = MeshId(std::array::from_fn(|_| rng.next().to_be_bytes()[0]));
                let by = self.hosts[n].operator.keys.clone();
                let certificate = Some(self.certificate(n, |it| it.mesh = other, &by));
                ("of another mesh: its certificate", Record { certificate, ..right })
            }
            17 => {
                let (wall, by) = (self.wall, self.hosts[n].operator.keys.clone());
                let late = rng.chance(500);
                let certificate = self.certificate(
                    n,
                    |it| {
                        it.serial += 1;
                        if late {
                            it.expires = wall - Duration::from_millis(rng.below(1 << 30));
                        } else {
                            it.not_before = wall + Duration::from_millis(1 + rng.below(1 << 30));
                        }
                    },
                    &by,
                );
                ("expired: its certificate, or not valid yet", Record { certificate: Some(certificate), ..right })
            }
            18 => {
                let by = self.hosts[attacker].operator.keys.clone();
                let certificate = self.certificate(n, |it| it.serial += 1, &by);
                ("re-signed: its certificate, by another operator", Record { certificate: Some(certificate), ..right })
            }
            _ if rng.chance(500) => {
                let certificate = Some(self.hosts[(n + 1) % HONEST].certificate.clone());
                ("re-signed: with the certificate of another node", Record { certificate, ..right })
            }
            _ => {
                // A statement of another kind in the place of a record: its certificate.
                let signed = carry(self.hosts[n].certificate.envelope());
                ("replayed: another kind of statement as a record", Record { signed, ..right })
            }
        };
        (what, self.offer_record(&record))
    }
}
