//! `bocage node renew`: a new certificate for the node of a folder, by its operator's key. A node that runs takes it at once.
use std::path::PathBuf;

use bocage_node::keyfile::{KeyFile, Kind};
use clap::Args;
use serde_json::json;

use super::Folder;
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    verb::keys,
};

#[derive(Debug, Args)]
#[command(after_help = "A node whose folder holds the operator's key does this by itself, in time.

Example:
  bocage node renew --operator-key operator.key")]
pub(crate) struct Renew {
    #[command(flatten)]
    folder: Folder,
    /// The operator's key file [default: keys/operator.key in the node's folder]
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
}

impl Renew {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let path = self.folder.path()?;
        let key_path = self.operator_key.unwrap_or_else(|| path.join("keys/operator.key"));
        let operator = KeyFile::load(&key_path, Kind::Operator).map_err(|error| {
            Failure::new(Exit::Unauthorised, "no-key", error.to_string())
                .next("name the operator's key with --operator-key FILE; it may be on another machine")
        })?;
        let running = keys::certify(at, std::slice::from_ref(&path), &operator).await?;
        let said = json!({ "dir": path, "serial": operator.successions.len(), "at_once": running == 1 });
        let when = if running == 1 { "it shows it to its peers now" } else { "it shows it when it next starts" };
        at.say.done(&said, format!("The node of {} has a new certificate; {when}.", path.display()));
        Ok(())
    }
}
