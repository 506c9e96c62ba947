//! What befalls packets, and what is under way. Pure: time comes with each call, and all draws come from the seed.
use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};

use crate::link::Link;

/// So many packets are under way at most, of all links together: 49 MB of full ones. What is sent beyond is dropped and counted.
const UNDER_WAY_MAX: usize = 32_768;
/// What falls behind does so by at least this, so that others can overtake it on a link without delay.
const BEHIND: Duration = Duration::from_millis(5);

/// What befell packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to a host.
    pub arrived: u64,
    /// Lost by a draw.
    pub lost: u64,
    /// Sent into a cut, or under way when it came.
    pub cut: u64,
    /// Copies that were made.
    pub doubled: u64,
    /// Fell behind those sent after them.
    pub behind: u64,
    /// There was no room for them, or none at the host.
    pub overflowed: u64,
    /// For nobody here: multicast, IPv6, other nets.
    pub astray: u64,
}

/// A packet that arrives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnderWay {
    due: Duration,
    /// Of those due at once, the one sent first arrives first.
    number: u64,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All that is under way.
#[derive(Debug)]
pub(crate) struct Flight {
    seed: u64,
    /// At most one for each two hosts.
    courses: BTreeMap<(usize, usize), Course>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    numbered: u64,
}

/// How one link goes on.
#[derive(Debug)]
struct Course {
    random: ChaCha8Rng,
    /// Those in order arrive no earlier than this.
    last: Duration,
}

/// What is drawn for each packet, whatever its link is like: so a link's figures do not change each other's draws.
struct Draws {
    lost: u16,
    twice: u16,
    behind: u16,
    /// Of 2^32.
    late: u32,
}

impl Flight {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, courses: BTreeMap::new(), under_way: BinaryHeap::new(), numbered: 0 }
    }

    /// A packet sets out.
    pub(crate) fn set_out(
        &mut self,
        now: Duration,
        (from, to): (usize, usize),
        link: &Link,
        bytes: &[u8],
        counts: &mut Counts,
    ) {
        let seed = self.seed;
        let course = self.courses.entry((from, to)).or_insert_with(|| Course::new(seed, from, to));
        let draws = course.draw();
        if link.cut {
            counts.cut += 1;
            return;
        }
        if draws.lost < link.lost_per_mille {
            counts.lost += 1;
            return;
        }
        let takes = link.delay + share(link.jitter, draws.late);
        let due = if draws.behind < link.behind_per_mille {
            counts.behind += 1;
            now + takes * 2 + BEHIND
        } else {
            course.last = course.last.max(now + takes);
            course.last
        };
        let twice = draws.twice < link.twice_per_mille;
        counts.doubled += u64::from(twice);
        for _ in 0..=u8::from(twice) {
            if self.under_way.len() == UNDER_WAY_MAX {
                counts.overflowed += 1;
                continue;
            }
            self.numbered += 1;
            let packet = UnderWay { due, number: self.numbered, from, to, bytes: bytes.to_vec() };
            self.under_way.push(Reverse(packet));
        }
    }

    /// The next that has arrived.
    pub(crate) fn arrived(&mut self, now: Duration) -> Option<UnderWay> {
        if self.next_due()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse(packet)| packet)
    }

    /// When the next one arrives.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.under_way.peek().map(|Reverse(packet)| packet.due)
    }
}

impl Course {
    fn new(seed: u64, from: usize, to: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(((from as u64) << 32) | to as u64);
        Self { random, last: Duration::ZERO }
    }

    fn draw(&mut self) -> Draws {
        let mut per_mille = || u16::try_from(self.random.next_u64() % 1_000).expect("below a thousand");
        Draws { lost: per_mille(), twice: per_mille(), behind: per_mille(), late: self.random.next_u32() }
    }
}

