//! `bocage rollback APP`: an earlier release becomes current again, under a new number.
use bocage_node::control::api::Release;
use bocage_protocol::cell::TenantAction;
use clap::Args;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
};

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Which app
    app: String,
    /// To which release [default: the last one that ran something else]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
}

impl Rollback {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let cell = control.cell_of(tenant.id(), &self.app).await?;
        let releases = control.app_status(cell).await?.releases;
        let to = self.to.or_else(|| before(&releases)).ok_or_else(|| {
            let what = format!("{} has no earlier release to go back to", self.app);
            Failure::new(Exit::Conflict, "no-release", what).next(format!("see them: bocage releases {}", self.app))
        })?;
        if !releases.iter().any(|release| release.number == to) {
            let what = format!("{} does not retain a release {to}", self.app);
            return Err(Failure::new(Exit::NotFound, "not-found", what)
                .next(format!("see which: bocage releases {}", self.app)));
        }
        let applied = control.submit(cell, &tenant.command(Some(cell), TenantAction::Rollback { to })).await?;
        at.say.done(&applied, format!("{} is back at release {to}, as release {}.", self.app, applied.number));
        Ok(())
    }
}

/// The newest release whose content is not the current one's.
fn before(releases: &[Release]) -> Option<u64> {
    let current = releases.iter().find(|release| release.current)?;
    let others = releases.iter().filter(|release| release.content != current.content);
    others.map(|release| release.number).filter(|number| *number < current.number).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_to_the_last_release_that_ran_something_else() {
        let release = |number, content: &str, current| Release {
            number,
            current,
            content: content.to_owned(),
            deployed_ms: 0,
            rolled_back_to: None,
        };
        assert_eq!(before(&[release(1, "a", true)]), None);
        assert_eq!(before(&[release(1, "a", false), release(2, "b", false), release(3, "b", true)]), Some(1));
        assert_eq!(before(&[release(1, "a", false), release(2, "b", false), release(3, "a", true)]), Some(2));
    }
}
