//! The candidate's side of placing: grant or refuse, store and say so, start what was founded.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::wire::Message;
use crate::{
    capacity::accept,
    cell::{CellGenesis, Description, Grant, Receipt, Role, State},
    command::Terms,
    context::WireContext,
    id::{CellId, ContentHash, MeshId, NodeId, RequestId, TenantId},
    identity::NodeIdentity,
    machine::{Deadline, Machine, Outbox},
    record::Keyring,
    refusal::{Code, Refusal},
    resources::Resources,
    time::{Instant, Now},
};

/// A grant that was not used by then is void: long enough for bytes to be placed on a slow line.
const GRANT_LIFETIME: Duration = Duration::from_mins(2);
/// Grants not used yet; one more is refused.
const GRANTS_MAX: usize = 4_096;
/// Contents being fetched for others; one more is refused.
const STORES_MAX: usize = 256;
/// The largest content that is stored for anybody.
const CONTENT_BYTES_MAX: u64 = 256 << 20;

/// Input of the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A sponsor asks.
    Received {
        /// Who.
        from: NodeId,
        /// What: `Grant`, `Store` or `Found`.
        message: Message,
    },
    /// What is known of keys changed.
    Keys(Arc<Keyring>),
    /// What this node offers now.
    Terms(Option<Terms>),
    /// What its leases and replicas use.
    Used(Resources),
    /// Bytes asked for with `Fetch` are on disk here, or are not to be had from there.
    Fetched {
        /// Which.
        content: ContentHash,
        /// Here now.
        here: bool,
    },
    /// A founded replica is durable here, or was refused.
    Opened {
        /// Of which cell.
        cell: CellId,
        /// Why not.
        result: Result<(), Refusal>,
    },
}

/// Output of the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// An answer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Bytes are wanted from a node; from this one: are they here?
    Fetch {
        /// Who may have them.
        from: NodeId,
        /// Which.
        content: ContentHash,
        /// How many at most.
        size_bytes: u64,
    },
    /// Start the replica that this genesis gives to this node. Answered by `Opened`.
    Open(Box<CellGenesis>),
    /// This genesis gives a lease to this node.
    Host(Box<Description>),
    /// A leader of this cell may soon bring this node in as a learner.
    Expect(CellId),
}

#[derive(Debug)]
struct Granted {
    until: Instant,
    purpose: ContentHash,
    resources: Resources,
}

#[derive(Debug)]
struct Storing {
    size_bytes: u64,
    holder: NodeId,
    /// The holder was asked; else only this node's own store was.
    asked_holder: bool,
    /// Who waits for the receipt.
    askers: Vec<(NodeId, RequestId)>,
}

/// See the module.
#[derive(Debug)]
pub struct Host {
    identity: NodeIdentity,
    mesh: MeshId,
    terms: Option<Terms>,
    used: Resources,
    /// Oldest first, so that they expire in order.
    granted: VecDeque<Granted>,
    storing: BTreeMap<ContentHash, Storing>,
    /// Foundings that wait for their replica to be durable.
    opening: BTreeMap<CellId, Vec<(NodeId, RequestId)>>,
    keyring: Arc<Keyring>,
    outbox: Outbox<Output>,
}

impl Host {
    /// A host that offers `terms`.
    #[must_use]
    pub fn new(identity: NodeIdentity, mesh: MeshId, terms: Option<Terms>) -> Self {
        Self {
            identity,
            mesh,
            terms,
            used: Resources::default(),
            granted: VecDeque::new(),
            storing: BTreeMap::new(),
            opening: BTreeMap::new(),
            keyring: Arc::default(),
            outbox: Outbox::default(),
        }
    }

    /// What it offers now.
    #[must_use]
    pub const fn terms(&self) -> Option<Terms> {
        self.terms
    }

    fn answer(&mut self, to: NodeId, message: Message) {
        self.outbox.push(Output::Send { to, message });
    }

    fn grant(
        &mut self,
        now: Now,
        purpose: ContentHash,
        tenant: TenantId,
        roles: &[(Role, Resources)],
    ) -> Result<Vec<crate::identity::Signed<Grant>>, Refusal> {
        while self.granted.front().is_some_and(|granted| granted.until <= now.instant) {
            self.granted.pop_front();
        }
        if self.granted.len() >= GRANTS_MAX {
            let detail = format!("this host has {GRANTS_MAX} grants out; ask another");
            return Err(Refusal::definite(Code::Full, detail));
        }
        let held = self.granted.iter().fold(self.used, |sum, granted| sum.plus(&granted.resources));
        let prices = accept(self.terms.as_ref(), &held, roles, tenant)?;
        let resources = roles.iter().fold(Resources::default(), |sum, (_, need)| sum.plus(need));
        self.granted.push_back(Granted { until: now.instant + GRANT_LIFETIME, purpose, resources });
        if roles.iter().any(|(role, _)| *role == Role::Learn) {
            self.outbox.push(Output::Expect(CellId(purpose.0)));
        }
        let node = self.identity.node();
        let expires = now.wall + GRANT_LIFETIME;
        let grant = |((role, resources), price_per_hour): (&(Role, Resources), u64)| {
            let (role, resources) = (*role, *resources);
            self.identity.seal(&Grant { purpose, node, role, tenant, resources, price_per_hour, expires })
        };
        Ok(roles.iter().zip(prices).map(grant).collect())
    }

