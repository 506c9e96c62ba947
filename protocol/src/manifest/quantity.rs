//! Quantities as people write them: `"10m"`, `"64 MiB"`, `"0.1"` cores, `"12 EUR/month"`, `["FR", "DE"]`. Each says what
//! it expected when it is given something else.
use std::{fmt, marker::PhantomData, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use crate::{
    id::OperatorId,
    resources::{Currency, Jurisdiction, Money},
};

/// A quantity with the words for what it is.
pub(super) trait Quantity: Sized {
    /// Ends the sentence "expected …".
    const EXPECTED: &'static str;

    /// Reads text.
    fn read(text: &str) -> Option<Self>;

    /// Reads a bare number, where one is meant.
    fn whole(_: i64) -> Option<Self> {
        None
    }

    /// Reads a bare decimal number, where one is meant.
    fn decimal(_: f64) -> Option<Self> {
        None
    }
}

/// Written as a quantity of kind `Q`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<Q>(pub(super) Q);

impl<'de, Q: Quantity> Deserialize<'de> for Written<Q> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader(PhantomData)).map(Self)
    }
}

struct Reader<Q>(PhantomData<Q>);

impl<Q: Quantity> Reader<Q> {
    fn or_expected<E: Error>(found: impl fmt::Display, read: Option<Q>) -> Result<Q, E> {
        read.ok_or_else(|| E::custom(format!("{found} is not {}", Q::EXPECTED)))
    }
}

impl<Q: Quantity> Visitor<'_> for Reader<Q> {
    type Value = Q;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Q::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Q, E> {
        Self::or_expected(format!("{:?}", text.chars().take(40).collect::<String>()), Q::read(text.trim()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Q, E> {
        Self::or_expected(number, Q::whole(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Q, E> {
        Self::or_expected(number, i64::try_from(number).ok().and_then(Q::whole))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Q, E> {
        Self::or_expected(number, Q::decimal(number))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Q, E> {
        Self::or_expected(flag, None)
    }
}

impl Quantity for u32 {
    const EXPECTED: &'static str = "a whole number from 0 up, without quotes, such as 3";

    fn read(_: &str) -> Option<Self> {
        None
    }

    fn whole(number: i64) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Quantity for Duration {
    const EXPECTED: &'static str = "a duration such as \"500ms\", \"60s\", \"10m\", \"24h\" or \"7d\"";

    /// One or more of number and unit: `"1h 30m"`.
    fn read(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut sum = Self::ZERO;
        while !rest.is_empty() {
            let (number, behind) = digits(rest)?;
            let unit_end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(unit_end);
            let unit_ms = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 604_800_000,
                _ => return None,
            };
            sum = sum.checked_add(Self::from_millis(number.checked_mul(unit_ms)?))?;
            rest = behind.trim_start();
        }
        (!text.is_empty()).then_some(sum)
    }
}

/// Bytes of memory or disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes(pub(super) u64);

impl Quantity for Bytes {
    const EXPECTED: &'static str = "an amount such as \"64 MiB\" or \"1 GiB\"";

    fn read(text: &str) -> Option<Self> {
        let (number, unit) = digits(text)?;
        let unit: u64 = match unit.trim_start() {
            "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(unit).map(Self)
    }
}

/// Thousandths of a core.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores(pub(super) u64);

impl Quantity for Cores {
    const EXPECTED: &'static str = "a number of cores such as \"0.1\" or 2, in steps of 0.001";

    fn read(text: &str) -> Option<Self> {
        fixed(text, 3).map(Self)
    }

    fn whole(number: i64) -> Option<Self> {
        u64::try_from(number).ok()?.checked_mul(1_000).map(Self)
    }

    /// By its shortest decimal form, so that 0.1 is a tenth whatever a float makes of it.
    fn decimal(number: f64) -> Option<Self> {
        Self::read(&number.to_string())
    }
}

/// Money per month.
#[derive(Clone, Copy, Debug)]
pub(super) struct MonthlyPrice(pub(super) Money);

impl Quantity for MonthlyPrice {
    const EXPECTED: &'static str = "a monthly price such as \"12 EUR/month\"";

    fn read(text: &str) -> Option<Self> {
        let (amount, currency) = text.strip_suffix("/month")?.trim_end().split_once(' ')?;
        let currency: Currency = currency.trim().parse().ok()?;
        let minor = fixed(amount, minor_digits(currency))?;
        Some(Self(Money { minor, currency }))
    }
}

impl Quantity for Jurisdiction {
    const EXPECTED: &'static str = "a jurisdiction: two capital letters of ISO 3166-1, such as \"FR\"";

    fn read(text: &str) -> Option<Self> {
        Self::from_str(text).ok()
    }
}

/// How many decimals of a currency its minor unit has (ISO 4217; what is not listed has two).
fn minor_digits(currency: Currency) -> usize {
    match currency.as_str() {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// A leading whole number, and what follows it.
fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest))
}

impl Quantity for OperatorId {
    const EXPECTED: &'static str = "an operator's id of 52 characters, as bocage operator list shows it";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A decimal number times 10^`decimals`, exactly.
fn fixed(text: &str, decimals: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let lacks_digits = whole.is_empty() || (text.contains('.') && fraction.is_empty());
    if lacks_digits || fraction.len() > decimals || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<decimals$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let read = |text| Duration::read(text).map(|duration| duration.as_millis());
        assert_eq!(read("60s"), Some(60_000));
        assert_eq!(read("1h 30m"), Some(5_400_000));
        assert_eq!(read("7d"), Some(604_800_000));
        for wrong in ["", "60", "s", "-1s", "1.5h", "1y", "99999999999999999999s", "213503982334601d"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn money_is_exact_in_every_currency() {
        let read = |text| MonthlyPrice::read(text).map(|price| price.0.minor);
        assert_eq!(read("12 EUR/month"), Some(1_200));
        assert_eq!(read("0.5 EUR/month"), Some(50));
        assert_eq!(read("1200 JPY/month"), Some(1_200));
        assert_eq!(read("1.234 KWD/month"), Some(1_234));
        for wrong in ["12 EUR", "12 eur/month", "12.345 EUR/month", "1. EUR/month", "EUR/month", "1e3 EUR/month"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_tenth_of_a_core_is_a_hundred_thousandths() {
        assert_eq!(Cores::read("0.1").map(|cores| cores.0), Some(100));
        assert_eq!(Cores::decimal(0.1).map(|cores| cores.0), Some(100));
        assert_eq!(Cores::whole(2).map(|cores| cores.0), Some(2_000));
        assert_eq!(Cores::read("0.0001").map(|cores| cores.0), None);
        assert_eq!(Cores::decimal(-0.5).map(|cores| cores.0), None);
        assert_eq!(Cores::decimal(f64::INFINITY).map(|cores| cores.0), None);
    }

    #[test]
    fn bytes_need_a_unit() {
        assert_eq!(Bytes::read("64 MiB").map(|bytes| bytes.0), Some(64 << 20));
        assert_eq!(Bytes::read("1GB").map(|bytes| bytes.0), Some(1_000_000_000));
        assert!(Bytes::read("64").is_none() && Bytes::read("64 mib").is_none());
        assert!(Bytes::read("99999999999 GiB").is_none());
    }
}
