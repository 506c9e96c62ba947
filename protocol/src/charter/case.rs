//! A motion and all that was said to it so far. It only grows, in whatever order its parts come, so nobody needs
//! everybody online: each node adds what it hears, and the votes are counted alike everywhere. A case whose ballots are a
//! majority of the electorate is the certificate: it needs nothing but the charter that it names to be checked.
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{
    Ballot, Claim, Counted, Electorate, Invite, InviteId, Matter, Motion, MotionId, Stamp,
    alias::{ALIASES_PER_TENANT_MAX, check_alias, check_tenant},
    document::ELECTORS_MAX,
    motion::TEXT_BYTES_MAX,
};
use crate::{
    codec::{self, Blob},
    id::{MeshId, OperatorId},
    identity::{Envelope, Founding, Genesis, Party, Signed, Statement},
    record::CONTENT_BYTES_MAX,
    time::Timestamp,
};

/// Statements in one case: a motion, claim and stamp, and of each elector an invite and a ballot. More make it void.
pub const STATEMENTS_MAX: usize = 3 + 2 * ELECTORS_MAX;

/// A name has at most so many bytes.
const NAME_BYTES_MAX: usize = 63;

/// Recovery keys in a genesis.
const RECOVERY_MAX: usize = 16;

/// The content of a record of kind `OPERATOR` or `CHARTER`: a case, or the founding statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Papers {
    /// A motion first, then what was said to it. See [`crate::record::Kind::carries_statements`].
    #[n(0)]
    pub statements: Vec<Envelope>,
    /// How the mesh was founded: proves itself, for its hash is the mesh's id.
    #[n(1)]
    pub founding: Option<Founding>,
}

/// Why papers do not count. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// Bytes.
    #[error("they cannot be read, or are more than {STATEMENTS_MAX} statements")]
    Unreadable,
    /// No motion first.
    #[error("they begin with no motion")]
    NoMotion,
    /// Of another mesh.
    #[error("they are of another mesh")]
    OtherMesh,
    /// The motion says what no motion may.
    #[error("the motion keeps no bounds: {0}")]
    Unlawful(&'static str),
    /// Not signed by whom it must be.
    #[error("the motion is not signed by whoever asks, or by an elector of the charter that it names")]
    Signer,
    /// Too many wait.
    #[error("too many motions wait here already: come with an invite, or ask an elector to admit you by id")]
    Full,
    /// Too many tenants wait for a name, or too many have one.
    #[error("too many names are asked for here already, or given: ask again when electors have said yes or no to some")]
    NamesFull,
    /// Somebody has the name.
    #[error("the name is another tenant's already: ask for another one")]
    Taken,
    /// The tenant has its share.
    #[error("a tenant has at most {ALIASES_PER_TENANT_MAX} names, those that it asks for included")]
    TooManyNames,
    /// A founding statement of another mesh.
    #[error("the founding statement is another mesh's")]
    OtherFounding,
}

/// See the top of this file.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The motion's hash.
    pub id: MotionId,
    /// What is asked.
    pub motion: Motion,
    signed: Signed<Motion>,
    claim: Option<Said<Claim>>,
    stamp: Option<Said<Stamp>>,
    /// By who claims to be the elector's key.
    invites: BTreeMap<[u8; 32], Said<Invite>>,
    ballots: BTreeMap<(OperatorId, bool), Said<Ballot>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Said<T: Statement> {
    signed: Signed<T>,
    what: T,
}

impl Papers {
    /// Reads the content of a record.
    ///
    /// # Errors
    /// When it is none, or too much.
    pub fn read(content: &Blob) -> Result<Self, Void> {
        let this: Self = codec::decode("papers", content).map_err(|_| Void::Unreadable)?;
        if this.statements.len() > STATEMENTS_MAX { Err(Void::Unreadable) } else { Ok(this) }
    }
}

fn read<T: Statement>(envelope: &Envelope) -> Option<Said<T>> {
    if envelope.domain != T::DOMAIN {
        return None;
    }
    let signed = Signed::from(envelope.clone());
    signed.open().ok().map(|what| Said { signed, what })
}

impl Case {
    /// Reads statements whose signatures were checked. What is of no use to the motion is left out.
    ///
    /// # Errors
    /// When there is no lawful motion in front.
    pub fn read(statements: &[Envelope], mesh: MeshId) -> Result<Self, Void> {
        if statements.len() > STATEMENTS_MAX {
            return Err(Void::Unreadable);
        }
        let first = statements.first().and_then(read::<Motion>).ok_or(Void::NoMotion)?;
        let Said { signed, what: motion } = first;
        if motion.mesh != mesh {
            return Err(Void::OtherMesh);
        }
        lawful(&motion)?;
        let asks = match &motion.matter {
            Matter::Admit { operator, .. } => Some(operator.key),
            Matter::Alias { tenant, .. } => Some(check_tenant(tenant).map_err(Void::Unlawful)?),
            Matter::Exclude { .. } | Matter::Amend(_) => None,
        };
        if asks.is_some_and(|key| key != signed.key()) {
            return Err(Void::Signer);
        }
        let mut this = Self {
            id: signed.hash(),
            motion,
            signed,
            claim: None,
            stamp: None,
            invites: BTreeMap::new(),
            ballots: BTreeMap::new(),
        };
        for envelope in &statements[1..] {
            this.hear(envelope);
        }
        Ok(this)
    }

