//! The cities that a scenario may name: a table of our own. Coordinates of 242 of them are those of `ConsenSys`'s wittgenstein
//! (Apache-2.0), which took the list from `WonderNetwork`'s ping servers; the others are approximate city centres.
use std::sync::OnceLock;

use crate::scenario::nearest;

const TABLE: &str = include_str!("../../data/cities.csv");

/// A city that nodes may stand in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct City {
    pub(crate) name: String,
    /// ISO 3166-1, two letters.
    pub(crate) country: String,
    pub(crate) at: Spot,
}

/// A place on the globe, in millionths of a degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) latitude: i64,
    pub(crate) longitude: i64,
}

/// All of them, by name.
pub(crate) fn cities() -> &'static [City] {
    static CITIES: OnceLock<Vec<City>> = OnceLock::new();
    CITIES.get_or_init(|| {
        let rows = TABLE.lines().skip(1).map(|line| City::of_row(line).expect("the table that ships can be read"));
        rows.collect()
    })
}

/// Its number in the table; if there is none of that name, what to write instead.
pub(crate) fn find(name: &str) -> Result<u16, String> {
    let found = cities().binary_search_by(|city| city.name.as_str().cmp(name)).ok();
    found.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| {
        let names: Vec<&str> = cities().iter().map(|city| city.name.as_str()).collect();
        let best = nearest(name, &names);
        // All of them at once would say nothing.
        if best.starts_with("did") { best } else { "the names are those of simulator/data/cities.csv".to_owned() }
    })
}

impl City {
    fn of_row(line: &str) -> Option<Self> {
        let mut cells = line.split(',');
        let (name, country) = (cells.next()?.to_owned(), cells.next()?.to_owned());
        let at = Spot { latitude: Spot::degrees(cells.next()?)?, longitude: Spot::degrees(cells.next()?)? };
        (cells.next().is_none() && !name.is_empty()).then_some(Self { name, country, at })
    }
}

impl Spot {
    /// Decimal degrees as millionths, digits beyond them dropped: no float has a say in where a city is.
    pub(crate) fn degrees(text: &str) -> Option<i64> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let numeric = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || !numeric(whole) || !numeric(part) {
            return None;
        }
        let millionths: String = part.chars().chain("000000".chars()).take(6).collect();
        Some(sign * (whole.parse::<i64>().ok()? * 1_000_000 + millionths.parse::<i64>().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_each_city_stands_on_the_globe() {
        assert!(cities().is_sorted_by(|a, b| a.name < b.name), "a name is found by halving");
        assert!(cities().len() > 250);
        for city in cities() {
            assert!(city.at.latitude.abs() <= 90_000_000 && city.at.longitude.abs() <= 180_000_000, "{}", city.name);
            assert!(city.country.len() == 2 && city.country.bytes().all(|byte| byte.is_ascii_uppercase()));
        }
    }

    #[test]
    fn a_city_that_is_not_there_has_a_neighbour_in_writing() {
        assert_eq!(cities()[usize::from(find("Lyon").unwrap())].country, "FR");
        assert!(find("Lyons").unwrap_err().contains("Lyon"));
        assert!(find("Xq").unwrap_err().contains("cities.csv"));
    }

    #[test]
    fn degrees_are_read_digit_by_digit() {
        let of = |text| Spot::degrees(text);
        assert_eq!((of("48.85"), of("-0.5781"), of("7")), (Some(48_850_000), Some(-578_100), Some(7_000_000)));
        assert_eq!((of(""), of("1e3"), of("4,8"), of("-"), of("1234")), (None, None, None, None, None));
        assert_eq!(of("34.92866199"), Some(34_928_661));
    }
}
