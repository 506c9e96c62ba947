//! The agreed state of a cell, and the pure `apply(state, entry) → state` that every replica runs alike.
//!
//! Nothing here knows the time, the node or the network: cell time is the highest stamp applied, and all authority is
//! re-checked from entry and state alone, so that a leader can delay but not forge. A refusal is an outcome like any
//! other: it changes nothing but cell time and digest.
//!
//! Read in this order: the state and how an entry is applied (here), how the first one is made (`found`), what tenants and
//! instances do (`tenant`, `release`, `keys`), exactly once (`sessions`), how a cell mends itself (`members`, `leases`, and
//! `drain`: what a draining node's word is worth), the copies that stand away (`copies`), how a line ends and the next begins
//! (`recovery`), and who may be given a vote or lease (`place`).
mod found;
mod tenant;
mod succession;
mod release;
mod keys;
mod sessions;
mod members;
mod misses;
mod leases;
mod copies;
mod drain;
mod recovery;
mod place;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixture;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use minicbor::{Decode, Encode};

pub use copies::COPIES_MAX;
pub use found::{ROUND_TRIP_MAX, WHY_BYTES_MAX};
pub use keys::{BATCH_WRITES_MAX, KEY_BYTES_MAX, LIST_KEYS_MAX, STATE_BYTES_MAX, STORE_BYTES_MAX, VALUE_BYTES_MAX};
pub use leases::{FAILURE_BYTES_MAX, LEASE, SILENCE_MARGIN, VERDICTS_MAX};
pub use members::{JOIN_MAX, LEFT_MAX};
pub use release::{
    COMPONENT_BYTES_MAX, DOMAINS_MAX, ENV_BYTES_MAX, INSTANCES_MAX, RELEASES_MAX, SECRETS_BYTES_MAX, SECRETS_WRAPS_MAX,
};
pub use sessions::{SESSION_KEPT, SESSION_RESULTS_MAX, SESSIONS_BYTES_MAX, SESSIONS_MAX};

use self::{
    keys::Keys,
    leases::Leases,
    members::Members,
    place::{Cost, Wanted},
    release::Releases,
    sessions::Sessions,
};
use super::{
    Answer, CAPTURE_FORMAT, Capture, Command, Description, Entry, LeaseInfo, Member, Outcome, Query, Recovered,
    Release, ReleaseInfo, Repair, Role, Secrets, Workload,
};
use crate::{
    codec::{self, Blob, DecodeError},
    id::{CellId, ContentHash, MeshId, NodeId, OpId, ReplicaId, TenantId},
    identity::{Lineage, PublicKey},
    placement::{Grade, Policy},
    planted::{self, Planted},
    refusal::{Code, Refusal},
    time::Timestamp,
};

/// The newest rules that this version applies by. 2: tenants' keys succeed each other, and a revocation is evidence. 3: a
/// draining node's presence is evidence. 4: copies stand away, leases there outlast a cut, and `home_cut` holds the quorum. 5:
/// voters say whom they miss. 6: a cell that a recovery left with one voter grows again, and stores
/// may converge.
pub const RULES_MAX: u32 = 6;
/// From these rules on there are `Command::Succeed` and `Evidence::Revoked`: replicas of an earlier version cannot read them.
pub const RULES_OF_KEYS: u32 = 2;
/// From these rules on there are `Evidence::Drain` and a relief in `Repair::GrantLease`, and all voters let their leader hand
/// over: see [`super::RaftMessage`].
pub const RULES_OF_DRAIN: u32 = 3;
/// From these rules on there are `Repair::AddCopy` and `Repair::EndCopy`, a lease away ends for silence only after the policy's
/// `lost_after`, and no swap of votes takes the quorum from where the policy's `home_cut` wants it.
pub const RULES_OF_CUT: u32 = 4;
/// From these rules on replicas know [`Query::Capture`].
pub const RULES_OF_CAPTURES: u32 = 4;
/// From these rules on there are `Command::Miss` and `Evidence::Missed`.
pub const RULES_OF_MISSES: u32 = 5;
/// The rules that a recovered cell is on at least: from them on it grows from one voter by way of two.
pub const RULES_OF_RECOVERY: u32 = 6;
/// From these rules on a policy may name stores that converge, and the cell holds nothing of these. Who is on earlier rules cannot
/// read that part of a policy: so an app with such a store is founded on these.
pub const RULES_OF_CONVERGING: u32 = 6;
/// The format of an encoded [`State`].
pub const FORMAT: u32 = 1;
/// A tenant's command is refused when it was signed further than this from cell time.
pub const TENANT_SKEW_MAX: Duration = Duration::from_hours(24);
/// What a removed app leaves is kept so long (of cell time), then deleted.
pub const REMOVAL_GRACE: Duration = Duration::from_hours(7 * 24);

