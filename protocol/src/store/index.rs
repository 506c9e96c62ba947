//! What is live and where it stands: for each cell the frames of its hard state, snapshot and entries, and all of the
//! keyed state. In memory: about 100 bytes for each cell, run of entries and key; the entries and snapshots themselves
//! are only on disk.
use std::collections::{BTreeMap, BTreeSet};

use super::{
    batch::{HardState, LogEntry, StoreOp},
    record::{HARD_STATE_BYTES, Name, Record, Subject, entry_bytes, op_bytes, put_bytes},
    usage::{Place, Spot, Usage},
};
use crate::{codec::Blob, id::CellId};

/// The live index.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) usage: Usage,
    pub(super) keyed: BTreeMap<Blob, (Blob, Spot)>,
    cells: BTreeMap<CellId, CellIndex>,
    /// What must not be served, and the frame that says so; `None` until one does.
    lost: BTreeMap<Name, (Subject, Option<Spot>)>,
}

/// What is live of one cell.
#[derive(Clone, Debug, Default)]
pub(super) struct CellIndex {
    pub(super) hard_state: Option<(HardState, Spot)>,
    pub(super) snapshot: Option<SnapshotSpot>,
    /// By first index; they do not overlap.
    pub(super) runs: BTreeMap<u64, Run>,
}

/// The live snapshot of a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotSpot {
    pub(super) index: u64,
    pub(super) spot: Spot,
    bytes: u64,
}

/// Contiguous entries in one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Inclusive.
    pub(super) last: u64,
    pub(super) spot: Spot,
    bytes: u64,
}

impl Index {
    /// A frame with these records stands at `place`.
    pub(super) fn apply(&mut self, records: &[Record], place: Place) {
        self.usage.wrote(place);
        for record in records {
            match record {
                Record::Op(op) => self.apply_op(op, place),
                Record::Moved { cell, entries } => {
                    self.cells.entry(*cell).or_default().insert(entries, place, &mut self.usage);
                }
                Record::Lost(name, subject) => {
                    self.usage.hold(place);
                    self.lose(*name, subject.clone(), Some(place.spot));
                }
            }
        }
    }

    fn apply_op(&mut self, op: &StoreOp, place: Place) {
        let usage = &mut self.usage;
        match op {
            StoreOp::Append { cell, entries } => {
                let Some(first) = entries.first() else { return };
                let cell = self.cells.entry(*cell).or_default();
                cell.carve(first.index, u64::MAX, usage);
                cell.insert(entries, place, usage);
            }
            StoreOp::HardState { cell, state } => {
                usage.hold(place);
                let cell = self.cells.entry(*cell).or_default();
                if let Some((_, old)) = cell.hard_state.replace((*state, place.spot)) {
                    usage.release(old, HARD_STATE_BYTES);
                }
            }
            StoreOp::Snapshot { cell, meta, .. } => {
                usage.hold(place);
                let cell = self.cells.entry(*cell).or_default();
                cell.carve(0, meta.index, usage);
                let snapshot = SnapshotSpot { index: meta.index, spot: place.spot, bytes: op_bytes(op) };
                if let Some(old) = cell.snapshot.replace(snapshot) {
                    usage.release(old.spot, old.bytes);
                }
            }
            StoreOp::DropCell { cell } => {
                self.forget(*cell);
                self.find(Name::of_cell(*cell));
            }
            StoreOp::Put { key, value } => {
                usage.hold(place);
                if let Some((old, spot)) = self.keyed.insert(key.clone(), (value.clone(), place.spot)) {
                    self.usage.release(spot, put_bytes(key, &old));
                }
                self.find(Name::of_key(key));
            }
            StoreOp::Delete { key } => {
                if let Some((old, spot)) = self.keyed.remove(key) {
                    self.usage.release(spot, put_bytes(key, &old));
                }
                self.find(Name::of_key(key));
            }
        }
    }

    /// Nothing of this is to be served. Frees what is known of it once [`Index::settle`] is called.
    pub(super) fn lose(&mut self, name: Name, subject: Subject, said_at: Option<Spot>) {
        if let Some((_, Some(old))) = self.lost.insert(name, (subject, said_at)) {
            self.usage.release(old, 0);
        }
    }

    fn find(&mut self, name: Name) {
        if let Some((_, Some(spot))) = self.lost.remove(&name) {
            self.usage.release(spot, 0);
        }
    }

