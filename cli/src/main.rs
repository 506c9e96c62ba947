//! `bocage`: everything a person types. One verb per file under `verb/`; around them: the command tree (`tree`), what a
//! verb is given (`invocation`), who is asked (`target`, `connection`, `control`), in whose name (`tenant`), and how the
//! answer is said (`say`, `failure`).
//!
//! | exit code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | wrong usage, or a file that a person wrote is wrong |
//! | 3 | there is no such thing |
//! | 4 | a conflict, or a precondition does not hold |
//! | 5 | not allowed |
//! | 6 | not known whether it happened: a timeout, a lost connection |
//! | 7 | done in part |
//! | 130 | interrupted |
//!
//! `sim` has codes of its own, which its help lists.
#![forbid(unsafe_code)]

mod tree;
mod invocation;
mod target;
mod connection;
mod bundle;
mod control;
mod tenant;
mod roll;
mod recovery;
mod confirm;
mod verb;
mod manifest;
mod mistake;
mod quantity;
mod folders;
mod say;
mod failure;

use std::process::ExitCode;

use clap::Parser as _;

/// A node and a simulation allocate all the time, most of it small and short: a seventh of their time with the system's.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = tree::Cli::parse();
    cli.globals.color.apply();
    match verb::run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
