//! Opening: first the heads of all segments, which say whose they are, then their frames, oldest first.
use super::{
    batch::DiskFault,
    io::SegmentId,
    replay::{Replay, Replayed},
    segment::{FORMAT, FRAMES_AT, Head, Identity, SEGMENT_BYTES_MAX, read_head},
};
use crate::codec::Blob;

/// Opening under way: it wants one read after the other.
#[derive(Debug)]
pub(super) struct Opening {
    segments: Vec<Found>,
    identity: Option<Identity>,
    replay: Option<Replay>,
    /// Segments whose head was read, then whose frames were.
    heads: usize,
    frames: usize,
}

#[derive(Debug)]
struct Found {
    segment: SegmentId,
    len: u64,
    head_reads: bool,
}

/// What opening wants next.
#[derive(Debug)]
pub(super) enum Next {
    /// These bytes, handed to [`Opening::read`].
    Read { segment: SegmentId, offset: u64, len: u64 },
    /// Nothing was ever acknowledged here: make a new log, and take these away.
    Format { leftovers: Vec<SegmentId> },
    /// Go on with this log.
    Continue { identity: Identity, replayed: Box<Replayed>, spare: Option<(SegmentId, u64)>, leftovers: Vec<SegmentId> },
}

impl Opening {
    pub(super) fn new(mut segments: Vec<(SegmentId, u64)>) -> Result<Self, DiskFault> {
        segments.sort_unstable();
        if let Some((segment, len)) = segments.iter().find(|(_, len)| *len > SEGMENT_BYTES_MAX) {
            return Err(DiskFault::Corrupt(format!("segment {} has {len} bytes: this store never made it", segment.0)));
        }
        let found = segments.into_iter().map(|(segment, len)| Found { segment, len, head_reads: false });
        Ok(Self { segments: found.collect(), identity: None, replay: None, heads: 0, frames: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Next, DiskFault> {
        if let Some(found) = self.segments.get(self.heads) {
            return Ok(Next::Read { segment: found.segment, offset: 0, len: FRAMES_AT.min(found.len) });
        }
        if let Some(found) = self.segments.get(self.frames) {
            let len = found.len.saturating_sub(FRAMES_AT);
            return Ok(Next::Read { segment: found.segment, offset: FRAMES_AT.min(found.len), len });
        }
        let Some((identity, replay)) = self.identity.zip(self.replay.take()) else {
            return Ok(Next::Format { leftovers: self.segments.iter().map(|found| found.segment).collect() });
        };
        let replayed = replay.finish()?;
        let (spare, leftovers) = self.sort_empty(&replayed);
        Ok(Next::Continue { identity, replayed: Box::new(replayed), spare, leftovers })
    }

    /// The bytes that [`Next::Read`] asked for.
    pub(super) fn read(&mut self, bytes: &Blob) -> Result<(), DiskFault> {
        match self.segments.get_mut(self.heads) {
            Some(found) => {
                self.heads += 1;
                let head = read_head(found.segment, bytes);
                found.head_reads = matches!(head, Head::Ours(_));
                let segment = found.segment;
                self.head(segment, &head)
            }
            None => self.frames(bytes),
        }
    }

    fn head(&mut self, segment: SegmentId, head: &Head) -> Result<(), DiskFault> {
        match head {
            Head::Ours(identity) => match self.identity.replace(*identity) {
                Some(other) if other != *identity => Err(DiskFault::Corrupt(format!(
                    "segment {} belongs to another disk than those before it",
                    segment.0
                ))),
                Some(_) | None => Ok(()),
            },
            Head::Unreadable => Ok(()),
            Head::Version(version) => Err(DiskFault::Failed(format!(
                "segment {} is of format {version}, and this version reads format {FORMAT}: run the version that wrote it",
                segment.0
            ))),
            Head::Misnamed(number) => {
                Err(DiskFault::Corrupt(format!("segment {} bears the number {} inside", segment.0, number.0)))
            }
        }
    }

    fn frames(&mut self, bytes: &Blob) -> Result<(), DiskFault> {
        let Some(found) = self.segments.get(self.frames) else { return Ok(()) };
        self.frames += 1;
        let Some(identity) = self.identity else {
            // Heads are durable before anything stands behind them.
            let blank = bytes.iter().all(|byte| *byte == 0);
            let rot = || DiskFault::Corrupt(format!("the head of segment {} is unreadable", found.segment.0));
            return if blank { Ok(()) } else { Err(rot()) };
        };
        let replay = self.replay.get_or_insert_with(|| Replay::new(identity));
        replay.segment(found.segment, found.len, bytes)
    }

    /// One segment without frames can be written next; the others were made for nothing.
    fn sort_empty(&self, replayed: &Replayed) -> (Option<(SegmentId, u64)>, Vec<SegmentId>) {
        let tail = replayed.head.at.map(|end| end.segment);
        let usable = |segment: SegmentId| {
            tail < Some(segment) && self.segments.iter().any(|found| found.segment == segment && found.head_reads)
        };
        let spare = replayed.empty.iter().find(|empty| empty.blank && usable(empty.segment));
        let spare = spare.map(|empty| (empty.segment, empty.size));
        let leftovers = replayed.empty.iter().map(|empty| empty.segment);
        (spare, leftovers.filter(|segment| Some(*segment) != spare.map(|(spare, _)| spare)).collect())
    }
}
