//! A member says which rules it can apply by: once all voters support newer ones, they come into force. Each says so now and
//! then until the cell has heard it, to itself if it leads, else to the leader.
use std::time::Duration;

use super::Replica;
use crate::{
    cell::{Command, Message, Support, state::RULES_MAX},
    context::Context,
    id::{NodeId, RequestId},
    time::Instant,
};

/// A word that was not heard is said again after this; the first one comes so long after the start, for a cell has better
/// things to do in its first seconds.
const AGAIN: Duration = Duration::from_secs(15);
/// A learner that does not support the rules in force is not promoted: it hurries.
const AGAIN_LEARNING: Duration = Duration::from_secs(1);
/// Nobody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// When it last spoke, or started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcement {
    pub(super) last: Instant,
}

impl Replica {
    pub(super) fn tick_announcement(&mut self) {
        let now = self.now.instant;
        let Some(state) = &self.state else { return };
        let Some(supports) = state.supports(self.id).filter(|supports| *supports < RULES_MAX) else { return };
        let holds_up = supports < state.rules();
        let due = if holds_up { self.announcement.last + AGAIN_LEARNING } else { self.announcement.last + AGAIN };
        if now < due {
            return;
        }
        let Some(leader) = self.leader() else { return };
        self.announcement.last = now;
        let support = Support { cell: self.cell, replica: self.id, rules: RULES_MAX };
        self.tell_leader(leader, Command::Support(self.identity.seal(&support)));
    }

    /// A member's word goes into the log: by itself if it leads, else by who does.
    pub(super) fn tell_leader(&mut self, leader: NodeId, word: Command) {
        if self.is_leader() {
            return self.proposals.push_own(word);
        }
        let context = Context::until(RequestId::default(), self.now.instant + PATIENCE).to_wire(self.now);
        self.send(leader, Message::Propose { context, command: Box::new(word) });
    }
}
