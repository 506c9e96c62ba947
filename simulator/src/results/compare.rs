//! Two sets of runs held against each other, seed by seed: runs of one seed saw the same faults, so what differs between
//! them is what differs between the variants.
use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::{
    folder::ResultsError,
    runs::{Kept, kept},
};

/// How sure an interval is.
const CONFIDENCE: f64 = 0.95;

/// Two sets of runs, measure by measure.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What was compared: scenario and variant.
    pub a: String,
    /// With what.
    pub b: String,
    /// Seeds that both have.
    pub pairs: u64,
    /// Seeds that only one of them has; they are left out.
    pub unpaired: u64,
    /// Each measure that both took with a seed of both.
    pub measures: BTreeMap<String, Compared>,
}

/// One measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Of all numbers here but the effect.
    pub unit: String,
    /// Seeds with which both took it.
    pub pairs: u64,
    /// Means over these seeds.
    pub mean_a: f64,
    /// As `mean_a`.
    pub mean_b: f64,
    /// B less A, mean over the pairs.
    pub difference: f64,
    /// Where the true difference lies, with 95 % confidence (Student's t over the pairs); none of fewer than two.
    pub interval: Option<[f64; 2]>,
    /// Cohen's d of paired differences: the difference in its own standard deviations. None where all pairs differ by the
    /// same.
    pub effect: Option<f64>,
    /// Whether the interval excludes 0.
    pub significant: bool,
}

/// Compares the runs of two folders, each of one variant.
///
/// # Errors
/// When a folder has no runs, or more than one variant, or no seed is in both.
pub fn compare(a: &Path, b: &Path) -> Result<Comparison, ResultsError> {
    let (runs_a, runs_b) = (of_one_variant(a)?, of_one_variant(b)?);
    let name = |runs: &[Kept]| format!("{} ({})", runs[0].manifest.scenario, runs[0].manifest.variant);
    let (name_a, name_b) = (name(&runs_a), name(&runs_b));
    let mut of_b: BTreeMap<u64, Kept> = runs_b.into_iter().map(|run| (run.manifest.seed, run)).collect();
    let (mut pairs, mut unpaired) = (Vec::new(), 0);
    for run in runs_a {
        match of_b.remove(&run.manifest.seed) {
            Some(other) => pairs.push((run.manifest.measures, other.manifest.measures)),
            None => unpaired += 1,
        }
    }
    unpaired += of_b.len() as u64;
    if pairs.is_empty() {
        let what = format!("no seed is both in it and in {}: run both with the same seeds", a.display());
        return Err(ResultsError::Unreadable { path: b.to_owned(), what });
    }
    let mut values: BTreeMap<&String, Vec<(f64, f64)>> = BTreeMap::new();
    for (of_a, of_b) in &pairs {
        for (measure, value) in of_a {
            if let Some(other) = of_b.get(measure) {
                values.entry(measure).or_default().push((*value, *other));
            }
        }
    }
    let measures =
        values.into_iter().map(|(measure, pairs)| (measure.clone(), Compared::of(measure, &pairs))).collect();
    Ok(Comparison { a: name_a, b: name_b, pairs: pairs.len() as u64, unpaired, measures })
}

fn of_one_variant(path: &Path) -> Result<Vec<Kept>, ResultsError> {
    let runs = kept(path)?;
    let mut variants: Vec<&str> = runs.iter().map(|run| run.manifest.variant.as_str()).collect();
    variants.dedup();
    if let [first, _, ..] = variants[..] {
        let name = path.join(super::runs::RUNS).join(first).display().to_string();
        let what = format!("it holds {} variants: name one of them, such as {name}", variants.len());
        return Err(ResultsError::Unreadable { path: path.to_owned(), what });
    }
    Ok(runs)
}

