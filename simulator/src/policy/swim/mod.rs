//! SWIM with Lifeguard, as a baseline: the failure detector of memberlist, on which serf and Consul stand, with its numbers.
//!
//! SWIM (A. Das, I. Gupta, A. Motivala, DSN 2002): every interval each node pings one other, in an order shuffled anew each
//! round; if no answer comes it asks a few others to ping it; if none of them hears it either, the node is *suspect*, and dead
//! unless it says in time, by a higher incarnation, that it lives. News of all this ride on pings and answers, and go to a few
//! random nodes in between.
//!
//! Lifeguard (A. Dadgar, J. Phillips, J. Currey, DSN Workshops 2018) holds a node that is slow itself back from accusing
//! others: the worse its own probes go, the slower it probes (`awareness`); a suspicion that few share waits longer
//! (`suspicion`); and who pings a suspect tells it so at once (the *buddy system*).
//!
//! What differs from memberlist: who is a member comes from signed presences instead of a join, so each jurisdiction is a
//! cluster of its own and who is dead is forgotten when its presence ends; there is no fallback to TCP for pings, and complete
//! states are exchanged in datagrams; logarithms are integers.
mod awareness;
mod machine;
mod rumours;
mod suspicion;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use bocage_protocol::{
    id::NodeId,
    membership::detector::{Detection, Detector},
    random::Seed,
    time::Now,
};

/// The numbers of a cluster, with memberlist's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swim {
    /// A node pings another so often, if all is well.
    pub probe_interval: Duration,
    /// Others are asked when no answer came for so long.
    pub probe_timeout: Duration,
    /// So many others.
    pub indirect_checks: usize,
    /// A suspicion lasts at least so many probe intervals, times the decimal logarithm of how many nodes there are.
    pub suspicion_mult: u64,
    /// One that nobody confirms lasts so many times as long. 1: without Lifeguard.
    pub suspicion_max_timeout_mult: u64,
    /// A node in bad health probes up to so many times as slowly. 1: without Lifeguard.
    pub awareness_max: u64,
    /// News go out so often.
    pub gossip_interval: Duration,
    /// To so many random nodes.
    pub gossip_nodes: usize,
    /// Each so often, times the decimal logarithm of how many nodes there are.
    pub retransmit_mult: u64,
    /// To the dead as well, for so long.
    pub gossip_to_the_dead: Duration,
    /// Two nodes compare all that they know so often; less often in large clusters.
    pub push_pull_interval: Duration,
}

impl Swim {
    /// memberlist's defaults within a data centre, which are serf's.
    pub const LAN: Self = Self {
        probe_interval: Duration::from_secs(1),
        probe_timeout: Duration::from_millis(500),
        indirect_checks: 3,
        suspicion_mult: 4,
        suspicion_max_timeout_mult: 6,
        awareness_max: 8,
        gossip_interval: Duration::from_millis(200),
        gossip_nodes: 3,
        retransmit_mult: 4,
        gossip_to_the_dead: Duration::from_secs(30),
        push_pull_interval: Duration::from_secs(30),
    };

    /// memberlist's defaults across the internet.
    pub const WAN: Self = Self {
        probe_interval: Duration::from_secs(5),
        probe_timeout: Duration::from_secs(3),
        suspicion_mult: 6,
        gossip_interval: Duration::from_millis(500),
        gossip_nodes: 4,
        gossip_to_the_dead: Duration::from_mins(1),
        push_pull_interval: Duration::from_mins(1),
        ..Self::LAN
    };

    /// As [`Self::LAN`], and nothing of Lifeguard: suspicions have one length, and nobody doubts itself.
    pub const PLAIN: Self = Self { suspicion_max_timeout_mult: 1, awareness_max: 1, ..Self::LAN };

    /// Whether there is anything of Lifeguard: then suspects are told, and who asks for a ping hears of its failure.
    const fn has_lifeguard(&self) -> bool {
        self.awareness_max > 1
    }
}

impl Detection for Swim {
    fn detector(&self, me: NodeId, seed: Seed, now: Now) -> Box<dyn Detector> {
        Box::new(machine::Machinery::new(*self, me, seed, now.instant))
    }
}
