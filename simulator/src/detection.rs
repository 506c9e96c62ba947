//! How deaths are noticed: how long after it others count a dead node as down, and how often a living one is. Of whichever
//! detector nodes have; the checker of evictions says what of it must not be.
use std::collections::{BTreeMap, BTreeSet};

use crate::measure::{Measures, Samples};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Detection {
    /// Nodes that died and did not start again, since when, and who counts them as down.
    dead: BTreeMap<u32, (u64, BTreeSet<u32>)>,
    first: Samples,
    each: Samples,
    /// Once for each node that thought so.
    well: u64,
    still: u64,
}

/// A node counts another as down for the first time since its death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detected {
    /// After so long, in nanoseconds.
    pub(crate) took: u64,
    /// Nobody did before.
    pub(crate) first: bool,
}

impl Detection {
    /// A process ended, and what it had counted with it.
    pub(crate) fn died(&mut self, at: u64, node: u32) {
        self.dead.insert(node, (at, BTreeSet::new()));
        self.dead.values_mut().for_each(|(_, seen_by)| _ = seen_by.remove(&node));
    }

    pub(crate) fn started(&mut self, node: u32) {
        self.dead.remove(&node);
    }

    pub(crate) fn is_dead(&self, node: u32) -> bool {
        self.dead.contains_key(&node)
    }

    /// A node counts a dead one as down.
    pub(crate) fn noticed(&mut self, at: u64, by: u32, about: u32) -> Option<Detected> {
        let (since, seen_by) = self.dead.get_mut(&about)?;
        let (took, first) = (at - *since, seen_by.is_empty());
        if !seen_by.insert(by) {
            return None;
        }
        self.each.add(took);
        if first {
            self.first.add(took);
        }
        Some(Detected { took, first })
    }

    /// A node counts one as down that is well, or that stands still just now.
    pub(crate) const fn mistaken(&mut self, is_well: bool) {
        *(if is_well { &mut self.well } else { &mut self.still }) += 1;
    }

    pub(crate) fn measures(&self, measures: &mut Measures) {
        measures.note("detect_first_p50_ms", self.first.percentile_ms(500));
        measures.note("detect_first_max_ms", self.first.percentile_ms(1_000));
        measures.note("detect_p50_ms", self.each.percentile_ms(500));
        measures.note("detect_p99_ms", self.each.percentile_ms(990));
    }

    /// How often one that is well, and one that stood still, was counted as down.
    pub(crate) const fn mistakes(&self) -> [(&'static str, u64); 2] {
        [("false_deaths_of_the_well", self.well), ("false_deaths_of_the_stalled", self.still)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_detected_once_by_each_and_a_node_that_came_back_is_not_dead() {
        let mut detection = Detection::default();
        detection.died(2_000_000_000, 7);
        let seen =
            [(5_000_000_000, 1), (5_500_000_000, 1), (6_000_000_000, 2)].map(|(at, by)| detection.noticed(at, by, 7));
        let expected = [Some((3_000_000_000, true)), None, Some((4_000_000_000, false))];
        assert_eq!(seen, expected.map(|seen| seen.map(|(took, first)| Detected { took, first })));
        detection.started(7);
        assert_eq!((detection.noticed(9_000_000_000, 3, 7), detection.is_dead(7)), (None, false));
    }
}
