//! How fast bytes may be carried: a bucket of bytes. Several circuits share one, and one circuit obeys several.
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So much of a second's bytes may go at once.
const BURST_SECONDS: f64 = 0.25;

#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    bucket: Mutex<(f64, Instant)>,
}

impl Pace {
    pub(super) fn new(bytes_per_second_max: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
        let per_second = (bytes_per_second_max as f64).max(1.0);
        Self { per_second, bucket: Mutex::new((per_second * BURST_SECONDS, Instant::now())) }
    }

    /// Charges `bytes`; returns how long whoever carried them waits before the next.
    pub(super) fn charge(&self, bytes: usize) -> Duration {
        self.charge_at(bytes, Instant::now())
    }

    fn charge_at(&self, bytes: usize, now: Instant) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = *bucket;
        let earned = now.saturating_duration_since(at).as_secs_f64() * self.per_second;
        #[expect(clippy::cast_precision_loss, reason = "a chunk is short")]
        let left = (left + earned).min(self.per_second * BURST_SECONDS) - bytes as f64;
        *bucket = (left, now.max(at));
        Duration::from_secs_f64((-left / self.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ten_seconds_no_more_is_carried_than_the_pace_allows() {
        let pace = Pace::new(100_000);
        let (start, mut now, mut carried) = (Instant::now(), Instant::now(), 0);
        while now < start + Duration::from_secs(10) {
            carried += 16_384;
            now += pace.charge_at(16_384, now);
        }
        assert!((950_000..=1_050_000).contains(&carried), "{carried}");
    }
}
