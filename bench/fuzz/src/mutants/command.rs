//! Commands for a cell: they come as a peer's proposals, or in an append; what passes the check of signatures is applied.
use std::time::Duration;

use bocage_protocol::{
    cell::{
        Candidate, Command, DataBatch, Entry, Evidence, Grant, InstanceState, Message, Outcome, Query, Renewal, Repair,
        Role, State, Support, TenantAction, TenantCommand,
        fixture::{self, Founding, Host, Party},
    },
    codec,
    context::WireContext,
    id::{CellId, ContentHash, InstanceId, MeshId, OpId, ReplicaId, RequestId, TenantId, TraceId},
    identity::{Envelope, Keypair, Signed},
    membership::Liveness,
    random::Rng,
    time::Timestamp,
};

use super::{
    Arena,
    bytes::{damage, graft, other_domain},
};

pub(super) struct Commands {
    state: State,
    founding: Founding,
    hosts: Vec<Host>,
    /// Commands that were applied, honest.
    done: Vec<Command>,
    ops: u64,
    serial: u64,
    /// The highest that was applied.
    renewed: u64,
}

/// Lease holders and voters; the fourth is a member of the mesh and of nothing else, the fifth the attacker's.
const MEMBERS: usize = 3;

impl Commands {
    pub(super) fn new() -> Self {
        let hosts = fixture::hosts(5);
        let founding = Founding::of(&hosts[..MEMBERS]);
        let state = State::found(&founding.genesis()).expect("the fixture founds a cell");
        Self { state, founding, hosts, done: Vec::new(), ops: 0, serial: 0, renewed: 0 }
    }

    fn op(&mut self, session: &str) -> OpId {
        self.ops += 1;
        fixture::op(session, self.ops)
    }

    /// Something that a party of the cell would say now.
    fn right(&mut self, rng: &mut Rng) -> Command {
        let value = format!("value {}", rng.next());
        let writes = vec![fixture::set("s", "k", &value)];
        match rng.below(3) {
            0 => {
                let op = self.op("tenant");
                self.founding.tenant.command(&self.state, op, TenantAction::Write(writes))
            }
            1 => {
                let op = self.op("data");
                self.hosts[0].data(&self.state, op, writes)
            }
            _ => {
                self.serial += 1;
                let says = if self.serial.is_multiple_of(2) { InstanceState::Running } else { InstanceState::Starting };
                self.hosts[0].renewal(&self.state, self.serial, says)
            }
        }
    }

    /// Takes the way of a peer's bytes; whether anything but time has changed.
    fn offer(&mut self, bytes: &[u8]) -> bool {
        let Ok(message) = codec::decode::<Message>("message of a cell", bytes) else { return false };
        if message.check(&mut |_| false).is_err() {
            return false;
        }
        let Message::Propose { command, .. } = message else { return false };
        self.apply(&command, false)
    }

    fn apply(&mut self, command: &Command, keep: bool) -> bool {
        let mut after = self.state.clone();
        let entry: Entry = fixture::entry(&self.state, command.clone());
        let effects = after.apply(self.state.applied() + 1, &entry);
        let changed = !matches!(effects.outcome, Outcome::Refused(_)) && shown(&after) != shown(&self.state);
        if keep {
            self.state = after;
        }
        changed
    }

    fn offer_command(&mut self, command: &Command) -> bool {
        self.offer(&proposal(command))
    }
}

/// What of a state a command can change, without its clock and counters.
fn shown(state: &State) -> Vec<u8> {
    let mut description = state.description();
    description.applied = 0;
    description.time = Timestamp::default();
    let get = Query::Get { store: "s".into(), key: "k".into() };
    codec::encode(&(description, state.answer(&get))).to_vec()
}

fn proposal(command: &Command) -> Vec<u8> {
    let context = WireContext {
        op: None,
        request: RequestId(1),
        tenant: None,
        trace: TraceId::default(),
        left: Duration::from_secs(1),
    };
    codec::encode(&Message::Propose { context, command: Box::new(command.clone()) }).to_vec()
}

fn envelope_of(command: &Command) -> Option<&Envelope> {
    match command {
        Command::Tenant { signed, .. } => Some(signed.envelope()),
        Command::Data(signed) => Some(signed.envelope()),
        Command::Renew(signed) => Some(signed.envelope()),
        Command::Support(signed) => Some(signed.envelope()),
        Command::Miss(signed) => Some(signed.envelope()),
        Command::Repair(_) | Command::Succeed(_) => None,
    }
}