/// The agreed state of a cell at one applied index. At most [`STATE_BYTES_MAX`] of keys, and bounded beside them.
#[derive(Clone, Debug, Encode, Decode)]
pub struct State {
    #[n(0)]
    format: u32,
    #[n(1)]
    cell: CellId,
    #[n(2)]
    mesh: MeshId,
    #[n(3)]
    tenant: TenantId,
    /// The tenant's current key.
    #[n(4)]
    tenant_key: PublicKey,
    #[n(5)]
    line: u64,
    #[n(6)]
    writer: u64,
    /// In force for the next entry.
    #[n(7)]
    rules: u32,
    #[n(8)]
    applied: u64,
    /// The highest stamp applied.
    #[n(9)]
    time: Timestamp,
    #[cbor(n(10), with = "codec::duration_ms")]
    round_trip: Duration,
    /// See [`State::digest`].
    #[cbor(n(11), with = "minicbor::bytes")]
    digest: [u8; 32],
    #[n(12)]
    releases: Releases,
    /// Of the current release, with the scale that was set since.
    #[n(13)]
    policy: Policy,
    #[n(14)]
    secrets: Secrets,
    #[n(15)]
    removed: Option<Timestamp>,
    #[n(16)]
    members: Members,
    #[n(17)]
    leases: Leases,
    #[n(18)]
    tenant_sessions: Sessions,
    #[n(19)]
    data_sessions: Sessions,
    #[n(20)]
    keys: Keys,
    /// How the tenant came to its current key; `None` while it is the one of its genesis, or of the cell's.
    #[n(21)]
    tenant_lineage: Option<Lineage>,
    /// What ended the line before this one.
    #[n(22)]
    recovered: Option<Box<Recovered>>,
}

/// What applying an entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// For whoever proposed it.
    pub outcome: Outcome,
    /// [`State::description`] says something else than before, apart from `applied`, `time` and the times of renewals.
    pub head_changed: bool,
}

/// What raft's membership shall become. The leader brings raft there; a change of raft's membership that does not lead
/// here is ignored by all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// They vote.
    pub voters: BTreeSet<ReplicaId>,
    /// They learn.
    pub learners: BTreeSet<ReplicaId>,
}

