//! A simulated block device: the verbs of [`super::Output`] on memory, where a crash loses, tears and reorders what was
//! not synced, and where faults are injected.
use std::collections::{BTreeMap, BTreeSet};

use super::{
    batch::{DiskFault, StoreOp},
    frame::{self, Check, Header},
    io::{BlockOp, Input, Output, SegmentId},
    record::{Before, Payload, Record},
    segment::Identity,
};
use crate::{
    codec::Blob,
    random::{Rng, Seed},
};

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A simulated disk. Memory: what was written, not what was preallocated.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    segments: BTreeMap<SegmentId, Segment>,
    fail_next_sync: bool,
    fail_next_write: bool,
    limit_bytes: Option<u64>,
    /// Segments whose reads fail.
    unreadable: BTreeSet<SegmentId>,
    /// What was asked of it so far.
    pub counts: Counts,
}

/// What was asked of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `Create`.
    pub creates: u64,
    /// `Write`.
    pub writes: u64,
    /// Bytes of them.
    pub written_bytes: u64,
    /// `Sync`.
    pub syncs: u64,
    /// `Read`.
    pub reads: u64,
    /// `Trim`.
    pub trims: u64,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    size_bytes: u64,
    /// Zeros follow.
    durable: Vec<u8>,
    /// Oldest first.
    unsynced: Vec<(u64, Blob)>,
}

impl Blocks {
    /// The segments there are, and their lengths: what [`super::Store::open`] wants.
    #[must_use]
    pub fn segments(&self) -> Vec<(SegmentId, u64)> {
        self.segments.iter().map(|(segment, of)| (*segment, of.size_bytes)).collect()
    }

    /// Performs a block verb at once. The report is for the driver to hand over when it sees fit; `None`: it is none.
    pub fn perform(&mut self, verb: &Output) -> Option<Input> {
        match verb {
            Output::Create { op, segment, size_bytes } => {
                self.counts.creates += 1;
                Some(report(*op, self.create(*segment, *size_bytes)))
            }
            Output::Write { op, segment, offset, bytes } => {
                self.counts.writes += 1;
                self.counts.written_bytes += bytes.len() as u64;
                Some(report(*op, self.write(*segment, *offset, bytes)))
            }
            Output::Sync { op, segment } => {
                self.counts.syncs += 1;
                Some(report(*op, self.sync(*segment)))
            }
            Output::Read { op, segment, offset, len } => {
                self.counts.reads += 1;
                Some(report(*op, self.read(*segment, *offset, *len).map(Some)))
            }
            Output::Trim { op, segment } => {
                self.counts.trims += 1;
                self.segments.remove(segment);
                Some(report(*op, Ok(None)))
            }
            Output::Booted(_)
            | Output::Unopened(_)
            | Output::Persisted(_)
            | Output::PersistFailed(..)
            | Output::Loaded { .. } => None,
        }
    }

