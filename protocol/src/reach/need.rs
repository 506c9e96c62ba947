//! Which links are needed, and how a link ends that nobody needs: both its ends say so, and one of them hangs up. Without
//! it a node would in time be linked to everybody it ever met; and who hung up alone would tear what the other still uses.
//!
//! A link is needed while a part wants it, while frames went over it a moment ago, while it is a relay, and while this node
//! knows nobody better than a bootstrap node.
use std::time::Duration;

use super::{
    Output, Reach, Timer, Wanter,
    find::Message,
    peer::{Peer, State},
};
use crate::{
    id::NodeId,
    io::Over,
    machine::Deadline,
    time::{Instant, Now},
};

/// A link that nobody here wants is kept for so long after the last frame that was sent over it: longer than subscriptions
/// last and than neighbours are silent.
const LINGER: Duration = Duration::from_mins(1);
/// A bootstrap node whose link was let go is dialled again after so long and as much again at most, so that two sides of a
/// cut that have forgotten each other meet again.
const BOOTSTRAP_AGAIN: Duration = Duration::from_mins(4);
/// Somebody without a link whom nobody wants is forgotten after so long.
const FORGET: Duration = Duration::from_mins(10);

impl Reach {
    /// When it is to be looked at whether a linked peer may be let go.
    pub(super) fn lingers_until(peer: &Peer) -> Option<Deadline> {
        let unwanted = peer.says_needed && peer.parts && !peer.is_wanted_for_good();
        unwanted.then(|| Deadline { at: peer.used_at + LINGER, reason: "let a link go" })
    }

    /// When somebody without a link is forgotten, whom nobody wants.
    pub(super) fn forgotten_at(dial_at: Instant) -> Deadline {
        Deadline { at: dial_at + FORGET, reason: "forget a peer" }
    }

    /// A link is let go if nobody here has needed it for a while, and a peer without one is forgotten.
    pub(super) fn let_go(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get(&id) else { return };
        match peer.state {
            State::Linked if Self::lingers_until(peer).is_some_and(|due| due.at <= now.instant) => {
                let of_use = self.is_of_use(id);
                let Some(peer) = self.peers.get_mut(&id) else { return };
                if of_use {
                    peer.used_at = now.instant;
                    return;
                }
                peer.says_needed = false;
                if peer.needed_there {
                    self.say(id, Message::Needed(false));
                } else {
                    self.outbox.push(Output::Hangup { peer: id });
                }
            }
            State::Idle { dial_at } if !peer.is_needed() && Self::forgotten_at(dial_at).at <= now.instant => {
                self.peers.remove(&id);
            }
            State::Idle { .. } | State::Dialling { .. } | State::Greeting | State::Linked => {}
        }
    }

    /// Whether a link that no part wants is of use all the same.
    fn is_of_use(&self, id: NodeId) -> bool {
        let relays = |peer: &Peer| peer.over == Some(Over::Relay(id));
        let anybody_better = || self.peers.values().any(|peer| peer.has_link() && peer.is_wanted_for_good());
        self.relays.holds(id) || self.peers.values().any(relays) || !anybody_better()
    }

    /// A link is needed from now on: the other end hears of it if it was told otherwise, and one that was let go is made anew.
    pub(super) fn needs(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.used_at = now.instant;
        if std::mem::take(&mut peer.left_alone)
            && let State::Idle { dial_at } = &mut peer.state
        {
            *dial_at = now.instant;
        }
        if !peer.says_needed {
            peer.says_needed = true;
            self.say(id, Message::Needed(true));
            self.agenda.set(Timer::Peer(id), Some(Deadline { at: now.instant + LINGER, reason: "let a link go" }));
        }
    }

    pub(super) fn on_needed(&mut self, from: NodeId, needed: bool) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.needed_there = needed;
        if !needed && !peer.says_needed {
            self.outbox.push(Output::Hangup { peer: from });
        }
    }

    /// The last link is gone: whoever was let go is worth one again.
    pub(super) fn fall_back(&mut self, now: Now) {
        if self.peers.values().any(Peer::has_link) {
            return;
        }
        let alone = self.peers.iter().filter(|(_, peer)| peer.left_alone && peer.is_needed());
        for id in alone.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.needs(now, id);
            self.dial_if_due(now, id);
            self.arm(id);
        }
    }

    /// A link that was let go is gone: when its peer is dialled again, if nobody needs it before.
    pub(super) fn leave_alone(&mut self, now: Now) -> Instant {
        now.instant + BOOTSTRAP_AGAIN + self.rng.duration_below(BOOTSTRAP_AGAIN)
    }
}

impl Wanter {
    /// Whether nobody else would do: who is wanted so is looked for where no address of his works.
    pub(super) const fn wants_nobody_else(self) -> bool {
        match self {
            Self::Cell(_)
            | Self::Route(_)
            | Self::Survey(_)
            | Self::HandOver(_)
            | Self::Transfer(_)
            | Self::Bootstrap
            | Self::Relay => true,
            Self::Membership | Self::Find(_) => false,
        }
    }
}
