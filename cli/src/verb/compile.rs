//! `bocage compile-component`: what a daemon runs for each component that it compiles. Not for people.
use std::{
    io::{stdin, stdout},
    process::ExitCode,
};

/// The verb, as a daemon says it.
pub(crate) const COMPILE: &str = "compile-component";

/// Reads a component, writes machine code. What is wrong goes to stderr in plain words, for the daemon puts them into its own.
pub(crate) fn run() -> ExitCode {
    match bocage_node::runtime::compile(stdin().lock(), stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
