//! Who signs, and what a signature is worth: keys, genesis statements, node certificates, and the step from
//! [`Signed`] (bytes that somebody claims) to [`Verified`] (bytes whose signature was checked).
//!
//! Checking costs 36 µs and happens *outside* the machine, by the pure functions here, in a bounded pool that the
//! driver owns. Whether the signer had the *authority* is decided inside the machine, from state alone.
mod admitted;
mod certificate;
mod founding;
mod genesis;
mod key;
mod signed;

pub use admitted::Admitted;
pub use certificate::{CertificateError, NodeCertificate, NodeIdentity};
pub use founding::Founding;
pub use genesis::{Genesis, Party};
pub use key::{Keypair, PublicKey, Signature};
pub use signed::{BadSignature, Envelope, Envelopes, Signed, Statement, Verified};
