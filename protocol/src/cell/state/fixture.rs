//! Parties, hosts and cells for tests: everything really signed, everything derived from names, so that a story names who
//! takes part and nothing else. Behind the feature `fixtures`, for the tests of other crates.
//!
//! ```
//! use bocage_protocol::cell::{State, fixture};
//!
//! let hosts = fixture::hosts(3);
//! let state = State::found(&fixture::genesis(&hosts)).expect("three hosts of three operators found a cell");
//! assert_eq!(state.members().count(), 3);
//! ```
use std::time::Duration;

use super::State;
use crate::{
    capacity::Offer,
    cell::{
        Base, Candidate, CellGenesis, Command, DataBatch, Entry, Founder, Grant, InstanceState, LeaseInfo, Receipt,
        Recovery, RecoveryPapers, Release, Renewal, Role, Support, TenantAction, TenantCommand, Workload, Write,
    },
    codec,
    id::{CellId, ContentHash, DiskId, MeshId, NodeId, OpId, OperatorId, ReplicaId, SessionId, TenantId},
    identity::{Endorsed, Genesis, Keypair, Lineage, NodeCertificate, NodeIdentity, Party as Kind, Signed},
    membership::{Liveness, Presence, Verdict},
    placement::Policy,
    record::{self, Order, RecordBody, Scope, Subject},
    refusal::Refusal,
    resources::{Currency, Jurisdiction, Price, Resources, Site},
    time::Timestamp,
};

/// When all cells here are founded.
pub const FOUNDED: Timestamp = Timestamp(1_800_000_000_000);
/// How long certificates, offers and grants last from then on.
pub const VALID: Duration = Duration::from_hours(30 * 24);

/// The mesh of all that is made here.
#[must_use]
pub fn mesh() -> MeshId {
    MeshId::of(b"the mesh of the fixtures")
}

/// An operator or tenant with its key.
#[derive(Clone, Debug)]
pub struct Party {
    /// Its key.
    pub keys: Keypair,
    /// Its first statement.
    pub genesis: Genesis,
}

/// A node of an operator, with all that it shows when it is asked to host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Whose.
    pub operator: Party,
    /// The node's key.
    pub keys: Keypair,
    /// Signed by the operator.
    pub certificate: Signed<NodeCertificate>,
    /// What it asks.
    pub price: Price,
}

/// A cell to be founded: change what the story is about, then make its [`Founding::genesis`].
#[derive(Clone, Debug)]
pub struct Founding {
    /// Whose app.
    pub tenant: Party,
    /// What is deployed.
    pub release: Release,
    /// Replicas 1 and up.
    pub voters: Vec<Host>,
    /// Hosts of instances 1 and up.
    pub instances: Vec<Host>,
    /// Who gives a receipt for the release's bytes.
    pub keepers: Vec<Host>,
}

impl Party {
    fn new(kind: Kind, name: &str) -> Self {
        let keys = Keypair::from_secret(blake3::hash(format!("{kind:?} {name}").as_bytes()).as_bytes());
        let genesis = Genesis::new(kind, name, keys.public(), Timestamp(1));
        Self { keys, genesis }
    }

    /// The operator of that name.
    #[must_use]
    pub fn operator(name: &str) -> Self {
        Self::new(Kind::Operator, name)
    }

    /// The tenant of that name.
    #[must_use]
    pub fn tenant(name: &str) -> Self {
        Self::new(Kind::Tenant, name)
    }

    /// Its id, of an operator.
    #[must_use]
    pub fn operator_id(&self) -> OperatorId {
        self.genesis.operator()
    }

    /// Its id, of a tenant.
    #[must_use]
    pub fn tenant_id(&self) -> TenantId {
        self.genesis.tenant()
    }

    /// Its first statement, signed by its key.
    #[must_use]
    pub fn signed_genesis(&self) -> Signed<Genesis> {
        Signed::seal(&self.keys, &self.genesis)
    }

    /// What a tenant signs.
    #[must_use]
    pub fn sign(
        &self,
        cell: Option<CellId>,
        op: OpId,
        issued: Timestamp,
        action: TenantAction,
    ) -> Signed<TenantCommand> {
        Signed::seal(&self.keys, &TenantCommand { tenant: self.tenant_id(), cell, op, issued, action })
    }

