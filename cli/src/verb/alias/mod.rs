//! `bocage alias`: short names of tenants, so that an app answers at `app.alias.zone` beside `app.TENANT-ID.zone`. A tenant
//! asks, a majority of the charter's electors says yes, and every node knows the certificate. No app needs one.
mod admit;
mod list;
mod request;
mod requests;

use bocage_node::{
    control::roll::{Alias as Named, Motion},
    keyfile::KeyFile,
};
use bocage_protocol::{
    charter::{Matter, Papers},
    identity::Signed,
};
use clap::Subcommand;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::{Known, read},
    say,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Alias {
    /// Ask, as a tenant, for a short name
    Request(request::Request),
    /// List the names that were given, and whose they are
    List(list::List),
    /// List the names that are asked for, and whose ballots are missing
    Requests(requests::Requests),
    /// Say yes, as an elector, to a name that is asked for
    Admit(admit::Admit),
}

impl Alias {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        match self {
            Self::Request(request) => request.run(at).await,
            Self::List(list) => list.run(at).await,
            Self::Requests(requests) => requests.run(at).await,
            Self::Admit(admit) => admit.run(at).await,
        }
    }
}

/// Whom a tenant is called, and how its id begins.
fn tenant(named: &Named) -> String {
    format!("{} ({})", named.tenant, say::short(&named.tenant_id))
}

/// The name is somebody's.
fn taken(by: &Named) -> Failure {
    let what = format!("the name {} belongs to the tenant {}", by.name, tenant(by));
    Failure::new(Exit::Conflict, "taken", what).next("ask for another one; list them: bocage alias list")
}

impl Known {
    /// Whether an elector may say yes to this motion, if it is about a name. That no two tenants get one name rests on it: an
    /// elector signs for one of them, and two majorities share an elector.
    pub(crate) fn may_name(&self, motion: &Motion, key: &KeyFile) -> Result<(), Failure> {
        let Some(asked) = &motion.alias else { return Ok(()) };
        if let Some(held) = self.roll.aliases.iter().find(|it| it.name == asked.name && it.tenant_id != asked.tenant_id)
        {
            return Err(taken(held));
        }
        let me = key.genesis().expect("an operator's key file has a genesis").operator().to_string();
        let same_name =
            |it: &&Motion| it.alias.as_ref().is_some_and(|alias| alias.name == asked.name && alias != asked);
        let signed = |it: &&Motion| it.yes.iter().any(|elector| elector.operator_id == me);
        if let Some(other) = self.roll.motions.iter().filter(same_name).find(signed).and_then(|it| it.alias.as_ref()) {
            let what = format!("you said yes already to the name {} for the tenant {}", other.name, tenant(other));
            return Err(Failure::new(Exit::Conflict, "one-name", what).next(
                "an elector signs for one tenant only; that request is forgotten when it is not carried in 30 days",
            ));
        }
        // The node checked all but the signatures of the tenant's successions.
        let papers: Papers = read(&motion.papers)?;
        let opened =
            papers.statements.first().map(|it| Signed::<bocage_protocol::charter::Motion>::from(it.clone()).open());
        if let Some(Ok(opened)) = opened
            && let Matter::Alias { tenant, .. } = opened.matter
        {
            tenant.verify().map_err(|error| {
                let what =
                    format!("the request for {} is forged: the tenant's lineage does not count: {error}", asked.name);
                Failure::new(Exit::Unauthorised, "forged", what).next("leave it: it is forgotten in 30 days")
            })?;
        }
        Ok(())
    }
}
