//! `bocage secrets`: what only the app and its tenant may read. Sealed on this machine, to the nodes that hold the app;
//! the mesh carries bytes that it cannot open.
pub(crate) mod set;
mod list;

use clap::Subcommand;

use crate::{failure::Failure, invocation::Invocation};

#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    /// Set a secret; its value is read from stdin, never from the command line
    Set(set::Set),
    /// List the names of an app's secrets
    List(list::List),
}

impl Secrets {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        match self {
            Self::Set(set) => set.run(at).await,
            Self::List(list) => list.run(at).await,
        }
    }
}
