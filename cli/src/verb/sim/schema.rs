//! `bocage sim schema`: what a scenario file may say.
use std::process::ExitCode;

use bocage_simulator::Scenario;
use clap::Args;

use crate::say;

/// Name it in the first line of a scenario, and editors complete and check it: #:schema scenario.schema.json
#[derive(Debug, Args)]
pub(crate) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "a verb is run like any other")]
    pub(crate) fn run(self) -> ExitCode {
        say::to_stdout(&(Scenario::schema() + "\n"));
        ExitCode::SUCCESS
    }
}
