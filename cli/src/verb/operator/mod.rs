//! `bocage operator`: who is a member of the mesh, who asks to be, and who shall be none any more.
mod admit;
mod exclude;
mod list;
mod recover;
mod requests;

use clap::Subcommand;

use crate::{failure::Failure, invocation::Invocation};

#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// List the operators of the mesh
    List(list::List),
    /// List who asks to be admitted, and whose ballots are missing
    Requests(requests::Requests),
    /// Say yes to an operator who asks
    Admit(admit::Admit),
    /// Move to exclude an operator, or say yes to that
    Exclude(exclude::Exclude),
    /// Agree to the recovery of an app that names you for it
    Recover(recover::Recover),
}

impl Operator {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(at).await,
            Self::Requests(requests) => requests.run(at).await,
            Self::Admit(admit) => admit.run(at).await,
            Self::Exclude(exclude) => exclude.run(at).await,
            Self::Recover(recover) => recover.run(at),
        }
    }
}
