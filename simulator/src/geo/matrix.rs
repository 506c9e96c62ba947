//! Round trips between cities, as measurements are published: a square CSV whose first row and first column are names, with
//! milliseconds in between and nothing where nothing was measured.
use std::{collections::HashMap, path::Path};

/// Round trips by pair of names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix {
    /// In the order of the first row.
    pub(crate) names: Vec<String>,
    /// Of each row: its line in the file, and microseconds to each of `names`.
    rows: HashMap<String, (u64, Vec<Option<u64>>)>,
}

/// What is wrong with a matrix, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spoilt {
    /// From 1 up.
    pub(crate) line: u64,
    /// Among the cells of a line, from 1 up.
    pub(crate) cell: usize,
    pub(crate) what: String,
}

/// No two places are further apart.
const ROUND_TRIP_MS_MAX: u64 = 60_000;

impl Matrix {
    pub(crate) fn read(path: &Path) -> Result<Self, Spoilt> {
        let unreadable = |why: std::io::Error| Spoilt { line: 1, cell: 1, what: format!("cannot be read: {why}") };
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Spoilt> {
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let spoilt = |line, cell, what: &str| Spoilt { line, cell, what: what.to_owned() };
        let (_, head) = lines.next().ok_or_else(|| spoilt(1, 1, "is empty"))?;
        let names: Vec<String> = head.split(',').skip(1).map(|name| name.trim().to_owned()).collect();
        let mut rows = HashMap::new();
        for (number, line) in lines {
            let mut cells = line.split(',').map(str::trim);
            let name = cells.next().unwrap_or_default().to_owned();
            let mut values = Vec::with_capacity(names.len());
            for (cell, text) in (2..).zip(cells) {
                let value = if text.is_empty() { None } else { Some(micros(text)) };
                let wrong = || spoilt(number, cell, &format!("{text:?} is no number of milliseconds"));
                values.push(value.map(|value| value.ok_or_else(wrong)).transpose()?);
            }
            if values.len() != names.len() {
                let what = format!("has {} values where the first line has {} names", values.len(), names.len());
                return Err(spoilt(number, 1, &what));
            }
            if rows.insert(name, (number, values)).is_some() {
                return Err(spoilt(number, 1, "names a row a second time"));
            }
        }
        Ok(Self { names, rows })
    }

    /// Microseconds from one to the other and back: the mean of both ways, or that of one if only it was measured. If neither,
    /// where one would stand.
    pub(crate) fn round_trip_us(&self, a: &str, b: &str) -> Result<u64, Spoilt> {
        let cell = |from: &str, to: &str| {
            let column = self.names.iter().position(|name| name == to)?;
            let (line, values) = self.rows.get(from)?;
            Some((*line, column, values[column]))
        };
        let (there, back) = (cell(a, b), cell(b, a));
        let value = |cell: Option<(u64, usize, Option<u64>)>| cell.and_then(|(_, _, value)| value);
        match (value(there), value(back)) {
            (Some(there), Some(back)) => Ok(u64::midpoint(there, back)),
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => {
                let what = format!("has no round trip between {a} and {b}");
                let (line, column, _) = there.or(back).unwrap_or((1, 0, None));
                Err(Spoilt { line, cell: column + 2, what })
            }
        }
    }

    /// Every pair of distinct names with both or one of its ways, in the order of the names.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        let pairs = (0..self.names.len()).flat_map(move |a| (a + 1..self.names.len()).map(move |b| (a, b)));
        pairs.filter_map(move |(a, b)| {
            let (a, b) = (self.names[a].as_str(), self.names[b].as_str());
            Some((a, b, self.round_trip_us(a, b).ok()?))
        })
    }

    /// What was measured from one to the other.
    pub(crate) fn one_way(&self, from: &str, to: &str) -> Option<u64> {
        let column = self.names.iter().position(|name| name == to)?;
        self.rows.get(from)?.1[column]
    }
}

/// Decimal milliseconds as microseconds, without a float.
fn micros(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let numeric = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || whole.len() > 5 || !numeric(whole) || !numeric(part) {
        return None;
    }
    let thousandths: String = part.chars().chain("000".chars()).take(3).collect();
    let whole: u64 = whole.parse().ok()?;
    (whole <= ROUND_TRIP_MS_MAX).then_some(whole * 1_000 + thousandths.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_the_mean_of_its_ways_and_a_missing_one_its_place() {
        let matrix = Matrix::parse("source,Lyon,Paris,Ghent\nLyon,0,8.5,\nParis,9.5,0,\nGhent,12.25,,0\n").unwrap();
        assert_eq!(matrix.round_trip_us("Lyon", "Paris"), Ok(9_000));
        assert_eq!(matrix.round_trip_us("Lyon", "Ghent"), Ok(12_250));
        let missing = matrix.round_trip_us("Paris", "Ghent").unwrap_err();
        assert_eq!((missing.line, missing.cell), (3, 4));
        assert_eq!(matrix.pairs().count(), 2);
    }

    #[test]
    fn what_is_no_matrix_is_shown_where_it_is_none() {
        let spoilt = |text: &str| Matrix::parse(text).unwrap_err();
        assert_eq!((spoilt("a,b\nb,far\n").line, spoilt("a,b\nb,far\n").cell), (2, 2));
        assert!(spoilt("a,b\nb,-1\n").what.contains("-1"));
        assert!(spoilt("a,b\nb,1,2\n").what.contains("2 values"));
        assert!(spoilt("a,b\nb,1\nb,1\n").what.contains("second time"));
        assert!(spoilt("").what.contains("empty"));
    }
}
