//! The bindings that gossip brought, by host and by cell, and the cells whose binding somebody here still waits for.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::wire::Binding;
use crate::{
    codec,
    id::CellId,
    record::{Kind, Shared, Subject},
    time::Instant,
};

/// Cells that are sought at once; of more, the one sought longest is forgotten.
const SOUGHT_MAX: usize = 1_024;
/// A cell is sought so long: longer than any call waits for an answer.
const SOUGHT: Duration = Duration::from_mins(2);

#[derive(Debug)]
struct Held {
    record: Shared,
    binding: Arc<Binding>,
}

/// See the module. Bounded as the set of records is: what expires there is dropped here.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    by_host: BTreeMap<String, Held>,
    by_cell: BTreeMap<CellId, BTreeSet<String>>,
    sought: BTreeMap<CellId, Instant>,
}

impl Bindings {
    /// Keeps what a record says, unless it does not bind what it claims to, or no voter that it names signed it.
    pub(super) fn learn(&mut self, record: Shared) -> Option<Arc<Binding>> {
        let binding = codec::decode::<Binding>("binding", &record.body.content).ok()?;
        let genuine = record.body.kind == Kind::BINDING
            && record.body.subject == Subject::of(binding.host.as_bytes())
            && binding.voters.iter().any(|(node, _)| node.0 == record.signer().0);
        if !genuine {
            return None;
        }
        self.forget_host(&binding.host);
        let binding = Arc::new(binding);
        self.by_cell.entry(binding.cell).or_default().insert(binding.host.clone());
        self.by_host.insert(binding.host.clone(), Held { record, binding: Arc::clone(&binding) });
        Some(binding)
    }

    /// Drops what an expired record said, if nothing newer took its place.
    pub(super) fn forget(&mut self, record: &Shared) {
        let Ok(binding) = codec::decode::<Binding>("binding", &record.body.content) else { return };
        if self.by_host.get(&binding.host).is_some_and(|held| held.record.hash == record.hash) {
            self.forget_host(&binding.host);
        }
    }

    fn forget_host(&mut self, host: &str) {
        let Some(held) = self.by_host.remove(host) else { return };
        if let Some(hosts) = self.by_cell.get_mut(&held.binding.cell) {
            hosts.remove(host);
            if hosts.is_empty() {
                self.by_cell.remove(&held.binding.cell);
            }
        }
    }

    /// Which cell answers for a host.
    pub(super) fn of_host(&self, host: &str) -> Option<Arc<Binding>> {
        self.by_host.get(host).map(|held| Arc::clone(&held.binding))
    }

    /// Any binding of a cell: all name the same voters.
    pub(super) fn of_cell(&self, cell: CellId) -> Option<Arc<Binding>> {
        self.by_cell.get(&cell)?.first().and_then(|host| self.of_host(host))
    }

    /// All of them, in the order of their hosts.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.by_host.values().map(|held| &*held.binding)
    }

    /// Somebody here waits to hear who votes in this cell.
    pub(super) fn seek(&mut self, now: Instant, cell: CellId) {
        self.sought.retain(|_, since| now < *since + SOUGHT);
        if self.sought.len() >= SOUGHT_MAX && !self.sought.contains_key(&cell) {
            let oldest = self.sought.iter().min_by_key(|(_, since)| **since).map(|(cell, _)| *cell);
            oldest.map(|cell| self.sought.remove(&cell));
        }
        self.sought.insert(cell, now);
    }

    /// Whether somebody waited for this cell; from now on nobody does.
    pub(super) fn found(&mut self, now: Instant, cell: CellId) -> bool {
        self.sought.remove(&cell).is_some_and(|since| now < since + SOUGHT)
    }
}
