//! Where the next frame goes, and the chain that it continues.
use super::{
    frame::{self, Check, Header, Key},
    io::SegmentId,
    record::{Payload, Recent, Record},
    segment::FRAMES_AT,
    usage::{Place, Spot},
};
use crate::codec;

/// The end of the log.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) key: Key,
    /// This boot.
    pub(super) life: u64,
    /// Of the last frame laid out.
    pub(super) seq: u64,
    /// Of the last frame known durable.
    pub(super) synced: u64,
    pub(super) previous: Check,
    pub(super) recent: Recent,
    /// `None`: the next frame starts a segment.
    pub(super) at: Option<End>,
}

/// Where in a segment the next frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// A frame that did not fit: a segment of this size would take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    pub(super) segment_bytes: u64,
}

impl Head {
    /// Lays a frame out behind those in `out`, which will be written as one.
    pub(super) fn lay(
        &mut self,
        records: Vec<Record>,
        out: &mut Vec<u8>,
    ) -> Result<(Place, Vec<Record>), (NoRoom, Vec<Record>)> {
        let seq = self.seq + 1;
        let payload = Payload { before: self.recent.before(), records };
        let bytes = codec::encode(&payload);
        let records = payload.records;
        let len = frame::frame_bytes(bytes.len());
        let room = NoRoom { segment_bytes: FRAMES_AT + len };
        let Some(end) = &mut self.at else { return Err((room, records)) };
        if end.offset + len > end.size {
            return Err((room, records));
        }
        let header = Header { seq, synced: self.synced, life: self.life, previous: self.previous };
        self.previous = frame::seal(self.key, end.segment, end.offset, header, &bytes, out);
        self.recent.note(len, &records);
        self.seq = seq;
        let place = Place { spot: Spot { segment: end.segment, offset: end.offset }, len };
        end.offset += len;
        Ok((place, records))
    }
}
