//! Between a run that goes on and the pages that show it: the newest scene, what a page needs of the past that is opened
//! late, and how fast the run may go.
use std::{
    collections::{BTreeMap, VecDeque},
    str::FromStr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bocage_simulator::{Report, Scenario, scene::Scene};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// So many intervals of availability are told to a page that is opened late; the oldest are forgotten.
const PAST_MAX: usize = 7_200;

/// What a run is of, told to each page first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct About {
    scenario: String,
    story: String,
    seed: u64,
    duration_s: u64,
    settle_s: u64,
}

impl About {
    pub(super) fn of(scenario: &Scenario, seed: u64) -> Self {
        let (scenario, story, duration_s, settle_s) =
            (scenario.name.clone(), scenario.story.clone(), scenario.duration_s, scenario.settle_s);
        Self { scenario, story, seed, duration_s, settle_s }
    }
}

/// Simulated seconds in one second; none: as fast as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Option<f64>", into = "Option<f64>")]
pub(crate) struct Speed(Option<f64>);

impl Speed {
    /// Slower looks like standing still.
    const LEAST: f64 = 0.01;
    /// Faster is `max`.
    const MOST: f64 = 100_000.0;

    pub(super) const fn per_second(self) -> Option<f64> {
        self.0
    }
}

impl TryFrom<Option<f64>> for Speed {
    type Error = String;

    fn try_from(speed: Option<f64>) -> Result<Self, String> {
        match speed {
            Some(speed) if !(Self::LEAST..=Self::MOST).contains(&speed) => {
                Err(format!("simulated seconds in one second, from {} to {}, or max", Self::LEAST, Self::MOST))
            }
            _ => Ok(Self(speed)),
        }
    }
}

impl From<Speed> for Option<f64> {
    fn from(speed: Speed) -> Self {
        speed.0
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // No number at all is refused like one that is out of range.
        let number = if text == "max" { None } else { Some(text.parse().unwrap_or(f64::NAN)) };
        number.try_into()
    }
}

/// What a page asks for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum Asked {
    Pause,
    Go,
    /// While paused: on to the next scene.
    Step,
    Speed {
        speed: Speed,
    },
}

/// How fast a run goes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Pace {
    pub(super) paused: bool,
    pub(super) speed: Speed,
    /// Raised by each change.
    #[serde(skip)]
    pub(super) changes: u64,
}

/// See the module.
pub(super) struct Hub {
    about: About,
    shown: Mutex<Shown>,
    /// Somebody came, asked for something, or left.
    asked: Condvar,
    /// Raised with everything that pages are told.
    news: watch::Sender<u64>,
}

/// What is known.
pub(super) struct Shown {
    pub(super) pace: Pace,
    /// Steps asked for and not gone yet.
    pub(super) steps: u32,
    /// A page was opened.
    pub(super) viewed: bool,
    /// The run is not wanted any more.
    pub(super) leaving: bool,
    /// Where nodes stand: how many, and in JSON.
    places: (usize, Arc<str>),
    /// The newest: its number from 1 up, and in JSON.
    scene: (u64, Arc<str>),
    /// Availability, by the end of its interval in milliseconds.
    past: BTreeMap<u64, BTreeMap<String, f64>>,
    end: Option<Arc<str>>,
}

/// An event for pages: its name, and JSON.
pub(super) type Told = (&'static str, Arc<str>);

impl Hub {
    pub(super) fn new(about: About, speed: Speed) -> Self {
        let shown = Shown {
            pace: Pace { paused: false, speed, changes: 0 },
            steps: 0,
            viewed: false,
            leaving: false,
            places: (0, "[]".into()),
            scene: (0, "null".into()),
            past: BTreeMap::new(),
            end: None,
        };
        Self { about, shown: Mutex::new(shown), asked: Condvar::new(), news: watch::Sender::new(0) }
    }

    pub(super) fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the run waits.
    pub(super) const fn asked(&self) -> &Condvar {
        &self.asked
    }

    fn changed(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown());
        self.asked.notify_all();
        self.news.send_modify(|number| *number += 1);
    }

    /// A page was opened: the run may begin.
    pub(super) fn view(&self) {
        self.changed(|shown| shown.viewed = true);
    }

    /// The run is not wanted any more.
    pub(super) fn leave(&self) {
        self.changed(|shown| shown.leaving = true);
    }

    pub(super) fn ask(&self, asked: Asked) {
        self.changed(|shown| {
            match asked {
                Asked::Pause => shown.pace.paused = true,
                Asked::Go => (shown.pace.paused, shown.steps) = (false, 0),
                Asked::Step => shown.steps = u32::from(shown.pace.paused),
                Asked::Speed { speed } => shown.pace.speed = speed,
            }
            shown.pace.changes += 1;
        });
    }

    pub(super) fn show(&self, scene: &Scene) {
        let text = json(scene);
        self.changed(|shown| {
            if shown.places.0 != scene.places.len() {
                shown.places = (scene.places.len(), json(&scene.places));
            }
            shown.scene = (shown.scene.0 + 1, text);
            for (ended_s, shares) in &scene.availability {
                shown.past.insert(millis(*ended_s), shares.clone());
            }
            while shown.past.len() > PAST_MAX {
                shown.past.pop_first();
            }
        });
    }

    pub(super) fn end(&self, report: &Report) {
        let end = serde_json::json!({
            "trace_hash": report.trace_hash,
            "exit_code": report.exit_code(),
            "events": report.events,
            "simulated_s": report.simulated_s,
            "wall_s": report.wall_s,
            "violations": report.violations,
        });
        self.changed(|shown| shown.end = Some(json(&end)));
    }
}

