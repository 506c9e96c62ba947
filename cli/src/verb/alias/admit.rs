//! `bocage alias admit`: an elector's ballot for a tenant's short name.
use bocage_node::control::roll::Motion;
use clap::Args;

use super::tenant;
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::{Elector, Known, is_id, tally, told},
};

#[derive(Debug, Args)]
pub(crate) struct Admit {
    /// The name, as requests lists it
    name: String,
    /// For which tenant, where more than one asks: its id, or how it begins
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Say no instead
    #[arg(long)]
    no: bool,
    #[command(flatten)]
    elector: Elector,
}

impl Admit {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let known = self.elector.known(at).await?;
        let id = request_of(&known, &self.name, self.tenant.as_deref())?.id.clone();
        let motion = self.elector.cast(at, &known, &id, !self.no).await?;
        at.say.done(&tally(&motion), told(&self.name, &motion));
        Ok(())
    }
}

/// The newest open request for a name; else the newest one.
fn request_of<'a>(known: &'a Known, name: &str, whose: Option<&str>) -> Result<&'a Motion, Failure> {
    let asked = known.roll.motions.iter().filter(|motion| {
        let alias = motion.alias.as_ref().filter(|alias| alias.name == name);
        alias.is_some_and(|alias| whose.is_none_or(|id| is_id(&alias.tenant_id, id)))
    });
    let asked: Vec<&Motion> = asked.collect();
    let open: Vec<&Motion> = asked.iter().filter(|motion| motion.effective_ms.is_none()).copied().collect();
    if let Some(other) = open.iter().find(|motion| motion.alias != open[0].alias) {
        let two = [open[0], *other].map(|motion| motion.alias.as_ref().map(tenant).unwrap_or_default());
        return Err(Failure::new(
            Exit::Usage,
            "tenant",
            format!("more than one tenant asks for {name}: {}", two.join(", ")),
        )
        .next("say which one: --tenant ID"));
    }
    open.first().or(asked.first()).copied().ok_or_else(|| {
        Failure::new(Exit::NotFound, "not-found", format!("no tenant asks for the name {name}"))
            .next("list the requests: bocage alias requests; a tenant asks with: bocage alias request NAME")
    })
}
