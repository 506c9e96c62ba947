//! Leadership goes to another voter before a node drains or stops, so that nobody waits for a silence.
//!
//! raft's transfer ends in a *forced* vote, which others grant although they still hear their leader: whoever could ask for one
//! at will could depose leaders at will. So a forced vote is let in only in the term after the receiver's own, and only from the
//! replica to which the leader of that term has handed over. The leader says so to all voters first (`MsgTransferLeader`, which
//! is never stepped: it is a notice), then to its heir (`MsgTimeoutNow`). Who has not heard the notice lets the vote wait until
//! its leader is silent, as ever; heir and former leader are a majority of three without them.
//!
//! What callers want is not proposed meanwhile: it waits for the new leader, or is proposed here if nobody took over.
use raft::eraftpb::{Message, MessageType};

use super::{Replica, letter};
use crate::{cell::RaftMessage, id::ReplicaId, time::Instant};

/// A voter that did not take over is not asked again for so many election timeouts.
const UNWILLING_TIMEOUTS: u32 = 10;

/// Leadership on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handing {
    to: ReplicaId,
    /// Given up then.
    until: Instant,
    /// raft was told: nothing proposed before waits for its commit any more.
    told: bool,
}

/// To whom the leader of a term has handed over, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heir {
    pub(super) term: u64,
    pub(super) replica: u64,
}

impl Replica {
    /// Begins to hand over; see the top of this file.
    pub(super) fn hand_over(&mut self, to: ReplicaId) {
        if self.handing.is_none() && self.is_leader() {
            self.handing = Some(Handing { to, until: self.now.instant + self.election_timeout(), told: false });
        }
    }

    fn election_timeout(&self) -> std::time::Duration {
        self.config.tick.saturating_mul(u32::try_from(self.elections.timing.election).unwrap_or(u32::MAX))
    }

    /// Whether proposals wait for another leader.
    pub(super) const fn is_handing_over(&self) -> bool {
        self.handing.is_some()
    }

    /// The next thing to do for it.
    pub(super) fn go_on_handing_over(&mut self) {
        let Some(handing) = self.handing else { return };
        if !self.is_leader() {
            self.handing = None;
        } else if self.now.instant >= handing.until {
            self.handing = None;
            self.raw.raft.abort_leader_transfer();
            let again = self.now.instant + self.election_timeout() * UNWILLING_TIMEOUTS;
            self.leading.refused_lead(handing.to, again);
        } else if !handing.told && self.proposals.none_under_way() {
            self.handing = Some(Handing { told: true, ..handing });
            self.announce_heir(handing.to.0);
            self.raw.transfer_leader(handing.to.0);
        }
    }

    fn announce_heir(&mut self, heir: u64) {
        let term = self.raw.raft.term;
        self.heir = Heir { term, replica: heir };
        let voters = self.raw.raft.prs().conf().voters().ids();
        let others: Vec<u64> = self.peers().into_iter().filter(|id| *id != heir && voters.contains(*id)).collect();
        let notices = others.into_iter().map(|to| {
            let mut notice = Message::default();
            notice.set_msg_type(MessageType::MsgTransferLeader);
            (notice.from, notice.to, notice.term, notice.index) = (self.id.0, to, term, heir);
            notice
        });
        let notices = notices.collect();
        self.post(notices);
    }

    /// The leader has said to whom it hands over.
    pub(super) fn heard_of_heir(&mut self, message: &RaftMessage) {
        if let Ok(heir) = letter::heir(message, &self.receiver()) {
            self.heir = Heir { term: self.raw.raft.term, replica: heir };
        }
    }
}