/// One page, and what it was told so far.
pub(super) struct Reader {
    hub: Arc<Hub>,
    news: watch::Receiver<u64>,
    begun: bool,
    places: usize,
    scene: u64,
    changes: u64,
    ended: bool,
    next: VecDeque<Told>,
}

impl Reader {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let news = hub.news.subscribe();
        Self { hub, news, begun: false, places: 0, scene: 0, changes: 0, ended: false, next: VecDeque::new() }
    }

    /// The next event; waits for it. A page that is slow misses scenes, and nothing else.
    pub(super) async fn next(&mut self) -> Option<Told> {
        loop {
            self.look();
            if let Some(told) = self.next.pop_front() {
                return Some(told);
            }
            self.news.changed().await.ok()?;
        }
    }

    fn look(&mut self) {
        if !self.next.is_empty() {
            return;
        }
        let hub = Arc::clone(&self.hub);
        let shown = hub.shown();
        if !std::mem::replace(&mut self.begun, true) {
            self.next.push_back(("about", json(&hub.about)));
            self.next.push_back(("past", json(&shown.past)));
            self.next.push_back(("pace", json(&shown.pace)));
            self.changes = shown.pace.changes;
        }
        if std::mem::replace(&mut self.changes, shown.pace.changes) != shown.pace.changes {
            self.next.push_back(("pace", json(&shown.pace)));
        }
        if std::mem::replace(&mut self.places, shown.places.0) != shown.places.0 {
            self.next.push_back(("places", Arc::clone(&shown.places.1)));
        }
        if std::mem::replace(&mut self.scene, shown.scene.0) != shown.scene.0 {
            self.next.push_back(("scene", Arc::clone(&shown.scene.1)));
        }
        if let (Some(end), false) = (&shown.end, self.ended) {
            self.ended = true;
            self.next.push_back(("end", Arc::clone(end)));
        }
    }
}

/// For a page.
fn json<T: Serialize>(value: &T) -> Arc<str> {
    serde_json::to_string(value).expect("it holds nothing that JSON cannot").into()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time of a run: small, and none is negative"
)]
fn millis(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(at_s: f64, nodes: usize) -> Scene {
        let place = bocage_simulator::scene::PlaceSeen { jurisdiction: "FR".into(), site: 0, operator: "FR-1".into() };
        Scene {
            at_s,
            stood_s: Some(1.0),
            heals: false,
            conditions: "u".repeat(nodes),
            leads: BTreeMap::new(),
            links: Vec::new(),
            frames: 0,
            availability: vec![(at_s, BTreeMap::from([("FR".to_owned(), 1.0)]))],
            faults: Vec::new(),
            violations: Vec::new(),
            places: vec![place; nodes],
        }
    }

    fn hub() -> Arc<Hub> {
        let scenario = Scenario::parse("name = \"x\"\nduration_s = 1\n[[population]]\njurisdiction = \"FR\"\n");
        Arc::new(Hub::new(About::of(&scenario.unwrap(), 7), "10".parse().unwrap()))
    }

    fn names(reader: &mut Reader) -> Vec<&'static str> {
        reader.look();
        reader.next.drain(..).map(|(name, _)| name).collect()
    }

    #[test]
    fn a_page_that_is_opened_late_is_told_the_past_and_then_only_what_is_new() {
        let hub = hub();
        hub.show(&scene(1.0, 2));
        hub.show(&scene(2.0, 2));
        let mut late = Reader::new(Arc::clone(&hub));
        late.look();
        let past = late.next.iter().find(|(name, _)| *name == "past").unwrap();
        assert_eq!(&*past.1, r#"{"1000":{"FR":1.0},"2000":{"FR":1.0}}"#);
        assert_eq!(names(&mut late), ["about", "past", "pace", "places", "scene"]);
        assert!(names(&mut late).is_empty());
        hub.show(&scene(3.0, 2));
        assert_eq!(names(&mut late), ["scene"]);
        hub.show(&scene(4.0, 3));
        hub.ask(Asked::Pause);
        assert_eq!(names(&mut late), ["pace", "places", "scene"]);
    }

    #[test]
    fn the_past_is_bounded() {
        let hub = hub();
        (0..PAST_MAX + 10).for_each(|at| hub.show(&scene(f64::from(u32::try_from(at).unwrap()), 1)));
        let shown = hub.shown();
        assert_eq!((shown.past.len(), shown.past.keys().next()), (PAST_MAX, Some(&10_000)));
    }

    #[test]
    fn a_speed_is_a_number_within_reason_or_max() {
        assert_eq!("2.5".parse(), Ok(Speed(Some(2.5))));
        assert_eq!("max".parse(), Ok(Speed(None)));
        for wrong in ["0", "-1", "fast", "nan", "inf", ""] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
        assert!(matches!(
            serde_json::from_str(r#"{"do":"speed","speed":null}"#),
            Ok(Asked::Speed { speed: Speed(None) })
        ));
        assert!(serde_json::from_str::<Asked>(r#"{"do":"speed","speed":0.0}"#).is_err());
    }
}
