//! A cluster of real serf agents on loopback, to hold the simulator's `swim-lifeguard` against: the same happens as in
//! `simulator/scenarios/detectors.toml`. Some agents stand still again and again, then one is killed. What the others say of
//! it is counted: when the first and the last of them called it failed, and how often anybody called one failed that ran.
use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::table::Figure;

/// The first agents stand still: so many.
const STALLED: usize = 4;
/// So often, for so long, from one beginning to the next.
const STALLS: u32 = 12;
const STALL: Duration = Duration::from_secs(4);
const STALL_EVERY: Duration = Duration::from_secs(5);
/// Until all have joined.
const JOINED_WITHIN: Duration = Duration::from_secs(30);
/// Between the last stall and the death, and after it.
const REST: Duration = Duration::from_mins(1);
/// A line of its log in which an agent calls another failed.
const FAILED: &str = "EventMemberFailed: n";
const JOINED: &str = "EventMemberJoin: n";

/// An agent, which ends with this.
struct Agent {
    child: Child,
}

/// An agent said something of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    at: Instant,
    by: usize,
    about: usize,
    failed: bool,
}

/// What one run came to.
#[derive(Debug, Default)]
struct Seen {
    first_s: f64,
    last_s: f64,
    missing: f64,
    false_of_well: f64,
    false_of_stalled: f64,
}

/// Needs serf (Debian and Ubuntu have it as `serf`), and nothing of Bocage.
pub(crate) fn measure(serf: &Path, agents: usize, runs: usize) -> anyhow::Result<Vec<Figure>> {
    anyhow::ensure!(
        agents > STALLED + 1,
        "{agents} agents are too few: {STALLED} stand still, one dies, another must see it"
    );
    let mut all = Vec::new();
    for run in 0..runs {
        let seen = once(serf, agents)?;
        eprintln!("serf {}: {seen:?}", run + 1);
        all.push(seen);
    }
    let each = |figure: fn(&Seen) -> f64| all.iter().map(figure).collect::<Vec<_>>();
    Ok(vec![
        Figure::told("serf, an agent killed: the first other one calls it failed", "s", each(|seen| seen.first_s)),
        Figure::told("serf, an agent killed: the last other one does", "s", each(|seen| seen.last_s)),
        Figure::worst("serf, an agent killed: others that never do", "", 0.0, each(|seen| seen.missing)),
        Figure::told("serf, some stand still: agents that run called failed", "", each(|seen| seen.false_of_well)),
        Figure::told("serf, some stand still: these called failed", "", each(|seen| seen.false_of_stalled)),
    ])
}

fn once(serf: &Path, count: usize) -> anyhow::Result<Seen> {
    let (says, said) = channel();
    let first_port = free_port()?;
    let mut agents = Vec::new();
    for number in 0..count {
        let bind = if number == 0 { first_port } else { free_port()? };
        agents.push(Agent::start(serf, number, bind, (number > 0).then_some(first_port), &says)?);
        // Whoever joins too early is refused, and ends.
        thread::sleep(Duration::from_millis(500));
    }
    let began = Instant::now();
    let mut joined = 0;
    while joined < count * count {
        let left = JOINED_WITHIN.saturating_sub(began.elapsed());
        let one =
            said.recv_timeout(left).with_context(|| format!("only {joined} of {} joins were seen", count * count))?;
        joined += usize::from(!one.failed);
    }
    thread::sleep(STALL_EVERY);
    for _ in 0..STALLS {
        agents[..STALLED].iter_mut().try_for_each(|agent| agent.signal("-STOP"))?;
        thread::sleep(STALL);
        agents[..STALLED].iter_mut().try_for_each(|agent| agent.signal("-CONT"))?;
        thread::sleep(STALL_EVERY.saturating_sub(STALL));
    }
    thread::sleep(REST);
    let mut seen = Seen::default();
    for one in said.try_iter().filter(|one| one.failed) {
        *(if one.about < STALLED { &mut seen.false_of_stalled } else { &mut seen.false_of_well }) += 1.0;
    }
    let dead = count - 1;
    let killed = Instant::now();
    agents.pop().context("there are agents")?.end();
    let by = detected(&said, killed, dead);
    let took = |at: Option<&Instant>| at.map_or(f64::INFINITY, |at| (*at - killed).as_secs_f64());
    (seen.first_s, seen.last_s) = (took(by.iter().min()), took(by.iter().max()));
    seen.missing = f64::from(u32::try_from(dead - by.len())?);
    Ok(seen)
}

/// When each of the others called the dead one failed.
fn detected(said: &Receiver<Said>, killed: Instant, dead: usize) -> Vec<Instant> {
    let mut by = vec![None; dead];
    while by.iter().any(Option::is_none)
        && let Ok(one) = said.recv_timeout(REST.saturating_sub(killed.elapsed()))
    {
        if one.failed && one.about == dead && one.by < dead {
            by[one.by].get_or_insert(one.at);
        }
    }
    by.into_iter().flatten().collect()
}

impl Agent {
    fn start(serf: &Path, number: usize, bind: u16, join: Option<u16>, says: &Sender<Said>) -> anyhow::Result<Self> {
        let mut command = Command::new(serf);
        command.args(["agent", "-profile", "lan", "-node", &format!("n{number}")]);
        command.args(["-bind", &format!("127.0.0.1:{bind}"), "-rpc-addr", &format!("127.0.0.1:{}", free_port()?)]);
        command.args(join.map(|port| format!("-join=127.0.0.1:{port}")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| {
            format!("cannot start {}: install it (apt-get install serf) or say where it is with --serf", serf.display())
        })?;
        let lines = BufReader::new(child.stdout.take().context("it was piped")?).lines();
        let says = says.clone();
        thread::spawn(move || {
            let said = lines.map_while(Result::ok).filter_map(|line| read(&line, number, Instant::now()));
            // Nobody listens any more once the run is over.
            said.map_while(|one| says.send(one).ok()).for_each(drop);
        });
        Ok(Self { child })
    }

    fn signal(&mut self, signal: &str) -> anyhow::Result<()> {
        // One that ended and was not waited for would still take a signal.
        anyhow::ensure!(self.child.try_wait()?.is_none(), "an agent ended by itself");
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        anyhow::ensure!(sent.success(), "an agent could not be signalled");
        Ok(())
    }

    fn end(mut self) {
        self.kill();
    }

    /// By SIGKILL: nobody is told.
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A line of an agent's log, if it says that another joined or failed.
fn read(line: &str, by: usize, at: Instant) -> Option<Said> {
    let (failed, (_, rest)) = match line.split_once(FAILED) {
        Some(found) => (true, found),
        None => (false, line.split_once(JOINED)?),
    };
    Some(Said { at, by, about: rest.split(' ').next()?.parse().ok()?, failed })
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_failed_or_joined() {
        let at = Instant::now();
        let failed = "    2026/11/27 20:25:42 [INFO] serf: EventMemberFailed: n12 127.0.0.1";
        assert_eq!(read(failed, 3, at), Some(Said { at, by: 3, about: 12, failed: true }));
        let joined = "    2026/11/27 20:25:30 [INFO] serf: EventMemberJoin: n0 127.0.0.1";
        assert_eq!(read(joined, 1, at), Some(Said { at, by: 1, about: 0, failed: false }));
        assert_eq!(
            read("    2026/11/27 20:25:30 [INFO] memberlist: Suspect n5 has failed, no acks received", 1, at),
            None
        );
    }
}
