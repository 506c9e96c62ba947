//! Who may say what: the rules that a record must keep whatever its content says. Pure, so that every node refuses alike.
use std::time::Duration;

use super::{CONTENT_BYTES_MAX, Kind, Known, RecordBody, Scope, WORD_BYTES_MAX};
use crate::{
    id::NodeId,
    identity::{CertificateError, NodeCertificate},
    time::{Timestamp, millis},
};

/// A record that claims to be newer than this reader's clock by more is refused: a signer with a wild clock would
/// otherwise outrank everything that it says later.
pub(super) const AHEAD_MAX: Duration = Duration::from_mins(1);

/// What the owner of a kind demands of its content before the set takes it in, for what must not outrank an honest
/// record: `Err` says what is wrong.
pub type ContentRule = fn(&RecordBody, &NodeCertificate) -> Result<(), &'static str>;

/// Why a record is not taken in. Nothing changed; its sender may be faulty.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No certificate came with it and none is known.
    #[error("signed by a node whose certificate is not known here")]
    UnknownSigner,
    /// The certificate is another node's.
    #[error("the certificate that came with it is another node's")]
    OtherCertificate,
    /// The certificate does not count.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Presences and all of mesh scope must show their signer's certificate: readers far away do not know it.
    #[error("it must carry its signer's certificate")]
    CertificateMissing,
    /// The signer may not speak about this subject.
    #[error("its signer may not speak about this subject")]
    Subject,
    /// The kind does not spread so far, or the signer may not speak there.
    #[error("its scope is not one that its signer may use for this kind")]
    Scope,
    /// The signer's operator is no member of the mesh, and says more than that it asks to be one.
    #[error("its signer's operator is not admitted to this mesh: {0}")]
    Outsider(&'static str),
    /// [`super::OUTSIDERS_MAX`] records of operators that are not admitted are here already.
    #[error("too many operators ask to be admitted already")]
    OutsidersFull,
    /// Of a jurisdiction or subject that is no concern of this node.
    #[error("it is not meant for this node")]
    NotForHere,
    /// Its version is ahead of this node's clock by more than 60 s: one of the two clocks is wrong.
    #[error("its version is more than 60 s ahead of this node's clock")]
    Ahead,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// It claims to live longer than its kind may.
    #[error("it would live longer than its kind may")]
    Lifetime,
    /// More than [`CONTENT_BYTES_MAX`], or [`WORD_BYTES_MAX`].
    #[error("its content is longer than {CONTENT_BYTES_MAX} bytes, or {WORD_BYTES_MAX} of a word about keys")]
    TooLong,
    /// The owner of its kind does not accept the content.
    #[error("its content is not acceptable: {0}")]
    Content(&'static str),
    /// The signer has [`super::RECORDS_PER_SIGNER_MAX`] records or [`super::BYTES_PER_SIGNER_MAX`] here already.
    #[error("its signer has too many records here already")]
    SignerFull,
    /// The operator has [`super::RECORDS_PER_OPERATOR_MAX`] records here already.
    #[error("its signer's operator has too many records here already")]
    OperatorFull,
    /// The jurisdiction has [`super::RECORDS_PER_JURISDICTION_MAX`] records or [`super::BYTES_PER_JURISDICTION_MAX`] here
    /// already.
    #[error("its signer's jurisdiction has too many records here already")]
    JurisdictionFull,
    /// [`super::CERTIFICATES_MAX`] signers are known already.
    #[error("too many signers are known here already")]
    SignersFull,
}

/// How long a record of a kind may live: what is renewed often dies soon; bindings outlive a long cut.
#[must_use]
pub const fn lifetime_max(kind: Kind) -> Duration {
    match kind {
        Kind::BINDING | Kind::LINEAGE | Kind::RULING | Kind::CONTRADICTION => Duration::from_hours(24),
        _ => Duration::from_hours(1),
    }
}

const fn content_bytes_max(kind: Kind) -> usize {
    match kind {
        Kind::LINEAGE | Kind::RULING | Kind::CONTRADICTION => WORD_BYTES_MAX,
        _ => CONTENT_BYTES_MAX,
    }
}

/// Checks all that depends on the record and its signer's certificate alone.
pub(super) fn check(known: &Known, signer: NodeId, by: &NodeCertificate, wall: Timestamp) -> Result<(), Refused> {
    let body = &known.body;
    if body.content.len() > content_bytes_max(body.kind) {
        return Err(Refused::TooLong);
    }
    if body.expires <= wall {
        return Err(Refused::Expired);
    }
    if body.order.version > (wall + AHEAD_MAX).0 {
        return Err(Refused::Ahead);
    }
    if millis(body.expires.since(wall)) > millis(lifetime_max(body.kind) + AHEAD_MAX) {
        return Err(Refused::Lifetime);
    }
    let needs_certificate = body.kind == Kind::PRESENCE || body.scope == Scope::Mesh;
    if needs_certificate && known.record.certificate.is_none() {
        return Err(Refused::CertificateMissing);
    }
    let own_law = body.scope == Scope::Jurisdiction(by.jurisdiction);
    let about_itself = body.subject.0 == signer.0;
    match body.kind {
        Kind::PRESENCE | Kind::OFFER if !about_itself => Err(Refused::Subject),
        Kind::PRESENCE | Kind::OFFER if !own_law => Err(Refused::Scope),
        // The subject's relation to its signer is checked by the content rule of `membership`, which can read it.
        Kind::VERDICT if !matches!(body.scope, Scope::Jurisdiction(_)) => Err(Refused::Scope),
        Kind::SUMMARY | Kind::BINDING | Kind::OPERATOR | Kind::CHARTER if body.scope != Scope::Mesh => {
            Err(Refused::Scope)
        }
        Kind::PRESENCE
        | Kind::OFFER
        | Kind::VERDICT
        | Kind::SUMMARY
        | Kind::BINDING
        | Kind::OPERATOR
        | Kind::CHARTER => Ok(()),
        // Anybody may carry a word that proves itself; what it proves is weighed by the keyring.
        Kind::LINEAGE | Kind::RULING | Kind::CONTRADICTION => match &known.word {
            Some(word) if word.fits(body) => Ok(()),
            Some(_) | None => Err(Refused::Content("it is not the word about keys that its head promises")),
        },
        // A kind of a later version: kept and spread, where its signer lives or to all.
        _ if matches!(body.scope, Scope::Jurisdiction(_)) && !own_law => Err(Refused::Scope),
        _ => Ok(()),
    }
}
