//! `bocage keys revoke`: an operator throws one of its nodes out of the mesh.
use std::path::PathBuf;

use bocage_node::{keyfile::Kind, settings::wall};
use bocage_protocol::{
    id::NodeId,
    identity::{FOR_EVER, Ruled, Ruling, Signed},
    record::KeyWord,
};
use clap::Args;
use serde_json::json;

use super::{control, folder_around, lineage_of, load_kind, ruling};
use crate::{failure::Failure, invocation::Invocation};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  bocage keys revoke NODE --operator-key operator.key")]
pub(crate) struct Revoke {
    /// Which node: its id
    pub(super) node_id: NodeId,
    /// The operator's key file
    #[arg(long, value_name = "FILE")]
    pub(super) operator_key: PathBuf,
    /// Void only certificates of a lower serial, so that the node may go on with a later one [default: all, for ever]
    #[arg(long, value_name = "SERIAL")]
    below: Option<u64>,
}

impl Revoke {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let key = load_kind(&self.operator_key, Kind::Operator)?;
        let lineage = lineage_of(&key, &self.operator_key)?;
        let operator = lineage.genesis.operator();
        let control = control(at, folder_around(&self.operator_key).as_deref(), &key)?;
        let before = ruling(&control, operator, self.node_id).await?;
        let below = self.below.unwrap_or(FOR_EVER).max(before.below);
        let statement = Ruling { operator, node: self.node_id, below, resolved: before.resolved, made: wall() };
        let signed = Signed::seal(&key.keys, &statement);
        control.tell(&KeyWord::Ruling(Ruled { lineage, signed })).await?;
        let said = json!({ "node_id": self.node_id, "operator": operator, "below": below });
        let what =
            if below == FOR_EVER { "its key counts nowhere any more" } else { "its older certificates are void" };
        at.say.done(
            &said,
            format!(
                "Node {} is revoked: {what}.\n  the mesh is told; cells move what it held elsewhere\n  a new node in its \
                 place:  bocage node init",
                self.node_id.short()
            ),
        );
        Ok(())
    }
}
