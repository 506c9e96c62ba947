//! The replicated set of signed statements that gossip spreads. It knows a kind by its tag, scope and order only: each
//! part owns the content of its own records (offers in `capacity`, verdicts in `membership`, bindings in `route`).
mod authority;
mod digest;
mod keyword;
mod keyring;
mod set;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod keyring_tests;

pub use authority::{ContentRule, Refused, lifetime_max};
pub use digest::{BUCKETS, Header, Settled, Standing};
pub use keyring::{CONTRADICTIONS_MAX, Keyring, LINEAGES_MAX, Learned, RULINGS_MAX};
pub use keyword::{Contradiction, KeyWord};
pub use set::{
    BYTES_PER_JURISDICTION_MAX, BYTES_PER_SIGNER_MAX, CERTIFICATES_MAX, Certified, Inserted, Key, OUTSIDERS_MAX,
    RECORDS_PER_JURISDICTION_MAX, RECORDS_PER_OPERATOR_MAX, RECORDS_PER_SIGNER_MAX, RecordSet, Tier,
};

use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::{
    codec::{self, Blob},
    id::ordered_by_bytes,
    identity::{Envelope, Envelopes, NodeCertificate, PublicKey, Signed, Statement},
    resources::Jurisdiction,
    time::Timestamp,
};

/// What a record is about. New kinds get new numbers; a reader keeps and spreads kinds it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Kind(#[n(0)] pub u16);

impl Kind {
    /// A node is here: addresses, incarnation, disk. Content: `membership::Presence`. Always carries its certificate.
    pub const PRESENCE: Self = Self(1);
    /// An observer's verdict. Content: `membership::Verdict`.
    pub const VERDICT: Self = Self(2);
    /// What a node offers. Content: `capacity::Offer`.
    pub const OFFER: Self = Self(3);
    /// What a district offers in sum, and its gates. Content: `capacity::Summary`.
    pub const SUMMARY: Self = Self(4);
    /// Which cell answers for a host. Content: `route::Binding`.
    pub const BINDING: Self = Self(5);
    /// A motion about an operator, with the ballots known. Content: `charter::Papers`.
    pub const OPERATOR: Self = Self(6);
    /// The founding of the mesh, or a motion about the charter. Content: `charter::Papers`.
    pub const CHARTER: Self = Self(7);
    /// A party has changed its key. Content: [`KeyWord`], as of the next two. Published by whoever holds it.
    pub const LINEAGE: Self = Self(16);
    /// An operator has revoked a node, or explained what it said.
    pub const RULING: Self = Self(17);
    /// A node has contradicted itself.
    pub const CONTRADICTION: Self = Self(18);

    /// Whether its content carries statements that others signed, whoever brings it: a structure whose field 0 is a list
    /// of envelopes. Their signatures are checked on arrival, like the record's own.
    #[must_use]
    pub const fn carries_statements(self) -> bool {
        matches!(self, Self::OPERATOR | Self::CHARTER)
    }
}

/// How far a record spreads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Scope {
    /// To every node.
    #[n(0)]
    Mesh,
    /// To the nodes of one jurisdiction.
    #[n(1)]
    Jurisdiction(#[n(0)] Jurisdiction),
    /// Only to those who asked for this subject.
    #[n(2)]
    Subscribers,
}

/// Whom a record is about: a node, an operator, a host's hash, a district's hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Subject(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);
ordered_by_bytes!(Subject);

/// Which of two records of one kind and subject is newer. Compared field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Order {
    /// See `cell::Entry::line`; 0 where there is no cell.
    #[n(0)]
    pub line: u64,
    /// The subject's own generation or incarnation; 0 where there is none.
    #[n(1)]
    pub generation: u64,
    /// At least the signer's wall milliseconds; refused when more than 60 s ahead of the reader's.
    #[n(2)]
    pub version: u64,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RecordBody {
    /// What it is about.
    #[n(0)]
    pub kind: Kind,
    /// How far it spreads.
    #[n(1)]
    pub scope: Scope,
    /// Whom it is about.
    #[n(2)]
    pub subject: Subject,
    /// Newer or older.
    #[n(3)]
    pub order: Order,
    /// Void from then on.
    #[n(4)]
    pub expires: Timestamp,
    /// At most [`CONTENT_BYTES_MAX`]; its owner decodes it.
    #[n(5)]
    pub content: Blob,
}

impl Statement for RecordBody {
    const DOMAIN: &'static str = "bocage/v1/record";
}

/// A record's content has at most so many bytes.
pub const CONTENT_BYTES_MAX: usize = 16 << 10;

/// A word about keys has at most so many: a contradiction holds two records.
pub const WORD_BYTES_MAX: usize = 40 << 10;

/// A record as it travels: signed by a node, with that node's certificate where the reader may not know it (presences,
/// and all of mesh scope).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// The statement.
    #[n(0)]
    pub signed: Signed<RecordBody>,
    /// Of the signer.
    #[n(1)]
    pub certificate: Option<Signed<NodeCertificate>>,
}

/// A record that was read once and is shared by reference afterwards.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// As it travels.
    pub record: Record,
    /// Read from it.
    pub body: RecordBody,
    /// Hash of the signed bytes: names this very statement.
    pub hash: [u8; 32],
    /// Read from the content, where that is a word about keys.
    pub word: Option<Box<KeyWord>>,
    /// What others signed, inside its content: see [`Kind::carries_statements`].
    statements: Vec<Envelope>,
}

/// The part of a content that carries statements which every reader can read.
#[derive(Decode)]
struct Carried {
    #[n(0)]
    statements: Vec<Envelope>,
}

/// A shared record.
pub type Shared = Arc<Known>;

impl Known {
    /// Reads a record.
    #[must_use]
    pub fn read(record: Record) -> Option<Self> {
        let body = record.signed.open().ok()?;
        Some(Self::of(record, body))
    }

    /// A record and what was read from it.
    #[must_use]
    pub fn of(record: Record, body: RecordBody) -> Self {
        let hash = record.signed.hash();
        let word = KeyWord::read(&body).ok().flatten().map(Box::new);
        // What cannot be read has no statements, and its owner's content rule refuses it.
        let carried =
            body.kind.carries_statements().then(|| codec::decode::<Carried>("statements", &body.content).ok());
        let statements = carried.flatten().map(|carried| carried.statements).unwrap_or_default();
        Self { record, body, hash, word, statements }
    }

    /// Who signed.
    #[must_use]
    pub fn signer(&self) -> PublicKey {
        self.record.signed.key()
    }
}

impl Subject {
    /// The subject named by some bytes, for example a host name.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", crate::id::ContentHash(self.0))
    }
}

impl Envelopes for Known {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        self.record.envelopes(into);
        into.extend(&self.statements);
        self.word.iter().for_each(|word| word.envelopes(into));
    }
}

impl Envelopes for Record {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        into.push(self.signed.envelope());
        into.extend(self.certificate.iter().map(Signed::envelope));
    }
}
