//! `bocage sim sweep`: every variant of a scenario's grid with every seed, into a folder.
use std::{num::NonZero, path::PathBuf, process::ExitCode, time::Duration};

use bocage_simulator::{Experiment, results};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{cores, ended, unkept, wrong};
use crate::{failure::Failure, invocation::Invocation};

/// One file a run, each whole or not there: broken off, the same command goes on where it was.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage sim sweep lab.toml --out results/lab                 the grid and seeds of its [sweep]
  bocage sim sweep lab.toml --out results/lab --seeds 100     more seeds; those that are there are not run again

Exit codes: 0 nothing was violated, 1 a property was violated, 2 the scenario cannot be run or its results not kept,
3 a node crashed.")]
pub(crate) struct Sweep {
    /// What to simulate; its [sweep] says what varies
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// Keep what is measured in this folder: new, empty, or of this sweep
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// So many seeds for each variant, whatever the scenario says
    #[arg(long, value_name = "N")]
    seeds: Option<NonZero<u64>>,
    /// From this seed on, whatever the scenario says
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// On so many threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
}

impl Sweep {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let Self { scenario: path, out, seeds, seed, threads } = self;
        let experiment = Experiment::load(&path).map_err(|error| wrong(&path, &error))?;
        let variants = experiment.variants().map_err(|error| wrong(&path, &error))?;
        let grid = &experiment.scenario().sweep;
        let first = seed.unwrap_or(grid.first_seed);
        let seeds = first..first.saturating_add(seeds.map_or(grid.seeds, NonZero::get));
        let bar = progress(at.say.quiet);
        let told = |done: usize, all: usize, found: usize| {
            bar.set_length(all as u64);
            if done == found {
                bar.set_position(found as u64);
                // What was there before says nothing about how long the rest takes.
                bar.reset_eta();
            }
            bar.set_position(done as u64);
        };
        let threads = threads.unwrap_or_else(cores);
        let swept = results::sweep_into(&experiment, &variants, seeds, &out, threads, &told);
        bar.finish_and_clear();
        let swept = swept.map_err(|error| unkept(&error))?;
        at.say.result(&swept, |swept| {
            let mut lines = vec![format!(
                "{}: {} runs, {} of them there before; {} violated something, {} crashed; {:.1} s",
                swept.scenario, swept.runs, swept.found, swept.violated, swept.crashed, swept.wall_s
            )];
            let variant = |(name, of): (&String, &results::OfVariant)| {
                format!("  {name:40} {:>6} runs {:>6} violated", of.runs, of.violated)
            };
            lines.extend(swept.variants.iter().map(variant));
            lines.join("\n") + "\n"
        });
        at.say.step(format!("measured: {0}; look at it: bocage sim report {0}", out.display()));
        Ok(ended(swept.violated, swept.crashed))
    }
}

/// A bar on stderr with the time that is left; none where nobody sees it.
pub(super) fn progress(quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {elapsed} so far, {eta} left");
    bar.set_style(style.expect("the template is a constant that indicatif reads"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
