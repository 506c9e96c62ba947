//! `bocage secrets list`: names, never values.
use clap::Args;

use crate::{failure::Failure, invocation::Invocation, say};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Which app
    app: String,
}

impl List {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let names = control.app_status(cell).await?.secrets;
        at.say.result(&names, |names| say::lines(names));
        Ok(())
    }
}
