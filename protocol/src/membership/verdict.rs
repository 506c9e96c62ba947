//! What an observer says of the node that it watches.
use minicbor::{Decode, Encode};

use crate::{id::NodeId, resources::Jurisdiction};

/// The content of a record that the observer signs. A quorum of observers of distinct operators starts repair, no more.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Verdict {
    /// Whom it is about.
    #[n(0)]
    pub about: NodeId,
    /// Which of its incarnations: a node refutes a verdict by raising its own.
    #[n(1)]
    pub incarnation: u64,
    /// What the observer sees.
    #[n(2)]
    pub state: Liveness,
    /// Who says so.
    #[n(3)]
    pub observer: NodeId,
}

/// What an observer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Liveness {
    /// It answers.
    #[n(0)]
    Alive,
    /// It does not answer its observers inside its own district.
    #[n(1)]
    Down,
    /// It does not answer from this jurisdiction; a cut looks the same.
    #[n(2)]
    UnreachableFrom(#[n(0)] Jurisdiction),
}
