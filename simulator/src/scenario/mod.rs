//! An experiment: one strict TOML file. Whatever it does not say has a default that stands here; whatever it says wrong is
//! named with line, column and what to do.
mod experiment;
pub(crate) mod source;
mod mistake;
mod fault;
mod liar;
mod sometimes;
mod ground;
mod model;
mod tables;
mod validate;

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use experiment::{Experiment, Grid, Variant};
pub use fault::{Fault, Select, What};
pub use liar::{Liar, Lie};
pub use mistake::Mistake;
pub use model::{Family, Model};
pub use sometimes::{Sight, Sometimes};
pub use tables::{
    App, Between, Burst, Checks, Churn, Clocks, Disk, Expect, Knobs, Measuring, Network, Population, Route, Stop,
    Workload,
};
pub use validate::{Layout, Question, Seat, Validate, Way};

pub(crate) use mistake::nearest;
use source::Source;

use crate::policy;

/// A scenario: who is there, how they are linked, what they run, what befalls them, and what must be seen.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short, for reports.
    pub name: String,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub story: String,
    /// Faults and clients run for so long after the mesh stands.
    pub duration_s: u64,
    /// Then everything heals, and within this time all that should converge must.
    #[serde(default = "settle_s")]
    pub settle_s: u64,
    /// Operators with their sites and nodes.
    pub population: Vec<Population>,
    /// So many operators founded the mesh, are its whole electorate, and are gone: they have no node. All others were
    /// admitted by their certificates. Left out: the admitted operators of the population founded it together.
    #[serde(default)]
    pub absent_founders: u32,
    /// Links.
    #[serde(default)]
    pub network: Network,
    /// Disks.
    #[serde(default)]
    pub disk: Disk,
    /// Clocks.
    #[serde(default)]
    pub clock: Clocks,
    /// What tenants deploy.
    #[serde(default)]
    pub app: Vec<App>,
    /// What clients do.
    #[serde(default)]
    pub workload: Workload,
    /// Random faults all along.
    #[serde(default)]
    pub churn: Churn,
    /// Faults at their time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Fault>")]
    pub fault: Vec<Spanned<Fault>>,
    /// Nodes that lie.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Liar>")]
    pub liar: Vec<Spanned<Liar>>,
    /// Settings of the protocol that differ from its defaults.
    #[serde(default)]
    pub knobs: Knobs,
    /// Which checkers watch.
    #[serde(default)]
    pub check: Checks,
    /// What measures must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Expect>")]
    pub expect: Vec<Spanned<Expect>>,
    /// What must happen at least once, or the run shows nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sometimes: Vec<Sometimes>,
    /// How often what goes on is measured.
    #[serde(default)]
    pub measure: Measuring,
    /// When a run ends before its time.
    #[serde(default)]
    pub stop: Stop,
    /// What `bocage sim sweep` varies.
    #[serde(default, skip_serializing)]
    pub sweep: Grid,
    /// What `bocage sim validate` asks of real processes and of this world alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<Validate>,
}

const fn settle_s() -> u64 {
    60
}

/// Why a scenario cannot be run. Nothing was run; mend the file.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        why: std::io::Error,
    },
    /// Not TOML, an unknown key, a value of another type; or well formed and impossible.
    #[error(transparent)]
    Wrong(#[from] Box<Mistake>),
}

