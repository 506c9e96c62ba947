//! Sets of numbers by which nodes gossip, beside the defaults that ship.
use std::time::Duration;

use bocage_protocol::membership::Config;

/// More neighbours, and less patience: news comes sooner where the tree is broken, at more messages.
pub(super) const fn eager(config: &mut Config) {
    config.active_max = 7;
    config.announce_after = Duration::from_millis(10);
    config.graft_after = Duration::from_millis(50);
    config.beat = Duration::from_millis(500);
    config.repair = Duration::from_secs(3);
}
