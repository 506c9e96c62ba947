//! `bocage keys resolve`: an operator answers for what its node said twice.
use std::path::PathBuf;

use bocage_node::{keyfile::Kind, settings::wall};
use bocage_protocol::{
    id::NodeId,
    identity::{Ruled, Ruling, Signed},
    record::KeyWord,
};
use clap::Args;
use serde_json::json;

use super::{control, folder_around, lineage_of, load_kind, ruling};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  bocage keys resolve NODE --operator-key operator.key")]
pub(crate) struct Resolve {
    /// Which node: its id
    node_id: NodeId,
    /// The operator's key file
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
}

impl Resolve {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let key = load_kind(&self.operator_key, Kind::Operator)?;
        let lineage = lineage_of(&key, &self.operator_key)?;
        let operator = lineage.genesis.operator();
        let control = control(at, folder_around(&self.operator_key).as_deref(), &key)?;
        let status = control.status().await?;
        let node = self.node_id.to_string();
        let Some(contradiction) = status.keys.contradicted.iter().find(|one| one.node_id == node) else {
            return Err(Failure::new(Exit::NotFound, "not-found", "this node knows of no contradiction of that node")
                .next("see what is known: bocage node status"));
        };
        let before = ruling(&control, operator, self.node_id).await?;
        let resolved = contradiction.version.max(before.resolved);
        let statement = Ruling { operator, node: self.node_id, below: before.below, resolved, made: wall() };
        let signed = Signed::seal(&key.keys, &statement);
        control.tell(&KeyWord::Ruling(Ruled { lineage, signed })).await?;
        let said = json!({ "node_id": self.node_id, "operator": operator, "resolved": resolved });
        at.say.done(&said, format!("Node {} is given votes and leases again.", self.node_id.short()));
        Ok(())
    }
}
