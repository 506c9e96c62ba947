//! A tape: what one node was opened with and every step it took. Played back on a fresh node it gives the same outputs,
//! bit for bit, or something in that node is not deterministic.
use bocage_protocol::{
    config::Config,
    io::{Input, Output},
    random::Seed,
    store::Boot,
    time::Now,
};

use crate::{host::Daemon, trace};

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
    /// A hash of each output, in order.
    outputs: Vec<u128>,
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
        self.outputs.extend(outputs.map(|output| trace::of_output(output, None)));
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
        let mut daemon = D::open(self.config.clone(), self.seed, self.boot.clone(), self.opened);
        let mut outputs: Vec<u128> = Vec::new();
        let drain = |daemon: &mut D, outputs: &mut Vec<u128>| {
            outputs.extend(std::iter::from_fn(|| daemon.poll_output()).map(|output| trace::of_output(&output, None)));
        };
        drain(&mut daemon, &mut outputs);
        for (now, step) in &self.steps {
            match step.clone() {
                Step::Input(input) => daemon.handle_input(*now, input),
                Step::Timeout => daemon.handle_timeout(*now),
            }
            drain(&mut daemon, &mut outputs);
        }
        let differs = outputs.iter().zip(&self.outputs).position(|(again, once)| again != once);
        match differs {
            Some(number) => Err(number),
            None if outputs.len() != self.outputs.len() => Err(outputs.len().min(self.outputs.len())),
            None => Ok(outputs.len()),
        }
    }
}
