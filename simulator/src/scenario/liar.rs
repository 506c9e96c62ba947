//! A liar of the scenario: which nodes say what is not so, which lie, and from when to when.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Scenario, Select};

/// Declared liars. A lie that changed nothing fails the run.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Liar {
    /// Which nodes.
    pub who: Select,
    /// What they do. A node may be told of in several tables, and then does all of it.
    pub what: Lie,
    /// They begin so long after the mesh stands; until then they speak the truth. Left out: they lie from the first moment,
    /// while the mesh is founded, too.
    #[serde(default)]
    pub from_s: u64,
    /// They stop then. Left out: never, not even when the faults heal.
    pub until_s: Option<u64>,
    /// Of an eclipse: whom they surround.
    pub target: Option<Select>,
}

/// Ways to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// Offers a thousand times what is there, for nothing; sums up its jurisdiction likewise, itself its only gate.
    FalseCapacity,
    /// Says that everybody is down, and of the dead that they live.
    FalseVerdicts,
    /// Says two things at once under one version: one to half of its peers, one to the others.
    Equivocation,
    /// Says that it has others' records, and gives none.
    Withheld,
    /// Sends old frames and records again.
    Replay,
    /// Passes others' records on long after they came.
    Stale,
    /// Says nothing to half of its peers.
    Silence,
    /// Offers for nothing, and refuses whoever asks.
    FreeRide,
    /// Says that it is the root of every broadcast tree, under a name that nobody outranks, and pushes nothing down.
    FalseRoot,
    /// One of many names of one party: they know only each other, urge themselves upon everybody, pass nothing honest on,
    /// and say that everybody else is down.
    Sybil,
    /// Proposes others' writes once more, under ops of its own, signed with its own key.
    Forgery,
    /// As `sybil`, towards the target only; honest to all others.
    Eclipse,
}

impl Liar {
    /// What is wrong with it, if anything.
    pub(super) fn validate(&self, scenario: &Scenario) -> Result<(), String> {
        if self.from_s >= scenario.duration_s {
            return Err(format!("from_s = {} lies behind duration_s = {}", self.from_s, scenario.duration_s));
        }
        if self.until_s.is_some_and(|until| until <= self.from_s) {
            return Err("until_s must lie behind from_s".into());
        }
        if self.who == Select::default() {
            return Err("who names everybody: somebody honest must be left, so name fewer".into());
        }
        if (self.what == Lie::Eclipse) != self.target.is_some() {
            return Err("target belongs to an eclipse, and an eclipse needs it".into());
        }
        Ok(())
    }
}
