//! `bocage scale APP`: how many instances run, from now on and without a new release.
use bocage_protocol::cell::TenantAction;
use clap::Args;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
};

#[derive(Debug, Args)]
#[group(required = true, multiple = true, id = "bounds")]
pub(crate) struct Bounds {
    /// At least so many; 0: the first request starts one
    #[arg(long, value_name = "N")]
    min: Option<u32>,
    /// At most so many
    #[arg(long, value_name = "N")]
    max: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// Which app
    app: String,
    #[command(flatten)]
    bounds: Bounds,
}

impl Scale {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let now = control.app_status(cell).await?;
        let min = self.bounds.min.unwrap_or(now.scale_min);
        let max = self.bounds.max.unwrap_or(now.scale_max);
        if min > max {
            return Err(Failure::new(Exit::Usage, "bounds", format!("min is {min}, but max is {max}"))
                .next("give both: --min and --max"));
        }
        let command = tenant.command(Some(cell), TenantAction::Scale { min, max });
        let applied = control.submit(cell, &command).await?;
        at.say.done(&applied, format!("{} runs {min} to {max} instances now.", self.app));
        Ok(())
    }
}
