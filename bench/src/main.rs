//! Measures what `docs/figures.md` promises, on the demo: real processes, real disks, loopback.
//!
//!     cargo build --release && target/release/bocage-bench all
//!
//! Every run is listed; the worst counts; the exit code is 1 where a figure is not kept. Read: a demo and its end (`demo`), a client that writes down what it saw
//! (`client`), what is measured (one file each), and the table (`table`).
#![forbid(unsafe_code)]

mod demo;
mod client;
mod start;
mod failover;
mod serving;
mod restart;
mod deploy;
mod idle;
mod fire;
mod cut;
mod disk;
mod sleeping;
mod linear;
mod random;
mod process;
mod join;
mod serf;
mod flood;
mod table;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use demo::Bocage;
use flood::hostile::Kind;
use table::Figure;

#[derive(Debug, Parser)]
#[command(name = "bocage-bench", version, about = "Measures Bocage's figures on the demo")]
struct Args {
    /// The binary to measure [default: bocage beside this one]
    #[arg(long, global = true, value_name = "FILE")]
    bocage: Option<PathBuf>,
    /// How often each is run
    #[arg(long, global = true, default_value_t = 20, value_name = "N")]
    runs: usize,
    /// One JSON document instead of Markdown
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum What {
    /// From the command to an app that answers
    Start,
    /// `kill -9` the cell's leader while a client writes through another edge
    Failover,
    /// `kill -9` a node that serves requests
    Serving,
    /// Every node is restarted, one after another, while clients use every edge
    Restart,
    /// A component that no node has seen, to its first 200
    Deploy,
    /// Memory and CPU 60 s after 1,000 requests
    Idle,
    /// Two commands that make an empty machine a member that hosts
    Join,
    /// A site burns: `kill -9` three of nine nodes, which lead the cells of all apps
    Fire {
        /// How many apps
        #[arg(long, default_value_t = 100, value_name = "N")]
        apps: usize,
    },
    /// One of three countries is cut off from the others: nine machines in network namespaces with emulated links
    Cut {
        /// It lasts so long
        #[arg(long, default_value_t = 60, value_name = "N")]
        for_s: u64,
    },
    /// A voter's disk rots, then another's is wiped, while a client writes and others read; each death is a power cut
    Disk,
    /// Cells that nobody uses
    Sleeping {
        /// How many
        #[arg(long, default_value_t = 1_000, value_name = "N")]
        cells: usize,
    },
    /// Keys under kills and pauses: is there an order that explains all that was seen?
    Linearizability {
        /// Each history lasts so long; `--runs` says how many there are
        #[arg(long, default_value_t = 60, value_name = "N")]
        seconds: u64,
    },
    /// A cluster of real serf agents, to hold the simulator's baseline against
    Serf {
        /// How many agents
        #[arg(long, default_value_t = 16, value_name = "N")]
        agents: usize,
        /// The binary
        #[arg(long, default_value = "serf", value_name = "FILE")]
        serf: PathBuf,
    },
    /// All of them but linearizability, the fire, the cut, the disks, the sleeping cells, serf and the flood
    All,
    /// Floods on every port while clients use the app
    Flood {
        /// Each lasts so long; so does the quiet before
        #[arg(long, default_value_t = 20, value_name = "N")]
        seconds: u64,
        /// This one only
        #[arg(long, value_name = "KIND")]
        kind: Option<Kind>,
    },
    /// The hostile side of the flood
    #[command(hide = true)]
    Hostile {
        #[arg(long)]
        kind: Kind,
        #[arg(long)]
        seconds: u64,
        /// Folder of the node that is flooded
        #[arg(long)]
        target: PathBuf,
        /// Folder of a node whose operator is the hostile one
        #[arg(long)]
        traitor: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let What::Hostile { kind, seconds, target, traitor } = &args.what {
        println!("{}", flood::attack(*kind, *seconds, target, traitor).await?);
        return Ok(ExitCode::SUCCESS);
    }
    if let What::Serf { agents, serf } = &args.what {
        return say(&serf::measure(serf, *agents, args.runs)?, args.json);
    }
    let bocage = Bocage::at(match args.bocage {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("bocage"),
    })
    .context("build it first: cargo build --release")?;
    let mut figures: Vec<Figure> = Vec::new();
    let wants = |what| args.what == what || args.what == What::All;
    if wants(What::Start) {
        figures.extend(start::measure(&bocage, args.runs)?);
    }
    if wants(What::Failover) {
        figures.extend(failover::measure(&bocage, args.runs).await?);
    }
    if wants(What::Serving) {
        figures.extend(serving::measure(&bocage, args.runs).await?);
    }
    if wants(What::Restart) {
        figures.extend(restart::measure(&bocage, args.runs).await?);
    }
    if wants(What::Deploy) {
        figures.extend(deploy::measure(&bocage, args.runs).await?);
    }
    if wants(What::Idle) {
        figures.extend(idle::measure(&bocage).await?);
    }
    if wants(What::Join) {
        figures.extend(join::measure(&bocage, args.runs)?);
    }
    if let What::Fire { apps } = args.what {
        figures.extend(fire::measure(&bocage, args.runs, apps).await?);
    }
    if let What::Linearizability { seconds } = args.what {
        figures.extend(linear::measure(&bocage, args.runs, seconds)?);
    }
    if let What::Cut { for_s } = args.what {
        figures.extend(cut::measure(&bocage, args.runs, Duration::from_secs(for_s))?);
    }
    if args.what == What::Disk {
        figures.extend(disk::measure(&bocage, args.runs).await?);
    }
    if let What::Sleeping { cells } = args.what {
        figures.extend(sleeping::measure(&bocage, cells).await?);
    }
    if let What::Flood { seconds, kind } = args.what {
        figures.extend(flood::measure(&bocage, seconds, kind).await?);
    }
    say(&figures, args.json)
}

fn say(figures: &[Figure], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string_pretty(figures)?);
    } else {
        println!("{}", table::markdown(figures));
    }
    Ok(ExitCode::from(u8::from(!figures.iter().all(Figure::is_kept))))
}
