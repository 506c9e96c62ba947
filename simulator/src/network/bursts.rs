//! Loss in bursts (E. N. Gilbert, *Capacity of a Burst-Noise Channel*, 1960; E. O. Elliott, 1963): each direction of each link
//! is well for a while, then loses for a while. How long follows from the seed, the link and how often it changed already, so
//! that two variants of a scenario have the same bursts whatever they send.
use bocage_protocol::random::{Rng, mix};
use rustc_hash::FxHashMap;

use crate::{chance, scenario};

const MILLI: u64 = 1_000_000;

/// The weather of all links.
#[derive(Debug)]
pub(super) struct Bursts {
    settings: scenario::Burst,
    links: FxHashMap<(u32, u32), Weather>,
    /// What each link's times follow from.
    base: u64,
    /// Which frames of a burst are lost.
    rng: Rng,
}

/// Of one direction of a link.
#[derive(Clone, Copy, Debug)]
struct Weather {
    bad: bool,
    until: u64,
    changes: u64,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It comes so much later.
    Late(u64),
    /// It never comes.
    Lost,
}

/// Whoever hears nothing of what it sent waits a round trip and so much longer before it sends again (RFC 9002: the
/// receiver's longest delay of an acknowledgement), and twice as long each further time.
const RESEND: u64 = 25 * MILLI;

/// A frame is sent again no more often; then it waits for the link's end.
const RESENT_MAX: u32 = 6;

impl Bursts {
    pub(super) fn new(settings: scenario::Burst, mut rng: Rng) -> Self {
        Self { settings, links: FxHashMap::default(), base: rng.next(), rng }
    }

    /// What becomes of a frame sent now over a link with this round trip.
    pub(super) fn fate(&mut self, from: u32, to: u32, at: u64, round_trip: u64) -> Fate {
        let link = mix(self.base ^ mix(u64::from(from) << 32 | u64::from(to)));
        let weather = self.links.entry((from, to)).or_insert(Weather { bad: true, until: 0, changes: 0 });
        weather.pass(&self.settings, link, at);
        let mut weather = *weather;
        let mut is_lost = |weather: Weather| weather.bad && self.rng.chance(self.settings.loss_per_mille);
        if self.settings.dropped {
            return if is_lost(weather) { Fate::Lost } else { Fate::Late(0) };
        }
        let mut late = 0;
        let mut wait = round_trip + RESEND;
        for _ in 0..RESENT_MAX {
            if !is_lost(weather) {
                break;
            }
            late += wait;
            wait *= 2;
            // By then the burst may be over, or another one under way.
            weather.pass(&self.settings, link, at + late);
        }
        Fate::Late(late)
    }
}

impl Weather {
    /// It is `at` now.
    fn pass(&mut self, settings: &scenario::Burst, link: u64, at: u64) {
        let (every, lasts) = (settings.every_s * 1_000 * MILLI, settings.lasts_ms * MILLI);
        while self.until <= at {
            self.bad = !self.bad;
            self.changes += 1;
            let mean = if self.bad { lasts } else { every };
            self.until += chance::exponential(mix(link ^ self.changes), mean).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::random::Seed;

    use super::*;

    const SECOND: u64 = 1_000 * MILLI;

    fn bursts(dropped: bool) -> Bursts {
        losing(600, dropped)
    }

    fn losing(loss_per_mille: u64, dropped: bool) -> Bursts {
        let settings = scenario::Burst { every_s: 10, lasts_ms: 500, loss_per_mille, dropped };
        Bursts::new(settings, Seed([5; 32]).rng())
    }

    #[test]
    fn losses_come_together_and_as_often_as_said() {
        let mut bursts = bursts(true);
        let lost: Vec<bool> =
            (0..200_000).map(|number| bursts.fate(1, 2, number * 10 * MILLI, 0) == Fate::Lost).collect();
        let all = lost.iter().filter(|lost| **lost).count();
        // 500 of 10,500 ms are bad, and of a frame in these 600 in 1,000 are lost: 5,714 of 200,000.
        assert!((4_500..7_000).contains(&all), "{all}");
        let twice = lost.windows(2).filter(|pair| pair[0] && pair[1]).count();
        assert!(twice * 2 > all, "after a lost frame mostly another one: {twice} of {all}");
    }

    #[test]
    fn bursts_are_the_same_whatever_is_sent_and_others_on_other_links() {
        let bad = |bursts: &mut Bursts, from, every: u64| -> Vec<bool> {
            (0..2_000)
                .filter(|number| number % every == 0)
                .map(|number| bursts.fate(from, 2, number * SECOND / 5, 0) == Fate::Lost)
                .collect()
        };
        let every = bad(&mut losing(1_000, true), 1, 1);
        let seldom = bad(&mut losing(1_000, true), 1, 4);
        assert_eq!(every.iter().step_by(4).copied().collect::<Vec<_>>(), seldom);
        assert_ne!(every, bad(&mut losing(1_000, true), 3, 1));
    }

    #[test]
    fn a_stream_sends_again_and_is_late_by_more_than_a_round_trip() {
        let mut bursts = bursts(false);
        let mut late = 0;
        for number in 0..20_000 {
            match bursts.fate(1, 2, number * 10 * MILLI, 40 * MILLI) {
                Fate::Late(0) => {}
                Fate::Late(by) => {
                    assert!(by >= 65 * MILLI && by % (65 * MILLI) == 0);
                    late += 1;
                }
                Fate::Lost => panic!("a stream loses nothing"),
            }
        }
        assert!(late > 300, "{late}");
    }

    #[test]
    fn a_frame_that_is_sent_again_after_its_burst_comes() {
        let (mut late, mut lost) = (losing(1_000, false), losing(1_000, true));
        let came = (0..20_000).map(|number| number * 10 * MILLI).map(|at| {
            let Fate::Late(by) = late.fate(1, 2, at, 40 * MILLI) else { panic!("a stream loses nothing") };
            at + by
        });
        let mut came: Vec<u64> = came.collect();
        came.sort_unstable();
        assert!(came.into_iter().all(|at| lost.fate(1, 2, at, 0) == Fate::Late(0)), "all come in good weather");
    }
}
