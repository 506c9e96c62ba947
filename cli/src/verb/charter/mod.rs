//! `bocage charter`: the rules that the operators agreed on, and how they change them.
mod amend;
mod show;
mod vote;

use clap::Subcommand;

use crate::{failure::Failure, invocation::Invocation};

#[derive(Debug, Subcommand)]
pub(crate) enum Charter {
    /// Show the charter in force, and the motions
    Show(show::Show),
    /// Move the next version: other values, or another electorate
    Amend(amend::Amend),
    /// Say yes or no to a motion
    Vote(vote::Vote),
}

impl Charter {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        match self {
            Self::Show(show) => show.run(at).await,
            Self::Amend(amend) => amend.run(at).await,
            Self::Vote(vote) => vote.run(at).await,
        }
    }
}