    /// A command of a tenant for the cell of `state`, signed at its cell time, without receipts.
    #[must_use]
    pub fn command(&self, state: &State, op: OpId, action: TenantAction) -> Command {
        Command::Tenant { signed: self.sign(Some(state.cell()), op, state.time(), action), receipts: Vec::new() }
    }
}

impl Host {
    /// A node of `operator` at `site` under the law of `jurisdiction`; its key comes from the three names.
    ///
    /// # Panics
    /// When `jurisdiction` is not two capital letters.
    #[must_use]
    pub fn new(operator: &str, site: &str, jurisdiction: &str) -> Self {
        let name = format!("node of {operator} at {site} in {jurisdiction}");
        let operator = Party::operator(operator);
        let keys = Keypair::from_secret(blake3::hash(name.as_bytes()).as_bytes());
        let certificate = NodeCertificate {
            mesh: mesh(),
            operator: operator.genesis.clone(),
            node: keys.node(),
            site: Site(site.to_owned()),
            jurisdiction: jurisdiction.parse().expect("a fixture names jurisdictions as two capital letters"),
            domains: Vec::new(),
            not_before: FOUNDED - VALID,
            expires: FOUNDED + VALID,
            serial: 1,
            sealing: keys.public(),
            successions: None,
        };
        let certificate = Signed::seal(&operator.keys, &certificate);
        Self { operator, keys, certificate, price: price() }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.keys.node()
    }

    /// Key and certificate as a node's parts take them.
    ///
    /// # Panics
    /// Never: the certificate is for this key and valid at [`FOUNDED`].
    #[must_use]
    pub fn identity(&self) -> NodeIdentity {
        NodeIdentity::new(self.keys.clone(), self.certificate.clone(), mesh(), FOUNDED)
            .expect("a fixture's certificate is for its own node and valid when cells are founded")
    }

    /// A record that this node signs about `subject`.
    #[must_use]
    pub fn record(&self, kind: record::Kind, subject: NodeId, content: codec::Blob) -> Signed<RecordBody> {
        let order = Order { line: 0, generation: 0, version: FOUNDED.0 };
        let expires = FOUNDED + VALID;
        Signed::seal(
            &self.keys,
            &RecordBody { kind, scope: Scope::Mesh, subject: Subject(subject.0), order, expires, content },
        )
    }

    /// What it shows: certificate and offer.
    #[must_use]
    pub fn candidate(&self) -> Candidate {
        let total = Resources { cpu_millis: 8_000, memory_bytes: 16 << 30, disk_bytes: 1 << 40 };
        let offer = Offer { node: self.node(), total, used: Resources::default(), price: self.price };
        let offer = self.record(record::Kind::OFFER, self.node(), codec::encode(&offer));
        Candidate { certificate: self.certificate.clone(), offer }
    }

    /// Its unsigned yes at its price.
    #[must_use]
    pub fn terms(&self, purpose: ContentHash, role: Role, tenant: TenantId, policy: &Policy) -> Grant {
        let resources = match role {
            Role::Vote | Role::Learn => policy.replica,
            Role::Instance => policy.instance,
        };
        let price_per_hour = self.price.per_hour(&resources);
        Grant { purpose, node: self.node(), role, tenant, resources, price_per_hour, expires: FOUNDED + VALID }
    }

    /// Its yes.
    #[must_use]
    pub fn grant(&self, purpose: ContentHash, role: Role, tenant: TenantId, policy: &Policy) -> Signed<Grant> {
        Signed::seal(&self.keys, &self.terms(purpose, role, tenant, policy))
    }

    /// Its yes to a cell that mends itself.
    #[must_use]
    pub fn grant_to(&self, state: &State, role: Role) -> Signed<Grant> {
        self.grant(state.purpose(), role, state.tenant_id(), state.policy())
    }

    /// "These bytes are on my disk."
    ///
    /// # Panics
    /// When `workload` is not a component.
    #[must_use]
    pub fn receipt(&self, workload: &Workload) -> Signed<Receipt> {
        let Workload::Component { hash, size_bytes } = workload else { panic!("only components have receipts here") };
        let receipt = Receipt { content: *hash, size_bytes: *size_bytes, node: self.node(), stored: FOUNDED };
        Signed::seal(&self.keys, &receipt)
    }

