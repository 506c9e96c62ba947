//! How membership behaves.
use std::time::Duration;

use minicbor::{Decode, Encode};

/// Settings of membership.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Config {
    /// Neighbours in the overlay: fewer and a cut of the graph is likely, more and each costs a link. Default 5.
    #[n(0)]
    pub active_max: usize,
    /// Known but not linked nodes to fall back on. Default 30.
    #[n(1)]
    pub passive_max: usize,
    /// Observers of each node. Default 6.
    #[n(2)]
    pub observers: usize,
    /// How often an observer probes. Default 1 s.
    #[n(3)]
    pub probe: Duration,
    /// Probes unanswered before an observer says *down*. Default 3.
    #[n(4)]
    pub probes_lost: u32,
    /// How often neighbours compare digests. Default 10 s.
    #[n(5)]
    pub repair: Duration,
    /// Headers of new records wait so long for company, and by chance up to as long again, before they go to neighbours
    /// outside the tree. Longer: fewer messages, later rescue where the tree is broken. Default 50 ms.
    #[n(6)]
    pub announce_after: Duration,
    /// The tree has so long, and one round trip more, to bring what a header announced before it is asked for. Shorter:
    /// payload that was under way comes twice; longer: a broken tree is felt. Default 200 ms.
    #[n(7)]
    pub graft_after: Duration,
    /// How often the root of a broadcast tree beats. Shorter: the tree mends sooner, at a message per link and beat.
    /// Default 1 s.
    #[n(8)]
    pub beat: Duration,
    /// How long a record of this node lives before it is renewed at half of it. Default 120 s.
    #[n(9)]
    pub record_lifetime: Duration,
    /// This node relays for members that cannot be dialled, and its presence says so. Default no.
    #[n(10)]
    pub relays: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            active_max: 5,
            passive_max: 30,
            observers: 6,
            probe: Duration::from_secs(1),
            probes_lost: 3,
            repair: Duration::from_secs(10),
            announce_after: Duration::from_millis(50),
            graft_after: Duration::from_millis(200),
            beat: Duration::from_secs(1),
            record_lifetime: Duration::from_mins(2),
            relays: false,
        }
    }
}
