//! `bocage sim live`: a run as a map in the browser, while it goes on.
mod pace;
mod hub;
mod onlooker;
mod reader;
mod serve;

use std::{net::Ipv4Addr, path::PathBuf, process::ExitCode, sync::Arc};

use bocage_protocol::node::Node;
use bocage_simulator::{Experiment, Options, measure_before};
use clap::Args;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task,
};

use super::wrong;
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    say,
    verb::wait,
};
use hub::{About, Hub};
use onlooker::Onlooker;
use pace::Speed;

/// Serves one page on this machine only: nodes by jurisdiction and site, links, leaders, faults and what clients get. The run
/// begins when the page is opened and is the run of `sim run`, event by event. The page stays until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  bocage sim live simulator/scenarios/cut.toml --seed 1 --speed 20

Exit codes: those of sim run; 130 if it was interrupted before its end.")]
pub(crate) struct Live {
    /// What to simulate
    #[arg(value_name = "SCENARIO.toml")]
    scenario: PathBuf,
    /// All randomness comes from it
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Serve the page on this port [default: a free one]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "PORT")]
    port: u16,
    /// Simulated seconds in one second, or max: as fast as it goes
    #[arg(long, default_value = "10", value_name = "X")]
    speed: Speed,
}

#[derive(Serialize)]
struct Served {
    url: String,
}

impl Live {
    pub(crate) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let experiment = Experiment::load(&self.scenario).map_err(|error| wrong(&self.scenario, &error))?;
        wait(self.serve(at, experiment))
    }

    async fn serve(self, at: &Invocation, experiment: Experiment) -> Result<ExitCode, Failure> {
        let Self { seed, port, speed, .. } = self;
        // Heard from now on, whatever is done just then.
        let interrupted = signal(SignalKind::interrupt());
        let mut interrupted = interrupted.map_err(|error| Failure::io("signals", &error))?;
        let unserved = |error: std::io::Error| {
            Failure::io(format_args!("port {port} of this machine cannot be served"), &error)
                .next("name another with --port, or none for a free one")
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(unserved)?;
        let url = format!("http://{}/", listener.local_addr().map_err(unserved)?);
        let hub = Arc::new(Hub::new(About::of(experiment.scenario(), seed), speed));
        let page = axum::serve(listener, serve::router(Arc::clone(&hub)));
        let page = task::spawn(page.into_future());
        at.say.step(format!("{} with seed {seed}; it begins when the page is opened", experiment.scenario().name));
        at.say.result(&Served { url }, |served| format!("{}\n", served.url));
        let mut onlooker = Onlooker::new(Arc::clone(&hub));
        let mut run = task::spawn_blocking(move || {
            measure_before::<Node>(experiment.scenario(), seed, &Options::default(), &mut onlooker)
        });
        let ended = tokio::select! {
            ended = &mut run => ended,
            _ = interrupted.recv() => {
                hub.leave();
                tokio::select! {
                    ended = &mut run => ended,
                    // A large mesh that is being founded leaves only once it stands: who asks twice does not wait for it.
                    _ = interrupted.recv() => std::process::exit(Exit::Interrupted as i32),
                }
            }
        };
        let measured = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let Some(measured) = measured else {
            return Err(Failure::new(Exit::Interrupted, "interrupted", "the run was left before its end"));
        };
        let report = measured.report;
        hub.end(&report);
        say::to_stdout(&if at.say.is_json() { report.to_json() + "\n" } else { report.to_text() });
        at.say.step("the run is over; the page stays until Ctrl-C");
        interrupted.recv().await;
        page.abort();
        Ok(ExitCode::from(report.exit_code()))
    }
}
