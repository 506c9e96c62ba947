//! `bocage alias request`: signed here with the tenant's key; electors answer when they like.
use bocage_node::{control::roll::Roll, settings::wall};
use bocage_protocol::{
    charter::{Matter, Motion, check_alias},
    id::ContentHash,
    identity::{Lineage, Signed},
};
use clap::Args;
use serde_json::json;

use super::taken;
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::{names, read, stands},
    say,
};

#[derive(Debug, Args)]
pub(crate) struct Request {
    /// One DNS label: 1 to 63 of a-z, 0-9 and -
    name: String,
}

impl Request {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let name = self.name;
        check_alias(&name).map_err(|why| Failure::new(Exit::Usage, "alias", format!("{name:?} is no alias: {why}")))?;
        let tenant = at.tenant()?;
        let control = at.control(&tenant)?;
        let roll: Roll = control.get("/v1/roll").await?;
        let me = tenant.id().to_string();
        if let Some(held) = roll.aliases.iter().find(|alias| alias.name == name) {
            return Err(if held.tenant_id == me { yours(&name) } else { taken(held) });
        }
        let mine = roll.motions.iter().find(|motion| {
            let asked = motion.alias.as_ref();
            motion.effective_ms.is_none() && asked.is_some_and(|it| it.name == name && it.tenant_id == me)
        });
        let id = if let Some(mine) = mine {
            mine.id.clone()
        } else {
            let Some(charter) = &roll.charter else { return Err(no_charter()) };
            let charter: bocage_protocol::charter::Charter = read(&charter.document)?;
            let lineage = Lineage { genesis: tenant.genesis.clone(), successions: tenant.key.successions.clone() };
            let matter = Matter::Alias { name: name.clone(), tenant: Box::new(lineage) };
            let motion = Motion { mesh: charter.mesh, charter: charter.hash(), matter, made: wall() };
            let signed = Signed::seal(&tenant.key.keys, &motion);
            control
                .papers(&bocage_protocol::charter::Papers {
                    statements: vec![signed.envelope().clone()],
                    founding: None,
                })
                .await?;
            ContentHash(signed.hash()).to_string()
        };
        let roll: Roll = control.get("/v1/roll").await?;
        let motion = roll.motions.iter().find(|motion| motion.id == id);
        let (stands, silent) = motion.map_or_else(Default::default, |it| (stands(it, wall().0), names(&it.silent)));
        at.say.done(
            &json!({ "motion": id, "name": name, "yes": motion.map(|it| it.yes.len()), "needed": motion.map(|it| it.needed) }),
            format!(
                "Asked for {name} ({}): {stands} say yes. Not heard yet: {silent}. They run: bocage alias admit {name}. \
                 You see here when it is yours: bocage alias list",
                say::short(&id),
            ),
        );
        Ok(())
    }
}

fn yours(name: &str) -> Failure {
    Failure::new(Exit::Conflict, "yours", format!("the name {name} is yours already")).next("bocage alias list")
}

fn no_charter() -> Failure {
    Failure::new(
        Exit::Conflict,
        "no-charter",
        "this node does not know how its mesh was founded, so nobody can give names",
    )
    .next("your apps answer without one: bocage apps shows their hosts")
}
