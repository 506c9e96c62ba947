//! `bocage charter amend`: moves the next version, with the mover's own ballot. Without flags it only brings the electorate
//! up to date: every member that is not excluded.
use std::{collections::BTreeSet, time::Duration};

use bocage_node::settings::wall;
use bocage_protocol::{
    charter::{Matter, Values},
    id::ContentHash,
    identity::Genesis,
};
use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::{Elector, ballot, names, read, stands},
    say,
    verb::mesh::time,
};

#[derive(Debug, Args)]
pub(crate) struct Amend {
    #[command(flatten)]
    elector: Elector,
    /// A member that shall not decide any more, though it stays one; may be given again
    #[arg(long, value_name = "OPERATOR")]
    without: Vec<String>,
    /// So many thousandths of the electorate carry a motion
    #[arg(long, value_name = "PERMILLE")]
    quorum: Option<u32>,
    /// Operators admitted in any 24 hours
    #[arg(long, value_name = "N")]
    admissions: Option<u32>,
    /// Thousandths of what is offered that one operator may hold, from four operators on
    #[arg(long, value_name = "PERMILLE")]
    dominance: Option<u32>,
    /// Between the vote and the day that it is in force, such as 24h
    #[arg(long, value_name = "TIME", value_parser = time)]
    notice: Option<Duration>,
}

impl Amend {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let known = self.elector.known(at).await?;
        let key = self.elector.elector_key(&known)?;
        let leave = self.without.iter().map(|name| Ok(known.find_operator(name)?.operator_id.clone()));
        let leave: BTreeSet<String> = leave.collect::<Result<_, Failure>>()?;
        let stay =
            known.roll.operators.iter().filter(|it| it.excluded_ms.is_none() && !leave.contains(&it.operator_id));
        let electorate: Vec<Genesis> = stay.map(|operator| read(&operator.genesis)).collect::<Result<_, Failure>>()?;
        let old = known.charter.values;
        let values = Values {
            quorum_permille: self.quorum.unwrap_or(old.quorum_permille),
            admissions_per_day: self.admissions.unwrap_or(old.admissions_per_day),
            dominance_permille: self.dominance.unwrap_or(old.dominance_permille),
            notice: self.notice.unwrap_or(old.notice),
        };
        let next = known.charter.next(electorate, values, wall());
        next.check().map_err(|error| Failure::new(Exit::Usage, "charter", error.to_string()))?;
        if next.electorate == known.charter.electorate && next.values == known.charter.values {
            return Err(Failure::new(Exit::Usage, "nothing-to-amend", "the next version would be like this one")
                .next("say what shall change: bocage charter amend --help"));
        }
        let version = next.version;
        let motion = known.motion(&key, Matter::Amend(Box::new(next)));
        let vote = ballot(&key, motion.hash(), true);
        known.bring(vec![motion.envelope().clone(), vote.envelope().clone()]).await?;
        let id = ContentHash(motion.hash()).to_string();
        let after = self.elector.known(at).await?;
        let motion = after.find_motion(&id)?;
        let silent = names(&motion.silent);
        let more = if motion.effective_ms.is_none() && !silent.is_empty() {
            format!(" Not heard yet: {silent}. They run: bocage charter vote {}", say::short(&id))
        } else {
            format!(" It is in force {} after it was carried.", say::duration(old.notice))
        };
        at.say.done(
            &json!({ "motion": id, "version": version, "yes": motion.yes.len(), "needed": motion.needed }),
            format!("Version {version}: {}.{more}", stands(motion, wall().0)),
        );
        Ok(())
    }
}