fn regraft(command: &Command, other: &Envelope, rng: &mut Rng) -> (&'static str, Command) {
    match command {
        Command::Tenant { signed, receipts } => {
            let (what, signed) = graft(signed, other, rng);
            (what, Command::Tenant { signed, receipts: receipts.clone() })
        }
        Command::Data(signed) => {
            let (what, signed) = graft(signed, other, rng);
            (what, Command::Data(signed))
        }
        Command::Renew(signed) => {
            let (what, signed) = graft(signed, other, rng);
            (what, Command::Renew(signed))
        }
        Command::Support(signed) => {
            let (what, signed) = graft(signed, other, rng);
            (what, Command::Support(signed))
        }
        Command::Miss(signed) => {
            let (what, signed) = graft(signed, other, rng);
            (what, Command::Miss(signed))
        }
        Command::Repair(_) | Command::Succeed(_) => ("forged: nothing to graft", command.clone()),
    }
}

fn elsewhere(command: &Command, tenant: &Keypair, host: &Keypair) -> Command {
    match command {
        Command::Tenant { signed, receipts } => {
            Command::Tenant { signed: other_domain(signed, tenant), receipts: receipts.clone() }
        }
        Command::Data(signed) => Command::Data(other_domain(signed, host)),
        Command::Renew(signed) => Command::Renew(other_domain(signed, host)),
        Command::Support(signed) => Command::Support(other_domain(signed, host)),
        Command::Miss(signed) => Command::Miss(other_domain(signed, host)),
        Command::Repair(_) | Command::Succeed(_) => command.clone(),
    }
}

/// Open, change, and sign again by `by`.
fn resign(command: &Command, by: &Keypair) -> Command {
    let opened = "an honest statement reads";
    match command {
        Command::Tenant { signed, receipts } => {
            Command::Tenant { signed: Signed::seal(by, &signed.open().expect(opened)), receipts: receipts.clone() }
        }
        Command::Data(signed) => Command::Data(Signed::seal(by, &signed.open().expect(opened))),
        Command::Renew(signed) => Command::Renew(Signed::seal(by, &signed.open().expect(opened))),
        Command::Support(signed) => Command::Support(Signed::seal(by, &signed.open().expect(opened))),
        Command::Miss(signed) => Command::Miss(Signed::seal(by, &signed.open().expect(opened))),
        Command::Repair(_) | Command::Succeed(_) => command.clone(),
    }
}

impl Commands {
    fn tenants(&mut self, rng: &mut Rng) -> (&'static str, Command) {
        let op = self.op("tenant");
        let tenant = self.founding.tenant.clone();
        let (cell, time) = (self.state.cell(), self.state.time());
        let writes = TenantAction::Write(vec![fixture::set("s", "k", &rng.next().to_string())]);
        let right = TenantCommand { tenant: tenant.tenant_id(), cell: Some(cell), op, issued: time, action: writes };
        let sealed =
            |keys: &Keypair, command| Command::Tenant { signed: Signed::seal(keys, &command), receipts: Vec::new() };
        let mallory = Party::tenant("mallory");
        match rng.below(7) {
            0 => {
                let cell = Some(CellId(random(rng)));
                (
                    "re-scoped: a tenant's command for another cell",
                    sealed(&tenant.keys, TenantCommand { cell, ..right }),
                )
            }
            1 => ("re-scoped: a command for no cell", sealed(&tenant.keys, TenantCommand { cell: None, ..right })),
            2 => {
                let whose = if rng.chance(500) { mallory.tenant_id() } else { TenantId(random(rng)) };
                ("re-scoped: another tenant's command", sealed(&mallory.keys, TenantCommand { tenant: whose, ..right }))
            }
            3 => {
                let away = Duration::from_hours(24) + Duration::from_millis(1_000 + rng.below(1 << 36));
                let issued = if rng.chance(500) { time - away } else { time + away };
                ("expired: a tenant's command of another day", sealed(&tenant.keys, TenantCommand { issued, ..right }))
            }
            4 => {
                // An op that was used, with other content: the old result comes back, and nothing is done.
                let used = self.done.iter().rev().find_map(|command| match command {
                    Command::Tenant { signed, .. } => signed.open().ok().map(|command| command.op),
                    _ => None,
                });
                let op = used.unwrap_or(OpId { seq: 0, ..op });
                ("replayed: a used op with other content", sealed(&tenant.keys, TenantCommand { op, ..right }))
            }
            5 => {
                let release = fixture::release("guestbook", &random::<8>(rng), self.founding.release.policy.clone());
                let action = TenantAction::Release(Box::new(release.clone()));
                let signed = Signed::seal(&tenant.keys, &TenantCommand { action, ..right });
                // Receipts of strangers, of too few, or for other bytes.
                let receipts = match rng.below(3) {
                    0 => vec![self.hosts[3].receipt(&release.workload), self.hosts[4].receipt(&release.workload)],
                    1 => vec![self.hosts[rng.index(MEMBERS).unwrap_or(0)].receipt(&release.workload)],
                    _ => {
                        self.hosts[..MEMBERS].iter().map(|host| host.receipt(&self.founding.release.workload)).collect()
                    }
                };
                ("re-scoped: a release with receipts that do not count", Command::Tenant { signed, receipts })
            }
            _ => {
                let owner = self.hosts[rng.index(5).unwrap_or(0)].operator.keys.clone();
                ("re-signed: a tenant's command by an operator", sealed(&owner, right))
            }
        }
    }

