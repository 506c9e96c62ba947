//! What somebody who looks on sees of a world at one moment: who is there and how they are, who leads, which links there are,
//! what clients get, what befalls them.
use std::collections::BTreeMap;

use serde::Serialize;

/// A world at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scene {
    /// From the first node's start.
    pub at_s: f64,
    /// When the mesh stood, if it does. Times of faults and of availability count from then.
    pub stood_s: Option<f64>,
    /// Faults and clients are over and the mesh heals.
    pub heals: bool,
    /// How each node is, by number: a letter each, see [`Condition`].
    pub conditions: String,
    /// How many cells each node leads, of those that lead any.
    pub leads: BTreeMap<u32, u32>,
    /// Links within and between jurisdictions, each with the two.
    pub links: Vec<(String, String, u32)>,
    /// Frames that all nodes sent since the mesh stood.
    pub frames: u64,
    /// The last intervals of measuring that are over: when each ended, and by jurisdiction which share of the attempts that
    /// began in it has been answered so far.
    pub availability: Vec<(f64, BTreeMap<String, f64>)>,
    /// Declared faults, and random ones while they last.
    pub faults: Vec<FaultSeen>,
    /// What was violated so far, in words.
    pub violations: Vec<String>,
    /// Where each node stands, by number.
    #[serde(skip)]
    pub places: Vec<PlaceSeen>,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceSeen {
    /// Under which law.
    pub jurisdiction: String,
    /// Where, by number.
    pub site: u32,
    /// Whose.
    pub operator: String,
}

/// A fault, as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultSeen {
    /// Which.
    pub what: &'static str,
    /// When it begins, after the mesh stood.
    pub at_s: f64,
    /// When it heals, if it does.
    pub until_s: Option<f64>,
    /// Whether it goes on now.
    pub active: bool,
}

/// How a node is; its letter in a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs and reaches everybody who runs.
    Up,
    /// It runs, and is cut off from some.
    CutOff,
    /// It runs, and nothing moves in it for a while.
    Stalled,
    /// Its process reads what its disk holds.
    Booting,
    /// Its process does not run.
    Down,
    /// It never comes back.
    Gone,
}

impl Condition {
    /// In a scene.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Up => 'u',
            Self::CutOff => 'c',
            Self::Stalled => 's',
            Self::Booting => 'b',
            Self::Down => 'd',
            Self::Gone => 'g',
        }
    }
}
