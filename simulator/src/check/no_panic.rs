//! No panic: nothing that a peer, guest or client sends takes a node down. A panic in a step is caught, and what the node
//! saw last is told; the same scenario and seed with a tape of that node shows the rest.
use std::{any::Any, collections::VecDeque};

/// The last steps of a node, in a word each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    steps: VecDeque<(u64, &'static str)>,
}

/// So many steps are remembered.
const STEPS_MAX: usize = 12;

impl Tail {
    /// A step begins.
    pub(crate) fn step(&mut self, at: u64, what: &'static str) {
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
        }
        self.steps.push_back((at, what));
    }

    /// The steps, oldest first.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (u64, &'static str)> {
        self.steps.iter().copied()
    }

    /// The steps before a panic and what it said.
    pub(crate) fn complaint(&self, panic: &(dyn Any + Send)) -> String {
        let said = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".into());
        let steps: Vec<String> = self.steps.iter().map(|(at, what)| format!("{what} at {at} ns")).collect();
        format!("it panicked: {said}; its last steps: {}", steps.join(", "))
    }
}
