//! Second stage: of those who may serve, who is better. Integers only; equal ones are ordered by id.
use std::time::Duration;

use super::feasible::Feasible;
use crate::id::NodeId;

/// A round trip of so many microseconds weighs as much as the price itself: at 100 ms a node must ask half to be as good
/// as one next door.
const ROUND_TRIP_UNIT_US: u128 = 100_000;

/// Assumed where no link has measured it.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(50);

/// Lower is better. At most 2⁹⁷.
pub(super) type Score = u128;

/// What a plan tries for, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// The highest grade first, then price and distance.
    Best,
    /// Within the rules, the lowest price.
    Cheapest,
}

/// A node with its score for one role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked<'a> {
    pub(super) score: Score,
    pub(super) of: Feasible<'a>,
}

impl Ranked<'_> {
    pub(super) fn node(&self) -> NodeId {
        self.of.capacity.offer.node
    }

    fn key(&self) -> (Score, NodeId) {
        (self.score, self.node())
    }
}

/// Those that may vote, best first.
pub(super) fn voters<'a>(feasible: &[Feasible<'a>], aim: Aim) -> Vec<Ranked<'a>> {
    ranked(feasible, aim, |candidate| candidate.votes.then_some(candidate.replica_price))
}

/// Those that may host, best first.
pub(super) fn hosts<'a>(feasible: &[Feasible<'a>], aim: Aim) -> Vec<Ranked<'a>> {
    ranked(feasible, aim, |candidate| candidate.hosts.then_some(candidate.instance_price))
}

fn ranked<'a>(feasible: &[Feasible<'a>], aim: Aim, asks: impl Fn(&Feasible<'a>) -> Option<u64>) -> Vec<Ranked<'a>> {
    let rank = |of: &Feasible<'a>| Some(Ranked { score: score(asks(of)?, of.capacity.round_trip, aim), of: *of });
    let mut ranked: Vec<_> = feasible.iter().filter_map(rank).collect();
    ranked.sort_unstable_by_key(Ranked::key);
    ranked
}

/// The price, made worse by distance. A price of nothing counts as one micro-unit, so that distance still decides among
/// those who ask nothing.
fn score(price: u64, round_trip: Option<Duration>, aim: Aim) -> Score {
    let price = u128::from(price.max(1));
    match aim {
        Aim::Cheapest => price,
        Aim::Best => {
            let micros = round_trip.unwrap_or(ROUND_TRIP_UNKNOWN).as_micros().min(u128::from(u32::MAX));
            price * (ROUND_TRIP_UNIT_US + micros)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_hundred_milliseconds_weigh_as_much_as_the_price() {
        assert_eq!(score(200, Some(ms(0)), Aim::Best), score(100, Some(ms(100)), Aim::Best));
        assert!(score(101, Some(ms(470)), Aim::Best) > score(110, Some(ms(10)), Aim::Best));
    }

    #[test]
    fn the_cheapest_is_the_cheapest_however_far() {
        assert!(score(100, Some(ms(470)), Aim::Cheapest) < score(101, Some(ms(1)), Aim::Cheapest));
    }

    #[test]
    fn no_price_and_no_distance_overflows() {
        assert!(score(u64::MAX, Some(Duration::MAX), Aim::Best) < 1 << 97);
        assert!(score(0, Some(ms(2)), Aim::Best) < score(0, Some(ms(3)), Aim::Best));
    }
}