    /// After replay: names what was lost, takes it out of what is served, and adds the cells whose log has a gap.
    pub(super) fn settle(&mut self) {
        let gaps: Vec<CellId> = self.cells.iter().filter(|(_, cell)| !cell.is_whole()).map(|(id, _)| *id).collect();
        for cell in gaps {
            self.lost.entry(Name::of_cell(cell)).or_insert((Subject::Unknown, None));
        }
        if self.lost.is_empty() {
            return;
        }
        let cells = self.cells.keys().map(|cell| (Name::of_cell(*cell), Subject::Cell(*cell)));
        let keys = self.keyed.keys().map(|key| (Name::of_key(key), Subject::Key(key.clone())));
        let known: Vec<(Name, Subject)> = cells.chain(keys).filter(|(name, _)| self.lost.contains_key(name)).collect();
        for (name, subject) in known {
            match &subject {
                Subject::Cell(cell) => self.forget(*cell),
                Subject::Key(key) => {
                    if let Some((old, spot)) = self.keyed.remove(key) {
                        self.usage.release(spot, put_bytes(key, &old));
                    }
                }
                Subject::Unknown => {}
            }
            if let Some((of, _)) = self.lost.get_mut(&name) {
                *of = subject;
            }
        }
    }

    /// A cell turned out to be rotten while the store was open.
    pub(super) fn lose_cell(&mut self, cell: CellId) {
        self.forget(cell);
        self.lose(Name::of_cell(cell), Subject::Cell(cell), None);
    }

    fn forget(&mut self, cell: CellId) {
        let Some(mut old) = self.cells.remove(&cell) else { return };
        old.carve(0, u64::MAX, &mut self.usage);
        if let Some((_, spot)) = old.hard_state {
            self.usage.release(spot, HARD_STATE_BYTES);
        }
        if let Some(snapshot) = old.snapshot {
            self.usage.release(snapshot.spot, snapshot.bytes);
        }
    }

    pub(super) fn cell(&self, cell: CellId) -> Option<&CellIndex> {
        self.cells.get(&cell)
    }

    pub(super) fn is_lost(&self, name: Name) -> bool {
        self.lost.contains_key(&name)
    }

    /// All that is not served.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Subject> {
        self.lost.values().map(|(subject, _)| subject)
    }

    /// What the log does not say yet: to be written with the next frame.
    pub(super) fn unsaid(&self) -> Vec<Record> {
        let unsaid = self.lost.iter().filter(|(_, (_, said_at))| said_at.is_none());
        unsaid.map(|(name, (subject, _))| Record::Lost(*name, subject.clone())).collect()
    }

    /// What of the frame at `spot` is live, as records that keep it so when written anew. `records`: what the frame
    /// says, or nothing if it no longer reads; then cells of which entries or snapshot stand there are lost.
    pub(super) fn carry(&mut self, spot: Spot, records: Option<&[Record]>) -> Vec<Record> {
        let Some(records) = records else {
            let rotten = |cell: &CellIndex| {
                cell.snapshot.is_some_and(|at| at.spot == spot) || cell.runs.values().any(|run| run.spot == spot)
            };
            let lost: Vec<CellId> = self.cells.iter().filter(|(_, cell)| rotten(cell)).map(|(id, _)| *id).collect();
            for cell in lost {
                self.lose_cell(cell);
            }
            let cells: Vec<CellId> = self.cells.keys().copied().collect();
            let keys: Vec<Blob> = self.keyed.keys().cloned().collect();
            return self.carry_from_memory(spot, cells, keys);
        };
        let cells: BTreeSet<CellId> = records.iter().filter_map(cell_of).collect();
        let mut carried = Vec::new();
        for id in &cells {
            let Some(cell) = self.cells.get(id) else { continue };
            carried.extend(cell.carry_snapshot(*id, spot, records));
            carried.extend(cell.carry_entries(*id, spot, records));
        }
        let keys = records.iter().filter_map(|record| match record {
            Record::Op(StoreOp::Put { key, .. }) => Some(key.clone()),
            _ => None,
        });
        let keys: BTreeSet<Blob> = keys.collect();
        carried.extend(self.carry_from_memory(spot, cells, keys));
        carried
    }

    /// What is held in memory anyway: hard states, keyed state, what was lost.
    fn carry_from_memory(
        &self,
        spot: Spot,
        cells: impl IntoIterator<Item = CellId>,
        keys: impl IntoIterator<Item = Blob>,
    ) -> Vec<Record> {
        let states = cells.into_iter().filter_map(|cell| match self.cells.get(&cell)?.hard_state {
            Some((state, at)) if at == spot => Some(Record::Op(StoreOp::HardState { cell, state })),
            Some(_) | None => None,
        });
        let values = keys.into_iter().filter_map(|key| {
            let (value, _) = self.keyed.get(&key).filter(|(_, at)| *at == spot)?;
            Some(Record::Op(StoreOp::Put { value: value.clone(), key }))
        });
        let lost = self.lost.iter().filter(|(_, (_, at))| *at == Some(spot));
        let lost = lost.map(|(name, (subject, _))| Record::Lost(*name, subject.clone()));
        states.chain(values).chain(lost).collect()
    }
}

