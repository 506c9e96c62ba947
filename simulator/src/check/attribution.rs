//! Attribution: whoever's two statements of one version both came to honest nodes is named as their signer by honest
//! nodes. The checker looks at what arrived, not at what a liar says that it did.
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The checker's memory.
#[derive(Debug, Default)]
pub(crate) struct Attribution {
    /// The first record that came to any honest node, of each signer, kind, subject and order.
    first: HashMap<u128, u32>,
    /// Who contradicted itself, and when the second half came.
    told: BTreeMap<u32, u64>,
    /// By whom each was named.
    named: BTreeMap<u32, BTreeSet<u32>>,
}

impl Attribution {
    /// A record came to an honest node for the first time.
    pub(crate) fn arrived(&mut self, at: u64, slot: u128, record: u32, signer: u32) {
        let first = *self.first.entry(slot).or_insert(record);
        if first != record {
            self.told.entry(signer).or_insert(at);
        }
    }

    /// An honest node holds a proof against a signer.
    pub(crate) fn named(&mut self, by: u32, signer: u32) {
        self.named.entry(signer).or_default().insert(by);
    }

    /// How many contradicted themselves, and how many of them are named by so many honest nodes.
    pub(crate) fn shares(&self) -> (u64, Vec<usize>) {
        let named = |signer: &u32| self.named.get(signer).map_or(0, BTreeSet::len);
        (self.told.len() as u64, self.told.keys().map(named).collect())
    }

    /// Who contradicted itself long before the end and is named by nobody.
    pub(crate) fn ended(&self, long_before: u64) -> Vec<(u32, String)> {
        let unnamed = self.told.iter().filter(|(signer, at)| **at <= long_before && !self.named.contains_key(signer));
        let what = "it contradicted itself before honest nodes, and none of them names it".to_owned();
        unnamed.map(|(signer, _)| (*signer, what.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_that_nobody_names_is_found() {
        let mut checker = Attribution::default();
        checker.arrived(5, 100, 1, 7);
        checker.arrived(6, 100, 1, 7);
        checker.arrived(7, 101, 2, 7);
        assert!(checker.ended(90).is_empty(), "one statement of each version is no contradiction");
        checker.arrived(8, 100, 3, 7);
        assert_eq!(checker.ended(90)[0].0, 7);
        assert!(checker.ended(7).is_empty(), "it came a moment ago");
        checker.named(1, 7);
        assert!(checker.ended(90).is_empty());
        assert_eq!(checker.shares(), (1, vec![1]));
    }
}
