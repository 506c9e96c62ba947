//! Between a run that goes on and the pages that show it: the newest scene, what a page needs of the past that is opened
//! late, and how fast the run may go.
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bocage_simulator::{Report, Scenario, scene::Scene};
use serde::Serialize;
use tokio::sync::watch;

use super::pace::{Asked, Pace, Speed};

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
    /// Of an interval of availability.
    every_ms: u64,
    /// The mesh starts with so many; whoever replaces one that is gone has a higher number.
    nodes: u64,
    /// Where some lie, the same mesh runs first without them, and nobody sees it.
    liars: bool,
}

impl About {
    pub(super) fn of(scenario: &Scenario, seed: u64) -> Self {
        Self {
            scenario: scenario.name.clone(),
            story: scenario.story.clone(),
            seed,
            duration_s: scenario.duration_s,
            settle_s: scenario.settle_s,
            every_ms: scenario.measure.every_ms,
            nodes: scenario.nodes(),
            liars: !scenario.liar.is_empty(),
        }
    }
}

/// See the module.
pub(super) struct Hub {
    pub(super) about: About,
    shown: Mutex<Shown>,
    /// Somebody came, asked for something, or left.
    asked: Condvar,
    /// Raised with everything that pages are told. Each page that is open has a receiver.
    pub(super) news: watch::Sender<u64>,
}

/// What is known.
pub(super) struct Shown {
    pub(super) pace: Pace,
    /// A page was opened.
    pub(super) viewed: bool,
    /// The run is not wanted any more.
    pub(super) leaving: bool,
    /// Where nodes stand: how many, and in JSON.
    pub(super) places: (usize, Arc<str>),
    /// The newest: its number from 1 up, and in JSON.
    pub(super) scene: (u64, Arc<str>),
    /// The ends of the intervals whose availability the newest scene tells: the first and the last, in milliseconds.
    pub(super) told: Option<(u64, u64)>,
    /// Availability, by the end of its interval in milliseconds.
    pub(super) past: BTreeMap<u64, BTreeMap<String, f64>>,
    pub(super) end: Option<Arc<str>>,
}

impl Hub {
    pub(super) fn new(about: About, speed: Speed) -> Self {
        let shown = Shown {
            pace: Pace::new(speed),
            viewed: false,
            leaving: false,
            places: (0, "null".into()),
            scene: (0, "null".into()),
            told: None,
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
        self.changed(|shown| shown.pace.change(asked));
    }

    pub(super) fn show(&self, scene: &Scene) {
        let text = json(scene);
        self.changed(|shown| {
            if shown.places.0 != scene.places.len() {
                let places = serde_json::json!({ "areas": scene.areas, "nodes": scene.places });
                shown.places = (scene.places.len(), json(&places));
            }
            shown.scene = (shown.scene.0 + 1, text);
            let ends = || scene.availability.iter().map(|(ended_s, _)| millis(*ended_s));
            shown.told = ends().min().zip(ends().max());
            for (ended, (_, shares)) in ends().zip(&scene.availability) {
                shown.past.insert(ended, shares.clone());
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

/// For a page.
pub(super) fn json<T: Serialize>(value: &T) -> Arc<str> {
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
