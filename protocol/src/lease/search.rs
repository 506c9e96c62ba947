//! Bytes that this node must have: of every release that it runs, and of every release of a cell that it has a replica of,
//! so that they outlive the hosts that had them first.
use std::collections::{BTreeMap, BTreeSet};

use super::AGAIN;
use crate::{
    cell::Description,
    id::{CellId, ContentHash, NodeId},
    time::{Instant, Now},
};

/// Contents known to be here; of more, the first in order is asked for again.
const HERE_MAX: usize = 16_384;

/// One content that is looked for: here first, then at one member or host after the other, then after a pause again.
#[derive(Debug)]
struct Search {
    cell: CellId,
    size_bytes: u64,
    /// How many holders were asked since the last pause.
    asked: usize,
    /// All were: again from then on.
    again: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Searches {
    under_way: BTreeMap<ContentHash, Search>,
    here: BTreeSet<ContentHash>,
}

impl Searches {
    pub(super) fn is_here(&self, content: ContentHash) -> bool {
        self.here.contains(&content)
    }

    /// Begins to look, unless it is here or looked for already; says whether this node is to be asked now.
    pub(super) fn begin(&mut self, cell: CellId, content: ContentHash, size_bytes: u64) -> bool {
        if self.is_here(content) || self.under_way.contains_key(&content) {
            return false;
        }
        self.under_way.insert(content, Search { cell, size_bytes, asked: 0, again: None });
        true
    }

    /// It came.
    pub(super) fn found(&mut self, content: ContentHash) {
        self.under_way.remove(&content);
        if self.here.len() >= HERE_MAX {
            self.here.pop_first();
        }
        self.here.insert(content);
    }

    /// Which cell it is looked for.
    pub(super) fn cell(&self, content: ContentHash) -> Option<CellId> {
        self.under_way.get(&content).map(|search| search.cell)
    }

    /// It did not come: whom to ask next, and for how many bytes; after the last one, a pause.
    pub(super) fn next(
        &mut self,
        now: Now,
        content: ContentHash,
        of: &Description,
        me: NodeId,
    ) -> Option<(NodeId, u64)> {
        let search = self.under_way.get_mut(&content)?;
        let members = of.members.iter().map(|member| member.node);
        let mut holders = members.chain(of.leases.iter().map(|lease| lease.node)).filter(|node| *node != me);
        let next = holders.nth(search.asked);
        search.asked += 1;
        if next.is_none() {
            search.again = Some(now.instant + AGAIN);
        }
        Some((next?, search.size_bytes))
    }

    /// Nobody here needs it any more.
    pub(super) fn forget(&mut self, content: ContentHash) {
        self.under_way.remove(&content);
    }

    /// When the pause is over.
    pub(super) fn again_at(&self, content: ContentHash) -> Option<Instant> {
        self.under_way.get(&content)?.again
    }

    /// Looks from the beginning, for how many bytes.
    pub(super) fn again(&mut self, content: ContentHash) -> Option<u64> {
        let search = self.under_way.get_mut(&content)?;
        search.asked = 0;
        search.again = None;
        Some(search.size_bytes)
    }
}
