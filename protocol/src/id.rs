//! Typed ids: a node can never be passed where an operator is meant. Shown as lower-case base32 (52 characters, so that
//! one fits in a DNS label), in logs as their first eight characters.
use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use minicbor::{
    Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not an id.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not {what}: expected 52 characters of a-z and 2-7")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
}

/// Orders a type as its 32 bytes. They are hashes and keys, so the first eight decide nearly always, and without a call: maps
/// by id are a large part of what a node does.
macro_rules! ordered_by_bytes {
    ($name:ident) => {
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                let head = |[a, b, c, d, e, f, g, h, ..]: [u8; 32]| u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                head(self.0).cmp(&head(other.0)).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}
pub(crate) use ordered_by_bytes;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident: $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub [u8; 32]);
        ordered_by_bytes!($name);

        impl $name {
            /// The id that is the hash of `bytes`.
            #[must_use]
            pub fn of(bytes: &[u8]) -> Self {
                Self(*blake3::hash(bytes).as_bytes())
            }

            /// The first eight characters: for people's eyes, never for comparing.
            #[must_use]
            pub fn short(&self) -> String {
                // Five bytes are eight characters.
                BASE32_NOPAD.encode(&self.0[..5]).to_ascii_lowercase()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                BASE32_NOPAD
                    .decode(text.to_ascii_uppercase().as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { text: text.chars().take(80).collect(), what: $what })
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                d.bytes()?.try_into().map(Self).map_err(|_| decode::Error::message(concat!($what, " has 32 bytes")))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A node: its Ed25519 public key, which is also what its libp2p `PeerId` is made of.
    NodeId: "a node id";
    /// An operator: the hash of its genesis statement, so it outlives any of its keys.
    OperatorId: "an operator id";
    /// A tenant: the hash of its genesis statement, so it outlives any of its keys.
    TenantId: "a tenant id";
    /// An operator or tenant, where it does not matter which: the hash of its genesis statement.
    PartyId: "a party's id";
    /// A cell: the hash of its genesis entry.
    CellId: "a cell id";
    /// A mesh: the hash of its founding statement.
    MeshId: "a mesh id";
    /// Some bytes: their BLAKE3 hash.
    ContentHash: "a content hash";
    /// A disk: drawn when it is first formatted. A wiped disk has another.
    DiskId: "a disk id";
}

impl CellId {
    /// As what a line of this cell is kept that has ended.
    #[must_use]
    pub fn of_line(self, line: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"a line that has ended");
        hasher.update(&self.0);
        hasher.update(&line.to_be_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}

impl NodeId {
    /// How far two nodes are apart by exclusive or, as [Kademlia] has it: nobody is near everybody, and no two are equally
    /// far from a third.
    ///
    /// [Kademlia]: https://pdos.csail.mit.edu/~petar/papers/maymounkov-kademlia-lncs.pdf
    #[must_use]
    pub fn distance(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] ^ other.0[at]))
    }
}

impl From<OperatorId> for PartyId {
    fn from(operator: OperatorId) -> Self {
        Self(operator.0)
    }
}

impl From<TenantId> for PartyId {
    fn from(tenant: TenantId) -> Self {
        Self(tenant.0)
    }
}

/// A member of a cell. Allocated by the cell's log, never reused, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct ReplicaId(#[n(0)] pub u64);

/// One running copy of an app: its cell, and the number that the cell's log gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct InstanceId {
    /// The cell 0 of the app.
    #[n(0)]
    pub cell: CellId,
    /// Allocated by the cell's log, never reused.
    #[n(1)]
    pub number: u64,
}

/// Names one durable write until the store reports it persisted. Later writes have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct WriteId(#[n(0)] pub u64);

/// Names one read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct ReadId(#[n(0)] pub u64);

/// Names one bulk transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct TransferId(#[n(0)] pub u64);

/// Names one request to a node; unique on the node that first took it in while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct RequestId(#[n(0)] pub u64);

/// W3C trace id: follows a request across nodes, for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct TraceId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// Who repeats a command: a client's own 16 random bytes, or the hash of an `Idempotency-Key`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct SessionId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// Which command of a session it is; a retry carries the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct OpId {
    /// Who repeats.
    #[n(0)]
    pub session: SessionId,
    /// From 1 up.
    #[n(1)]
    pub seq: u64,
}

impl SessionId {
    /// The session that the hash of `bytes` names.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Self(id)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cell.short(), self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written_and_fits_in_a_dns_label() {
        let id = NodeId::of(b"some node");
        let text = id.to_string();
        assert_eq!(text.len(), 52);
        assert_eq!(text.parse::<NodeId>().unwrap(), id);
        assert!("not an id".parse::<NodeId>().unwrap_err().to_string().contains("a node id"));
        assert_eq!(id.short(), text[..8], "its first eight characters");
    }

    #[test]
    fn ids_are_in_the_order_of_their_bytes_wherever_those_differ() {
        for at in 0..32 {
            let mut bytes = [7; 32];
            let middle = NodeId(bytes);
            bytes[at] = 6;
            if at < 31 {
                bytes[at + 1..].fill(255);
            }
            let (less, more) = (NodeId(bytes), NodeId(std::array::from_fn(|it| if it == at { 200 } else { 7 })));
            assert!(less < middle && middle < more, "byte {at}");
            assert_eq!(less.cmp(&more), less.0.cmp(&more.0));
            assert_eq!(middle.cmp(&middle), std::cmp::Ordering::Equal);
        }
    }
}
