//! What an app promises those who use it away, held against what they saw: answers are as old as they say, while linked no
//! older than the app allows, and in a cut aged or refused, as it says. Pure.
//!
//! Seen from outside: an entry was agreed on before its client was told. So state that was current at an instant holds all
//! entries told until then.
use std::time::{Duration, Instant};

use crate::client::Acknowledged;

/// Of all apps: how old an answer away may be while linked.
pub(super) const MAX_STALENESS: Duration = Duration::from_secs(10);
/// A node notices a cut, and its end, within this, as the simulator's checker has it.
const NOTICED: Duration = Duration::from_secs(10);

/// What an app does away, in a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// It answers, and says how old that is.
    Stale,
    /// It refuses.
    Stop,
}

impl Promise {
    /// As manifests say it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Stop => "stop",
        }
    }
}

/// When France was cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) began: Instant,
    pub(super) healed: Instant,
}

/// What somebody asked, and was answered.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Entries up to this id, and how old they say that they are; without a word: current.
    Read { highest: u64, age: Option<Duration> },
    /// Nothing was read, and why.
    Unread(String),
    /// It was written, though away.
    Written,
    /// It was certainly not written.
    Unwritten,
    /// Nobody knows whether it was written.
    Unsure(String),
}

/// How home stood to those who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Whole,
    Changing,
    Cut,
}

impl Cut {
    /// From the question to the answer.
    fn link(&self, away: &Exchange) -> Link {
        if away.answered < self.began || away.asked > self.healed + NOTICED {
            return Link::Whole;
        }
        if away.asked > self.began + NOTICED && away.answered < self.healed {
            return Link::Cut;
        }
        Link::Changing
    }
}

/// All that was asked away and answered as the app does not promise, in words.
pub(super) fn breaches_away(
    promise: Promise,
    cut: &Cut,
    acknowledged: &[Acknowledged],
    seen: &[Exchange],
) -> Vec<String> {
    let told = told(acknowledged);
    seen.iter().filter_map(|away| breach(promise, cut, &told, away)).collect()
}

/// The same of reads at home, where all are answered and current whatever is cut.
pub(super) fn breaches_at_home(cut: &Cut, acknowledged: &[Acknowledged], seen: &[Exchange]) -> Vec<String> {
    let told = told(acknowledged);
    let of_one = |home: &Exchange| {
        let when = when(cut, home);
        match &home.what {
            What::Read { highest, age: None } if *highest >= floor(&told, home.asked) => None,
            other => {
                Some(format!("{when}: at home: {other:?}, but {} had been told by then", floor(&told, home.asked)))
            }
        }
    };
    seen.iter().filter_map(of_one).collect()
}

/// When which id was told, in order of time.
fn told(acknowledged: &[Acknowledged]) -> Vec<(Instant, u64)> {
    let mut told: Vec<(Instant, u64)> = acknowledged.iter().map(|entry| (entry.at, entry.id)).collect();
    told.sort_unstable();
    told
}

fn when(cut: &Cut, exchange: &Exchange) -> String {
    match exchange.asked.checked_duration_since(cut.began) {
        Some(after) => format!("{:.1} s after the cut began", after.as_secs_f64()),
        None => "before the cut".to_owned(),
    }
}

fn breach(promise: Promise, cut: &Cut, told: &[(Instant, u64)], away: &Exchange) -> Option<String> {
    let link = cut.link(away);
    let when = when(cut, away);
    match &away.what {
        What::Read { highest, age } => {
            let old = age.unwrap_or_default();
            let floor = away.asked.checked_sub(old).map_or(0, |then| floor(told, then));
            if *highest < floor {
                return Some(format!("{when}: read {highest} as {old:?} old, but {floor} had been told by then"));
            }
            // Whole seconds, rounded up.
            if link == Link::Whole && old > MAX_STALENESS + Duration::from_secs(1) {
                return Some(format!("{when}: an answer is {old:?} old, and no cut allows that"));
            }
            if link == Link::Cut && promise == Promise::Stop {
                return Some(format!("{when}: answered in a cut, and the app stops then"));
            }
            if link == Link::Cut && old.is_zero() {
                return Some(format!("{when}: answered in a cut without a word of its age"));
            }
            None
        }
        What::Unread(why) => match (link, promise) {
            (Link::Whole, _) => Some(format!("{when}: not answered though nothing is cut: {why}")),
            (Link::Cut, Promise::Stale) => Some(format!("{when}: not answered in a cut, but it may be stale: {why}")),
            (Link::Cut, Promise::Stop) | (Link::Changing, _) => None,
        },
        What::Written => (link == Link::Cut).then(|| format!("{when}: written away, in a cut")),
        What::Unwritten => (link == Link::Whole).then(|| format!("{when}: not written though nothing is cut")),
        What::Unsure(why) => match link {
            Link::Cut => Some(format!("{when}: nobody says whether it was written, and it cannot have been: {why}")),
            Link::Whole => Some(format!("{when}: nobody says whether it was written though nothing is cut: {why}")),
            Link::Changing => None,
        },
    }
}

