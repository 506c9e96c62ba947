//! Ed25519 keys. The only file that knows which library signs.
use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};

use crate::id::{NodeId, ordered_by_bytes};

/// A public key: 32 bytes that may or may not be a point; checked when a signature is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct PublicKey(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);
ordered_by_bytes!(PublicKey);

/// A signature: 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Signature(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 64]);

/// A secret key with its public half. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct Keypair {
    secret: SigningKey,
    public: PublicKey,
}

impl Keypair {
    /// The pair of a 32-byte secret.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let secret = SigningKey::from_bytes(secret);
        let public = PublicKey(secret.verifying_key().to_bytes());
        Self { secret, public }
    }

    /// The 32-byte secret, to store in a file that only its owner can read.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        self.secret.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The node of this key, if it is a node's.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        NodeId(self.public.0)
    }

    /// Signs bytes. 14 µs. Deterministic.
    pub(super) fn sign(&self, bytes: &[u8]) -> Signature {
        Signature(self.secret.sign(bytes).to_bytes())
    }
}

impl PublicKey {
    /// Whether `signature` is this key's over `bytes`, by RFC 8032 with the strict rules that leave no second valid
    /// signature for the same bytes. 36 µs.
    pub(super) fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
    }
}

impl From<NodeId> for PublicKey {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?}", NodeId(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signature")
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?}, secret withheld)", self.public)
    }
}
