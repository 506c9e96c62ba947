//! A disk: segments whose writes are durable only once a sync asked for later is done. A crash keeps of what was not
//! synced a seeded choice of sectors: all, none, or torn.
use std::collections::BTreeMap;

use bocage_protocol::{
    codec::Blob,
    random::Rng,
    store::{BlockOp, DiskFault, Input, Output, SegmentId},
};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What says that a segment is one stands before.
const HEAD_BYTES: u64 = 4_096;

/// A simulated disk. Outlives the process that uses it.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    segments: BTreeMap<SegmentId, Segment>,
    /// Verbs under way.
    verbs: BTreeMap<BlockOp, Verb>,
    /// Each sync fails.
    pub(crate) failing: bool,
    /// It takes no new segment.
    pub(crate) full: bool,
    /// A planted bug: each sync says that it is done and does nothing.
    pub(crate) lying: bool,
}

#[derive(Debug, Default)]
struct Segment {
    size_bytes: u64,
    /// What survives a crash, up to the last byte that is not zero by birth.
    durable: Vec<u8>,
    /// Writes not synced yet, oldest first.
    unsynced: Vec<(u64, Blob)>,
}

#[derive(Debug)]
enum Verb {
    Create(SegmentId, u64),
    Write,
    /// Makes the first so many unsynced writes durable.
    Sync(SegmentId, usize),
    Read(SegmentId, u64, u64),
    Trim(SegmentId),
}

/// How long a verb takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// It waits for the medium.
    Sync,
    /// It does not.
    Quick,
}

impl Blocks {
    /// The segments there are, with their sizes.
    pub(crate) fn segments(&self) -> Vec<(SegmentId, u64)> {
        self.segments.iter().map(|(id, segment)| (*id, segment.size_bytes)).collect()
    }

    /// Takes a verb on; `None` if the output is not a verb.
    pub(crate) fn begin(&mut self, output: &Output) -> Option<(BlockOp, Cost)> {
        let (op, verb, cost) = match output {
            Output::Create { op, segment, size_bytes } => (*op, Verb::Create(*segment, *size_bytes), Cost::Sync),
            Output::Write { op, segment, offset, bytes } => {
                let target = self.segments.get_mut(segment)?;
                assert!(offset + bytes.len() as u64 <= target.size_bytes, "a write stays within its segment");
                target.unsynced.push((*offset, bytes.clone()));
                (*op, Verb::Write, Cost::Quick)
            }
            Output::Sync { op, segment } => {
                let writes = self.segments.get(segment)?.unsynced.len();
                (*op, Verb::Sync(*segment, writes), Cost::Sync)
            }
            Output::Read { op, segment, offset, len } => (*op, Verb::Read(*segment, *offset, *len), Cost::Quick),
            Output::Trim { op, segment } => (*op, Verb::Trim(*segment), Cost::Quick),
            Output::Booted(_)
            | Output::Unopened(_)
            | Output::Persisted(_)
            | Output::PersistFailed(..)
            | Output::Loaded { .. } => return None,
        };
        self.verbs.insert(op, verb);
        Some((op, cost))
    }

    /// A verb's time has come: what the store is told.
    pub(crate) fn complete(&mut self, op: BlockOp) -> Option<Input> {
        let done = |bytes| Some(Input::Done { op, bytes });
        match self.verbs.remove(&op)? {
            Verb::Create(..) if self.full => Some(Input::Failed { op, fault: DiskFault::Full }),
            Verb::Create(segment, size_bytes) => {
                self.segments.entry(segment).or_default().size_bytes = size_bytes;
                done(None)
            }
            Verb::Write => done(None),
            Verb::Sync(..) if self.failing => {
                Some(Input::Failed { op, fault: DiskFault::Failed("the medium does not answer".into()) })
            }
            Verb::Sync(segment, writes) => {
                if !self.lying {
                    self.sync(segment, writes);
                }
                done(None)
            }
            Verb::Read(segment, offset, len) => {
                let segment = self.segments.get(&segment);
                done(Some(segment.map(|segment| segment.read(offset, len)).unwrap_or_default()))
            }
            Verb::Trim(segment) => {
                self.segments.remove(&segment);
                done(None)
            }
        }
    }

