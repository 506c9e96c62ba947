//! Who looks at a run for the pages, and holds it back to the pace that they ask for.
use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use bocage_simulator::{Spectator, scene::Scene};

use super::hub::Hub;

/// So many scenes a second are enough for the eye.
const SCENES_PER_S: f64 = 5.0;

/// No scene is further from the next one, unless some between them are left out.
const APART_S_MAX: f64 = 5.0;

/// Nor nearer: to make one takes time.
const APART_S_MIN: f64 = 0.02;

/// A scene that would follow so soon upon another is left out: to make it costs more than it shows.
const SOON: Duration = Duration::from_millis(100);

/// But no more of the run than this, or intervals of availability would be missed.
const LEFT_OUT_S_MAX: f64 = 15.0;

/// See the module.
pub(super) struct Onlooker {
    hub: Arc<Hub>,
    shown_at: Option<Instant>,
    /// So much of the run since then.
    left_out_s: f64,
    /// From when on it goes at this pace, by the changes before it, in our time and in that of the run.
    since: Option<(u64, Instant, f64)>,
}

impl Onlooker {
    pub(super) const fn new(hub: Arc<Hub>) -> Self {
        Self { hub, shown_at: None, left_out_s: 0.0, since: None }
    }

    /// Whether to leave this moment out: nobody could see it.
    fn leaves_out(&mut self) -> bool {
        let soon = self.shown_at.is_some_and(|shown| shown.elapsed() < SOON);
        let paused = self.hub.shown().pace.paused;
        let left_out_s = self.left_out_s + self.every().as_secs_f64();
        let leaves_out = soon && !paused && left_out_s <= LEFT_OUT_S_MAX;
        self.left_out_s = if leaves_out { left_out_s } else { 0.0 };
        leaves_out
    }

    /// Waits until the run may go on from here.
    fn wait(&mut self, at_s: f64) {
        let hub = Arc::clone(&self.hub);
        let mut shown = hub.shown();
        while !shown.leaving {
            let waits = hub.asked();
            if shown.viewed && !shown.pace.paused {
                let Some(left) = self.left(shown.pace.changes, shown.pace.speed.per_second(), at_s) else { return };
                shown = waits.wait_timeout(shown, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            self.since = None;
            if shown.viewed && std::mem::take(&mut shown.pace.steps) {
                return;
            }
            shown = waits.wait(shown).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How long until this moment is due; none if it is. A run that cannot keep up does not hurry afterwards.
    fn left(&mut self, changes: u64, speed: Option<f64>, at_s: f64) -> Option<Duration> {
        let (speed, now) = (speed?, Instant::now());
        let (_, began, from_s) = self.since.filter(|since| since.0 == changes).unwrap_or((changes, now, at_s));
        let due = began + Duration::try_from_secs_f64((at_s - from_s) / speed).unwrap_or_default();
        let late = now.saturating_duration_since(due) > Duration::from_secs(1);
        self.since = Some(if late { (changes, now, at_s) } else { (changes, began, from_s) });
        Some(due.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

impl Spectator for Onlooker {
    fn every(&self) -> Duration {
        let pace = self.hub.shown().pace;
        let apart_s = match pace.speed.per_second() {
            Some(speed) if !pace.paused => (speed / SCENES_PER_S).clamp(APART_S_MIN, APART_S_MAX),
            // A step is a second.
            _ => 1.0,
        };
        Duration::from_secs_f64(apart_s)
    }

    fn stays(&mut self) -> bool {
        !self.hub.shown().leaving
    }

    fn look(&mut self, scene: &dyn Fn() -> Scene) {
        if self.leaves_out() {
            return;
        }
        let scene = scene();
        self.hub.show(&scene);
        self.shown_at = Some(Instant::now());
        self.wait(scene.at_s);
    }
}
