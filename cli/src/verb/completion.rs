//! `bocage completion SHELL`: a script that completes verbs and flags.
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{say, tree::Cli};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bocage completion bash > ~/.local/share/bash-completion/completions/bocage")]
pub(crate) struct Completion {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "bocage", &mut script);
        say::bytes_to_stdout(&script);
        ExitCode::SUCCESS
    }
}
