//! From the bytes of all segments back to what was durable. Pure: it is handed one segment after the other.
use std::collections::{BTreeMap, VecDeque};

use super::{
    batch::{DiskFault, HardState, LogEntry, StoreOp},
    boot::{Boot, CellBoot, CellSnapshot, Rot},
    frame::{Check, FRAME_BYTES_MIN, Frame, Stretch},
    head::{End, Head},
    index::Index,
    io::SegmentId,
    record::{Name, Payload, Recent, Record, Subject},
    segment::{FRAMES_AT, Identity, index},
    usage::{Place, Spot},
};
use crate::{
    codec::{self, Blob},
    id::CellId,
};

/// Only the very first write of a disk's life, one mark, may leave no frame at all: nothing was acknowledged before it.
/// Whatever is longer was once a log.
const FIRST_WRITE_BYTES_MAX: u64 = 512;

/// Replay under way.
#[derive(Debug)]
pub(super) struct Replay {
    identity: Identity,
    index: Index,
    contents: Contents,
    last: Option<Last>,
    recent: Recent,
    /// Frames at the end that nothing says are synced.
    unsynced: VecDeque<(u64, Spot)>,
    /// Bytes before the first frame that reads, in segments of which nothing does.
    unexplained_bytes: u64,
    /// Of the segment with the last frame: its bytes from `FRAMES_AT` on.
    tail: Blob,
    empty: Vec<Empty>,
}

/// A segment without a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Empty {
    pub(super) segment: SegmentId,
    pub(super) size: u64,
    /// Nothing was ever written behind its head.
    pub(super) blank: bool,
}

/// The last frame that read.
#[derive(Clone, Copy, Debug)]
struct Last {
    seq: u64,
    life: u64,
    check: Check,
    end: End,
}

/// What replay found.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) index: Index,
    pub(super) head: Head,
    pub(super) boot: Boot,
    /// Bytes at the end that read, but may not be durable: to be written again before anything is built on them.
    pub(super) unsynced: Option<(Spot, Blob)>,
    /// Segments without a frame.
    pub(super) empty: Vec<Empty>,
}

impl Replayed {
    /// Of a disk on which there is nothing yet.
    pub(super) fn nothing(identity: Identity) -> Self {
        Replay::new(identity).finish().expect("replay finds no fault where there is nothing")
    }
}

impl Replay {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            index: Index::default(),
            contents: Contents::default(),
            last: None,
            recent: Recent::default(),
            unsynced: VecDeque::new(),
            unexplained_bytes: 0,
            tail: Blob::default(),
            empty: Vec::new(),
        }
    }

    /// The next segment, in rising order. `bytes`: from `FRAMES_AT` on.
    pub(super) fn segment(&mut self, segment: SegmentId, size: u64, bytes: &Blob) -> Result<(), DiskFault> {
        let stretch = Stretch { key: self.identity.key, segment, base: FRAMES_AT, bytes };
        let mut offset = FRAMES_AT;
        let mut found = false;
        loop {
            let next = stretch.read(offset).filter(|frame| self.follows(frame));
            let next = match next {
                Some(frame) => frame,
                None => match self.resume(stretch, offset) {
                    Some(frame) => {
                        self.lose_until(&frame, offset)?;
                        frame
                    }
                    None => break,
                },
            };
            offset = next.end;
            found = true;
            self.frame(&next, segment, size)?;
        }
        if found {
            self.tail = bytes.clone();
        } else {
            let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            self.empty.push(Empty { segment, size, blank: written == 0 });
            if self.last.is_none() {
                self.unexplained_bytes += written;
            }
        }
        Ok(())
    }

    /// It is the one after the last. The first that reads at the very start may be any: older segments were trimmed.
    fn follows(&self, frame: &Frame<'_>) -> bool {
        match self.last {
            Some(last) => frame.header.seq == last.seq + 1 && frame.header.previous == last.check,
            None => self.unexplained_bytes == 0,
        }
    }

    /// Behind a frame that does not read: the first of those frames that prove it was synced. `None`: what is here is
    /// the torn tail of a crash, or nothing.
    fn resume<'a>(&self, stretch: Stretch<'a>, offset: u64) -> Option<Frame<'a>> {
        let expected = self.last.map_or(1, |last| last.seq + 1);
        let mut chain: Option<Frame<'a>> = None;
        let mut start = None;
        for frame in stretch.search(offset) {
            let chained =
                chain.is_some_and(|before| before.end == frame.offset && before.check == frame.header.previous);
            if !chained {
                start = Some(frame);
            }
            chain = Some(frame);
            if frame.header.synced >= expected && frame.header.seq > expected {
                return start;
            }
        }
        None
    }

    /// The frames between the last and this one rotted.
    fn lose_until(&mut self, frame: &Frame<'_>, offset: u64) -> Result<(), DiskFault> {
        let gap_bytes = self.unexplained_bytes + frame.offset - offset;
        let first_lost = match self.last {
            Some(last) => last.seq + 1,
            None => frame.header.seq.saturating_sub(gap_bytes / FRAME_BYTES_MIN).max(1),
        };
        let Some(names) = payload(frame)?.before.touched(first_lost, frame.header.seq) else {
            let last_lost = frame.header.seq.saturating_sub(1);
            return Err(DiskFault::Corrupt(format!(
                "frames {first_lost} to {last_lost} of the log are unreadable, and nothing says what was in them"
            )));
        };
        for name in names {
            self.index.lose(name, Subject::Unknown, None);
        }
        self.recent.forget();
        self.unexplained_bytes = 0;
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>, segment: SegmentId, size: u64) -> Result<(), DiskFault> {
        let Payload { records, .. } = payload(frame)?;
        let spot = Spot { segment, offset: frame.offset };
        let place = Place { spot, len: frame.end - frame.offset };
        self.index.apply(&records, place);
        self.recent.note(place.len, &records);
        for record in records {
            self.contents.apply(record);
        }
        self.unsynced.push_back((frame.header.seq, spot));
        while self.unsynced.front().is_some_and(|(seq, _)| *seq <= frame.header.synced) {
            self.unsynced.pop_front();
        }
        let end = End { segment, offset: frame.end, size };
        self.last = Some(Last { seq: frame.header.seq, life: frame.header.life, check: frame.check, end });
        Ok(())
    }

    /// All segments were handed over.
    pub(super) fn finish(mut self) -> Result<Replayed, DiskFault> {
        if self.last.is_none() && self.unexplained_bytes > FIRST_WRITE_BYTES_MAX {
            return Err(DiskFault::Corrupt("no frame of the log is readable".into()));
        }
        self.index.settle();
        let (life, seq, previous, at) = match self.last {
            Some(last) => (last.life, last.seq, last.check, Some(last.end)),
            None => (0, 0, Check::default(), None),
        };
        let unsynced = self.unsynced.front().map(|(_, spot)| *spot).zip(at).map(|(spot, end)| {
            let bytes = self.tail.0.slice(index(spot.offset - FRAMES_AT)..index(end.offset - FRAMES_AT));
            (spot, Blob(bytes))
        });
        let boot = Boot {
            disk: self.identity.disk,
            boots: life + 1,
            keyed: self.index.keyed.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect(),
            cells: self.contents.cells(&self.index),
            rot: rot(&self.index),
        };
        let synced = self.unsynced.front().map_or(seq, |(first, _)| first - 1);
        let Self { index, recent, identity, empty, .. } = self;
        let head = Head { key: identity.key, life: life + 1, seq, synced, previous, recent, at };
        Ok(Replayed { index, head, boot, unsynced, empty })
    }
}