    /// That it is here, and whether it drains.
    #[must_use]
    pub fn presence(&self, draining: Option<Timestamp>) -> Signed<RecordBody> {
        let (addresses, disk) = (Vec::new(), DiskId(self.node().0));
        let presence = Presence { incarnation: 1, addresses, disk, boots: 1, relays: None, draining };
        self.record(record::Kind::PRESENCE, self.node(), codec::encode(&presence))
    }

    /// What it says of `about` as an observer.
    #[must_use]
    pub fn verdict(&self, about: NodeId, state: Liveness) -> Signed<RecordBody> {
        let verdict = Verdict { about, incarnation: 1, state, observer: self.node() };
        self.record(record::Kind::VERDICT, about, codec::encode(&verdict))
    }

    /// The lease that it holds in `state`.
    ///
    /// # Panics
    /// When it holds none.
    #[must_use]
    pub fn lease<'a>(&self, state: &'a State) -> &'a LeaseInfo {
        state.leases().find(|lease| lease.node == self.node()).expect("this host holds a lease of the cell")
    }

    /// A renewal of its lease.
    #[must_use]
    pub fn renewal(&self, state: &State, serial: u64, says: InstanceState) -> Command {
        let LeaseInfo { instance, generation, .. } = *self.lease(state);
        let renewal = Renewal { instance, generation, line: state.line(), state: says, serial };
        Command::Renew(Signed::seal(&self.keys, &renewal))
    }

    /// Unsigned writes of its instance under its lease.
    #[must_use]
    pub fn batch(&self, state: &State, op: OpId, writes: Vec<Write>) -> DataBatch {
        let LeaseInfo { instance, generation, .. } = *self.lease(state);
        DataBatch { cell: state.cell(), line: state.line(), writer: state.writer(), instance, generation, op, writes }
    }

    /// Writes of its instance under its lease.
    #[must_use]
    pub fn data(&self, state: &State, op: OpId, writes: Vec<Write>) -> Command {
        Command::Data(Signed::seal(&self.keys, &self.batch(state, op, writes)))
    }

    /// Its replica supports `rules`.
    #[must_use]
    pub fn support(&self, state: &State, replica: ReplicaId, rules: u32) -> Command {
        Command::Support(Signed::seal(&self.keys, &Support { cell: state.cell(), replica, rules }))
    }
}

impl Founding {
    /// All of `hosts` vote, the first hosts the one instance. A number of hosts that is not 1, 3 or 5 is degraded.
    ///
    /// # Panics
    /// With no host, or with more than five.
    #[must_use]
    pub fn of(hosts: &[Host]) -> Self {
        let voters = match hosts.len() {
            1 => 1,
            2 | 3 => 3,
            4 | 5 => 5,
            other => panic!("a cell is founded by one to five voters, not {other}"),
        };
        let policy = Policy { voters, allow_degraded: hosts.len().is_multiple_of(2), ..Policy::default() };
        Self {
            tenant: Party::tenant("tess"),
            release: release("guestbook", b"first", policy),
            voters: hosts.to_vec(),
            instances: hosts[..1].to_vec(),
            keepers: hosts.to_vec(),
        }
    }

    /// The tenant's signed release.
    #[must_use]
    pub fn signed_release(&self) -> Signed<TenantCommand> {
        self.tenant.sign(None, op("founding", 1), FOUNDED, TenantAction::Release(Box::new(self.release.clone())))
    }

    /// What `host` brings under `number`.
    #[must_use]
    pub fn founder(&self, number: u64, host: &Host, role: Role) -> Founder {
        let purpose = ContentHash(self.signed_release().hash());
        let grant = host.grant(purpose, role, self.tenant.tenant_id(), &self.release.policy);
        let why = format!("{} was there first", host.operator.genesis.name);
        Founder { number, candidate: host.candidate(), grant, why }
    }