    /// A motion that nobody answered yet.
    #[must_use]
    pub fn opened(signed: Signed<Motion>, motion: Motion) -> Self {
        let (invites, ballots) = (BTreeMap::new(), BTreeMap::new());
        Self { id: signed.hash(), motion, signed, claim: None, stamp: None, invites, ballots }
    }

    /// Takes in one statement about this motion, if it adds anything.
    fn hear(&mut self, envelope: &Envelope) {
        let invite = self.invite();
        if let Some(ballot) = read::<Ballot>(envelope) {
            self.hear_ballot(ballot);
        } else if let Some(said) = read::<Invite>(envelope) {
            let fits = Some(said.what.id) == invite
                && said.what.mesh == self.motion.mesh
                && said.what.charter == self.motion.charter;
            let room = self.invites.len() < ELECTORS_MAX;
            if fits && room {
                self.invites.entry(said.signed.key().0).or_insert(said);
            }
        } else if let Some(said) = read::<Claim>(envelope) {
            if said.what.motion == self.id && Some(said.what.invite) == invite && !self.is_claimed() {
                self.claim = Some(said);
            }
        } else if let Some(said) = read::<Stamp>(envelope)
            && said.what.motion == self.id
            && Some(said.what.invite) == invite
        {
            self.hear_stamp(said);
        }
    }

    fn hear_ballot(&mut self, said: Said<Ballot>) {
        if said.what.motion != self.id {
            return;
        }
        let key = (said.what.elector, said.what.yes);
        let older = |had: &Said<Ballot>| (had.what.at, had.signed.hash()) <= (said.what.at, said.signed.hash());
        if self.ballots.get(&key).is_some_and(older) || self.ballots.len() >= 2 * ELECTORS_MAX {
            return;
        }
        self.ballots.insert(key, said);
    }

    /// The witness's own stamp wins over others', the earliest of its own over later ones.
    fn hear_stamp(&mut self, said: Said<Stamp>) {
        let rank = |said: &Said<Stamp>| {
            let by_witness = self.invites.values().any(|invite| invite.what.witness.0 == said.signed.key().0);
            (!by_witness, !matches!(said.what.counted, Counted::Use(_)), said.what.at, said.signed.hash())
        };
        if self.stamp.as_ref().is_none_or(|had| rank(&said) < rank(had)) {
            self.stamp = Some(said);
        }
    }

