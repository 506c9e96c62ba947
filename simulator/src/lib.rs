//! A deterministic world which runs the very `Node` and `Store` that ship, with virtual clocks, network, disks and faults
//! that follow from one seed.
//!
//! Read in this order: what an experiment says (`scenario`), what a run answers (`report`), the world (`world`), who lies
//! in it (`liar`), and what must hold (`check`).
#![forbid(unsafe_code)]

pub mod scenario;
pub mod report;
pub mod sweep;
mod world;
mod liar;
mod check;
mod host;
mod network;
mod blocks;
mod clock;
mod population;
mod memo;
mod measure;
pub mod tape;
mod trace;
mod queue;
mod slab;

use bocage_protocol::node::Node;

pub use host::Daemon;
pub use report::{Ended, Property, Report, Violation};
pub use scenario::{Scenario, ScenarioError};
pub use tape::Tape;
pub use world::{Bug, Options};

use world::World;

/// Runs a scenario with whole nodes. The same scenario and seed give the same report, `wall_s` and memory aside.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    run_with::<Node>(scenario, seed, &Options::default()).0
}

/// Runs a scenario with any daemon; gives the tape of the node that was asked for. One with liars is run twice: first the
/// same mesh without them, to know how fast offers spread there.
#[must_use]
pub fn run_with<D: Daemon>(scenario: &Scenario, seed: u64, options: &Options) -> (Report, Option<Tape>) {
    let began = std::time::Instant::now();
    let mut options = *options;
    if options.quiet_p99_ns.is_none() && !scenario.liar.is_empty() {
        let mut quiet = World::<D>::new(&scenario.quiet(), seed, &Options::default());
        quiet.run();
        options.quiet_p99_ns = quiet.offers_p99_ns();
    }
    let mut world = World::<D>::new(scenario, seed, &options);
    world.run();
    world.report(seed, began.elapsed())
}
