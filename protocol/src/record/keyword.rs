//! Words about keys: what a party, an operator or a liar has signed and what proves itself, so that any node may carry it,
//! and whoever holds it publishes it again before it expires. A year's absence misses none.
use minicbor::{Decode, Encode};

use super::{Kind, Order, RecordBody, Scope, Subject};
use crate::{
    codec,
    id::NodeId,
    identity::{Envelope, Envelopes, Lineage, Ruled, Signed},
};

/// A word about keys. The content of a record of kind `LINEAGE`, `RULING` or `CONTRADICTION`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeyWord {
    /// A party has changed its key.
    #[n(0)]
    Lineage(#[n(0)] Lineage),
    /// An operator has revoked a node, or explained what it said.
    #[n(1)]
    Ruling(#[n(0)] Ruled),
    /// A node has contradicted itself.
    #[n(2)]
    Contradiction(#[n(0)] Contradiction),
}

/// Two records of one node, of one kind, scope, subject and order, that say different things. Nobody honest signs both.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Contradiction {
    /// One.
    #[n(0)]
    pub one: Signed<RecordBody>,
    /// The other.
    #[n(1)]
    pub other: Signed<RecordBody>,
}

impl Contradiction {
    /// Of two records; always the same way round.
    #[must_use]
    pub fn of(one: &Signed<RecordBody>, other: &Signed<RecordBody>) -> Self {
        let (one, other) = if one.hash() <= other.hash() { (one, other) } else { (other, one) };
        Self { one: one.clone(), other: other.clone() }
    }

    /// Who contradicted himself, and in which version; `None` if the two contradict nothing. Signatures are checked on
    /// the way in.
    #[must_use]
    pub fn accept(&self) -> Option<(NodeId, u64)> {
        let (one, other) = (self.one.open().ok()?, self.other.open().ok()?);
        let slot = |body: &RecordBody| (body.kind, body.scope, body.subject, body.order);
        let contradicts =
            slot(&one) == slot(&other) && self.one.key() == self.other.key() && self.one.hash() < self.other.hash();
        contradicts.then_some((NodeId(self.one.key().0), one.order.version))
    }
}

impl KeyWord {
    /// Reads a record's content, if it is a word about keys. `Err`: it should be and is not.
    pub(super) fn read(body: &RecordBody) -> Result<Option<Self>, ()> {
        if !matches!(body.kind, Kind::LINEAGE | Kind::RULING | Kind::CONTRADICTION) {
            return Ok(None);
        }
        let word: Self = codec::decode("word on keys", &body.content).map_err(|_| ())?;
        if word.kind() == body.kind { Ok(Some(word)) } else { Err(()) }
    }

    /// The kind of its record.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Lineage(_) => Kind::LINEAGE,
            Self::Ruling(_) => Kind::RULING,
            Self::Contradiction(_) => Kind::CONTRADICTION,
        }
    }

    /// What its record is about, and the line and generation of its order: of two records about one subject the higher
    /// order is the one that counts for the keyring too. `None` if it does not count at all.
    #[must_use]
    pub fn slot(&self) -> Option<(Subject, u64, u64)> {
        match self {
            Self::Lineage(lineage) => {
                let descent = lineage.descent().ok()?;
                let (line, generation) = descent.rank();
                Some((Subject(descent.party.0), line, generation))
            }
            Self::Ruling(ruled) => {
                let (ruling, descent) = ruled.accept().ok()?;
                let mut both = ruling.operator.0.to_vec();
                both.extend(ruling.node.0);
                // A ruling by a later key comes before any by an earlier one.
                let (recoveries, serial) = descent.rank();
                Some((Subject::of(&both), recoveries | serial, ruling.made.0))
            }
            Self::Contradiction(proof) => {
                let (node, version) = proof.accept()?;
                Some((Subject(node.0), 0, version))
            }
        }
    }

    /// Whether a record's head is the one that this word asks for.
    pub(super) fn fits(&self, body: &RecordBody) -> bool {
        let Order { line, generation, .. } = body.order;
        body.scope == Scope::Mesh && self.slot() == Some((body.subject, line, generation))
    }

    /// Names it in the store: `keys/`, its kind and subject.
    #[must_use]
    pub fn stored_as(&self) -> Option<codec::Blob> {
        let (subject, ..) = self.slot()?;
        let mut key = super::keyring::STORED.as_bytes().to_vec();
        key.extend(self.kind().0.to_be_bytes());
        key.extend(subject.0);
        Some(key.into())
    }
}

impl Envelopes for KeyWord {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        match self {
            Self::Lineage(lineage) => lineage.envelopes(into),
            Self::Ruling(ruled) => ruled.envelopes(into),
            Self::Contradiction(proof) => {
                into.push(proof.one.envelope());
                into.push(proof.other.envelope());
            }
        }
    }
}