    fn hosts_word(&mut self, rng: &mut Rng) -> (&'static str, Command) {
        let op = self.op("data");
        let host = self.hosts[0].clone();
        let right = host.batch(&self.state, op, vec![fixture::set("s", "k", &rng.next().to_string())]);
        let lease = host.lease(&self.state).clone();
        let other = self.hosts[1 + rng.index(4).unwrap_or(0)].keys.clone();
        let data = |keys: &Keypair, batch| Command::Data(Signed::seal(keys, &batch));
        let renew = |keys: &Keypair, renewal| Command::Renew(Signed::seal(keys, &renewal));
        let says = InstanceState::Failed(rng.next().to_string());
        let renewal = Renewal {
            instance: lease.instance,
            generation: lease.generation,
            line: self.state.line(),
            state: says,
            serial: self.serial + 1 + rng.below(100),
        };
        let wrong = |right: u64, rng: &mut Rng| {
            if rng.chance(500) { right.wrapping_add(1 + rng.below(9)) } else { right.wrapping_sub(1) }
        };
        match rng.below(12) {
            0 => ("re-signed: writes by a node without the lease", data(&other, right)),
            1 => (
                "re-scoped: writes for another cell",
                data(&host.keys, DataBatch { cell: CellId(random(rng)), ..right }),
            ),
            2 => (
                "re-scoped: writes of another line",
                data(&host.keys, DataBatch { line: wrong(right.line, rng), ..right }),
            ),
            3 => (
                "replayed: writes under another writer",
                data(&host.keys, DataBatch { writer: wrong(right.writer, rng), ..right }),
            ),
            4 => {
                let generation = wrong(right.generation, rng);
                ("replayed: writes under another generation", data(&host.keys, DataBatch { generation, ..right }))
            }
            5 => {
                let instance = InstanceId { number: wrong(right.instance.number, rng), ..right.instance };
                ("re-scoped: writes of another instance", data(&host.keys, DataBatch { instance, ..right }))
            }
            6 => ("re-signed: a renewal by a node without the lease", renew(&other, renewal)),
            7 => (
                "replayed: an older renewal",
                renew(&host.keys, Renewal { serial: rng.below(self.renewed + 1), ..renewal }),
            ),
            8 => {
                let generation = wrong(renewal.generation, rng);
                ("replayed: a renewal of another generation", renew(&host.keys, Renewal { generation, ..renewal }))
            }
            9 => (
                "re-scoped: a renewal of another line",
                renew(&host.keys, Renewal { line: wrong(renewal.line, rng), ..renewal }),
            ),
            10 => {
                let instance = InstanceId { cell: CellId(random(rng)), ..renewal.instance };
                ("re-scoped: a renewal for another cell", renew(&host.keys, Renewal { instance, ..renewal }))
            }
            _ => {
                let (replica, rules) = (ReplicaId(1 + rng.below(3)), 2 + u32::try_from(rng.below(9)).unwrap_or(0));
                let cell = if rng.chance(500) { self.state.cell() } else { CellId(random(rng)) };
                let support =
                    Signed::seal(&self.hosts[3 + rng.index(2).unwrap_or(0)].keys, &Support { cell, replica, rules });
                ("re-signed: support for rules by another node", Command::Support(support))
            }
        }
    }

