//! A capsule: a failing run in one file. Whoever has it and the same build sees the same failure, event by event.
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    Bug, Property,
    results::Program,
    scenario::{Scenario, ScenarioError, source::Source},
};

/// See the module.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Capsule {
    /// All randomness comes from it.
    pub seed: u64,
    /// What is violated.
    pub property: Property,
    /// When it was seen, from the first node's start.
    pub at_s: f64,
    /// On which node, by number, if on one.
    pub node: Option<u32>,
    /// In words.
    pub what: String,
    /// Of the whole run: another one means another build.
    pub trace_hash: String,
    /// So many faults the run had before it was shrunk.
    pub faults_before: usize,
    /// A bug that was planted, to see whether it is found.
    pub bug: Option<Bug>,
    /// Which build found it.
    pub program: Program,
    /// The run.
    pub scenario: Scenario,
}

impl Capsule {
    /// Reads a capsule file.
    ///
    /// # Errors
    /// When it cannot be read, is no capsule, or its scenario is impossible.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let source = Source::load(path)?;
        let read = Self::deserialize(toml::Deserializer::from(source.merged()?));
        let capsule = read.map_err(|error| source.malformed(&error))?;
        capsule.scenario.validate(&source)?;
        Ok(capsule)
    }

    /// As a file.
    ///
    /// # Panics
    /// Never: a capsule holds nothing that TOML cannot.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(self).expect("a capsule holds nothing that TOML cannot");
        format!("# A failing run. Play it back: bocage sim replay THIS-FILE\n{text}")
    }
}
