//! The demo's processes: started, watched, stopped. Each is a process group of its own, so that neither Ctrl-C nor the
//! end of the demo's own process reaches it unless we say so.
use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind, signal},
};

use super::{record::NodeRecord, shown};
use crate::failure::{Exit, Failure};

/// A node stops within this after SIGTERM, with all that it began, or it is killed: it is built to be.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Between two looks whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So much of a log is shown when a node does not start.
const LOG_BYTES_SHOWN: u64 = 2_000;

/// Processes that this one started, in the order of the record's nodes.
#[derive(Debug, Default)]
pub(super) struct Farm {
    children: Vec<Grown>,
}

#[derive(Debug)]
struct Grown {
    child: Child,
    log: PathBuf,
    gone: bool,
}

impl Farm {
    /// Starts the daemon of each node; writes its pid into the record.
    pub(super) fn start(&mut self, nodes: &mut [NodeRecord]) -> Result<(), Failure> {
        let exe = std::env::current_exe().map_err(|error| Failure::io("this program's own file", &error))?;
        for node in nodes {
            let log = node.dir.join("log");
            let child =
                spawn(&exe, &node.dir, &log).map_err(|error| Failure::io("a node cannot be started", &error))?;
            node.pid = child.id().expect("a child that was not waited for has a pid");
            self.children.push(Grown { child, log, gone: false });
        }
        Ok(())
    }

    /// Why a node that should start has ended, if it has.
    pub(super) fn failed(&mut self, number: usize) -> Result<Option<Failure>, Failure> {
        let Some(grown) = self.children.get_mut(number) else { return Ok(None) };
        let ended = grown.child.try_wait().map_err(|error| Failure::io("a node's process", &error))?;
        Ok(ended.map(|status| {
            grown.gone = true;
            let log = tail(&grown.log);
            let code = if log.contains("error[port]") || log.contains("in use") { "port" } else { "start" };
            Failure::new(Exit::Failed, code, format!("a node of the demo did not start ({status}):\n{log}"))
                .next(format!("its log: {}", shown(&grown.log)))
        }))
    }

    /// The next node that ends, and how.
    pub(super) async fn next_death(&mut self) -> (usize, String) {
        loop {
            for (number, grown) in self.children.iter_mut().enumerate().filter(|(_, grown)| !grown.gone) {
                if let Ok(Some(status)) = grown.child.try_wait() {
                    grown.gone = true;
                    return (number, status.to_string());
                }
            }
            tokio::time::sleep(LOOK_EVERY * 5).await;
        }
    }

    pub(super) fn living(&self) -> usize {
        self.children.iter().filter(|grown| !grown.gone).count()
    }

    /// Stops all, in order if they let us.
    pub(super) async fn stop(&mut self) {
        let pids: Vec<_> =
            self.children.iter().filter(|grown| !grown.gone).filter_map(|grown| grown.child.id()).collect();
        for pid in pids {
            signal_to(pid, Signal::TERM);
        }
        let began = Instant::now();
        while self.has_living() && began.elapsed() < STOP_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        for grown in &mut self.children {
            // It has ended already: fine.
            let _ = grown.child.kill().await;
        }
        self.children.clear();
    }

    fn has_living(&mut self) -> bool {
        self.children.iter_mut().any(|grown| matches!(grown.child.try_wait(), Ok(None)))
    }
}

/// Stops nodes that another process started; says how many ran.
pub(super) async fn stop_all(nodes: &[NodeRecord]) -> usize {
    let running: Vec<_> = nodes.iter().filter(|node| node.is_alive()).collect();
    for node in &running {
        signal_to(node.pid, Signal::TERM);
    }
    let began = Instant::now();
    while running.iter().any(|node| node.is_alive()) && began.elapsed() < STOP_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    for node in running.iter().filter(|node| node.is_alive()) {
        signal_to(node.pid, Signal::KILL);
    }
    running.len()
}

fn spawn(exe: &Path, dir: &Path, log: &Path) -> std::io::Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(exe)
        .args(["node", "run", "--color", "never", "--dir"])
        .arg(dir)
        // A node asks nobody, in nobody's name.
        .env_remove("BOCAGE_NODE")
        .env_remove("BOCAGE_KEY")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

fn signal_to(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It has ended already: fine.
        let _ = kill_process(pid, signal);
    }
}

fn tail(log: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = fs::File::open(log) {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let _ = file.seek(SeekFrom::Start(size.saturating_sub(LOG_BYTES_SHOWN)));
        let _ = file.read_to_string(&mut text);
    }
    text
}

/// What ends a demo in the foreground.
pub(super) struct Interrupts {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Interrupts {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::io("signals", &error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
