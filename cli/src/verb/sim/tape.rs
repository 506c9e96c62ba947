//! `bocage sim tape`: what a real node did, done again.
use std::{path::PathBuf, process::ExitCode};

use bocage_simulator::tape::{Difference, STEPS_SHOWN_MAX, TapeFault, Unplayed, play};
use clap::Args;

use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
};

/// Plays a tape that `bocage node run --tape` recorded: a fresh node is told, step by step, what that node was told, and each of
/// its outputs is held against what was recorded. A tape of a process that was killed is played up to its last whole step.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bocage sim tape tape-1
  bocage sim tape tape-1 --from 4800 --until 4811    what happened in these steps

Exit codes: 0 the same, bit for bit, 1 a step differs, 2 it is no tape, or is damaged, or of another form.")]
pub(crate) struct Tape {
    /// The folder that it was recorded in
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Play no further than this step; the first one is 1
    #[arg(long, value_name = "STEP")]
    until: Option<u64>,
    /// Show the steps from this one on, 1,000 at most
    #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
}

impl Tape {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let played = play(&self.folder, self.until, self.from).map_err(|error| self.unplayed(&error))?;
        if !played.same_program {
            let this = bocage_simulator::tape::program();
            at.say.step(format!(
                "warning: recorded by version {}, commit {}; this is version {}, commit {}: another program may rightly do \
                 other things",
                played.program.version, played.program.commit, this.version, this.commit
            ));
        }
        if let Some(until) = self.until.filter(|until| played.is_same() && played.steps < *until) {
            at.say.step(format!("there is no step {until}: the tape has {}", played.steps));
        }
        if played.shown.len() == STEPS_SHOWN_MAX {
            at.say.step(format!("only {STEPS_SHOWN_MAX} steps are shown: name others with --from and --until"));
        }
        at.say.result(&played, bocage_simulator::tape::Played::to_text);
        if let (Some(Difference { step, .. }), None) = (&played.differs, self.from) {
            let first = step.saturating_sub(5).max(1);
            let folder = self.folder.display();
            at.say.step(format!("see what led there: bocage sim tape {folder} --from {first} --until {step}"));
        }
        Ok(ExitCode::from(u8::from(!played.is_same())))
    }

    fn unplayed(&self, Unplayed { fault, whole }: &Unplayed) -> Failure {
        let failure = Failure::new(Exit::Usage, "tape", fault.to_string());
        match (fault, whole) {
            (TapeFault::NoTape { .. }, _) => failure.next("name the folder that was given to bocage node run --tape"),
            (_, Some(step)) if *step > 0 => failure.next(format!(
                "up to step {step} it is whole, and the same: bocage sim tape {} --until {step}",
                self.folder.display()
            )),
            _ => failure,
        }
    }
}
