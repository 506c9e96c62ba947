//! What a cell says of itself: the small head of its state, for routes, leases, status pages and the CLI.
use std::time::Duration;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::command::{InstanceState, Secrets, Workload};
use crate::{
    codec,
    id::{CellId, InstanceId, NodeId, OperatorId, ReplicaId, TenantId},
    identity::PublicKey,
    placement::{Grade, Policy},
    resources::{Jurisdiction, Site},
    time::Timestamp,
};

/// The head of a cell's state at one applied index.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Description {
    /// Which cell.
    #[n(0)]
    pub cell: CellId,
    /// Whose.
    #[n(1)]
    pub tenant: TenantId,
    /// The app's name.
    #[n(2)]
    pub app: String,
    /// See [`super::Entry::line`].
    #[n(3)]
    pub line: u64,
    /// The counter that fences all instances at once.
    #[n(4)]
    pub writer: u64,
    /// The rules in force.
    #[n(5)]
    pub rules: u32,
    /// What the voters survive.
    #[n(6)]
    pub grade: Grade,
    /// Voters and learners, by replica id.
    #[n(7)]
    pub members: Vec<Member>,
    /// Retained releases, by number.
    #[n(8)]
    pub releases: Vec<ReleaseInfo>,
    /// The number of the current one.
    #[n(9)]
    pub current: u64,
    /// Leases not ended, by instance number.
    #[n(10)]
    pub leases: Vec<LeaseInfo>,
    /// What must stay true.
    #[n(11)]
    pub policy: Policy,
    /// The last applied index.
    #[n(12)]
    pub applied: u64,
    /// The highest stamp applied.
    #[n(13)]
    pub time: Timestamp,
    /// Environment of the current release.
    #[n(14)]
    pub env: Vec<(String, String)>,
    /// Hosts beside the self-certifying name.
    #[n(15)]
    pub domains: Vec<String>,
    /// Secrets, wrapped.
    #[n(16)]
    pub secrets: Secrets,
    /// The tenant ended the app then.
    #[n(17)]
    pub removed: Option<Timestamp>,
    /// Who leads, as the answering replica believes. Not agreed state.
    #[n(18)]
    pub leader: Option<NodeId>,
    /// How far each member's log is known to match. Known to the leader only; not agreed state.
    #[n(19)]
    pub progress: Vec<(ReplicaId, u64)>,
}

/// A member of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Its id.
    #[n(0)]
    pub replica: ReplicaId,
    /// On which node.
    #[n(1)]
    pub node: NodeId,
    /// Of whom.
    #[n(2)]
    pub operator: OperatorId,
    /// What the operator is called.
    #[n(3)]
    pub operator_name: String,
    /// Where.
    #[n(4)]
    pub site: Site,
    /// Under which law.
    #[n(5)]
    pub jurisdiction: Jurisdiction,
    /// Votes, or learns.
    #[n(6)]
    pub votes: bool,
    /// Why it was placed there.
    #[n(7)]
    pub why: String,
    /// What secrets are sealed to for its node.
    #[n(8)]
    pub sealing: PublicKey,
}

/// A retained release.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct ReleaseInfo {
    /// From 1 up.
    #[n(0)]
    pub number: u64,
    /// What runs.
    #[n(1)]
    pub workload: Workload,
    /// Cell time when it became current first.
    #[n(2)]
    pub deployed: Timestamp,
    /// The number that a rollback made current again.
    #[n(3)]
    pub rolled_back_to: Option<u64>,
}

/// The right of a node to run one instance.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeaseInfo {
    /// Which instance.
    #[n(0)]
    pub instance: InstanceId,
    /// On which node.
    #[n(1)]
    pub node: NodeId,
    /// Of whom.
    #[n(2)]
    pub operator: OperatorId,
    /// What the operator is called.
    #[n(3)]
    pub operator_name: String,
    /// Where.
    #[n(4)]
    pub site: Site,
    /// Under which law.
    #[n(5)]
    pub jurisdiction: Jurisdiction,
    /// Fences a stale holder.
    #[n(6)]
    pub generation: u64,
    /// Valid so long after each renewal, on the holder's own clock from the moment it asked.
    #[cbor(n(7), with = "codec::duration_ms")]
    pub duration: Duration,
    /// Cell time of the last renewal.
    #[n(8)]
    pub renewed: Timestamp,
    /// What its host says.
    #[n(9)]
    pub state: InstanceState,
    /// Why it was placed there.
    #[n(10)]
    pub why: String,
    /// What secrets are sealed to for its node.
    #[n(11)]
    pub sealing: PublicKey,
}

impl Description {
    /// The nodes that vote.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().filter(|member| member.votes).map(|member| member.node)
    }

    /// The current release.
    #[must_use]
    pub fn release(&self) -> Option<&ReleaseInfo> {
        self.releases.iter().find(|release| release.number == self.current)
    }
}
