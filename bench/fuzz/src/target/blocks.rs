//! The block store under any sequence of writes and faults: `[[verb, a, b]…]`. What was acknowledged is there after every
//! crash; once bits have rotted too, what is served was still written once; and nothing panics.
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bocage_protocol::{
    codec::{self, Blob},
    id::{CellId, WriteId},
    machine::Machine,
    random::Seed,
    store::{
        Blocks, Boot, HardState, Input, LogEntry, Output, SegmentId, SnapshotMeta, Store, StoreConfig, StoreOp,
        WriteBatch,
    },
    time::{Instant, Now, Timestamp},
};

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "blocks",
    about: "the block store under sequences of writes, crashes, rot, failures and full disks",
    run,
    seeds,
    bytes_max: 4 << 10,
    heap: None,
};

const KEYS: u64 = 6;

struct Bench {
    blocks: Blocks,
    store: Store,
    verbs: VecDeque<Output>,
    now: Now,
    boot: Option<Box<Boot>>,
    /// Of each key: what was acknowledged last, and what was written since. A value names its write.
    acknowledged: BTreeMap<u64, u64>,
    written: BTreeMap<u64, Vec<u64>>,
    pending: Vec<(u64, u64)>,
    failed: bool,
    /// The medium has lied: only that nothing is made up holds from here on.
    rotten: bool,
    /// A verb was told to fail, or the disk is full: opening may fail too.
    injected: bool,
    writes: u64,
    /// Of a cell's log.
    last_index: u64,
}

fn config() -> StoreConfig {
    StoreConfig {
        segment_bytes: 16 << 10,
        group_bytes_max: 2 << 10,
        compact_bytes: 2 << 10,
        segments_min: 2,
        ..StoreConfig::default()
    }
}

fn key(n: u64) -> Blob {
    format!("key {n}").as_str().into()
}

fn value(write: u64) -> Blob {
    let mut bytes = write.to_be_bytes().to_vec();
    bytes.resize(8 + usize::try_from(write * 97 % 1_500).unwrap_or(0), 7);
    bytes.into()
}

fn run(bytes: &[u8]) {
    let Ok(steps) = codec::decode::<Vec<(u8, u64, u64)>>("steps", bytes) else { return };
    let mut bench = Bench::open(Blocks::default(), false, false);
    for (verb, a, b) in steps.into_iter().take(200) {
        bench.step(verb, a, b);
    }
    bench.perform(usize::MAX);
    bench.reopen();
}

impl Bench {
    fn open(blocks: Blocks, rotten: bool, injected: bool) -> Self {
        let now = Now { instant: Instant::START, wall: Timestamp(1) };
        let store = Store::open(config(), Seed([1; 32]), blocks.segments(), now);
        let mut bench = Self {
            blocks,
            store,
            verbs: VecDeque::new(),
            now,
            boot: None,
            acknowledged: BTreeMap::new(),
            written: BTreeMap::new(),
            pending: Vec::new(),
            failed: false,
            rotten,
            injected,
            writes: 0,
            last_index: 0,
        };
        bench.drain();
        bench.perform(usize::MAX);
        bench
    }

    fn step(&mut self, verb: u8, a: u64, b: u64) {
        let segment = self.segment(a);
        match verb % 16 {
            0..=2 => self.put(a % KEYS),
            3 => self.cell(a, b),
            4 => self.perform(usize::try_from(a % 8).unwrap_or(0)),
            5 => self.perform(usize::MAX),
            6 => self.rest(a % 2_000),
            7 => {
                self.blocks.crash(&mut Seed([a.to_be_bytes()[7]; 32]).rng());
                self.reopen();
            }
            8 => {
                self.blocks.kill();
                self.reopen();
            }
            9 => {
                self.injected = true;
                self.blocks.fail_next_sync();
            }
            10 => {
                self.injected = true;
                self.blocks.fail_next_write();
            }
            11 => {
                self.injected = true;
                self.blocks.fill(if a.is_multiple_of(4) { u64::MAX } else { b % (256 << 10) });
            }
            12 => {
                self.rotten = true;
                self.blocks.flip_bit(segment, b % (16 << 10), a.to_be_bytes()[6]);
            }
            13 => {
                self.rotten = true;
                self.blocks.erase(segment, b % (16 << 10), 1 + a % 2_000);
            }
            14 if b.is_multiple_of(4) => {
                self.rotten = true;
                self.blocks.remove(segment);
            }
            14 => {
                self.rotten = true;
                self.blocks.fail_reads(segment, b.is_multiple_of(2));
            }
            _ => self.reopen(),
        }
    }

    fn segment(&self, a: u64) -> SegmentId {
        let segments = self.blocks.segments();
        let nth = usize::try_from(a % (segments.len().max(1) as u64)).unwrap_or(0);
        segments.get(nth).map_or(SegmentId(1), |(segment, _)| *segment)
    }

    fn put(&mut self, n: u64) {
        let write = self.writes + 1;
        self.persist(vec![StoreOp::Put { key: key(n), value: value(write) }]);
        self.written.entry(n).or_default().push(write);
        self.pending.push((write, n));
    }

