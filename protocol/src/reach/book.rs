//! Where nodes were said to be. Bounded: of too many nodes the one heard of first is forgotten.
//!
//! Three sources count differently. What a node signed itself replaces what it signed before, so that a move is a move.
//! Where a link was made worked, and goes first. What others say is a hint: few are kept, they go behind, and whoever lies
//! costs a bounded number of dials and no more, for a dial reaches only the node with that key.
use std::collections::{BTreeMap, VecDeque};

use super::address;
use crate::{id::NodeId, membership::Address};

/// Nodes in the book; of more, the one heard of first is forgotten.
const NODES_MAX: usize = 4_096;
/// Addresses that a node signs; the rest is not read.
const SIGNED_MAX: usize = 8;
/// Addresses that others say; of more, the oldest are forgotten. As many as a node signs, so that all of what it last said
/// is kept when another, or this node's own peer cache, repeats it.
const HINTS_MAX: usize = SIGNED_MAX;
/// Longer addresses are not written down.
const ADDRESS_BYTES_MAX: usize = 256;

/// Who says where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The node itself, in a record that it signed: replaces what it said before.
    Signed,
    /// Somebody else, or a configuration.
    Hint,
}

#[derive(Debug, Default)]
struct Entry {
    worked: Option<Address>,
    signed: Vec<Address>,
    /// Oldest first.
    hints: VecDeque<Address>,
    /// One of them is not on this very machine.
    elsewhere: bool,
}

impl Entry {
    /// Somebody says this; it was said last.
    fn hint(&mut self, address: Address) {
        self.hints.retain(|known| *known != address);
        if self.hints.len() == HINTS_MAX {
            self.hints.pop_front();
        }
        self.hints.push_back(address);
    }

    fn changed(&mut self) {
        let elsewhere = |at: &Address| address::scope(at) != address::Scope::Loopback;
        self.elsewhere = self.worked.iter().chain(&self.signed).chain(&self.hints).any(elsewhere);
    }
}

#[derive(Debug, Default)]
pub(super) struct AddressBook {
    entries: BTreeMap<NodeId, Entry>,
    /// Oldest first.
    heard: VecDeque<NodeId>,
}

impl AddressBook {
    pub(super) fn learn(&mut self, node: NodeId, addresses: &[Address], source: Source) {
        let mut fresh = addresses.iter().filter(|address| address.len() <= ADDRESS_BYTES_MAX);
        if addresses.is_empty() && source == Source::Hint {
            return;
        }
        let entry = self.entry(node);
        match source {
            Source::Signed => entry.signed = fresh.by_ref().take(SIGNED_MAX).cloned().collect(),
            Source::Hint => {
                for address in fresh.take(HINTS_MAX) {
                    entry.hint(address.clone());
                }
            }
        }
        entry.changed();
    }

    /// This one worked: it goes first.
    pub(super) fn prefer(&mut self, node: NodeId, address: &Address) {
        if address.len() <= ADDRESS_BYTES_MAX {
            let entry = self.entry(node);
            entry.worked = Some(address.clone());
            entry.changed();
        }
    }

    /// It did not work this time: no reason to try it first again.
    pub(super) fn doubt(&mut self, node: NodeId) {
        if let Some(entry) = self.entries.get_mut(&node)
            && let Some(address) = entry.worked.take()
        {
            // Kept behind: a node that was away for a while comes back where it was.
            entry.hint(address);
            entry.changed();
        }
    }

    /// All that is known, the best first. At most 17.
    pub(super) fn of(&self, node: NodeId) -> Vec<Address> {
        let Some(entry) = self.entries.get(&node) else { return Vec::new() };
        let mut said = entry.signed.clone();
        address::sort(&mut said);
        let mut hints: Vec<Address> = entry.hints.iter().cloned().collect();
        address::sort(&mut hints);
        let mut all: Vec<Address> = Vec::new();
        for address in entry.worked.iter().cloned().chain(said).chain(hints) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    /// All nodes in the book.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.entries.keys().copied()
    }

    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.entries
            .get(&node)
            .is_some_and(|entry| entry.worked.is_some() || !entry.signed.is_empty() || !entry.hints.is_empty())
    }

    /// Whether it is said to be anywhere but on this very machine.
    pub(super) fn is_somewhere(&self, node: NodeId) -> bool {
        self.entries.get(&node).is_some_and(|entry| entry.elsewhere)
    }

    fn entry(&mut self, node: NodeId) -> &mut Entry {
        if !self.entries.contains_key(&node) {
            if self.heard.len() == NODES_MAX
                && let Some(oldest) = self.heard.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.heard.push_back(node);
        }
        self.entries.entry(node).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([3; 32]);

    fn at(number: usize) -> Address {
        format!("/ip4/198.51.100.{number}/udp/4001/quic-v1")
    }

    #[test]
    fn who_lies_about_a_nodes_addresses_neither_hides_the_true_ones_nor_makes_many_dials() {
        let mut book = AddressBook::default();
        book.learn(NODE, &[at(1)], Source::Signed);
        for number in 0..1_000 {
            book.learn(NODE, &[format!("/ip6/2001:db8::{number:x}/tcp/1")], Source::Hint);
        }
        let known = book.of(NODE);
        assert_eq!(known[0], at(1), "what it signed goes first");
        assert_eq!(known.len(), 1 + HINTS_MAX);
    }

    /// A peer cache repeats what a node signed: public addresses, this machine's own, and through relays that may be dead.
    #[test]
    fn no_address_of_a_word_pushes_out_another_of_the_same_word() {
        let said: Vec<Address> = (1..=SIGNED_MAX).map(at).collect();
        let mut book = AddressBook::default();
        for _ in 0..3 {
            book.learn(NODE, &said, Source::Hint);
        }
        assert_eq!(book.of(NODE).len(), SIGNED_MAX);
        assert!(said.iter().all(|address| book.of(NODE).contains(address)));
    }

    #[test]
    fn a_node_that_moved_is_looked_for_where_it_is_now() {
        let mut book = AddressBook::default();
        book.learn(NODE, &[at(1), at(2)], Source::Signed);
        book.prefer(NODE, &at(2));
        book.learn(NODE, &[at(3)], Source::Signed);
        assert_eq!(book.of(NODE), [at(2), at(3)]);
        book.doubt(NODE);
        assert_eq!(book.of(NODE), [at(3), at(2)]);
    }
}
