//! In which order writes of a converging store stand: a hybrid logical clock (Kulkarni and others, 2014), whose time is never
//! dragged far ahead by others.
//!
//! A stamp is wall milliseconds, a count for what happens within one, and the writer. Whoever hears of a later stamp goes on
//! from there, but no further than [`AHEAD_MAX`] ahead of its own wall clock: one clock that is wrong by a year makes no other
//! wrong. A write is stamped after all that its node holds of the key, however far ahead that is. So a node whose clock is
//! behind still overwrites what it has seen, and what a clock far ahead wrote is overwritten by the first who has seen it.
use std::{fmt, time::Duration};

use minicbor::{Decode, Encode};

use crate::time::{Timestamp, millis};

/// A node's clock of stamps is at most so far ahead of its wall clock, whatever others say.
pub const AHEAD_MAX: Duration = Duration::from_secs(30);
/// No lawful stamp has more milliseconds: some 280,000 years.
pub(super) const STAMP_MS_MAX: u64 = 1 << 53;

/// Who numbers writes: one disk of one node in one cell, until the node has cause to doubt what it remembers of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Slot(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}")
    }
}

/// When a value was written, and by whom. The later of two wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Stamp {
    /// Wall milliseconds, or what was heard of.
    #[n(0)]
    pub ms: u64,
    /// Rises within one millisecond.
    #[n(1)]
    pub count: u32,
    /// Who wrote: decides between two at once.
    #[n(2)]
    pub slot: Slot,
}

/// A node's clock of stamps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// The highest given out or heard of within the bound.
    last: (u64, u32),
}

impl Clock {
    /// Somebody stamped so.
    pub(super) fn hear(&mut self, wall: Timestamp, stamp: Stamp) {
        let bound = wall.0.saturating_add(millis(AHEAD_MAX));
        if stamp.ms <= bound {
            self.last = self.last.max((stamp.ms, stamp.count));
        }
    }

    /// A stamp for a write of `slot`, later than `after`, which is what the node holds of the key.
    pub(super) fn stamp(&mut self, wall: Timestamp, slot: Slot, after: Option<Stamp>) -> Stamp {
        let bound = wall.0.saturating_add(millis(AHEAD_MAX));
        // A wall clock that was set back by more than the bound is believed again.
        let last = if self.last.0 > bound { (wall.0, 0) } else { self.last };
        let own = if last.0 >= wall.0 { next(last) } else { (wall.0, 0) };
        let (ms, count) = match after {
            Some(after) if (after.ms, after.count) >= own => next((after.ms, after.count)),
            _ => own,
        };
        if ms <= bound {
            self.last = (ms, count);
        }
        Stamp { ms, count, slot }
    }
}

fn next((ms, count): (u64, u32)) -> (u64, u32) {
    count.checked_add(1).map_or((ms + 1, 0), |count| (ms, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Timestamp = Timestamp(1_000_000);
    const ME: Slot = Slot([1; 16]);

    fn of_other(ms: u64) -> Stamp {
        Stamp { ms, count: 7, slot: Slot([9; 16]) }
    }

    #[test]
    fn stamps_of_one_node_rise_though_its_wall_clock_stands_or_goes_back() {
        let mut clock = Clock::default();
        let first = clock.stamp(WALL, ME, None);
        let second = clock.stamp(WALL, ME, None);
        let third = clock.stamp(Timestamp(WALL.0 - 5_000), ME, None);
        assert!(first < second && second < third, "{first:?} {second:?} {third:?}");
    }

    #[test]
    fn a_node_that_is_behind_overwrites_what_it_has_seen() {
        let seen = of_other(WALL.0 + 20_000);
        let mut clock = Clock::default();
        clock.hear(WALL, seen);
        assert!(clock.stamp(WALL, ME, None) > seen, "the clock goes on from what it heard");
        let far = of_other(WALL.0 + 3_600_000);
        assert!(clock.stamp(WALL, ME, Some(far)) > far);
    }

    #[test]
    fn a_clock_far_ahead_drags_no_other_along() {
        let mut clock = Clock::default();
        let far = of_other(WALL.0 + 3_600_000);
        clock.hear(WALL, far);
        clock.stamp(WALL, ME, Some(far));
        let bound = WALL.0 + millis(AHEAD_MAX);
        assert!(clock.stamp(WALL, ME, None).ms <= bound, "another key is not stamped by the wrong clock");
    }

    #[test]
    fn an_own_clock_that_was_an_hour_ahead_and_was_mended_is_believed_again() {
        let mut clock = Clock::default();
        clock.stamp(Timestamp(WALL.0 + 3_600_000), ME, None);
        assert!(clock.stamp(WALL, ME, None).ms <= WALL.0 + millis(AHEAD_MAX));
    }
}