impl State {
    /// Applies the entry at `index`. No entry panics.
    ///
    /// # Panics
    /// When `index` is not the next one: raft's log has no gaps, so a caller that skips one has lost an entry.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Effects {
        self.advance(index);
        self.time = self.time.max(entry.stamp);
        self.tenant_sessions.expire(self.time);
        self.data_sessions.expire(self.time);
        let effects = self.in_force(entry).and_then(|()| self.obey(index, &entry.command));
        let effects = effects.unwrap_or_else(Effects::refused);
        self.chain(index, &codec::encode(entry), &mark(&effects.outcome));
        effects
    }

    /// Passes over an entry that is raft's own: empty, or a change of membership.
    ///
    /// # Panics
    /// As [`State::apply`].
    pub fn skip(&mut self, index: u64) {
        self.advance(index);
        self.chain(index, b"", b"");
    }

    fn obey(&mut self, index: u64, command: &Command) -> Result<Effects, Refusal> {
        match command {
            Command::Tenant { signed, receipts } => self.tenant(index, signed, receipts),
            Command::Data(signed) => self.data(index, signed),
            Command::Renew(signed) => self.renew(signed),
            Command::Support(signed) => self.support(signed),
            Command::Succeed(lineage) => self.succeed(lineage),
            Command::Miss(signed) => self.miss(signed),
            Command::Repair(repair) => match &**repair {
                Repair::AddLearner { replaces, evidence, candidate, grant } => {
                    self.add_learner(*replaces, evidence, candidate, grant)
                }
                Repair::Promote { learner, leaves } => self.promote(*learner, *leaves),
                Repair::GrantLease { candidate, grant, relieves } => {
                    self.grant_lease(candidate, grant, relieves.as_ref())
                }
                Repair::EndLease { instance, generation, evidence } => self.end_lease(*instance, *generation, evidence),
                Repair::AddCopy { replaces, evidence, candidate, grant } => {
                    self.add_copy(*replaces, evidence, candidate, grant)
                }
                Repair::EndCopy { replica, evidence } => self.end_copy(*replica, evidence),
            },
        }
    }

    /// An entry of another line or other rules is void. Its command is not: it may come again in another entry, so this
    /// refusal is indefinite and not remembered.
    fn in_force(&self, entry: &Entry) -> Result<(), Refusal> {
        if entry.line != self.line || entry.rules != self.rules {
            let detail = format!(
                "proposed on line {} by rules {}, while line {} and rules {} are in force: propose it again",
                entry.line, entry.rules, self.line, self.rules
            );
            return Err(Refusal::indefinite(Code::Fenced, detail));
        }
        Ok(())
    }

    fn advance(&mut self, index: u64) {
        assert!(
            self.applied.checked_add(1) == Some(index),
            "entries are applied in order and without gaps: after {} comes not {index}",
            self.applied
        );
        self.applied = index;
    }

    fn chain(&mut self, index: u64, entry: &[u8], outcome: &[u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.digest);
        hasher.update(&index.to_be_bytes());
        hasher.update(&(entry.len() as u64).to_be_bytes());
        hasher.update(entry);
        hasher.update(outcome);
        self.digest = *hasher.finalize().as_bytes();
    }

    fn on_this_line(&self, line: u64) -> Result<(), Refusal> {
        if line == self.line {
            return Ok(());
        }
        Err(no(Code::Fenced, format!("line {line} is fenced: the cell is on line {}", self.line)))
    }

    /// Whether commands about keys are in force.
    fn knows_keys(&self) -> Result<(), Refusal> {
        if self.rules >= RULES_OF_KEYS {
            return Ok(());
        }
        Err(no(
            Code::Unsupported,
            format!("this cell is still on rules {}: keys come with {RULES_OF_KEYS}", self.rules),
        ))
    }

    fn not_removed(&self) -> Result<(), Refusal> {
        if self.removed.is_none() {
            return Ok(());
        }
        Err(no(Code::Conflict, "the app was removed"))
    }

    /// What a candidate for this cell is checked against.
    fn wanted(&self, role: Role) -> Wanted<'_> {
        let purpose = self.purpose();
        let (mesh, tenant, policy, at) = (self.mesh, self.tenant, &self.policy, self.time);
        Wanted { mesh, tenant, purpose, role, copy: false, policy, at }
    }

    /// What all members and leases cost, some members left out.
    fn costs_without(&self, gone: [Option<ReplicaId>; 2]) -> impl Iterator<Item = Cost> {
        self.members.costs(gone).chain(self.leases.costs())
    }
}

/// What is asked of a state.
impl State {
    /// What a command with this op did, if it is remembered: the tenant's first, else an instance's. To answer a retry
    /// before proposing, use [`State::recall`], which asks the signer's own sessions only.
    #[must_use]
    pub fn remembered(&self, op: OpId) -> Option<&Outcome> {
        self.tenant_sessions.result(op).or_else(|| self.data_sessions.result(op))
    }

    /// What this very kind of command did, if its op is remembered: a retry is answered so without an entry. Signatures
    /// were checked; that a tenant's command is by the tenant is checked here.
    #[must_use]
    pub fn recall(&self, command: &Command) -> Option<&Outcome> {
        match command {
            Command::Tenant { signed, .. } if signed.key() == self.tenant_key => {
                self.tenant_sessions.result(signed.open().ok()?.op)
            }
            Command::Data(_) if planted::has(Planted::LostSession) => None,
            Command::Data(signed) => self.data_sessions.result(signed.open().ok()?.op),
            Command::Tenant { .. }
            | Command::Renew(_)
            | Command::Repair(_)
            | Command::Support(_)
            | Command::Succeed(_)
            | Command::Miss(_) => None,
        }
    }

