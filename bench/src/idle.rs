//! What a daemon of the demo costs when nobody asks it: resident memory and CPU, 60 s after the app served 1,000 requests.
use std::time::Duration;

use crate::{
    client::Client,
    demo::Bocage,
    process::{cpu_s, resident_kib},
    table::Figure,
};

/// MiB resident, as promised.
const RESIDENT_AT_MOST: f64 = 60.0;
/// Percent of a core, as promised.
const CPU_AT_MOST: f64 = 0.5;
const REQUESTS: usize = 1_000;
const REST: Duration = Duration::from_mins(1);
const WINDOW: Duration = Duration::from_secs(30);

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
    let before: Vec<_> = nodes.iter().map(cpu_s).collect::<Result<_, _>>()?;
    tokio::time::sleep(WINDOW).await;
    let mut cpu = Vec::new();
    for (node, before) in nodes.iter().zip(before) {
        cpu.push((cpu_s(node)? - before) / WINDOW.as_secs_f64() * 100.0);
    }
    let resident = nodes.iter().map(|node| Ok(resident_kib(node)? / 1024.0)).collect::<anyhow::Result<Vec<_>>>()?;
    for ((node, cpu), resident) in nodes.iter().zip(&cpu).zip(&resident) {
        eprintln!("idle: {} {resident:.1} MiB, {cpu:.2} %", node.operator);
    }
    Ok(vec![
        Figure::worst("a daemon at rest: resident", "MiB", RESIDENT_AT_MOST, resident),
        Figure::worst("a daemon at rest: of a core", "%", CPU_AT_MOST, cpu),
    ])
}
