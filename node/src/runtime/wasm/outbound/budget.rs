//! Bytes that an instance moves in and out by its own requests.
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Bytes of an instance's requests and their answers in a minute; past it the bodies under way break off, and new ones
/// wait for the next minute by failing.
pub(super) const BYTES_PER_MINUTE_MAX: u64 = 256 << 20;
const MINUTE: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(super) struct Budget(Mutex<Option<Minute>>);

struct Minute {
    began: Instant,
    bytes: u64,
}

impl Budget {
    /// Whether `bytes` more may be moved; counts them if so.
    pub(super) fn take(&self, now: Instant, bytes: u64) -> bool {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = match &mut *minute {
            Some(minute) if now.duration_since(minute.began) < MINUTE => minute,
            over => over.insert(Minute { began: now, bytes: 0 }),
        };
        let sum = minute.bytes.saturating_add(bytes);
        if sum > BYTES_PER_MINUTE_MAX {
            return false;
        }
        minute.bytes = sum;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_bytes_are_given_once_a_minute() {
        let (budget, now) = (Budget::default(), Instant::now());
        assert!(budget.take(now, BYTES_PER_MINUTE_MAX - 1) && budget.take(now, 1));
        assert!(!budget.take(now + Duration::from_millis(59_999), 1));
        assert!(budget.take(now + MINUTE, BYTES_PER_MINUTE_MAX));
        assert!(!budget.take(now + MINUTE, u64::MAX));
    }
}