fn payload(frame: &Frame<'_>) -> Result<Payload, DiskFault> {
    let corrupt = |error: &dyn std::fmt::Display| DiskFault::Corrupt(format!("frame {}: {error}", frame.header.seq));
    let payload: Payload = codec::decode("frame of the store", frame.payload).map_err(|error| corrupt(&error))?;
    if payload.records.iter().all(Record::is_sound) {
        return Ok(payload);
    }
    Err(corrupt(&"it holds what no store writes"))
}

/// What the index does not serve, for people and for the node to mend.
pub(super) fn rot(index: &Index) -> Rot {
    let mut rot = Rot::default();
    for subject in index.lost() {
        match subject {
            Subject::Unknown => rot.unnamed += 1,
            Subject::Cell(cell) => {
                rot.cells.insert(*cell);
            }
            Subject::Key(key) => {
                rot.keys.insert(key.clone());
            }
        }
    }
    rot
}

/// What cells hold, gathered while frames pass by.
#[derive(Debug, Default)]
struct Contents(BTreeMap<CellId, CellContents>);

#[derive(Debug, Default)]
struct CellContents {
    hard_state: HardState,
    snapshot: Option<CellSnapshot>,
    entries: BTreeMap<u64, LogEntry>,
}

impl Contents {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Op(StoreOp::Append { cell, entries }) => {
                let Some(first) = entries.first().map(|entry| entry.index) else { return };
                let log = &mut self.0.entry(cell).or_default().entries;
                log.split_off(&first);
                log.extend(entries.into_iter().map(|entry| (entry.index, entry)));
            }
            Record::Moved { cell, entries } => {
                let log = &mut self.0.entry(cell).or_default().entries;
                log.extend(entries.into_iter().map(|entry| (entry.index, entry)));
            }
            Record::Op(StoreOp::HardState { cell, state }) => self.0.entry(cell).or_default().hard_state = state,
            Record::Op(StoreOp::Snapshot { cell, meta, state }) => {
                let contents = self.0.entry(cell).or_default();
                contents.entries = contents.entries.split_off(&(meta.index + 1));
                contents.snapshot = Some(CellSnapshot { meta, state });
            }
            Record::Op(StoreOp::DropCell { cell }) => {
                self.0.remove(&cell);
            }
            Record::Op(StoreOp::Put { .. } | StoreOp::Delete { .. }) | Record::Lost(..) => {}
        }
    }

    fn cells(&mut self, index: &Index) -> BTreeMap<CellId, CellBoot> {
        let contents = std::mem::take(&mut self.0).into_iter();
        let served = contents.filter(|(cell, _)| !index.is_lost(Name::of_cell(*cell)));
        served.map(|(cell, contents)| (cell, contents.into())).collect()
    }
}

impl From<CellContents> for CellBoot {
    fn from(contents: CellContents) -> Self {
        let CellContents { hard_state, snapshot, entries } = contents;
        Self { hard_state, snapshot, entries: entries.into_values().collect() }
    }
}
