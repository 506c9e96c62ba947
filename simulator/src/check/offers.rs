//! Honest offers: what an honest node offers comes to every honest node of its jurisdiction, and soon. Each change and
//! each node that it should come to is one pair.
use std::collections::{BTreeMap, BTreeSet};

/// A change of an offer, and whom it should come to.
#[derive(Debug)]
struct Change {
    at: u64,
    by: u32,
    /// Nodes that it has not come to yet.
    waiting: BTreeSet<u32>,
}

/// The checker's memory.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    changes: BTreeMap<usize, Change>,
    took: Vec<u64>,
    /// Nodes that heard of one only after [`ECLIPSED_AFTER`].
    late: BTreeSet<u32>,
}

/// A node that hears nothing for so long, while there is something to hear, is eclipsed.
const ECLIPSED_AFTER: u64 = 10_000_000_000;

impl Offers {
    /// An honest node changed its offer; these honest nodes should hear of it.
    pub(crate) fn changed(&mut self, at: u64, change: usize, by: u32, listeners: impl Iterator<Item = u32>) {
        self.changes.insert(change, Change { at, by, waiting: listeners.collect() });
    }

    /// It came to a node, and with it whatever the same node had changed before.
    pub(crate) fn came(&mut self, at: u64, change: usize, node: u32) {
        let Some(by) = self.changes.get(&change).map(|change| change.by) else { return };
        for (_, change) in self.changes.range_mut(..=change).filter(|(_, change)| change.by == by) {
            if change.waiting.remove(&node) {
                let took = at - change.at;
                self.took.push(took);
                if took >= ECLIPSED_AFTER {
                    self.late.insert(node);
                }
            }
        }
    }

    /// A process ended: nothing that it waited for counts.
    pub(crate) fn ended(&mut self, node: u32) {
        self.changes.values_mut().for_each(|change| _ = change.waiting.remove(&node));
    }

    fn missing(&self) -> u64 {
        self.changes.values().map(|change| change.waiting.len() as u64).sum()
    }

    /// The time within which 99 of 100 pairs were done; `None` when fewer were.
    pub(crate) fn p99_ns(&self) -> Option<u64> {
        let mut sorted = self.took.clone();
        sorted.resize(sorted.len() + usize::try_from(self.missing()).unwrap_or(usize::MAX / 2), u64::MAX);
        sorted.sort_unstable();
        let rank = (sorted.len() * 99).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().filter(|nanos| *nanos != u64::MAX)
    }

    /// Pairs, and those of them that were done within `within`.
    pub(crate) fn in_time(&self, within: u64) -> (u64, u64) {
        let done = self.took.iter().filter(|took| **took <= within).count() as u64;
        (self.took.len() as u64 + self.missing(), done)
    }

    /// Whether a node missed what was said, by `now`, though it may have heard of it later.
    pub(crate) fn eclipsed(&self, now: u64, node: u32) -> bool {
        let overdue = |change: &Change| change.at + ECLIPSED_AFTER <= now && change.waiting.contains(&node);
        self.late.contains(&node) || self.changes.values().any(overdue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_that_comes_late_or_never_is_missed() {
        let mut checker = Offers::default();
        checker.changed(0, 0, 9, 1..=4);
        checker.came(10, 0, 1);
        checker.came(20, 0, 2);
        checker.came(900, 0, 3);
        checker.came(999, 0, 3);
        assert_eq!(checker.in_time(20), (4, 2));
        assert_eq!(checker.p99_ns(), None, "one of four never came");
        checker.ended(4);
        assert_eq!((checker.in_time(20), checker.p99_ns()), ((3, 2), Some(900)));
    }

    #[test]
    fn a_node_that_hears_nothing_is_eclipsed_once_it_lasts() {
        let mut checker = Offers::default();
        checker.changed(5, 0, 9, 1..=2);
        checker.came(6, 0, 1);
        assert!(!checker.eclipsed(ECLIPSED_AFTER, 2));
        assert!(checker.eclipsed(ECLIPSED_AFTER + 5, 2) && !checker.eclipsed(ECLIPSED_AFTER + 5, 1));
        checker.came(ECLIPSED_AFTER * 2, 0, 2);
        assert!(checker.eclipsed(ECLIPSED_AFTER * 2, 2), "it was, for a while");
    }
}
