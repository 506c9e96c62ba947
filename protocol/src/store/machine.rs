//! The store as a machine: what it does next, and what it makes of each report.
use std::collections::{BTreeMap, VecDeque};

use super::{
    batch::{DiskFault, StoreKey, WriteBatch},
    boot::{Boot, Rot},
    compaction::Compaction,
    config::StoreConfig,
    frame::Stretch,
    head::{End, Head, NoRoom},
    index::Index,
    io::{BlockOp, Input, Output, SegmentId},
    limits,
    load::Load,
    opening::{Next, Opening},
    record::{Name, Record},
    replay::{Replayed, rot},
    segment::{FRAMES_AT, Identity},
    spare::Spare,
    usage::Spot,
};
use crate::{
    codec::Blob,
    id::{ReadId, WriteId},
    machine::{Deadline, Machine, Outbox},
    planted::{self, Planted},
    random::Seed,
    time::{Instant, Now},
};

/// How many loads read at once; more wait. Bounds memory and the verbs under way.
const LOADS_MAX: usize = 16;

/// The segment store. See the module's head for how it is built.
///
/// Opening asks for reads and ends in [`Output::Booted`], or [`Output::Unopened`]. Before that, writes and loads wait.
/// While one sync is under way, all writes that come are gathered, then written and synced as one; `Persisted` names
/// the highest. The first verb that fails (but for reads and trims) ends it: `PersistFailed`, and no write is ever
/// acknowledged again until the disk is opened anew.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    seed: Seed,
    outbox: Outbox<Output>,
    /// The verbs under way, and what for.
    verbs: BTreeMap<BlockOp, Purpose>,
    next_op: u64,
    fault: Option<DiskFault>,
    /// Until all that was on disk is read.
    opening: Option<Opening>,
    /// Until the boot counter is durable.
    booting: Option<Box<Boot>>,
    identity: Option<Identity>,
    index: Index,
    head: Option<Head>,
    next_segment: u64,
    spare: Spare,
    /// The log waits for a segment with more room.
    wants_segment: bool,
    /// Accepted and not yet durable, oldest first: those of `flush`, then those of `queue`.
    open_writes: VecDeque<WriteId>,
    queue: VecDeque<Waiting>,
    queue_bytes: u64,
    flush: Option<Flush>,
    /// When a mark is due.
    mark_at: Option<Instant>,
    /// Batches accepted, and of them those durable: a load sees all that was persisted before it.
    accepted: u64,
    durable: u64,
    waiting_loads: VecDeque<(u64, ReadId, StoreKey)>,
    loads: BTreeMap<ReadId, Load>,
    compaction: Compaction,
}

/// What a verb is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Opening,
    Flush,
    SpareCreate,
    SpareHead {
        last: bool,
    },
    Load(ReadId),
    Compact(Spot),
    Trim(SegmentId),
    /// Of a segment that never held a frame.
    TrimUnused,
}

/// A batch that is not laid out yet.
#[derive(Debug)]
struct Waiting {
    bytes: u64,
    records: Vec<Record>,
}

/// A write and its sync under way.
#[derive(Debug)]
struct Flush {
    /// Verbs not yet reported.
    verbs: u8,
    /// The last frame in it.
    seq: u64,
    /// How many batches of the node's.
    batches: u64,
    /// It makes the boot counter durable.
    boots: bool,
    /// Nothing but a mark.
    mark: bool,
}

/// How the store stands: for a status page and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Segments that hold frames.
    pub segments: usize,
    /// Bytes of all frames in them.
    pub written_bytes: u64,
    /// Bytes of what of that is still needed.
    pub live_bytes: u64,
    /// Bytes that wait for the disk.
    pub queue_bytes: u64,
    /// Why nothing is acknowledged any more.
    pub fault: Option<DiskFault>,
    /// Why no space is freed any more, though all else goes on.
    pub compaction_fault: Option<DiskFault>,
    /// What cannot be read any more.
    pub rot: Rot,
}

