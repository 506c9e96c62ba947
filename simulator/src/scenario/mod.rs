//! An experiment: one strict TOML file. Whatever it does not say has a default that stands here; whatever it says wrong is
//! named with line, column and what to do.
mod fault;
mod liar;
mod tables;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

pub use fault::{Fault, Select, What};
pub use liar::{Liar, Lie};
pub use tables::{App, Between, Checks, Churn, Clocks, Disk, Expect, Knobs, Network, Population, Workload};

/// A scenario: who is there, how they are linked, what they run, what befalls them, and what must be seen.
#[derive(Clone, Debug, Deserialize)]
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
    #[serde(default)]
    pub fault: Vec<Spanned<Fault>>,
    /// Nodes that lie.
    #[serde(default)]
    pub liar: Vec<Spanned<Liar>>,
    /// Settings of the protocol that differ from its defaults.
    #[serde(default)]
    pub knobs: Knobs,
    /// Which checkers watch.
    #[serde(default)]
    pub check: Checks,
    /// What measures must be.
    #[serde(default)]
    pub expect: Vec<Spanned<Expect>>,
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
    /// Not TOML, an unknown key, a value of another type. Its text shows the line.
    #[error("{0}")]
    Malformed(#[from] toml::de::Error),
    /// Well formed and impossible.
    #[error("line {line}, column {column}: {what}")]
    Impossible {
        /// From 1 up.
        line: usize,
        /// From 1 up.
        column: usize,
        /// What is wrong and what to do.
        what: String,
    },
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// When it cannot be read, is not a scenario, or is impossible.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let unreadable = |why| ScenarioError::Unreadable { path: path.to_owned(), why };
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Reads the text of a scenario.
    ///
    /// # Errors
    /// When it is not a scenario, or is impossible.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)?;
        scenario.validate(text)?;
        Ok(scenario)
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

    fn validate(&self, text: &str) -> Result<(), ScenarioError> {
        let wrong = |at: usize, what: String| {
            let (line, column) = position(text, at);
            ScenarioError::Impossible { line, column, what }
        };
        let in_table = |table: &str, what: String| wrong(text.find(table).unwrap_or(0), what);
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
        }
        for (name, [least, most]) in self.network.ranges().into_iter().chain(self.disk.ranges()) {
            if least > most {
                return Err(in_table(name, format!("{name} = [{least}, {most}]: the first must not be greater")));
            }
        }
        for fault in &self.fault {
            if let Err(what) = fault.get_ref().validate(self) {
                return Err(wrong(fault.span().start, what));
            }
        }
        for liar in &self.liar {
            if let Err(what) = liar.get_ref().validate(self) {
                return Err(wrong(liar.span().start, what));
            }
        }
        for expect in &self.expect {
            if let Err(what) = expect.get_ref().validate() {
                return Err(wrong(expect.span().start, what));
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

/// Line and column, from 1 up, of a byte of `text`.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (line, column)
}

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
    fn a_measure_nobody_takes_cannot_be_expected() {
        let text = complaint(&format!("{SMALL}\n[[expect]]\nmeasure = \"joy\"\nat_most = 1.0\n"));
        assert!(text.contains("joy") && text.contains("write_p99_ms"), "{text}");
    }
}
