//! `Signed<T>` → `Verified<T>`: the only way a peer's statement enters a machine.
//!
//! A signature covers `domain ‖ 0x00 ‖ the exact payload bytes`, so a statement of one kind is never one of another, and
//! a reader that knows fewer fields checks the same bytes as one that knows more.
use std::{fmt, marker::PhantomData, ops::Deref};

use minicbor::{
    Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};

use super::{Keypair, NodeCertificate, PublicKey, Signature};
use crate::codec::{self, Blob, DecodeError};

/// Something that is signed. `DOMAIN` keeps kinds apart for ever: `bocage/v1/<kind>`.
pub trait Statement: Encode<()> + for<'b> Decode<'b, ()> {
    /// Unique per kind of statement.
    const DOMAIN: &'static str;
}

/// Payload, key and signature as received, of a kind not looked at yet.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Envelope {
    /// Names the domain, so that a checker needs no other context.
    #[n(0)]
    pub domain: String,
    /// The exact bytes signed.
    #[n(1)]
    pub payload: Blob,
    /// Who claims to have signed.
    #[n(2)]
    pub key: PublicKey,
    /// Over domain and payload.
    #[n(3)]
    pub signature: Signature,
}

/// A statement of kind `T` that somebody claims to have signed. Opaque until verified.
pub struct Signed<T> {
    envelope: Envelope,
    kind: PhantomData<fn() -> T>,
}

/// Something whose every signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

/// A signature that is not valid, or a payload that is not of its kind.
#[derive(Debug, thiserror::Error)]
pub enum BadSignature {
    /// The signature does not fit domain, payload and key.
    #[error("the signature of a {domain} by {key:?} is not valid")]
    Invalid {
        /// What it claimed to be.
        domain: String,
        /// Who it claimed to be from.
        key: PublicKey,
    },
    /// A statement of another kind.
    #[error("expected a {expected}, got a {found}")]
    WrongDomain {
        /// Wanted here.
        expected: &'static str,
        /// Found.
        found: String,
    },
    /// The payload does not decode.
    #[error("a signed statement cannot be read")]
    Payload(#[source] DecodeError),
}

/// Whatever carries signatures inside: a frame, a cell's entry, a bundle. Lists them all, so that one pure function
/// checks them before any of it enters a machine.
pub trait Envelopes {
    /// Appends every envelope inside. Bounded by the size of what was received.
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>);
}

impl Envelope {
    fn message(domain: &str, payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(domain.len() + 1 + payload.len());
        message.extend_from_slice(domain.as_bytes());
        message.push(0);
        message.extend_from_slice(payload);
        message
    }

    /// Signs bytes as a statement of a kind.
    pub(super) fn seal(by: &Keypair, domain: &str, payload: &Blob) -> Self {
        Self::seal_with(by.public(), domain, payload, |message| by.sign(message))
    }

    /// The same, by whoever signs with this key.
    pub(super) fn seal_with(
        key: PublicKey,
        domain: &str,
        payload: &Blob,
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Self {
        let signature = sign(&Self::message(domain, payload));
        Self { domain: domain.to_owned(), payload: payload.clone(), key, signature }
    }

    /// Whether the signature holds, and those of the statements inside it: 36 µs each.
    ///
    /// # Errors
    /// When one does not, or what should hold statements cannot be read.
    pub fn check(&self) -> Result<(), BadSignature> {
        self.check_with(&mut |_| false)
    }

    /// The same, asking `known` first about each: a memo of envelopes that were checked before.
    ///
    /// # Errors
    /// When one does not hold, or what should hold statements cannot be read.
    pub fn check_with(&self, known: &mut dyn FnMut(&Self) -> bool) -> Result<(), BadSignature> {
        if known(self) {
            return Ok(());
        }
        self.check_alone()?;
        let inside = NodeCertificate::inside(self)?;
        inside.iter().try_for_each(|envelope| if known(envelope) { Ok(()) } else { envelope.check_alone() })
    }

    fn check_alone(&self) -> Result<(), BadSignature> {
        if self.key.verifies(&Self::message(&self.domain, &self.payload), &self.signature) {
            return Ok(());
        }
        Err(BadSignature::Invalid { domain: self.domain.clone(), key: self.key })
    }

    /// What a memo of checked envelopes is keyed by.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&codec::encode(self)).as_bytes()
    }
}