    /// Repairs carry evidence; the newcomer is the fourth host, for the vote of replica 3, which is said to be down.
    fn repair(&mut self, rng: &mut Rng) -> (&'static str, Command) {
        let (state, spare, gone) = (&self.state, &self.hosts[3], &self.hosts[2]);
        let purpose = state.purpose();
        let tenant = state.tenant_id();
        let policy = state.policy().clone();
        let verdicts =
            || self.hosts[..2].iter().map(|host| host.verdict(gone.node(), Liveness::Down)).collect::<Vec<_>>();
        let mut evidence = Evidence::Down(verdicts());
        let mut candidate = spare.candidate();
        let mut terms = spare.terms(purpose, Role::Learn, tenant, &policy);
        let mut by = spare.keys.clone();
        let mut replaces = Some(ReplicaId(3));
        let recertify = |change: &dyn Fn(&mut bocage_protocol::identity::NodeCertificate), by: &Keypair| {
            let mut certificate = spare.certificate.open().expect("a fixture's certificate reads");
            change(&mut certificate);
            Candidate { certificate: Signed::seal(by, &certificate), ..spare.candidate() }
        };
        let what = match rng.below(15) {
            0 => {
                terms.purpose = ContentHash(random(rng));
                "re-scoped: a grant for another purpose"
            }
            1 => {
                terms.role = if rng.chance(500) { Role::Vote } else { Role::Instance };
                "re-scoped: a grant to another role"
            }
            2 => {
                terms.tenant = TenantId(random(rng));
                "re-scoped: a grant for another tenant"
            }
            3 => {
                terms.expires = state.time() - Duration::from_millis(rng.below(1 << 40));
                "expired: a grant"
            }
            4 => {
                by = self.hosts[rng.index(3).unwrap_or(0)].keys.clone();
                "re-signed: a grant by another node"
            }
            5 => {
                terms.price_per_hour = terms.price_per_hour.wrapping_add(1 + rng.below(1 << 30));
                "forged: a grant at another price"
            }
            6 => {
                terms.resources.memory_bytes ^= 1 << rng.below(63);
                "forged: a grant of other resources"
            }
            7 => {
                let mesh = MeshId(random(rng));
                candidate = recertify(&|it| it.mesh = mesh, &spare.operator.keys);
                "of another mesh: a candidate's certificate"
            }
            8 => {
                let time = state.time() - Duration::from_millis(rng.below(1 << 30));
                candidate = recertify(&|it| it.expires = time, &spare.operator.keys);
                "expired: a candidate's certificate"
            }
            9 => {
                candidate = recertify(&|it| it.serial += 1, &self.hosts[4].operator.keys);
                "re-signed: a candidate's certificate by another operator"
            }
            10 => {
                candidate.offer = self.hosts[4].candidate().offer;
                "replayed: another node's offer"
            }
            11 => {
                evidence = match rng.below(10) {
                    0 => Evidence::Silent,
                    1 => Evidence::Down(Vec::new()),
                    2 => Evidence::Down(vec![gone.verdict(gone.node(), Liveness::Down)]),
                    3 => Evidence::Down(vec![verdicts()[0].clone(), verdicts()[0].clone()]),
                    4 => Evidence::Down(vec![self.hosts[0].verdict(gone.node(), Liveness::Alive)]),
                    5 => Evidence::Down(verdicts()[..1].to_vec()),
                    6 => Evidence::Drain(Box::new(gone.presence(None))),
                    7 => Evidence::Drain(Box::new(spare.presence(Some(state.time())))),
                    8 => Evidence::Drain(Box::new(verdicts()[0].clone())),
                    _ => Evidence::Down(vec![self.hosts[0].verdict(self.hosts[1].node(), Liveness::Down)]),
                };
                "forged: evidence that bears nothing"
            }
            12 => {
                evidence = Evidence::Wiped(if rng.chance(500) { gone.node() } else { spare.node() });
                "forged: a wiped disk told by another node"
            }
            13 => {
                replaces = if rng.chance(500) { None } else { Some(ReplicaId(4 + rng.below(1 << 40))) };
                "re-scoped: a vote that nobody wants or has"
            }
            _ => {
                let lease = self.hosts[0].lease(state).clone();
                let evidence = match rng.below(3) {
                    0 => Evidence::Silent,
                    1 => Evidence::Down(
                        self.hosts[1..3].iter().map(|host| host.verdict(lease.node, Liveness::Down)).collect(),
                    ),
                    _ => Evidence::Wiped(lease.node),
                };
                let repair = Repair::EndLease { instance: lease.instance, generation: lease.generation, evidence };
                return ("forged: a lease ended while its holder may believe in it", Command::Repair(Box::new(repair)));
            }
        };
        let grant: Signed<Grant> = Signed::seal(&by, &terms);
        (what, Command::Repair(Box::new(Repair::AddLearner { replaces, evidence, candidate, grant })))
    }
}

