//! One key, as a register of numbers. Each value is written once, so a version stands for a value.
use porcupine_rs::Model;

/// What was asked, and what came of it.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Get(u64),
    Set(u64),
    /// Compare-and-swap; `done`: `None` when nobody knows.
    Swap {
        from: u64,
        to: u64,
        done: Option<bool>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Register;

impl Model for Register {
    /// 0: nothing written yet.
    type State = u64;
    type Op = Op;
    type Metadata = ();

    fn init() -> u64 {
        0
    }

    fn step(state: &u64, op: &Op) -> (bool, u64) {
        match *op {
            Op::Get(value) => (value == *state, *state),
            Op::Set(value) => (true, value),
            Op::Swap { from, to, done } => {
                let would = *state == from;
                (done.is_none_or(|done| done == would), if would { to } else { *state })
            }
        }
    }
}