    /// Takes in what another reading of the same motion holds. Whether anything was new.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for envelope in &other.papers().statements[1..] {
            self.hear(envelope);
        }
        *self != before
    }

    /// Leaves out what cannot count under the charter that the motion names, so that a stranger's statements take no
    /// elector's place.
    pub fn prune(&mut self, electors: &Electorate) {
        self.ballots.retain(|(elector, _), said| electors.signs(*elector, said.signed.key()));
        self.invites.retain(|_, said| electors.of_key(said.signed.key()).is_some());
        if !self.is_claimed() {
            self.claim = None;
        }
    }

    /// Who opened it: for a motion that is no request, an elector.
    ///
    /// # Errors
    /// When it was none of these.
    pub fn check_signer(&self, electors: &Electorate) -> Result<(), Void> {
        let request = matches!(self.motion.matter, Matter::Admit { .. } | Matter::Alias { .. });
        if request || electors.of_key(self.signed.key()).is_some() { Ok(()) } else { Err(Void::Signer) }
    }

    /// The invite that the newcomer names.
    #[must_use]
    pub fn invite(&self) -> Option<InviteId> {
        match &self.motion.matter {
            Matter::Admit { invite, .. } => *invite,
            Matter::Exclude { .. } | Matter::Amend(_) | Matter::Alias { .. } => None,
        }
    }

    /// The operator who asks to be admitted.
    #[must_use]
    pub fn newcomer(&self) -> Option<&Genesis> {
        match &self.motion.matter {
            Matter::Admit { operator, .. } => Some(operator),
            Matter::Exclude { .. } | Matter::Amend(_) | Matter::Alias { .. } => None,
        }
    }

    /// The name that is asked for, and the tenant who asks.
    #[must_use]
    pub fn alias(&self) -> Option<(&str, &Genesis)> {
        match &self.motion.matter {
            Matter::Alias { name, tenant } => Some((name, &tenant.genesis)),
            Matter::Admit { .. } | Matter::Exclude { .. } | Matter::Amend(_) => None,
        }
    }

    /// Whether the newcomer holds the secret of an invite that is here.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        let Some(claim) = &self.claim else { return false };
        self.invites.values().any(|invite| invite.what.bearer == claim.signed.key())
    }

    /// The invites, each as signed by one elector.
    pub fn invites(&self) -> impl Iterator<Item = &Invite> {
        self.invites.values().map(|said| &said.what)
    }

    /// What the witness said.
    #[must_use]
    pub fn stamp(&self) -> Option<Counted> {
        let said = self.stamp.as_ref()?;
        let by_witness = self.invites.values().any(|invite| invite.what.witness.0 == said.signed.key().0);
        by_witness.then_some(said.what.counted)
    }

    /// Adds a statement made here.
    pub fn add<T: Statement>(&mut self, signed: &Signed<T>) {
        self.hear(signed.envelope());
    }

    /// Each elector's earliest yes.
    #[must_use]
    pub fn votes(&self, electors: &Electorate) -> BTreeMap<OperatorId, Timestamp> {
        let ballots =
            self.ballots.iter().filter(|((elector, yes), said)| *yes && electors.signs(*elector, said.signed.key()));
        let ballots = ballots.map(|((elector, _), said)| (*elector, said.what.at));
        let invites = self.invites.values().filter_map(|said| {
            let elector = electors.of_key(said.signed.key())?;
            self.used(&said.what).map(|at| (elector, at))
        });
        let mut votes = BTreeMap::new();
        for (elector, at) in ballots.chain(invites) {
            let earliest = votes.entry(elector).or_insert(at);
            *earliest = at.min(*earliest);
        }
        votes
    }

    /// When an invite was used for this motion, if it was.
    fn used(&self, invite: &Invite) -> Option<Timestamp> {
        let (claim, stamp) = (self.claim.as_ref()?, self.stamp.as_ref()?);
        let Counted::Use(number) = stamp.what.counted else { return None };
        let holds = claim.signed.key() == invite.bearer && stamp.signed.key().0 == invite.witness.0;
        (holds && number < invite.uses && stamp.what.at < invite.expires).then_some(stamp.what.at)
    }

    /// Electors who said no and have not said yes since.
    pub fn refusals(&self) -> impl Iterator<Item = OperatorId> {
        let no = self.ballots.keys().filter(|(_, yes)| !yes).map(|(elector, _)| *elector);
        no.filter(|elector| !self.ballots.contains_key(&(*elector, true)))
    }

    /// When the majority was reached: the certificate counts from then on.
    #[must_use]
    pub fn decided(&self, electors: &Electorate) -> Option<Timestamp> {
        let mut times: Vec<Timestamp> = self.votes(electors).into_values().collect();
        times.sort_unstable();
        times.get(electors.needed.saturating_sub(1)).copied()
    }

    /// As it travels: the same parts give the same bytes. Ballots that do not fit into a record stay out, last ones
    /// first: by then a majority is in.
    #[must_use]
    pub fn papers(&self) -> Papers {
        let mut statements = vec![self.signed.envelope().clone()];
        // Invites go ahead of claim and stamp, which are judged by them.
        statements.extend(self.invites.values().map(|said| said.signed.envelope().clone()));
        statements.extend(self.claim.iter().map(|said| said.signed.envelope().clone()));
        statements.extend(self.stamp.iter().map(|said| said.signed.envelope().clone()));
        let by_answer = |wanted| self.ballots.iter().filter(move |((_, yes), _)| *yes == wanted);
        let ballots = by_answer(true).chain(by_answer(false));
        statements.extend(ballots.map(|(_, said)| said.signed.envelope().clone()));
        statements.truncate(STATEMENTS_MAX);
        let mut papers = Papers { statements, founding: None };
        while codec::encode(&papers).len() > CONTENT_BYTES_MAX && papers.statements.len() > 1 {
            papers.statements.pop();
        }
        papers
    }
}

fn lawful(motion: &Motion) -> Result<(), Void> {
    match &motion.matter {
        Matter::Admit { operator, .. } => {
            let named = operator.party == Party::Operator && operator.name.len() <= NAME_BYTES_MAX;
            if !named || operator.recovery.len() > RECOVERY_MAX {
                return Err(Void::Unlawful("the newcomer is no operator, or its name or recovery keys are too many"));
            }
        }
        Matter::Exclude { reason, .. } if reason.len() > TEXT_BYTES_MAX => {
            return Err(Void::Unlawful("the reason is longer than 256 bytes"));
        }
        Matter::Exclude { .. } => {}
        Matter::Alias { name, .. } => check_alias(name).map_err(Void::Unlawful)?,
        Matter::Amend(charter) => {
            if charter.mesh != motion.mesh || charter.previous != motion.charter {
                return Err(Void::Unlawful("the charter does not follow the version that shall decide on it"));
            }
            charter.check().map_err(|_| Void::Unlawful("the charter keeps no bounds"))?;
        }
    }
    Ok(())
}
