//! Who signs, and what a signature is worth: keys, genesis statements and how keys succeed each other, node certificates,
//! what operators rule about their nodes, and the step from
//! [`Signed`] (bytes that somebody claims) to [`Verified`] (bytes whose signature was checked).
//!
//! Checking costs 36 µs and happens *outside* the machine, by the pure functions here, in a bounded pool that the
//! driver owns. Whether the signer had the *authority* is decided inside the machine, from state alone.
mod admitted;
mod key;
mod signer;
mod signed;
mod endorsed;
mod genesis;
mod lineage;
mod certificate;
mod ruling;
mod founding;

pub use admitted::Admitted;
pub use certificate::{CertificateError, NodeCertificate, NodeIdentity, Void};
pub use endorsed::{ENDORSEMENTS_MAX, Endorsed};
pub use founding::Founding;
pub use genesis::{Genesis, Party};
pub use key::{Keypair, PublicKey, Signature};
pub use lineage::{
    Descent, Lineage, LineageError, PARTY_NAME_BYTES_MAX, RECOVERY_KEYS_MAX, SUCCESSIONS_MAX, Standing, Succession,
};
pub use ruling::{FOR_EVER, Ruled, Ruling, RulingError};
pub use signed::{BadSignature, Envelope, Envelopes, Signed, Statement, Verified};
pub use signer::Signatures;
