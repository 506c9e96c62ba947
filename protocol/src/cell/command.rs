//! What enters a cell's log, who must have signed it, and what it answers.
//!
//! Authority, checked at apply by every replica from the entry and the state alone:
//!
//! | command | signed by | re-checked at apply |
//! |---|---|---|
//! | `Tenant` | the tenant's current key | tenant, cell, op, bounds, bytes durable for a release |
//! | `Data` | the node that holds the instance's lease | line, writer, generation, lease not ended, bounds |
//! | `Renew` | the node that holds the lease | generation, lease not ended |
//! | `Repair` | the leader; carries evidence | verdict, certificate, grant, spread, home |
//! | `Support` | the member that announces | member, rules version |
//! | `Miss` | the voter that misses a member | voter, member, its last word; from rules 5 on |
//! | `Succeed` | the tenant's new key, and the one before or recovery keys | tenant, what is known of its keys; from rules 2 on |
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::genesis::{Candidate, Grant, Receipt};
use crate::{
    codec::Blob,
    id::{CellId, ContentHash, InstanceId, NodeId, OpId, ReplicaId, TenantId},
    identity::{Envelope, Envelopes, Lineage, Ruled, Signed, Statement},
    placement::Policy,
    record::RecordBody,
    refusal::Refusal,
    time::Timestamp,
};

/// One entry of a cell's log, as proposed by a leader.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// The leader's wall clock when it proposed; cell time is the highest stamp so far.
    #[n(0)]
    pub stamp: Timestamp,
    /// The line it was proposed on.
    #[n(1)]
    pub line: u64,
    /// The rules version it is to be applied by.
    #[n(2)]
    pub rules: u32,
    /// What to do.
    #[n(3)]
    pub command: Command,
}