    /// Answers from this state. Its caller knows how fresh it is.
    #[must_use]
    pub fn answer(&self, query: &Query) -> Answer {
        match query {
            Query::Get { store, key } => Answer::Value(self.keys.get(store, key).cloned()),
            Query::List { store, prefix, after, limit } => {
                let (keys, more) = self.keys.list(store, prefix, after.as_deref(), *limit);
                Answer::Keys { keys, more }
            }
            Query::Describe => Answer::Description(Box::new(self.description())),
            // Of what a replica holds, not of a state.
            Query::Capture => Answer::Captured(None),
            Query::Piece { .. } => Answer::Piece(None),
        }
    }

    /// All that the tenant said and its instances wrote.
    #[must_use]
    pub fn capture(&self) -> Capture {
        let current = self.releases.current();
        Capture {
            format: CAPTURE_FORMAT,
            mesh: self.mesh,
            cell: self.cell,
            tenant: self.tenant,
            line: self.line,
            index: self.applied,
            time: self.time,
            release: Release { policy: self.policy.clone(), ..current.release.clone() },
            secrets: self.secrets.clone(),
            stores: self.keys.captured(),
        }
    }

    /// The head of this state. Leader and progress are no agreed state: the replica fills them in.
    #[must_use]
    pub fn description(&self) -> Description {
        let current = self.releases.current();
        Description {
            cell: self.cell,
            tenant: self.tenant,
            app: current.release.app.clone(),
            line: self.line,
            writer: self.writer,
            rules: self.rules,
            grade: self.grade(),
            members: self.members().cloned().collect(),
            releases: self.releases().cloned().collect(),
            current: current.info.number,
            leases: self.leases().cloned().collect(),
            policy: self.policy.clone(),
            applied: self.applied,
            time: self.time,
            env: current.release.env.clone(),
            domains: current.release.domains.clone(),
            secrets: self.secrets.clone(),
            removed: self.removed,
            leader: None,
            progress: Vec::new(),
        }
    }

    /// Which cell.
    #[must_use]
    pub const fn cell(&self) -> CellId {
        self.cell
    }

    /// Of which mesh.
    #[must_use]
    pub const fn mesh(&self) -> MeshId {
        self.mesh
    }

    /// Whose.
    #[must_use]
    pub const fn tenant_id(&self) -> TenantId {
        self.tenant
    }

