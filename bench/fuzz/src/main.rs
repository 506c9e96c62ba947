//! `bocage-fuzz`: hostile inputs for every decoder, and mutants of what is signed.
use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use bocage_fuzz::{
    corpus, heap, mutants, run,
    target::{self, Target},
};
use clap::{Parser, Subcommand};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Feeds hostile inputs to everything in Bocage that reads bytes from outside.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// What there is to feed.
    Targets,
    /// Runs mutants of the corpus. Ends with 1 when anything broke; the inputs are then in `--crashes`.
    Run {
        /// For each target.
        #[arg(long, default_value_t = 100_000)]
        inputs: u64,
        /// This one only; may be given again.
        #[arg(long)]
        target: Vec<String>,
        /// Draws the mutants: the same seed makes the same inputs.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where inputs that break something are written.
        #[arg(long, default_value = "target/fuzz")]
        crashes: PathBuf,
    },
    /// Runs one input from a file, aloud.
    Feed {
        /// What is fed.
        target: String,
        /// The input.
        file: PathBuf,
    },
    /// Writes the valid inputs of each target that have no file in the corpus yet.
    Seeds,
    /// Makes wrong statements of right ones, hands them to the record set, to cells and to the control API's door, and
    /// counts what is accepted. Ends with 1 when that is more than the right ones.
    Mutants {
        /// How many in all.
        #[arg(long, default_value_t = 1_000_000)]
        count: u64,
        /// Draws them.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().verb {
        Verb::Targets => {
            for target in &target::ALL {
                println!("{:10} {}", target.name, target.about);
            }
        }
        Verb::Run { inputs, target, seed, crashes } => {
            let targets: Vec<&Target> = if target.is_empty() {
                target::ALL.iter().collect()
            } else {
                target.iter().map(|name| named(name)).collect::<Result<_, _>>()?
            };
            run::quiet();
            let mut broken = 0;
            println!("{:10} {:>10} {:>9} {:>9} {:>8}", "target", "inputs", "seconds", "slowest", "crashes");
            for target in targets {
                let report =
                    run::run(target, inputs, seed, &crashes).with_context(|| format!("target {}", target.name))?;
                let (took, slowest) = (report.took.as_secs_f64(), report.slowest.as_secs_f64() * 1e3);
                println!(
                    "{:10} {:>10} {took:>9.1} {slowest:>6.1} ms {:>8}",
                    target.name,
                    report.inputs,
                    report.crashes.len()
                );
                for (said, path) in &report.crashes {
                    println!("    {said}\n    in {}", path.display());
                }
                broken += report.crashes.len();
            }
            if broken > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        Verb::Feed { target, file } => {
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            named(&target)?.feed(&bytes);
            println!("survived");
        }
        Verb::Seeds => {
            for target in &target::ALL {
                let written = corpus::write_seeds(target).with_context(|| format!("target {}", target.name))?;
                println!("{:10} {written} written", target.name);
            }
        }
        Verb::Mutants { count, seed } => {
            let tally = mutants::run(count, seed);
            print!("{tally}");
            if !tally.holds() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn named(name: &str) -> anyhow::Result<&'static Target> {
    match target::named(name) {
        Some(target) => Ok(target),
        None => bail!("there is no target {name:?}; bocage-fuzz targets lists them"),
    }
}
