//! `bocage operator requests`
use bocage_node::{
    control::roll::{Motion, Roll},
    settings::wall,
};
use clap::Args;

use crate::{
    failure::Failure,
    invocation::Invocation,
    roll::{Elector, is_void, names, stands},
    say,
};

#[derive(Debug, Args)]
pub(crate) struct Requests {
    #[command(flatten)]
    elector: Elector,
    /// Those that were carried, and those whose invite does not count, too
    #[arg(long)]
    all: bool,
}

impl Requests {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let roll: Roll = self.elector.control(at)?.get("/v1/roll").await?;
        let now = wall().0;
        let open = |motion: &Motion| motion.effective_ms.is_none_or(|at| at > now) && !is_void(motion);
        let asked = roll.motions.into_iter().filter(|motion| motion.matter == "admit" && (self.all || open(motion)));
        let asked: Vec<Motion> = asked.collect();
        at.say.result(&asked, |asked| {
            if asked.is_empty() {
                return "Nobody asks to be admitted.\n".to_owned();
            }
            let row = |motion: &Motion| {
                let about = motion.about.clone();
                let (name, id) =
                    about.map_or_else(Default::default, |about| (about.name, say::short(&about.operator_id)));
                [name, id, say::time(motion.made_ms), stands(motion, now), names(&motion.silent)]
            };
            say::table(["OPERATOR", "ID", "ASKED", "BALLOTS", "SILENT"], asked.iter().map(row))
        });
        Ok(())
    }
}
