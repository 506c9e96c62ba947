//! Freeing space: what is still needed of the oldest segment is written again at the head, piece by piece, then the
//! segment is trimmed.
//!
//! Always the oldest, as in a circular log: what ended something (a delete, a drop, an append over old entries) stands
//! behind it, so it may go when it is the oldest itself. Nothing is moved until more than half of all that is written
//! is garbage, so over a turn at most as much is moved as is freed.
use super::{
    batch::DiskFault,
    config::StoreConfig,
    frame::{Key, Stretch},
    index::Index,
    io::SegmentId,
    load::records,
    record::Record,
    usage::{Spot, Usage},
};
use crate::codec::Blob;

/// Compaction under way.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    /// A read or trim failed: no space is freed any more.
    pub(super) fault: Option<DiskFault>,
    reading: bool,
    trimming: bool,
    /// Read, but not yet written anew.
    piece: Option<(Spot, Blob)>,
    /// The frames that emptied this segment are durable once this one is.
    trim_after: Option<(SegmentId, u64)>,
}

impl Compaction {
    /// The next piece of the oldest segment to read, if moving it pays.
    pub(super) fn next_read(&mut self, usage: &Usage, current: SegmentId, config: &StoreConfig) -> Option<(Spot, u64)> {
        let (written, live) = usage.totals();
        let pays = usage.segments() > config.segments_min && live < written / 2;
        if !pays || self.is_busy() || self.piece.is_some() {
            return None;
        }
        let mut frames = usage.frames_from(usage.oldest_but(current)?, 0);
        let first = frames.next()?;
        let end_of = |offset: u64, len: u64| offset + len - first.spot.offset;
        let fitting = frames.map(|place| end_of(place.spot.offset, place.len));
        let len = fitting.take_while(|len| *len <= config.compact_bytes).last().unwrap_or(first.len);
        self.reading = true;
        Some((first.spot, len))
    }

    /// The piece that was asked for.
    pub(super) fn read(&mut self, spot: Spot, bytes: Blob) {
        self.reading = false;
        self.piece = Some((spot, bytes));
    }

    /// The records that keep what is needed of the piece. Cells that no longer read are lost by it.
    pub(super) fn carry(&self, index: &mut Index, key: Key) -> Vec<Record> {
        let Some((start, bytes)) = &self.piece else { return Vec::new() };
        let stretch = Stretch { key, segment: start.segment, base: start.offset, bytes };
        let mut carried = Vec::new();
        for spot in self.spots(&index.usage) {
            let said = stretch.read(spot.offset).and_then(|frame| records(&frame));
            carried.extend(index.carry(spot, said.as_deref()));
        }
        carried
    }

    /// What `carry` gave is laid out: nothing in the piece is needed any more.
    pub(super) fn carried(&mut self, usage: &Usage) {
        if let Some(left) = self.spots(usage).first() {
            let (segment, offset) = (left.segment.0, left.offset);
            self.fault = Some(DiskFault::Failed(format!("segment {segment} at byte {offset}: cannot be moved")));
        }
        self.piece = None;
    }

    pub(super) fn has_piece(&self) -> bool {
        self.piece.is_some()
    }

    /// The oldest segment, once nothing in it is needed and all that replaces it is durable.
    pub(super) fn next_trim(&mut self, usage: &Usage, current: SegmentId, seq: u64, synced: u64) -> Option<SegmentId> {
        let oldest = usage.oldest_but(current)?;
        if self.is_busy() || usage.frames_from(oldest, 0).next().is_some() {
            return None;
        }
        let (_, after) = *self.trim_after.get_or_insert((oldest, seq));
        (synced >= after).then_some(oldest)
    }

    pub(super) fn trim(&mut self) {
        self.trimming = true;
    }

    pub(super) fn trimmed(&mut self) {
        self.trimming = false;
        self.trim_after = None;
    }

    fn is_busy(&self) -> bool {
        self.fault.is_some() || self.reading || self.trimming
    }

    /// The needed frames of the piece.
    fn spots(&self, usage: &Usage) -> Vec<Spot> {
        let Some((start, bytes)) = &self.piece else { return Vec::new() };
        let end = start.offset + bytes.len() as u64;
        let frames = usage.frames_from(start.segment, start.offset).map(|place| place.spot);
        frames.take_while(|spot| spot.offset < end).collect()
    }
}
