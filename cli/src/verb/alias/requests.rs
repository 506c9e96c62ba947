//! `bocage alias requests`
use bocage_node::{
    control::roll::{Motion, Roll},
    settings::wall,
};
use clap::Args;

use super::tenant;
use crate::{
    failure::Failure,
    invocation::Invocation,
    roll::{Elector, names, stands},
    say,
};

#[derive(Debug, Args)]
pub(crate) struct Requests {
    #[command(flatten)]
    elector: Elector,
    /// Those that were carried, too
    #[arg(long)]
    all: bool,
}

impl Requests {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let roll: Roll = self.elector.control(at)?.get("/v1/roll").await?;
        let now = wall().0;
        let open = |motion: &Motion| motion.effective_ms.is_none_or(|at| at > now);
        let asked = roll.motions.into_iter().filter(|motion| motion.alias.is_some() && (self.all || open(motion)));
        let asked: Vec<Motion> = asked.collect();
        at.say.result(&asked, |asked| {
            if asked.is_empty() {
                return "No tenant asks for a name.\n".to_owned();
            }
            let row = |motion: &Motion| {
                let (name, by) =
                    motion.alias.as_ref().map_or_else(Default::default, |it| (it.name.clone(), tenant(it)));
                [name, by, say::time(motion.made_ms), stands(motion, now), names(&motion.silent)]
            };
            say::table(["ALIAS", "TENANT", "ASKED", "BALLOTS", "SILENT"], asked.iter().map(row))
        });
        Ok(())
    }
}
