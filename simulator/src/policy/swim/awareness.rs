//! Lifeguard's local health: how much a node trusts its own ears. Each probe that failed, each answer of those it asked that did
//! not come, and each accusation that it had to refute make it worse; each probe that went well makes it better.
use std::time::Duration;

/// 0 is well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awareness {
    score: u64,
    max: u64,
}

impl Awareness {
    /// The score stays below `max`.
    pub(super) const fn new(max: u64) -> Self {
        Self { score: 0, max }
    }

    pub(super) fn worse(&mut self, by: u64) {
        self.score = self.score.saturating_add(by).min(self.max.saturating_sub(1));
    }

    pub(super) const fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// How long something takes that takes so long in good health.
    pub(super) fn scaled(&self, time: Duration) -> Duration {
        time * u32::try_from(self.score + 1).unwrap_or(u32::MAX)
    }
}
