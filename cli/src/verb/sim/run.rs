//! `bocage sim run`: one scenario as it stands, with one seed or with many.
use std::{num::NonZero, path::PathBuf, process::ExitCode};

use bocage_simulator::{Experiment, results};
use clap::Args;

use super::{cores, unkept, wrong};
use crate::{failure::Failure, invocation::Invocation, say};

/// The same scenario and seed give the same run, event by event: the trace hash shows it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage sim run simulator/scenarios/three.toml --seed 7
  bocage sim run lab.toml --out results/lab-1       measures.parquet, measures.csv, scenario.toml, manifest.json

Exit codes: 0 nothing was violated, 1 a property was violated, 2 the scenario cannot be run or its results not kept,
3 a node crashed.")]
pub(crate) struct Run {
    /// What to simulate
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// All randomness comes from it
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Run so many seeds, from --seed up, on all cores, and sum them up; `sim sweep` keeps what each measured
    #[arg(long, value_name = "N", conflicts_with = "out")]
    seeds: Option<NonZero<u64>>,
    /// Keep what is measured in this folder, which must be new or empty
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// So many of a thousand nodes speak the previous wire version, whatever the scenario says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    previous_wire_per_mille: Option<u32>,
}

impl Run {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let Self { scenario: path, seed, seeds, out, previous_wire_per_mille } = self;
        let mut experiment = Experiment::load(&path).map_err(|error| wrong(&path, &error))?;
        if let Some(share) = previous_wire_per_mille {
            experiment.scenario_mut().knobs.previous_wire_per_mille = share;
        }
        let scenario = experiment.scenario();
        if let Some(count) = seeds {
            at.say.step(format!("{} with {count} seeds from {seed}", scenario.name));
            let sweep = bocage_simulator::sweep::sweep(scenario, seed..seed.saturating_add(count.get()), cores());
            say::to_stdout(&if at.say.is_json() { sweep.to_json() + "\n" } else { sweep.to_text() });
            return Ok(ExitCode::from(u8::from(sweep.ended())));
        }
        at.say.step(format!("{} with seed {seed}", scenario.name));
        let report = match &out {
            None => bocage_simulator::run(scenario, seed),
            Some(folder) => results::run_into(&experiment, seed, folder).map_err(|error| unkept(&error))?,
        };
        say::to_stdout(&if at.say.is_json() { report.to_json() + "\n" } else { report.to_text() });
        if let Some(folder) = out {
            at.say.step(format!("measured: {}", folder.display()));
        }
        Ok(ExitCode::from(report.exit_code()))
    }
}
