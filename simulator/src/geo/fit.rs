//! How the figures that ship were found, so that anybody can find them again: from measured round trips and coordinates to
//! [`Figures`], by least absolute deviation.
//!
//! A round trip is taken to be `2 (distance × 5 ns/m × factor + fixed)`. Factor and fixed are those with the least sum of
//! *relative* deviations: a fit by milliseconds would serve the other side of the globe and no pair within a country.
//! For each factor the best fixed part is a weighted median; over factors the sum is convex, so halving finds the least.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Figures,
    city::Spot,
    globe,
    matrix::{Matrix, Spoilt},
};

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Fitted {
    /// The figures.
    pub figures: Figures,
    /// How far they are from the round trips that they were fitted to.
    pub error: Deviation,
    /// How far from those of another set, if there is one.
    pub checked: Option<Deviation>,
}

/// How far figures are from round trips, as a share of these.
#[derive(Clone, Debug, Serialize)]
pub struct Deviation {
    /// So many pairs.
    pub pairs: usize,
    /// Half of them are no further off.
    pub median: f64,
    /// Nine of ten.
    pub p90: f64,
    /// The middle one of all deviations with their signs: above zero, the figures are too slow.
    pub bias: f64,
    /// The same by distance.
    pub bands: Vec<Band>,
}

/// Pairs of about one distance.
#[derive(Clone, Debug, Serialize)]
pub struct Band {
    /// Not nearer, in kilometres.
    pub from_km: u64,
    /// So many.
    pub pairs: usize,
    /// As above.
    pub median: f64,
    /// As above.
    pub p90: f64,
    /// As above.
    pub bias: f64,
}

/// Why nothing can be fitted: mend the file.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// A matrix is none.
    #[error("{}: line {line}, value {cell}: {what}", path.display())]
    Matrix {
        /// Which file.
        path: PathBuf,
        /// From 1 up.
        line: u64,
        /// Among the cells of the line, from 1 up.
        cell: usize,
        /// What is wrong.
        what: String,
    },
    /// A table of places is none.
    #[error("{}: line {line}: {what}", path.display())]
    Places {
        /// Which file.
        path: PathBuf,
        /// From 1 up.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// Too little to fit anything to.
    #[error("{}: {pairs} pairs of places with coordinates and a round trip: at least {PAIRS_MIN} are needed", path.display())]
    TooFew {
        /// Which file.
        path: PathBuf,
        /// So many.
        pairs: usize,
    },
}

/// Fewer pairs say nothing of a factor.
const PAIRS_MIN: usize = 30;

/// Round trips with the distances that belong to them.
#[derive(Clone, Debug)]
pub struct Measured {
    path: PathBuf,
    /// Metres, microseconds.
    pairs: Vec<(u64, f64)>,
    matrix: Matrix,
}

impl Measured {
    /// Reads round trips (a square CSV, or `{"data": {FROM: {TO: ms}}}` as cloudping.co gives it) and where their ends are: a
    /// CSV with the columns `city` or `region`, `lat` and `lon`. What a place takes to itself is not the network's, and
    /// is taken off.
    ///
    /// # Errors
    /// When a file cannot be read, or holds too little.
    pub fn read(matrix: &Path, places: &Path) -> Result<Self, FitError> {
        let path = matrix;
        let matrix = read_matrix(path)?;
        let places = read_places(places)?;
        let mut pairs = Vec::new();
        for (a, b, micros) in matrix.pairs() {
            let (Some(at), Some(bt)) = (places.get(a), places.get(b)) else { continue };
            let own = |name: &str| matrix.one_way(name, name).unwrap_or(0);
            let micros = micros.saturating_sub(u64::midpoint(own(a), own(b)));
            // What takes no time was not measured.
            if micros > 0 {
                pairs.push((globe::metres(*at, *bt), float(micros)));
            }
        }
        if pairs.len() < PAIRS_MIN {
            return Err(FitError::TooFew { path: path.to_owned(), pairs: pairs.len() });
        }
        Ok(Self { path: path.to_owned(), pairs, matrix })
    }

