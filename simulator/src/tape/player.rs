//! A fresh node that is told again what another one was told.
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bocage_protocol::{
    config::Config,
    io::{Input, Output},
    random::Seed,
    store::Boot,
    time::Now,
};

use super::Step;
use crate::host::{self, Daemon};

/// The node.
pub(super) struct Player<D>(D);

/// It panicked; it takes no more steps.
pub(super) struct Panic(Box<dyn Any + Send>);

impl Panic {
    /// What it said.
    pub(super) fn said(&self) -> String {
        let said = self.0.downcast_ref::<&str>().copied().map(str::to_owned);
        said.or_else(|| self.0.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".into())
    }
}

impl<D: Daemon> Player<D> {
    /// A node, and the outputs of its opening.
    pub(super) fn open(config: Config, seed: Seed, boot: Boot, now: Now) -> Result<(Self, Vec<Output>), Panic> {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut daemon = D::open(config, seed, boot, now);
            let outputs = std::iter::from_fn(|| daemon.poll_output()).collect();
            (Self(daemon), outputs)
        }));
        opened.map_err(Panic)
    }

    /// One step, and its outputs.
    pub(super) fn step(&mut self, now: Now, step: Step<Input>) -> Result<Vec<Output>, Panic> {
        host::step(&mut self.0, now, step, Vec::new()).map(|stepped| stepped.outputs).map_err(Panic)
    }
}

/// The first place, from 0, at which one list is not as the other.
pub(super) fn first_difference<T: PartialEq>(again: &[T], once: &[T]) -> Option<usize> {
    let differs = again.iter().zip(once).position(|(again, once)| again != once);
    differs.or_else(|| (again.len() != once.len()).then(|| again.len().min(once.len())))
}
