//! A minority's disks go wrong while a client writes and others read: one voter's bytes rot, then another's disk is wiped, and each
//! death is a power cut (`node/src/disk/faults.rs`). What anybody read that was never written, what is lost, and when as many voters hold
//! the app as before.
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    client::{Acknowledged, Client},
    demo::{Bocage, Demo, Node, kill},
    failover::compare,
    table::{Figure, count},
};

/// Seconds until as many voters hold the app as before, as promised; the book that they fetch is small.
const WHOLE_AT_MOST: f64 = 60.0;
/// It is looked at for so long.
const PATIENCE: Duration = Duration::from_mins(3);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Before the first fault, and after each.
const PAUSE: Duration = Duration::from_secs(2);
/// Rot that hits nothing that is needed is repaired by nobody: so often it is tried.
const ROTS_MAX: u64 = 30;
/// Pages are read from so many entries back.
const BACK: u64 = 20;
const VARIABLE: &str = "BOCAGE_DISK_FAULTS";
const FAULTS: &str = "disk-faults.toml";

/// What was written, by id, and what was read that was not.
#[derive(Default)]
struct Book {
    written: BTreeMap<u64, String>,
    answers: u64,
    wrong: Vec<String>,
}

/// A node that this process started again; it ends with it.
struct Again(Child);

impl Drop for Again {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one run came to.
struct Seen {
    rotten_s: f64,
    wiped_s: f64,
    answers: u64,
    wrong: Vec<String>,
    lost: usize,
    doubled: usize,
}

pub(crate) async fn measure(bocage: &Bocage, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut rotten, mut wiped, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lost, mut doubled) = (Vec::new(), Vec::new());
    for number in 0..runs {
        let seen = run(&bocage.demo_in(&[], Some((VARIABLE, FAULTS)))?, u64::try_from(number)?).await?;
        seen.wrong.iter().for_each(|what| eprintln!("  {what}"));
        eprintln!(
            "disk {}: whole again {:.2} s after rot, {:.2} s after a wipe; {} of {} answers wrong, {} lost, {} doubled",
            number + 1,
            seen.rotten_s,
            seen.wiped_s,
            seen.wrong.len(),
            seen.answers,
            seen.lost,
            seen.doubled
        );
        rotten.push(seen.rotten_s);
        wiped.push(seen.wiped_s);
        wrong.push(count(seen.wrong.len()));
        lost.push(count(seen.lost));
        doubled.push(count(seen.doubled));
    }
    Ok(vec![
        Figure::worst("a voter's disk rots: redundancy whole again", "s", WHOLE_AT_MOST, rotten),
        Figure::worst("a voter's disk is wiped: redundancy whole again", "s", WHOLE_AT_MOST, wiped),
        Figure::worst("the same: wrong answers", "", 0.0, wrong),
        Figure::worst("the same: acknowledged entries lost", "", 0.0, lost),
        Figure::worst("the same: entries doubled", "", 0.0, doubled),
    ])
}

