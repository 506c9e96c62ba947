//! The two clocks of a daemon. The only file in `node/` that reads them for the machine.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bocage_protocol::time::{Instant, Now, Timestamp, millis};

/// Reads both clocks. Copies share one start, so that an [`Instant`] means the same to the driver and to whoever asks it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that starts now. One per daemon.
    #[must_use]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// What both clocks read.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { instant: self.instant(), wall: Timestamp(millis(wall())) }
    }

    /// Time since the start. Never goes backwards.
    #[must_use]
    pub fn instant(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    /// When a deadline of the machine is on tokio's clock.
    #[must_use]
    pub fn when(&self, at: Instant) -> tokio::time::Instant {
        // A deadline 584 years away may not fit the system's clock: a day from now is as good, the driver asks again.
        let far = || std::time::Instant::now() + Duration::from_hours(24);
        self.start.checked_add(at.as_duration()).unwrap_or_else(far).into()
    }
}

/// Time since the Unix epoch; zero when the wall clock stands before it.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instant_rises_and_the_wall_clock_is_of_this_century() {
        let clock = Clock::start();
        let before = clock.now();
        let after = clock.now();
        assert!(after.instant >= before.instant);
        assert!(before.wall > Timestamp(1_600_000_000_000), "after 2020");
    }

    #[test]
    fn a_deadline_beyond_every_calendar_is_only_far_away() {
        let clock = Clock::start();
        assert!(clock.when(Instant::from_nanos(u64::MAX)) > tokio::time::Instant::now());
    }
}
