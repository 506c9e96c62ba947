//! Quantities as people write them in flags: `0.5` cores, `2GiB`.
use std::str::FromStr;

/// Thousandths of a core, written as cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores(pub(crate) u64);

/// Bytes, written with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

/// A time, written with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) std::time::Duration);

/// Text that is not a quantity.
#[derive(Debug, thiserror::Error)]
#[error("expected {0}")]
pub(crate) struct NotThat(&'static str);

impl FromStr for Cores {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        thousandths(text).map(Self).ok_or(NotThat("cores, such as 2 or 0.5"))
    }
}

impl FromStr for Time {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        let wrong = NotThat("a time with a unit, such as 30s, 10m or 2h");
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit_ms: u64 = match unit {
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong),
        };
        let thousandths = thousandths(number.trim()).and_then(|number| number.checked_mul(unit_ms));
        thousandths.map(|it| Self(std::time::Duration::from_millis(it / 1_000))).ok_or(wrong)
    }
}

impl FromStr for Bytes {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        let wrong = NotThat("bytes with a unit, such as 512MiB, 2GiB or 0.5TiB");
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit: u64 = match unit.to_ascii_lowercase().as_str() {
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            _ => return Err(wrong),
        };
        let bytes = thousandths(number.trim()).and_then(|number| number.checked_mul(unit));
        bytes.map(|bytes| Self(bytes / 1_000)).ok_or(wrong)
    }
}

/// A decimal number with at most three digits behind the point, times a thousand.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!("0.5".parse::<Cores>().unwrap(), Cores(500));
        assert_eq!("2".parse::<Cores>().unwrap(), Cores(2_000));
        assert_eq!("512MiB".parse::<Bytes>().unwrap(), Bytes(512 << 20));
        assert_eq!("1.5 GiB".parse::<Bytes>().unwrap(), Bytes(3 << 29));
    }

    #[test]
    fn what_is_no_quantity_is_told_what_one_looks_like() {
        for wrong in ["", "2", "GiB", "-1GiB", "1.2345GiB", "99999999999999999999TiB", "1 GB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
        assert!("a".parse::<Cores>().unwrap_err().to_string().contains("0.5"));
    }
}