    /// The figures with the least deviation. `average`: the mean round trips of the same pairs, whose excess over those read
    /// first, the least ones, is jitter; left out, the jitter that ships.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn fit(&self, average: Option<&Path>) -> Result<Figures, FitError> {
        let (mut low, mut high) = (1_000_u64, 20_000_u64);
        while low < high {
            let middle = u64::midpoint(low, high);
            if self.best_fixed(middle).1 <= self.best_fixed(middle + 1).1 { high = middle } else { low = middle + 1 }
        }
        let (fixed, _) = self.best_fixed(low);
        let jitter_us = average.map(|average| self.jitter(average)).transpose()?;
        Ok(Figures {
            fibre_per_mille: low,
            fixed_us: whole(fixed / 2.0),
            jitter_us: jitter_us.unwrap_or_else(|| Figures::default().jitter_us),
        })
    }

    /// How far figures are from these round trips.
    #[must_use]
    pub fn deviation(&self, figures: &Figures) -> Deviation {
        /// Where bands begin.
        const BANDS_KM: [u64; 5] = [0, 500, 2_000, 5_000, 10_000];
        let off = |(metres, micros): &(u64, f64)| {
            let round_trip = 2.0 * float(figures.delay_over(*metres)) / 1_000.0;
            (*metres, (round_trip - micros) / micros)
        };
        let all: Vec<(u64, f64)> = self.pairs.iter().map(off).collect();
        let band = |from_km: u64, until_km: u64| {
            let within = |(metres, _): &&(u64, f64)| (from_km * 1_000..until_km.saturating_mul(1_000)).contains(metres);
            let signed: Vec<f64> = all.iter().filter(within).map(|(_, off)| *off).collect();
            let sizes: Vec<f64> = signed.iter().map(|off| off.abs()).collect();
            let rounded = |of: Option<f64>| (of.unwrap_or_default() * 10_000.0).round() / 10_000.0;
            Band {
                from_km,
                pairs: signed.len(),
                median: rounded(quantile(sizes.clone(), 500)),
                p90: rounded(quantile(sizes, 900)),
                bias: rounded(quantile(signed, 500)),
            }
        };
        let ends = BANDS_KM.iter().skip(1).copied().chain([u64::MAX]);
        let bands = BANDS_KM.iter().zip(ends).map(|(from, until)| band(*from, until));
        let bands = bands.filter(|band| band.pairs > 0).collect();
        let Band { pairs, median, p90, bias, .. } = band(0, u64::MAX);
        Deviation { pairs, median, p90, bias, bands }
    }

    /// The fixed part that goes best with a factor, and the sum of relative deviations.
    fn best_fixed(&self, per_mille: u64) -> (f64, f64) {
        let rest = |(metres, micros): &(u64, f64)| micros - float(*metres) * 0.01 * float(per_mille) / 1_000.0;
        let mut rests: Vec<(f64, f64)> = self.pairs.iter().map(|pair| (rest(pair), 1.0 / pair.1)).collect();
        rests.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let half = rests.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
        let mut weight = 0.0;
        let median = rests.iter().find(|(_, own)| {
            weight += own;
            weight >= half
        });
        let fixed = median.map_or(0.0, |(rest, _)| rest.max(0.0));
        (fixed, rests.iter().map(|(rest, weight)| (rest - fixed).abs() * weight).sum())
    }

    /// The middle of each tenth of what mean round trips exceed the least ones by, one way.
    fn jitter(&self, average: &Path) -> Result<[u64; 10], FitError> {
        let averages = read_matrix(average)?;
        let mut late: Vec<f64> = Vec::new();
        for (from, to) in self.matrix.names.iter().flat_map(|a| self.matrix.names.iter().map(move |b| (a, b))) {
            let least = self.matrix.one_way(from, to).filter(|least| *least > 0);
            if let (Some(least), Some(mean)) = (least, averages.one_way(from, to)) {
                late.push(float(mean.saturating_sub(least)) / 2.0);
            }
        }
        if late.len() < PAIRS_MIN {
            return Err(FitError::TooFew { path: average.to_owned(), pairs: late.len() });
        }
        late.sort_unstable_by(f64::total_cmp);
        Ok(std::array::from_fn(|tenth| whole(late[(late.len() * (2 * tenth + 1)) / 20])))
    }

    /// Which file it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Figures {
    /// As the file that ships holds them.
    #[must_use]
    pub fn to_file(&self, why: &str) -> String {
        let Self { fibre_per_mille, fixed_us, jitter_us } = self;
        let why = why.lines().collect::<Vec<_>>().join("\n# ");
        format!("# {why}\nfibre_per_mille = {fibre_per_mille}\nfixed_us = {fixed_us}\njitter_us = {jitter_us:?}\n")
    }
}