fn random<const N: usize>(rng: &mut Rng) -> [u8; N] {
    std::array::from_fn(|_| rng.next().to_be_bytes()[0])
}

impl Arena for Commands {
    const NAME: &'static str = "commands";

    fn honest(&mut self, rng: &mut Rng) -> bool {
        let right = self.right(rng);
        let bytes = proposal(&right);
        let accepted = self.offer(&bytes);
        self.apply(&right, true);
        if matches!(right, Command::Renew(_)) {
            self.renewed = self.serial;
        }
        self.done.push(right);
        if self.done.len() > 32 {
            self.done.remove(0);
        }
        accepted
    }

    fn mutant(&mut self, rng: &mut Rng) -> (&'static str, bool) {
        let (what, command) = match rng.below(12) {
            0..=2 => {
                let right = self.right(rng);
                let (what, bytes) = damage(&proposal(&right), rng);
                // A frame that was changed where nothing is signed still brings the right command.
                let same = codec::decode::<Message>("message", &bytes).is_ok_and(
                    |message| matches!(message, Message::Propose { command, .. } if envelope_of(&command) == envelope_of(&right)),
                );
                let changed = self.offer(&bytes);
                return (what, changed && !same);
            }
            3 | 4 => {
                let (right, other) = (self.right(rng), self.right(rng));
                // A renewal's and a write's envelopes are exchanged too.
                match envelope_of(&other) {
                    Some(envelope) if envelope != envelope_of(&right).unwrap_or(envelope) => {
                        let attacker = Signed::seal(
                            &self.hosts[4].keys,
                            &TenantCommand {
                                tenant: self.founding.tenant.tenant_id(),
                                cell: None,
                                op: fixture::op("x", 1),
                                issued: self.state.time(),
                                action: TenantAction::Remove,
                            },
                        );
                        let other = if rng.chance(500) { attacker.envelope() } else { envelope };
                        let (what, grafted) = regraft(&right, other, rng);
                        if envelope_of(&grafted) == envelope_of(&right) {
                            // Both are of one signer: nothing was changed.
                            return ("forged: a made-up envelope", self.offer(&[0x82, 0x01]));
                        }
                        (what, grafted)
                    }
                    _ => return ("forged: a made-up envelope", self.offer(&[0x82, 0x01])),
                }
            }
            5 => {
                let right = self.right(rng);
                let tenant = self.founding.tenant.keys.clone();
                let host = self.hosts[0].keys.clone();
                ("re-signed: signed as another kind of statement", elsewhere(&right, &tenant, &host))
            }
            6 => {
                let right = self.right(rng);
                let by = match rng.below(3) {
                    0 => Party::tenant("mallory").keys,
                    1 => self.hosts[4].keys.clone(),
                    _ => Keypair::from_secret(&random(rng)),
                };
                ("re-signed: by another party", resign(&right, &by))
            }
            7 => match rng.index(self.done.len()) {
                Some(at) => ("replayed: a command that was applied", self.done[at].clone()),
                None => return ("replayed: a command that was applied", false),
            },
            8 => self.tenants(rng),
            9 | 10 => self.hosts_word(rng),
            _ => self.repair(rng),
        };
        (what, self.offer_command(&command))
    }
}