impl Compared {
    /// Of pairs, of which there is at least one.
    #[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
    fn of(measure: &str, pairs: &[(f64, f64)]) -> Self {
        let count = pairs.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / count;
        let difference = mean(&|(a, b)| b - a);
        let variance = pairs.iter().map(|(a, b)| (b - a - difference).powi(2)).sum::<f64>() / (count - 1.0);
        let deviation = variance.sqrt();
        let interval = (pairs.len() > 1).then(|| {
            let t = StudentsT::new(0.0, 1.0, count - 1.0).expect("there is a degree of freedom");
            let reach = t.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)) * deviation / count.sqrt();
            [difference - reach, difference + reach]
        });
        let significant = interval.is_some_and(|[low, high]| low > 0.0 || high < 0.0);
        Self {
            unit: crate::measure::unit(measure).to_owned(),
            pairs: pairs.len() as u64,
            mean_a: mean(&|(a, _)| *a),
            mean_b: mean(&|(_, b)| *b),
            difference,
            interval,
            effect: (pairs.len() > 1 && deviation > 0.0).then(|| difference / deviation),
            significant,
        }
    }
}

impl Comparison {
    /// One JSON document.
    ///
    /// # Panics
    /// Never: a comparison holds nothing that JSON cannot.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a comparison holds nothing that JSON cannot")
    }

    /// For people. A star marks what differs for sure enough.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("A  {}\nB  {}\n{} seeds in both", self.a, self.b, self.pairs);
        if self.unpaired > 0 {
            write!(text, ", {} in one only and left out", self.unpaired).expect("a String takes every line");
        }
        let heads = ["A", "B", "B − A", "95 % interval of it", "effect"];
        writeln!(
            text,
            "\n  {:32} {:>6} {:>12} {:>12} {:>12} {:>27} {:>8}",
            "", "pairs", heads[0], heads[1], heads[2], heads[3], heads[4]
        )
        .expect("a String takes every line");
        for (measure, of) in &self.measures {
            let interval = of.interval.map_or("—".to_owned(), |[low, high]| format!("{low:.3} … {high:.3}"));
            let effect = of.effect.map_or("—".to_owned(), |effect| format!("{effect:.2}"));
            let star = if of.significant { "*" } else { " " };
            writeln!(
                text,
                "{star} {measure:32} {:>6} {:>12.3} {:>12.3} {:>12.3} {interval:>27} {effect:>8}",
                of.pairs, of.mean_a, of.mean_b, of.difference
            )
            .expect("a String takes every line");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paired_differences_have_the_interval_and_effect_of_the_textbook() {
        // Differences 2, 4, 6, 8, 10: mean 6, deviation √10, t(4) = 2.776.
        let pairs = [(1.0, 3.0), (2.0, 6.0), (3.0, 9.0), (4.0, 12.0), (5.0, 15.0)];
        let of = Compared::of("write_p50_ms", &pairs);
        assert_eq!((of.mean_a, of.mean_b, of.difference, of.pairs, of.unit.as_str()), (3.0, 9.0, 6.0, 5, "ms"));
        let [low, high] = of.interval.unwrap();
        assert!((low - 2.073).abs() < 0.001 && (high - 9.927).abs() < 0.001, "{low} {high}");
        assert!((of.effect.unwrap() - 6.0 / 10_f64.sqrt()).abs() < 1e-9 && of.significant);
    }

    #[test]
    fn one_pair_has_no_interval_and_pairs_alike_no_effect() {
        let one = Compared::of("x", &[(1.0, 2.0)]);
        assert_eq!((one.interval, one.effect, one.significant), (None, None, false));
        let alike = Compared::of("x", &[(1.0, 1.0), (5.0, 5.0)]);
        assert_eq!((alike.interval, alike.effect, alike.significant), (Some([0.0, 0.0]), None, false));
        let mixed = Compared::of("x", &[(1.0, 2.0), (2.0, 1.0), (3.0, 3.0)]);
        assert!(!mixed.significant);
    }
}
