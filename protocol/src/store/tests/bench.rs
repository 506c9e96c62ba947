//! A store on a simulated disk, driven by hand.
use std::{collections::VecDeque, time::Duration};

use crate::{
    codec::Blob,
    id::{CellId, ReadId, WriteId},
    machine::Machine,
    random::{Rng, Seed},
    store::{
        Boot, CellBoot, DiskFault, HardState, Input, LogEntry, Output, SnapshotMeta, Store, StoreConfig, StoreKey,
        StoreOp, WriteBatch, blocks::Blocks,
    },
    time::{Instant, Now, Timestamp},
};

/// What a load found.
type Found = Result<Option<Box<CellBoot>>, DiskFault>;

pub(super) struct Bench {
    pub(super) blocks: Blocks,
    pub(super) store: Store,
    pub(super) seed: u8,
    /// Verbs asked for and not yet performed.
    pub(super) verbs: VecDeque<Output>,
    pub(super) boot: Option<Boot>,
    pub(super) unopened: Option<DiskFault>,
    pub(super) persisted: Vec<WriteId>,
    pub(super) failed: Vec<(WriteId, DiskFault)>,
    pub(super) loaded: Vec<(ReadId, Found)>,
    pub(super) now: Now,
    config: StoreConfig,
    writes: u64,
}

/// Small enough that a few hundred bytes fill segments.
pub(super) fn small() -> StoreConfig {
    StoreConfig {
        segment_bytes: 16 << 10,
        group_bytes_max: 2 << 10,
        compact_bytes: 2 << 10,
        segments_min: 2,
        ..StoreConfig::default()
    }
}

impl Bench {
    pub(super) fn new(config: StoreConfig) -> Self {
        Self::on(Blocks::default(), config, 1)
    }

    pub(super) fn on(blocks: Blocks, config: StoreConfig, seed: u8) -> Self {
        let now = Now { instant: Instant::START, wall: Timestamp(1) };
        let store = Store::open(config.clone(), Seed([seed; 32]), blocks.segments(), now);
        let mut bench = Self {
            blocks,
            store,
            seed,
            verbs: VecDeque::new(),
            boot: None,
            unopened: None,
            persisted: Vec::new(),
            failed: Vec::new(),
            loaded: Vec::new(),
            now,
            config,
            writes: 0,
        };
        bench.drain();
        bench
    }

    /// The process ends as it stands; a new one opens what is on the disk.
    pub(super) fn reopen(self) -> Self {
        let mut bench = Self::on(self.blocks, self.config, self.seed);
        bench.run();
        bench
    }

    /// A new process on a copy of the disk.
    pub(super) fn reopen_copy(&self) -> Self {
        let mut bench = Self::on(self.blocks.clone(), self.config.clone(), self.seed);
        bench.run();
        bench
    }

    /// Power is lost, then it opens again.
    pub(super) fn crash(mut self, rng: &mut Rng) -> Self {
        self.blocks.crash(rng);
        self.reopen()
    }

    pub(super) fn opened(config: StoreConfig) -> Self {
        let mut bench = Self::new(config);
        bench.run();
        assert!(bench.boot.is_some(), "{:?}", bench.unopened);
        bench
    }

    pub(super) fn boot(&self) -> &Boot {
        self.boot.as_ref().unwrap_or_else(|| panic!("not booted: {:?}", self.unopened))
    }

    /// Hands a batch over without performing anything.
    pub(super) fn submit(&mut self, ops: Vec<StoreOp>) -> WriteId {
        self.writes += 1;
        let write = WriteId(self.writes);
        self.input(Input::Persist { write, batch: WriteBatch { ops } });
        write
    }

    /// Hands a batch over and waits until it is durable.
    pub(super) fn persist(&mut self, ops: Vec<StoreOp>) {
        let write = self.submit(ops);
        self.run();
        assert_eq!(self.persisted.last(), Some(&write), "{:?}", self.failed);
    }

    pub(super) fn load(&mut self, cell: CellId) -> Result<Option<CellBoot>, DiskFault> {
        self.input(Input::Load { read: ReadId(7), key: StoreKey::Cell(cell) });
        self.run();
        let (_, result) = self.loaded.pop().unwrap();
        result.map(|found| found.map(|found| *found))
    }

    pub(super) fn input(&mut self, input: Input) {
        self.store.handle_input(self.now, input);
        self.drain();
    }

    /// Performs the oldest verb and reports it.
    pub(super) fn perform(&mut self) -> bool {
        let Some(verb) = self.verbs.pop_front() else { return false };
        let report = self.blocks.perform(&verb).unwrap();
        self.input(report);
        true
    }

    /// Performs all there is to do.
    pub(super) fn run(&mut self) {
        let mut steps = 0;
        while self.perform() {
            steps += 1;
            assert!(steps < 100_000, "the store does not come to rest");
        }
    }

    /// Lets time pass: an idle log is marked.
    pub(super) fn rest(&mut self) {
        self.run();
        self.now.instant = self.now.instant + Duration::from_secs(1);
        self.store.handle_timeout(self.now);
        self.drain();
        self.run();
    }

    fn drain(&mut self) {
        while let Some(output) = self.store.poll_output() {
            match output {
                Output::Create { .. }
                | Output::Write { .. }
                | Output::Sync { .. }
                | Output::Read { .. }
                | Output::Trim { .. } => self.verbs.push_back(output),
                Output::Booted(boot) => assert!(self.boot.replace(*boot).is_none(), "booted twice"),
                Output::Unopened(fault) => self.unopened = Some(fault),
                Output::Persisted(write) => {
                    assert!(self.failed.is_empty(), "acknowledged after a failure");
                    self.persisted.push(write);
                }
                Output::PersistFailed(write, fault) => self.failed.push((write, fault)),
                Output::Loaded { read, result } => self.loaded.push((read, result)),
            }
        }
    }
}

pub(super) fn cell(n: u8) -> CellId {
    CellId([n; 32])
}

pub(super) fn entry(index: u64, bytes: usize) -> LogEntry {
    let data = vec![u8::try_from(index % 251).unwrap(); bytes].into();
    LogEntry { index, term: 1, kind: 0, data, context: Blob::default() }
}

pub(super) fn append(n: u8, indexes: impl Iterator<Item = u64>) -> StoreOp {
    StoreOp::Append { cell: cell(n), entries: indexes.map(|index| entry(index, 100)).collect() }
}

pub(super) fn vote(n: u8, vote: u64) -> StoreOp {
    StoreOp::HardState { cell: cell(n), state: HardState { term: vote, vote, commit: 0 } }
}

pub(super) fn snapshot(n: u8, index: u64, bytes: usize) -> StoreOp {
    let meta = SnapshotMeta { index, term: 1, voters: vec![1, 2, 3], ..SnapshotMeta::default() };
    StoreOp::Snapshot { cell: cell(n), meta, state: vec![n; bytes].into() }
}

pub(super) fn put(key: &str, value: &str) -> StoreOp {
    StoreOp::Put { key: key.into(), value: value.into() }
}