async fn run(demo: &Demo, number: u64) -> anyhow::Result<Seen> {
    let nodes = &demo.said.nodes;
    for (node, at) in nodes.iter().zip(0..) {
        suffers(node, r#""power""#, number * 100 + at)?;
    }
    let voters = replicas(&demo.status(&nodes[0])?).iter().filter_map(node_id).collect::<Vec<_>>();
    let (voters, others): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().partition(|node| voters.iter().any(|voter| node.node_id.starts_with(voter)));
    anyhow::ensure!(voters.len() == 3 && others.len() == 2, "three of the five vote");
    // By turns it is the leader whose bytes rot, the one whose disk is wiped, or neither.
    let shift = usize::try_from(number)? % voters.len();
    let (rots, loses) = (voters[shift], voters[(shift + 1) % voters.len()]);

    let (stop, book) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Book::default())));
    let host = &demo.said.app.host;
    let writer = tokio::spawn(write(Client::new(&others[0].edge, host), stop.clone(), book.clone()));
    let mut readers = Vec::new();
    for node in nodes.iter().filter(|node| node.node_id != others[0].node_id) {
        readers.push(tokio::spawn(read(Client::new(&node.edge, host), stop.clone(), book.clone())));
    }
    tokio::time::sleep(PAUSE).await;

    let (_rots_again, since) = rot(demo, rots, number).await?;
    let rotten_s = until_whole(demo, rots, others[0], since).await?;
    tokio::time::sleep(PAUSE).await;
    let since = kill(loses)?;
    fs::remove_dir_all(loses.dir.join("disk"))?;
    let _loses_again = start(demo, loses)?;
    let wiped_s = until_whole(demo, loses, others[0], since).await?;
    tokio::time::sleep(PAUSE).await;

    stop.store(true, Relaxed);
    let acknowledged = writer.await?;
    for reader in readers {
        reader.await?;
    }
    let entries = Client::new(&others[1].edge, host).entries().await?;
    let (lost, doubled) = compare(&acknowledged, &entries);
    let Book { answers, wrong, .. } = std::mem::take(&mut *book.lock().expect("no client panics"));
    anyhow::ensure!(answers > 100, "only {answers} pages were read: that proves nothing");
    Ok(Seen { rotten_s, wiped_s, answers, wrong, lost, doubled })
}

/// Signs the book, one entry after another.
async fn write(mut client: Client, stop: Arc<AtomicBool>, book: Arc<Mutex<Book>>) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    while !stop.load(Relaxed) {
        let write = client.sign(&format!("entry {}", acknowledged.len())).await;
        book.lock().expect("no client panics").written.insert(write.id, write.text.clone());
        acknowledged.push(write);
    }
    acknowledged
}

