//! Stories of a cell's state, one file for each part of it.
mod founding;
mod tenants;
mod succession;
mod stores;
mod exactly_once;
mod leasing;
mod mending;
mod standing;
mod draining;
mod encoding;
mod any_entry;

use std::time::Duration;

use super::{
    RULES_MAX, State,
    fixture::{self, Founding, Host},
};
use crate::{
    cell::{Command, Entry, Outcome, TenantAction},
    id::OpId,
    refusal::{Certainty, Code, Refusal},
};

/// A cell in a story: applies what it is told, and sees to it that a refusal changes nothing.
struct Story {
    state: State,
    founding: Founding,
    ops: u64,
}

impl Story {
    /// A cell of so many voters; the first hosts the one instance.
    fn of(voters: usize) -> Self {
        Self::found(Founding::of(&fixture::hosts(voters)))
    }

    fn found(founding: Founding) -> Self {
        let state = State::found(&founding.genesis()).expect("the story begins with a sound genesis");
        Self { state, founding, ops: 0 }
    }

    /// All voters say that they support what this version knows.
    fn by_the_newest_rules(mut self) -> Self {
        for n in 0..self.founding.voters.len() {
            let host = self.host(n);
            let replica = self.state.replica_of(host.node()).unwrap();
            let command = host.support(&self.state, replica, RULES_MAX);
            assert_eq!(self.apply(command), Outcome::Done);
        }
        assert_eq!(self.state.rules(), RULES_MAX);
        self
    }

    fn host(&self, n: usize) -> Host {
        self.founding.voters[n].clone()
    }

    fn op(&mut self) -> OpId {
        self.ops += 1;
        fixture::op("story", self.ops)
    }

    fn apply_entry(&mut self, entry: &Entry) -> Outcome {
        let before = self.state.clone();
        let effects = self.state.apply(before.applied() + 1, entry);
        if let Outcome::Refused(_) | Outcome::Conflict { .. } = effects.outcome {
            assert!(!effects.head_changed);
            assert_eq!(but_for_time(&before, &self.state), self.state.encode(), "a refusal changes nothing");
        }
        if !effects.head_changed {
            assert_eq!(but_for_renewals(&before), but_for_renewals(&self.state), "a changed head is told");
        }
        effects.outcome
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.apply_entry(&fixture::entry(&self.state, command))
    }

    fn later(&mut self, later: Duration, command: Command) -> Outcome {
        let mut entry = fixture::entry(&self.state, command);
        entry.stamp = self.state.time() + later;
        self.apply_entry(&entry)
    }

    fn refused(&mut self, command: Command) -> Refusal {
        refusal(self.apply(command))
    }

    fn tenant(&mut self, action: TenantAction) -> Outcome {
        let op = self.op();
        let command = self.founding.tenant.command(&self.state, op, action);
        self.apply(command)
    }

    /// Time passes: an entry that does nothing.
    fn wait(&mut self, time: Duration) {
        let write =
            self.founding.tenant.sign(None, fixture::op("founding", 1), self.state.time(), TenantAction::Remove);
        let known = self.later(time, Command::Tenant { signed: write, receipts: Vec::new() });
        assert!(matches!(known, Outcome::Released(1) | Outcome::Refused(_)), "{known:?}");
    }
}

fn refusal(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// `before`, with what even a refusal may change taken from `after`.
fn but_for_time(before: &State, after: &State) -> crate::codec::Blob {
    let mut state = before.clone();
    state.applied = after.applied;
    state.time = after.time;
    state.digest = after.digest;
    state.tenant_sessions = after.tenant_sessions.clone();
    state.data_sessions = after.data_sessions.clone();
    state.encode()
}

/// The description without what moves with every entry and renewal.
fn but_for_renewals(state: &State) -> crate::cell::Description {
    let mut description = state.description();
    description.applied = 0;
    description.time = fixture::FOUNDED;
    description.leases.iter_mut().for_each(|lease| lease.renewed = fixture::FOUNDED);
    description
}

fn definite(refusal: &Refusal, code: Code) {
    assert_eq!((refusal.code, refusal.certainty), (code, Certainty::Definite), "{refusal}");
}
