//! Eviction: no honest node that lives and is linked is called down by a quorum, as any honest node counts it, and none
//! loses its vote in a cell. Verdicts that came while a node was down, stalled or cut off may stand for a while after:
//! the world says who is well.
use std::collections::{BTreeMap, BTreeSet};

use bocage_protocol::{
    cell::Description,
    id::{CellId, NodeId},
};

/// The checker's memory.
#[derive(Debug, Default)]
pub(crate) struct Eviction {
    /// By whom, about whom.
    in_force: BTreeSet<(u32, u32)>,
    /// Of each cell, as of which line and index, who votes.
    voters: BTreeMap<CellId, (u64, u64, BTreeSet<NodeId>)>,
    verdicts: u64,
}

impl Eviction {
    /// An honest node counts another as down, or as alive again. `well`: it may not.
    pub(crate) fn counted(&mut self, by: u32, about: u32, down: bool, well: bool) -> Result<(), String> {
        if !down {
            self.in_force.remove(&(by, about));
            return Ok(());
        }
        self.verdicts += 1;
        if well && self.in_force.insert((by, about)) {
            return Err(format!("it counts node {about} as down, which is honest and lives"));
        }
        self.in_force.insert((by, about));
        Ok(())
    }

    /// A process ended, and what it had counted with it.
    pub(crate) fn ended(&mut self, node: u32) {
        self.in_force.retain(|(by, _)| *by != node);
    }

    /// Verdicts that are still in force against nodes that are well, at nodes that are well: who stands still hears nothing.
    pub(crate) fn look(&mut self, well: impl Fn(u32) -> bool) -> Vec<(u32, String)> {
        let wrong = |(by, about): &(u32, u32)| well(*about) && well(*by);
        let wrong: Vec<(u32, u32)> = self.in_force.iter().copied().filter(wrong).collect();
        self.in_force.retain(|pair| !wrong.contains(pair));
        let what = |about| format!("it still counts node {about} as down, which is honest and has lived for long");
        wrong.into_iter().map(|(by, about)| (by, what(about))).collect()
    }

    /// A replica described its cell. `steady`: honest, and well for long.
    pub(crate) fn described(&mut self, of: &Description, steady: impl Fn(NodeId) -> bool) -> Result<(), String> {
        let now: BTreeSet<NodeId> = of.voters().collect();
        let (line, applied, before) = self.voters.entry(of.cell).or_default();
        if (of.line, of.applied) <= (*line, *applied) {
            return Ok(());
        }
        (*line, *applied) = (of.line, of.applied);
        let before = std::mem::replace(before, now);
        let now = &self.voters[&of.cell].2;
        match before.iter().find(|node| !now.contains(node) && steady(**node)) {
            Some(node) => Err(format!("cell {:?} took the vote of node {node:?}, which is honest and lives", of.cell)),
            None => Ok(()),
        }
    }

    /// Verdicts of honest quorums that were looked at.
    pub(crate) const fn looked_at(&self) -> u64 {
        self.verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_against_a_node_that_is_well_is_found_at_once_and_one_that_stays_later() {
        let mut checker = Eviction::default();
        checker.counted(1, 7, true, false).unwrap();
        assert!(checker.look(|node| node != 7).is_empty(), "node 7 was down just now");
        assert!(checker.look(|node| node != 1).is_empty(), "node 1 stands still");
        assert!(checker.counted(2, 7, true, true).unwrap_err().contains("node 7"));
        checker.counted(2, 7, false, true).unwrap();
        assert_eq!(checker.look(|_| true).len(), 1, "node 1 holds on to it");
        assert!(checker.look(|_| true).is_empty(), "and is told of once");
    }

    #[test]
    fn what_a_dead_process_counted_is_forgotten() {
        let mut checker = Eviction::default();
        checker.counted(1, 7, true, false).unwrap();
        checker.ended(1);
        assert!(checker.look(|_| true).is_empty());
        assert_eq!(checker.looked_at(), 1);
    }
}
