//! A site burns: three of nine nodes, which lead the cells of all the apps, die by `kill -9` at once. When each app takes a
//! write again, and when no cell has a member on a dead node any more.
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    client::Client,
    demo::{Bocage, Demo, Node, kill},
    table::Figure,
};

/// Seconds until all apps take writes again, as promised.
const WRITABLE_AT_MOST: f64 = 3.0;
/// Seconds until every cell is whole again, as promised.
const WHOLE_AT_MOST: f64 = 60.0;
/// It is looked at for so long.
const PATIENCE: Duration = Duration::from_mins(3);
const OPERATORS: &str = "9";
/// What is written into each app.
const BEFORE: &str = "before the fire";
const AFTER: &str = "after the fire";
/// Apps are deployed until enough are led from the site that burns; at most so many for each of them.
const TRIES_PER_APP: usize = 4;

const COMPONENT: &[u8] = include_bytes!("../../examples/guestbook/guestbook.wasm");
/// What a replica and an instance use, with some to spare.
const CORES_PER_APP: f64 = 0.035;
/// Small, and one voter on the site that burns: its jurisdiction is named first.
const MANIFEST: &str = r#"
app = "guestbook"

[component]
path = "guestbook.wasm"

[place]
home = ["NL", "FR", "DE", "BE", "ES"]
voters = 3

[scale]
min = 2
max = 4

[resources]
cpu = "0.01"
memory = "4MiB"
"#;

/// An app that is led from the site that burns.
struct App {
    name: String,
    host: String,
    /// A cell's line, as `status` says it, is whole with so many voters.
    voters: usize,
}

pub(crate) async fn measure(bocage: &Bocage, runs: usize, apps: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut writable, mut slowest, mut whole, mut lost) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..runs {
        let seen = run(&bocage.demo_of(&["--operators", OPERATORS])?, apps).await?;
        let (median, worst) = (seen.writable_s[seen.writable_s.len() / 2], *seen.writable_s.last().context("no app")?);
        eprintln!(
            "fire {}: {} apps writable, median {median:.2} s, last {worst:.2} s; whole {:.1} s",
            number + 1,
            apps,
            seen.whole_s
        );
        writable.push(worst);
        slowest.push(median);
        whole.push(seen.whole_s);
        lost.push(f64::from(seen.lost));
    }
    Ok(vec![
        Figure::worst("site burned: all apps writable", "s", WRITABLE_AT_MOST, writable),
        Figure::told("site burned: half of the apps writable", "s", slowest),
        Figure::worst("site burned: all cells whole again", "s", WHOLE_AT_MOST, whole),
        Figure::worst("site burned: acknowledged entries lost", "", 0.0, lost),
    ])
}

struct Seen {
    /// In order.
    writable_s: Vec<f64>,
    whole_s: f64,
    /// Acknowledged entries, before and after, that are not there in the end.
    lost: u32,
}

async fn run(demo: &Demo, count: usize) -> anyhow::Result<Seen> {
    let nodes = &demo.said.nodes;
    let sites: BTreeSet<&str> = nodes.iter().map(|node| node.site.as_str()).collect();
    let crowded = |site: &&&str| nodes.iter().filter(|node| node.site == **site).count() == 3;
    let site = sites.iter().find(crowded).context("three of the nine share a site")?;
    let (burning, safe): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| node.site == **site);
    // The cheapest three stand where it will burn, each with room for a third of the apps: so they lead them, and share them.
    let share = format!("{:.3}", CORES_PER_APP * f64::from(u32::try_from(count.div_ceil(burning.len()))?));
    for node in nodes {
        let key = node.dir.join("keys/operator.key");
        let burns = node.site == **site;
        let (cores, price) = if burns { (share.as_str(), "1") } else { ("16", "400") };
        let room = ["--cpu", cores, "--cpu-price", price, "--memory", "16GiB", "--disk", "200GiB"];
        let whose =
            ["offer", "set", "--operator-key", &key.to_string_lossy(), "--node", &node.control].map(str::to_owned);
        let args: Vec<&str> = whose.iter().map(String::as_str).chain(room).collect();
        demo.run(&args)?;
    }
    let apps = deploy(demo, count, &burning, safe[0])?;
    eprintln!("fire: {} apps are led from {site}", apps.len());
    let mut writers = Vec::new();
    for (number, app) in apps.iter().enumerate() {
        let mut client = Client::new(&safe[number % safe.len()].edge, &app.host);
        client.sign(BEFORE).await;
        writers.push(client);
    }
    let mut burnt = Instant::now();
    for node in &burning {
        burnt = kill(node)?;
    }
    let mut signing = tokio::task::JoinSet::new();
    for mut client in writers {
        signing.spawn(async move { client.sign(AFTER).await.at });
    }
    let mut writable_s: Vec<f64> =
        signing.join_all().await.into_iter().map(|at| at.duration_since(burnt).as_secs_f64()).collect();
    writable_s.sort_by(f64::total_cmp);
    let dead: BTreeSet<&str> = burning.iter().map(|node| node.node_id.as_str()).collect();
    let mut left: Vec<&App> = apps.iter().collect();
    while !left.is_empty() {
        anyhow::ensure!(burnt.elapsed() < PATIENCE, "{} cells are not whole after {PATIENCE:?}", left.len());
        let mut still = Vec::new();
        for app in left {
            if !is_whole(&status(demo, app, safe[0])?, app.voters, &dead) {
                still.push(app);
            }
        }
        left = still;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let whole_s = burnt.elapsed().as_secs_f64();
    let mut lost = 0;
    for (number, app) in apps.iter().enumerate() {
        let entries = Client::new(&safe[(number + 1) % safe.len()].edge, &app.host).entries().await?;
        for text in [BEFORE, AFTER] {
            lost += u32::from(entries.iter().filter(|entry| entry.text == text).count() != 1);
        }
    }
    Ok(Seen { writable_s, whole_s, lost })
}

