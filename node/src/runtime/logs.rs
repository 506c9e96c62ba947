//! What apps print: the last lines of each app in memory, and a live feed for whoever follows.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bocage_protocol::{
    id::{CellId, InstanceId},
    time::Timestamp,
};
use serde::{Serialize, Serializer};
use tokio::sync::broadcast;

/// Lines kept of each app; the oldest go first.
const LINES_MAX: usize = 1_000;
/// Bytes of text kept of each app; the oldest lines go first.
const BYTES_MAX: usize = 256 << 10;
/// Apps whose lines are kept; the app that printed longest ago is forgotten first.
const APPS_MAX: usize = 1_024;
/// Lines that a follower may be behind; one that is slower misses lines and is told how many.
const BEHIND_MAX: usize = 256;

/// Where what an instance prints goes. Called on the path of a request: must not block.
pub trait LogSink: Send + Sync {
    /// One line, without its end.
    fn line(&self, line: LogLine);
}

/// One line that an instance printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// When its end was printed.
    pub at: Timestamp,
    /// By which instance.
    pub instance: InstanceId,
    /// Of which release.
    pub release: u64,
    /// On which stream.
    pub stream: Stream,
    /// What. Longer lines are split.
    #[serde(serialize_with = "text")]
    pub text: Arc<str>,
}

fn text<S: Serializer>(text: &Arc<str>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(text)
}

/// One of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// What it has to say.
    Stdout,
    /// What went wrong.
    Stderr,
}

/// The last lines of each app on this node.
#[derive(Default)]
pub struct Logs {
    apps: Mutex<Apps>,
}

#[derive(Default)]
struct Apps {
    by_cell: BTreeMap<CellId, Tail>,
    /// Counts lines of all apps: orders apps by when they last printed.
    printed: u64,
}

#[derive(Default)]
struct Tail {
    lines: VecDeque<LogLine>,
    bytes: usize,
    last_printed: u64,
    /// Made when somebody first follows.
    feed: Option<broadcast::Sender<LogLine>>,
}

impl Logs {
    /// Nothing printed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The last lines of an app, oldest first.
    #[must_use]
    pub fn tail(&self, cell: CellId) -> Vec<LogLine> {
        self.with(|apps| apps.by_cell.get(&cell).map(|tail| tail.lines.iter().cloned().collect()).unwrap_or_default())
    }

    /// The last lines of an app, and every one after them.
    #[must_use]
    pub fn follow(&self, cell: CellId) -> (Vec<LogLine>, broadcast::Receiver<LogLine>) {
        self.with(|apps| {
            let tail = apps.tail(cell);
            let feed = tail.feed.get_or_insert_with(|| broadcast::channel(BEHIND_MAX).0).subscribe();
            (tail.lines.iter().cloned().collect(), feed)
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Apps) -> T) -> T {
        // Every change leaves the map whole, so a panic elsewhere under the lock does not spoil it.
        look(&mut self.apps.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogSink for Logs {
    fn line(&self, line: LogLine) {
        self.with(|apps| apps.tail(line.instance.cell).push(line));
    }
}

impl Apps {
    fn tail(&mut self, cell: CellId) -> &mut Tail {
        if !self.by_cell.contains_key(&cell) && self.by_cell.len() >= APPS_MAX {
            let oldest = self.by_cell.iter().min_by_key(|(_, tail)| tail.last_printed).map(|(cell, _)| *cell);
            oldest.and_then(|oldest| self.by_cell.remove(&oldest));
        }
        self.printed += 1;
        let tail = self.by_cell.entry(cell).or_default();
        tail.last_printed = self.printed;
        tail
    }
}

impl Tail {
    fn push(&mut self, line: LogLine) {
        // Without a listener the feed is dropped, which frees its buffer.
        if self.feed.as_ref().is_some_and(|feed| feed.send(line.clone()).is_err()) {
            self.feed = None;
        }
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cell: &str, text: &str) -> LogLine {
        LogLine {
            at: Timestamp(1),
            instance: InstanceId { cell: CellId::of(cell.as_bytes()), number: 1 },
            release: 1,
            stream: Stream::Stdout,
            text: text.into(),
        }
    }

    #[test]
    fn a_follower_gets_the_tail_and_then_every_line_of_its_app_only() {
        let logs = Logs::new();
        logs.line(line("mine", "before"));
        let (tail, mut feed) = logs.follow(CellId::of(b"mine"));
        logs.line(line("theirs", "not for me"));
        logs.line(line("mine", "after"));
        assert_eq!(tail.iter().map(|line| &*line.text).collect::<Vec<_>>(), ["before"]);
        assert_eq!(&*feed.try_recv().unwrap().text, "after");
        assert!(feed.try_recv().is_err());
    }

    #[test]
    fn a_chatty_app_loses_its_oldest_lines_and_nobody_elses() {
        let logs = Logs::new();
        logs.line(line("quiet", "kept"));
        let long = "x".repeat(1 << 10);
        for _ in 0..2 * LINES_MAX {
            logs.line(line("chatty", &long));
        }
        assert_eq!(logs.tail(CellId::of(b"chatty")).len(), BYTES_MAX >> 10);
        assert_eq!(logs.tail(CellId::of(b"quiet")).len(), 1);
    }

    #[test]
    fn the_app_that_printed_longest_ago_is_forgotten_first() {
        let logs = Logs::new();
        for app in 0..=APPS_MAX {
            logs.line(line(&app.to_string(), "hello"));
        }
        assert!(logs.tail(CellId::of(b"0")).is_empty());
        assert_eq!(logs.tail(CellId::of(b"1")).len(), 1);
    }
}