    /// Power is lost: of what was not synced, some seeded part reached the disk.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.fail_next_sync = false;
        self.fail_next_write = false;
        for segment in self.segments.values_mut() {
            segment.crash(rng);
        }
    }

    /// The process is killed: the system still has all that was written, and will sync it.
    pub fn kill(&mut self) {
        for segment in self.segments.values_mut() {
            segment.settle();
        }
    }

    /// The next `Sync` fails; what it was for may or may not be on the disk.
    pub fn fail_next_sync(&mut self) {
        self.fail_next_sync = true;
    }

    /// The next `Write` fails, and leaves nothing.
    pub fn fail_next_write(&mut self) {
        self.fail_next_write = true;
    }

    /// Segments may take no more than this in all; `u64::MAX` lifts it.
    pub fn fill(&mut self, limit_bytes: u64) {
        self.limit_bytes = Some(limit_bytes);
    }

    /// Reads of a segment fail from now on, or no longer.
    pub fn fail_reads(&mut self, segment: SegmentId, failing: bool) {
        if failing {
            self.unreadable.insert(segment);
        } else {
            self.unreadable.remove(&segment);
        }
    }

    /// A bit on the disk rots. Nothing happens where nothing was ever written.
    pub fn flip_bit(&mut self, segment: SegmentId, offset: u64, bit: u8) {
        let byte = usize::try_from(offset).ok();
        let of = self.segments.get_mut(&segment);
        if let Some(byte) = of.zip(byte).and_then(|(of, offset)| of.durable.get_mut(offset)) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// A stretch on the disk is lost: it reads as zeros.
    pub fn erase(&mut self, segment: SegmentId, offset: u64, len: u64) {
        let Some(of) = self.segments.get_mut(&segment) else { return };
        for at in offset..offset.saturating_add(len) {
            match usize::try_from(at).ok().and_then(|at| of.durable.get_mut(at)) {
                Some(byte) => *byte = 0,
                None => return,
            }
        }
    }

    /// A segment vanishes.
    pub fn remove(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
    }

    /// A segment becomes a copy of one of another disk.
    pub fn replace(&mut self, segment: SegmentId, from: &Self, of: SegmentId) {
        if let Some(copy) = from.segments.get(&of) {
            self.segments.insert(segment, copy.clone());
        }
    }

    /// A segment of `size_bytes` that starts with these bytes, durable.
    pub fn restore(&mut self, segment: SegmentId, size_bytes: u64, bytes: &[u8]) {
        let durable = bytes.to_vec();
        self.segments.insert(segment, Segment { size_bytes, durable, unsynced: Vec::new() });
    }

    /// The durable bytes of a segment, as far as anything was written.
    #[must_use]
    pub fn durable(&self, segment: SegmentId) -> &[u8] {
        self.segments.get(&segment).map_or(&[], |of| &of.durable)
    }

    fn create(&mut self, segment: SegmentId, size_bytes: u64) -> Result<Option<Blob>, DiskFault> {
        let taken: u64 = self.segments.values().map(|of| of.size_bytes).sum();
        if self.limit_bytes.is_some_and(|limit| taken.saturating_add(size_bytes) > limit) {
            return Err(DiskFault::Full);
        }
        let fresh = Segment { size_bytes, ..Segment::default() };
        match self.segments.insert(segment, fresh) {
            Some(_) => Err(DiskFault::Failed(format!("segment {} is there already", segment.0))),
            None => Ok(None),
        }
    }

    fn write(&mut self, segment: SegmentId, offset: u64, bytes: &Blob) -> Result<Option<Blob>, DiskFault> {
        if std::mem::take(&mut self.fail_next_write) {
            return Err(DiskFault::Failed("injected: write".into()));
        }
        let of = self.segments.get_mut(&segment).ok_or_else(|| missing(segment))?;
        if offset.saturating_add(bytes.len() as u64) > of.size_bytes {
            return Err(DiskFault::Failed(format!("write behind the end of segment {}", segment.0)));
        }
        of.unsynced.push((offset, bytes.clone()));
        Ok(None)
    }

    fn sync(&mut self, segment: SegmentId) -> Result<Option<Blob>, DiskFault> {
        if std::mem::take(&mut self.fail_next_sync) {
            return Err(DiskFault::Failed("injected: sync".into()));
        }
        self.segments.get_mut(&segment).ok_or_else(|| missing(segment))?.settle();
        Ok(None)
    }

    fn read(&self, segment: SegmentId, offset: u64, len: u64) -> Result<Blob, DiskFault> {
        let of = self.segments.get(&segment).ok_or_else(|| missing(segment))?;
        if self.unreadable.contains(&segment) {
            return Err(DiskFault::Failed("injected: read".into()));
        }
        let len = len.min(of.size_bytes.saturating_sub(offset));
        let (Ok(start), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else {
            return Err(DiskFault::Failed("longer than memory".into()));
        };
        let mut bytes = vec![0; len];
        place(&mut bytes, start, 0, &of.durable);
        for (at, written) in &of.unsynced {
            place(&mut bytes, start, usize::try_from(*at).unwrap_or(usize::MAX), written);
        }
        Ok(bytes.into())
    }
}

impl Segment {
    /// All that was written is durable.
    fn settle(&mut self) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            self.put(offset, &bytes);
        }
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let Ok(start) = usize::try_from(offset) else { return };
        let end = start.saturating_add(bytes.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(bytes);
    }

    /// Each sector that was written since the last sync holds what some moment left there.
    fn crash(&mut self, rng: &mut Rng) {
        let writes = std::mem::take(&mut self.unsynced);
        // Three kinds of disk: one that keeps order and tears the last, one that loses sectors at random, one that lost all.
        let kind = rng.below(3);
        let whole = rng.below(writes.len() as u64 + 1);
        for (number, (offset, bytes)) in writes.iter().enumerate() {
            let number = number as u64;
            let torn_at = rng.below(bytes.len() as u64 / SECTOR_BYTES as u64 + 2);
            let survivors = rng.below(1_001);
            for (nth, (start, piece)) in sectors(*offset, bytes).enumerate() {
                let survives = match kind {
                    0 => number < whole || (number == whole && (nth as u64) < torn_at),
                    1 => rng.chance(survivors),
                    _ => false,
                };
                if survives {
                    self.put(start, piece);
                }
            }
        }
    }
}

/// A write cut at the borders of sectors.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let into_sector = usize::try_from(offset % SECTOR_BYTES as u64).unwrap_or(0);
    let (first, rest) = bytes.split_at(bytes.len().min(SECTOR_BYTES - into_sector));
    let mut at = offset;
    std::iter::once(first).chain(rest.chunks(SECTOR_BYTES)).map(move |piece| {
        let start = at;
        at += piece.len() as u64;
        (start, piece)
    })
}

/// Copies what of `bytes`, which stand at `at`, falls into `window`, which starts at `start`.
fn place(window: &mut [u8], start: usize, at: usize, bytes: &[u8]) {
    let from = start.max(at);
    let to = start.saturating_add(window.len()).min(at.saturating_add(bytes.len()));
    if from < to {
        window[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
    }
}

fn report(op: BlockOp, result: Result<Option<Blob>, DiskFault>) -> Input {
    match result {
        Ok(bytes) => Input::Done { op, bytes },
        Err(fault) => Input::Failed { op, fault },
    }
}

fn missing(segment: SegmentId) -> DiskFault {
    DiskFault::Failed(format!("there is no segment {}", segment.0))
}

/// The payload of a frame that holds these operations. For those who make segments by hand.
#[must_use]
pub fn payload(ops: &[StoreOp]) -> Blob {
    let records = ops.iter().cloned().map(Record::Op).collect();
    crate::codec::encode(&Payload { before: Before::default(), records })
}

/// A segment of the disk that a store opened with `seed` would format: its head, and a frame around each payload, whole
/// and chained, whatever is in them. What rot or a bug could leave behind every check.
#[must_use]
pub fn sealed_segment(seed: Seed, segment: SegmentId, payloads: &[Blob]) -> Vec<u8> {
    let identity = Identity::draw(seed);
    let mut bytes = identity.head(segment).to_vec();
    let mut previous = Check::default();
    for (seq, payload) in (1..).zip(payloads) {
        let header = Header { seq, synced: seq - 1, life: 1, previous };
        let offset = bytes.len() as u64;
        previous = frame::seal(identity.key, segment, offset, header, payload, &mut bytes);
    }
    bytes
}
