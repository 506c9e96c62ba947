//! Figures with all their runs.
use std::fmt::Write as _;

use serde::Serialize;

/// What is measured, what is promised, and every run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// `None`: only told.
    pub(crate) at_most: Option<f64>,
    /// Which of the runs is held against it.
    pub(crate) counts: Counts,
    pub(crate) runs: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Counts {
    Worst,
    Median,
}

/// So many, as a figure.
pub(crate) fn count(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

impl Figure {
    /// Held by its worst run.
    pub(crate) fn worst(name: &str, unit: &'static str, at_most: f64, runs: Vec<f64>) -> Self {
        Self { name: name.to_owned(), unit, at_most: Some(at_most), counts: Counts::Worst, runs }
    }

    /// Told for understanding.
    pub(crate) fn told(name: &str, unit: &'static str, runs: Vec<f64>) -> Self {
        Self { name: name.to_owned(), unit, at_most: None, counts: Counts::Worst, runs }
    }

    fn value(&self, counts: Counts) -> f64 {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        match counts {
            Counts::Worst => sorted.last().copied().unwrap_or(f64::INFINITY),
            Counts::Median => sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY),
        }
    }

    /// Whether it is as promised. Nothing measured keeps nothing.
    pub(crate) fn is_kept(&self) -> bool {
        self.at_most.is_none_or(|at_most| self.value(self.counts) <= at_most)
    }
}

pub(crate) fn markdown(figures: &[Figure]) -> String {
    let mut text = "| figure | at most | worst | median | kept | all runs |\n|---|---|---|---|---|---|\n".to_owned();
    for figure in figures {
        let unit = figure.unit;
        let promise = match (figure.at_most, figure.counts) {
            (Some(at_most), Counts::Worst) => format!("{at_most} {unit}"),
            (Some(at_most), Counts::Median) => format!("{at_most} {unit}, median"),
            (None, _) => String::new(),
        };
        let kept = match (figure.at_most, figure.is_kept()) {
            (None, _) => "",
            (Some(_), true) => "yes",
            (Some(_), false) => "**no**",
        };
        let runs: Vec<_> = figure.runs.iter().map(|run| short(*run)).collect();
        let (worst, median) = (short(figure.value(Counts::Worst)), short(figure.value(Counts::Median)));
        let name = &figure.name;
        writeln!(text, "| {name} | {promise} | {worst} {unit} | {median} {unit} | {kept} | {} |", runs.join(" "))
            .expect("a String takes every line");
    }
    text
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_run_counts_and_no_run_keeps_nothing() {
        let figure = |runs: &[f64]| Figure::worst("f", "s", 2.0, runs.to_vec());
        assert!(figure(&[1.0, 2.0, 0.5]).is_kept());
        assert!(!figure(&[1.0, 2.01]).is_kept());
        assert!(!figure(&[]).is_kept());
        let median = Figure { counts: Counts::Median, ..figure(&[1.0, 1.5, 9.0]) };
        assert!(median.is_kept());
        assert!(markdown(&[median]).contains("| f | 2 s, median | 9 s | 1.5 s | yes | 1 1.5 9 |"));
    }
}
