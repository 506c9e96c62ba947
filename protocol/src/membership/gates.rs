//! The gates of each jurisdiction: a few nodes that its summaries name, which others may ask and which watch nodes
//! outside. Their content is `capacity`'s; the node hands them over.
use std::collections::BTreeMap;

use super::{
    io::{Address, GatesOf},
    wire::addresses_within_bounds,
};
use crate::{id::NodeId, resources::Jurisdiction};

/// Jurisdictions whose gates are kept.
const JURISDICTIONS_MAX: usize = 64;

/// Gates kept of each.
const GATES_MAX: usize = 8;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Gates {
    of: BTreeMap<Jurisdiction, Vec<(NodeId, Vec<Address>)>>,
}

impl Gates {
    pub(super) fn new(gates: Vec<GatesOf>) -> Self {
        let kept = gates.into_iter().take(JURISDICTIONS_MAX).map(|(jurisdiction, nodes)| {
            let nodes = nodes.into_iter().filter(|(_, addresses)| addresses_within_bounds(addresses));
            (jurisdiction, nodes.take(GATES_MAX).collect())
        });
        Self { of: kept.collect() }
    }

    pub(super) fn addresses_of(&self, node: NodeId) -> Option<Vec<Address>> {
        let mut all = self.of.values().flatten();
        all.find(|(gate, _)| *gate == node).map(|(_, addresses)| addresses.clone())
    }

    /// All gates of the jurisdictions that `wanted` picks.
    pub(super) fn nodes(&self, wanted: impl Fn(Jurisdiction) -> bool) -> Vec<NodeId> {
        self.of
            .iter()
            .filter(|(it, _)| wanted(**it))
            .flat_map(|(_, nodes)| nodes.iter().map(|(node, _)| *node))
            .collect()
    }

    /// Whether a node is a gate of its jurisdiction, as far as gates are known of it at all.
    pub(super) fn may_be_gate(&self, jurisdiction: Jurisdiction, node: NodeId) -> bool {
        self.of.get(&jurisdiction).is_none_or(|nodes| nodes.iter().any(|(gate, _)| *gate == node))
    }
}
