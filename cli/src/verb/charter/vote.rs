//! `bocage charter vote`: an elector's ballot on a motion.
use bocage_node::settings::wall;
use clap::Args;

use crate::{
    failure::Failure,
    invocation::Invocation,
    roll::{Elector, names, stands, tally},
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
        let id = known.find_motion(&self.motion)?.id.clone();
        let motion = self.elector.cast(at, &known, &id, !self.no).await?;
        let silent = names(&motion.silent);
        let silent = if silent.is_empty() { "nobody" } else { &silent };
        let stands = stands(&motion, wall().0);
        at.say.done(&tally(&motion), format!("{}: {stands}. Not heard yet: {silent}.", motion.matter));
        Ok(())
    }
}
