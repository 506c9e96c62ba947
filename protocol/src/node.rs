//! A node of the mesh: the composite machine. It routes and never decides.
use crate::{
    config::Config,
    io::{Input, Output},
    machine::{Deadline, Machine, Outbox},
    random::Seed,
    store::Boot,
    time::Now,
};

/// All parts of a node, wired.
#[derive(Debug)]
pub struct Node {
    outbox: Outbox<Output>,
}

impl Node {
    /// Opens a node on what its disk held.
    #[must_use]
    pub fn open(config: Config, seed: Seed, boot: Boot, now: Now) -> Self {
        let _ = (config, seed, boot, now);
        Self { outbox: Outbox::default() }
    }
}

impl Machine for Node {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        let _ = (now, input);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        let _ = now;
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}
