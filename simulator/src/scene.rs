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
    /// Links within and between areas: the two by number, the lower one first, and how many.
    pub links: Vec<(u32, u32, u32)>,
    /// Areas between which something is cut just now: the two by number, the lower one first.
    pub cuts: Vec<(u32, u32)>,
    /// Frames that all nodes sent since the mesh stood.
    pub frames: u64,
    /// The last intervals of measuring that are over: when each ended, and by jurisdiction which share of the attempts that
    /// began in it has been answered so far.
    pub availability: Vec<(f64, BTreeMap<String, f64>)>,
    /// Declared faults, and random ones while they last.
    pub faults: Vec<FaultSeen>,
    /// What was violated so far, in words.
    pub violations: Vec<String>,
    /// Where nodes stand at all, by number. Areas are only ever added.
    #[serde(skip)]
    pub areas: Vec<AreaSeen>,
    /// Where each node stands, by number. Nodes are only ever added.
    #[serde(skip)]
    pub places: Vec<PlaceSeen>,
}

/// One jurisdiction in one city, or as far as it is in none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AreaSeen {
    /// Which law holds there.
    pub jurisdiction: String,
    /// Where it is, if the scenario says so.
    pub city: Option<CitySeen>,
}

/// A city on the globe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CitySeen {
    /// As the scenario names it.
    pub name: String,
    /// In degrees, north of the equator.
    pub latitude: f64,
    /// In degrees, east of Greenwich.
    pub longitude: f64,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceSeen {
    /// In which area, by number.
    pub area: u32,
    /// At which site, by number.
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
    /// The areas of those whom it befalls now, as far as the scenario names them or it holds them down.
    pub areas: Vec<u32>,
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