impl<T: Statement> Signed<T> {
    /// Signs `statement` with `by`.
    #[must_use]
    pub fn seal(by: &Keypair, statement: &T) -> Self {
        Self { envelope: Envelope::seal(by, T::DOMAIN, &codec::encode(statement)), kind: PhantomData }
    }

    /// Reads the statement *without* checking its signature: for inside the machine, where everything that arrived was
    /// checked on the way in, and for printing.
    ///
    /// # Errors
    /// When it is of another kind or does not decode.
    pub fn open(&self) -> Result<T, BadSignature> {
        if self.envelope.domain != T::DOMAIN {
            let found = self.envelope.domain.clone();
            return Err(BadSignature::WrongDomain { expected: T::DOMAIN, found });
        }
        codec::decode(T::DOMAIN, &self.envelope.payload).map_err(BadSignature::Payload)
    }

    /// Checks the signature and reads the statement.
    ///
    /// # Errors
    /// When either fails.
    pub fn verify(&self) -> Result<Verified<T>, BadSignature> {
        self.envelope.check()?;
        self.open().map(Verified)
    }
}

impl<T> From<Envelope> for Signed<T> {
    /// An envelope taken for one of kind `T`; [`Signed::open`] says whether it is.
    fn from(envelope: Envelope) -> Self {
        Self { envelope, kind: PhantomData }
    }
}

impl<T> Signed<T> {
    /// Who claims to have signed.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.envelope.key
    }

    /// The envelope, for [`Envelopes`].
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The hash of the payload: names the statement.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.envelope.payload).as_bytes()
    }
}

impl<T> Verified<T> {
    /// Checks every signature inside `inner`, asking `known` first: a memo of digests that were checked before.
    ///
    /// # Errors
    /// At the first signature that is not valid; nothing of `inner` may be used then.
    pub fn check(inner: T, mut known: impl FnMut(&Envelope) -> bool) -> Result<Self, BadSignature>
    where
        T: Envelopes,
    {
        let mut envelopes = Vec::new();
        inner.envelopes(&mut envelopes);
        for envelope in envelopes {
            envelope.check_with(&mut known)?;
        }
        Ok(Self(inner))
    }

    /// For what this node made itself: there is nothing to check.
    #[must_use]
    pub const fn own(inner: T) -> Self {
        Self(inner)
    }

    /// Takes it out.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Encode<C>, C> Encode<C> for Verified<T> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }
}

impl<T, C> Encode<C> for Signed<T> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        self.envelope.encode(e, ctx)
    }
}

impl<'b, T, C> Decode<'b, C> for Signed<T> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        Ok(Self { envelope: Envelope::decode(d, ctx)?, kind: PhantomData })
    }
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { envelope: self.envelope.clone(), kind: PhantomData }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.envelope == other.envelope
    }
}

impl<T> Eq for Signed<T> {}

impl<T: Statement + fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.open() {
            Ok(statement) => write!(f, "signed {statement:?} by {:?}", self.key()),
            Err(error) => write!(f, "signed, unreadable: {error}"),
        }
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {:?}", self.domain, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Note {
        #[n(0)]
        text: String,
    }

    impl Statement for Note {
        const DOMAIN: &'static str = "bocage/v1/test-note";
    }

    #[derive(Debug, Encode, Decode)]
    struct Other {
        #[n(0)]
        text: String,
    }

    impl Statement for Other {
        const DOMAIN: &'static str = "bocage/v1/test-other";
    }

    fn signed() -> Signed<Note> {
        Signed::seal(&Keypair::from_secret(&[7; 32]), &Note { text: "hello".into() })
    }

    #[test]
    fn a_changed_byte_anywhere_breaks_the_signature() {
        let bytes = codec::encode(&signed());
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            let verified = codec::decode::<Signed<Note>>("note", &changed).map(|signed| signed.verify().is_ok());
            assert!(!verified.unwrap_or(false), "byte {at}");
        }
        assert!(codec::decode::<Signed<Note>>("note", &bytes).unwrap().verify().is_ok());
    }

    #[test]
    fn a_statement_of_one_kind_is_never_one_of_another() {
        let bytes = codec::encode(&signed());
        let other: Signed<Other> = codec::decode("other", &bytes).unwrap();
        assert!(matches!(other.verify(), Err(BadSignature::WrongDomain { .. })));
    }
}
