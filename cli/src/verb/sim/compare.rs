//! `bocage sim compare`: two sets of runs, seed by seed.
use std::{path::PathBuf, process::ExitCode};

use bocage_simulator::results;
use clap::Args;

use super::unkept;
use crate::{failure::Failure, invocation::Invocation};

/// Runs of one seed saw the same faults, so each seed is compared with itself: mean difference, its 95 % interval
/// (Student's t over the pairs), and the effect size (Cohen's d of paired differences).
#[derive(Debug, Args)]
#[command(after_help = "Example:
  bocage sim compare results/lab/runs/knobs.probe_ms=500 results/lab/runs/knobs.probe_ms=2000")]
pub(crate) struct Compare {
    /// A folder that `sim run --out` or `sim sweep --out` made, or one variant's in it
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    b: PathBuf,
}

impl Compare {
    pub(crate) fn run(&self, at: &Invocation) -> Result<ExitCode, Failure> {
        let comparison = results::compare(&self.a, &self.b).map_err(|error| unkept(&error))?;
        at.say.result(&comparison, results::Comparison::to_text);
        Ok(ExitCode::SUCCESS)
    }
}
