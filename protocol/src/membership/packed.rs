//! Lists of headers as they travel from wire version 2 on: without what CBOR says about each number again. A header takes
//! some 24 bytes instead of 36. In version 1 they are CBOR arrays as any other. (Bucket sums stay as they are: most are zero
//! in a small mesh, and CBOR says zero in one byte.)
//!
//! ```text
//!   header = tag, subject (8 bytes), hash (8 bytes), line, generation, version
//!   tag = kind × 4 + tier; version = difference to the header before, zigzag; numbers are LEB128, shortest form
//!   words of 8 bytes are big-endian
//! ```
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode::Write};

use crate::{
    record::{Header, Kind, Order, Tier},
    wire::Versioned,
};

/// From this version on.
const SINCE: u16 = 2;

/// `#[cbor(with = "packed::headers")]`
pub(super) mod headers {
    use super::{
        Decode, Decoder, Encode, Encoder, Header, Kind, Order, SINCE, Versioned, Write, malformed, put, take, tier,
        tier_of, word,
    };

    pub(in super::super) fn encode<C: Versioned, W: Write>(
        headers: &Vec<Header>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        if ctx.wire() < SINCE {
            return headers.encode(e, ctx);
        }
        let mut bytes = Vec::with_capacity(headers.len() * 24);
        let mut before = 0;
        for header in headers {
            put(&mut bytes, (u64::from(header.kind.0) << 2) | tier(header.tier));
            bytes.extend_from_slice(&header.subject.to_be_bytes());
            bytes.extend_from_slice(&header.hash.to_be_bytes());
            put(&mut bytes, header.order.line);
            put(&mut bytes, header.order.generation);
            let step = header.order.version.wrapping_sub(before).cast_signed();
            put(&mut bytes, ((step << 1) ^ (step >> 63)).cast_unsigned());
            before = header.order.version;
        }
        e.bytes(&bytes)?;
        Ok(())
    }

    pub(in super::super) fn decode<C: Versioned>(
        d: &mut Decoder<'_>,
        ctx: &mut C,
    ) -> Result<Vec<Header>, minicbor::decode::Error> {
        if ctx.wire() < SINCE {
            return Vec::decode(d, ctx);
        }
        let mut bytes = d.bytes()?;
        // No header is shorter than 20 bytes: room for no more than what arrived.
        let mut headers = Vec::with_capacity(bytes.len() / 20);
        let mut before = 0_u64;
        while !bytes.is_empty() {
            let tag = take(&mut bytes)?;
            let kind = u16::try_from(tag >> 2).map_err(|_| malformed())?;
            let (subject, hash) = (word(&mut bytes)?, word(&mut bytes)?);
            let (line, generation) = (take(&mut bytes)?, take(&mut bytes)?);
            let step = take(&mut bytes)?;
            before = before.wrapping_add((step >> 1) ^ (step & 1).wrapping_neg());
            let order = Order { line, generation, version: before };
            headers.push(Header { tier: tier_of(tag & 3)?, kind: Kind(kind), subject, order, hash });
        }
        Ok(headers)
    }
}

const fn tier(tier: Tier) -> u64 {
    match tier {
        Tier::Mesh => 0,
        Tier::Home => 1,
        Tier::Asked => 2,
    }
}

fn tier_of(number: u64) -> Result<Tier, decode::Error> {
    match number {
        0 => Ok(Tier::Mesh),
        1 => Ok(Tier::Home),
        2 => Ok(Tier::Asked),
        _ => Err(malformed()),
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Result<u64, decode::Error> {
    let mut number = 0_u64;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first().ok_or_else(malformed)?;
        *bytes = rest;
        let digit = u64::from(byte & 0x7f);
        // The tenth digit has one bit, and a last digit of nothing is a longer form of the same number.
        if (place == 9 && digit > 1) || (place > 0 && *byte == 0) {
            return Err(malformed());
        }
        number |= digit << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(malformed())
}

fn word(bytes: &mut &[u8]) -> Result<u64, decode::Error> {
    let (word, rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
    *bytes = rest;
    Ok(u64::from_be_bytes(*word))
}

fn malformed() -> decode::Error {
    decode::Error::message("not packed as wire version 2 packs it")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Wire;

    fn header() -> impl Strategy<Value = Header> {
        let number = || prop_oneof![Just(0), Just(u64::MAX), 0..1_000_u64, any::<u64>()];
        let tier = prop_oneof![Just(Tier::Mesh), Just(Tier::Home), Just(Tier::Asked)];
        (tier, any::<u16>(), number(), number(), number(), number(), number()).prop_map(
            |(tier, kind, subject, line, generation, version, hash)| {
                let order = Order { line, generation, version };
                Header { tier, kind: Kind(kind), subject, order, hash }
            },
        )
    }

    fn packed(headers: &Vec<Header>, version: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        headers::encode(headers, &mut Encoder::new(&mut bytes), &mut Wire(version)).unwrap();
        bytes
    }

    fn unpacked(bytes: &[u8], version: u16) -> Result<Vec<Header>, decode::Error> {
        headers::decode(&mut Decoder::new(bytes), &mut Wire(version))
    }

    proptest! {
        #[test]
        fn headers_read_back_in_either_version(headers in prop::collection::vec(header(), 0..20)) {
            for version in [1, 2] {
                prop_assert_eq!(unpacked(&packed(&headers, version), version).unwrap(), headers.clone());
            }
        }

        /// What is read is written as it was: one value has one form.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut given = Vec::new();
            Encoder::new(&mut given).bytes(&bytes).unwrap();
            if let Ok(headers) = unpacked(&given, 2) {
                prop_assert_eq!(packed(&headers, 2), given);
            }
        }
    }

    #[test]
    fn a_header_of_today_takes_two_thirds_of_the_bytes() {
        let at = |n: u64| Header {
            tier: Tier::Home,
            kind: Kind::OFFER,
            subject: u64::MAX / 65 * n,
            order: Order { line: 0, generation: 0, version: 1_790_000_000_000 + n * 7_919 },
            hash: u64::MAX / 67 * n,
        };
        let headers: Vec<_> = (1..=64).map(at).collect();
        let (one, two) = (packed(&headers, 1).len(), packed(&headers, 2).len());
        assert!(two * 3 < one * 2, "{two} of {one}");
    }
}
