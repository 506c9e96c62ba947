//! How much checking one peer may cost: a token bucket of signatures.
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Signatures checked for one peer: 36 µs each, so at most 15 % of a core for one that sends garbage.
const PER_SECOND: u32 = 4_000;

/// What a quiet peer may send at once: a digest repair after a cut brings thousands of records.
const BURST: u32 = 8_000;

/// One peer's bucket. A frame is charged after it was checked, when its cost is known; the next one waits.
#[derive(Debug)]
pub(super) struct Quota {
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Signatures that may still be checked now; negative: owed.
    left: f64,
    at: Instant,
}

impl Default for Quota {
    fn default() -> Self {
        Self { bucket: Mutex::new(Bucket { left: f64::from(BURST), at: Instant::now() }) }
    }
}

impl Quota {
    /// Charges `signatures`; returns how long the peer's next frame waits.
    pub(super) fn charge(&self, signatures: u32) -> Duration {
        self.charge_at(signatures, Instant::now())
    }

    fn charge_at(&self, signatures: u32, now: Instant) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * f64::from(PER_SECOND);
        bucket.left = (bucket.left + earned).min(f64::from(BURST)) - f64::from(signatures);
        bucket.at = now;
        Duration::from_secs_f64((-bucket.left / f64::from(PER_SECOND)).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_beyond_its_burst_waits_as_long_as_it_owes() {
        let quota = Quota::default();
        let now = Instant::now();
        assert_eq!(quota.charge_at(BURST, now), Duration::ZERO);
        assert_eq!(quota.charge_at(PER_SECOND, now), Duration::from_secs(1));
        let later = now + Duration::from_mins(1);
        assert_eq!(quota.charge_at(BURST, later), Duration::ZERO, "it has paid, and saved no more than a burst");
        assert_eq!(quota.charge_at(PER_SECOND / 2, later), Duration::from_millis(500));
    }
}
