//! `bocage mesh`: found one, and invite others into it.
mod cosign;
mod found;
mod invite;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use invite::time;

use super::wait;
use crate::{failure::Failure, invocation::Invocation};

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "a process has one")]
pub(crate) enum Mesh {
    /// Found a mesh: you are its first elector
    Found(found::Found),
    /// Make an invite, for an operator whom you trust
    Invite(invite::Invite),
    /// Sign another elector's invite too, where one ballot is not enough
    Cosign(cosign::Cosign),
}

impl Mesh {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        match self {
            Self::Found(found) => found.run(at),
            Self::Invite(invite) => wait(invite.run(at)),
            Self::Cosign(cosign) => wait(cosign.run(at)),
        }
    }
}
