//! `bocage sim validate`: one scenario in the simulator and as real processes over emulated links, side by side.
//!
//! Read: the mesh of processes (`nodes`), whoever asks one of them again and again (`asker`), and one file for each question.
mod nodes;
mod asker;
mod failover;
mod offer;

use std::{num::NonZero, path::PathBuf, process::ExitCode};

use bocage_protocol::random::{Rng, Seed};
use bocage_simulator::{
    Experiment, Layout, Question,
    validate::{Held, Kept, simulated},
};
use clap::Args;

use self::nodes::Nodes;
use super::{unkept, wrong};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
};

/// So many seeds are simulated for each run of real processes, unless the person says otherwise: they cost little.
const SEEDS_A_RUN: u64 = 10;

/// Asks the question of the scenario's [validate] of real processes, each on an emulated host of its own, and of the
/// simulator: both medians, their ratio, and its 95 % interval. Needs root (or CAP_NET_ADMIN and CAP_SYS_ADMIN),
/// /dev/net/tun and iproute2. Nothing else should run on the machine meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage sim validate simulator/scenarios/validate-failover.toml
  bocage sim validate simulator/scenarios/validate-offer.toml --runs 60 --out results/offer

Exit codes: 0 the interval lies within 0.9 to 1.1, 1 it does not, 2 the scenario cannot be run as real processes or its
results not kept.")]
pub(crate) struct Validate {
    /// What to ask; its [validate] says which question
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// So many answers of real processes
    #[arg(long, default_value_t = NonZero::new(30).expect("30 is not 0"), value_name = "N")]
    runs: NonZero<u32>,
    /// So many answers of the simulator, with a seed each [default: ten for each run]
    #[arg(long, value_name = "N")]
    seeds: Option<NonZero<u64>>,
    /// The first of these seeds; the links' draws and moments of real runs come from it, too
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Keep all answers in this folder, which must be new or empty
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Validate {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let Self { scenario: path, runs, seeds, seed, out } = self;
        let experiment = Experiment::load(&path).map_err(|error| wrong(&path, &error))?;
        let layout = experiment.layout().map_err(|error| wrong(&path, &error))?;
        let kept = out.as_ref().map(|out| Kept::begin(&experiment, out)).transpose().map_err(|error| unkept(&error))?;
        let scenario = experiment.scenario();
        let seeds = seeds.map_or(SEEDS_A_RUN * u64::from(runs.get()), NonZero::get);
        at.say.step(format!("{} in the simulator with {seeds} seeds from {seed}", scenario.name));
        let answers: Result<Vec<f64>, String> =
            (seed..seed.saturating_add(seeds)).map(|seed| simulated(scenario, seed)).collect();
        let simulated = answers.map_err(|what| Failure::new(Exit::Usage, "no-answer", what))?;
        at.say.step(format!("{} as {} real processes, {runs} runs", scenario.name, layout.seats.len()));
        let real = answers_of_processes(&layout, runs.get(), seed, at)?;
        let held = Held::of(scenario, layout.question, real, simulated, seed);
        if let Some(kept) = kept {
            kept.end(&held).map_err(|error| unkept(&error))?;
        }
        at.say.result(&held, Held::to_text);
        Ok(ExitCode::from(u8::from(!held.holds)))
    }
}

/// All of one mesh: what befell it in one run is over before the next begins.
fn answers_of_processes(layout: &Layout, runs: u32, seed: u64, at: &Invocation) -> Result<Vec<f64>, Failure> {
    let nodes = Nodes::raise(layout, seed, at.say)?;
    let seed = Seed([0; 32]).split_for("validate", &seed.to_be_bytes());
    let draws = |run: u32| seed.split_for("run", &run.to_be_bytes()).rng();
    let asked = match layout.question {
        Question::Failover => {
            let app = nodes.deploy(layout)?;
            each(runs, at, |run| failover::ask(&nodes, layout, &app, run, draws(run)))
        }
        Question::Offer => {
            nodes.rest();
            each(runs, at, |run| offer::ask(&nodes, layout, draws(run)))
        }
    };
    asked.map_err(|failure| {
        at.say.detail(nodes.mesh.last_words());
        failure
    })
}

fn each(runs: u32, at: &Invocation, mut ask: impl FnMut(u32) -> Result<f64, Failure>) -> Result<Vec<f64>, Failure> {
    let mut answers = Vec::new();
    for run in 1..=runs {
        let answer = ask(run)?;
        at.say.step(format!("  run {run} of {runs}: {answer:.1} ms"));
        answers.push(answer);
    }
    Ok(answers)
}

/// Of so many one, but not this one.
fn other_than(not: usize, of: usize, rng: &mut Rng) -> usize {
    let drawn = rng.index(of - 1).unwrap_or(0);
    if drawn < not { drawn } else { drawn + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_drawn_and_never_the_one() {
        let mut rng = Seed([7; 32]).rng();
        let mut seen = [0; 5];
        (0..200).for_each(|_| seen[other_than(2, 5, &mut rng)] += 1);
        assert!(seen[2] == 0 && [0, 1, 3, 4].iter().all(|node| seen[*node] > 20), "{seen:?}");
    }
}
