//! `bocage sim bench`: the engine alone.
use std::{num::NonZero, process::ExitCode};

use bocage_simulator::engine::{self, Engine};
use clap::Args;

use crate::invocation::Invocation;

/// How many events a second the calendar gives and takes, on one core, with so many nodes and events pending.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Nodes that events are of
    #[arg(long, default_value_t = Engine::default().nodes, value_name = "N")]
    nodes: u32,
    /// Events that wait all the time
    #[arg(long, default_value_t = Engine::default().pending, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pending: u32,
    /// Events in each run
    #[arg(long, default_value_t = Engine::default().events, value_name = "N")]
    events: u64,
    /// How often
    #[arg(long, default_value = "3", value_name = "N")]
    runs: NonZero<u32>,
}

impl Bench {
    pub(crate) fn run(&self, at: &Invocation) -> ExitCode {
        let &Self { nodes, pending, events, runs } = self;
        let measured = engine::bench(Engine { nodes, pending, events, runs: runs.get() });
        at.say.result(&measured, |measured| {
            let runs: Vec<String> = measured.runs.iter().map(|run| format!("{:.2}", run / 1e6)).collect();
            format!(
                "{:.2} million events/s on one core, {nodes} nodes, {pending} events pending; runs: {}\n",
                measured.events_per_s / 1e6,
                runs.join(" ")
            )
        });
        ExitCode::SUCCESS
    }
}
