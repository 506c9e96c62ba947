//! `bocage node`: be a hoster.
pub(crate) mod make;
mod machine;
pub(crate) mod init;
mod run;
mod attempt;
mod join;
mod renew;
mod status;
mod drain;
mod leave;
pub(crate) mod edit;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

pub(crate) use join::bad_token;

use super::wait;
use crate::{failure::Failure, folders, invocation::Invocation};

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "a process has one")]
pub(crate) enum Node {
    /// Make a node's folder: keys and settings
    Init(init::Init),
    /// Run the node of a folder until SIGTERM
    Run(run::Run),
    /// Join a mesh with an invite, or tell a node whom to dial first
    Join(join::Join),
    /// Give a node a new certificate
    Renew(renew::Renew),
    /// Empty a node: others take over its votes and instances, then it may be stopped
    Drain(drain::Drain),
    /// Empty a node and end it for good
    Leave(leave::Leave),
    /// Show what a node knows of itself and its mesh
    Status(status::Status),
}

/// The folder of a node on this machine.
#[derive(Clone, Debug, Args)]
pub(crate) struct Folder {
    /// The node's folder [default: `$XDG_DATA_HOME/bocage/node`]
    #[arg(long, value_name = "FOLDER", env = "BOCAGE_DIR")]
    dir: Option<PathBuf>,
}

impl Folder {
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        self.dir.clone().map_or_else(folders::node, Ok)
    }

    /// How the person names it in the next command.
    pub(crate) fn flag(&self) -> String {
        self.dir.as_ref().map(|dir| format!(" --dir {}", dir.display())).unwrap_or_default()
    }
}

impl Node {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        match self {
            Self::Init(init) => init.run(at),
            Self::Run(run) => run.run(at),
            Self::Join(join) => join.run(at),
            Self::Renew(renew) => wait(renew.run(at)),
            Self::Drain(drain) => wait(drain.run(at)),
            Self::Leave(leave) => wait(leave.run(at)),
            Self::Status(status) => wait(status.run(at)),
        }
    }
}
