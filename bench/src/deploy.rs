//! A component whose hash no node has seen, with nothing cached, from the command to its first 200, less what its
//! compilation took on the node that gave it.
use std::time::Instant;

use anyhow::Context as _;

use crate::{
    client::Client,
    demo::{Bocage, Demo, Node},
    table::{Counts, Figure},
};

/// Milliseconds beyond the compile time, as promised of the median.
const AT_MOST: f64 = 300.0;
/// Apps of one demo: it has room for so many.
const PER_DEMO: usize = 5;

const COMPONENT: &[u8] = include_bytes!("../../examples/guestbook/guestbook.wasm");
const MANIFEST: &str = include_str!("../../examples/guestbook/guestbook.toml");

pub(crate) async fn measure(bocage: &Bocage, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut beyond, mut compile) = (Vec::new(), Vec::new());
    while beyond.len() < runs {
        let demo = bocage.demo()?;
        for _ in 0..PER_DEMO.min(runs - beyond.len()) {
            let (took_ms, compile_ms) = run(&demo, beyond.len()).await?;
            eprintln!("deploy {}: {took_ms:.0} ms, of which {compile_ms:.0} ms compiling", beyond.len() + 1);
            beyond.push(took_ms - compile_ms);
            compile.push(compile_ms);
        }
    }
    let name = "fresh component: first 200, beyond its compile time".to_owned();
    Ok(vec![
        Figure { name, unit: "ms", at_most: Some(AT_MOST), counts: Counts::Median, runs: beyond },
        Figure::told("fresh component: compile time on the node that answered", "ms", compile),
    ])
}

/// Milliseconds from the command to the first 200, and of compiling.
async fn run(demo: &Demo, number: usize) -> anyhow::Result<(f64, f64)> {
    let app = format!("fresh-{number}");
    let folder = demo.home().join(&app);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("guestbook.wasm"), fresh()?)?;
    std::fs::write(folder.join("bocage.toml"), MANIFEST)?;
    let node = &demo.said.nodes[0];
    let began = Instant::now();
    // It returns with the first answer of the edge.
    let path = folder.to_string_lossy();
    let said = demo.run(&["deploy", &path, "--name", &app, "--node", &node.control])?;
    let took = began.elapsed();
    let host = said["host"].as_str().context("a deploy names its host")?;
    let answer = Client::new(&node.edge, host).get("/").await?;
    anyhow::ensure!(answer.status().is_success(), "{app}: {}", answer.status());
    let server = answer.headers().get("x-bocage-node").and_then(|node| node.to_str().ok());
    let server = demo.node(server.context("the answer names no node")?)?;
    let compile_ms = compile_ms(&server).with_context(|| format!("{} tells of no compilation", server.operator))?;
    demo.run(&["rm", &app, "--yes", "--node", &node.control])?;
    Ok((took.as_secs_f64() * 1e3, compile_ms))
}

/// The guestbook with a custom section of random bytes: another hash, the same program.
fn fresh() -> anyhow::Result<Vec<u8>> {
    let mut noise = [0; 16];
    getrandom::fill(&mut noise).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let name = b"bench";
    let body = [&[u8::try_from(name.len())?][..], name, &noise].concat();
    let section = [&[0, u8::try_from(body.len())?][..], &body].concat();
    Ok([COMPONENT, &section].concat())
}

/// What a node's log tells of its last compilation.
fn compile_ms(node: &Node) -> Option<f64> {
    let log = std::fs::read_to_string(node.dir.join("log")).ok()?;
    let line = log.lines().rfind(|line| line.contains("compiled") && line.contains("took_ms="))?;
    let number = line.split("took_ms=").nth(1)?;
    number.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
