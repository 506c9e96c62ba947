//! `bocage charter vote`: an elector's ballot on a motion.
use bocage_node::settings::wall;
use clap::Args;
use serde_json::json;

use crate::{
    failure::Failure,
    invocation::Invocation,
    roll::{Elector, id_of, names, stands},
};

#[derive(Debug, Args)]
pub(crate) struct Vote {
    /// The motion, or how its id begins
    motion: String,
    /// Say no instead
    #[arg(long)]
    no: bool,
    #[command(flatten)]
    elector: Elector,
}

impl Vote {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let known = self.elector.known(at).await?;
        let key = self.elector.elector_key(&known)?;
        let id = known.find_motion(&self.motion)?.id.clone();
        known.vote(&id_of(&id)?, &key, !self.no).await?;
        let after = self.elector.known(at).await?;
        let motion = after.find_motion(&id)?;
        let silent = names(&motion.silent);
        at.say.done(
            &json!({ "motion": id, "yes": motion.yes.len(), "needed": motion.needed, "effective_ms": motion.effective_ms }),
            format!("{}: {}. Not heard yet: {}.", motion.matter, stands(motion, wall().0), if silent.is_empty() { "nobody" } else { &silent }),
        );
        Ok(())
    }
}
