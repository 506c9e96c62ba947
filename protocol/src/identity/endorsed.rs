//! A statement that several keys sign together: its bytes once, a signature each.
use std::{fmt, marker::PhantomData};

use minicbor::{
    Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};

use super::{BadSignature, Envelope, Keypair, PublicKey, Signature, Signed, Statement};
use crate::codec::{self, Blob};

/// Keys that sign one statement; a statement with more is void. A new key, the old one, and all recovery keys.
pub const ENDORSEMENTS_MAX: usize = 18;

/// A statement of kind `T` that these keys claim to have signed. Every envelope holds the same bytes.
pub struct Endorsed<T> {
    payload: Blob,
    envelopes: Vec<Envelope>,
    kind: PhantomData<fn() -> T>,
}

#[derive(Encode, Decode)]
struct Endorsement {
    #[n(0)]
    key: PublicKey,
    #[n(1)]
    signature: Signature,
}

impl<T: Statement> Endorsed<T> {
    /// The statement, signed by nobody yet.
    #[must_use]
    pub fn draft(statement: &T) -> Self {
        Self { payload: codec::encode(statement), envelopes: Vec::new(), kind: PhantomData }
    }

    /// The same, signed by one more key. A key that signed already changes nothing.
    #[must_use]
    pub fn with(mut self, by: &Keypair) -> Self {
        if self.keys().all(|key| key != by.public()) {
            self.envelopes.push(Envelope::seal(by, T::DOMAIN, &self.payload));
        }
        self
    }

    /// Reads the statement without checking signatures; see [`Signed::open`].
    ///
    /// # Errors
    /// When it does not decode.
    pub fn open(&self) -> Result<T, BadSignature> {
        codec::decode(T::DOMAIN, &self.payload).map_err(BadSignature::Payload)
    }
}

impl<T> Endorsed<T> {
    /// Who claims to have signed.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.envelopes.iter().map(|envelope| envelope.key)
    }

    /// To check the signatures.
    #[must_use]
    pub fn envelopes(&self) -> &[Envelope] {
        &self.envelopes
    }

    /// The hash of the payload: names the statement.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.payload).as_bytes()
    }
}

impl<T, C> Encode<C> for Endorsed<T> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        let by = self.envelopes.iter().map(|it| Endorsement { key: it.key, signature: it.signature });
        let by: Vec<Endorsement> = by.collect();
        e.array(2)?;
        self.payload.encode(e, ctx)?;
        by.encode(e, ctx)
    }
}

impl<'b, T: Statement, C> Decode<'b, C> for Endorsed<T> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("an endorsed statement is bytes and signatures"));
        }
        let payload = Blob::decode(d, ctx)?;
        let by: Vec<Endorsement> = Vec::decode(d, ctx)?;
        if by.len() > ENDORSEMENTS_MAX {
            return Err(decode::Error::message("a statement with too many signatures"));
        }
        let envelope = |it: Endorsement| Envelope {
            domain: T::DOMAIN.to_owned(),
            payload: payload.clone(),
            key: it.key,
            signature: it.signature,
        };
        let envelopes = by.into_iter().map(envelope).collect();
        Ok(Self { payload, envelopes, kind: PhantomData })
    }
}

impl<T> From<Signed<T>> for Endorsed<T> {
    fn from(signed: Signed<T>) -> Self {
        let envelope = signed.envelope().clone();
        Self { payload: envelope.payload.clone(), envelopes: vec![envelope], kind: PhantomData }
    }
}

impl<T> Clone for Endorsed<T> {
    fn clone(&self) -> Self {
        Self { payload: self.payload.clone(), envelopes: self.envelopes.clone(), kind: PhantomData }
    }
}

impl<T> PartialEq for Endorsed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.payload == other.payload && self.envelopes == other.envelopes
    }
}

impl<T> Eq for Endorsed<T> {}

impl<T: Statement + fmt::Debug> fmt::Debug for Endorsed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<PublicKey> = self.keys().collect();
        match self.open() {
            Ok(statement) => write!(f, "{statement:?} by {keys:?}"),
            Err(error) => write!(f, "endorsed, unreadable: {error}"),
        }
    }
}
