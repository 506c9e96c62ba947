//! Lifeguard's suspicion: it lasts long at first, and shorter with each other node that confirms it, as the logarithm of how many
//! did.
use std::{collections::BTreeSet, time::Duration};

use bocage_protocol::{id::NodeId, time::Instant};

use super::Swim;
use crate::chance::log2_of_whole;

/// log2 of 10, as `log2_of_whole` has it.
const LOG2_OF_10: u128 = 14_267_572_527;

/// One suspicion of one node.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    began: Instant,
    min: Duration,
    max: Duration,
    /// So many confirmations make it as short as it gets.
    wanted: u64,
    confirmed: u64,
    /// Who was heard, whoever said it first among them.
    by: BTreeSet<NodeId>,
}

impl Suspicion {
    /// `nodes`: how many there are in all.
    pub(super) fn new(swim: &Swim, nodes: usize, by: NodeId, now: Instant) -> Self {
        let min = least(swim, nodes);
        // With too few others to confirm, it need not wait for them.
        let wanted = swim.suspicion_mult.saturating_sub(2);
        let wanted = if (nodes as u64).saturating_sub(2) < wanted { 0 } else { wanted };
        let max = min * u32::try_from(swim.suspicion_max_timeout_mult).unwrap_or(u32::MAX);
        Self { began: now, min, max, wanted, confirmed: 0, by: BTreeSet::from([by]) }
    }

    /// Somebody says so too. Whether that is news.
    pub(super) fn confirm(&mut self, by: NodeId) -> bool {
        let is_news = self.confirmed < self.wanted && self.by.insert(by);
        self.confirmed += u64::from(is_news);
        is_news
    }

    /// When it is over, and the node dead.
    pub(super) fn ends(&self) -> Instant {
        if self.wanted == 0 {
            return self.began + self.min;
        }
        let log = |count: u64| u128::from(log2_of_whole(count + 1).unsigned_abs());
        let range = self.max.saturating_sub(self.min).as_millis();
        let taken_off = (range * log(self.confirmed)).div_ceil(log(self.wanted));
        let taken_off = Duration::from_millis(u64::try_from(taken_off).unwrap_or(u64::MAX));
        self.began + self.max.saturating_sub(taken_off).max(self.min)
    }
}

/// As short as a suspicion gets among so many nodes.
fn least(swim: &Swim, nodes: usize) -> Duration {
    // Logarithms are cut off at their last digit: a few of those more, and that of 100 is 2.
    let log = u128::from(log2_of_whole(nodes as u64).unsigned_abs()) + 8;
    let per_mille = log * 1_000 / LOG2_OF_10;
    let per_mille = u32::try_from(per_mille).unwrap_or(u32::MAX).max(1_000);
    swim.probe_interval * u32::try_from(swim.suspicion_mult).unwrap_or(u32::MAX) * per_mille / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    #[test]
    fn a_suspicion_is_the_shorter_the_more_others_confirm_it() {
        let mut suspicion = Suspicion::new(&Swim::LAN, 100, node(0), Instant::START);
        let lasts = |suspicion: &Suspicion| suspicion.ends().as_duration().as_millis();
        // Four intervals times log10 of 100 at least, and six times that at most.
        assert_eq!(lasts(&suspicion), 48_000);
        assert!(!suspicion.confirm(node(0)), "who began it confirms nothing");
        assert!(suspicion.confirm(node(1)) && !suspicion.confirm(node(1)));
        // By ln 2 / ln 3 of the way.
        assert_eq!(lasts(&suspicion), 22_762);
        assert!(suspicion.confirm(node(2)));
        assert_eq!(lasts(&suspicion), 8_000);
        assert!(!suspicion.confirm(node(3)), "two are enough");
    }

    #[test]
    fn in_a_small_cluster_nobody_waits_for_confirmations() {
        let suspicion = Suspicion::new(&Swim::LAN, 3, node(0), Instant::START);
        assert_eq!(suspicion.ends().as_duration(), Duration::from_secs(4));
        let plain = Suspicion::new(&Swim::PLAIN, 1_000, node(0), Instant::START);
        assert_eq!(plain.ends().as_duration(), Duration::from_secs(12));
    }
}