    fn sync(&mut self, segment: SegmentId, writes: usize) {
        let Some(target) = self.segments.get_mut(&segment) else { return };
        let writes = writes.min(target.unsynced.len());
        let synced: Vec<_> = target.unsynced.drain(..writes).collect();
        for (offset, bytes) in &synced {
            target.store(*offset, bytes);
        }
        // A sync asked for meanwhile counted these too.
        for verb in self.verbs.values_mut() {
            if let Verb::Sync(other, count) = verb
                && *other == segment
            {
                *count = count.saturating_sub(writes);
            }
        }
    }

    /// The machine or process dies: verbs under way are forgotten, unsynced writes kept, lost or torn.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        for verb in std::mem::take(&mut self.verbs).into_values() {
            if let Verb::Create(segment, size_bytes) = verb
                && rng.chance(500)
            {
                self.segments.entry(segment).or_default().size_bytes = size_bytes;
            }
        }
        for segment in self.segments.values_mut() {
            for (offset, bytes) in std::mem::take(&mut segment.unsynced) {
                if self.lying || rng.chance(400) {
                    continue;
                }
                let torn = rng.chance(500);
                for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if !torn || rng.chance(500) {
                        segment.store(offset + (number * SECTOR_BYTES) as u64, sector);
                    }
                }
            }
        }
    }

    /// The disk is replaced by an empty one.
    pub(crate) fn wipe(&mut self) {
        *self = Self { failing: self.failing, full: self.full, lying: self.lying, ..Self::default() };
    }

    /// Whether a fault keeps it from working.
    pub(crate) const fn fails(&self) -> bool {
        self.failing || self.full
    }

    /// Some of what was synced is no longer what it was: one byte in each of a few sectors, heads of segments spared.
    pub(crate) fn rot(&mut self, rng: &mut Rng) {
        /// So many sectors of each segment.
        const SECTORS: u64 = 3;
        for segment in self.segments.values_mut() {
            let len = segment.durable.len() as u64;
            for _ in 0..SECTORS {
                let at = HEAD_BYTES + rng.below(len.saturating_sub(HEAD_BYTES).max(1));
                if let Some(byte) = usize::try_from(at).ok().and_then(|at| segment.durable.get_mut(at)) {
                    *byte ^= 0x40;
                }
            }
        }
    }
}

impl Segment {
    fn store(&mut self, offset: u64, bytes: &[u8]) {
        let start = usize::try_from(offset).expect("segments are smaller than memory");
        let end = start + bytes.len();
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(bytes);
    }

