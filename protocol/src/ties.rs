//! Which nodes are needed for which cell: its members by whoever hosts a part of it, its instances by whoever routes to it.
//! Says what changed, so that a link is wanted as long as there is a reason and no longer.
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{CellId, NodeId};

/// A need began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which node.
    pub node: NodeId,
    /// It is needed from now on; false: no longer.
    pub needed: bool,
    /// For no other cell here: the first need of this node, or the last.
    pub sole: bool,
}

/// Who is needed for which cell. As large as the cells that it is told of and their members.
#[derive(Debug, Default)]
pub struct Ties {
    cells: BTreeMap<CellId, BTreeSet<NodeId>>,
    /// For how many cells each is needed.
    counts: BTreeMap<NodeId, usize>,
}

impl Ties {
    /// From now on these are needed for a cell, and nobody else. Nobody at all: the cell is forgotten.
    pub fn keep(&mut self, cell: CellId, nodes: BTreeSet<NodeId>) -> Vec<Change> {
        let before = self.cells.get(&cell);
        if before.map_or(nodes.is_empty(), |before| *before == nodes) {
            return Vec::new();
        }
        let none = BTreeSet::new();
        let before = before.unwrap_or(&none);
        let gone: Vec<NodeId> = before.difference(&nodes).copied().collect();
        let new: Vec<NodeId> = nodes.difference(before).copied().collect();
        let mut changes = Vec::with_capacity(gone.len() + new.len());
        for node in new {
            let count = self.counts.entry(node).or_default();
            *count += 1;
            changes.push(Change { node, needed: true, sole: *count == 1 });
        }
        for node in gone {
            let left = self.counts.get(&node).map_or(0, |count| count - 1);
            if left == 0 {
                self.counts.remove(&node);
            } else {
                self.counts.insert(node, left);
            }
            changes.push(Change { node, needed: false, sole: left == 0 });
        }
        if nodes.is_empty() {
            self.cells.remove(&cell);
        } else {
            self.cells.insert(cell, nodes);
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_two_cells_need_is_given_up_with_the_second() {
        let (a, b) = (CellId([1; 32]), CellId([2; 32]));
        let (one, two) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut ties = Ties::default();
        let needed = |node, sole| Change { node, needed: true, sole };
        let given_up = |node, sole| Change { node, needed: false, sole };
        assert_eq!(ties.keep(a, [one, two].into()), [needed(one, true), needed(two, true)]);
        assert_eq!(ties.keep(a, [one, two].into()), []);
        assert_eq!(ties.keep(b, [two].into()), [needed(two, false)]);
        assert_eq!(ties.keep(a, [one].into()), [given_up(two, false)]);
        assert_eq!(ties.keep(b, [].into()), [given_up(two, true)]);
        assert_eq!(ties.keep(a, [].into()), [given_up(one, true)]);
        assert_eq!(ties.keep(a, [].into()), []);
        assert!(ties.cells.is_empty() && ties.counts.is_empty());
    }
}
