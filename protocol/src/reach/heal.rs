//! A cut heals: somebody is linked again who was dialled in vain. Then others may be in reach again too, and whoever is wanted is
//! dialled soon, instead of when a back-off of a long cut ends.
//!
//! A peer that is truly gone costs some dials more by it, each time that somebody comes back.
use super::{
    BACK_OFF, Reach,
    peer::{Peer, State},
};
use crate::{id::NodeId, time::Now};

/// Whoever was dialled in vain so often in a row may be behind a cut. Fewer, and its next dial is near anyway.
const FAILURES_OF_A_CUT: u32 = 4;
/// From here a back-off goes on: the next failed dial is repeated after half a second, and so forth.
const FAILURES_AFTER_IT: u32 = 1;

impl Peer {
    const fn was_cut_off(&self) -> bool {
        self.failures >= FAILURES_OF_A_CUT
    }
}

impl Reach {
    /// Whether a link to this peer, if it comes up now, is a sign that a cut heals.
    pub(super) fn was_cut_off(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(Peer::was_cut_off)
    }

    /// Dials those again soon who were dialled in vain for long.
    pub(super) fn dial_the_lost(&mut self, now: Now) {
        let lost = self.peers.iter().filter(|(_, peer)| peer.was_cut_off() && peer.is_needed());
        let lost: Vec<NodeId> = lost.map(|(id, _)| *id).collect();
        for id in lost {
            let soon = now.instant + self.rng.duration_below(BACK_OFF);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.failures = FAILURES_AFTER_IT;
            if let State::Idle { dial_at } = &mut peer.state {
                *dial_at = soon.min(*dial_at);
            }
            self.arm(id);
        }
    }
}
