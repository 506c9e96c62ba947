//! `bocage sim`: experiments in the simulator, where whole nodes run the same protocol as real ones. One verb a file.
mod run;
mod live;
mod sweep;
mod compare;
mod report;
mod hunt;
mod replay;
mod tape;
mod bench;
mod calibrate;
mod validate;
mod schema;

use std::{num::NonZero, path::Path, process::ExitCode, thread};

use bocage_simulator::{Bug, Ended, ScenarioError, results::ResultsError};
use clap::Subcommand;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    mistake::Mistake,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Sim {
    /// Run a scenario
    Run(run::Run),
    /// Run a scenario and draw it in the browser
    Live(live::Live),
    /// Run every variant of a scenario with many seeds, and keep what is measured
    Sweep(sweep::Sweep),
    /// Hold two sets of runs against each other, seed by seed
    Compare(compare::Compare),
    /// Make one page of results, with figures
    Report(report::Report),
    /// Look for bugs by random experiments
    Hunt(hunt::Hunt),
    /// Play a failing run back and look into it
    Replay(replay::Replay),
    /// Play what a real node did once more, and see whether it does the same
    Tape(tape::Tape),
    /// Measure the engine alone
    Bench(bench::Bench),
    /// Fit delays to measured round trips
    Calibrate(calibrate::Calibrate),
    /// Hold the simulator against real processes
    Validate(validate::Validate),
    /// Print the JSON schema of scenario files, for editors
    Schema(schema::Schema),
}

impl Sim {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(run) => run.run(at),
            Self::Live(live) => live.run(at),
            Self::Sweep(sweep) => sweep.run(at),
            Self::Compare(compare) => compare.run(at),
            Self::Report(report) => report.run(at),
            Self::Hunt(hunt) => hunt.run(at),
            Self::Replay(replay) => replay.run(at),
            Self::Tape(tape) => tape.run(at),
            Self::Bench(bench) => Ok(bench.run(at)),
            Self::Calibrate(calibrate) => calibrate.run(at),
            Self::Validate(validate) => validate.run(at),
            Self::Schema(schema) => Ok(schema.run()),
        }
    }
}

/// As the worst of many runs.
fn ended(violated: u64, crashed: u64) -> ExitCode {
    let ended = match () {
        () if crashed > 0 => Ended::Crashed,
        () if violated > 0 => Ended::Violated,
        () => Ended::Well,
    };
    ExitCode::from(u8::from(ended))
}

fn cores() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// A planted bug by its name.
fn bug(name: &str) -> Result<Bug, String> {
    serde_json::from_value(name.into()).map_err(|error| error.to_string())
}

/// A scenario that cannot be run. A mistake in it is drawn where it stands.
fn wrong(path: &Path, error: &ScenarioError) -> Failure {
    match error {
        ScenarioError::Unreadable { path, why } => {
            let what = format!("cannot read the scenario {}: {why}", path.display());
            Failure::new(Exit::Usage, "scenario", what).next("simulator/scenarios/ holds some that run")
        }
        ScenarioError::Wrong(mistake) => {
            let bocage_simulator::Mistake { path: file, text, span, line, column, message, help } = &**mistake;
            let name = file.as_deref().unwrap_or(path).display().to_string();
            let what = format!("line {line}, column {column}: {message}");
            let mut failure = Failure::new(Exit::Usage, "scenario", format!("{name}: {what}"));
            let drawn = Mistake::new("scenario", &name, text, what, Some(span.clone()), help.clone()).drawn();
            failure.drawn = Some(Box::new(drawn));
            failure.next("every key: bocage sim schema")
        }
    }
}

/// Results that cannot be written or read.
fn unkept(error: &ResultsError) -> Failure {
    let failure = Failure::new(Exit::Usage, "results", error.to_string());
    match error {
        ResultsError::Exists { .. } | ResultsError::Differs { .. } => failure.next("name another folder with --out"),
        ResultsError::Many { .. }
        | ResultsError::Full { .. }
        | ResultsError::Io { .. }
        | ResultsError::Unreadable { .. } => failure,
    }
}