/// A change of a cell's agreed state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// The tenant wants something.
    #[n(0)]
    Tenant {
        /// Signed before its bytes were placed.
        #[n(0)]
        signed: Signed<TenantCommand>,
        /// Of a release: where its bytes are durable, a majority of voters and one more site. Else empty.
        #[n(1)]
        receipts: Vec<Signed<Receipt>>,
    },
    /// An instance writes.
    #[n(1)]
    Data(#[n(0)] Signed<DataBatch>),
    /// A host keeps its lease.
    #[n(2)]
    Renew(#[n(0)] Signed<Renewal>),
    /// The cell mends itself.
    #[n(3)]
    Repair(#[n(0)] Box<Repair>),
    /// A member supports a newer rules version.
    #[n(4)]
    Support(#[n(0)] Signed<Support>),
    /// The tenant has another key: the one before is dead. From rules 2 on.
    #[n(5)]
    Succeed(#[n(0)] Box<Lineage>),
    /// A voter misses a member, or does so no more. From rules 5 on.
    #[n(6)]
    Miss(#[n(0)] Signed<Missed>),
}

/// What a tenant signs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TenantCommand {
    /// Whose.
    #[n(0)]
    pub tenant: TenantId,
    /// For which cell; `None` only for the release that founds one.
    #[n(1)]
    pub cell: Option<CellId>,
    /// Makes a retry harmless.
    #[n(2)]
    pub op: OpId,
    /// When it was signed; refused when more than a day from cell time.
    #[n(3)]
    pub issued: Timestamp,
    /// What.
    #[n(4)]
    pub action: TenantAction,
}

impl Statement for TenantCommand {
    const DOMAIN: &'static str = "bocage/v1/tenant-command";
}

/// What a tenant may want.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TenantAction {
    /// Deploy a new release.
    #[n(0)]
    Release(#[n(0)] Box<Release>),
    /// Make an earlier release current again, as a new number.
    #[n(1)]
    Rollback {
        /// The number to go back to.
        #[n(0)]
        to: u64,
    },
    /// Change how many instances run.
    #[n(2)]
    Scale {
        /// At least.
        #[n(0)]
        min: u32,
        /// At most.
        #[n(1)]
        max: u32,
    },
    /// Write keys, all or none.
    #[n(3)]
    Write(#[n(0)] Vec<Write>),
    /// Replace the app's secrets.
    #[n(4)]
    Secrets(#[n(0)] Secrets),
    /// End the app. State is kept for its grace period (7 days of cell time), then deleted.
    #[n(5)]
    Remove,
}

/// One immutable version of an app.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// The app's name: 1 to 63 characters of `a-z0-9-`, a DNS label.
    #[n(0)]
    pub app: String,
    /// What runs.
    #[n(1)]
    pub workload: Workload,
    /// Given to the instance (`wasi:config`). At most 64 KiB in all.
    #[n(2)]
    pub env: Vec<(String, String)>,
    /// What must stay true.
    #[n(3)]
    pub policy: Policy,
    /// Hosts beside `app.tenant.zone`. A domain is proven before it is routed.
    #[n(4)]
    pub domains: Vec<String>,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// A WASM component that exports `wasi:http/incoming-handler`.
    #[n(0)]
    Component {
        /// Its bytes.
        #[n(0)]
        hash: ContentHash,
        /// How many.
        #[n(1)]
        size_bytes: u64,
    },
    /// An OCI image. Not run by this version.
    #[n(1)]
    Container {
        /// Manifest digest.
        #[n(0)]
        image: String,
    },
    /// A static site. Not run by this version.
    #[n(2)]
    Site {
        /// Root of its file tree.
        #[n(0)]
        hash: ContentHash,
        /// How many bytes in all.
        #[n(1)]
        size_bytes: u64,
    },
}

/// The app's secrets under one data key, which is wrapped for each holder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Secrets {
    /// Rises with every new data key.
    #[n(0)]
    pub key_generation: u64,
    /// The data key sealed to a node's key.
    #[n(1)]
    pub wraps: Vec<(NodeId, Blob)>,
    /// The data key sealed to the tenant's own key.
    #[n(2)]
    pub own: Blob,
    /// Name → value under the data key. At most 64 KiB in all.
    #[n(3)]
    pub values: Vec<(String, Blob)>,
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Write {
    /// Put a value.
    #[n(0)]
    Set {
        /// The store's name, 1 to 64 bytes.
        #[n(0)]
        store: String,
        /// 1 to 1,024 bytes.
        #[n(1)]
        key: String,
        /// At most 1 MiB.
        #[n(2)]
        value: Blob,
    },
    /// Take a key away; harmless when it is not there.
    #[n(1)]
    Delete {
        /// The store's name.
        #[n(0)]
        store: String,
        /// The key.
        #[n(1)]
        key: String,
    },
    /// Put or take away only if the key's version is `expected`; else the whole batch changes nothing.
    #[n(2)]
    Swap {
        /// The store's name.
        #[n(0)]
        store: String,
        /// The key.
        #[n(1)]
        key: String,
        /// The version that was read; 0: the key is absent.
        #[n(2)]
        expected: u64,
        /// `None` takes it away.
        #[n(3)]
        value: Option<Blob>,
    },
    /// Add to a decimal integer; an absent key counts as 0.
    #[n(3)]
    Increment {
        /// The store's name.
        #[n(0)]
        store: String,
        /// The key.
        #[n(1)]
        key: String,
        /// May be negative; saturates.
        #[n(2)]
        delta: i64,
    },
}

/// Writes of one instance, signed by its node under its lease.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DataBatch {
    /// Which cell.
    #[n(0)]
    pub cell: CellId,
    /// On which line.
    #[n(1)]
    pub line: u64,
    /// Under which writer.
    #[n(2)]
    pub writer: u64,
    /// Which instance.
    #[n(3)]
    pub instance: InstanceId,
    /// Under which generation of its lease.
    #[n(4)]
    pub generation: u64,
    /// Makes a retry harmless.
    #[n(5)]
    pub op: OpId,
    /// All or none, at most 64.
    #[n(6)]
    pub writes: Vec<Write>,
}

impl Statement for DataBatch {
    const DOMAIN: &'static str = "bocage/v1/data-batch";
}

/// A host keeps its lease.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Renewal {
    /// Which instance.
    #[n(0)]
    pub instance: InstanceId,
    /// Under which generation.
    #[n(1)]
    pub generation: u64,
    /// On which line.
    #[n(2)]
    pub line: u64,
    /// What the host says of the instance.
    #[n(3)]
    pub state: InstanceState,
    /// Rises with each renewal of one lease.
    #[n(4)]
    pub serial: u64,
}

impl Statement for Renewal {
    const DOMAIN: &'static str = "bocage/v1/renewal";
}

/// What a host says of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It takes no requests: fetching or compiling, or about to be missed.
    #[n(0)]
    Starting,
    /// Serves.
    #[n(1)]
    Running,
    /// Cannot start, and why.
    #[n(2)]
    Failed(#[n(0)] String),
}

/// A member announces that it can apply by newer rules.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Support {
    /// In which cell.
    #[n(0)]
    pub cell: CellId,
    /// Which member.
    #[n(1)]
    pub replica: ReplicaId,
    /// Up to which version.
    #[n(2)]
    pub rules: u32,
}

impl Statement for Support {
    const DOMAIN: &'static str = "bocage/v1/support";
}

/// A voter's word on a member that it has had no link to for long.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Missed {
    /// In which cell.
    #[n(0)]
    pub cell: CellId,
    /// Who says so.
    #[n(1)]
    pub voter: ReplicaId,
    /// Of whom.
    #[n(2)]
    pub member: ReplicaId,
    /// It misses it; or it is linked to it again.
    #[n(3)]
    pub missed: bool,
    /// Later words of a voter go before earlier ones.
    #[n(4)]
    pub made: Timestamp,
}

impl Statement for Missed {
    const DOMAIN: &'static str = "bocage/v1/missed";
}

/// The cell mends itself. Each carries its evidence; a replica that finds it wanting skips it, all alike.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Repair {
    /// Add a learner that is to take over the vote of `replaces`.
    #[n(0)]
    AddLearner {
        /// Whose vote it shall take over; `None`: a new copy.
        #[n(0)]
        replaces: Option<ReplicaId>,
        /// Why.
        #[n(1)]
        evidence: Evidence,
        /// Who comes.
        #[n(2)]
        candidate: Candidate,
        /// The candidate's yes.
        #[n(3)]
        grant: Signed<Grant>,
    },
    /// Swap votes: the learner votes, the lost member leaves. One joint change.
    #[n(1)]
    Promote {
        /// The caught-up learner.
        #[n(0)]
        learner: ReplicaId,
        /// Who leaves.
        #[n(1)]
        leaves: Option<ReplicaId>,
    },
    /// Grant a lease to a host.
    #[n(2)]
    GrantLease {
        /// Who hosts.
        #[n(0)]
        candidate: Candidate,
        /// Its yes.
        #[n(1)]
        grant: Signed<Grant>,
        /// The lease of a draining node that the newcomer takes over: it does not count against the policy's bounds.
        /// From rules 3 on; passed over before.
        #[n(2)]
        relieves: Option<Relief>,
    },
    /// End a lease: its host was silent longer than the lease, or the release no longer wants it.
    #[n(3)]
    EndLease {
        /// Which instance.
        #[n(0)]
        instance: InstanceId,
        /// Under which generation.
        #[n(1)]
        generation: u64,
        /// Why.
        #[n(2)]
        evidence: Evidence,
    },
    /// Add a copy that stands away and never votes. From rules 4 on, like the next.
    #[n(4)]
    AddCopy {
        /// The copy under the same law whose place it takes; `None`: there is none.
        #[n(0)]
        replaces: Option<ReplicaId>,
        /// Why.
        #[n(1)]
        evidence: Evidence,
        /// Who comes.
        #[n(2)]
        candidate: Candidate,
        /// The candidate's yes, to the role of a learner.
        #[n(3)]
        grant: Signed<Grant>,
    },
    /// A copy away is no more.
    #[n(5)]
    EndCopy {
        /// Which.
        #[n(0)]
        replica: ReplicaId,
        /// Why.
        #[n(1)]
        evidence: Evidence,
    },
}