    fn store(&mut self, from: NodeId, context: &WireContext, content: ContentHash, size_bytes: u64, holder: NodeId) {
        let asker = (from, context.request);
        if let Some(storing) = self.storing.get_mut(&content) {
            storing.askers.push(asker);
            return;
        }
        if size_bytes > CONTENT_BYTES_MAX || self.storing.len() >= STORES_MAX {
            let detail = format!(
                "a host stores {STORES_MAX} contents of at most {CONTENT_BYTES_MAX} bytes at a time; this one has \
                 {size_bytes}"
            );
            let result = Err(Refusal::definite(Code::Full, detail));
            self.answer(from, Message::Stored { request: context.request, result });
            return;
        }
        let storing = Storing { size_bytes, holder, asked_holder: false, askers: vec![asker] };
        self.storing.insert(content, storing);
        self.outbox.push(Output::Fetch { from: self.identity.node(), content, size_bytes });
    }

    fn on_fetched(&mut self, now: Now, content: ContentHash, here: bool) {
        let me = self.identity.node();
        let Some(storing) = self.storing.get_mut(&content) else { return };
        if !here && !storing.asked_holder && storing.holder != me {
            storing.asked_holder = true;
            let (from, size_bytes) = (storing.holder, storing.size_bytes);
            self.outbox.push(Output::Fetch { from, content, size_bytes });
            return;
        }
        let Some(storing) = self.storing.remove(&content) else { return };
        let size_bytes = storing.size_bytes;
        let receipt = here.then(|| self.identity.seal(&Receipt { content, size_bytes, node: me, stored: now.wall }));
        for (to, request) in storing.askers {
            let why = || Refusal::definite(Code::NotFound, "the bytes could not be fetched from their holder");
            let result = receipt.clone().ok_or_else(why);
            self.answer(to, Message::Stored { request, result });
        }
    }

    /// Whether what is known here of keys lets this genesis stand: its founders count, and none has
    /// contradicted itself; and its tenant's key is the current one.
    fn heed(&self, genesis: &CellGenesis) -> Result<(), Refusal> {
        let descent = genesis.lineage().and_then(|lineage| lineage.descent().ok());
        if descent.is_none_or(|descent| !self.keyring.speaks_for(&descent, genesis.release.key())) {
            let why = "the release is not signed by the tenant's current key: a key that was replaced deploys nothing";
            return Err(Refusal::definite(Code::Unauthorised, why));
        }
        for founder in genesis.voters.iter().chain(&genesis.instances) {
            let signed = &founder.candidate.certificate;
            let Ok(certificate) = signed.open() else { continue };
            let refuse = |why: String| {
                Refusal::definite(Code::Unplaceable, format!("node {:?} takes part, and {why}", certificate.node))
            };
            let counts = self.keyring.counts(&certificate, signed.key());
            counts.map_err(|why| refuse(format!("its certificate counts no more: {why}")))?;
            if self.keyring.barred(certificate.operator_id(), certificate.node).is_some() {
                return Err(refuse("it has contradicted itself".to_owned()));
            }
        }
        Ok(())
    }

    fn found(&mut self, from: NodeId, request: RequestId, genesis: Box<CellGenesis>) {
        let me = self.identity.node();
        let state = match State::found(&genesis) {
            Ok(state) if genesis.mesh == self.mesh => state,
            Ok(_) => {
                let refusal = Refusal::definite(Code::Invalid, "this genesis is of another mesh");
                return self.answer(from, Message::Founded { request, result: Err(refusal) });
            }
            Err(refusal) => return self.answer(from, Message::Founded { request, result: Err(refusal) }),
        };
        if let Err(refusal) = self.heed(&genesis) {
            return self.answer(from, Message::Founded { request, result: Err(refusal) });
        }
        let purpose = ContentHash(genesis.release.hash());
        self.granted.retain(|granted| granted.purpose != purpose);
        let cell = state.cell();
        let description = state.description();
        if description.leases.iter().any(|lease| lease.node == me) {
            self.outbox.push(Output::Host(Box::new(description)));
        }
        if state.replica_of(me).is_some() {
            self.opening.entry(cell).or_default().push((from, request));
            self.outbox.push(Output::Open(genesis));
        } else {
            self.answer(from, Message::Founded { request, result: Ok(()) });
        }
    }
}

impl Machine for Host {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Received { from, message } => match message {
                Message::Grant { context, purpose, tenant, roles } => {
                    let result = self.grant(now, purpose, tenant, &roles);
                    self.answer(from, Message::Granted { request: context.request, result });
                }
                Message::Store { context, content, size_bytes, holder } => {
                    self.store(from, &context, content, size_bytes, holder);
                }
                Message::Found { context, genesis } => self.found(from, context.request, genesis),
                Message::Candidates { .. }
                | Message::CandidatesFound { .. }
                | Message::Granted { .. }
                | Message::Stored { .. }
                | Message::Founded { .. } => {}
            },
            Input::Keys(keyring) => self.keyring = keyring,
            Input::Terms(terms) => self.terms = terms,
            Input::Used(used) => self.used = used,
            Input::Fetched { content, here } => self.on_fetched(now, content, here),
            Input::Opened { cell, result } => {
                for (to, request) in self.opening.remove(&cell).unwrap_or_default() {
                    self.answer(to, Message::Founded { request, result: result.clone() });
                }
            }
        }
    }

    fn handle_timeout(&mut self, _: Now) {
        self.outbox.begin_step();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}
