//! `bocage node drain`: a node is emptied; others take over its votes and instances, then it may be stopped.
use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use bocage_node::control::drain::{self, Held, NewDrain};
use clap::Args;

use crate::{
    control::Control,
    failure::{Exit, Failure},
    invocation::Invocation,
    quantity::Time,
    say,
    verb::offer::Whose,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Cells that are remembered of a drain: as many as a node that leaves says it was in.
const CELLS_MAX: usize = 16_384;
/// Apps named when a drain is refused.
const NAMED_MAX: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    how: How,
    /// End a drain: the node offers again what it did before
    #[arg(long, conflicts_with_all = ["deadline", "as_crash"])]
    undo: bool,
}

/// How a node is emptied.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// So long others have to take over
    #[arg(long, value_name = "TIME", default_value = "10m")]
    deadline: Time,
    /// Past the deadline take it as if the node crashed, also where the rest would not survive one more loss
    #[arg(long)]
    as_crash: bool,
}

/// A drain that ended well.
pub(crate) struct Drained {
    pub(crate) last: drain::Drain,
    /// Every cell of which something was here.
    pub(crate) cells: BTreeSet<String>,
}

impl Drain {
    pub(super) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let control = self.whose.control(at)?;
        if self.undo {
            control.put_json("/v1/drain", &None::<NewDrain>).await?;
            at.say.done(
                &control.drain().await?,
                "The node takes votes and leases again. What was taken over stays there.",
            );
            return Ok(());
        }
        let drained = self.how.run(&control, at).await?;
        at.say.done(&drained.last, ended(&drained.last));
        Ok(())
    }
}

fn ended(last: &drain::Drain) -> String {
    match last.stage.as_str() {
        "empty" => "The node holds nothing: it may be stopped. Undo: bocage node drain --undo".to_owned(),
        "spared" => "Past the deadline. What is left survives without this node and one more loss: it may be stopped."
            .to_owned(),
        _ => "Past the deadline. The node may be stopped, which counts as a crash of it.".to_owned(),
    }
}

impl How {
    /// Orders it, and watches until the node may be stopped.
    pub(crate) async fn run(&self, control: &Control, at: &Invocation) -> Result<Drained, Failure> {
        let within_ms = u64::try_from(self.deadline.0.as_millis()).unwrap_or(u64::MAX);
        control.put_json("/v1/drain", &Some(NewDrain { within_ms, as_crash: self.as_crash })).await?;
        let (mut cells, mut told) = (BTreeSet::new(), None);
        loop {
            let now = control.drain().await?;
            cells.extend(now.held.iter().map(|held| held.cell.clone()).take(CELLS_MAX));
            let line = progress(&now.held);
            if told.as_ref() != Some(&line) {
                at.say.step(&line);
                told = Some(line);
            }
            match now.stage.as_str() {
                "draining" => tokio::time::sleep(LOOK_EVERY).await,
                "refused" => return Err(refused(&now.held)),
                "not" => {
                    let what = "somebody ended the drain meanwhile";
                    return Err(Failure::new(Exit::Conflict, "undone", what).next("start it again: bocage node drain"));
                }
                _ => return Ok(Drained { last: now, cells }),
            }
        }
    }
}

/// What is left, in a line.
fn progress(held: &[Held]) -> String {
    let count = |what: &dyn Fn(&Held) -> bool| held.iter().filter(|held| what(held)).count();
    let votes = count(&|held| held.replica.as_deref() == Some("voter"));
    let (others, led) = (count(&|held| held.replica.is_some()) - votes, count(&|held| held.leads));
    let instances: usize = held.iter().map(|held| held.instances).sum();
    let old = count(&|held| held.rules < 3);
    let mut text = format!(
        "left: {} ({} led here), {}, {}",
        say::counted(votes, "vote"),
        led,
        say::counted(others, "other replica"),
        say::counted(instances, "instance")
    );
    if old > 0 {
        let _ =
            write!(text, "; {} whose members have not all said that they know of draining", say::counted(old, "app"));
    }
    text
}

fn refused(held: &[Held]) -> Failure {
    let apps: Vec<&str> = held.iter().filter(|held| !held.survives).map(|held| held.app.as_str()).collect();
    let more = apps.len().saturating_sub(NAMED_MAX);
    let mut named = apps.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(named, " and {more} more");
    }
    let what = format!(
        "past the deadline, and without this node these would not survive one more loss, or not be served: {named}. The \
         node goes on, and still drains"
    );
    Failure::new(Exit::Partial, "not-drained", what).next(
        "wait longer: bocage node drain --deadline 1h; see why nobody takes over: bocage doctor; take it as a crash: bocage \
         node drain --as-crash; end it: bocage node drain --undo",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(replica: Option<&str>, leads: bool, instances: usize, survives: bool) -> Held {
        let replica = replica.map(str::to_owned);
        Held { cell: "c".into(), app: "guestbook".into(), replica, leads, instances, rules: 3, survives }
    }

    #[test]
    fn what_is_left_is_said_in_a_line_and_what_is_in_the_way_by_name() {
        let all = [held(Some("voter"), true, 1, false), held(Some("past"), false, 0, true), held(None, false, 2, true)];
        assert_eq!(progress(&all), "left: 1 vote (1 led here), 1 other replica, 3 instances");
        assert!(refused(&all).what.contains("not be served: guestbook."));
    }
}