/// The highest id that was told until then. `told` is in order of time.
fn floor(told: &[(Instant, u64)], then: Instant) -> u64 {
    told.iter().take_while(|(at, _)| *at <= then).map(|(_, id)| *id).max().unwrap_or(0)
}

/// The longest between two of these, in their order.
pub(super) fn silence(at: &[Instant]) -> Option<Duration> {
    at.windows(2).map(|two| two[1].duration_since(two[0])).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// A cut from second 100 to 200, with entry n told at second n.
    fn judged(promise: Promise, asked_s: u32, what: What) -> Option<String> {
        let zero = Instant::now();
        let cut = Cut { began: zero + S * 100, healed: zero + S * 200 };
        let told: Vec<(Instant, u64)> = (0..300).map(|second| (zero + S * second, u64::from(second))).collect();
        let asked = zero + S * asked_s;
        breach(promise, &cut, &told, &Exchange { asked, answered: asked + S / 10, what })
    }

    fn read(highest: u64, age_s: u32) -> What {
        What::Read { highest, age: (age_s > 0).then(|| S * age_s) }
    }

    #[test]
    fn an_answer_holds_all_that_was_told_before_its_age() {
        assert_eq!(judged(Promise::Stale, 50, read(50, 0)), None);
        assert!(judged(Promise::Stale, 50, read(49, 0)).is_some(), "it says nothing, so it says that it is current");
        assert_eq!(judged(Promise::Stale, 50, read(45, 5)), None);
        assert!(judged(Promise::Stale, 50, read(44, 5)).is_some());
        assert_eq!(judged(Promise::Stale, 150, read(98, 52)), None);
        assert!(judged(Promise::Stale, 150, read(97, 52)).is_some(), "in a cut too");
    }

    #[test]
    fn while_linked_age_has_a_limit_and_nothing_is_refused() {
        assert!(judged(Promise::Stale, 50, read(30, 20)).is_some());
        assert!(judged(Promise::Stop, 50, What::Unread("503".into())).is_some());
        assert!(judged(Promise::Stale, 250, What::Unwritten).is_some());
        assert_eq!(judged(Promise::Stale, 250, What::Written), None);
        assert_eq!(judged(Promise::Stale, 205, read(99, 106)), None, "its end was just noticed, or not yet");
    }

    #[test]
    fn in_a_cut_it_says_its_age_or_stops_and_writes_are_refused_for_certain() {
        assert!(judged(Promise::Stop, 150, read(98, 52)).is_some());
        assert_eq!(judged(Promise::Stop, 150, What::Unread("503".into())), None);
        assert!(judged(Promise::Stale, 150, What::Unread("503".into())).is_some());
        assert!(judged(Promise::Stale, 150, read(150, 0)).is_some());
        assert!(judged(Promise::Stale, 150, What::Written).is_some());
        assert_eq!(judged(Promise::Stale, 150, What::Unwritten), None);
        assert!(judged(Promise::Stale, 150, What::Unsure("504".into())).is_some());
        assert_eq!(judged(Promise::Stop, 105, What::Unsure("504".into())), None, "it was just noticed, or not yet");
    }

    #[test]
    fn at_home_every_read_is_answered_and_current() {
        let asked = Instant::now();
        let cut = Cut { began: asked, healed: asked + S };
        let told = [Acknowledged { id: 7, text: String::new(), at: asked }];
        let amiss = |what| breaches_at_home(&cut, &told, &[Exchange { asked, answered: asked, what }]).len();
        assert_eq!(amiss(read(7, 0)), 0);
        for what in [read(6, 0), read(7, 1), What::Unread("503".into())] {
            assert_eq!(amiss(what), 1);
        }
    }

    #[test]
    fn the_longest_silence_is_between_two_neighbours() {
        let zero = Instant::now();
        let at = [0, 1, 4, 5].map(|second| zero + S * second);
        assert_eq!(silence(&at), Some(S * 3));
        assert_eq!(silence(&at[..1]), None);
    }
}
