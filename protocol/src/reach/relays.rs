//! Which members relay for this node: who is willing, who was asked, who agreed, who said no. Pure.
//!
//! A relay carries bytes between two links of its own and reads nothing of them. Relays of distinct operators are taken
//! first, then those that are near. A relay that refuses or falls silent is left alone for a while.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    id::{NodeId, OperatorId},
    machine::Deadline,
    time::Instant,
};

/// Willing nodes that are remembered; of more, no notice is taken.
const WILLING_MAX: usize = 256;
/// A relay that said no, or was lost, is not asked again before.
const REST: Duration = Duration::from_secs(30);
/// Lost by itself, not refused: asked again after.
const REST_SHORT: Duration = Duration::from_secs(1);
/// A relay that does not answer within this is given up.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Asked(Instant),
    Agreed,
}

/// A peer that might relay: linked from node to node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) node: NodeId,
    pub(super) operator: OperatorId,
    pub(super) round_trip: Duration,
}

/// What to do about relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Reserve(NodeId),
    Release(NodeId),
}

#[derive(Debug, Default)]
pub(super) struct Relays {
    willing: BTreeSet<NodeId>,
    held: BTreeMap<NodeId, Held>,
    resting: BTreeMap<NodeId, Instant>,
}

impl Relays {
    pub(super) fn is_willing(&mut self, node: NodeId, willing: bool) {
        if !willing {
            self.willing.remove(&node);
        } else if self.willing.len() < WILLING_MAX {
            self.willing.insert(node);
        }
    }

    pub(super) fn agreed(&mut self, node: NodeId) {
        if let Some(held) = self.held.get_mut(&node) {
            *held = Held::Agreed;
        }
    }

    /// It does not relay (any more).
    pub(super) fn lost(&mut self, node: NodeId, now: Instant) {
        if let Some(held) = self.held.remove(&node) {
            let rest = if held == Held::Agreed { REST_SHORT } else { REST };
            self.resting.insert(node, now + rest);
        }
    }

    /// Whether one relays for this node, or was asked to.
    pub(super) fn holds(&self, node: NodeId) -> bool {
        self.held.contains_key(&node)
    }

    /// Those that relay for this node now, in order of their ids.
    pub(super) fn agreeing(&self) -> impl Iterator<Item = NodeId> {
        self.held.iter().filter(|(_, held)| **held == Held::Agreed).map(|(node, _)| *node)
    }

    /// Willing nodes that might be asked if there were a link to them; at most `many`.
    pub(super) fn worth_a_link(&self, many: usize) -> Vec<NodeId> {
        let lacking = many.saturating_sub(self.held.len());
        let free = self.willing.iter().filter(|node| !self.held.contains_key(node) && !self.resting.contains_key(node));
        free.take(lacking).copied().collect()
    }

    /// What to do so that `wanted` of the candidates relay.
    pub(super) fn mind(&mut self, wanted: usize, candidates: &[Candidate], now: Instant) -> Vec<Step> {
        self.resting.retain(|_, until| now < *until);
        let mut steps = Vec::new();
        let late = |held: &Held| matches!(held, Held::Asked(since) if now.since(*since) >= ANSWER_MAX);
        let late: Vec<NodeId> = self.held.iter().filter(|(_, held)| late(held)).map(|(node, _)| *node).collect();
        for node in late {
            self.lost(node, now);
            steps.push(Step::Release(node));
        }
        while self.held.len() > wanted {
            // The one that has not answered yet, else the last: which one does not matter, but all runs must agree.
            let asked = self.held.iter().find(|(_, held)| **held != Held::Agreed);
            let Some(node) = asked.or(self.held.iter().next_back()).map(|(node, _)| *node) else { break };
            self.held.remove(&node);
            steps.push(Step::Release(node));
        }
        let operator_of = |node: &NodeId| candidates.iter().find(|one| one.node == *node).map(|one| one.operator);
        let mut taken: BTreeSet<OperatorId> = self.held.keys().filter_map(operator_of).collect();
        while self.held.len() < wanted {
            let free = candidates.iter().filter(|one| {
                self.willing.contains(&one.node)
                    && !self.held.contains_key(&one.node)
                    && !self.resting.contains_key(&one.node)
            });
            let Some(next) = free.min_by_key(|one| (taken.contains(&one.operator), one.round_trip, one.node)) else {
                break;
            };
            taken.insert(next.operator);
            self.held.insert(next.node, Held::Asked(now));
            steps.push(Step::Reserve(next.node));
        }
        steps
    }

    /// When [`Self::mind`] may have something to do by itself.
    pub(super) fn next_due(&self) -> Option<Deadline> {
        let asked = self.held.values().filter_map(|held| match held {
            Held::Asked(since) => Some(*since + ANSWER_MAX),
            Held::Agreed => None,
        });
        let next = self.resting.values().copied().chain(asked).min()?;
        Some(Deadline { at: next, reason: "relays" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn candidate(number: u8, operator: u8, round_trip_ms: u64) -> Candidate {
        let operator = OperatorId([operator; 32]);
        Candidate { node: node(number), operator, round_trip: Duration::from_millis(round_trip_ms) }
    }

    fn willing(numbers: &[u8]) -> Relays {
        let mut relays = Relays::default();
        for number in numbers {
            relays.is_willing(node(*number), true);
        }
        relays
    }

    #[test]
    fn two_relays_are_of_two_operators_even_if_a_second_of_one_is_nearer() {
        let mut relays = willing(&[1, 2, 3]);
        let candidates = [candidate(1, 1, 5), candidate(2, 1, 6), candidate(3, 2, 90), candidate(4, 3, 1)];
        let steps = relays.mind(2, &candidates, Instant::START);
        assert_eq!(steps, [Step::Reserve(node(1)), Step::Reserve(node(3))], "4 is not willing");
    }

    #[test]
    fn a_relay_that_refuses_is_replaced_and_left_alone_for_a_while() {
        let mut relays = willing(&[1, 2]);
        let candidates = [candidate(1, 1, 5), candidate(2, 2, 90)];
        let now = Instant::START;
        assert_eq!(relays.mind(1, &candidates, now), [Step::Reserve(node(1))]);
        relays.lost(node(1), now);
        assert_eq!(relays.mind(1, &candidates, now), [Step::Reserve(node(2))]);
        relays.lost(node(2), now);
        assert_eq!(relays.mind(1, &candidates, now), []);
        let later = relays.next_due().unwrap().at;
        assert_eq!(relays.mind(1, &candidates, later), [Step::Reserve(node(1))]);
    }

    #[test]
    fn a_relay_that_never_answers_is_given_up() {
        let mut relays = willing(&[1]);
        assert_eq!(relays.mind(1, &[candidate(1, 1, 5)], Instant::START), [Step::Reserve(node(1))]);
        let later = relays.next_due().unwrap().at;
        assert_eq!(relays.mind(1, &[candidate(1, 1, 5)], later), [Step::Release(node(1))]);
    }

    #[test]
    fn a_node_that_is_open_lets_its_relays_go() {
        let mut relays = willing(&[1]);
        relays.mind(1, &[candidate(1, 1, 5)], Instant::START);
        relays.agreed(node(1));
        assert_eq!(relays.agreeing().collect::<Vec<_>>(), [node(1)]);
        assert_eq!(relays.mind(0, &[], Instant::START), [Step::Release(node(1))]);
    }
}
