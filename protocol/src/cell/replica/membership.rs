//! Raft's membership follows the agreed one, by one joint change at a time: enter, then leave, each an entry of the log.
//!
//! What the next change must be is a pure function of raft's membership and the agreed state, both functions of the log
//! before the entry. So a replica never reads a change that a peer wrote: it applies an entry if its bytes are exactly
//! the change that is due at its index, and skips it otherwise, all replicas alike. A leave is due whenever the membership
//! is joint, whatever the target has become meanwhile, or the cell would be stuck in the joint state.
use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use crate::{cell::state::Membership, id::ReplicaId};

/// The change that brings `now` nearer to `target`; `None` when it is there.
pub(super) fn due(now: &ConfState, target: &Membership) -> Option<ConfChangeV2> {
    if !now.voters_outgoing.is_empty() {
        return Some(ConfChangeV2::default());
    }
    let single = |kind, id: u64| {
        let mut change = ConfChangeSingle::default();
        change.set_change_type(kind);
        change.node_id = id;
        change
    };
    let mut changes = Vec::new();
    for ReplicaId(id) in &target.voters {
        if !now.voters.contains(id) {
            changes.push(single(ConfChangeType::AddNode, *id));
        }
    }
    for ReplicaId(id) in &target.learners {
        if !now.learners.contains(id) {
            changes.push(single(ConfChangeType::AddLearnerNode, *id));
        }
    }
    let mut gone: Vec<u64> = now.voters.iter().chain(&now.learners).copied().collect();
    gone.retain(|id| !target.voters.contains(&ReplicaId(*id)) && !target.learners.contains(&ReplicaId(*id)));
    gone.sort_unstable();
    changes.extend(gone.into_iter().map(|id| single(ConfChangeType::RemoveNode, id)));
    if changes.is_empty() || target.voters.is_empty() {
        return None;
    }
    let mut change = ConfChangeV2::default();
    change.set_transition(ConfChangeTransition::Explicit);
    change.set_changes(changes.into());
    Some(change)
}

/// What the log holds of a change. Equal changes give equal bytes.
pub(super) fn payload(change: &ConfChangeV2) -> Bytes {
    change.write_to_bytes().expect("writing to a Vec cannot fail").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(voters: &[u64], learners: &[u64]) -> Membership {
        let ids = |ids: &[u64]| ids.iter().map(|id| ReplicaId(*id)).collect();
        Membership { voters: ids(voters), learners: ids(learners) }
    }

    fn conf(voters: &[u64], outgoing: &[u64], learners: &[u64]) -> ConfState {
        ConfState {
            voters: voters.to_vec(),
            voters_outgoing: outgoing.to_vec(),
            learners: learners.to_vec(),
            ..ConfState::default()
        }
    }

    #[test]
    fn a_swap_is_one_joint_change_that_is_left_explicitly() {
        let wanted = target(&[1, 2, 4], &[]);
        let enter = due(&conf(&[1, 2, 3], &[], &[4]), &wanted).unwrap();
        assert_eq!(enter.enter_joint(), Some(false));
        assert_eq!(enter.changes.len(), 2);
        let leave = due(&conf(&[1, 2, 4], &[1, 2, 3], &[]), &wanted).unwrap();
        assert!(leave.leave_joint());
        assert_eq!(due(&conf(&[4, 2, 1], &[], &[]), &wanted), None);
    }

    #[test]
    fn a_joint_state_is_left_even_when_the_target_has_moved_on() {
        let moved = target(&[1, 2, 5], &[]);
        assert!(due(&conf(&[1, 2, 4], &[1, 2, 3], &[]), &moved).unwrap().leave_joint());
    }

    #[test]
    fn equal_changes_have_equal_bytes_and_a_leave_has_none() {
        let wanted = target(&[1, 2, 4], &[5]);
        let one = payload(&due(&conf(&[1, 2, 3], &[], &[4]), &wanted).unwrap());
        let other = payload(&due(&conf(&[3, 1, 2], &[], &[4]), &wanted).unwrap());
        assert_eq!(one, other);
        assert!(payload(&ConfChangeV2::default()).is_empty());
    }
}
