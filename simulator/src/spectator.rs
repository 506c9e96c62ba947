//! Who looks on while a run goes on, and may leave before its end. The world is asked nothing and draws nothing for it: a
//! run that is looked at is the same run, event by event.
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::scene::Scene;

/// Somebody who looks on.
pub trait Spectator {
    /// So often, in virtual time.
    fn every(&self) -> Duration;

    /// Whether the run is still wanted: asked each time, and while the mesh without liars is run first, too.
    fn stays(&mut self) -> bool;

    /// What there is to see, if it is wanted: to make it takes time. Not of the mesh without liars.
    fn look(&mut self, scene: &dyn Fn() -> Scene) {
        let _ = scene;
    }
}

/// Only says whether the run is still wanted.
#[derive(Debug)]
pub(crate) struct Blind<'a, S: ?Sized>(pub(crate) &'a mut S);

impl<S: Spectator + ?Sized> Spectator for Blind<'_, S> {
    fn every(&self) -> Duration {
        self.0.every()
    }

    fn stays(&mut self) -> bool {
        self.0.stays()
    }
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nobody;

impl Spectator for Nobody {
    fn every(&self) -> Duration {
        Duration::from_hours(1)
    }

    fn stays(&mut self) -> bool {
        true
    }
}

/// Stays until somebody else says that it is enough.
#[derive(Clone, Copy, Debug)]
pub struct Until<'a> {
    enough: &'a AtomicBool,
}

impl<'a> Until<'a> {
    /// Leaves soon after `enough` became true.
    #[must_use]
    pub const fn new(enough: &'a AtomicBool) -> Self {
        Self { enough }
    }
}

impl Spectator for Until<'_> {
    fn every(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn stays(&mut self) -> bool {
        !self.enough.load(Ordering::Relaxed)
    }
}
