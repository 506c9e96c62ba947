//! `bocage node leave`: a node is emptied, writes down who holds what it held, and ends for good.
use std::fmt::Write as _;

use bocage_node::control::drain::{self, Left};
use clap::Args;

use super::drain::How;
use crate::{failure::Failure, invocation::Invocation, say, verb::offer::Whose};

#[derive(Debug, Args)]
pub(crate) struct Leave {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    how: How,
}

impl Leave {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let control = self.whose.control(at)?;
        let drained = self.how.run(&control, at).await?;
        let left = control.leave(&drain::Leave { cells: drained.cells.into_iter().collect() }).await?;
        at.say.result(&left, shown);
        Ok(())
    }
}

fn shown(left: &Left) -> String {
    let mut text = say::table(
        ["APP", "LINE", "INDEX", "VOTERS", "INSTANCES", ""],
        left.handed_over.iter().map(|cell| {
            [
                cell.app.clone().unwrap_or_else(|| say::short(&cell.cell)),
                cell.line.to_string(),
                cell.applied.to_string(),
                cell.voters.iter().map(|node| say::short(node)).collect::<Vec<_>>().join(" "),
                cell.instances.len().to_string(),
                cell.problem.clone().unwrap_or_default(),
            ]
        }),
    );
    let _ = writeln!(
        text,
        "\nThe node has left and stops. {} in its folder says so, and keeps it from starting again.",
        drain::LEFT
    );
    text
}
