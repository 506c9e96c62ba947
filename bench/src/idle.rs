//! What a daemon of the demo costs when nobody asks it: resident memory and CPU, 60 s after the app served 1,000 requests.
use std::time::Duration;

use anyhow::Context as _;

use crate::{
    client::Client,
    demo::{Bocage, Node},
    table::Figure,
};

/// MiB resident, as promised.
const RESIDENT_AT_MOST: f64 = 60.0;
/// Percent of a core, as promised.
const CPU_AT_MOST: f64 = 0.5;
const REQUESTS: usize = 1_000;
const REST: Duration = Duration::from_mins(1);
const WINDOW: Duration = Duration::from_secs(30);
/// Of `/proc/PID/stat`: 100 on every Linux that we know.
const TICKS_A_SECOND: f64 = 100.0;

pub(crate) async fn measure(bocage: &Bocage) -> anyhow::Result<Vec<Figure>> {
    let demo = bocage.demo()?;
    let nodes = &demo.said.nodes;
    let mut clients: Vec<_> = nodes.iter().map(|node| Client::new(&node.edge, &demo.said.app.host)).collect();
    for number in 0..REQUESTS {
        let client = &mut clients[number % nodes.len()];
        if number % 10 == 0 {
            client.sign(&format!("entry {number}")).await;
        } else {
            let answer = client.get("/entries").await?;
            anyhow::ensure!(answer.status().is_success(), "request {number}: {}", answer.status());
        }
    }
    drop(clients);
    eprintln!("idle: {REQUESTS} requests served; resting");
    tokio::time::sleep(REST).await;
    let before: Vec<_> = nodes.iter().map(ticks).collect::<Result<_, _>>()?;
    tokio::time::sleep(WINDOW).await;
    let mut cpu = Vec::new();
    for (node, before) in nodes.iter().zip(before) {
        cpu.push((ticks(node)? - before) / TICKS_A_SECOND / WINDOW.as_secs_f64() * 100.0);
    }
    let resident = nodes.iter().map(resident_mib).collect::<Result<Vec<_>, _>>()?;
    for ((node, cpu), resident) in nodes.iter().zip(&cpu).zip(&resident) {
        eprintln!("idle: {} {resident:.1} MiB, {cpu:.2} %", node.operator);
    }
    Ok(vec![
        Figure::worst("a daemon at rest: resident", "MiB", RESIDENT_AT_MOST, resident),
        Figure::worst("a daemon at rest: of a core", "%", CPU_AT_MOST, cpu),
    ])
}

fn resident_mib(node: &Node) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// CPU time so far, in ticks: fields 14 and 15, counted behind the name, which may hold spaces.
fn ticks(node: &Node) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid))?;
    let (_, behind) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<_> = behind.split_whitespace().collect();
    let field = |number: usize| -> anyhow::Result<f64> { Ok(fields.get(number - 3).context("too short")?.parse()?) };
    Ok(field(14)? + field(15)?)
}
