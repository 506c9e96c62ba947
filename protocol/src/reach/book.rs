//! Where nodes were said to be. Bounded: of too many nodes the one heard of least recently is forgotten.
use std::collections::{BTreeMap, VecDeque};

use crate::{id::NodeId, membership::Address};

/// Nodes in the book.
const NODES_MAX: usize = 4_096;
/// Addresses of one node; of more, the oldest are forgotten.
const ADDRESSES_MAX: usize = 8;
/// Longer addresses are not written down.
const ADDRESS_BYTES_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct AddressBook {
    addresses: BTreeMap<NodeId, Vec<Address>>,
    /// Oldest first.
    heard: VecDeque<NodeId>,
}

impl AddressBook {
    /// Adds what is new behind what worked before.
    pub(super) fn learn(&mut self, node: NodeId, addresses: &[Address]) {
        let fresh = addresses.iter().filter(|address| address.len() <= ADDRESS_BYTES_MAX);
        if addresses.is_empty() {
            return;
        }
        if !self.addresses.contains_key(&node) {
            if self.heard.len() == NODES_MAX
                && let Some(oldest) = self.heard.pop_front()
            {
                self.addresses.remove(&oldest);
            }
            self.heard.push_back(node);
        }
        let known = self.addresses.entry(node).or_default();
        for address in fresh {
            if !known.contains(address) {
                if known.len() == ADDRESSES_MAX {
                    known.pop();
                }
                known.push(address.clone());
            }
        }
    }

    /// This one worked: it goes first.
    pub(super) fn prefer(&mut self, node: NodeId, address: &Address) {
        self.learn(node, std::slice::from_ref(address));
        if let Some(known) = self.addresses.get_mut(&node)
            && let Some(at) = known.iter().position(|other| other == address)
        {
            known[..=at].rotate_right(1);
        }
    }

    pub(super) fn of(&self, node: NodeId) -> Vec<Address> {
        self.addresses.get(&node).cloned().unwrap_or_default()
    }

    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.addresses.get(&node).is_some_and(|addresses| !addresses.is_empty())
    }
}
