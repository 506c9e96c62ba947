//! Whether a node lives on which sleeping cells rely: one question a second for each pair of nodes, however many cells sleep.
//!
//! Both ends of a pair may rely on each other. A question says as much as an answer, so whoever was asked waits longer before
//! it asks itself, and one of the two asks for both.
use std::time::Duration;

use super::{
    Output, Reach,
    find::Message,
    peer::{Peer, State},
};
use crate::{
    frame::Frame,
    id::NodeId,
    machine::Deadline,
    time::{Instant, Now},
};

/// A node that was heard is asked again after this; a node that asked, after half as much more.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// An answer takes no longer than this beside the round trip.
const ANSWER_MAX: Duration = Duration::from_millis(400);
/// So many questions in a row without an answer are silence.
const UNANSWERED_MAX: u32 = 2;

/// What is known of one watched node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vigil {
    /// Asked next then.
    ask_at: Instant,
    unanswered: u32,
    silent: bool,
}

impl Vigil {
    fn begin(now: Instant) -> Self {
        Self { ask_at: now + PROBE_EVERY, unanswered: 0, silent: false }
    }
}

impl Reach {
    pub(super) fn watch(&mut self, now: Now, id: NodeId, wanted: bool) {
        let peer = self.peer(id, now.instant);
        if !wanted {
            peer.vigil = None;
        } else if peer.vigil.is_none() {
            peer.vigil = Some(Vigil::begin(now.instant));
        }
    }

    /// A link says for itself whether its peer is there when it begins and ends.
    pub(super) fn begin_vigil_anew(&mut self, now: Now, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.is_watched()) {
            peer.vigil = Some(Vigil::begin(now.instant));
        }
    }

    /// When a linked peer is asked next whether it lives.
    pub(super) fn probed_at(peer: &Peer) -> Option<Deadline> {
        let vigil = peer.vigil.filter(|_| peer.sleeps)?;
        Some(Deadline { at: vigil.ask_at, reason: "ask whether a peer lives" })
    }

    pub(super) fn probe_if_due(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let due = matches!(peer.state, State::Linked) && Self::probed_at(peer).is_some_and(|due| due.at <= now.instant);
        let Some(vigil) = peer.vigil.as_mut().filter(|_| due) else { return };
        if vigil.unanswered >= UNANSWERED_MAX && !std::mem::replace(&mut vigil.silent, true) {
            self.outbox.push(Output::Silent(id));
        }
        let patience = if vigil.silent { PROBE_EVERY } else { ANSWER_MAX + peer.round_trip.unwrap_or_default() };
        vigil.unanswered = vigil.unanswered.saturating_add(1);
        vigil.ask_at = now.instant + patience;
        self.say(id, Message::Probe);
    }

    pub(super) fn on_probe(&mut self, now: Now, from: NodeId) {
        self.say(from, Message::Alive);
        self.heard(from, now.instant + PROBE_EVERY * 3 / 2);
    }

    pub(super) fn on_alive(&mut self, now: Now, from: NodeId) {
        self.heard(from, now.instant + PROBE_EVERY);
    }

    fn heard(&mut self, from: NodeId, ask_at: Instant) {
        let Some(vigil) = self.peers.get_mut(&from).and_then(|peer| peer.vigil.as_mut()) else { return };
        if vigil.silent {
            self.outbox.push(Output::Heard(from));
        }
        *vigil = Vigil { ask_at, unanswered: 0, silent: false };
    }

    /// Whether a peer reads this frame: one that does not let cells sleep, or knows no recoveries or no converging stores, is
    /// told nothing of them.
    pub(super) fn understands(&self, to: NodeId, frame: &Frame) -> bool {
        match frame {
            Frame::Cell { message, .. } if message.is_about_sleep() => {
                self.admits(to) && self.peers.get(&to).is_some_and(|peer| peer.sleeps)
            }
            Frame::Cell { message, .. } if message.is_about_recovery() => {
                self.admits(to) && self.peers.get(&to).is_some_and(|peer| peer.recovers)
            }
            Frame::Converge { .. } => self.admits(to) && self.peers.get(&to).is_some_and(|peer| peer.converges),
            _ => true,
        }
    }
}