    /// What a reader sees: unsynced writes too. Shorter than asked at the end of the segment.
    fn read(&self, offset: u64, len: u64) -> Blob {
        let end = (offset + len).min(self.size_bytes);
        let len = usize::try_from(end.saturating_sub(offset)).expect("segments are smaller than memory");
        let mut bytes = vec![0; len];
        let mut lay = |at: u64, from: &[u8]| {
            let (start, stop) = (at.max(offset), (at + from.len() as u64).min(end));
            if start < stop {
                let part = |from: u64| usize::try_from(from).expect("within one segment");
                bytes[part(start - offset)..part(stop - offset)]
                    .copy_from_slice(&from[part(start - at)..part(stop - at)]);
            }
        };
        lay(0, &self.durable);
        self.unsynced.iter().for_each(|(at, written)| lay(*at, written));
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::random::Seed;

    use super::*;

    const SEGMENT: SegmentId = SegmentId(1);

    fn with_segment() -> Blocks {
        let mut blocks = Blocks::default();
        run(&mut blocks, &Output::Create { op: BlockOp(0), segment: SEGMENT, size_bytes: 8_192 });
        blocks
    }

    fn run(blocks: &mut Blocks, output: &Output) -> Input {
        let (op, _) = blocks.begin(output).unwrap();
        blocks.complete(op).unwrap()
    }

    fn write(offset: u64, bytes: &[u8]) -> Output {
        Output::Write { op: BlockOp(1), segment: SEGMENT, offset, bytes: bytes.into() }
    }

    fn read(blocks: &mut Blocks, offset: u64, len: u64) -> Vec<u8> {
        match run(blocks, &Output::Read { op: BlockOp(2), segment: SEGMENT, offset, len }) {
            Input::Done { bytes: Some(bytes), .. } => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_synced_survives_every_crash() {
        for seed in 0..50 {
            let mut blocks = with_segment();
            run(&mut blocks, &write(100, &[7; 2_000]));
            run(&mut blocks, &Output::Sync { op: BlockOp(3), segment: SEGMENT });
            run(&mut blocks, &write(3_000, &[8; 2_000]));
            blocks.crash(&mut Seed([seed; 32]).rng());
            assert_eq!(read(&mut blocks, 100, 2_000), [7; 2_000]);
            assert_eq!(blocks.segments(), [(SEGMENT, 8_192)]);
        }
    }

    #[test]
    fn what_was_not_synced_is_kept_lost_or_torn() {
        let mut fates = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut blocks = with_segment();
            run(&mut blocks, &write(0, &[9; 4_096]));
            assert_eq!(read(&mut blocks, 8_000, 1_000).len(), 192, "short at the end");
            blocks.crash(&mut Seed([seed; 32]).rng());
            let kept = read(&mut blocks, 0, 4_096).into_iter().filter(|byte| *byte == 9).count();
            assert_eq!(kept % SECTOR_BYTES, 0);
            fates.insert(match kept {
                0 => "lost",
                4_096 => "kept",
                _ => "torn",
            });
        }
        assert_eq!(fates.len(), 3);
    }

    #[test]
    fn a_sync_covers_the_writes_before_it_and_no_later_ones() {
        let mut blocks = with_segment();
        blocks.begin(&write(0, &[1; 512])).unwrap();
        blocks.begin(&Output::Sync { op: BlockOp(5), segment: SEGMENT }).unwrap();
        blocks.begin(&write(512, &[2; 512])).unwrap();
        blocks.begin(&Output::Sync { op: BlockOp(6), segment: SEGMENT }).unwrap();
        blocks.complete(BlockOp(5)).unwrap();
        assert_eq!(blocks.segments[&SEGMENT].durable.len(), 512);
        blocks.begin(&write(1_024, &[3; 512])).unwrap();
        blocks.complete(BlockOp(6)).unwrap();
        assert_eq!(blocks.segments[&SEGMENT].durable.len(), 1_024);
        assert_eq!(blocks.segments[&SEGMENT].unsynced.len(), 1);
    }

    #[test]
    fn a_lying_disk_forgets_what_it_called_durable() {
        let mut blocks = with_segment();
        blocks.lying = true;
        run(&mut blocks, &write(0, &[9; 512]));
        run(&mut blocks, &Output::Sync { op: BlockOp(3), segment: SEGMENT });
        assert_eq!(read(&mut blocks, 0, 512), [9; 512]);
        blocks.crash(&mut Seed([1; 32]).rng());
        assert_eq!(read(&mut blocks, 0, 512), [0; 512]);
    }

    #[test]
    fn a_full_disk_takes_no_new_segment_and_goes_on_with_those_it_has() {
        let mut blocks = with_segment();
        blocks.full = true;
        let refused = run(&mut blocks, &Output::Create { op: BlockOp(3), segment: SegmentId(2), size_bytes: 8_192 });
        assert!(matches!(refused, Input::Failed { fault: DiskFault::Full, .. }), "{refused:?}");
        run(&mut blocks, &write(0, b"old"));
        assert_eq!(read(&mut blocks, 0, 3), b"old");
    }

    #[test]
    fn rot_changes_some_bytes_behind_the_head_of_a_segment() {
        let mut blocks = with_segment();
        run(&mut blocks, &write(0, &[0; 8_192]));
        run(&mut blocks, &Output::Sync { op: BlockOp(3), segment: SEGMENT });
        blocks.rot(&mut Seed([3; 32]).rng());
        let durable = &blocks.segments[&SEGMENT].durable;
        let rotten: Vec<usize> = (0..durable.len()).filter(|at| durable[*at] != 0).collect();
        assert!((1..=3).contains(&rotten.len()) && rotten.iter().all(|at| *at >= 4_096), "{rotten:?}");
    }
}
