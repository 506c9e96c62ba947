//! `bocage sim run`: an experiment in the simulator, where whole nodes run the same protocol as real ones.
use std::{num::NonZero, path::PathBuf, process::ExitCode, thread};

use bocage_simulator::{Scenario, ScenarioError};
use clap::{Args, Subcommand};

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Sim {
    /// Run a scenario
    Run(Run),
}

/// The same scenario and seed give the same run, event by event: the trace hash shows it.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing was violated, 1 a property was violated, 2 the scenario cannot be run, \
    3 a node crashed.")]
pub(crate) struct Run {
    /// What to simulate
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// All randomness comes from it
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Run so many seeds, from --seed up, on all cores, and sum them up
    #[arg(long, value_name = "N")]
    seeds: Option<NonZero<u64>>,
    /// So many of a thousand nodes speak the previous wire version, whatever the scenario says
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000))]
    previous_wire_per_mille: Option<u32>,
}

impl Sim {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let Self::Run(Run { scenario: path, seed, seeds, previous_wire_per_mille }) = self;
        let mut scenario = Scenario::load(&path).map_err(|error| wrong(&path, &error))?;
        if let Some(share) = previous_wire_per_mille {
            scenario.knobs.previous_wire_per_mille = share;
        }
        if let Some(count) = seeds {
            at.say.step(format!("{} with {count} seeds from {seed}", scenario.name));
            let cores = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
            let sweep = bocage_simulator::sweep::sweep(&scenario, seed..seed.saturating_add(count.get()), cores);
            say::to_stdout(&if at.say.is_json() { sweep.to_json() + "\n" } else { sweep.to_text() });
            return Ok(ExitCode::from(u8::from(sweep.ended())));
        }
        at.say.step(format!("{} with seed {seed}", scenario.name));
        let report = bocage_simulator::run(&scenario, seed);
        say::to_stdout(&if at.say.is_json() { report.to_json() + "\n" } else { report.to_text() });
        Ok(ExitCode::from(report.exit_code()))
    }
}

fn wrong(path: &std::path::Path, error: &ScenarioError) -> Failure {
    let why = match error {
        ScenarioError::Unreadable { why, .. } => format!(": {why}"),
        ScenarioError::Malformed(_) | ScenarioError::Impossible { .. } => String::new(),
    };
    Failure::new(Exit::Usage, "scenario", format!("{}: {error}{why}", path.display()))
        .next("simulator/scenarios/ holds some that run")
}
