//! How much of each segment is still needed: what compaction goes by.
use std::collections::BTreeMap;

use super::io::SegmentId;

/// Where a frame starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
}

/// A frame's place and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) spot: Spot,
    pub(super) len: u64,
}

/// Every segment that holds frames, oldest first.
#[derive(Debug, Default)]
pub(super) struct Usage {
    segments: BTreeMap<SegmentId, SegmentUse>,
}

/// One segment.
#[derive(Debug, Default)]
pub(super) struct SegmentUse {
    /// Bytes of all frames ever written to it.
    written: u64,
    /// Bytes of them that are still needed.
    live: u64,
    /// Frames of which anything is needed, by offset.
    frames: BTreeMap<u64, FrameUse>,
}

#[derive(Debug)]
struct FrameUse {
    len: u64,
    /// Bytes of things in it that are no longer needed. The frame's overhead is needed while anything in it is.
    dead: u64,
    /// Things in it that are needed.
    things: u64,
}

impl Usage {
    /// A frame was written.
    pub(super) fn wrote(&mut self, place: Place) {
        self.segments.entry(place.spot.segment).or_default().written += place.len;
    }

    /// One more thing in the frame is needed.
    pub(super) fn hold(&mut self, place: Place) {
        let segment = self.segments.entry(place.spot.segment).or_default();
        let frame = segment.frames.entry(place.spot.offset).or_insert_with(|| {
            segment.live += place.len;
            FrameUse { len: place.len, dead: 0, things: 0 }
        });
        frame.things += 1;
    }

    /// A thing of `bytes` in the frame is no longer needed.
    pub(super) fn release(&mut self, spot: Spot, bytes: u64) {
        self.shrink(spot, bytes);
        let Some(segment) = self.segments.get_mut(&spot.segment) else { return };
        let Some(frame) = segment.frames.get_mut(&spot.offset) else { return };
        frame.things -= 1;
        if frame.things == 0 {
            segment.live -= frame.len - frame.dead;
            segment.frames.remove(&spot.offset);
        }
    }

    /// `bytes` of a thing in the frame are no longer needed, but the rest of it is.
    pub(super) fn shrink(&mut self, spot: Spot, bytes: u64) {
        let Some(segment) = self.segments.get_mut(&spot.segment) else { return };
        let Some(frame) = segment.frames.get_mut(&spot.offset) else { return };
        let bytes = bytes.min(frame.len - frame.dead);
        frame.dead += bytes;
        segment.live -= bytes;
    }

    /// The oldest segment, if it is not the one in which frames are now written.
    pub(super) fn oldest_but(&self, current: SegmentId) -> Option<SegmentId> {
        self.segments.first_key_value().map(|(segment, _)| *segment).filter(|segment| *segment != current)
    }

    /// The needed frames of a segment from `offset` on.
    pub(super) fn frames_from(&self, segment: SegmentId, offset: u64) -> impl Iterator<Item = Place> + '_ {
        let frames = self.segments.get(&segment).into_iter().flat_map(move |segment| segment.frames.range(offset..));
        frames.map(move |(offset, frame)| Place { spot: Spot { segment, offset: *offset }, len: frame.len })
    }

    /// How long the frame is, if anything in it is needed.
    pub(super) fn place(&self, spot: Spot) -> Option<Place> {
        let len = self.segments.get(&spot.segment)?.frames.get(&spot.offset)?.len;
        Some(Place { spot, len })
    }

    pub(super) fn trimmed(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
    }

    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Bytes written and bytes still needed, of all segments.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.segments.values().fold((0, 0), |(written, live), one| (written + one.written, live + one.live))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT: Spot = Spot { segment: SegmentId(1), offset: 4096 };
    const PLACE: Place = Place { spot: SPOT, len: 1_000 };

    #[test]
    fn a_frame_is_needed_while_anything_in_it_is() {
        let mut usage = Usage::default();
        usage.wrote(PLACE);
        usage.hold(PLACE);
        usage.hold(PLACE);
        assert_eq!(usage.totals(), (1_000, 1_000));
        usage.release(SPOT, 600);
        assert_eq!(usage.totals(), (1_000, 400));
        assert_eq!(usage.frames_from(SegmentId(1), 0).count(), 1);
        usage.release(SPOT, 100);
        assert_eq!(usage.totals(), (1_000, 0));
        assert_eq!(usage.frames_from(SegmentId(1), 0).count(), 0);
    }
}
