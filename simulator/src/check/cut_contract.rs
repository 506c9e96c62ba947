//! The cut contract: what is read away is as old as it says and no older, while linked never older than the app allows, in a cut
//! never beyond the app's `stale_for_max`, and nothing at all where the app says stop.
//!
//! Seen from outside: every counter value that a client was told was agreed on before it was told. So state that was current
//! at an instant holds at least the highest value told until then.
use std::time::Duration;

use bocage_protocol::placement::AwayInCut;

/// Clocks of nodes run at different paces: an age may be told so much too small, for each second.
const PACE_PPM: u64 = 100;
/// Ages are told in whole milliseconds.
const ROUNDED: u64 = 1_000_000;
/// A node notices a cut, and its end, within this.
pub(crate) const NOTICED: u64 = 10_000_000_000;

/// What an app promises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contract {
    pub(crate) max_staleness: Duration,
    pub(crate) away: AwayInCut,
    pub(crate) stale_for_max: Duration,
}

/// How a node stands to an app's home when one of its guests has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// It can reach home, and has for a while.
    Whole,
    /// A cut has just begun or ended.
    Changing,
    /// It cannot, and has not for a while.
    Cut,
}

/// The checker's memory of one app.
#[derive(Debug, Default)]
pub(crate) struct CutContract {
    /// When a client was told a counter value that was the highest so far, and which.
    told: Vec<(u64, i64)>,
    looked_at: u64,
}

impl CutContract {
    /// A client was told that its write made the counter `value`.
    pub(crate) fn told(&mut self, at: u64, value: i64) {
        if self.told.last().is_none_or(|(_, highest)| value > *highest) {
            self.told.push((at, value));
        }
    }

    /// The highest value told until then.
    fn floor(&self, at: u64) -> i64 {
        let after = self.told.partition_point(|(told, _)| *told <= at);
        after.checked_sub(1).map_or(0, |last| self.told[last].1)
    }

    /// A guest away was answered `value` at `at`, with this age.
    pub(crate) fn read(
        &mut self,
        contract: &Contract,
        link: Link,
        at: u64,
        value: i64,
        age: Duration,
    ) -> Result<(), String> {
        self.looked_at += 1;
        let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let slack = ROUNDED + nanos / 1_000_000 * PACE_PPM;
        let floor = self.floor(at.saturating_sub(nanos).saturating_sub(slack));
        if value < floor {
            return Err(format!(
                "a read away saw {value} and says that it is {age:?} old, but {floor} had been told by then"
            ));
        }
        let allowed = if link == Link::Whole { contract.max_staleness } else { contract.stale_for_max };
        if age > allowed + Duration::from_nanos(slack) && age > contract.max_staleness {
            return Err(format!("a read away is {age:?} old, and {link:?} lets it be {allowed:?}"));
        }
        if link == Link::Cut && contract.away == AwayInCut::Stop {
            return Err("a read away was answered in a cut, and its app says stop".to_owned());
        }
        Ok(())
    }

    /// A guest away was refused a read.
    pub(crate) fn refused(
        &mut self,
        contract: &Contract,
        link: Link,
        cut_for: Duration,
        why: &str,
    ) -> Result<(), String> {
        self.looked_at += 1;
        let owed = contract.away == AwayInCut::Stale && cut_for < contract.stale_for_max;
        if link == Link::Cut && owed {
            return Err(format!(
                "a read away was refused in a cut of {cut_for:?}, and its app lets it be stale: {why}"
            ));
        }
        Ok(())
    }

    /// So many reads away were looked at.
    pub(crate) const fn looked_at(&self) -> u64 {
        self.looked_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn contract(away: AwayInCut) -> Contract {
        Contract { max_staleness: Duration::from_mins(1), away, stale_for_max: Duration::from_mins(10) }
    }

    /// One, two and three were told at one, two and three hundred seconds.
    fn three() -> CutContract {
        let mut checker = CutContract::default();
        (1..=3).for_each(|n| checker.told(n * 100 * SECOND, i64::try_from(n).unwrap()));
        checker
    }

    fn read(checker: &mut CutContract, link: Link, at: u64, value: i64, age: u64) -> Result<(), String> {
        checker.read(&contract(AwayInCut::Stale), link, at * SECOND, value, Duration::from_secs(age))
    }

    #[test]
    fn an_honest_age_passes_and_one_told_too_small_is_found() {
        let mut checker = three();
        read(&mut checker, Link::Cut, 250, 2, 50).unwrap();
        read(&mut checker, Link::Cut, 310, 2, 11).unwrap();
        assert!(read(&mut checker, Link::Cut, 310, 2, 9).unwrap_err().contains("3 had been told"));
        assert!(read(&mut checker, Link::Whole, 350, 1, 0).is_err());
        assert_eq!(checker.looked_at(), 4);
    }

    #[test]
    fn the_bound_depends_on_whether_home_can_be_reached() {
        let mut checker = three();
        assert!(read(&mut checker, Link::Whole, 400, 3, 61).unwrap_err().contains("old"));
        read(&mut checker, Link::Changing, 400, 3, 61).unwrap();
        read(&mut checker, Link::Cut, 1_000, 3, 600).unwrap();
        assert!(read(&mut checker, Link::Cut, 1_000, 3, 601).is_err());
    }

    #[test]
    fn stop_means_stop_and_stale_means_an_answer() {
        let mut checker = three();
        let stop = contract(AwayInCut::Stop);
        assert!(checker.read(&stop, Link::Cut, 400 * SECOND, 3, Duration::ZERO).unwrap_err().contains("stop"));
        checker.read(&stop, Link::Changing, 400 * SECOND, 3, Duration::ZERO).unwrap();
        let stale = contract(AwayInCut::Stale);
        let cut_for = Duration::from_secs(99);
        assert!(checker.refused(&stale, Link::Cut, cut_for, "no").is_err());
        checker.refused(&stop, Link::Cut, cut_for, "no").unwrap();
        checker.refused(&stale, Link::Changing, cut_for, "no").unwrap();
        checker.refused(&stale, Link::Cut, Duration::from_mins(11), "too old").unwrap();
    }
}
