//! `bocage operator recover FILE`: an operator whom an app names agrees that it goes on after it has lost its majority.
use std::path::PathBuf;

use bocage_protocol::{cell::Recovery, identity::Lineage};
use clap::Args;
use serde_json::json;

use crate::{
    confirm::{self, Answer},
    failure::{Exit, Failure},
    invocation::Invocation,
    recovery,
    roll::Elector,
    say,
};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  bocage operator recover guestbook.recovery --operator-key NODE/keys/operator.key

The tenant says by other means that the file is theirs. What you agree to is shown first.")]
pub(crate) struct Recover {
    /// The tenant's file, from bocage recover APP
    file: PathBuf,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    whose: Elector,
}

impl Recover {
    pub(super) fn run(self, at: &Invocation) -> Result<(), Failure> {
        let (mut papers, recovery) = recovery::read(&self.file)?;
        let key = self.whose.key()?;
        let lineage: Lineage = key.lineage().expect("an operator's key file has a genesis");
        if bocage_node::settings::wall() >= recovery.until {
            let what = format!("{} expired {}", self.file.display(), say::time(recovery.until.0));
            return Err(
                Failure::new(Exit::Conflict, "expired", what).next("the tenant makes another: bocage recover APP")
            );
        }
        if !self.yes {
            self.confirm(&recovery, &papers.tenant.genesis.name)?;
        }
        let party = lineage.genesis.party_id();
        papers.operators.retain(|other| other.genesis.party_id() != party);
        papers.operators.push(lineage);
        papers.statement = papers.statement.with(&key.keys);
        recovery::write(&self.file, &papers)?;
        let said = json!({ "file": self.file, "operators": papers.operators.len() });
        let signed = say::counted(papers.operators.len(), "operator");
        at.say.done(&said, format!("{} is signed by the tenant and {signed}: send it back", self.file.display()));
        Ok(())
    }

    fn confirm(&self, recovery: &Recovery, tenant: &str) -> Result<(), Failure> {
        let unsure = |what: &str| {
            Failure::new(Exit::Usage, "unconfirmed", format!("{what}; nothing was signed"))
                .next(format!("if you mean it: bocage operator recover {} --yes", self.file.display()))
        };
        let fork = if recovery.fork { ", though it may go on elsewhere: a fork" } else { "" };
        let question = format!(
            "Tenant {tenant} ends line {} of cell {} and goes on from index {} on node {}{fork}.\nMade {}. Type yes to sign: ",
            recovery.line,
            recovery.cell.short(),
            recovery.base.index,
            recovery.base.node.short(),
            say::time(recovery.made.0),
        );
        match confirm::ask(&question, "yes")? {
            Answer::Yes => Ok(()),
            Answer::Other => Err(unsure("that is no yes")),
            Answer::Nobody => Err(unsure("there is nobody to ask")),
        }
    }
}
