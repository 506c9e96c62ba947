//! A node that serves requests dies by `kill -9` while clients read through an edge that hosts no instance itself: when the
//! last request fails.
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    client::Client,
    demo::{Bocage, Demo, Node, kill},
    table::Figure,
};

/// Seconds after the death at which the last request may fail, as promised.
const AT_MOST: f64 = 1.5;
/// Requests at once.
const CLIENTS: usize = 8;
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(12);

pub(crate) async fn measure(bocage: &Bocage, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut last, mut failed) = (Vec::new(), Vec::new());
    for number in 0..runs {
        let failures = run(&bocage.demo()?).await?;
        let latest = failures.iter().max().map_or(0.0, Duration::as_secs_f64);
        eprintln!("serving {}: {} failed, the last after {latest:.3} s", number + 1, failures.len());
        last.push(latest);
        failed.push(u32::try_from(failures.len()).map_or(f64::INFINITY, f64::from));
    }
    Ok(vec![
        Figure::worst("serving node killed: last failed request after", "s", AT_MOST, last),
        Figure::told("serving node killed: failed requests", "", failed),
    ])
}

/// How long after the death each failed request failed.
async fn run(demo: &Demo) -> anyhow::Result<Vec<Duration>> {
    let host = &demo.said.app.host;
    let (through, server) = edge_and_server(demo).await?;
    let reading = Arc::new(AtomicBool::new(true));
    let failures: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = Client::new(&through.edge, host);
            let (reading, failures) = (Arc::clone(&reading), Arc::clone(&failures));
            tokio::spawn(async move {
                while reading.load(Ordering::Relaxed) {
                    let answered = client.get("/entries").await;
                    if !answered.is_ok_and(|answer| answer.status().is_success()) {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(BEFORE).await;
    let killed = kill(&demo.node(&server)?)?;
    tokio::time::sleep(AFTER).await;
    reading.store(false, Ordering::Relaxed);
    for client in clients {
        client.await?;
    }
    let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    let early = failures.iter().filter(|at| **at < killed).count();
    anyhow::ensure!(early == 0, "{early} requests failed before anybody was killed");
    Ok(failures.iter().map(|at| *at - killed).collect())
}

/// A node that is only an edge, and the one that serves what comes in there.
async fn edge_and_server(demo: &Demo) -> anyhow::Result<(&Node, String)> {
    loop {
        let hosts = demo.serving()?;
        let edge = demo.said.nodes.iter().find(|node| !hosts.contains(&node.node_id));
        let edge = edge.context("every node hosts an instance: none is only an edge")?;
        let server = served_by(&mut Client::new(&edge.edge, &demo.said.app.host)).await?;
        // An instance may have come up there in between; the next look shows it.
        if !edge.node_id.starts_with(&server) {
            return Ok((edge, server));
        }
    }
}

/// The node whose instance answers most of some requests.
async fn served_by(client: &mut Client) -> anyhow::Result<String> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..20 {
        let answer = client.get("/entries").await?;
        let node = answer.headers().get("x-bocage-node").and_then(|node| node.to_str().ok());
        *counts.entry(node.context("the answer names no node")?.to_owned()).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(node, _)| node).context("nobody answered")
}