/// So many 2^32ths of it.
fn share(of: Duration, drawn: u32) -> Duration {
    let nanos = (of.as_nanos() * u128::from(drawn)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A thousand packets, one a millisecond, from 0 to 1: each that arrived, with when, and what befell them.
    fn thousand(seed: u64, link: &Link) -> (Vec<(u32, u32)>, Counts) {
        let (mut flight, mut counts) = (Flight::new(seed), Counts::default());
        for number in 0..1_000_u32 {
            flight.set_out(MS * number, (0, 1), link, &number.to_be_bytes(), &mut counts);
        }
        let mut arrived = Vec::new();
        while let Some(due) = flight.next_due() {
            assert_eq!(flight.arrived(due.saturating_sub(Duration::from_nanos(1))), None, "nothing comes too early");
            let packet = flight.arrived(due).expect("it is due");
            let number = u32::from_be_bytes(packet.bytes.try_into().expect("four bytes"));
            arrived.push((number, u32::try_from(due.as_millis()).expect("it is soon")));
        }
        (arrived, counts)
    }

    #[test]
    fn one_seed_gives_one_fate_and_another_gives_another() {
        let link = Link {
            jitter: MS * 20,
            lost_per_mille: 100,
            twice_per_mille: 50,
            behind_per_mille: 50,
            ..Link::taking(MS * 30)
        };
        let (first, counts) = thousand(7, &link);
        assert_eq!(thousand(7, &link), (first.clone(), counts));
        assert_ne!(thousand(8, &link).0, first);
        assert!((70..130).contains(&counts.lost), "{counts:?}");
        assert!((25..75).contains(&counts.doubled) && (25..75).contains(&counts.behind), "{counts:?}");
        assert_eq!(first.len() as u64, 1_000 - counts.lost + counts.doubled);
    }

    #[test]
    fn with_jitter_each_takes_its_delay_at_least_and_all_keep_their_order() {
        let (arrived, _) = thousand(7, &Link { jitter: MS * 20, ..Link::taking(MS * 30) });
        assert!(arrived.iter().all(|(number, at)| (30..=50).contains(&(at - number))), "{arrived:?}");
        assert!(arrived.iter().any(|(number, at)| at - number > 40), "{arrived:?}");
        assert!(arrived.is_sorted_by_key(|(number, _)| *number), "{arrived:?}");
    }

    #[test]
    fn what_falls_behind_is_overtaken_and_what_comes_twice_is_the_same() {
        let link = Link { behind_per_mille: 100, twice_per_mille: 100, ..Link::taking(MS * 30) };
        let (arrived, counts) = thousand(7, &link);
        let overtaken = (1..arrived.len()).filter(|at| arrived[*at].0 < arrived[at - 1].0).count();
        assert!(overtaken > 50 && overtaken as u64 <= counts.behind, "{overtaken} {counts:?}");
        let mut numbers: Vec<u32> = arrived.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1_000);
        assert!(arrived.iter().all(|(number, at)| [30, 65].contains(&(at - number))), "{arrived:?}");
    }

    #[test]
    fn what_one_figure_draws_does_not_change_what_another_does() {
        let loses = Link { lost_per_mille: 100, ..Link::taking(MS) };
        let too = Link { jitter: MS * 9, twice_per_mille: 300, ..loses };
        let distinct = |link: &Link| {
            let mut numbers: Vec<u32> = thousand(7, link).0.into_iter().map(|(number, _)| number).collect();
            numbers.dedup();
            numbers
        };
        assert_eq!(distinct(&loses), distinct(&too));
    }

    #[test]
    fn beyond_its_bound_packets_are_dropped_and_counted() {
        let (mut flight, mut counts) = (Flight::new(7), Counts::default());
        for _ in 0..UNDER_WAY_MAX + 3 {
            flight.set_out(Duration::ZERO, (0, 1), &Link::taking(MS), &[], &mut counts);
        }
        assert_eq!((flight.under_way.len(), counts.overflowed), (UNDER_WAY_MAX, 3));
    }
}
