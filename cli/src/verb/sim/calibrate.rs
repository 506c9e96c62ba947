//! `bocage sim calibrate`: the figures that turn distance into delay, fitted to measured round trips.
use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use bocage_simulator::geo::fit::{Deviation, FitError, Fitted, Measured};
use clap::Args;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
};

/// A factor of the way of light in fibre and a fixed part, by least absolute relative deviation; how late frames are, by the
/// excess of mean round trips over the least ones.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage sim calibrate --matrix rtt_matrix_min_ms.csv --average rtt_matrix_avg_ms.csv --cities cities.csv
  bocage sim calibrate --matrix rtt_matrix_min_ms.csv --cities cities.csv --check p50.json --check-cities regions.csv

A matrix is a square CSV of milliseconds whose first row and first column are names, or what cloudping.co answers. Places are
a CSV with the columns city (or region), lat and lon.")]
pub(crate) struct Calibrate {
    /// The least round trips between places
    #[arg(long, value_name = "FILE")]
    matrix: PathBuf,
    /// Where the places are
    #[arg(long, value_name = "FILE")]
    cities: PathBuf,
    /// The mean round trips of the same places, for the jitter; left out, it stays as it ships
    #[arg(long, value_name = "FILE")]
    average: Option<PathBuf>,
    /// Other round trips to hold the figures against
    #[arg(long, value_name = "FILE", requires = "check_cities")]
    check: Option<PathBuf>,
    /// Where their ends are
    #[arg(long, value_name = "FILE", requires = "check")]
    check_cities: Option<PathBuf>,
    /// Write the figures to this file; simulator/data/delay.toml is the one that ships
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Calibrate {
    pub(crate) fn run(&self, at: &Invocation) -> Result<ExitCode, Failure> {
        let unfit = |error: FitError| {
            Failure::new(Exit::Usage, "measurements", error.to_string()).next("the form of both files: --help")
        };
        let measured = Measured::read(&self.matrix, &self.cities).map_err(unfit)?;
        let figures = measured.fit(self.average.as_deref()).map_err(unfit)?;
        let others = self.check.as_ref().zip(self.check_cities.as_ref());
        let others = others.map(|(matrix, cities)| Measured::read(matrix, cities)).transpose().map_err(unfit)?;
        let checked = others.map(|others| others.deviation(&figures));
        let fitted = Fitted { error: measured.deviation(&figures), figures, checked };
        if let Some(path) = &self.write {
            let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let why = format!(
                "Fitted by bocage sim calibrate to {} pairs of {} (docs/simulator.md says whose measurements they are).",
                fitted.error.pairs,
                name(&self.matrix)
            );
            std::fs::write(path, fitted.figures.to_file(&why)).map_err(|why| {
                Failure::new(Exit::Usage, "figures", format!("cannot write {}: {why}", path.display()))
                    .next("name a file in a folder that is there with --write")
            })?;
        }
        at.say.result(&fitted, shown);
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(fitted: &Fitted) -> String {
    let figures = &fitted.figures;
    let mut text = String::new();
    let mut line = |shown: std::fmt::Arguments| writeln!(text, "{shown}").expect("a String takes every line");
    let factor = format!("{}.{:03}", figures.fibre_per_mille / 1_000, figures.fibre_per_mille % 1_000);
    line(format_args!(
        "one way: {factor} × the time of light in fibre along the great circle, and {} µs",
        figures.fixed_us
    ));
    line(format_args!("late by, on the average, one way, for each tenth of pairs: {:?} µs", figures.jitter_us));
    let mut deviation = |what: &str, of: &Deviation| {
        line(format_args!(
            "{what}, {} pairs: off by {:.1} % (median), {:.1} % (p90); bias {:+.1} %",
            of.pairs,
            100.0 * of.median,
            100.0 * of.p90,
            100.0 * of.bias
        ));
        for band in &of.bands {
            line(format_args!(
                "  from {:>5} km, {:>5} pairs: {:>5.1} %, {:>5.1} %; bias {:+.1} %",
                band.from_km,
                band.pairs,
                100.0 * band.median,
                100.0 * band.p90,
                100.0 * band.bias
            ));
        }
    };
    deviation("fitted to", &fitted.error);
    fitted.checked.iter().for_each(|checked| deviation("held against", checked));
    text
}
