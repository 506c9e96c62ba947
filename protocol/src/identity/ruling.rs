//! What an operator rules about one of its nodes: which of its certificates are void, and which of its contradictions are
//! explained. It carries the operator's lineage, so that whoever reads it needs nothing else.
use minicbor::{Decode, Encode};

use super::{Envelope, Envelopes, Lineage, LineageError, Party, Signed, Statement};
use crate::{
    id::{NodeId, OperatorId, PartyId},
    time::Timestamp,
};

/// Every certificate of the node is void, those to come included: its key is lost to others.
pub const FOR_EVER: u64 = u64::MAX;

/// Signed by the operator's current key. One that was made later replaces those before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ruling {
    /// Whose.
    #[n(0)]
    pub operator: OperatorId,
    /// About which node.
    #[n(1)]
    pub node: NodeId,
    /// Certificates of a lower serial are void. 0: none is.
    #[n(2)]
    pub below: u64,
    /// Contradictions in records of this version or a lower one are explained, and bar the node no more. 0: none is.
    #[n(3)]
    pub resolved: u64,
    /// When: orders rulings about one node.
    #[n(4)]
    pub made: Timestamp,
}

impl Statement for Ruling {
    const DOMAIN: &'static str = "bocage/v1/ruling";
}

/// A ruling and who its operator is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ruled {
    /// The operator's keys.
    #[n(0)]
    pub lineage: Lineage,
    /// By the last of them.
    #[n(1)]
    pub signed: Signed<Ruling>,
}

/// Why a ruling does not count. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RulingError {
    /// Its lineage does not count.
    #[error("the lineage of its operator: {0}")]
    Lineage(#[from] LineageError),
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable,
    /// The lineage is not its operator's, or its key did not sign.
    #[error("it is not signed by its operator's key")]
    NotByOperator,
}

impl Ruled {
    /// What it says and who its operator is, checked but for the signatures.
    ///
    /// # Errors
    /// When it does not count.
    pub fn accept(&self) -> Result<(Ruling, super::Descent), RulingError> {
        let ruling = self.signed.open().map_err(|_| RulingError::Unreadable)?;
        let descent = self.lineage.descent()?;
        let its_own = self.lineage.genesis.party == Party::Operator && descent.party == PartyId::from(ruling.operator);
        if !its_own || self.signed.key() != descent.key() {
            return Err(RulingError::NotByOperator);
        }
        Ok((ruling, descent))
    }
}

impl Envelopes for Ruled {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        self.lineage.envelopes(into);
        into.push(self.signed.envelope());
    }
}
