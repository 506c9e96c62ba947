//! `bocage sim validate`: one scenario in the simulator and as real processes over emulated links, side by side.
//!
//! Read: the mesh of processes (`nodes`), whoever asks one of them again and again (`asker`), and one file for each question.
mod nodes;
mod asker;
mod failover;
mod offer;

use std::{num::NonZero, ops::RangeInclusive, path::PathBuf, process::ExitCode};

use bocage_protocol::random::{Rng, Seed};
use bocage_simulator::{
    Experiment, Layout, Question,
    validate::{ANSWERS_A_MESH, Held, Kept, simulated},
};
use clap::Args;

use self::nodes::Nodes;
use super::{unkept, wrong};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
};

/// So many meshes are simulated for each of real processes, unless the person says otherwise: they cost little.
const SEEDS_A_MESH: u32 = 10;

/// Asks the question of the scenario's [validate] of real processes, each on an emulated host of its own, and of the
/// simulator: both medians, their ratio, and its 95 % interval. Needs root (or `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`),
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
    /// So many answers of real processes; one mesh gives five of them, then another one is raised; of fewer than twelve meshes nobody is sure
    #[arg(long, default_value_t = NonZero::new(60).expect("60 is not 0"), value_name = "N")]
    runs: NonZero<u32>,
    /// So many simulated meshes, each with a seed and five answers [default: ten for each mesh of real processes]
    #[arg(long, value_name = "N")]
    seeds: Option<NonZero<u32>>,
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
        let meshes = runs.get().div_ceil(ANSWERS_A_MESH);
        let seeds = seeds.map_or(u64::from(SEEDS_A_MESH) * u64::from(meshes), |seeds| seeds.get().into());
        let after = seed.checked_add(seeds).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "seed",
                format!("{seeds} seeds from {seed} go beyond {}: take a smaller --seed", u64::MAX),
            )
        })?;
        at.say.step(format!("{} in the simulator with {seeds} seeds from {seed}", scenario.name));
        let answers: Result<Vec<Vec<f64>>, String> = (seed..after).map(|seed| simulated(scenario, seed)).collect();
        let simulated = answers.map_err(|what| Failure::new(Exit::Usage, "no-answer", what))?.concat();
        at.say.step(format!("{} as {} real processes, {runs} runs", scenario.name, layout.seats.len()));
        let mut real = Vec::new();
        for first in (1..=runs.get()).step_by(ANSWERS_A_MESH as usize) {
            let of_mesh = first..=runs.get().min(first + ANSWERS_A_MESH - 1);
            real.extend(answers_of_mesh(&layout, of_mesh, seed, at)?);
            if let Some(kept) = &kept {
                kept.answers(layout.question, &real, &simulated).map_err(|error| unkept(&error))?;
            }
        }
        let held = Held::of(scenario, layout.question, real, simulated, seed);
        if let Some(kept) = kept {
            kept.end(&held).map_err(|error| unkept(&error))?;
        }
        at.say.result(&held, Held::to_text);
        Ok(ExitCode::from(u8::from(!held.holds)))
    }
}

/// What befell the mesh in one run is over before the next begins.
fn answers_of_mesh(
    layout: &Layout,
    runs: RangeInclusive<u32>,
    seed: u64,
    at: &Invocation,
) -> Result<Vec<f64>, Failure> {
    let nodes = Nodes::raise(layout, seed.wrapping_add(u64::from(*runs.start())), at.say)?;
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
    asked.inspect_err(|_| at.say.detail(nodes.mesh.last_words()))
}

fn each(
    runs: RangeInclusive<u32>,
    at: &Invocation,
    mut ask: impl FnMut(u32) -> Result<f64, Failure>,
) -> Result<Vec<f64>, Failure> {
    let mut answers = Vec::new();
    for run in runs {
        let answer = ask(run)?;
        at.say.step(format!("  run {run}: {answer:.1} ms"));
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
