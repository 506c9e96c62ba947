//! Reading a sleeping cell back: its frames in order, each checked, one stretch at a time.
use std::collections::VecDeque;

use super::{
    batch::{DiskFault, StoreOp},
    boot::{CellBoot, CellSnapshot},
    frame::{Frame, Stretch},
    index::{CellIndex, entries},
    io::SegmentId,
    record::{Payload, Record},
    usage::{Place, Spot, Usage},
};
use crate::{codec, id::CellId};

/// A stretch longer than this is read in parts, unless it is one frame.
const READ_BYTES: u64 = 1 << 20;

/// A load under way.
#[derive(Debug)]
pub(super) struct Load {
    cell: CellId,
    index: CellIndex,
    found: CellBoot,
    reads: VecDeque<Vec<Place>>,
}

impl Load {
    /// What must be read of a cell.
    pub(super) fn new(cell: CellId, index: CellIndex, usage: &Usage) -> Self {
        let spots = index.runs.values().map(|run| run.spot).chain(index.snapshot.map(|snapshot| snapshot.spot));
        let mut places: Vec<Place> = spots.filter_map(|spot| usage.place(spot)).collect();
        places.sort_unstable();
        places.dedup();
        let mut reads: VecDeque<Vec<Place>> = VecDeque::new();
        for place in places {
            match reads.back_mut() {
                Some(read) if continues(read, place) => read.push(place),
                _ => reads.push_back(vec![place]),
            }
        }
        let hard_state = index.hard_state.map(|(state, _)| state).unwrap_or_default();
        Self { cell, index, found: CellBoot { hard_state, ..CellBoot::default() }, reads }
    }

    pub(super) fn cell(&self) -> CellId {
        self.cell
    }

    /// The stretch to read next: segment, offset, length. `None`: all was read.
    pub(super) fn next_read(&self) -> Option<(SegmentId, u64, u64)> {
        let read = self.reads.front()?;
        let (first, last) = (read.first()?, read.last()?);
        let len = last.spot.offset + last.len - first.spot.offset;
        Some((first.spot.segment, first.spot.offset, len))
    }

    /// True if a segment must not be trimmed yet.
    pub(super) fn needs(&self, segment: SegmentId) -> bool {
        self.reads.iter().flatten().any(|place| place.spot.segment == segment)
    }

    /// The stretch that was asked for.
    pub(super) fn read(&mut self, stretch: Stretch<'_>) -> Result<(), DiskFault> {
        for place in self.reads.pop_front().unwrap_or_default() {
            let records = stretch.read(place.spot.offset).and_then(|frame| records(&frame));
            let records = records.ok_or_else(|| unreadable(place.spot))?;
            self.take(place.spot, &records);
        }
        Ok(())
    }

    fn take(&mut self, spot: Spot, records: &[Record]) {
        for (first, run) in self.index.runs.iter().filter(|(_, run)| run.spot == spot) {
            self.found.entries.extend(entries(self.cell, *first, run.last, records));
        }
        if self.index.snapshot.is_some_and(|snapshot| snapshot.spot == spot) {
            self.found.snapshot = records.iter().rev().find_map(|record| match record {
                Record::Op(StoreOp::Snapshot { cell, meta, state }) if *cell == self.cell => {
                    Some(CellSnapshot { meta: meta.clone(), state: state.clone() })
                }
                _ => None,
            });
        }
    }

    pub(super) fn finish(mut self) -> CellBoot {
        self.found.entries.sort_unstable_by_key(|entry| entry.index);
        self.found
    }
}

/// What a whole frame says; `None` if it does not decode.
pub(super) fn records(frame: &Frame<'_>) -> Option<Vec<Record>> {
    codec::decode::<Payload>("frame of the store", frame.payload).ok().map(|payload| payload.records)
}

/// What is said of a frame that was whole once.
pub(super) fn unreadable(spot: Spot) -> DiskFault {
    DiskFault::Corrupt(format!("segment {} at byte {}", spot.segment.0, spot.offset))
}

fn continues(read: &[Place], place: Place) -> bool {
    read.first().is_some_and(|first| {
        first.spot.segment == place.spot.segment && place.spot.offset + place.len - first.spot.offset <= READ_BYTES
    })
}
