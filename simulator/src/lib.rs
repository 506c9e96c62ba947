//! A deterministic world which runs the very `Node` and `Store` that ship, with virtual clocks, network, disks and faults
//! that follow from one seed.
//!
//! Read in this order: what an experiment says (`scenario`), what a run answers (`report`), the world (`world`), who lies
//! in it (`liar`), and what must hold (`check`).
#![forbid(unsafe_code)]

pub mod scenario;
pub mod report;
pub mod results;
pub mod sweep;
pub mod validate;
pub mod hunt;
mod capsule;
mod replay;
pub mod engine;
mod page;
mod observe;
pub mod scene;
mod spectator;
mod world;
mod liar;
mod check;
mod host;
mod network;
pub mod geo;
mod blocks;
mod clock;
mod chance;
mod population;
pub mod policy;
mod detection;
mod cores;
mod memo;
mod measure;
pub mod tape;
mod trace;
mod queue;
mod slab;

use std::time::Instant;

use bocage_protocol::node::Node;

pub use capsule::Capsule;
pub use host::Daemon;
pub use page::write_report;
pub use replay::{Replayed, replay};
pub use report::{Ended, Property, Report, Violation};
pub use scenario::{Experiment, Layout, Mistake, Question, Scenario, ScenarioError, Variant, Way};
pub use spectator::{Spectator, Until};
pub use tape::Tape;
pub use world::{Bug, Delivery, NodeShown, Options};

use results::Measured;
use spectator::{Blind, Nobody};
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
    let began = Instant::now();
    let world = ended::<D>(scenario, seed, options, &mut Nobody).expect("nobody does not leave");
    world.report(seed, began.elapsed())
}

/// As [`run_with`], and keeps what was measured on the way. It is the same run.
#[must_use]
pub fn measure<D: Daemon>(scenario: &Scenario, seed: u64, options: &Options) -> Measured {
    measure_before::<D>(scenario, seed, options, &mut Nobody).expect("nobody does not leave")
}

/// As [`measure`], while somebody looks on; nothing if they leave before the end.
#[must_use]
pub fn measure_before<D: Daemon>(
    scenario: &Scenario,
    seed: u64,
    options: &Options,
    spectator: &mut dyn Spectator,
) -> Option<Measured> {
    let began = Instant::now();
    let mut world = ended::<D>(scenario, seed, &Options { measured: true, ..*options }, spectator)?;
    let (rows, rows_left_out) = world.take_rows();
    Some(Measured { report: world.report(seed, began.elapsed()).0, rows, rows_left_out })
}

/// A world whose run is over; none if the spectator left.
fn ended<D: Daemon>(
    scenario: &Scenario,
    seed: u64,
    options: &Options,
    spectator: &mut dyn Spectator,
) -> Option<World<D>> {
    let mut options = *options;
    #[cfg(feature = "planted")]
    let _planted = Bug::plant(options.bug);
    if options.quiet_p99_ns.is_none() && !scenario.liar.is_empty() {
        let mut quiet = World::<D>::new(&scenario.quiet(), seed, &Options::default());
        quiet.run_before(&mut Blind(&mut *spectator)).then_some(())?;
        options.quiet_p99_ns = quiet.offers_p99_ns();
    }
    let mut world = World::<D>::new(scenario, seed, &options);
    world.run_before(spectator).then_some(world)
}
