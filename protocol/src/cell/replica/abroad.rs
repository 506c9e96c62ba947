//! What a leader does for those who read away, once its voters are whole: one copy under each law that the policy calls away, and
//! an instance beside it. Decided, like all mending, by a pure function of the agreed state and of what the leader sees.
//!
//! A copy that merely cannot be reached is left alone, for a cut is what it is there for; one whose node is called down is
//! replaced by another under the same law, if one is found: where the whole of it is cut off there is none.
use std::collections::BTreeSet;

use super::mend::{Seen, Step};
use crate::{
    cell::{
        Evidence, Member, Need, State,
        state::{COPIES_MAX, RULES_OF_CUT},
    },
    id::ReplicaId,
    resources::Jurisdiction,
};

/// What is to be done about copies and the instances beside them.
pub(super) fn mend(state: &State, seen: &Seen<'_>, steps: &mut Vec<Step>) {
    if state.rules() < RULES_OF_CUT {
        return;
    }
    let ended: Vec<Step> = state.copies().filter_map(|copy| end(state, seen, copy)).collect();
    let ends = |replica: ReplicaId| {
        ended.iter().any(|step| matches!(step, Step::EndCopy { replica: it, .. } if *it == replica))
    };
    for law in laws(state) {
        let copy = state.copies().find(|copy| copy.jurisdiction == law && !ends(copy.replica));
        steps.extend(match copy {
            // One that ends makes room first.
            None if state.copies().any(|copy| copy.jurisdiction == law) => None,
            None => Some(Step::Seek(Need::copy(law, None))),
            Some(copy) if is_lost(seen, copy) => Some(Step::Seek(Need::copy(law, Some(copy.replica)))),
            Some(copy) => wants_instance(state, seen, copy).then(|| Step::Seek(Need::beside(law, copy.node))),
        });
    }
    steps.extend(ended);
}

/// Under which laws a copy is to stand.
fn laws(state: &State) -> BTreeSet<Jurisdiction> {
    let policy = state.policy();
    let away: BTreeSet<Jurisdiction> = policy.away.iter().copied().filter(|law| policy.is_away(*law)).collect();
    away.into_iter().take(COPIES_MAX).collect()
}

/// Whether its node is called down, and nothing here says otherwise: a verdict may outlive the cut that gave it.
fn is_lost(seen: &Seen<'_>, copy: &Member) -> bool {
    let heard = seen.logs.get(&copy.replica).is_some_and(|known| known.matched > 0);
    seen.is_down(copy.node) && (seen.is_unlinked(copy.node) || !heard)
}

/// Why a copy ends, if it does.
fn end(state: &State, seen: &Seen<'_>, copy: &Member) -> Option<Step> {
    let replica = copy.replica;
    let evidence = if state.useless_copies().any(|useless| useless == replica) {
        Evidence::Policy
    } else if let Some(ruled) = seen.revoked(state, copy.operator, copy.node) {
        Evidence::Revoked(ruled)
    } else {
        Evidence::Drain(Box::new(seen.drains(state, copy.node)?.presence.clone()))
    };
    Some(Step::EndCopy { replica, evidence })
}