/// Reads the newest entries through one edge, which may be that of a node whose disk goes wrong. A page may be old, and lack an entry;
/// what it says must have been written so. An entry whose acknowledgement has not arrived yet is known by its text's form only.
async fn read(mut client: Client, stop: Arc<AtomicBool>, book: Arc<Mutex<Book>>) {
    while !stop.load(Relaxed) {
        let after = book.lock().expect("no client panics").written.last_key_value().map_or(0, |(id, _)| *id);
        let answer = client.get(&format!("/entries?after={}", after.saturating_sub(BACK))).await;
        if let Ok(answer) = answer.as_ref().map(|it| (it.status(), it.body()))
            && answer.0.is_success()
        {
            let mut book = book.lock().expect("no client panics");
            book.answers += 1;
            let wrong = match serde_json::from_slice::<Vec<crate::client::Entry>>(answer.1) {
                Ok(entries) => entries.iter().find(|entry| !is_right(&book.written, entry)).map(|it| format!("{it:?}")),
                Err(error) => Some(format!("{error}: {:?}", answer.1)),
            };
            book.wrong.extend(wrong);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_right(written: &BTreeMap<u64, String>, entry: &crate::client::Entry) -> bool {
    match written.get(&entry.id) {
        Some(text) => *text == entry.text,
        None => entry.text.strip_prefix("entry ").is_some_and(|number| number.parse::<usize>().is_ok()),
    }
}

/// From now on the disk of a node fails so.
fn suffers(node: &Node, faults: &str, seed: u64) -> anyhow::Result<()> {
    let half = node.dir.join("disk-faults.new");
    fs::write(&half, format!("faults = [{faults}]\nseed = {seed}\n"))?;
    Ok(fs::rename(half, node.dir.join(FAULTS))?)
}

/// Has a node restart on a disk that has rotted, until what its cell needs is hit; since when it was.
async fn rot(demo: &Demo, node: &Node, number: u64) -> anyhow::Result<(Again, Instant)> {
    let mut since = kill(node)?;
    for attempt in 0..ROTS_MAX {
        suffers(node, r#""power", "rot""#, number * ROTS_MAX + attempt)?;
        let before = fs::read(node.dir.join("log"))?.len();
        let again = start(demo, node)?;
        let said = |what: &str| -> anyhow::Result<bool> {
            let log = fs::read(node.dir.join("log"))?;
            Ok(String::from_utf8_lossy(&log[before..]).contains(what))
        };
        while !said("CellQuarantined")? && !said("CellOpened")? {
            anyhow::ensure!(since.elapsed() < PATIENCE, "a node with rot on its disk does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        suffers(node, r#""power""#, number)?;
        if said("CellQuarantined")? {
            return Ok((again, since));
        }
        drop(again);
        since = Instant::now();
    }
    anyhow::bail!("{ROTS_MAX} times rot hit nothing that the cell needs")
}

fn start(demo: &Demo, node: &Node) -> anyhow::Result<Again> {
    let log = OpenOptions::new().create(true).append(true).open(node.dir.join("log"))?;
    let child = Command::new(demo.binary())
        .args(["node", "run", "--color", "never", "--dir"])
        .arg(&node.dir)
        .env("HOME", demo.home())
        .env(VARIABLE, FAULTS)
        .env_remove("BOCAGE_NODE")
        .env_remove("BOCAGE_KEY")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    Ok(Again(child.context("a node cannot be started")?))
}

/// Seconds until there are as many voters as before, of which the one that lost what it held is one anew, or none.
async fn until_whole(demo: &Demo, node: &Node, through: &Node, since: Instant) -> anyhow::Result<f64> {
    loop {
        anyhow::ensure!(since.elapsed() < PATIENCE, "not whole after {PATIENCE:?}: {}", demo.status(through)?);
        let (asked, control) = (demo.asker(), through.control.clone());
        let ask = move || asked.run(&["status", "guestbook", "--node", &control]);
        if tokio::task::spawn_blocking(ask).await?.is_ok_and(|status| is_whole(&status, &node.node_id)) {
            return Ok(since.elapsed().as_secs_f64());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn replicas(status: &Value) -> &[Value] {
    status["cells"][0]["replicas"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn node_id(replica: &Value) -> Option<String> {
    replica["node_id"].as_str().map(str::to_owned)
}

/// Three vote, nobody joins, and whoever stands on the node that lost what it held came after that.
fn is_whole(status: &Value, lost: &str) -> bool {
    let replicas = replicas(status);
    let is_anew = |replica: &Value| {
        let stands_there = node_id(replica).is_some_and(|node| !node.is_empty() && lost.starts_with(&node));
        !stands_there || replica["why"].as_str().is_some_and(|why| why.contains("was wiped"))
    };
    replicas.len() == 3 && replicas.iter().all(|replica| replica["role"] == "voter" && is_anew(replica))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn redundancy_is_whole_once_the_vote_was_taken_over_anew() {
        let replica = |node: &str, role: &str, why: &str| json!({"node_id": node, "role": role, "why": why});
        let status = |replicas: Vec<Value>| json!({"cells": [{"replicas": replicas}]});
        let [a, b] = ["a1", "b2"].map(|node| replica(node, "voter", "a founder"));
        let before = replica("c3", "voter", "a founder");
        let anew = replica("c3", "voter", "the vote of replica 3, whose disk was wiped: …");
        assert!(!is_whole(&status(vec![a.clone(), b.clone(), before.clone()]), "c3ff"));
        assert!(is_whole(&status(vec![a.clone(), b.clone(), anew]), "c3ff"));
        assert!(is_whole(&status(vec![a.clone(), b.clone(), replica("d4", "voter", "a founder")]), "c3ff"));
        let joining = replica("c3", "learner", "the vote of replica 3, whose disk was wiped: …");
        assert!(!is_whole(&status(vec![a.clone(), b.clone(), before, joining]), "c3ff"));
        assert!(!is_whole(&status(vec![a, b]), "c3ff"));
    }

    #[test]
    fn a_page_that_says_what_nobody_wrote_is_wrong() {
        let entry = |id, text: &str| crate::client::Entry { id, text: text.to_owned() };
        let written = BTreeMap::from([(1, "entry 0".to_owned())]);
        assert!(is_right(&written, &entry(1, "entry 0")) && is_right(&written, &entry(2, "entry 1")));
        assert!(!is_right(&written, &entry(1, "entry 7")) && !is_right(&written, &entry(2, "entrx 1")));
    }
}
