//! Network namespaces: where programs have addresses, ports and routes of their own. What is made here goes when it is dropped;
//! what a run left that was killed goes when the next begins.
use std::{
    fmt::Display,
    fs::File,
    os::fd::AsFd as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// What the names of all of them begin with; the pid of who made them follows.
const PREFIX: &str = "bcg";
/// Where `ip netns` keeps them.
const FOLDER: &str = "/run/netns";

/// Something that the machine refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what}: {said}. Network namespaces and TUN devices need root (or CAP_NET_ADMIN and CAP_SYS_ADMIN), /dev/net/tun and \
     iproute2: run it as root after `apt-get install -y iproute2`; in a container, give it these capabilities and that device"
)]
pub struct LinksError {
    what: String,
    said: String,
}

impl LinksError {
    pub(crate) fn new(what: impl Display, said: impl Display) -> Self {
        Self { what: what.to_string(), said: said.to_string() }
    }
}

/// One network namespace. When it is dropped it goes with all that runs in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one, in which a loopback device is up. `of` is for those who read `ip netns`.
    pub fn new(of: &str) -> Result<Self, LinksError> {
        static CLEARED: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        CLEARED.call_once(clear);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let this = Self { name: format!("{PREFIX}{}x{count}-{of}", std::process::id()) };
        ip(&["netns", "add", &this.name])?;
        ip(&["-n", &this.name, "link", "set", "lo", "up"])?;
        Ok(this)
    }

    /// As `ip netns` calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program inside, which reads nothing.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        command
    }

    /// Does this inside, on a thread of its own: sockets that it opens and processes that it starts are inside for good.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LinksError> {
        let inside = || {
            let refused = |error: std::io::Error| LinksError::new(format!("network namespace {}", self.name), error);
            let namespace = File::open(Path::new(FOLDER).join(&self.name)).map_err(refused)?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| refused(error.into()))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Runs `ip`.
pub fn ip(args: &[&str]) -> Result<(), LinksError> {
    let what = || format!("ip {}", args.join(" "));
    let done = run(args).map_err(|error| LinksError::new(what(), error))?;
    if done.status.success() {
        return Ok(());
    }
    Err(LinksError::new(what(), String::from_utf8_lossy(&done.stderr).trim()))
}

fn run(args: &[&str]) -> std::io::Result<Output> {
    Command::new("ip").args(args).stdin(Stdio::null()).output()
}

/// Ends all that runs in it, and takes it away. It is gone already: fine.
fn remove(name: &str) {
    if let Ok(inside) = run(&["netns", "pids", name]) {
        let pids = String::from_utf8_lossy(&inside.stdout);
        let others = pids.lines().filter_map(|pid| pid.trim().parse().ok()).filter_map(Pid::from_raw);
        for pid in others.filter(|pid| *pid != rustix::process::getpid()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = run(&["netns", "del", name]);
}

/// Takes away what runs left that could not clear up.
fn clear() {
    let Ok(names) = std::fs::read_dir(FOLDER) else { return };
    let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| maker(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())) {
        remove(&name);
    }
}

/// Whose process made it, if it is one of these.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('x')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_kind_tell_who_made_them() {
        assert_eq!(maker("bcg123x0-alder"), Some(123));
        for other in ["bcg", "bcgx0-a", "bcg12-a", "cni-123x0", "bcg-1x0"] {
            assert_eq!(maker(other), None, "{other}");
        }
    }
}
