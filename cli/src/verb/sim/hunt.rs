//! `bocage sim hunt`: a swarm of random experiments, and what fails in one file each.
use std::{fs, num::NonZero, path::PathBuf, process::ExitCode};

use bocage_simulator::hunt::{self, Hunted};
use clap::Args;

use super::{bug, cores, sweep::progress};
use crate::{failure::Failure, invocation::Invocation, say};

/// Cells of five to nine nodes, ten minutes each, a random mix of faults, every checker. Of a seed that fails as few faults
/// as still fail it are put into a capsule, which `sim replay` plays back.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing was violated, 1 something was.")]
pub(crate) struct Hunt {
    /// So many seeds; a tenth of them is run under 20 operations a second, too
    #[arg(long, default_value = "100", value_name = "N")]
    seeds: NonZero<u64>,
    /// From this seed on
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Where capsules go
    #[arg(long, default_value = ".", value_name = "DIR")]
    capsules: PathBuf,
    /// On so many threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Plant a bug, to see whether it is found
    #[arg(long, value_name = "BUG", value_parser = bug)]
    bug: Option<bocage_simulator::Bug>,
}

impl Hunt {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let Self { seeds, seed, capsules, threads, bug } = self;
        let made =
            |error: std::io::Error| Failure::io(format_args!("cannot write into {}", capsules.display()), &error);
        fs::create_dir_all(&capsules).map_err(made)?;
        let bar = progress(at.say.quiet);
        let told = |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        };
        let seeds = seed..seed.saturating_add(seeds.get());
        let mut hunted: Hunted = hunt::hunt(&hunt::Hunt { seeds, threads: threads.unwrap_or_else(cores), bug }, &told);
        bar.finish_and_clear();
        for failed in &mut hunted.failed {
            let Some(capsule) = &failed.capsule else { continue };
            let load = if failed.busy { "-busy" } else { "" };
            let file = capsules.join(format!("capsule-{}{load}.toml", failed.seed));
            fs::write(&file, capsule.to_toml()).map_err(made)?;
            failed.capsule_file = Some(file.display().to_string());
        }
        say::to_stdout(&if at.say.is_json() { hunted.to_json() + "\n" } else { hunted.to_text() });
        Ok(ExitCode::from(u8::from(hunted.violations > 0)))
    }
}