impl Store {
    /// Opens what is on disk: the segments there and their lengths, in any order. `seed` draws the identity of a disk
    /// on which there is nothing yet.
    #[must_use]
    pub fn open(config: StoreConfig, seed: Seed, segments: Vec<(SegmentId, u64)>, now: Now) -> Self {
        let next_segment = segments.iter().map(|(segment, _)| segment.0 + 1).max().unwrap_or(1);
        let mut store = Self {
            config: config.bounded(),
            seed,
            outbox: Outbox::default(),
            verbs: BTreeMap::new(),
            next_op: 1,
            fault: None,
            opening: None,
            booting: None,
            identity: None,
            index: Index::default(),
            head: None,
            next_segment,
            spare: Spare::None,
            wants_segment: false,
            open_writes: VecDeque::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            flush: None,
            mark_at: None,
            accepted: 0,
            durable: 0,
            waiting_loads: VecDeque::new(),
            loads: BTreeMap::new(),
            compaction: Compaction::default(),
        };
        match Opening::new(segments) {
            Ok(opening) => {
                store.opening = Some(opening);
                store.open_on(now);
            }
            Err(fault) => store.fail(&fault),
        }
        store
    }

    /// How the store stands.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let (written_bytes, live_bytes) = self.index.usage.totals();
        StoreStatus {
            segments: self.index.usage.segments(),
            written_bytes,
            live_bytes,
            queue_bytes: self.queue_bytes,
            fault: self.fault.clone(),
            compaction_fault: self.compaction.fault.clone(),
            rot: rot(&self.index),
        }
    }

    // Opening.

    fn open_on(&mut self, now: Now) {
        let Some(opening) = &mut self.opening else { return };
        match opening.next() {
            Ok(Next::Read { segment, offset, len }) => {
                self.ask(Purpose::Opening, |op| Output::Read { op, segment, offset, len });
            }
            Ok(Next::Format { leftovers }) => {
                let identity = Identity::draw(self.seed);
                let replayed = Replayed::nothing(identity);
                self.begin(now, identity, replayed, None, leftovers);
            }
            Ok(Next::Continue { identity, replayed, spare, leftovers }) => {
                self.begin(now, identity, *replayed, spare, leftovers);
            }
            Err(fault) => self.fail(&fault),
        }
    }

    /// All was read: the log goes on where it ended.
    fn begin(
        &mut self,
        now: Now,
        identity: Identity,
        replayed: Replayed,
        spare: Option<(SegmentId, u64)>,
        leftovers: Vec<SegmentId>,
    ) {
        let Replayed { index, head, boot, unsynced, .. } = replayed;
        self.opening = None;
        self.identity = Some(identity);
        self.index = index;
        self.booting = Some(Box::new(boot));
        self.spare = spare.map_or(Spare::None, |(segment, size)| Spare::Ready(segment, size));
        for segment in leftovers {
            self.ask(Purpose::TrimUnused, |op| Output::Trim { op, segment });
        }
        if let Some((spot, bytes)) = unsynced {
            // It reads, but perhaps only from a cache whose sync has failed: write it again before building on it.
            let seq = head.seq;
            self.ask(Purpose::Flush, |op| Output::Write { op, segment: spot.segment, offset: spot.offset, bytes });
            self.ask(Purpose::Flush, |op| Output::Sync { op, segment: spot.segment });
            self.flush = Some(Flush { verbs: 2, seq, batches: 0, boots: false, mark: true });
        }
        self.head = Some(head);
        self.advance(now);
    }

    // What to do next.

    fn advance(&mut self, now: Now) {
        if self.fault.is_some() || self.opening.is_some() {
            return;
        }
        self.flush(now);
        if self.fault.is_some() || self.booting.is_some() {
            return;
        }
        self.make_spare();
        self.start_loads();
        self.trim_oldest();
        self.compact();
    }

    /// Lays out what waits, writes it and syncs.
    fn flush(&mut self, now: Now) {
        let waits = self.wants_segment && !matches!(self.spare, Spare::Ready(..));
        if self.flush.is_some() || self.fault.is_some() || waits {
            return;
        }
        let Some(mut head) = self.head.take() else { return };
        let (from, seq_before) = (head.at, head.seq);
        let mut out = Vec::new();
        let mut flush = Flush { verbs: 2, seq: 0, batches: 0, boots: self.booting.is_some(), mark: false };
        let laid = self.lay_own(now, &mut head, &mut out, &mut flush);
        let laid = laid.and_then(|()| self.lay_queue(&mut head, &mut out, &mut flush));
        flush.seq = head.seq;
        self.head = Some(head);
        if self.fault.is_some() {
            return;
        }
        if let (Some(End { segment, offset, .. }), true) = (from, flush.seq > seq_before) {
            self.mark_at = None;
            self.ask(Purpose::Flush, |op| Output::Write { op, segment, offset, bytes: out.into() });
            if planted::has(Planted::SkippedSync) {
                flush.verbs -= 1;
            } else {
                self.ask(Purpose::Flush, |op| Output::Sync { op, segment });
            }
            self.flush = Some(flush);
        } else if let Err(room) = laid {
            self.next_segment(now, room.segment_bytes);
        }
    }

    /// The store's own frame: the boot, a mark, what compaction carries, what was lost.
    fn lay_own(&mut self, now: Now, head: &mut Head, out: &mut Vec<u8>, flush: &mut Flush) -> Result<(), NoRoom> {
        let mut own = self.compaction.carry(&mut self.index, head.key);
        own.extend(self.index.unsaid());
        let mark_due = self.queue.is_empty() && self.mark_at.is_some_and(|at| at <= now.instant);
        flush.mark = own.is_empty();
        if flush.boots || mark_due || !own.is_empty() {
            let (place, records) = head.lay(own, out).map_err(|(room, _)| room)?;
            self.index.apply(&records, place);
        }
        if self.compaction.has_piece() {
            self.compaction.carried(&self.index.usage);
        }
        Ok(())
    }

    /// As many batches as one sync takes along.
    fn lay_queue(&mut self, head: &mut Head, out: &mut Vec<u8>, flush: &mut Flush) -> Result<(), NoRoom> {
        while (out.len() as u64) < self.config.group_bytes_max {
            let Some(Waiting { bytes, records }) = self.queue.pop_front() else { break };
            match head.lay(records, out) {
                Ok((place, records)) => {
                    self.index.apply(&records, place);
                    self.queue_bytes -= bytes;
                    flush.batches += 1;
                    flush.mark = false;
                    if let Err(fault) = limits::check_whole(&self.index, &records) {
                        self.fail(&fault);
                        break;
                    }
                }
                Err((room, records)) => {
                    self.queue.push_front(Waiting { bytes, records });
                    return Err(room);
                }
            }
        }
        Ok(())
    }

    /// Nothing more fits in the current segment: go on in the spare, or have one made.
    fn next_segment(&mut self, now: Now, bytes_min: u64) {
        self.wants_segment = true;
        match self.spare {
            Spare::Ready(segment, size) if size >= bytes_min => {
                self.spare = Spare::None;
                self.wants_segment = false;
                if let Some(head) = &mut self.head {
                    head.at = Some(End { segment, offset: FRAMES_AT, size });
                }
                self.flush(now);
            }
            Spare::Ready(segment, _) => {
                // Too small for a batch that needs a segment of its own; segments are written in rising order only.
                self.spare = Spare::None;
                self.ask(Purpose::TrimUnused, |op| Output::Trim { op, segment });
                self.create(bytes_min);
            }
            Spare::None => self.create(bytes_min),
            Spare::Creating(..) | Spare::Heading(..) => {}
        }
    }

    /// Half of the current segment is used: have the next one ready in time.
    fn make_spare(&mut self) {
        let half_used = self.head.as_ref().and_then(|head| head.at).is_some_and(|end| end.offset > end.size / 2);
        if half_used && self.spare == Spare::None {
            self.create(0);
        }
    }

    fn create(&mut self, bytes_min: u64) {
        let segment = SegmentId(self.next_segment);
        // One more page: what a frame says of those before it may grow until it is laid out.
        let size_bytes = self.config.segment_bytes.max((bytes_min + FRAMES_AT).next_multiple_of(FRAMES_AT));
        self.next_segment += 1;
        self.spare = Spare::Creating(segment, size_bytes);
        self.ask(Purpose::SpareCreate, |op| Output::Create { op, segment, size_bytes });
    }

    fn start_loads(&mut self) {
        while let Some((after, read, StoreKey::Cell(cell))) = self.waiting_loads.front().cloned() {
            if self.durable < after || self.loads.len() >= LOADS_MAX {
                return;
            }
            self.waiting_loads.pop_front();
            let result = if self.index.is_lost(Name::of_cell(cell)) {
                Err(DiskFault::Corrupt(format!("cell {}", cell.short())))
            } else if let Some(index) = self.index.cell(cell) {
                self.loads.insert(read, Load::new(cell, index.clone(), &self.index.usage));
                self.load_on(read);
                continue;
            } else {
                Ok(None)
            };
            self.outbox.push(Output::Loaded { read, result });
        }
    }

    fn load_on(&mut self, read: ReadId) {
        let Some(load) = self.loads.get(&read) else { return };
        if let Some((segment, offset, len)) = load.next_read() {
            self.ask(Purpose::Load(read), |op| Output::Read { op, segment, offset, len });
            return;
        }
        let found = self.loads.remove(&read).map(|load| Box::new(load.finish()));
        self.outbox.push(Output::Loaded { read, result: Ok(found) });
    }

    /// Reads the next piece of the oldest segment, if moving it pays.
    fn compact(&mut self) {
        let Some(end) = self.head.as_ref().and_then(|head| head.at) else { return };
        if let Some((spot, len)) = self.compaction.next_read(&self.index.usage, end.segment, &self.config) {
            self.ask(Purpose::Compact(spot), |op| Output::Read { op, segment: spot.segment, offset: spot.offset, len });
        }
    }

    /// Takes the oldest segment away once nothing in it is needed and all that replaces it is durable.
    fn trim_oldest(&mut self) {
        let Some(head) = &self.head else { return };
        let Some(end) = head.at else { return };
        let Some(segment) = self.compaction.next_trim(&self.index.usage, end.segment, head.seq, head.synced) else {
            return;
        };
        if self.loads.values().any(|load| load.needs(segment)) {
            return;
        }
        self.compaction.trim();
        self.ask(Purpose::Trim(segment), |op| Output::Trim { op, segment });
    }

    // What became of it.

    fn on_done(&mut self, now: Now, purpose: Purpose, bytes: Blob) {
        match purpose {
            Purpose::Opening => match self.opening.as_mut().map(|opening| opening.read(&bytes)) {
                Some(Ok(())) => self.open_on(now),
                Some(Err(fault)) => self.fail(&fault),
                None => {}
            },
            Purpose::Flush => self.on_flushed(now),
            Purpose::SpareCreate => self.on_created(),
            Purpose::SpareHead { last } => {
                if let (Spare::Heading(segment, size), true) = (self.spare, last) {
                    self.spare = Spare::Ready(segment, size);
                }
            }
            Purpose::Load(read) => self.on_load_read(read, &bytes),
            Purpose::Compact(spot) => self.compaction.read(spot, bytes),
            Purpose::Trim(segment) => {
                self.index.usage.trimmed(segment);
                self.compaction.trimmed();
            }
            Purpose::TrimUnused => {}
        }
    }

    fn on_flushed(&mut self, now: Now) {
        let Some(flush) = &mut self.flush else { return };
        flush.verbs -= 1;
        if flush.verbs > 0 {
            return;
        }
        let (Some(flush), Some(head)) = (self.flush.take(), &mut self.head) else { return };
        head.synced = flush.seq;
        self.durable += flush.batches;
        if !flush.mark {
            self.mark_at = Some(now.instant + self.config.mark_after);
        }
        if let Some(boot) = self.booting.take_if(|_| flush.boots) {
            self.outbox.push(Output::Booted(boot));
        }
        let persisted = (0..flush.batches).filter_map(|_| self.open_writes.pop_front()).last();
        if let Some(write) = persisted {
            self.outbox.push(Output::Persisted(write));
        }
    }

    fn on_created(&mut self) {
        let (Spare::Creating(segment, size), Some(identity)) = (self.spare, self.identity) else { return };
        self.spare = Spare::Heading(segment, size);
        let bytes = identity.head(segment);
        self.ask(Purpose::SpareHead { last: false }, |op| Output::Write { op, segment, offset: 0, bytes });
        self.ask(Purpose::SpareHead { last: true }, |op| Output::Sync { op, segment });
    }

    fn on_load_read(&mut self, read: ReadId, bytes: &Blob) {
        let (Some(load), Some(identity)) = (self.loads.get_mut(&read), self.identity) else { return };
        let Some((segment, base, _)) = load.next_read() else { return };
        match load.read(Stretch { key: identity.key, segment, base, bytes }) {
            Ok(()) => self.load_on(read),
            Err(fault) => {
                let cell = load.cell();
                self.loads.remove(&read);
                self.index.lose_cell(cell);
                self.outbox.push(Output::Loaded { read, result: Err(fault) });
            }
        }
    }

    fn on_failed(&mut self, purpose: Purpose, fault: DiskFault) {
        match purpose {
            Purpose::Opening | Purpose::Flush | Purpose::SpareCreate | Purpose::SpareHead { .. } => self.fail(&fault),
            Purpose::Load(read) => {
                self.loads.remove(&read);
                self.outbox.push(Output::Loaded { read, result: Err(fault) });
            }
            // Space is no longer freed, but nothing is lost by it.
            Purpose::Compact(_) | Purpose::Trim(_) | Purpose::TrimUnused => self.compaction.fault = Some(fault),
        }
    }

    /// Nothing is acknowledged any more.
    fn fail(&mut self, fault: &DiskFault) {
        if self.fault.is_some() {
            return;
        }
        self.fault = Some(fault.clone());
        self.mark_at = None;
        if self.opening.take().is_some() || self.booting.take().is_some() || self.identity.is_none() {
            self.outbox.push(Output::Unopened(fault.clone()));
        }
        if let Some(write) = self.open_writes.pop_front() {
            self.outbox.push(Output::PersistFailed(write, fault.clone()));
        }
        self.flush = None;
        self.open_writes.clear();
        self.queue.clear();
        self.queue_bytes = 0;
        for (_, read, _) in std::mem::take(&mut self.waiting_loads) {
            self.outbox.push(Output::Loaded { read, result: Err(fault.clone()) });
        }
    }

    fn on_persist(&mut self, write: WriteId, batch: WriteBatch) {
        if let Some(fault) = &self.fault {
            self.outbox.push(Output::PersistFailed(write, fault.clone()));
            return;
        }
        self.open_writes.push_back(write);
        if let Err(fault) = limits::check(&batch) {
            self.fail(&fault);
            return;
        }
        let bytes = limits::batch_bytes(&batch);
        self.queue_bytes += bytes;
        if self.queue_bytes > self.config.queue_bytes_max.max(bytes) {
            self.fail(&DiskFault::Failed(format!("it does not keep up: {} bytes wait", self.queue_bytes)));
            return;
        }
        self.accepted += 1;
        self.queue.push_back(Waiting { bytes, records: batch.ops.into_iter().map(Record::Op).collect() });
    }

    fn on_load(&mut self, read: ReadId, key: StoreKey) {
        match &self.fault {
            Some(fault) => self.outbox.push(Output::Loaded { read, result: Err(fault.clone()) }),
            None => self.waiting_loads.push_back((self.accepted, read, key)),
        }
    }

    fn ask(&mut self, purpose: Purpose, verb: impl FnOnce(BlockOp) -> Output) {
        let op = BlockOp(self.next_op);
        self.next_op += 1;
        self.verbs.insert(op, purpose);
        self.outbox.push(verb(op));
    }
}

impl Machine for Store {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Persist { write, batch } => self.on_persist(write, batch),
            Input::Load { read, key } => self.on_load(read, key),
            Input::Done { op, bytes } => {
                if let Some(purpose) = self.verbs.remove(&op) {
                    self.on_done(now, purpose, bytes.unwrap_or_default());
                }
            }
            Input::Failed { op, fault } => {
                if let Some(purpose) = self.verbs.remove(&op) {
                    self.on_failed(purpose, fault);
                }
            }
        }
        self.advance(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        self.advance(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Some(Deadline { at: self.mark_at?, reason: "store: mark what is synced" })
    }
}
