//! A tape: what one node was opened with and every step it took. Played back on a fresh node it gives the same outputs,
//! bit for bit, or something in that node is not deterministic.
//!
//! That of a simulated node is in memory: [`Tape`]. That of a real one is in files, which a daemon recorded: they are read
//! (`reel`), played by a node of the simulator (`player`), and told about (`played`).
mod played;
mod player;
mod reel;
#[cfg(test)]
mod tests;

use bocage_protocol::{
    config::Config,
    io::{Input, Output},
    random::Seed,
    store::Boot,
    tape::{Digest, Program, digest},
    time::Now,
};
use player::{Player, first_difference};

pub use played::{Difference, Played, ProgramShown, STEPS_SHOWN_MAX, StepShown, Unplayed, play};
pub use reel::TapeFault;

use crate::host::Daemon;

/// This very program, as tapes name it.
#[must_use]
pub fn program() -> Program {
    Program { version: env!("CARGO_PKG_VERSION").to_owned(), commit: env!("BOCAGE_COMMIT").to_owned() }
}

/// One step of a machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<I> {
    /// It was given an input.
    Input(I),
    /// It was woken.
    Timeout,
}

/// One life of one node.
#[derive(Clone, Debug)]
pub struct Tape {
    config: Config,
    seed: Seed,
    boot: Boot,
    opened: Now,
    steps: Vec<(Now, Step<Input>)>,
    /// Of each output, in order.
    outputs: Vec<Digest>,
}

impl Tape {
    /// The tape of a node that is being opened.
    pub(crate) const fn new(config: Config, seed: Seed, boot: Boot, opened: Now) -> Self {
        Self { config, seed, boot, opened, steps: Vec::new(), outputs: Vec::new() }
    }

    pub(crate) fn step(&mut self, now: Now, step: Step<Input>) {
        self.steps.push((now, step));
    }

    pub(crate) fn outputs<'a>(&mut self, outputs: impl Iterator<Item = &'a Output>) {
        self.outputs.extend(outputs.map(digest));
    }

    /// How many steps it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing ever happened.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Plays the tape on a fresh node; fails with the number of the first output that differs.
    ///
    /// # Errors
    /// When the node does not do again what it did.
    pub fn replay<D: Daemon>(&self) -> Result<usize, usize> {
        let mut outputs: Vec<Digest> = Vec::new();
        let (mut player, made) = Player::<D>::open(self.config.clone(), self.seed, self.boot.clone(), self.opened)
            .unwrap_or_else(|panic| panic!("{}", panic.said()));
        outputs.extend(made.iter().map(digest));
        for (now, step) in &self.steps {
            let made = player.step(*now, step.clone()).unwrap_or_else(|panic| panic!("{}", panic.said()));
            outputs.extend(made.iter().map(digest));
        }
        match first_difference(&outputs, &self.outputs) {
            Some(number) => Err(number),
            None => Ok(outputs.len()),
        }
    }
}
