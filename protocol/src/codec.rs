//! How everything that is signed, sent or stored is encoded: CBOR with numbered fields (`minicbor`), deterministic,
//! open to new fields. Old numbers are never reused; a reader skips fields it does not know.
use std::{fmt, ops::Deref};

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode, Encoder, encode::Write};

/// A byte string that clones by reference.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Bytes);

/// Why bytes are not what they should be. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("not a valid {what}: {why}")]
pub struct DecodeError {
    /// What was expected.
    pub what: &'static str,
    /// The decoder's own words.
    pub why: String,
}

/// The encoding of `value`. Equal values give equal bytes.
pub fn encode<T: Encode<()>>(value: &T) -> Blob {
    let mut out = Vec::with_capacity(128);
    minicbor::encode(value, &mut out).expect("writing to a Vec cannot fail");
    Blob(out.into())
}

/// The encoding of a value that asks its context how.
pub fn encode_in<C, T: Encode<C>>(value: &T, context: &mut C) -> Blob {
    let mut out = Vec::with_capacity(128);
    minicbor::encode_with(value, &mut out, context).expect("writing to a Vec cannot fail");
    Blob(out.into())
}

/// Decodes all of `bytes`; trailing bytes are an error, so that one value has one encoding.
///
/// # Errors
/// When the bytes are malformed, or something follows the value.
pub fn decode<'b, T: Decode<'b, ()>>(what: &'static str, bytes: &'b [u8]) -> Result<T, DecodeError> {
    decode_in(what, bytes, &mut ())
}

/// As [`decode`], of a value that asks its context how.
///
/// # Errors
/// As [`decode`].
pub fn decode_in<'b, C, T: Decode<'b, C>>(
    what: &'static str,
    bytes: &'b [u8],
    context: &mut C,
) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode_with(context).map_err(|error| DecodeError { what, why: error.to_string() })?;
    if decoder.position() != bytes.len() {
        return Err(DecodeError { what, why: format!("{} bytes follow it", bytes.len() - decoder.position()) });
    }
    Ok(value)
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self) {
            Ok(text) if text.len() <= 32 && !text.contains(char::is_control) => write!(f, "{text:?}"),
            _ => write!(f, "{} bytes {}", self.len(), blake3::hash(self).to_hex().get(..8).unwrap_or("")),
        }
    }
}

impl<C> Encode<C> for Blob {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Blob {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(d.bytes()?.into())
    }
}

/// A `Duration` on the wire: whole milliseconds. `#[cbor(with = "codec::duration_ms")]`.
pub mod duration_ms {
    use std::time::Duration;

    use minicbor::{Decoder, Encoder, encode::Write};

    /// Encodes whole milliseconds.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn encode<C, W: Write>(
        value: &Duration,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u64(crate::time::millis(*value))?;
        Ok(())
    }

    /// Decodes whole milliseconds.
    ///
    /// # Errors
    /// When it is not an unsigned integer.
    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Duration, minicbor::decode::Error> {
        Ok(Duration::from_millis(d.u64()?))
    }
}