/// Deploys until `count` apps are led from a burning node.
fn deploy(demo: &Demo, count: usize, burning: &[&Node], through: &Node) -> anyhow::Result<Vec<App>> {
    let folder = demo.home().join("fire");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("guestbook.wasm"), COMPONENT)?;
    std::fs::write(folder.join("bocage.toml"), MANIFEST)?;
    let path = folder.to_string_lossy();
    let mut apps = Vec::new();
    for number in 0..count * TRIES_PER_APP {
        if apps.len() == count {
            break;
        }
        let name = format!("fire-{number}");
        let said = demo.run(&["deploy", &path, "--name", &name, "--node", &through.control])?;
        let host = said["host"].as_str().context("a deploy names its host")?.to_owned();
        let mut app = App { name, host, voters: 0 };
        let status = status(demo, &app, through)?;
        let leader = status["cells"][0]["leader"].as_str().unwrap_or_default().to_owned();
        app.voters = voters(&status).count();
        if burning.iter().any(|node| node.node_id.starts_with(&leader) && !leader.is_empty()) {
            apps.push(app);
        } else {
            demo.run(&["rm", &app.name, "--yes", "--node", &through.control])?;
        }
    }
    anyhow::ensure!(apps.len() == count, "only {} apps are led from the site that burns", apps.len());
    Ok(apps)
}

fn status(demo: &Demo, app: &App, through: &Node) -> anyhow::Result<Value> {
    demo.run(&["status", &app.name, "--node", &through.control])
}

fn voters(status: &Value) -> impl Iterator<Item = &Value> {
    let replicas = status["cells"][0]["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
    replicas.iter().filter(|replica| replica["role"] == "voter")
}

/// As many voters as before, none on a dead node, no two on one site.
fn is_whole(status: &Value, wanted: usize, dead: &BTreeSet<&str>) -> bool {
    let alive = |replica: &&Value| {
        let node = replica["node_id"].as_str().unwrap_or_default();
        !dead.iter().any(|dead| dead.starts_with(node))
    };
    let alive: Vec<&Value> = voters(status).filter(alive).collect();
    let sites: BTreeSet<&str> = alive.iter().filter_map(|replica| replica["site"].as_str()).collect();
    voters(status).count() == wanted && alive.len() == wanted && sites.len() == wanted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_whole_with_three_living_voters_on_three_sites() {
        let replica = |node: &str, site: &str| json!({"node_id": node, "site": site, "role": "voter"});
        let status = |replicas: Vec<Value>| json!({"cells": [{"replicas": replicas}]});
        let dead = BTreeSet::from(["deadbeef"]);
        let whole = status(vec![replica("a1", "x"), replica("b2", "y"), replica("c3", "z")]);
        assert!(is_whole(&whole, 3, &dead));
        let burnt = status(vec![replica("a1", "x"), replica("dead", "y"), replica("c3", "z")]);
        assert!(!is_whole(&burnt, 3, &dead));
        let crowded = status(vec![replica("a1", "x"), replica("b2", "x"), replica("c3", "z")]);
        assert!(!is_whole(&crowded, 3, &dead));
        assert!(!is_whole(&status(vec![replica("a1", "x")]), 3, &dead));
    }
}
