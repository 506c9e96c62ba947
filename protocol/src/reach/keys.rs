//! Whose certificate counts no more is a member no more, and who has a later one introduces himself anew.
use std::{sync::Arc, time::Duration};

use super::{Output, Reach, peer::State};
use crate::{
    id::NodeId,
    identity::{NodeIdentity, Void},
    notice::Notice,
    record::Keyring,
    time::Now,
};

/// A peer whose operator has a new key has so long to show a certificate by it.
const RECERTIFY_MAX: Duration = Duration::from_secs(5);

impl Reach {
    /// Hangs up on a peer, whether it was a member until now or not.
    pub(super) fn turn_away(&mut self, now: Now, id: NodeId, reason: String) {
        self.outbox.push(Output::Notice(Notice::PeerRefused { peer: id, reason }));
        self.outbox.push(Output::Hangup { peer: id });
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.refused = true;
        peer.waiting.clear();
        if matches!(peer.state, State::Linked) {
            self.lost(now, id);
            self.arm(id);
        }
    }

    /// Whose certificate counts no more is a member no more.
    pub(super) fn on_keys(&mut self, now: Now, keyring: Arc<Keyring>) {
        self.keyring = keyring;
        self.judge_own();
        let void =
            self.peers.iter().filter(|(_, peer)| matches!(peer.state, State::Linked)).filter_map(|(id, peer)| {
                let certificate = peer.certificate.as_ref()?;
                let why = self.keyring.counts(certificate, peer.certified_by).err()?;
                Some((*id, why))
            });
        for (id, why) in void.collect::<Vec<_>>() {
            match (why, self.peers.get_mut(&id)) {
                // Its new certificate may be on its way.
                (Void::Superseded { .. }, Some(peer)) if peer.void_at.is_none() => {
                    peer.void_at = Some(now.instant + RECERTIFY_MAX);
                    self.arm(id);
                }
                (Void::Superseded { .. }, _) => {}
                (Void::Revoked, _) => self.turn_away(now, id, format!("its certificate counts no more: {why}")),
            }
        }
    }

    /// Hangs up on a peer that still shows a certificate by a dead key.
    pub(super) fn end_void(&mut self, now: Now, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.void_at.is_some_and(|at| at <= now.instant) {
            peer.void_at = None;
            let counts = peer.certificate.as_ref().map(|it| self.keyring.counts(it, peer.certified_by));
            if let Some(Err(why)) = counts {
                self.turn_away(now, id, format!("its certificate counts no more: {why}"));
            }
        }
    }

    fn judge_own(&mut self) {
        let by = self.identity.signed_certificate().key();
        self.void = self.keyring.counts(self.identity.certificate(), by).is_err();
    }

    /// Introduces this node anew to everybody.
    pub(super) fn on_certificate(&mut self, now: Now, identity: NodeIdentity) {
        self.identity = identity;
        self.judge_own();
        let linked = self.peers.iter().filter(|(_, peer)| peer.has_link());
        for to in linked.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.greet(now, to);
        }
    }
}
