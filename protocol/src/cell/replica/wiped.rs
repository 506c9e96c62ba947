//! A member that has lost its disk, or what was on it: its node is there and linked, and nothing of the cell is. No observer calls it
//! down, and nobody misses it. So its leader asks the node of a member that says nothing, or takes nothing in, what it holds of the
//! cell, as a survey does. One that holds nothing rejoins under a new id: who has forgotten whom it voted for, and what it acknowledged,
//! must not speak as the one who did. The leader says nothing to the old id meanwhile, lest its node take it for the new one.
//!
//! A node that says so against the truth gives up its own vote, and asks for the same one again.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Replica;
use crate::{
    cell::{Member, Message, Report, State},
    context::Context,
    id::{NodeId, ReplicaId, RequestId},
    time::Instant,
};

/// The answer to what a leader asks a member's node: no survey of a person bears this number.
pub(crate) const MEMBER_ASKED: RequestId = RequestId(u64::MAX);

/// A member that has not answered for so long, or whose log has not grown for so long while others' has, is asked about.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(5);
/// One that has never answered this leader may be a founder that has not heard of its cell yet.
pub(super) const STRANGE_AFTER: Duration = Duration::from_secs(10);
/// Members are looked at so often: a leader ticks ten times as often, and each look goes through all of them.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A node is asked so often.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// What a leader knows of members whose nodes are there.
#[derive(Debug, Default)]
pub(super) struct Wiped {
    /// As many as the cell has members.
    members: BTreeMap<ReplicaId, Known>,
    looked: Instant,
    asked: Instant,
    /// Their nodes hold nothing of the cell.
    found: BTreeSet<ReplicaId>,
}

/// What this leader saw of a member.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Since when it is one.
    since: Instant,
    /// How far its log goes.
    matched: u64,
    /// Since when it goes no further though others' do.
    stands_since: Instant,
}

impl Wiped {
    pub(super) fn has(&self, replica: ReplicaId) -> bool {
        self.found.contains(&replica)
    }

    pub(super) const fn all(&self) -> &BTreeSet<ReplicaId> {
        &self.found
    }

    /// It has answered as a replica does.
    pub(super) fn answered(&mut self, replica: ReplicaId) {
        self.found.remove(&replica);
    }
}

impl Replica {
    /// Asks the nodes of members that are silent, and of those that held nothing, what they hold.
    pub(super) fn ask_the_silent(&mut self) {
        let now = self.now.instant;
        if now < self.wiped.looked + LOOK_EVERY {
            return;
        }
        self.wiped.looked = now;
        let Some(state) = &self.state else { return };
        let (prs, committed) = (self.raw.raft.prs(), self.raw.raft.raft_log.committed);
        let members: Vec<(ReplicaId, NodeId)> = state
            .members()
            .filter(|member| counts(state, member))
            .map(|member| (member.replica, member.node))
            .collect();
        self.wiped.members.retain(|replica, _| members.iter().any(|(member, _)| member == replica));
        self.wiped.found.retain(|replica| members.iter().any(|(member, _)| member == replica));
        for (replica, _) in &members {
            let matched = prs.get(replica.0).map_or(0, |progress| progress.matched);
            let first = Known { since: now, matched, stands_since: now };
            let known = self.wiped.members.entry(*replica).or_insert(first);
            if known.matched != matched || matched >= committed {
                (known.matched, known.stands_since) = (matched, now);
            }
        }
        if now < self.wiped.asked + ASK_EVERY {
            return;
        }
        let asked: BTreeSet<NodeId> = members
            .into_iter()
            .filter(|(_, node)| *node != self.me && self.missing.is_linked(*node))
            .filter(|(replica, _)| self.wiped.has(*replica) || self.is_silent(*replica))
            .map(|(_, node)| node)
            .collect();
        if asked.is_empty() {
            return;
        }
        self.wiped.asked = now;
        let context = Context::until(MEMBER_ASKED, now + ASK_EVERY).to_wire(self.now);
        for node in asked {
            self.send(node, Message::Survey { context });
        }
    }

    /// Whether a member says nothing, or a voter takes nothing in. A newcomer takes in nothing but its first state for long.
    fn is_silent(&self, replica: ReplicaId) -> bool {
        let now = self.now.instant;
        let Some(known) = self.wiped.members.get(&replica) else { return false };
        let votes = |member: &Member| member.replica == replica && member.votes;
        let is_voter = self.state.as_ref().is_some_and(|state| state.members().any(votes));
        // A newcomer holds nothing for as long as it fetches its first state.
        let silent_after = if is_voter { SILENT_AFTER } else { STRANGE_AFTER };
        let mute = match self.contact.answered(replica).filter(|answered| *answered >= known.since) {
            Some(answered) => now.since(answered) > silent_after,
            None => now.since(known.since) > STRANGE_AFTER,
        };
        mute || (is_voter && now.since(known.stands_since) > STRANGE_AFTER)
    }

    /// A member's node says what it holds.
    pub(super) fn told_what_is_held(&mut self, from: NodeId, report: &Report) {
        if !self.is_leader() {
            return;
        }
        let Some(state) = &self.state else { return };
        let silent: Vec<ReplicaId> = state
            .members()
            .filter(|member| member.node == from && counts(state, member))
            .map(|member| member.replica)
            .filter(|replica| self.wiped.has(*replica) || self.is_silent(*replica))
            .collect();
        for replica in silent {
            let changed = match &report.holding {
                None => self.wiped.found.insert(replica),
                Some(_) => self.wiped.found.remove(&replica),
            };
            self.leading.stirred |= changed;
        }
    }
}

/// Whether a member's vote is the cell's, or about to be.
fn counts(state: &State, member: &Member) -> bool {
    member.votes || state.joining().is_some_and(|(learner, _)| learner == member.replica)
}
