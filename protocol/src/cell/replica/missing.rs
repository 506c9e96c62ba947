//! A voter that has had no link to a member's node for long says so in the log, and takes it back once it has one: see
//! `cell::state`'s misses. A word that is not heard is said again, to itself by who leads, else to the leader.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Replica;
use crate::{
    cell::{Command, Member, Missed, State, state::RULES_OF_MISSES},
    id::{NodeId, ReplicaId},
    time::{Instant, Timestamp},
};

/// A member's node that this one has had no link to for so long is missed. Observers call a dead node down within seconds; this
/// is for what they cannot say any more.
pub(super) const MISSED_AFTER: Duration = Duration::from_mins(5);
/// It is looked so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A word that the state does not show is said again after so long.
const AGAIN: Duration = Duration::from_secs(15);

/// Which members' nodes this one is linked to, and since when it is not.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Of the cell's nodes; bounded by this node's links. One left out would be missed though it is there.
    linked: BTreeSet<NodeId>,
    /// When it was noticed first that there is no link.
    since: BTreeMap<NodeId, Instant>,
    looked: Instant,
    said: Option<Instant>,
}

impl Missing {
    pub(super) fn link(&mut self, node: NodeId, up: bool) {
        if up {
            self.linked.insert(node);
            self.since.remove(&node);
        } else {
            self.linked.remove(&node);
        }
    }

    pub(super) fn is_linked(&self, node: NodeId) -> bool {
        self.linked.contains(&node)
    }

    fn look(&mut self, state: &State, now: Instant) {
        self.looked = now;
        self.since.retain(|node, _| state.members().any(|member| member.node == *node));
        for member in state.members().filter(|member| !self.linked.contains(&member.node)) {
            self.since.entry(member.node).or_insert(now);
        }
    }

    /// What there is to say of a node: that it is missed, or that it is not; nothing as long as that is open.
    fn misses(&self, node: NodeId, now: Instant) -> Option<bool> {
        if self.linked.contains(&node) {
            return Some(false);
        }
        let since = self.since.get(&node)?;
        (now.since(*since) >= MISSED_AFTER).then_some(true)
    }
}

impl Replica {
    /// Says whom this voter misses, or misses no more: one word at a time.
    pub(super) fn tick_missing(&mut self) {
        let now = self.now.instant;
        let Some(state) = self.state.as_ref().filter(|_| now >= self.missing.looked + LOOK_EVERY) else { return };
        self.missing.look(state, now);
        let Some((member, missed)) = self.word_due() else { return };
        if self.missing.said.is_some_and(|said| now < said + AGAIN) {
            return;
        }
        let Some(leader) = self.leader() else { return };
        self.missing.said = Some(now);
        // A clock that was set back must not keep a word from being taken back.
        let before = self.state.as_ref().and_then(|state| state.last_missed_word(member, self.id));
        let made = self.now.wall.max(before.map_or(Timestamp::default(), |at| at + Duration::from_millis(1)));
        let word = Missed { cell: self.cell, voter: self.id, member, missed, made };
        self.tell_leader(leader, Command::Miss(self.identity.seal(&word)));
    }

    /// A member of whom the state does not show what this voter would say of it.
    pub(super) fn word_due(&self) -> Option<(ReplicaId, bool)> {
        let state = self.state.as_ref().filter(|state| state.rules() >= RULES_OF_MISSES)?;
        let votes = |member: &Member| member.replica == self.id && member.votes;
        if state.removed().is_some() || !state.members().any(votes) {
            return None;
        }
        let mut others = state.members().filter(|member| member.node != self.me);
        let due = |member: &Member| {
            let missed = self.missing.misses(member.node, self.now.instant)?;
            (state.is_missed_by(member.replica, self.id) != missed).then_some((member.replica, missed))
        };
        others.find_map(due)
    }

    /// The members that most voters miss, and this one too.
    pub(super) fn missed(&self, state: &State) -> BTreeSet<ReplicaId> {
        let gone = |member: &&Member| {
            let linked = self.missing.linked.contains(&member.node);
            member.node != self.me && !linked && state.is_missed(member.replica)
        };
        state.members().filter(gone).map(|member| member.replica).collect()
    }
}