fn read_matrix(path: &Path) -> Result<Matrix, FitError> {
    let spoilt = |Spoilt { line, cell, what }| FitError::Matrix { path: path.to_owned(), line, cell, what };
    let text = std::fs::read_to_string(path)
        .map_err(|why| spoilt(Spoilt { line: 1, cell: 1, what: format!("cannot be read: {why}") }))?;
    let read = if text.trim_start().starts_with('{') { cloudping(&text) } else { Matrix::parse(&text) };
    read.map_err(spoilt)
}

/// As cloudping.co gives it, made a square CSV.
fn cloudping(text: &str) -> Result<Matrix, Spoilt> {
    #[derive(serde::Deserialize)]
    struct Answer {
        data: BTreeMap<String, BTreeMap<String, f64>>,
    }
    let answer: Answer = serde_json::from_str(text).map_err(|error| {
        let line = u64::try_from(error.line()).unwrap_or(1);
        Spoilt { line, cell: error.column(), what: format!("is not as cloudping.co has it: {error}") }
    })?;
    let names: Vec<&str> = answer.data.keys().map(String::as_str).collect();
    let mut square = format!("from,{}\n", names.join(","));
    for (from, row) in &answer.data {
        let cell = |to: &&str| row.get(*to).map(|ms| format!("{ms:.3}")).unwrap_or_default();
        let cells: Vec<String> = names.iter().map(cell).collect();
        square.extend([from, ",", &cells.join(","), "\n"]);
    }
    Matrix::parse(&square)
}

/// Where places are. Those without coordinates are left out.
fn read_places(path: &Path) -> Result<BTreeMap<String, Spot>, FitError> {
    let wrong = |line: u64, what: String| FitError::Places { path: path.to_owned(), line, what };
    let mut reader = csv::Reader::from_path(path).map_err(|error| wrong(1, format!("cannot be read: {error}")))?;
    let head = reader.headers().map_err(|error| wrong(1, error.to_string()))?.clone();
    let column = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| head.iter().position(|column| column == *name));
        found.ok_or_else(|| wrong(1, format!("has no column {}", names.join(" or "))))
    };
    let (name, latitude, longitude) =
        (column(["region", "city"])?, column(["lat", "latitude"])?, column(["lon", "longitude"])?);
    let mut places = BTreeMap::new();
    for (line, row) in (2..).zip(reader.records()) {
        let row = row.map_err(|error| wrong(line, error.to_string()))?;
        let cell = |column: usize| row.get(column).unwrap_or_default();
        if cell(latitude).is_empty() {
            continue;
        }
        let degrees = |text: &str| Spot::degrees(text).ok_or_else(|| wrong(line, format!("{text:?} is no degree")));
        let spot = Spot { latitude: degrees(cell(latitude))?, longitude: degrees(cell(longitude))? };
        places.insert(cell(name).to_owned(), spot);
    }
    Ok(places)
}

/// The value that `per_mille` of all do not exceed.
fn quantile(mut values: Vec<f64>, per_mille: usize) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get((values.len() * per_mille).div_ceil(1_000).max(1) - 1).copied()
}

