//! What a daemon uses, as the kernel and the daemon itself tell.
use anyhow::Context as _;

use crate::{client::Client, demo::Node};

/// Of `/proc/PID/stat`: 100 on every Linux that we know.
const TICKS_A_SECOND: f64 = 100.0;

pub(crate) fn resident_kib(node: &Node) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// Seconds of CPU so far: fields 14 and 15, counted behind the name, which may hold spaces.
pub(crate) fn cpu_s(node: &Node) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid))?;
    let (_, behind) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<_> = behind.split_whitespace().collect();
    let field = |number: usize| -> anyhow::Result<f64> { Ok(fields.get(number - 3).context("too short")?.parse()?) };
    Ok((field(14)? + field(15)?) / TICKS_A_SECOND)
}

/// Frames sent to other nodes so far.
pub(crate) async fn frames_out(node: &Node) -> anyhow::Result<f64> {
    let answer = Client::new(&node.control, &node.control).get("/metrics").await?;
    anyhow::ensure!(answer.status().is_success(), "/metrics: {}", answer.status());
    let text = std::str::from_utf8(answer.body())?;
    let lines = text.lines().filter(|line| line.starts_with("bocage_frames_out"));
    let numbers = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(numbers.sum())
}