impl Scenario {
    /// Reads a scenario file and those that it includes, as they stand.
    ///
    /// # Errors
    /// When it cannot be read, is not a scenario, or is impossible.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        Ok(Experiment::load(path)?.scenario().clone())
    }

    /// Reads the text of a scenario.
    ///
    /// # Errors
    /// When it is not a scenario, or is impossible.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        Ok(Experiment::parse(text)?.scenario().clone())
    }

    /// The whole scenario as a file, every default written out: read again it is the same.
    ///
    /// # Panics
    /// Never: a scenario holds nothing that TOML cannot.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a scenario holds nothing that TOML cannot")
    }

    /// The JSON schema of scenario files, for editors.
    ///
    /// # Panics
    /// Never: a schema is an object.
    #[must_use]
    pub fn schema() -> String {
        let mut schema = schemars::schema_for!(Self);
        let include = serde_json::json!({
            "description": "Files that say what this one leaves out: tables are laid over each other key by key, lists as a \
                whole. Paths start at this file's folder. What they say need not be said here.",
            "type": ["string", "array"],
            "items": { "type": "string" },
        });
        // What is required may come from an included file.
        schema.remove("required");
        let properties = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut);
        properties.expect("a struct's schema has properties").insert("include".into(), include);
        serde_json::to_string_pretty(&schema).expect("a schema is JSON")
    }

    /// One in which nobody is and nothing happens, with every default.
    pub(crate) fn empty(name: &str, duration_s: u64, settle_s: u64) -> Self {
        Self {
            name: name.to_owned(),
            story: String::new(),
            duration_s,
            settle_s,
            population: Vec::new(),
            absent_founders: 0,
            network: Network::default(),
            disk: Disk::default(),
            clock: Clocks::default(),
            app: Vec::new(),
            workload: Workload::default(),
            churn: Churn::default(),
            fault: Vec::new(),
            liar: Vec::new(),
            knobs: Knobs::default(),
            check: Checks::default(),
            expect: Vec::new(),
            sometimes: Vec::new(),
            measure: Measuring::default(),
            stop: Stop::default(),
            sweep: Grid::default(),
            validate: None,
        }
    }

    /// How many nodes the mesh starts with.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.population.iter().map(|group| u64::from(group.operators) * u64::from(group.nodes)).sum()
    }

    /// The same mesh in which nobody lies: what a run with liars is held against. Whoever is not admitted is left out,
    /// and so is what would be expected of liars.
    #[must_use]
    pub fn quiet(&self) -> Self {
        let mut quiet = self.clone();
        quiet.liar.clear();
        quiet.expect.clear();
        quiet.population.retain(|group| group.admitted);
        quiet
    }

    /// Why a population cannot give an app the voters that it asks for, if it cannot: they are of as many operators.
    fn lacks_operators(&self, app: &App) -> Option<String> {
        let is_home = |group: &&Population| {
            let (home, law) = (&app.home, &group.jurisdiction);
            if home.is_empty() { !app.away.contains(law) } else { home.contains(law) }
        };
        let able = |group: &&Population| group.admitted && group.nodes > 0;
        let operators: u64 =
            self.population.iter().filter(is_home).filter(able).map(|group| u64::from(group.operators)).sum();
        let lacks = !app.allow_degraded && operators < u64::from(app.voters);
        let App { name, voters, .. } = app;
        lacks.then(|| {
            format!("app {name:?} asks for {voters} voters of as many operators, and its home has {operators}")
        })
    }

    pub(crate) fn validate(&self, source: &Source) -> Result<(), ScenarioError> {
        let wrong = |at: Range<usize>, what: String| source.mistake(at, what, None);
        let in_table = |table: &str, what: String| wrong(source.find(table), what);
        if self.nodes() == 0 {
            return Err(in_table("[[population]]", "there is no node: raise operators or nodes".into()));
        }
        if self.nodes() > NODES_MAX {
            let what = format!("{} nodes are more than the {NODES_MAX} that this version simulates", self.nodes());
            return Err(in_table("[[population]]", what));
        }
        if self.duration_s == 0 || self.duration_s > DURATION_S_MAX {
            let what = format!("duration_s must be 1 to {DURATION_S_MAX}");
            return Err(in_table("duration_s", what));
        }
        if !self.app.is_empty() && self.settle_s < SETTLE_S_MIN {
            return Err(in_table("settle_s", format!("with apps, settle_s must be at least {SETTLE_S_MIN}")));
        }
        for app in &self.app {
            if let Some(home) =
                app.home.iter().find(|home| self.population.iter().all(|group| group.jurisdiction != **home))
            {
                let what = format!("app {:?} has its home in {home}, where the population has no node", app.name);
                return Err(in_table("[[app]]", what));
            }
            if let Some(what) = self.lacks_operators(app) {
                let help = "add operators or a jurisdiction to its home, or set allow_degraded".to_owned();
                return Err(source.mistake(source.find(&format!("{:?}", app.name)), what, Some(help)));
            }
        }
        if self.measure.every_ms == 0 {
            return Err(in_table("every_ms", "every_ms must be at least 1".into()));
        }
        if self.sweep.seeds == 0 {
            return Err(in_table("[sweep", "seeds must be at least 1".into()));
        }
        if self.churn.faster == 0 || self.churn.whole_site_per_mille > 1_000 {
            let what = "faster must be at least 1, and whole_site_per_mille at most 1000".to_owned();
            return Err(in_table("[churn]", what));
        }
        for (name, [least, most]) in self.network.ranges().into_iter().chain(self.disk.ranges()) {
            if least > most {
                return Err(in_table(name, format!("{name} = [{least}, {most}]: the first must not be greater")));
            }
        }
        if let Err((key, what)) = self.network.validate() {
            return Err(in_table(key, what));
        }
        for (kind, name) in self.knobs.policies() {
            if let Some(help) = policy::help(kind, name.get_ref()) {
                let what = format!("there is no {kind} called \"{}\"", name.get_ref());
                return Err(source.mistake(name.span(), what, Some(help)));
            }
        }
        for fault in &self.fault {
            if let Err(what) = fault.get_ref().validate(self) {
                return Err(wrong(fault.span(), what));
            }
        }
        for liar in &self.liar {
            if let Err(what) = liar.get_ref().validate(self) {
                return Err(wrong(liar.span(), what));
            }
        }
        for expect in &self.expect {
            if let Err(what) = expect.get_ref().validate() {
                return Err(wrong(expect.span(), what));
            }
        }
        Ok(())
    }
}

