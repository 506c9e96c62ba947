//! Who does a chore of a jurisdiction, agreed on without a word: rendezvous hashing (Thaler and Ravishankar, 1998) over
//! the nodes that everybody there sees. Two nodes with different views differ in few of the chosen.
use crate::{id::NodeId, id::OperatorId, resources::Jurisdiction, time::Timestamp};

/// The chosen change after so many milliseconds of wall time, so that no node does a chore for ever.
const EPOCH_MS: u64 = 10 * 60 * 1_000;

/// The draw of `node` for a chore; the lowest draws are chosen.
fn draw(chore: &str, jurisdiction: Jurisdiction, wall: Timestamp, node: NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(chore.as_bytes()).update(&[0]);
    hasher.update(jurisdiction.as_str().as_bytes());
    hasher.update(&(wall.0 / EPOCH_MS).to_be_bytes());
    hasher.update(&node.0);
    *hasher.finalize().as_bytes()
}

/// The `count` chosen among `nodes`: of distinct operators; where there are fewer than two operators, a second node of
/// the same one, so that one death leaves another.
pub(super) fn chosen(
    chore: &str,
    jurisdiction: Jurisdiction,
    wall: Timestamp,
    nodes: impl Iterator<Item = (NodeId, OperatorId)>,
    count: usize,
) -> Vec<NodeId> {
    let mut draws: Vec<_> =
        nodes.map(|(node, operator)| (draw(chore, jurisdiction, wall, node), node, operator)).collect();
    draws.sort_unstable();
    let mut operators = std::collections::BTreeSet::new();
    let (firsts, others): (Vec<_>, Vec<_>) =
        draws.into_iter().partition(|(_, _, operator)| operators.insert(*operator));
    let mut chosen: Vec<NodeId> = firsts.into_iter().map(|(_, node, _)| node).take(count).collect();
    let missing = count.min(2).saturating_sub(chosen.len());
    chosen.extend(others.into_iter().map(|(_, node, _)| node).take(missing));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u8, operators: u8) -> Vec<(NodeId, OperatorId)> {
        (0..count).map(|n| (NodeId::of(&[n]), OperatorId::of(&[n % operators]))).collect()
    }

    fn fr() -> Jurisdiction {
        "FR".parse().unwrap()
    }

    #[test]
    fn everybody_with_the_same_view_chooses_the_same() {
        let mut seen = nodes(20, 7);
        let first = chosen("gate", fr(), Timestamp(0), seen.iter().copied(), 4);
        seen.reverse();
        assert_eq!(chosen("gate", fr(), Timestamp(EPOCH_MS - 1), seen.iter().copied(), 4), first);
        assert_eq!(first.len(), 4);
    }

    #[test]
    fn the_chosen_are_of_distinct_operators_and_never_fewer_than_two_where_two_nodes_are() {
        let seen = nodes(12, 3);
        let gates = chosen("gate", fr(), Timestamp(0), seen.iter().copied(), 4);
        let of = |node: &NodeId| seen.iter().find(|(other, _)| other == node).unwrap().1;
        let operators: std::collections::BTreeSet<_> = gates.iter().map(of).collect();
        assert_eq!((gates.len(), operators.len()), (3, 3));
        assert_eq!(chosen("gate", fr(), Timestamp(0), nodes(5, 1).into_iter(), 4).len(), 2);
        assert_eq!(chosen("gate", fr(), Timestamp(0), nodes(1, 1).into_iter(), 4).len(), 1);
    }

    #[test]
    fn a_newcomer_displaces_at_most_one() {
        let before = chosen("summarise", fr(), Timestamp(0), nodes(30, 30).into_iter(), 2);
        let after = chosen("summarise", fr(), Timestamp(0), nodes(31, 31).into_iter(), 2);
        assert!(after.iter().filter(|node| !before.contains(node)).count() <= 1);
    }
}
