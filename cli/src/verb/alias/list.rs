//! `bocage alias list`
use bocage_node::control::roll::Roll;
use clap::Args;

use crate::{failure::Failure, invocation::Invocation, roll::Elector, say};

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    elector: Elector,
}

impl List {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let roll: Roll = self.elector.control(at)?.get("/v1/roll").await?;
        at.say.result(&roll.aliases, |aliases| {
            if aliases.is_empty() {
                return "No tenant has a short name yet. Ask for one: bocage alias request NAME\n".to_owned();
            }
            let row = |alias: &bocage_node::control::roll::Alias| {
                let since = alias.since_ms.map(say::time).unwrap_or_default();
                [alias.name.clone(), alias.tenant.clone(), alias.tenant_id.clone(), since]
            };
            say::table(["ALIAS", "TENANT", "ID", "SINCE"], aliases.iter().map(row))
        });
        Ok(())
    }
}
