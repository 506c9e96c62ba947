//! `bocage sim replay`: a capsule, played back and looked into.
use std::{path::PathBuf, process::ExitCode};

use bocage_simulator::Capsule;
use clap::Args;

use super::wrong;
use crate::{failure::Failure, invocation::Invocation, say};

/// Plays a failing run back until what failed, or until a moment, and shows a node as it was then and the frames that led
/// there: the one that --node gives by its number, else the one that the violation is about.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  bocage sim replay capsule-17.toml --until 42.5 --node 3

Exit codes: 0 nothing was violated until then, 1 something was, 2 it is no capsule.")]
pub(crate) struct Replay {
    /// A file that `sim hunt` made
    #[arg(value_name = "CAPSULE")]
    capsule: PathBuf,
    /// Stop so many seconds after the first node's start
    #[arg(long, value_name = "T", value_parser = seconds)]
    until: Option<f64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim_end_matches('s').parse().map_err(|_| "a number of seconds, please, such as 12.5")?;
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err("not before the first node's start, please".into())
    }
}

impl Replay {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let capsule = Capsule::load(&self.capsule).map_err(|error| wrong(&self.capsule, &error))?;
        at.say.step(format!("{} with seed {}", capsule.scenario.name, capsule.seed));
        let replayed = bocage_simulator::replay(&capsule, self.until, at.simulated);
        if let (Some(node), None) = (at.simulated, &replayed.node) {
            let nodes = capsule.scenario.nodes();
            let what = format!("there is no node {node}: the mesh starts with {nodes}, from 0 up");
            return Err(Failure::new(crate::failure::Exit::Usage, "node", what));
        }
        say::to_stdout(&if at.say.is_json() { replayed.to_json() + "\n" } else { replayed.to_text() });
        Ok(ExitCode::from(u8::from(!replayed.violations.is_empty())))
    }
}