    fn cell(&mut self, a: u64, b: u64) {
        let cell = CellId([7; 32]);
        let op = match a % 4 {
            0 => StoreOp::HardState { cell, state: HardState { term: b % 9, vote: 1, commit: b } },
            1 => {
                let meta =
                    SnapshotMeta { index: self.last_index.max(1), term: 1, voters: vec![1], ..SnapshotMeta::default() };
                self.last_index = meta.index;
                StoreOp::Snapshot { cell, meta, state: value(b % 900) }
            }
            2 if b.is_multiple_of(8) => {
                self.last_index = 0;
                StoreOp::DropCell { cell }
            }
            _ => {
                let first = (self.last_index + 1).saturating_sub(b % 2).max(1);
                let entry =
                    |index| LogEntry { index, term: 1, kind: 0, data: value(index % 50), context: Blob::default() };
                self.last_index = first + b % 5;
                StoreOp::Append { cell, entries: (first..=self.last_index).map(entry).collect() }
            }
        };
        self.persist(vec![op]);
    }

    fn persist(&mut self, ops: Vec<StoreOp>) {
        self.writes += 1;
        let batch = WriteBatch { ops };
        self.store.handle_input(self.now, Input::Persist { write: WriteId(self.writes), batch });
        self.drain();
    }

    fn perform(&mut self, most: usize) {
        for _ in 0..most.min(20_000) {
            let Some(verb) = self.verbs.pop_front() else { return };
            if let Some(report) = self.blocks.perform(&verb) {
                self.store.handle_input(self.now, report);
                self.drain();
            }
        }
        assert!(most < 20_000, "the store does not come to rest");
    }

    fn rest(&mut self, ms: u64) {
        self.now.instant = self.now.instant + Duration::from_millis(ms);
        self.store.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.store.poll_output() {
            match output {
                Output::Persisted(write) => {
                    assert!(!self.failed, "acknowledged after a failure");
                    let (done, waits) =
                        std::mem::take(&mut self.pending).into_iter().partition(|(nth, _)| *nth <= write.0);
                    self.pending = waits;
                    for (nth, n) in Vec::from_iter::<Vec<_>>(done) {
                        self.acknowledged.insert(n, nth);
                    }
                }
                Output::PersistFailed(..) => self.failed = true,
                Output::Booted(boot) => self.boot = Some(boot),
                Output::Unopened(fault) => {
                    assert!(self.rotten || self.injected, "a disk that kept its word cannot be opened: {fault}");
                }
                Output::Loaded { .. } => {}
                verb => self.verbs.push_back(verb),
            }
        }
    }

    /// A new process on this disk; what it finds is compared with what was promised.
    fn reopen(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        let mut next = Self::open(blocks, self.rotten, self.injected);
        assert!(next.boot.is_some() || self.rotten || self.injected, "it boots");
        if let Some(boot) = &next.boot {
            for n in 0..KEYS {
                let found = boot.keyed.get(&key(n)).map(|bytes| {
                    let (number, _) = bytes.split_at_checked(8).expect("every value names its write");
                    u64::from_be_bytes(number.try_into().expect("eight bytes"))
                });
                let written = self.written.get(&n).cloned().unwrap_or_default();
                assert!(found.is_none_or(|found| written.contains(&found)), "a value of key {n} that nobody wrote");
                if !self.rotten {
                    let promised = self.acknowledged.get(&n).copied();
                    assert!(found >= promised, "key {n}: {promised:?} was acknowledged, {found:?} is there");
                }
            }
            next.last_index = boot.cells.get(&CellId([7; 32])).map_or(0, |cell| {
                cell.entries
                    .last()
                    .map_or_else(|| cell.snapshot.as_ref().map_or(0, |it| it.meta.index), |entry| entry.index)
            });
        }
        // What is there now is what the next process goes on from.
        next.writes = self.writes;
        next.written = std::mem::take(&mut self.written);
        if next.boot.is_some() && !self.rotten {
            next.acknowledged = std::mem::take(&mut self.acknowledged);
        }
        *self = next;
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let seed = |name: &str, steps: &[(u8, u64, u64)]| (name.to_owned(), codec::encode(&steps.to_vec()).to_vec());
    let many: Vec<_> = (0..60).map(|n| (if n % 7 == 6 { 5 } else { 0 }, n, n)).collect();
    let cells: Vec<_> = (0..40).map(|n| (if n % 5 == 4 { 5 } else { 3 }, n, n * 3)).collect();
    vec![
        seed("put-and-reopen", &[(0, 1, 0), (5, 0, 0), (15, 0, 0)]),
        seed(
            "crash-with-writes-under-way",
            &[(0, 1, 0), (5, 0, 0), (0, 1, 0), (0, 2, 0), (4, 1, 0), (7, 3, 0), (0, 3, 0), (5, 0, 0)],
        ),
        seed("compaction", &many),
        seed("cells", &cells),
        seed("sync-fails", &[(0, 1, 0), (5, 0, 0), (9, 0, 0), (0, 1, 0), (5, 0, 0), (8, 0, 0), (0, 2, 0), (5, 0, 0)]),
        seed("full", &[(0, 1, 0), (5, 0, 0), (11, 1, 9_000), (0, 1, 0), (0, 2, 0), (5, 0, 0), (11, 0, 0), (15, 0, 0)]),
        seed(
            "rot",
            &[(0, 1, 0), (5, 0, 0), (6, 1_000, 0), (5, 0, 0), (12, 0, 4_200), (15, 0, 0), (0, 1, 0), (5, 0, 0)],
        ),
        seed("lost-stretch", &[(0, 1, 0), (5, 0, 0), (0, 2, 0), (5, 0, 0), (13, 0, 4_096), (7, 1, 0)]),
    ]
}
