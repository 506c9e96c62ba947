//! Which links membership wants, and why. Asks for each once however many reasons there are, and gives it up with the
//! last of them.
use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;

/// Why a link is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It is, or shall become, a neighbour in the overlay.
    Neighbour,
    /// This node watches it.
    Observe,
    /// It shall watch this node from outside.
    Observer,
    /// It watches a node that this one has subscribed to.
    Subscribed,
    /// A gate through which verdicts reach another jurisdiction.
    Gate,
}

/// See the top of this file. Each reason has its own bound where it is given.
#[derive(Debug, Default)]
pub(super) struct Wants {
    reasons: BTreeMap<NodeId, BTreeSet<Reason>>,
}

impl Wants {
    /// Adds a reason; true if it is the first.
    pub(super) fn add(&mut self, node: NodeId, reason: Reason) -> bool {
        let reasons = self.reasons.entry(node).or_default();
        reasons.insert(reason) && reasons.len() == 1
    }

    /// Takes a reason away; true if it was the last.
    pub(super) fn remove(&mut self, node: NodeId, reason: Reason) -> bool {
        let Some(reasons) = self.reasons.get_mut(&node) else { return false };
        let last = reasons.remove(&reason) && reasons.is_empty();
        if last {
            self.reasons.remove(&node);
        }
        last
    }

    /// All nodes that are wanted for a reason, in order of their ids.
    pub(super) fn of(&self, reason: Reason) -> Vec<NodeId> {
        self.reasons.iter().filter(|(_, reasons)| reasons.contains(&reason)).map(|(node, _)| *node).collect()
    }
}
