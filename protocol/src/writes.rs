//! Whose write became durable: the node numbers all writes of its parts in one row, for one store.
use std::collections::{BTreeMap, VecDeque};

use crate::id::{CellId, WriteId};

/// Whose a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    /// The replica of this cell.
    Replica(CellId),
    /// The converging stores of this cell's app.
    Stores(CellId),
}

/// Writes on their way to the disk, oldest first. As many as the parts have under way: each part bounds its own.
#[derive(Debug, Default)]
pub struct Writes {
    last: WriteId,
    waiting: VecDeque<(WriteId, Writer, WriteId)>,
}

impl Writes {
    /// Numbers a write that nobody waits for.
    pub fn number(&mut self) -> WriteId {
        self.last = WriteId(self.last.0 + 1);
        self.last
    }

    /// Numbers the write that `writer` calls `own`.
    pub fn number_for(&mut self, writer: Writer, own: WriteId) -> WriteId {
        let write = self.number();
        self.waiting.push_back((write, writer, own));
        write
    }

    /// Nobody waits for these writes any more: a later replica of a cell numbers its own anew.
    pub fn forget(&mut self, writer: Writer) {
        self.waiting.retain(|(_, of, _)| *of != writer);
    }

    /// The newest durable write of each writer, now that all up to `write` are.
    pub fn persisted(&mut self, write: WriteId) -> BTreeMap<Writer, WriteId> {
        let mut newest = BTreeMap::new();
        while let Some((number, writer, own)) = self.waiting.front().copied()
            && number <= write
        {
            self.waiting.pop_front();
            newest.insert(writer, own);
        }
        newest
    }

    /// Writers with writes that will never be durable, now that `write` and all after it will not.
    pub fn failed(&mut self, write: WriteId) -> BTreeMap<Writer, WriteId> {
        let at = self.waiting.partition_point(|(number, _, _)| *number < write);
        let mut oldest = BTreeMap::new();
        for (_, writer, own) in self.waiting.split_off(at) {
            oldest.entry(writer).or_insert(own);
        }
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sync_makes_the_writes_of_many_cells_durable() {
        let (a, b) = (Writer::Replica(CellId([1; 32])), Writer::Stores(CellId([1; 32])));
        let mut writes = Writes::default();
        writes.number_for(a, WriteId(1));
        writes.number_for(b, WriteId(1));
        writes.number();
        writes.number_for(a, WriteId(2));
        let later = writes.number_for(b, WriteId(2));
        let before = WriteId(later.0 - 1);
        assert_eq!(writes.persisted(before), BTreeMap::from([(a, WriteId(2)), (b, WriteId(1))]));
        assert_eq!(writes.failed(later), BTreeMap::from([(b, WriteId(2))]));
        assert!(writes.persisted(later).is_empty());
    }
}
