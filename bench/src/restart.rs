//! All nodes are restarted one after another, under a supervisor that keeps their edges' listening sockets as systemd does,
//! while clients use every edge: the one that restarts and those that stay. A request that is not answered as it should be has
//! failed; no client repeats any.
use std::{
    fs::OpenOptions,
    net::TcpListener,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::{
    client::{Acknowledged, Client},
    demo::{Bocage, Demo, Node},
    failover::compare,
    table::{Figure, count},
};

/// Clients at each edge.
const CLIENTS_PER_EDGE: usize = 2;
/// Between two requests of one client.
const THINK: Duration = Duration::from_millis(20);
/// Cells agree on the rules by which they hand over within this after the demo stands.
const AGREED_MAX: Duration = Duration::from_secs(90);
/// A node stops, and the app is as before, within this.
const STEP_MAX: Duration = Duration::from_secs(30);
/// Before the first restart, and between two.
const PAUSE: Duration = Duration::from_secs(3);
/// A client's patience, as `docs/figures.md` says.
const SLOWEST_AT_MOST: f64 = 10.0;
/// Failures shown of one run.
const SHOWN_MAX: usize = 10;

/// A node whose edge's socket is kept while its process changes.
struct Supervised {
    node: Node,
    socket: TcpListener,
    child: Child,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = terminate(self.child.id());
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < STEP_MAX {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    answered: usize,
    failed: Vec<String>,
    acknowledged: Vec<Acknowledged>,
    slowest: Duration,
}

pub(crate) async fn measure(bocage: &Bocage, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut failed, mut lost, mut doubled, mut slowest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 1..=runs {
        let (seen, missing, twice) = run(&bocage.demo()?).await?;
        seen.failed.iter().take(SHOWN_MAX).for_each(|failure| eprintln!("  {failure}"));
        let (answered, bad, took) = (seen.answered, seen.failed.len(), seen.slowest.as_secs_f64());
        eprintln!(
            "restart {number}: {answered} answered, {bad} failed, slowest {took:.3} s, {missing} lost, {twice} doubled"
        );
        failed.push(count(bad));
        lost.push(count(missing));
        doubled.push(count(twice));
        slowest.push(took);
    }
    Ok(vec![
        Figure::worst("rolling restart: failed requests", "", 0.0, failed),
        Figure::worst("rolling restart: acknowledged entries lost", "", 0.0, lost),
        Figure::worst("rolling restart: entries doubled", "", 0.0, doubled),
        Figure::worst("rolling restart: slowest request", "s", SLOWEST_AT_MOST, slowest),
    ])
}

async fn run(demo: &Demo) -> anyhow::Result<(Seen, usize, usize)> {
    until_agreed(demo).await?;
    let instances = demo.serving()?.len();
    let mut nodes = Vec::new();
    for node in &demo.said.nodes {
        terminate(node.pid)?;
        until("a node of the demo stops", || Ok(!is_running(node.pid))).await?;
        let socket = TcpListener::bind(&node.edge).with_context(|| format!("{} is taken", node.edge))?;
        let child = start(demo, node, &socket)?;
        nodes.push(Supervised { node: node.clone(), socket, child });
        until_whole(demo, node, instances).await?;
    }

    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
    let mut clients = Vec::new();
    for number in 0..CLIENTS_PER_EDGE * nodes.len() {
        let client = Client::new(&nodes[number % nodes.len()].node.edge, &demo.said.app.host);
        clients.push(tokio::spawn(use_app(number, client, Arc::clone(&stop), Arc::clone(&seen))));
    }
    tokio::time::sleep(PAUSE).await;
    for supervised in &mut nodes {
        terminate(supervised.child.id())?;
        let child = &mut supervised.child;
        until("a node stops", || Ok(child.try_wait()?.is_some())).await?;
        supervised.child = start(demo, &supervised.node, &supervised.socket)?;
        until_whole(demo, &supervised.node, instances).await?;
        tokio::time::sleep(PAUSE).await;
    }
    stop.store(true, Relaxed);
    for client in clients {
        client.await?;
    }
    let seen = std::mem::take(&mut *seen.lock().expect("no client panics"));
    let entries = Client::new(&nodes[0].node.edge, &demo.said.app.host).entries().await?;
    let (lost, doubled) = compare(&seen.acknowledged, &entries);
    Ok((seen, lost, doubled))
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

/// Writes and reads by turns, and repeats nothing.
async fn use_app(number: usize, mut client: Client, stop: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) {
    for turn in 0_u64.. {
        if stop.load(Relaxed) {
            return;
        }
        let began = Instant::now();
        let (what, failure, acknowledged) = if turn.is_multiple_of(2) {
            let text = format!("client {number}, entry {turn}");
            let asked = client.ask(Method::POST, "/entries", Some(&text), Bytes::from(text.clone())).await;
            let failure = amiss(StatusCode::CREATED, &asked);
            let id = asked.ok().and_then(|answer| serde_json::from_slice::<Id>(answer.body()).ok());
            ("POST", failure, id.map(|Id { id }| Acknowledged { id, text, at: Instant::now() }))
        } else {
            ("GET", amiss(StatusCode::OK, &client.get("/entries?after=0").await), None)
        };
        let took = began.elapsed();
        {
            let mut seen = seen.lock().expect("no client panics");
            seen.slowest = seen.slowest.max(took);
            seen.acknowledged.extend(acknowledged);
            match failure {
                None => seen.answered += 1,
                Some(why) => seen.failed.push(format!("client {number}, {what}, {:.3} s: {why}", took.as_secs_f64())),
            }
        }
        tokio::time::sleep(THINK).await;
    }
}

/// What is wrong with an answer, if anything.
fn amiss(wanted: StatusCode, answer: &anyhow::Result<http::Response<Bytes>>) -> Option<String> {
    match answer {
        Ok(answer) if answer.status() == wanted => None,
        Ok(answer) => Some(format!("{}: {}", answer.status(), String::from_utf8_lossy(answer.body()))),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// As systemd starts a service with a socket unit: the socket is file descriptor 3, and the environment says so.
fn start(demo: &Demo, node: &Node, socket: &TcpListener) -> anyhow::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(node.dir.join("log"))?;
    let script = r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#;
    Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(demo.binary())
        .args(["node", "run", "--color", "never", "--dir"])
        .arg(&node.dir)
        .env("HOME", demo.home())
        .env_remove("BOCAGE_NODE")
        .env_remove("BOCAGE_KEY")
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone()?)))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("a node cannot be started")
}

fn terminate(pid: u32) -> anyhow::Result<()> {
    let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status()?;
    anyhow::ensure!(sent.success(), "process {pid} was not running");
    Ok(())
}

/// Whether a process that is no child of this one runs; one that has ended and that nobody waits for does not.
fn is_running(pid: u32) -> bool {
    std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).is_ok_and(|line| !line.is_empty())
}

async fn until(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done()? {
        anyhow::ensure!(began.elapsed() < STEP_MAX, "{what}: not within {} s", STEP_MAX.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn until_agreed(demo: &Demo) -> anyhow::Result<()> {
    let began = Instant::now();
    while demo.status(&demo.said.nodes[0])?["cells"][0]["rules"].as_u64() < Some(3) {
        anyhow::ensure!(began.elapsed() < AGREED_MAX, "the cell's members do not agree on the newest rules");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// Until a node is ready and as many instances run as before.
async fn until_whole(demo: &Demo, node: &Node, instances: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut control = Client::new(&node.control, "localhost");
    loop {
        let late = began.elapsed() > STEP_MAX;
        anyhow::ensure!(!late, "{} is not as before within {} s", node.operator, STEP_MAX.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let ready = control.get("/readyz").await.is_ok_and(|answer| answer.status().is_success());
        if ready && demo.serving_through(node).await.is_ok_and(|running| running >= instances) {
            return Ok(());
        }
    }
}