/// Why a cell mends itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Evidence {
    /// A quorum of its observers says that the node is down: records of their verdicts.
    #[n(0)]
    Down(#[n(0)] Vec<Signed<RecordBody>>),
    /// The lease was not renewed: cell time says so.
    #[n(1)]
    Silent,
    /// The policy wants more or fewer.
    #[n(2)]
    Policy,
    /// The member's disk was wiped or rolled back: it says so itself.
    #[n(3)]
    Wiped(#[n(0)] NodeId),
    /// The member's operator has revoked it for ever. From rules 2 on.
    #[n(4)]
    Revoked(#[n(0)] Box<Ruled>),
    /// The member's node says that it drains: its presence. From rules 3 on.
    #[n(5)]
    Drain(#[n(0)] Box<Signed<RecordBody>>),
    /// Most voters say in the log that they miss the member. From rules 5 on.
    #[n(6)]
    Missed,
}

/// Whom a newcomer relieves, and why it may.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Relief {
    /// Whose lease is to end once the newcomer serves.
    #[n(0)]
    pub instance: InstanceId,
    /// Its node's presence, which says that it drains.
    #[n(1)]
    pub presence: Signed<RecordBody>,
}

/// A question about a cell's state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Query {
    /// The value and version of a key.
    #[n(0)]
    Get {
        /// The store's name.
        #[n(0)]
        store: String,
        /// The key.
        #[n(1)]
        key: String,
    },
    /// Keys of a store in order.
    #[n(1)]
    List {
        /// The store's name.
        #[n(0)]
        store: String,
        /// Only keys that start with it.
        #[n(1)]
        prefix: String,
        /// Only keys after it.
        #[n(2)]
        after: Option<String>,
        /// At most so many; the cell gives at most 1,000.
        #[n(3)]
        limit: u32,
    },
    /// Who, where, what: see [`super::Description`].
    #[n(2)]
    Describe,
    /// All of it, for the tenant: makes a [`super::Capture`], kept for 30 s after it was last read. Only to a cell whose rules
    /// say that its replicas know it: [`super::state::RULES_OF_CAPTURES`].
    #[n(3)]
    Capture,
    /// A piece of a capture's encoding.
    #[n(4)]
    Piece {
        /// Its hash.
        #[n(0)]
        content: ContentHash,
        /// From which byte on.
        #[n(1)]
        offset: u64,
    },
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// Of `Get`; `None` when the key is absent.
    #[n(0)]
    Value(#[n(0)] Option<Versioned>),
    /// Of `List`.
    #[n(1)]
    Keys {
        /// In order.
        #[n(0)]
        keys: Vec<String>,
        /// More follow after the last one.
        #[n(1)]
        more: bool,
    },
    /// Of `Describe`.
    #[n(2)]
    Description(#[n(0)] Box<super::Description>),
    /// Of `Capture`: the hash of its encoding, and how many bytes it has. `None`: another was made within the last second.
    #[n(3)]
    Captured(#[n(0)] Option<(ContentHash, u64)>),
    /// Of `Piece`: at most 512 KiB, and none at its end. `None`: it is not held here any more.
    #[n(4)]
    Piece(#[n(0)] Option<Blob>),
}

/// A value with the version that compare-and-swap names: the index of the entry that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Versioned {
    /// The bytes.
    #[n(0)]
    pub value: Blob,
    /// Never 0.
    #[n(1)]
    pub version: u64,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Barrier {
    /// As of now: one ReadIndex.
    #[n(0)]
    Linear,
    /// Whatever the asked replica has, if it has applied this index: for later reads of one guest request.
    #[n(1)]
    AtLeast(#[n(0)] u64),
}

/// What a command did, remembered for its session: a retry gets the same.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// A release (or rollback) became current under this number.
    #[n(0)]
    Released(#[n(0)] u64),
    /// The writes were made. For each `Increment` in order its new value.
    #[n(1)]
    Written {
        /// Their version.
        #[n(0)]
        version: u64,
        /// New values of increments.
        #[n(1)]
        counters: Vec<i64>,
    },
    /// A `Swap` found another version; nothing changed.
    #[n(2)]
    Conflict {
        /// What is there now; 0: absent.
        #[n(0)]
        version: u64,
    },
    /// Done; there is nothing to say.
    #[n(3)]
    Done,
    /// Not done, all replicas alike.
    #[n(4)]
    Refused(#[n(0)] Refusal),
}

impl Write {
    /// The store that it names.
    #[must_use]
    pub fn store(&self) -> &str {
        match self {
            Self::Set { store, .. }
            | Self::Delete { store, .. }
            | Self::Swap { store, .. }
            | Self::Increment { store, .. } => store,
        }
    }
}

impl Query {
    /// The store that it names, if it asks for keys.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        match self {
            Self::Get { store, .. } | Self::List { store, .. } => Some(store),
            Self::Describe | Self::Capture | Self::Piece { .. } => None,
        }
    }
}

impl Envelopes for Command {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        match self {
            Self::Tenant { signed, receipts } => {
                into.push(signed.envelope());
                into.extend(receipts.iter().map(Signed::envelope));
            }
            Self::Data(signed) => into.push(signed.envelope()),
            Self::Renew(signed) => into.push(signed.envelope()),
            Self::Support(signed) => into.push(signed.envelope()),
            Self::Miss(signed) => into.push(signed.envelope()),
            Self::Succeed(lineage) => lineage.envelopes(into),
            Self::Repair(repair) => match &**repair {
                Repair::AddLearner { evidence, candidate, grant, .. }
                | Repair::AddCopy { evidence, candidate, grant, .. } => {
                    evidence.envelopes(into);
                    candidate.envelopes(into);
                    into.push(grant.envelope());
                }
                Repair::GrantLease { candidate, grant, relieves } => {
                    candidate.envelopes(into);
                    into.push(grant.envelope());
                    into.extend(relieves.iter().map(|relief| relief.presence.envelope()));
                }
                Repair::EndLease { evidence, .. } | Repair::EndCopy { evidence, .. } => evidence.envelopes(into),
                Repair::Promote { .. } => {}
            },
        }
    }
}

impl Envelopes for Evidence {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        match self {
            Self::Down(verdicts) => into.extend(verdicts.iter().map(Signed::envelope)),
            Self::Revoked(ruled) => ruled.envelopes(into),
            Self::Drain(presence) => into.push(presence.envelope()),
            Self::Silent | Self::Policy | Self::Wiped(_) | Self::Missed => {}
        }
    }
}
