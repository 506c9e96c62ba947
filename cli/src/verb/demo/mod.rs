//! `bocage demo`: independent hosters on one machine, each a process with keys, disk and ports of its own, who found a
//! mesh together and host an app.
//!
//! Read in this order: who they are (`hedge`), their folders (`layout`), their processes (`farm`), what the demo goes
//! through (`raise`), and what is remembered of it (`record`).
mod hedge;
mod layout;
mod farm;
mod raise;
pub(crate) mod record;
mod stop;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use bocage_node::settings::wall;
use clap::{Args, Subcommand};
use farm::Farm;
use record::Record;

use crate::{
    failure::{Exit, Failure},
    folders,
    invocation::Invocation,
    say::{self, Say},
    verb::deploy,
};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  bocage demo                                   until Ctrl-C
  bocage demo --detach --dir /tmp/hedge         in the background
  bocage demo stop --dir /tmp/hedge"
)]
pub(crate) struct Demo {
    #[command(subcommand)]
    then: Option<Then>,
    #[command(flatten)]
    start: Start,
}

#[derive(Debug, Subcommand)]
enum Then {
    /// Stop a demo; its folder stays, and demo --dir starts it again
    Stop(stop::Stop),
}

#[derive(Debug, Args)]
struct Start {
    /// How many operators, each with one node
    #[arg(long, default_value_t = 5, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(3..=hedge::OPERATORS_MAX))]
    operators: usize,
    /// Where to keep it; a demo that stopped there goes on [default: a new folder in `$XDG_CACHE_HOME/bocage/demos`]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Every second node speaks the previous wire version, as if it had not been upgraded yet
    #[arg(long)]
    mixed_wire: bool,
    /// Return once the app answers; the nodes go on
    #[arg(long)]
    detach: bool,
}

impl Demo {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        match self.then {
            Some(Then::Stop(stop)) => stop.run(at).await,
            None => self.start.run(at).await,
        }
    }
}

impl Start {
    async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let began = Instant::now();
        let dir = self.place()?;
        let before = Record::load(&dir)?;
        if let Some(before) = before.as_ref().filter(|before| before.is_running()) {
            return self.runs_already(before, at);
        }
        let mut interrupted = farm::Interrupts::listen()?;
        let mut farm = Farm::default();
        let raised = tokio::select! {
            raised = async {
                match before {
                    Some(before) => raise::again(before, &mut farm, at).await,
                    None => raise::anew(&dir, self.operators, self.mixed_wire, &mut farm, at).await,
                }
            } => raised,
            () = interrupted.next() => Err(interruption()),
        };
        let record = match raised {
            Ok(record) => record,
            Err(failure) => {
                farm.stop().await;
                return Err(failure);
            }
        };
        let took = began.elapsed().as_secs_f64();
        if at.say.is_json() {
            say::json(&record);
        } else {
            say::to_stdout(&welcome(&record, took));
            at.say.step(say::dim(&try_this(&record)));
        }
        if self.detach {
            at.say.step(format!("It runs on. Stop it: bocage demo stop --dir {}", record.dir.display()));
            return Ok(());
        }
        at.say.step("Ctrl-C stops it.");
        stay(&record, &mut farm, &mut interrupted, at.say).await;
        farm.stop().await;
        let dir = record.dir.display();
        at.say.step(format!("Stopped. Start it again: bocage demo --dir {dir}; forget it: rm -r {dir}"));
        Err(interruption())
    }

    /// The folder that is named, or a new one.
    fn place(&self) -> Result<PathBuf, Failure> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => folders::demos()?.join(wall().0.to_string()),
        };
        fs::create_dir_all(&dir).map_err(|error| Failure::io(dir.display(), &error))?;
        let dir = dir.canonicalize().map_err(|error| Failure::io(dir.display(), &error))?;
        let strange = || fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
        if !dir.join(record::FILE).exists() && strange() {
            let what = format!("{} is not empty and holds no demo", dir.display());
            return Err(Failure::new(Exit::Conflict, "foreign-folder", what)
                .next("name another folder with --dir, or none for a new one"));
        }
        Ok(dir)
    }

    fn runs_already(&self, record: &Record, at: &Invocation) -> Result<(), Failure> {
        let dir = record.dir.display();
        if !self.detach {
            let what = format!("a demo runs in {dir} already");
            return Err(Failure::new(Exit::Conflict, "runs", what)
                .next(format!("look at it: bocage demo --detach --dir {dir}; stop it: bocage demo stop --dir {dir}")));
        }
        at.say.step(format!("A demo runs in {dir} already."));
        at.say.result(record, table);
        Ok(())
    }
}

fn interruption() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted", "the demo has stopped")
}

/// Says which node died, and goes on, until the person has had enough.
async fn stay(record: &Record, farm: &mut Farm, interrupted: &mut farm::Interrupts, say: Say) {
    loop {
        let (number, how) = tokio::select! {
            died = farm.next_death() => died,
            () = interrupted.next() => return,
        };
        let left = farm.living();
        let Some(node) = record.nodes.get(number) else { continue };
        say.step(format!(
            "{} ({}, {}) is gone: {how}. {} left; the mesh goes on. Look: bocage status guestbook",
            say::bold(&node.operator),
            node.jurisdiction,
            node.site,
            say::counted(left, "node"),
        ));
        if left == 0 {
            return;
        }
    }
}

fn welcome(record: &Record, took: f64) -> String {
    let head = format!("{} operators, one mesh, up in {took:.1} s", record.nodes.len());
    let mut text = format!("{}\n\n{}", say::bold(&head), table(record));
    if let Some(app) = &record.app {
        let _ = writeln!(text, "\n{}", say::bold(&app.url));
    }
    text
}

fn table(record: &Record) -> String {
    say::table(
        ["OPERATOR", "LAW", "SITE", "NODE", "CONTROL", "EDGE", "PID"],
        record.nodes.iter().map(|node| {
            [
                node.operator.clone(),
                node.jurisdiction.clone(),
                node.site.clone(),
                say::short(&node.node_id),
                node.control.clone(),
                node.edge.clone(),
                node.pid.to_string(),
            ]
        }),
    )
}

fn try_this(record: &Record) -> String {
    let (Some(app), Some(first), Some(last)) = (&record.app, record.nodes.first(), record.nodes.last()) else {
        return String::new();
    };
    let through_last = deploy::url(&app.host, &last.edge);
    let leader = record.leader.as_ref().and_then(|leader| record.nodes.iter().find(|node| node.node_id == *leader));
    let kill = leader
        .map(|node| format!("  kill -9 {}    # {}, who leads the app's cell; then go on\n", node.pid, node.operator));
    format!(
        "Try\n  curl -d 'hello' {url}entries\n  curl {through_last}entries    # through {last}\n  bocage status {name} --node {control}\n{kill}",
        url = app.url,
        last = last.operator,
        name = app.name,
        control = first.control,
        kill = kill.unwrap_or_default(),
    )
}

/// Part of a path that people see.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
