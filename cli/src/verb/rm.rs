//! `bocage rm APP`: end an app. Its state is kept for a grace period, then deleted.
use bocage_protocol::cell::TenantAction;
use clap::Args;

use crate::{
    confirm::{self, Answer},
    failure::{Exit, Failure},
    invocation::Invocation,
};

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Which app
    app: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Rm {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        if !self.yes {
            confirm(&self.app)?;
        }
        let applied = control.submit(cell, &tenant.command(Some(cell), TenantAction::Remove)).await?;
        at.say.done(&applied, format!("{} has ended. Its state is kept for seven days, then deleted.", self.app));
        Ok(())
    }
}

/// Asks the person; without one, says which flag answers.
fn confirm(app: &str) -> Result<(), Failure> {
    let unsure = |what: &str| {
        Failure::new(Exit::Usage, "unconfirmed", format!("{what}; nothing was done"))
            .next(format!("if you mean it: bocage rm {app} --yes"))
    };
    let question = format!(
        "This ends {app}: it stops answering at once, its state is deleted in seven days.\nType its name to go on: "
    );
    match confirm::ask(&question, app)? {
        Answer::Yes => Ok(()),
        Answer::Other => Err(unsure("that is another name")),
        Answer::Nobody => Err(unsure("rm ends an app, and there is nobody to ask")),
    }
}