#[expect(clippy::cast_precision_loss, reason = "no distance or time needs a 16th digit")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are not negative, and short")]
fn whole(micros: f64) -> u64 {
    micros.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::{
        super::city::{cities, find},
        *,
    };

    const NAMES: [&str; 9] =
        ["Paris", "New York", "Tokyo", "Sydney", "Lyon", "Madrid", "Singapore", "Sao Paulo", "Oslo"];

    /// Round trips as figures would have them, every seventh pair five times as long.
    fn written(folder: &Path, figures: &Figures, wild: bool) -> (PathBuf, PathBuf) {
        let spot = |name: &str| cities()[usize::from(find(name).unwrap())].at;
        let mut places = "city,lat,lon\n".to_owned();
        let mut square = format!("source,{}\n", NAMES.join(","));
        for (a, from) in NAMES.iter().enumerate() {
            let degrees = |millionths: i64| format!("{:.6}", Figures::of_millionths(millionths));
            places.extend([from, ",", &degrees(spot(from).latitude), ",", &degrees(spot(from).longitude), "\n"]);
            square.push_str(from);
            for (b, to) in NAMES.iter().enumerate() {
                let micros = 2 * figures.delay_over(globe::metres(spot(from), spot(to))) / 1_000;
                let micros = if wild && (a + b) % 7 == 0 { micros * 5 } else { micros };
                let own = if a == b { 0 } else { micros };
                square.extend([",", &format!("{}.{:03}", own / 1_000, own % 1_000)]);
            }
            square.push('\n');
        }
        let paths = (folder.join("matrix.csv"), folder.join("places.csv"));
        std::fs::write(&paths.0, square).unwrap();
        std::fs::write(&paths.1, places).unwrap();
        paths
    }

    impl Figures {
        #[expect(clippy::cast_precision_loss, reason = "a degree has few digits")]
        fn of_millionths(millionths: i64) -> f64 {
            millionths as f64 / 1e6
        }
    }

    #[test]
    fn a_fit_finds_the_figures_that_made_the_round_trips_though_some_are_wild() {
        let folder = tempfile::tempdir().unwrap();
        for wild in [false, true] {
            let made = Figures { fibre_per_mille: 1_430, fixed_us: 2_100, jitter_us: [0; 10] };
            let (matrix, places) = written(folder.path(), &made, wild);
            let measured = Measured::read(&matrix, &places).unwrap();
            let fitted = measured.fit(Some(&matrix)).unwrap();
            assert!(fitted.fibre_per_mille.abs_diff(1_430) <= 5, "{fitted:?}");
            assert!(fitted.fixed_us.abs_diff(2_100) <= 50, "{fitted:?}");
            assert_eq!(fitted.jitter_us, [0; 10], "the mean is the least here");
            assert!(measured.deviation(&fitted).median < 0.01);
            assert_eq!(measured.deviation(&fitted).pairs, 36);
        }
    }

    #[test]
    fn what_cannot_be_fitted_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let (matrix, places) = written(folder.path(), &Figures::default(), false);
        std::fs::write(folder.path().join("bad.csv"), "city,lat,lon\nParis,north,2\n").unwrap();
        let complaint = |matrix: &Path, places: &Path| Measured::read(matrix, places).unwrap_err().to_string();
        let text = complaint(&matrix, &folder.path().join("bad.csv"));
        assert!(text.contains("bad.csv: line 2") && text.contains("north"), "{text}");
        let text = complaint(&places, &places);
        assert!(text.contains("places.csv: line 3, value 3") && text.contains("-74"), "{text}");
        std::fs::write(folder.path().join("few.csv"), "city,lat,lon\nParis,48,2\n").unwrap();
        assert!(complaint(&matrix, &folder.path().join("few.csv")).contains("at least 30"));
        assert!(complaint(&folder.path().join("none.csv"), &places).contains("cannot be read"));
    }

    #[test]
    fn figures_are_written_as_they_are_read() {
        let figures = Figures { fibre_per_mille: 1_234, fixed_us: 5, jitter_us: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] };
        let read: Figures = toml::from_str(&figures.to_file("how\nand why")).unwrap();
        assert_eq!(read, figures);
        assert!(figures.to_file("how\nand why").starts_with("# how\n# and why\n"));
    }
}
