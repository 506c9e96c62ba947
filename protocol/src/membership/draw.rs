//! Who watches whom: rendezvous hashing over the nodes of a field, at most one per operator, so that everybody who sees
//! the same nodes draws the same observers, and one node more or less moves few of them.
use std::collections::BTreeMap;

use crate::{
    id::{NodeId, OperatorId},
    random::mix,
};

/// The nodes that may observe, by operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    operators: BTreeMap<OperatorId, Vec<NodeId>>,
}

/// A node's key: the first bytes of its public key, which are as good as random.
fn key(node: NodeId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&node.0[..8]);
    u64::from_le_bytes(first)
}

/// Higher wins.
fn score(observer: NodeId, about: NodeId) -> u64 {
    mix(key(observer) ^ mix(key(about)))
}

impl Field {
    pub(super) fn new(nodes: impl Iterator<Item = (NodeId, OperatorId)>) -> Self {
        let mut operators: BTreeMap<OperatorId, Vec<NodeId>> = BTreeMap::new();
        nodes.for_each(|(node, operator)| operators.entry(operator).or_default().push(node));
        Self { operators }
    }

    /// Each operator's best candidate to watch `about`, best first; its own operator has none.
    pub(super) fn draw(&self, about: NodeId, of: Option<OperatorId>, count: usize) -> Vec<NodeId> {
        let mut best: Vec<(u64, NodeId)> = self
            .operators
            .iter()
            .filter(|(operator, _)| Some(**operator) != of)
            .filter_map(|(_, nodes)| nodes.iter().map(|node| (score(*node, about), *node)).max())
            .collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        best.truncate(count);
        best.into_iter().map(|(_, node)| node).collect()
    }

    /// Whether `me`, of operator `mine`, is among the first `count` to watch `about`, of operator `of`. As `draw`, in one
    /// pass and without a list: asked for every pair of nodes.
    pub(super) fn draws(&self, me: NodeId, mine: OperatorId, about: NodeId, of: OperatorId, count: usize) -> bool {
        if mine == of {
            return false;
        }
        let score_of_mine = (score(me, about), me);
        let beats = |nodes: &Vec<NodeId>| nodes.iter().any(|node| (score(*node, about), *node) > score_of_mine);
        if self.operators.get(&mine).is_some_and(beats) {
            return false;
        }
        let better =
            self.operators.iter().filter(|(operator, nodes)| **operator != of && **operator != mine && beats(nodes));
        better.take(count).count() < count
    }

    /// Operators other than `of`.
    pub(super) fn others(&self, of: Option<OperatorId>) -> usize {
        self.operators.keys().filter(|operator| Some(**operator) != of).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(nodes: u64, operators: u64) -> (Field, Vec<(NodeId, OperatorId)>) {
        let all: Vec<_> = (0..nodes)
            .map(|n| (NodeId::of(&n.to_le_bytes()), OperatorId::of(&(n % operators).to_le_bytes())))
            .collect();
        (Field::new(all.iter().copied()), all)
    }

    #[test]
    fn the_observers_of_a_node_are_of_distinct_operators_and_never_of_its_own() {
        let (field, all) = field(60, 7);
        let operators: BTreeMap<_, _> = all.iter().copied().collect();
        for (about, of) in &all {
            let mut drawn: Vec<_> = field.draw(*about, Some(*of), 3).into_iter().map(|node| operators[&node]).collect();
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len(), 3);
            assert!(!drawn.contains(of));
        }
    }

    #[test]
    fn an_observer_knows_by_itself_that_it_was_drawn() {
        let (field, all) = field(60, 7);
        for (about, of) in &all {
            let drawn = field.draw(*about, Some(*of), 3);
            for (me, mine) in &all {
                assert_eq!(field.draws(*me, *mine, *about, *of, 3), drawn.contains(me));
            }
        }
    }
}
