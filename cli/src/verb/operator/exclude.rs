//! `bocage operator exclude`: moves that an operator be none any more, or says yes where another elector moved it.
use bocage_node::settings::wall;
use bocage_protocol::{charter::Matter, id::OperatorId};
use clap::Args;
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    roll::{Elector, ballot, id_of, names, stands},
};

#[derive(Debug, Args)]
pub(crate) struct Exclude {
    /// The operator's name or id
    who: String,
    /// Why, for the others; at most 256 bytes
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    elector: Elector,
}

impl Exclude {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let known = self.elector.known(at).await?;
        let key = self.elector.elector_key(&known)?;
        let operator = known.find_operator(&self.who)?;
        if operator.excluded_ms.is_some() {
            return Err(Failure::new(Exit::Conflict, "excluded", format!("{} is excluded already", self.who)));
        }
        let moved = known.roll.motions.iter().find(|motion| {
            let about = motion.about.as_ref().map(|about| &about.operator_id);
            motion.matter == "exclude" && about == Some(&operator.operator_id) && motion.effective_ms.is_none()
        });
        let id = if let Some(moved) = moved {
            known.vote(&id_of(&moved.id)?, &key, true).await?;
            moved.id.clone()
        } else {
            let who = operator.operator_id.parse::<OperatorId>().map_err(|error| {
                Failure::new(Exit::Failed, "other-version", format!("the node's answer cannot be read: {error}"))
            })?;
            let motion = known.motion(&key, Matter::Exclude { operator: who, reason: self.reason.clone() });
            let vote = ballot(&key, motion.hash(), true);
            known.bring(vec![motion.envelope().clone(), vote.envelope().clone()]).await?;
            bocage_protocol::id::ContentHash(motion.hash()).to_string()
        };
        let after = self.elector.known(at).await?;
        let motion = after.find_motion(&id)?;
        let silent = names(&motion.silent);
        let more = if motion.effective_ms.is_none() && !silent.is_empty() {
            format!(" Not heard yet: {silent}. They run: bocage operator exclude {}", self.who)
        } else {
            String::new()
        };
        at.say.done(
            &json!({ "motion": id, "yes": motion.yes.len(), "needed": motion.needed, "effective_ms": motion.effective_ms }),
            format!("Exclude {}: {}.{more}", self.who, stands(motion, wall().0)),
        );
        Ok(())
    }
}
