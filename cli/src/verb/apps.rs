//! `bocage apps`: the tenant's apps, as their bindings say.
use clap::Args;

use crate::{failure::Failure, invocation::Invocation, say};

#[derive(Debug, Args)]
pub(crate) struct Apps {}

impl Apps {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let apps = at.control(&tenant)?.apps(tenant.id(), None).await?;
        at.say.result(&apps, |apps| {
            say::table(
                ["APP", "CELL", "HOSTS"],
                apps.iter().map(|app| [app.app.clone(), say::short(&app.cell), app.hosts.join(" ")]),
            )
        });
        if apps.is_empty() {
            at.say.step("You have no apps here. Deploy one: bocage deploy PATH");
        }
        Ok(())
    }
}
