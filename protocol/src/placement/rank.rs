//! Second stage: of those who may serve, who is better. Integers only; equal ones are ordered by a draw from the request's
//! salt, so that apps placed at one time do not all land on the same nodes.
use std::time::Duration;

use super::feasible::Feasible;
use crate::{
    capacity::{Capacity, Offer},
    id::NodeId,
    random::mix,
};

/// A round trip of so many microseconds weighs as much as the price itself: at 100 ms a node must ask half to be as good
/// as one next door.
const ROUND_TRIP_UNIT_US: u128 = 100_000;

/// Assumed where no link has measured it.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(50);

/// A node that is full to the last byte weighs as if it asked twice as much.
const FULL: u128 = 1_000;

/// Lower is better. At most 2¹⁰⁸.
pub(super) type Score = u128;

/// What a plan tries for, in turn.
#[derive(Clone, Copy)]
pub(super) enum Aim<'a> {
    /// The highest grade first, then price and distance.
    Best,
    /// Within the rules, the lowest price.
    Cheapest,
    /// Within the rules, whatever somebody else ranks first.
    By(&'a dyn Fn(&Capacity) -> u64),
}

impl Aim<'_> {
    /// Whether more jurisdictions are better, whatever it costs.
    pub(super) const fn spreads(self) -> bool {
        matches!(self, Self::Best)
    }
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

    fn key(&self, salt: u64) -> (Score, u64, NodeId) {
        let node = self.node();
        let drawn = node.0.first_chunk().map_or(0, |bytes| mix(salt ^ u64::from_be_bytes(*bytes)));
        (self.score, drawn, node)
    }
}

/// Those that may vote, best first.
pub(super) fn voters<'a>(feasible: &[Feasible<'a>], aim: Aim<'_>, salt: u64) -> Vec<Ranked<'a>> {
    ranked(feasible, aim, salt, |candidate| candidate.votes.then_some(candidate.replica_price))
}

/// Those that may hold a copy away, best first.
pub(super) fn copies<'a>(feasible: &[Feasible<'a>], aim: Aim<'_>, salt: u64) -> Vec<Ranked<'a>> {
    ranked(feasible, aim, salt, |candidate| candidate.copies.then_some(candidate.replica_price))
}

/// Those that may host, best first.
pub(super) fn hosts<'a>(feasible: &[Feasible<'a>], aim: Aim<'_>, salt: u64) -> Vec<Ranked<'a>> {
    ranked(feasible, aim, salt, |candidate| candidate.hosts.then_some(candidate.instance_price))
}

fn ranked<'a>(
    feasible: &[Feasible<'a>],
    aim: Aim<'_>,
    salt: u64,
    asks: impl Fn(&Feasible<'a>) -> Option<u64>,
) -> Vec<Ranked<'a>> {
    let rank = |of: &Feasible<'a>| Some(Ranked { score: score(asks(of)?, of.capacity, aim), of: *of });
    let mut ranked: Vec<_> = feasible.iter().filter_map(rank).collect();
    ranked.sort_unstable_by_key(|one| one.key(salt));
    ranked
}

/// How full a node is in the dimension of which it has least left, in thousandths.
fn fullness(offer: &Offer) -> u128 {
    let share = |used: u64, total: u64| (u128::from(used) * FULL).checked_div(u128::from(total)).unwrap_or(0).min(FULL);
    share(offer.used.cpu_millis, offer.total.cpu_millis)
        .max(share(offer.used.memory_bytes, offer.total.memory_bytes))
        .max(share(offer.used.disk_bytes, offer.total.disk_bytes))
}

/// Lower is better.
fn score(price: u64, capacity: &Capacity, aim: Aim<'_>) -> Score {
    match aim {
        Aim::Best => worsened(price, capacity.round_trip, fullness(&capacity.offer)),
        Aim::Cheapest => at_least_one(price),
        Aim::By(rank) => u128::from(rank(capacity)),
    }
}

/// A price of nothing counts as one micro-unit, so that distance still decides among those who ask nothing.
fn at_least_one(price: u64) -> u128 {
    u128::from(price.max(1))
}

/// The price, made worse by distance and by being full.
fn worsened(price: u64, round_trip: Option<Duration>, fullness: u128) -> Score {
    let micros = round_trip.unwrap_or(ROUND_TRIP_UNKNOWN).as_micros().min(u128::from(u32::MAX));
    at_least_one(price) * (ROUND_TRIP_UNIT_US + micros) * (FULL + fullness) / FULL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::fixture::{TestNode, capacity};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_hundred_milliseconds_weigh_as_much_as_the_price() {
        assert_eq!(worsened(200, Some(ms(0)), 0), worsened(100, Some(ms(100)), 0));
        assert!(worsened(101, Some(ms(470)), 0) > worsened(110, Some(ms(10)), 0));
    }

    #[test]
    fn the_cheapest_is_the_cheapest_however_far() {
        let far = Capacity { round_trip: Some(ms(470)), ..capacity(&TestNode::new("ada", "ada-1", "attic", "FR")) };
        let near = Capacity { round_trip: Some(ms(1)), ..far.clone() };
        assert!(score(100, &far, Aim::Cheapest) < score(101, &near, Aim::Cheapest));
        assert!(score(100, &far, Aim::Best) > score(101, &near, Aim::Best));
    }

    #[test]
    fn no_price_and_no_distance_overflows() {
        assert!(worsened(u64::MAX, Some(Duration::MAX), 0) < 1 << 108);
        assert!(worsened(0, Some(ms(2)), 0) < worsened(0, Some(ms(3)), 0));
    }
}
