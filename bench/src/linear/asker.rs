//! Who asks: one thread with the `bocage kv` verbs, through any node, one operation at a time.
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::Context as _;

use super::{KEYS, Op, Seen, operation};
use crate::{
    demo::{Demo, Ran},
    random::Random,
};

/// Values of one asker are below it; those of all are distinct.
const VALUES_MAX: u64 = 1_000_000;
/// As `bocage` says that nobody knows what came of it.
const INDEFINITE: i32 = 6;
/// As it says that a compare-and-swap found another version.
const CONFLICT: i32 = 4;

pub(super) struct Asker<'a> {
    demo: &'a Demo,
    number: u32,
    random: Random,
    began: Instant,
    written: u64,
    /// Value and version of each key, as last read.
    read: BTreeMap<u32, (u64, u64)>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(demo: &'a Demo, number: u32, seed: u64, began: Instant) -> Self {
        let random = Random::new(seed * 1_000 + u64::from(number));
        Self { demo, number, random, began, written: 0, read: BTreeMap::new() }
    }

    /// A key's first value.
    pub(super) fn begin(&mut self, key: u32) -> anyhow::Result<Seen> {
        let seen = self.set(key)?.context("a key cannot be written though nothing is wrong yet")?;
        anyhow::ensure!(seen.operation.return_time != i64::MAX, "a key's first write was not acknowledged");
        Ok(seen)
    }

    pub(super) fn ask_until(&mut self, over: &AtomicBool) -> Vec<Seen> {
        let mut all = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let key = u32::try_from(self.random.below(u64::from(KEYS))).expect("below the number of keys");
            let asked = match self.random.below(4) {
                0 => self.set(key),
                1 if self.read.contains_key(&key) => self.swap(key),
                _ => self.get(key),
            };
            match asked {
                Ok(seen) => all.extend(seen),
                Err(error) => eprintln!("linearizability: {error:#}"),
            }
        }
        all
    }

    fn now_ns(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_nanos()).unwrap_or(i64::MAX - 1)
    }

    fn fresh(&mut self) -> u64 {
        self.written += 1;
        u64::from(self.number) * VALUES_MAX + self.written
    }

    fn run(&mut self, verb: &[&str]) -> anyhow::Result<(i64, Ran)> {
        let nodes = &self.demo.said.nodes;
        let through = usize::try_from(self.random.below(nodes.len() as u64))?;
        let called = self.now_ns();
        let ran = self.demo.try_run(&[verb, &["--node", &nodes[through].control]].concat())?;
        Ok((called, ran))
    }

    fn seen(&self, key: u32, called_ns: i64, returned: bool, op: Op) -> Seen {
        Seen { key, operation: operation(self.number, called_ns, returned.then(|| self.now_ns()), op) }
    }

    /// `None`: it certainly did nothing.
    fn set(&mut self, key: u32) -> anyhow::Result<Option<Seen>> {
        let value = self.fresh();
        let (name, text) = (name(key), value.to_string());
        let (called, ran) = self.run(&["kv", "set", "guestbook", &name, &text])?;
        Ok(match ran.code {
            0 => Some(self.seen(key, called, true, Op::Set(value))),
            INDEFINITE => Some(self.seen(key, called, false, Op::Set(value))),
            _ => None,
        })
    }

    fn get(&mut self, key: u32) -> anyhow::Result<Option<Seen>> {
        let (called, ran) = self.run(&["kv", "get", "guestbook", &name(key)])?;
        if ran.code != 0 {
            return Ok(None);
        }
        let value =
            ran.said["value"].as_str().and_then(|value| value.parse().ok()).context("a value that nobody wrote")?;
        let version = ran.said["version"].as_u64().context("a value without a version")?;
        let seen = self.seen(key, called, true, Op::Get(value));
        self.read.insert(key, (value, version));
        Ok(Some(seen))
    }

    fn swap(&mut self, key: u32) -> anyhow::Result<Option<Seen>> {
        let (from, version) = self.read.remove(&key).context("nothing was read")?;
        let to = self.fresh();
        let (name, text, version) = (name(key), to.to_string(), version.to_string());
        let (called, ran) = self.run(&["kv", "cas", "guestbook", &name, "--expect", &version, &text])?;
        let op = |done| Op::Swap { from, to, done };
        Ok(match ran.code {
            0 => Some(self.seen(key, called, true, op(Some(true)))),
            CONFLICT => Some(self.seen(key, called, true, op(Some(false)))),
            INDEFINITE => Some(self.seen(key, called, false, op(None))),
            _ => None,
        })
    }
}

fn name(key: u32) -> String {
    format!("register-{key}")
}
