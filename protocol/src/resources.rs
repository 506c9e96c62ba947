//! Quantities and money that the market is made of, and the places that law and fire know.
use std::{fmt, str::FromStr};

use minicbor::{
    Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an instance or replica uses and an offer provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Thousandths of a core.
    #[n(0)]
    pub cpu_millis: u64,
    /// Bytes of memory.
    #[n(1)]
    pub memory_bytes: u64,
    /// Bytes of disk.
    #[n(2)]
    pub disk_bytes: u64,
}

/// The law that a site and its operator answer to: an ISO 3166-1 alpha-2 code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jurisdiction([u8; 2]);

/// One place that fails together: building, power feed, uplink. Unique within its operator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Site(#[n(0)] pub String);

/// A currency: an ISO 4217 code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// An amount in the currency's minor unit (cents), never a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Money {
    /// Minor units.
    #[n(0)]
    pub minor: u64,
    /// Of what.
    #[n(1)]
    pub currency: Currency,
}

/// What an operator asks for capacity, in micro-units (10⁻⁶ of the minor unit) per use and hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of what.
    #[n(0)]
    pub currency: Currency,
    /// For a whole core for an hour.
    #[n(1)]
    pub cpu_core_hour: u64,
    /// For a GiB of memory for an hour.
    #[n(2)]
    pub memory_gib_hour: u64,
    /// For a GiB of disk for an hour.
    #[n(3)]
    pub disk_gib_hour: u64,
}

/// Text that is not a code.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct ParseCodeError {
    text: String,
    what: &'static str,
}

impl Resources {
    /// Whether `self` covers `need` in every dimension.
    #[must_use]
    pub const fn covers(&self, need: &Self) -> bool {
        self.cpu_millis >= need.cpu_millis
            && self.memory_bytes >= need.memory_bytes
            && self.disk_bytes >= need.disk_bytes
    }

    /// Each dimension added, saturating.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
        }
    }

    /// Each dimension subtracted, at least zero.
    #[must_use]
    pub const fn less(&self, other: &Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_sub(other.disk_bytes),
        }
    }
}

impl Price {
    /// What `use_` costs for an hour, in micro-units of the minor unit; saturates.
    #[must_use]
    pub fn per_hour(&self, use_: &Resources) -> u64 {
        const GIB: u128 = 1 << 30;
        let cpu = u128::from(self.cpu_core_hour) * u128::from(use_.cpu_millis) / 1_000;
        let memory = u128::from(self.memory_gib_hour) * u128::from(use_.memory_bytes) / GIB;
        let disk = u128::from(self.disk_gib_hour) * u128::from(use_.disk_bytes) / GIB;
        u64::try_from(cpu + memory + disk).unwrap_or(u64::MAX)
    }
}

impl Jurisdiction {
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII letters only")
    }
}

impl Currency {
    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII letters only")
    }
}

macro_rules! code {
    ($name:ident, $len:literal, $what:literal) => {
        impl FromStr for $name {
            type Err = ParseCodeError;

            fn from_str(text: &str) -> Result<Self, ParseCodeError> {
                <[u8; $len]>::try_from(text.as_bytes())
                    .ok()
                    .filter(|code| code.iter().all(u8::is_ascii_uppercase))
                    .map(Self)
                    .ok_or_else(|| ParseCodeError { text: text.chars().take(40).collect(), what: $what })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.str(self.as_str())?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                d.str()?.parse().map_err(|_| decode::Error::message(concat!("not ", $what)))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

code!(Jurisdiction, 2, "a jurisdiction: two capital letters of ISO 3166-1, such as FR");
code!(Currency, 3, "a currency: three capital letters of ISO 4217, such as EUR");

impl fmt::Display for Resources {
    /// As people say it: `0.5 cores, 64 MiB memory, 1 GiB disk`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_millis, memory_bytes, disk_bytes } = self;
        let decimals = if cpu_millis % 1_000 == 0 { String::new() } else { format!(".{:03}", cpu_millis % 1_000) };
        write!(f, "{}{} cores, ", cpu_millis / 1_000, decimals.trim_end_matches('0'))?;
        write!(f, "{} memory, {} disk", in_bytes(*memory_bytes), in_bytes(*disk_bytes))
    }
}

/// An amount of bytes in the largest unit that leaves no more than one decimal behind.
fn in_bytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => (1 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        0x4000_0000.. => (1 << 30, "GiB"),
    };
    let (whole, tenth) = (bytes / unit, bytes % unit * 10 / unit);
    if tenth == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