/// Whether an app that runs at all should run beside this copy too: it has caught up, can be reached, and there is room.
fn wants_instance(state: &State, seen: &Seen<'_>, copy: &Member) -> bool {
    let scale = state.policy().scale;
    let caught_up = seen.logs.get(&copy.replica).is_some_and(|known| known.matched > 0);
    scale.min > 0
        && caught_up
        && !seen.is_unlinked(copy.node)
        && state.leases().count() < scale.max as usize
        && state.leases().all(|lease| lease.node != copy.node)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        cell::{
            Command, Outcome, Repair, Role,
            replica::mend::{Draining, Known, mend},
            state::fixture,
        },
        membership::Liveness,
        time::Timestamp,
    };

    fn apply(state: &mut State, command: Command) {
        let entry = fixture::entry(state, command);
        let outcome = state.apply(state.applied() + 1, &entry).outcome;
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }

    /// A cell of FR, DE and BE whose copies stand in NL; the fourth host is one there.
    fn cell() -> (Vec<fixture::Host>, State) {
        let hosts = fixture::hosts(9);
        let mut founding = fixture::Founding::of(&hosts[..3]);
        founding.release.policy.away = vec![fixture::law("NL")];
        let mut state = State::found(&founding.genesis()).unwrap();
        for (replica, host) in (1..).zip(&hosts[..3]) {
            let command = host.support(&state, ReplicaId(replica), RULES_OF_CUT);
            apply(&mut state, command);
        }
        (hosts, state)
    }

    fn with_copy() -> (Vec<fixture::Host>, State) {
        let (hosts, mut state) = cell();
        let (candidate, grant) = (hosts[3].candidate(), hosts[3].grant_to(&state, Role::Learn));
        let copy = Repair::AddCopy { replaces: None, evidence: Evidence::Policy, candidate, grant };
        apply(&mut state, Command::Repair(Box::new(copy)));
        (hosts, state)
    }

    fn seen(state: &State, matched: u64) -> Seen<'static> {
        let logs = BTreeMap::from([(ReplicaId(4), Known { matched, committed: 0 })]);
        Seen { stamp: state.time(), logs, ..Seen::default() }
    }

    fn nl() -> Jurisdiction {
        fixture::law("NL")
    }

    #[test]
    fn a_copy_is_sought_and_then_an_instance_beside_it_once_it_has_something() {
        let (_, state) = cell();
        assert_eq!(mend(&state, &seen(&state, 0)), [Step::Seek(Need::copy(nl(), None))]);
        let (hosts, mut state) = with_copy();
        assert_eq!(mend(&state, &seen(&state, 0)), []);
        let beside = Step::Seek(Need::beside(nl(), hosts[3].node()));
        assert_eq!(mend(&state, &seen(&state, 9)), [beside]);
        let (candidate, grant) = (hosts[3].candidate(), hosts[3].grant_to(&state, Role::Instance));
        let lease = Repair::GrantLease { candidate, grant, relieves: None };
        apply(&mut state, Command::Repair(Box::new(lease)));
        assert_eq!(mend(&state, &seen(&state, 9)), []);
        let unlinked = BTreeSet::from([hosts[0].node()]);
        let lost = Seen { unlinked: Some(&unlinked), ..seen(&state, 9) };
        assert_eq!(mend(&state, &lost), [Step::Seek(Need::instance())], "one away stands in for none at home");
    }

    #[test]
    fn a_copy_that_cannot_be_reached_is_kept_and_one_that_is_called_down_replaced() {
        let (hosts, state) = with_copy();
        let node = hosts[3].node();
        let unlinked = BTreeSet::from([node]);
        assert_eq!(mend(&state, &Seen { unlinked: Some(&unlinked), ..seen(&state, 9) }), []);
        let verdicts = vec![hosts[1].verdict(node, Liveness::Down), hosts[2].verdict(node, Liveness::Down)];
        let down = BTreeMap::from([(node, verdicts)]);
        let replaced = Step::Seek(Need::copy(nl(), Some(ReplicaId(4))));
        let both = Seen { down: Some(&down), unlinked: Some(&unlinked), ..seen(&state, 9) };
        assert_eq!(mend(&state, &both), std::slice::from_ref(&replaced));
        assert_eq!(mend(&state, &Seen { down: Some(&down), ..seen(&state, 0) }), [replaced], "nor was it ever heard");
        let linked = mend(&state, &Seen { down: Some(&down), ..seen(&state, 9) });
        assert!(!linked.contains(&Step::Seek(Need::copy(nl(), Some(ReplicaId(4))))), "a verdict that outlived its cut");
    }

    #[test]
    fn a_draining_copy_ends_and_one_that_has_learnt_no_rules_in_good_time() {
        let (hosts, mut state) = with_copy();
        let presence = hosts[3].presence(Some(fixture::FOUNDED));
        let word = Draining { presence: presence.clone(), expires: Timestamp(u64::MAX) };
        let draining = BTreeMap::from([(hosts[3].node(), word)]);
        let ends = |evidence| Step::EndCopy { replica: ReplicaId(4), evidence };
        let steps = mend(&state, &Seen { draining: Some(&draining), ..seen(&state, 9) });
        assert_eq!(steps, [ends(Evidence::Drain(Box::new(presence)))]);
        let mut entry = fixture::entry(&state, hosts[0].support(&state, ReplicaId(1), RULES_OF_CUT));
        entry.stamp = state.time() + crate::cell::state::JOIN_MAX + std::time::Duration::from_secs(1);
        state.apply(state.applied() + 1, &entry);
        assert!(mend(&state, &seen(&state, 9)).contains(&ends(Evidence::Policy)));
    }

    #[test]
    fn cells_of_earlier_rules_have_no_copies() {
        let hosts = fixture::hosts(3);
        let mut founding = fixture::Founding::of(&hosts);
        founding.release.policy.away = vec![nl()];
        let state = State::found(&founding.genesis()).unwrap();
        assert_eq!(mend(&state, &seen(&state, 0)), []);
    }
}
