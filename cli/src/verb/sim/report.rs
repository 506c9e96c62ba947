//! `bocage sim report`: results as one page.
use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;

use super::unkept;
use crate::{failure::Failure, invocation::Invocation};

/// One file that needs nothing but a browser; the numbers of each figure, and its Vega-Lite, lie in figures/ beside it.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// A folder that `sim run --out` or `sim sweep --out` made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Serialize)]
struct Made {
    report: PathBuf,
    figures: usize,
}

impl Report {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let figures = bocage_simulator::write_report(&self.folder).map_err(|error| unkept(&error))?;
        let made = Made { report: self.folder.join("report.html"), figures };
        at.say.result(&made, |made| format!("{}\n", made.report.display()));
        Ok(ExitCode::SUCCESS)
    }
}
