//! What a sponsor asks of a jurisdiction, and what it is told.
use minicbor::{Decode, Encode};

use crate::{
    cell::Candidate,
    id::NodeId,
    membership::Address,
    resources::{Jurisdiction, Resources},
};

/// So many nodes are named that the cap on dominance left out; more stay unnamed, and are left out all the same.
pub const WITHHELD_MAX: usize = 32;

/// Which candidates are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ask {
    /// In which jurisdiction.
    #[n(0)]
    pub jurisdiction: Jurisdiction,
    /// With at least so much free.
    #[n(1)]
    pub need: Resources,
    /// At most so many, of distinct operators where possible.
    #[n(2)]
    pub count: u32,
}

/// Who is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    /// Candidates and where they are reached, best first. At most [`super::ANSWER_MAX`].
    pub candidates: Vec<(Candidate, Vec<Address>)>,
    /// Nodes that have room, of operators that would hold more than the charter lets one hold. Told for people's sake: it
    /// changes no plan. At most [`WITHHELD_MAX`].
    pub withheld: Vec<NodeId>,
}
