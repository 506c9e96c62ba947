//! Floods on every port of a demo, one after the other, while clients use the app: what that does to their p99, to the
//! cell's quorum, and to the daemons' memory.
//!
//! The demo runs on 127.0.0.1; the hostile process (`hostile`) sends from other loopback networks (127.66.…), as a
//! stranger on the internet has other addresses than a mesh's members. It runs under `nice`: it stands for machines
//! elsewhere, which do not take this one's cores. It reaches nothing but loopback, sends for a given time and at a given
//! rate, and ends by itself.
pub(crate) mod hostile;
mod handshakes;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::JoinSet;

use self::hostile::{Attack, Kind};
use crate::{
    client::Client,
    demo::{Bocage, Demo, Node},
    table::{Figure, count},
};

/// The p99 under a flood, in quiet p99s, as promised.
const RATIO_AT_MOST: f64 = 3.0;
/// Bytes that a daemon may take, from its named bounds: 64 MiB of frames on their way, 256 MiB of bodies, 64 MiB of one
/// jurisdiction's records, and itself.
const RESIDENT_AT_MOST: f64 = 500.0;
/// One client asks so often.
const EVERY: Duration = Duration::from_millis(20);
/// After a flood the demo rests so long.
const REST: Duration = Duration::from_secs(5);

/// What the clients saw.
#[derive(Default)]
struct Seen {
    /// Of those that were answered, in ms.
    took_ms: Vec<f64>,
    failed: usize,
    written: usize,
}

impl Seen {
    fn p99(&self) -> f64 {
        let mut sorted = self.took_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(f64::INFINITY)
    }
}

pub(crate) async fn measure(bocage: &Bocage, seconds: u64, only: Option<Kind>) -> anyhow::Result<Vec<Figure>> {
    let demo = bocage.demo()?;
    let lasting = Duration::from_secs(seconds);
    warm(&demo).await?;
    let quiet = load(&demo, lasting).await;
    anyhow::ensure!(quiet.took_ms.len() > 100 && quiet.failed == 0, "the quiet demo does not answer every request");
    eprintln!("flood: quiet p99 {:.2} ms of {} requests", quiet.p99(), quiet.took_ms.len());
    let mut figures = vec![Figure::told("quiet p99", "ms", vec![quiet.p99()])];
    let kinds = Kind::ALL.into_iter().filter(|kind| only.is_none_or(|only| only == *kind));
    for kind in kinds {
        figures.extend(flood(&demo, kind, lasting, quiet.p99()).await.with_context(|| format!("flood {kind:?}"))?);
        tokio::time::sleep(REST).await;
    }
    Ok(figures)
}

async fn flood(demo: &Demo, kind: Kind, lasting: Duration, quiet: f64) -> anyhow::Result<Vec<Figure>> {
    let target = demo.leader()?;
    for node in &demo.said.nodes {
        forget_peak(node);
    }
    let mut hostile = start(demo, &target, kind, lasting)?;
    let seen = load(demo, lasting).await;
    let sent = hostile.wait_with_output_in(Duration::from_secs(30)).context("the hostile process")?;
    let peaks = demo.said.nodes.iter().map(peak_mib).collect::<Result<Vec<_>, _>>()?;
    let leader = demo.leader().map(|leader| leader.node_id == target.node_id);
    let (p99, peak) = (seen.p99(), peaks.iter().copied().fold(0.0, f64::max));
    let name = kind.name();
    eprintln!(
        "flood: {name}: p99 {p99:.2} ms of {} requests, {} failed, {} written, peak {peak:.0} MiB, same leader: {}; {}",
        seen.took_ms.len(),
        seen.failed,
        seen.written,
        leader.is_ok_and(|same| same),
        sent.trim()
    );
    let lost_quorum = if seen.written > 0 && demo.leader().is_ok() { 0.0 } else { 1.0 };
    Ok(vec![
        Figure::worst(&format!("{name}: p99, in quiet p99s"), "", RATIO_AT_MOST, vec![p99 / quiet]),
        Figure::worst(&format!("{name}: quorum lost"), "", 0.0, vec![lost_quorum]),
        Figure::worst(&format!("{name}: requests failed"), "", 0.0, vec![count(seen.failed)]),
        Figure::worst(&format!("{name}: resident at most"), "MiB", RESIDENT_AT_MOST, peaks),
    ])
}

async fn warm(demo: &Demo) -> anyhow::Result<()> {
    for node in &demo.said.nodes {
        let mut client = Client::new(&node.edge, &demo.said.app.host);
        client.sign("warm").await;
        client.get("/entries?after=0").await?;
    }
    Ok(())
}

/// At each edge a client that writes and reads in turn; all that they saw.
async fn load(demo: &Demo, lasting: Duration) -> Seen {
    let mut clients = JoinSet::new();
    for (number, node) in demo.said.nodes.iter().enumerate() {
        let client = Client::new(&node.edge, &demo.said.app.host);
        clients.spawn(ask_on(client, number, lasting));
    }
    let mut all = Seen::default();
    while let Some(Ok(seen)) = clients.join_next().await {
        all.took_ms.extend(seen.took_ms);
        all.failed += seen.failed;
        all.written += seen.written;
    }
    all
}

async fn ask_on(mut client: Client, number: usize, lasting: Duration) -> Seen {
    let (began, mut seen) = (Instant::now(), Seen::default());
    let mut turn = 0_u64;
    while began.elapsed() < lasting {
        turn += 1;
        let asked = Instant::now();
        let writes = turn.is_multiple_of(4);
        let answer = if writes {
            let text = format!("{number} {turn} {began:?}");
            client.ask(http::Method::POST, "/entries", Some(&text), text.clone().into()).await
        } else {
            client.get("/entries?after=1000000000").await
        };
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            seen.took_ms.push(asked.elapsed().as_secs_f64() * 1e3);
            seen.written += usize::from(writes);
        } else {
            seen.failed += 1;
        }
        tokio::time::sleep(EVERY.saturating_sub(asked.elapsed())).await;
    }
    seen
}

/// This very binary, as the hostile one.
fn start(demo: &Demo, target: &Node, kind: Kind, lasting: Duration) -> anyhow::Result<Hostile> {
    let own = std::env::current_exe()?;
    // A member that turned: its operator is one of the demo's, and not the target's.
    let traitor = demo.said.nodes.iter().rev().find(|node| node.node_id != target.node_id).context("one node only")?;
    let child = Command::new("nice")
        .args(["-n", "19"])
        .arg(own)
        .arg("hostile")
        .args(["--kind", kind.name(), "--seconds", &lasting.as_secs().to_string()])
        .arg("--target")
        .arg(&target.dir)
        .arg("--traitor")
        .arg(&traitor.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("nice is part of every system")?;
    Ok(Hostile(Some(child)))
}

/// Ends with the measurement, whatever comes.
struct Hostile(Option<Child>);

impl Hostile {
    fn wait_with_output_in(&mut self, patience: Duration) -> anyhow::Result<String> {
        let mut child = self.0.take().context("it is waited for once")?;
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > patience {
                child.kill()?;
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned())
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The kernel forgets the highest memory that a process had. Where it does not, the peak counts from its start.
fn forget_peak(node: &Node) {
    let _ = std::fs::write(format!("/proc/{}/clear_refs", node.pid), "5");
}

fn peak_mib(node: &Node) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid)).context("a daemon has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Runs the hostile side; what it sent, for the log.
pub(crate) async fn attack(kind: Kind, seconds: u64, target: &Path, traitor: &Path) -> anyhow::Result<String> {
    Attack::prepare(kind, target, traitor)?.run(Duration::from_secs(seconds)).await
}
