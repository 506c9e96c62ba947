//! Raft's log as raft reads it: in memory, from a *floor* (what was compacted away) to the last entry, and where a
//! snapshot can be had.
//!
//! Entries are readable here before they are durable; the replica holds back what must wait. Values are shared with the
//! messages and writes they came in: nothing here copies them.
use std::{cell::RefCell, collections::BTreeSet, collections::VecDeque};

use raft::{
    Error, GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot, SnapshotMetadata},
};

use crate::{
    codec::Blob,
    store::{LogEntry, SnapshotMeta},
};

/// What an entry costs in memory and on disk beyond its bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 48;

/// The log since the floor.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// What raft starts from. Read once, when it starts.
    hard_state: HardState,
    conf_state: ConfState,
    /// Index and term of the entry before the first one held.
    floor: (u64, u64),
    entries: VecDeque<Entry>,
    /// Of all entries held.
    bytes: u64,
    /// The snapshot that peers can fetch now.
    offered: Option<SnapshotMetadata>,
    /// Peers that raft wanted to send a snapshot to when none was offered.
    wanted: RefCell<BTreeSet<u64>>,
}

impl Log {
    /// A log that starts behind a snapshot, with `entries` behind it.
    pub(super) fn new(hard_state: HardState, meta: &SnapshotMeta, entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(size).sum();
        Self {
            hard_state,
            conf_state: conf_state(meta),
            floor: (meta.index, meta.term),
            entries: entries.into(),
            bytes,
            ..Self::default()
        }
    }

    /// The same log for a raft that starts anew.
    pub(super) fn restarted(self, hard_state: HardState, conf_state: ConfState) -> Self {
        Self { hard_state, conf_state, wanted: RefCell::default(), ..self }
    }

    /// Bytes of all entries held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The index of the last entry, or of the floor.
    pub(super) fn last(&self) -> u64 {
        self.floor.0 + self.entries.len() as u64
    }

