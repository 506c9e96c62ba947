//! What placement is asked, and what it answers.
use std::collections::BTreeSet;

use super::{Grade, Policy, Reason, VoterPlace};
use crate::{
    cell::{Candidate, Role},
    id::{NodeId, ReplicaId},
    membership::Address,
    resources::{Currency, Jurisdiction},
    time::Timestamp,
};

/// A plan's list of nodes that were left out is cut at so many.
pub const REJECTED_MAX: usize = 256;

/// One plan places at most so many instances.
pub const INSTANCES_MAX: u32 = 256;

/// Why somebody was placed there fits in so many bytes.
pub const WHY_BYTES_MAX: usize = 256;

/// What to plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What must stay true.
    pub policy: Policy,
    /// What the app has already. Not looked at by [`Want::All`].
    pub current: Vec<Current>,
    /// What is missing.
    pub want: Want,
    /// Nodes that said no, or shall not be asked.
    pub exclude: BTreeSet<NodeId>,
    /// Nodes that are not in the inventory because of the charter's cap on dominance: only to be told.
    pub withheld: BTreeSet<NodeId>,
    /// Offers and certificates that end by then do not count.
    pub at: Timestamp,
    /// Orders nodes that are equally good, so that apps placed at one time by one inventory do not all land on the same.
    /// Any number that differs between apps.
    pub salt: u64,
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// All of a new app: its voters and first instances.
    All,
    /// One more replica.
    Replica {
        /// Whose vote it shall take over. Its operator and site count as free again.
        replaces: Option<ReplicaId>,
    },
    /// One more instance.
    Instance,
    /// An instance beside a copy that stands away.
    InstanceOn(NodeId),
    /// A copy that stands away.
    Copy {
        /// Under which law.
        law: Jurisdiction,
        /// The copy there whose place it takes.
        replaces: Option<ReplicaId>,
    },
}

/// A replica or instance that the app has already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// A vote, a copy, or an instance.
    pub role: Role,
    /// The replica id or the instance's number.
    pub number: u64,
    /// On which node.
    pub node: NodeId,
    /// Whose it is and where it stands.
    pub standing: VoterPlace,
    /// As granted, in micro-units of the minor unit an hour. 0 where it is not known: then only what is placed now
    /// counts towards `max_price`.
    pub price_per_hour: u64,
}

/// The complete answer of placement: whom to ask. Nothing is left to decide; each of them may still say no.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Replicas to place now. Best first.
    pub voters: Vec<Placed>,
    /// Instances to place now. Best first.
    pub instances: Vec<Placed>,
    /// What the voters survive once this is done.
    pub grade: Grade,
    /// Of all of the app once this is done, in micro-units of the minor unit an hour.
    pub price_per_hour: u64,
    /// In which currency; `None` when nothing is placed.
    pub currency: Option<Currency>,
    /// Nodes that were left out, by id, and why. At most [`REJECTED_MAX`], those that cannot serve before those that
    /// were merely not needed.
    pub rejected: Vec<(NodeId, Reason)>,
}

/// A node that is to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// What goes into the genesis or repair.
    pub candidate: Candidate,
    /// Who.
    pub node: NodeId,
    /// Where it can be reached, best first.
    pub addresses: Vec<Address>,
    /// Whose it is and where it stands.
    pub standing: VoterPlace,
    /// What the operator is called.
    pub operator_name: String,
    /// What it asks for this role, in micro-units of the minor unit an hour.
    pub price_per_hour: u64,
    /// Why there, in people's words. At most [`WHY_BYTES_MAX`].
    pub why: String,
}
