//! A thousand cells with a replica on each of three nodes, and nobody uses them: what each costs.
use std::time::Duration;

use anyhow::Context as _;

use crate::{
    demo::{Bocage, Demo, Node},
    process::{cpu_s, frames_out, resident_kib},
    table::Figure,
};

/// Percent of a core, as promised.
const CPU_AT_MOST: f64 = 1.0;
/// KiB resident for each cell, as promised.
const CELL_KIB_AT_MOST: f64 = 8.0;
/// Frames a second that all the cells together may add: none. Gossip wavers by as much by itself.
const FRAMES_AT_MOST: f64 = 1.0;
/// Until all are announced, renewed for the last time, and asleep.
const REST: Duration = Duration::from_mins(1);
const WINDOW: Duration = Duration::from_mins(1);
/// As few as a cell needs that survives an operator.
const OPERATORS: &str = "3";

const COMPONENT: &[u8] = include_bytes!("../../examples/guestbook/guestbook.wasm");
const MANIFEST: &str = r#"
app = "guestbook"

[component]
path = "guestbook.wasm"

[place]
home = ["FR", "DE"]
voters = 3

[scale]
min = 1
max = 2

[resources]
cpu = "0.001"
memory = "4MiB"
"#;

/// What a daemon costs, over a window.
struct Cost {
    resident_kib: f64,
    cpu_percent: f64,
    frames_s: f64,
}

pub(crate) async fn measure(bocage: &Bocage, cells: usize) -> anyhow::Result<Vec<Figure>> {
    let demo = bocage.demo_of(&["--operators", OPERATORS])?;
    let nodes = &demo.said.nodes;
    for node in nodes {
        let key = node.dir.join("keys/operator.key");
        let whose =
            ["offer", "set", "--operator-key", &key.to_string_lossy(), "--node", &node.control].map(str::to_owned);
        let room = ["--cpu", "64", "--memory", "64GiB", "--disk", "4TiB"];
        demo.run(&whose.iter().map(String::as_str).chain(room).collect::<Vec<_>>())?;
    }
    deploy(&demo, 0..1, nodes.first().context("a demo has nodes")?)?;
    let before = costs(nodes).await?;
    deploy(&demo, 1..cells, &nodes[0])?;
    eprintln!("sleeping: {cells} cells stand; resting");
    let after = costs(nodes).await?;
    let more = f64::from(u32::try_from(cells.saturating_sub(1).max(1))?);
    let each = |figure: fn(&Cost) -> f64| -> Vec<f64> {
        before.iter().zip(&after).map(|(before, after)| figure(after) - figure(before)).collect()
    };
    let memory = each(|cost| cost.resident_kib).into_iter().map(|kib| kib / more).collect();
    Ok(vec![
        Figure::worst(
            "a node with sleeping cells: of a core",
            "%",
            CPU_AT_MOST,
            after.iter().map(|it| it.cpu_percent).collect(),
        ),
        Figure::worst("a sleeping cell: resident", "KiB", CELL_KIB_AT_MOST, memory),
        Figure::worst("frames a second that all sleeping cells add", "", FRAMES_AT_MOST, each(|cost| cost.frames_s)),
    ])
}

fn deploy(demo: &Demo, numbers: std::ops::Range<usize>, through: &Node) -> anyhow::Result<()> {
    let folder = demo.home().join("sleeping");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("guestbook.wasm"), COMPONENT)?;
    std::fs::write(folder.join("bocage.toml"), MANIFEST)?;
    for number in numbers {
        demo.run(&[
            "deploy",
            &folder.to_string_lossy(),
            "--name",
            &format!("quiet-{number}"),
            "--node",
            &through.control,
        ])?;
    }
    Ok(())
}

async fn costs(nodes: &[Node]) -> anyhow::Result<Vec<Cost>> {
    tokio::time::sleep(REST).await;
    let mut begun = Vec::new();
    for node in nodes {
        begun.push((cpu_s(node)?, frames_out(node).await?));
    }
    tokio::time::sleep(WINDOW).await;
    let mut costs = Vec::new();
    for (node, (cpu, frames)) in nodes.iter().zip(begun) {
        let window_s = WINDOW.as_secs_f64();
        let cost = Cost {
            resident_kib: resident_kib(node)?,
            cpu_percent: (cpu_s(node)? - cpu) / window_s * 100.0,
            frames_s: (frames_out(node).await? - frames) / window_s,
        };
        eprintln!(
            "sleeping: {} {:.0} KiB, {:.2} %, {:.1} frames/s",
            node.operator, cost.resident_kib, cost.cpu_percent, cost.frames_s
        );
        costs.push(cost);
    }
    Ok(costs)
}
