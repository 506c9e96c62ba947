//! A node's two clocks, each wrong in its own way: what the world's time looks like from one node.
use bocage_protocol::time::{Instant, Now, Timestamp};

/// The world's time 0 by a right clock: 2026-01-01, 00:00 UTC.
pub(crate) const EPOCH_MS: u64 = 1_767_225_600_000;

const MILLION: i128 = 1_000_000;

/// The clocks of one node. `Instant` starts anew with each start of the process; the wall clock goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// World time of the process's start, in nanoseconds.
    started: u64,
    /// The wall clock is ahead by so much.
    wall_offset_ms: i64,
    /// Both clocks run so much too fast.
    drift_ppm: i64,
}

impl Clock {
    pub(crate) const fn new(wall_offset_ms: i64, drift_ppm: i64) -> Self {
        Self { started: 0, wall_offset_ms, drift_ppm }
    }

    /// The process starts at `at`.
    pub(crate) const fn start(&mut self, at: u64) {
        self.started = at;
    }

    /// What the node's clocks read at world time `at`.
    pub(crate) fn now(&self, at: u64) -> Now {
        let instant = self.drifted(at.saturating_sub(self.started));
        let wall = i128::from(EPOCH_MS + self.drifted(at) / 1_000_000) + i128::from(self.wall_offset_ms);
        Now { instant: Instant::from_nanos(instant), wall: Timestamp(u64::try_from(wall).unwrap_or(0)) }
    }

    /// The first world time at which the node's `Instant` reads `deadline` or more.
    pub(crate) fn world_time(&self, deadline: Instant) -> u64 {
        let nanos = i128::from(deadline.as_nanos());
        let elapsed = nanos * MILLION / (MILLION + i128::from(self.drift_ppm));
        let mut elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        while elapsed < u64::MAX && self.drifted(elapsed) < deadline.as_nanos() {
            elapsed += 1;
        }
        self.started.saturating_add(elapsed)
    }

    fn drifted(&self, elapsed: u64) -> u64 {
        if self.drift_ppm == 0 {
            return elapsed;
        }
        let nanos = i128::from(elapsed) * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_is_never_before_its_deadline_and_never_late() {
        for drift in [-200, -37, 0, 41, 200] {
            let mut clock = Clock::new(-150, drift);
            clock.start(1_234_567);
            for nanos in (0..2_000_000_000).step_by(7_654_321) {
                let deadline = Instant::from_nanos(nanos);
                let at = clock.world_time(deadline);
                assert!(clock.now(at).instant >= deadline);
                assert!(at == 1_234_567 || clock.now(at - 1).instant < deadline, "{drift} ppm, {nanos} ns");
            }
        }
    }

    #[test]
    fn the_wall_clock_outlives_a_restart_and_is_off_by_its_offset() {
        let mut clock = Clock::new(200, 0);
        assert_eq!(clock.now(5_000_000_000).wall, Timestamp(EPOCH_MS + 5_200));
        clock.start(4_000_000_000);
        let now = clock.now(5_000_000_000);
        assert_eq!((now.wall, now.instant), (Timestamp(EPOCH_MS + 5_200), Instant::from_nanos(1_000_000_000)));
    }
}
