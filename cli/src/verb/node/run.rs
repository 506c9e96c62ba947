//! `bocage node run`: the daemon in the foreground, as service managers want it: it says when it is ready, logs to stderr,
//! and stops in order on SIGTERM.
use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bocage_node::{
    control::drain::{LEFT, Left},
    daemon::{Daemon, StartError},
    runtime::Compiler,
    settings::{Folder as NodeFolder, wall},
    tape::{TapeError, TapeSettings},
};
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::{EnvFilter, fmt};

use super::{Folder, attempt::Attempt, init::refused};
use crate::{
    failure::{Exit, Failure},
    invocation::Invocation,
    quantity::Bytes,
    verb::compile::COMPILE,
};

/// The node waits much and computes little; guests are compiled on threads of their own.
const WORKERS: usize = 2;
/// Blocking work is short: files of the control API, answers of the disk.
const BLOCKING_THREADS_MAX: usize = 8;
/// Our deepest calls are far below it; each thread's stack counts as memory once it is touched.
const STACK_BYTES: usize = 2 << 20;

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    folder: Folder,
    /// How the log on stderr is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Only check folder, keys, certificate and settings
    #[arg(long)]
    check_config: bool,
    /// Record all that the node is told and does, for a report of a bug: in this folder, new or empty, which then holds what
    /// your apps hold. bocage sim tape plays it
    #[arg(long, value_name = "DIR")]
    tape: Option<PathBuf>,
    /// The tape ends when it is so long; the node goes on
    #[arg(long, value_name = "SIZE", default_value = TAPE_LIMIT, requires = "tape")]
    tape_limit: Bytes,
}

/// Some hours of a node that is busy, some days of one that is not.
const TAPE_LIMIT: &str = "1GiB";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Run {
    pub(super) fn of(folder: Folder) -> Self {
        let tape_limit = TAPE_LIMIT.parse().expect("a size with a unit");
        Self { folder, log_format: LogFormat::default(), check_config: false, tape: None, tape_limit }
    }

    pub(super) fn run(self, at: &Invocation) -> Result<ExitCode, Failure> {
        let (path, flag) = (self.folder.path()?, self.folder.flag());
        if Attempt::is_marked(&path) {
            let what = format!("joining a mesh was cut short in {}, or is under way there", path.display());
            return Err(Failure::new(Exit::Conflict, "joining", what)
                .next(format!("run it again, it cleans up first: bocage node join INVITE{flag}")));
        }
        if let Some(failure) = left(&path) {
            return Err(failure);
        }
        if self.check_config {
            let folder = NodeFolder::open(&path, wall()).map_err(|error| refused(&error, &flag))?;
            let node = folder.identity.node();
            let said = json!({ "dir": path, "node_id": node, "mesh": folder.mesh, "ok": true });
            at.say.done(&said, format!("{} is sound: node {}.", path.display(), node.short()));
            return Ok(ExitCode::SUCCESS);
        }
        log(self.log_format, at.say.verbose);
        let runtime = runtime()?;
        let tape = self.tape.map(|folder| TapeSettings {
            folder,
            bytes_max: self.tape_limit.0,
            program: bocage_simulator::tape::program(),
        });
        let ended = runtime.block_on(serve(&path, &flag, tape.as_ref()));
        runtime.shutdown_background();
        ended
    }
}

/// A node that left does not come back by itself.
fn left(path: &Path) -> Option<Failure> {
    let file = path.join(LEFT);
    let text = std::fs::read_to_string(&file).ok()?;
    let when = serde_json::from_str::<Left>(&text).map_or_else(
        |_| "some time ago".to_owned(),
        |left| {
            jiff::Timestamp::from_millisecond(i64::try_from(left.left_ms).unwrap_or(i64::MAX))
                .map_or_else(|_| "some time ago".to_owned(), |at| format!("at {at}"))
        },
    );
    let what = format!("this node left its mesh {when}: it hosts nothing, and others count on that");
    Some(
        Failure::new(Exit::Conflict, "left", what)
            .next(format!("to have it host again: rm {}, run it, then bocage node drain --undo", file.display())),
    )
}

/// What a node runs on. Huge pages would double what it holds of memory while it rests; simulations, which are busy with all of
/// theirs, gain a quarter of their time by them.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the system gives no say in huge pages");
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_BYTES)
        .thread_name("bocage")
        .enable_all()
        .build()
        .map_err(|error| Failure::io("this process gets no event loop from the system", &error))
}

/// This very program, also when its file was replaced meanwhile.
pub(super) fn compiler() -> Compiler {
    Compiler::Process { program: "/proc/self/exe".into(), arguments: vec![COMPILE.into()] }
}

async fn serve(path: &Path, flag: &str, tape: Option<&TapeSettings>) -> Result<ExitCode, Failure> {
    let signals = Signals::listen()?;
    let daemon = Daemon::start(path, compiler(), tape).await.map_err(|error| not_started(&error, flag))?;
    tracing::info!(node = %daemon.id, edge = %daemon.edge, control = %daemon.control, "the node runs");
    tell_service_manager(&[sd_notify::NotifyState::Ready]);
    let stop = async {
        let name = signals.stop(path).await;
        tracing::info!(signal = name, "stopping");
        tell_service_manager(&[sd_notify::NotifyState::Stopping]);
    };
    daemon.run_until(stop).await.map_err(|error| {
        Failure::new(Exit::Failed, "node", format!("the node stopped: {error}")).next(format!(
            "nothing acknowledged is lost; the log says what broke. Start it again: bocage node run{flag}"
        ))
    })?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Does nothing where no service manager asked to be told.
fn tell_service_manager(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// The signals that a daemon heeds.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::io("signals", &error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// The name of the first signal that means stop. SIGHUP, which asks daemons to read their settings again, only has
    /// them checked: they are read at the start.
    pub(super) async fn stop(mut self, path: &Path) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => match NodeFolder::open(path, wall()) {
                    Ok(_) => tracing::info!("the settings are sound; a restart applies them"),
                    Err(error) => tracing::warn!(%error, "the settings are wrong; the node goes on with the old ones"),
                },
            }
        }
    }
}

fn log(format: LogFormat, verbose: u8) {
    let usual = match verbose {
        0 => "info",
        1 => "debug",
        2.. => "trace",
    };
    let filter = EnvFilter::try_from_env("BOCAGE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,bocage={usual},bocage_node={usual},bocage_protocol={usual}")));
    let log = fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Pretty => {
            let color = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
            log.with_ansi(color).with_target(false).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

pub(super) fn not_started(error: &StartError, flag: &str) -> Failure {
    match error {
        StartError::Settings(error) => refused(error, flag),
        StartError::Port { what, addr, .. } => Failure::new(Exit::Failed, "port", error.to_string())
            .next(format!("see who has it: ss -ltnp 'sport = :{}'; or change listen.{what}", addr.port())),
        StartError::Tape(TapeError::Io { .. }) => Failure::new(Exit::Failed, "tape", error.to_string()),
        StartError::Tape(TapeError::NotEmpty { .. }) => Failure::new(Exit::Conflict, "tape", error.to_string()),
        StartError::Tape(TapeError::Short { .. }) => Failure::new(Exit::Usage, "tape", error.to_string()),
        StartError::Bootstrap(_) => Failure::new(Exit::Usage, "address", error.to_string()),
        StartError::Disk(_) | StartError::Transport(_) | StartError::Runtime(_) | StartError::Io { .. } => {
            Failure::new(Exit::Failed, "start", error.to_string())
        }
    }
}