/// No scenario has more nodes: their complete state must fit in memory.
const NODES_MAX: u64 = 20_000;

/// Clients need this long to end, and checkers to read what they left.
const SETTLE_S_MIN: u64 = 45;

/// No scenario lasts longer than 30 days.
const DURATION_S_MAX: u64 = 30 * 24 * 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
name = "small"
duration_s = 10

[[population]]
jurisdiction = "FR"
operators = 3
"#;

    fn complaint(text: &str) -> String {
        Scenario::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_scenario_of_three_lines_has_defaults_for_the_rest() {
        let scenario = Scenario::parse(SMALL).unwrap();
        assert_eq!((scenario.nodes(), scenario.settle_s), (3, 60));
        assert!(scenario.check.agreement && scenario.check.exactly_once);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
        let text = complaint(&format!("{SMALL}\n[network]\ndelay_msec = 3\n"));
        assert!(text.contains("line 10"), "{text}");
        assert!(text.contains("delay_msec") && text.contains("delay_ms"), "{text}");
    }

    #[test]
    fn a_fault_that_cannot_be_is_named_with_its_line() {
        let text = complaint(&format!("{SMALL}\n[[fault]]\nat_s = 99\nwhat = \"crash\"\n"));
        assert!(text.contains("line 9") && text.contains("99"), "{text}");
        let text = complaint(&format!("{SMALL}\n[[fault]]\nat_s = 1\nwhat = \"crush\"\n"));
        assert!(text.contains("crush") && text.contains("crash"), "{text}");
        let text =
            complaint(&format!("{SMALL}\n[[fault]]\nat_s = 1\nwhat = \"crash\"\nwho = {{ jurisdiction = \"fr\" }}\n"));
        assert!(text.contains("capital letters"), "{text}");
    }

    #[test]
    fn a_liar_that_cannot_be_is_named_with_its_line() {
        let liar = |rest: &str| complaint(&format!("{SMALL}\n[[liar]]\n{rest}\n"));
        let text = liar("what = \"fibbing\"\nwho = { any = 1 }");
        assert!(text.contains("line 10") && text.contains("equivocation"), "{text}");
        let text = liar("what = \"replay\"\nwho = {}");
        assert!(text.contains("line 9") && text.contains("somebody honest"), "{text}");
        let text = liar("what = \"eclipse\"\nwho = { any = 1 }");
        assert!(text.contains("line 9") && text.contains("target"), "{text}");
        let text = liar("what = \"replay\"\nwho = { any = 1 }\nfrom_s = 10");
        assert!(text.contains("line 9") && text.contains("from_s = 10"), "{text}");
    }

    #[test]
    fn an_app_at_home_where_nobody_lives_is_refused() {
        let text = complaint(&format!("{SMALL}\n[[app]]\nname = \"a\"\nhome = [\"DE\"]\n"));
        assert!(text.contains("line 9") && text.contains("DE"), "{text}");
    }

    #[test]
    fn an_app_with_more_voters_than_its_home_has_operators_is_refused() {
        let five = "[[app]]\nname = \"a\"\nvoters = 5\n";
        let text = complaint(&format!("{SMALL}\n{five}"));
        assert!(text.contains("line 10") && text.contains("5 voters") && text.contains("has 3"), "{text}");
        Scenario::parse(&format!("{SMALL}\n{five}allow_degraded = true\n")).unwrap();
    }

    #[test]
    fn a_measure_nobody_takes_cannot_be_expected() {
        let text = complaint(&format!("{SMALL}\n[[expect]]\nmeasure = \"joy\"\nat_most = 1.0\n"));
        assert!(text.contains("joy") && text.contains("write_p99_ms"), "{text}");
    }
}