    /// The app's name.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.releases.current().release.app
    }

    /// Whether this lineage gives the tenant another key than this cell knows, so that `Command::Succeed` would do something.
    #[must_use]
    pub fn is_superseded_by(&self, lineage: &Lineage) -> bool {
        self.rules >= RULES_OF_KEYS && self.heir(lineage).is_ok()
    }

    /// The rules that a member announced to support.
    #[must_use]
    pub fn supports(&self, replica: ReplicaId) -> Option<u32> {
        self.members.supports(replica)
    }

    /// See [`Entry::line`]. From 1 up.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// The counter that fences all instances at once. From 1 up.
    #[must_use]
    pub const fn writer(&self) -> u64 {
        self.writer
    }

    /// The rules that the next entry is applied by.
    #[must_use]
    pub const fn rules(&self) -> u32 {
        self.rules
    }

    /// Whether this version knows the rules in force. A replica that does not must stop applying: it would differ.
    #[must_use]
    pub const fn is_understood(&self) -> bool {
        self.rules <= RULES_MAX
    }

    /// The last applied index.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// Cell time: the highest stamp applied.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// Between the farthest two voters, as agreed when the cell was founded.
    #[must_use]
    pub const fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// What the keyed state counts, of at most [`STATE_BYTES_MAX`].
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.keys.bytes()
    }

    /// A hash chained over every entry and what it did: two replicas that differ in it at one index have diverged, or
    /// read different logs. Of a refusal only its code counts, for its words may differ between versions.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The purpose that grants of candidates carry when this cell mends itself.
    #[must_use]
    pub const fn purpose(&self) -> ContentHash {
        ContentHash(self.cell.0)
    }

    /// The living member on that node; of two, while a wiped one rejoins, the newcomer.
    #[must_use]
    pub fn replica_of(&self, node: NodeId) -> Option<ReplicaId> {
        self.members.on(node)
    }

    /// Where a member is or, of the last [`LEFT_MAX`] that left, was.
    #[must_use]
    pub fn node_of(&self, replica: ReplicaId) -> Option<NodeId> {
        self.members.node_of(replica)
    }

    /// Where members were that left, as far as they are remembered.
    pub fn left(&self) -> impl Iterator<Item = NodeId> {
        self.members.left()
    }

    /// Voters and learners, by replica id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// The learner that is joining and the member whose vote it is to take over: what `Repair::Promote` must name.
    #[must_use]
    pub fn joining(&self) -> Option<(ReplicaId, Option<ReplicaId>)> {
        self.members.joining()
    }

    /// Whether the newcomer that [`Self::joining`] names had [`JOIN_MAX`] of cell time, and may be replaced for that alone.
    #[must_use]
    pub fn is_joining_for_long(&self) -> bool {
        self.members.joins_since().is_some_and(|since| self.time > since + JOIN_MAX)
    }

    /// The copies that stand away, by replica id.
    pub fn copies(&self) -> impl Iterator<Item = &Member> {
        self.members.copies().map(|(member, _)| member)
    }

    /// What raft's membership shall become.
    #[must_use]
    pub fn target_membership(&self) -> Membership {
        self.members.target()
    }

    /// What the voters survive.
    #[must_use]
    pub fn grade(&self) -> Grade {
        self.members.grade()
    }

    /// Leases not ended, by instance number.
    pub fn leases(&self) -> impl Iterator<Item = &LeaseInfo> {
        self.leases.iter()
    }

    /// Of the current release, with the scale that was set since.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Retained releases, by number; the last is the current one.
    pub fn releases(&self) -> impl Iterator<Item = &ReleaseInfo> {
        self.releases.iter().map(|retained| &retained.info)
    }

    /// The bytes that retained releases name, and how many: a member keeps them.
    pub fn contents(&self) -> impl Iterator<Item = (ContentHash, u64)> {
        self.releases().filter_map(|release| match release.workload {
            Workload::Component { hash, size_bytes } | Workload::Site { hash, size_bytes } => Some((hash, size_bytes)),
            Workload::Container { .. } => None,
        })
    }

    /// When the tenant ended the app; what is left is deleted [`REMOVAL_GRACE`] later.
    #[must_use]
    pub const fn removed(&self) -> Option<Timestamp> {
        self.removed
    }

    /// All of it, for a snapshot. Equal states give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Blob {
        codec::encode(self)
    }

    /// Reads what [`State::encode`] wrote. Fields that a newer version added are passed over.
    ///
    /// # Errors
    /// When it is not a state, or of a format that this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "state of a cell";
        let mut state: Self = codec::decode(WHAT, bytes)?;
        if state.format != FORMAT {
            return Err(DecodeError { what: WHAT, why: format!("format {}, expected {FORMAT}", state.format) });
        }
        if !state.releases.is_sound() {
            return Err(DecodeError { what: WHAT, why: "no release, or not in order".to_owned() });
        }
        state.tenant_sessions.settle();
        state.data_sessions.settle();
        state.keys.settle();
        Ok(state)
    }
}

impl Effects {
    fn quiet(outcome: Outcome) -> Self {
        Self { outcome, head_changed: false }
    }

    fn head(outcome: Outcome) -> Self {
        Self { outcome, head_changed: true }
    }

    fn refused(refusal: Refusal) -> Self {
        Self::quiet(Outcome::Refused(refusal))
    }
}

/// A definite refusal.
fn no(code: Code, detail: impl Into<String>) -> Refusal {
    Refusal::definite(code, detail)
}

/// What of an outcome goes into the digest.
fn mark(outcome: &Outcome) -> Blob {
    match outcome {
        Outcome::Refused(refusal) => codec::encode(&refusal.code),
        Outcome::Released(_) | Outcome::Written { .. } | Outcome::Conflict { .. } | Outcome::Done => {
            codec::encode(outcome)
        }
    }
}
