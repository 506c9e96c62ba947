//! What an observer says of the node that it watches.
use minicbor::{Decode, Encode};

use crate::{
    codec,
    id::NodeId,
    identity::NodeCertificate,
    record::{Known, RecordBody, Subject},
    resources::Jurisdiction,
};

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

impl Verdict {
    /// The subject of the record: each observer has one verdict on each node.
    #[must_use]
    pub fn subject(about: NodeId, observer: NodeId) -> Subject {
        let mut both = [0; 64];
        both[..32].copy_from_slice(&about.0);
        both[32..].copy_from_slice(&observer.0);
        Subject::of(&both)
    }

    /// Reads the content of a record of kind `VERDICT`.
    pub(super) fn read(known: &Known) -> Option<Self> {
        codec::decode("verdict", &known.body.content).ok()
    }

    /// The rule of the kind: an observer speaks for itself, never about itself, and says in the record's order which
    /// incarnation it means.
    pub(super) fn rule(body: &RecordBody, by: &NodeCertificate) -> Result<(), &'static str> {
        let Ok(this) = codec::decode::<Self>("verdict", &body.content) else { return Err("it is not a verdict") };
        let state_fits = match this.state {
            Liveness::Alive | Liveness::Down => true,
            Liveness::UnreachableFrom(jurisdiction) => jurisdiction == by.jurisdiction,
        };
        match () {
            () if this.observer != by.node => Err("its observer is not its signer"),
            () if this.about == this.observer => Err("nobody judges itself"),
            () if body.subject != Self::subject(this.about, this.observer) => Err("its subject is not this verdict's"),
            () if body.order.generation != this.incarnation => Err("its order is not of the incarnation it judges"),
            () if !state_fits => Err("it speaks for another jurisdiction"),
            () => Ok(()),
        }
    }
}