    /// The genesis.
    #[must_use]
    pub fn genesis(&self) -> CellGenesis {
        let founders = |hosts: &[Host], role| {
            (1..).zip(hosts).map(|(number, host)| self.founder(number, host, role)).collect::<Vec<_>>()
        };
        CellGenesis {
            mesh: mesh(),
            tenant: self.tenant.signed_genesis(),
            release: self.signed_release(),
            voters: founders(&self.voters, Role::Vote),
            instances: founders(&self.instances, Role::Instance),
            receipts: self.keepers.iter().map(|keeper| keeper.receipt(&self.release.workload)).collect(),
            founded: FOUNDED,
            round_trip: Duration::from_millis(40),
            rules: 1,
            successions: None,
        }
    }
}

/// `count` hosts of as many operators, each at its own site, in FR, DE, BE, NL, IT and again.
///
/// # Panics
/// Never.
#[must_use]
pub fn hosts(count: usize) -> Vec<Host> {
    let laws = ["FR", "DE", "BE", "NL", "IT"].into_iter().cycle();
    (1..=count).zip(laws).map(|(n, law)| Host::new(&format!("operator {n}"), &format!("site {n}"), law)).collect()
}

/// The genesis of [`Founding::of`] these hosts.
#[must_use]
pub fn genesis(hosts: &[Host]) -> CellGenesis {
    Founding::of(hosts).genesis()
}

/// A release of a component made of those bytes.
#[must_use]
pub fn release(app: &str, component: &[u8], policy: Policy) -> Release {
    let workload = Workload::Component { hash: ContentHash::of(component), size_bytes: component.len() as u64 };
    let env = vec![("GREETING".to_owned(), "hello".to_owned())];
    Release { app: app.to_owned(), workload, env, policy, domains: vec!["guestbook.example.org".to_owned()] }
}

/// The op `seq` of the session of that name.
#[must_use]
pub fn op(session: &str, seq: u64) -> OpId {
    OpId { session: SessionId::of(session.as_bytes()), seq }
}

/// Sets a key.
#[must_use]
pub fn set(store: &str, key: &str, value: &str) -> Write {
    Write::Set { store: store.to_owned(), key: key.to_owned(), value: value.into() }
}

/// What a leader would propose now: stamped a millisecond after cell time, on the line and by the rules in force.
#[must_use]
pub fn entry(state: &State, command: Command) -> Entry {
    let stamp = state.time() + Duration::from_millis(1);
    Entry { stamp, line: state.line(), rules: state.rules(), command }
}

/// Half a cent an hour for a core, and little for the rest.
///
/// # Panics
/// Never.
#[must_use]
pub fn price() -> Price {
    let currency: Currency = "EUR".parse().expect("EUR is three capital letters");
    Price { currency, cpu_core_hour: 500_000, memory_gib_hour: 100_000, disk_gib_hour: 100 }
}

/// The law of that name.
///
/// # Panics
/// When it is not two capital letters.
#[must_use]
pub fn law(name: &str) -> Jurisdiction {
    name.parse().expect("a fixture names jurisdictions as two capital letters")
}

/// A recovery of this cell from what a survivor holds, by the tenant and these operators. Made now, valid for an hour.
#[must_use]
pub fn recovery(state: &State, base: Base, tenant: &Party, operators: &[&Party], now: Timestamp) -> RecoveryPapers {
    let until = now + Duration::from_hours(1);
    let recovery =
        Recovery { mesh: state.mesh(), cell: state.cell(), line: state.line(), base, fork: false, made: now, until };
    sign_recovery(&recovery, tenant, operators)
}

/// The same of any statement.
#[must_use]
pub fn sign_recovery(recovery: &Recovery, tenant: &Party, operators: &[&Party]) -> RecoveryPapers {
    let mut statement = Endorsed::draft(recovery).with(&tenant.keys);
    for operator in operators {
        statement = statement.with(&operator.keys);
    }
    let lineage = |party: &&Party| Lineage::first(party.genesis.clone());
    RecoveryPapers { statement, tenant: lineage(&tenant), operators: operators.iter().map(lineage).collect() }
}

/// The first state of the next line, from all that `state` has applied, carried out by this host.
///
/// # Errors
/// As [`State::recover`].
pub fn recovered(state: &State, papers: RecoveryPapers, by: &Host, now: Timestamp) -> Result<State, Refusal> {
    state.recover(papers, now, |carried| Signed::seal(&by.keys, carried))
}
