//! What befalls the nodes: one at a time is killed and started again, or stopped for a while and let go on.
use std::{
    ops::Range,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{demo::Demo, random::Random};

/// Between two troubles.
const REST_MS: Range<u64> = 500..3_000;
/// How long a node is dead or stopped.
const TROUBLE_MS: Range<u64> = 300..5_000;

pub(super) struct Trouble<'a> {
    demo: &'a Demo,
    random: Random,
    /// Of each node: what runs now.
    pids: Vec<u32>,
    /// Nodes that were started again.
    children: Vec<Child>,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(demo: &'a Demo, seed: u64) -> Self {
        let pids = demo.said.nodes.iter().map(|node| node.pid).collect();
        Self { demo, random: Random::new(seed ^ 0x0074_726f_7562_6c65), pids, children: Vec::new() }
    }

    /// How many there were.
    pub(super) fn make_until(&mut self, end: Instant) -> anyhow::Result<usize> {
        let mut count = 0;
        while Instant::now() < end {
            let rests = self.random_between(REST_MS);
            thread::sleep(rests);
            let victim = usize::try_from(self.random.below(self.pids.len() as u64))?;
            let lasts = self.random_between(TROUBLE_MS);
            if self.random.below(2) == 0 {
                self.signal(victim, "-KILL")?;
                thread::sleep(lasts);
                self.start(victim)?;
            } else {
                self.signal(victim, "-STOP")?;
                thread::sleep(lasts);
                self.signal(victim, "-CONT")?;
            }
            count += 1;
        }
        Ok(count)
    }

    fn random_between(&mut self, ms: Range<u64>) -> Duration {
        Duration::from_millis(ms.start + self.random.below(ms.end - ms.start))
    }

    fn signal(&self, victim: usize, signal: &str) -> anyhow::Result<()> {
        let done = Command::new("kill").args([signal, &self.pids[victim].to_string()]).status()?;
        anyhow::ensure!(done.success(), "{} is not there to be given {signal}", self.demo.said.nodes[victim].operator);
        Ok(())
    }

    fn start(&mut self, victim: usize) -> anyhow::Result<()> {
        let node = &self.demo.said.nodes[victim];
        let log = std::fs::OpenOptions::new().append(true).create(true).open(node.dir.join("log"))?;
        let child = Command::new(self.demo.binary())
            .args(["node", "run", "--dir", &node.dir.to_string_lossy()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.pids[victim] = child.id();
        self.children.push(child);
        Ok(())
    }
}

impl Drop for Trouble<'_> {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Gone already: nothing is left to be done.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
