//! `bocage keys show`: whose key a file holds.
use std::path::PathBuf;

use bocage_node::keyfile::Kind;
use clap::Args;
use serde_json::json;

use super::{card, load};
use crate::{failure::Failure, folders, invocation::Invocation, say};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The key file [default: your tenant key]
    file: Option<PathBuf>,
}

impl Show {
    pub(super) fn run(self, at: &Invocation) -> Result<(), Failure> {
        let path = self.file.or_else(|| at.globals.key.clone()).map_or_else(folders::tenant_key, Ok)?;
        let key = load(&path)?;
        let genesis = key.genesis();
        let party = genesis.as_ref().map(|genesis| genesis.party_id().to_string());
        let node = (key.kind == Kind::Node).then(|| key.keys.node().to_string());
        let (recovery, threshold) = genesis.map_or((0, 0), |genesis| (genesis.recovery.len(), genesis.threshold));
        let kind = format!("{:?}", key.kind).to_lowercase();
        let card = card::of(&key);
        let said = json!({
            "card": card, "file": path, "kind": kind, "name": key.name, "party": party, "node": node,
            "serial": key.successions.len(), "recovery_keys": recovery, "threshold": threshold,
        });
        at.say.result(&said, |_| {
            let row = |name: &str, value: String| [name.to_owned(), value];
            let mut rows = vec![row("kind", kind.clone())];
            rows.extend(party.clone().or(node).map(|id| row("id", id)));
            rows.extend((!key.name.is_empty()).then(|| row("name", key.name.clone())));
            if key.kind != Kind::Node {
                rows.push(row("serial", format!("{} (how often its key was changed)", key.successions.len())));
                rows.push(row(
                    "recovery",
                    match recovery {
                        0 => "none: a lost or stolen key is a lost party".to_owned(),
                        _ => format!("{threshold} of {recovery} recovery keys take it back"),
                    },
                ));
            }
            rows.extend(card.clone().map(|card| row("card", card)));
            say::table(["", ""], rows).trim_start_matches('\n').to_owned()
        });
        Ok(())
    }
}