impl CellIndex {
    /// Its entries follow each other without a gap, and the snapshot if there is one.
    pub(super) fn is_whole(&self) -> bool {
        let first = self.runs.keys().next().copied().unwrap_or_default();
        let mut next = self.snapshot.map_or(first, |snapshot| snapshot.index + 1);
        self.runs.iter().all(|(first, run)| {
            let follows = *first == next;
            next = run.last + 1;
            follows
        })
    }

    /// What an append brought follows what was there before it. With that a log that was whole still is, at the cost of a
    /// look and not of a walk along all of it.
    pub(super) fn is_joined_at(&self, first: u64) -> bool {
        let before = self.runs.range(..first).next_back();
        !self.runs.contains_key(&first)
            || match before {
                Some((_, run)) => run.last + 1 == first,
                None => self.snapshot.is_none_or(|snapshot| snapshot.index + 1 == first),
            }
    }

    fn insert(&mut self, entries: &[LogEntry], place: Place, usage: &mut Usage) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        self.carve(first.index, last.index, usage);
        usage.hold(place);
        let bytes = entries.iter().map(entry_bytes).sum();
        self.runs.insert(first.index, Run { last: last.index, spot: place.spot, bytes });
    }

    /// Takes out the entries `from ..= to`.
    fn carve(&mut self, from: u64, to: u64, usage: &mut Usage) {
        let start = self.runs.range(..=from).next_back().map_or(from, |(first, _)| *first);
        let hit: Vec<(u64, Run)> = self.runs.range(start..=to.max(start)).map(|(first, run)| (*first, *run)).collect();
        for (first, run) in hit {
            if run.last < from || first > to {
                continue;
            }
            self.runs.remove(&first);
            let share = |count: u64| run.bytes * count / (run.last - first + 1);
            let left = (first < from).then(|| (first, Run { last: from - 1, bytes: share(from - first), ..run }));
            let right = (to < run.last).then(|| (to + 1, Run { bytes: share(run.last - to), ..run }));
            let kept: u64 = left.iter().chain(&right).map(|(_, run)| run.bytes).sum();
            match (left, right) {
                (None, None) => usage.release(run.spot, run.bytes),
                (Some(_), None) | (None, Some(_)) => usage.shrink(run.spot, run.bytes - kept),
                (Some(_), Some(_)) => {
                    usage.shrink(run.spot, run.bytes - kept);
                    if let Some(place) = usage.place(run.spot) {
                        usage.hold(place);
                    }
                }
            }
            self.runs.extend(left.into_iter().chain(right));
        }
    }

    fn carry_snapshot(&self, id: CellId, spot: Spot, records: &[Record]) -> Option<Record> {
        let live = self.snapshot.filter(|snapshot| snapshot.spot == spot)?;
        records.iter().rev().find_map(|record| match record {
            Record::Op(StoreOp::Snapshot { cell, meta, .. }) if *cell == id && meta.index == live.index => {
                Some(record.clone())
            }
            _ => None,
        })
    }

    fn carry_entries(&self, id: CellId, spot: Spot, records: &[Record]) -> Vec<Record> {
        let live = self.runs.iter().filter(|(_, run)| run.spot == spot);
        let moved =
            live.map(|(first, run)| Record::Moved { cell: id, entries: entries(id, *first, run.last, records) });
        moved.collect()
    }
}

/// The entries `first ..= last` of a cell among these records; of an index that is there twice, the later one.
pub(super) fn entries(id: CellId, first: u64, last: u64, records: &[Record]) -> Vec<LogEntry> {
    let mut found = BTreeMap::new();
    for record in records {
        match record {
            Record::Op(StoreOp::Append { cell, entries }) | Record::Moved { cell, entries } if *cell == id => {
                let wanted = entries.iter().filter(|entry| (first..=last).contains(&entry.index));
                found.extend(wanted.map(|entry| (entry.index, entry)));
            }
            _ => {}
        }
    }
    found.into_values().cloned().collect()
}

fn cell_of(record: &Record) -> Option<CellId> {
    match record {
        Record::Op(
            StoreOp::Append { cell, .. }
            | StoreOp::HardState { cell, .. }
            | StoreOp::Snapshot { cell, .. }
            | StoreOp::DropCell { cell },
        )
        | Record::Moved { cell, .. } => Some(*cell),
        Record::Op(StoreOp::Put { .. } | StoreOp::Delete { .. }) | Record::Lost(..) => None,
    }
}
