//! The cell's leader dies by `kill -9` while a client writes through another edge: when the next write is acknowledged,
//! and whether any acknowledged one is lost or doubled.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    client::{Acknowledged, Client, Entry},
    demo::{Bocage, Demo, kill},
    table::{Figure, count},
};

/// Seconds until the next acknowledged write, as promised.
const OUTAGE_AT_MOST: f64 = 2.0;
/// The client writes so long before, and after.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(6);

/// What one run came to.
struct Seen {
    /// Seconds from the death to the first acknowledgement of a write that began after it, or the longest pause between
    /// two acknowledgements around it, if that is longer.
    outage_s: f64,
    lost: usize,
    doubled: usize,
}

pub(crate) async fn measure(bocage: &Bocage, runs: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut outages, mut lost, mut doubled) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..runs {
        let seen = run(&bocage.demo()?).await?;
        eprintln!("failover {}: {:.3} s, {} lost, {} doubled", number + 1, seen.outage_s, seen.lost, seen.doubled);
        outages.push(seen.outage_s);
        lost.push(count(seen.lost));
        doubled.push(count(seen.doubled));
    }
    Ok(vec![
        Figure::worst("leader killed: next acknowledged write", "s", OUTAGE_AT_MOST, outages),
        Figure::worst("leader killed: acknowledged entries lost", "", 0.0, lost),
        Figure::worst("leader killed: entries doubled", "", 0.0, doubled),
    ])
}

async fn run(demo: &Demo) -> anyhow::Result<Seen> {
    let leader = demo.leader()?;
    let mut others = demo.said.nodes.iter().filter(|node| node.node_id != leader.node_id);
    let [through, reader] = [others.next(), others.next_back()].map(|node| node.context("a demo has five nodes"));
    let (through, reader) = (through?, reader?);
    let mut client = Client::new(&through.edge, &demo.said.app.host);
    let mut acknowledged = Vec::new();
    let mut killed: Option<Instant> = None;
    let began = Instant::now();
    loop {
        match killed {
            None if began.elapsed() > BEFORE => killed = Some(kill(&leader)?),
            Some(killed) if killed.elapsed() > AFTER => break,
            _ => {}
        }
        let text = format!("entry {}", acknowledged.len());
        acknowledged.push(client.sign(&text).await);
    }
    let killed = killed.context("the loop ends only after it")?;
    let entries = Client::new(&reader.edge, &demo.said.app.host).entries().await?;
    let (lost, doubled) = compare(&acknowledged, &entries);
    Ok(Seen { outage_s: outage(&acknowledged, killed).as_secs_f64(), lost, doubled })
}

/// The writes are one after another, so the first that was acknowledged after the death is the first that began after it.
fn outage(acknowledged: &[Acknowledged], killed: Instant) -> Duration {
    let first = acknowledged.iter().find(|write| write.at > killed).map_or(Duration::MAX, |write| write.at - killed);
    let after = acknowledged.windows(2).filter(|pair| pair[1].at > killed);
    let pause = after.map(|pair| pair[1].at - pair[0].at.max(killed)).max().unwrap_or(Duration::MAX);
    first.max(pause)
}

pub(crate) fn compare(acknowledged: &[Acknowledged], entries: &[Entry]) -> (usize, usize) {
    let mut found: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for entry in entries {
        found.entry(&entry.text).or_default().push(entry.id);
    }
    let is_there = |write: &&Acknowledged| found.get(write.text.as_str()).is_some_and(|ids| ids.contains(&write.id));
    let lost = acknowledged.len() - acknowledged.iter().filter(is_there).count();
    (lost, found.values().filter(|ids| ids.len() > 1).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_and_a_doubled_entry_are_seen() {
        let at = Instant::now();
        let write = |id, text: &str| Acknowledged { id, text: text.to_owned(), at };
        let entry = |id, text: &str| Entry { id, text: text.to_owned() };
        let written = [write(1, "a"), write(2, "b"), write(3, "c")];
        assert_eq!(compare(&written, &[entry(1, "a"), entry(2, "b"), entry(3, "c")]), (0, 0));
        assert_eq!(compare(&written, &[entry(1, "a"), entry(9, "b"), entry(3, "c"), entry(4, "c")]), (1, 1));
    }

    #[test]
    fn a_pause_that_comes_a_little_later_counts_too() {
        let killed = Instant::now();
        let write = |ms| Acknowledged { id: 1, text: String::new(), at: killed + Duration::from_millis(ms) };
        assert_eq!(outage(&[write(5), write(900), write(910)], killed), Duration::from_millis(895));
        assert_eq!(outage(&[write(700), write(710)], killed), Duration::from_millis(700));
    }
}