    /// Adds entries; those from the first one's index on are replaced.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.floor.0 && first.index <= self.last() + 1,
            "raft appends without gaps, behind what was compacted"
        );
        while self.last() >= first.index {
            let gone = self.entries.pop_back().expect("there is an entry between floor and last");
            self.bytes -= size(&gone);
        }
        self.bytes += entries.iter().map(size).sum::<u64>();
        self.entries.extend(entries.iter().cloned());
    }

    /// The last index that a snapshot stands for, and no entry any more.
    pub(super) const fn floor(&self) -> u64 {
        self.floor.0
    }

    /// Forgets everything and starts behind a received snapshot.
    pub(super) fn install(&mut self, meta: &SnapshotMetadata) {
        self.floor = (meta.index, meta.term);
        self.entries.clear();
        self.bytes = 0;
        self.offered = None;
    }

    /// Forgets entries up to `index`, or fewer where that would leave nothing to a slow peer: at least the newest that
    /// fit in `keep_bytes` and `keep` stay.
    pub(super) fn compact(&mut self, index: u64, keep: u64, keep_bytes: u64) {
        let mut kept_bytes: u64 = self.entries.iter().rev().take_while(|entry| entry.index > index).map(size).sum();
        let mut stays = index;
        while stays > self.floor.0 && index - stays < keep {
            let cost = size(self.at(stays).expect("between floor and last"));
            if kept_bytes + cost > keep_bytes {
                break;
            }
            kept_bytes += cost;
            stays -= 1;
        }
        while self.floor.0 < stays {
            let gone = self.entries.pop_front().expect("there is an entry between floor and last");
            self.bytes -= size(&gone);
            self.floor = (gone.index, gone.term);
        }
    }

    /// From now on peers may be sent this snapshot; `None`: there is none until asked.
    pub(super) fn offer(&mut self, meta: Option<SnapshotMetadata>) {
        self.offered = meta;
    }

    /// Peers that raft wanted to send a snapshot to since the last call.
    pub(super) fn take_wanted(&mut self) -> BTreeSet<u64> {
        self.wanted.take()
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.floor.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.floor.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        let mut taken_bytes = 0_u64;
        let offset = usize::try_from(low - self.floor.0 - 1).unwrap_or(usize::MAX);
        let count = usize::try_from(high.saturating_sub(low)).unwrap_or(usize::MAX);
        let fits = |entry: &&Entry| {
            let first = taken_bytes == 0;
            taken_bytes = taken_bytes.saturating_add(size(entry));
            first || taken_bytes <= max_bytes
        };
        Ok(self.entries.iter().skip(offset).take(count).take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.floor.0 {
            return Ok(self.floor.1);
        }
        if index < self.floor.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.at(index).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.floor.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // Whoever joined since it was made is not in it, and would take it for a state that leaves him out.
        let names = |meta: &SnapshotMetadata| {
            let conf = meta.get_conf_state();
            [&conf.voters, &conf.learners, &conf.voters_outgoing].iter().any(|ids| ids.contains(&to))
        };
        let usable =
            |meta: &&SnapshotMetadata| meta.index >= request_index && meta.index >= self.floor.0 && names(meta);
        if let Some(meta) = self.offered.as_ref().filter(usable) {
            let mut snapshot = Snapshot::default();
            snapshot.set_metadata(meta.clone());
            return Ok(snapshot);
        }
        self.wanted.borrow_mut().insert(to);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

/// What an entry costs.
pub(super) fn size(entry: &Entry) -> u64 {
    (entry.data.len() + entry.context.len()) as u64 + ENTRY_OVERHEAD_BYTES
}

/// Raft's entry in our own form.
pub(super) fn to_stored(entry: &Entry) -> LogEntry {
    let kind = match entry.get_entry_type() {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    };
    LogEntry {
        index: entry.index,
        term: entry.term,
        kind,
        data: Blob(entry.data.clone()),
        context: Blob(entry.context.clone()),
    }
}

/// Our entry in raft's form; `None` when its kind is unknown.
pub(super) fn from_stored(stored: LogEntry) -> Option<Entry> {
    let mut entry = Entry::default();
    entry.set_entry_type(match stored.kind {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return None,
    });
    entry.index = stored.index;
    entry.term = stored.term;
    entry.data = stored.data.0;
    entry.context = stored.context.0;
    Some(entry)
}

/// Raft's membership at a snapshot.
pub(super) fn conf_state(meta: &SnapshotMeta) -> ConfState {
    ConfState {
        voters: meta.voters.clone(),
        learners: meta.learners.clone(),
        voters_outgoing: meta.voters_outgoing.clone(),
        learners_next: meta.learners_next.clone(),
        auto_leave: meta.auto_leave,
        ..ConfState::default()
    }
}

/// A snapshot's place in raft's form.
pub(super) fn to_raft_meta(meta: &SnapshotMeta) -> SnapshotMetadata {
    let mut out = SnapshotMetadata { index: meta.index, term: meta.term, ..SnapshotMetadata::default() };
    out.set_conf_state(conf_state(meta));
    out
}

/// A snapshot's place in our own form, members in order.
pub(super) fn to_stored_meta(index: u64, term: u64, conf: &ConfState) -> SnapshotMeta {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    SnapshotMeta {
        index,
        term,
        voters: sorted(&conf.voters),
        learners: sorted(&conf.learners),
        voters_outgoing: sorted(&conf.voters_outgoing),
        learners_next: sorted(&conf.learners_next),
        auto_leave: conf.auto_leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![0; 100].into(), ..Entry::default() }
    }

    fn log() -> Log {
        let meta = SnapshotMeta { index: 1, term: 1, voters: vec![1], ..SnapshotMeta::default() };
        Log::new(HardState::default(), &meta, (2..=10).map(|index| entry(index, 1)).collect())
    }

    #[test]
    fn newer_entries_replace_older_ones_and_all_behind_them() {
        let mut log = log();
        log.append(&[entry(5, 2), entry(6, 2)]);
        assert_eq!((log.last(), log.term(4).unwrap(), log.term(5).unwrap()), (6, 1, 2));
        assert_eq!(log.bytes(), 5 * size(&entry(2, 1)));
    }

    #[test]
    fn compaction_keeps_a_tail_for_slow_peers_and_the_term_of_the_floor() {
        let mut log = log();
        log.compact(9, 3, u64::MAX);
        assert_eq!((log.floor.0, log.term(6).unwrap(), log.last()), (6, 1, 10));
        assert!(log.term(5).is_err());
        log.compact(9, 3, size(&entry(2, 1)));
        assert_eq!((log.floor.0, log.last()), (9, 10));
    }

    #[test]
    fn a_read_gives_at_least_one_entry_and_else_what_fits() {
        let log = log();
        let read = |max: u64| log.entries(3, 9, max, GetEntriesContext::empty(false)).unwrap().len();
        assert_eq!((read(0), read(2 * size(&entry(2, 1))), read(u64::MAX)), (1, 2, 6));
    }
}
