//! The contract between protocol code and whatever drives it: a daemon, the simulator, a test, a replayed tape.
use std::collections::VecDeque;

use crate::time::{Instant, Now};

/// A deterministic state machine that does no I/O and reads no clock.
///
/// The driver hands over **one** input, takes every output, then waits for the next input or the deadline:
///
/// ```text
///   handle_input / handle_timeout ─► poll_output until None ─► poll_timeout ─► wait ─┐
///                 ▲                                                                  │
///                 └──────────────────────────────────────────────────────────────────┘
/// ```
///
/// `now.instant` never goes backwards. The same start, the same seed and the same steps give the same outputs: so a run
/// is a list of `(Now, Step)`, a *tape*, that replays bit for bit.
///
/// The shape is quinn's and str0m's; the asserted drain is ours.
pub trait Machine {
    /// What may happen to it.
    type Input;
    /// What it asks of its driver.
    type Output;

    /// Reacts to one thing that happened.
    ///
    /// # Panics
    /// If outputs of the previous step were not drained: a bug in the driver.
    fn handle_input(&mut self, now: Now, input: Self::Input);

    /// Fires every deadline at or before `now`; harmless when none is due.
    ///
    /// # Panics
    /// If outputs of the previous step were not drained: a bug in the driver.
    fn handle_timeout(&mut self, now: Now);

    /// The next thing the driver must do, oldest first; `None` once drained.
    #[must_use]
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// When `handle_timeout` is next due. Ask after draining.
    #[must_use]
    fn poll_timeout(&self) -> Option<Deadline>;
}

/// When a machine wants waking, and why, so that a busy loop names its cause in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// The moment from which `handle_timeout` has something to do.
    pub at: Instant,
    /// For people only.
    pub reason: &'static str,
}

/// The outputs of one step. Catches a driver that forgets to drain.
#[derive(Debug)]
pub struct Outbox<O> {
    queue: VecDeque<O>,
}

impl<O> Default for Outbox<O> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<O> Outbox<O> {
    /// Call first in `handle_input` and `handle_timeout`.
    ///
    /// # Panics
    /// If the previous step's outputs are still here.
    pub fn begin_step(&self) {
        assert!(self.queue.is_empty(), "drain poll_output before the next step");
    }

    /// Adds an output behind those already here.
    pub fn push(&mut self, output: impl Into<O>) {
        self.queue.push_back(output.into());
    }

    /// Takes the oldest output.
    pub fn pop(&mut self) -> Option<O> {
        self.queue.pop_front()
    }
}
