//! `bocage releases APP`: the releases that the cell retains.
use clap::Args;

use crate::{failure::Failure, invocation::Invocation, say};

#[derive(Debug, Args)]
pub(crate) struct Releases {
    /// Which app
    app: String,
}

impl Releases {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let releases = control.app_status(cell).await?.releases;
        at.say.result(&releases, |releases| {
            say::table(
                ["RELEASE", "DEPLOYED", "CONTENT", ""],
                releases.iter().rev().map(|release| {
                    let mut notes = Vec::new();
                    if release.current {
                        notes.push("current".to_owned());
                    }
                    notes.extend(release.rolled_back_to.map(|to| format!("{to} again")));
                    [
                        release.number.to_string(),
                        say::time(release.deployed_ms),
                        say::short(&release.content),
                        notes.join(", "),
                    ]
                }),
            )
        });
        Ok(())
    }
}
