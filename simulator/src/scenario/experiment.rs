//! An experiment: a scenario, and the grid of its variants that a sweep runs with many seeds each.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Scenario, ScenarioError, source::Source};

/// No grid has more variants.
const VARIANTS_MAX: usize = 10_000;

/// What a sweep varies. `bocage sim run` takes the scenario as it stands and looks at none of it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grid {
    /// From which seed on.
    pub first_seed: u64,
    /// How many seeds each variant runs with.
    pub seeds: u64,
    /// Keys of the scenario, each with the values that it takes in turn: `network.delay_ms = [5, 50]`, `fault.0.for_s =
    /// [60, 600]`. Every combination is a variant.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub grid: toml::Table,
}

impl Default for Grid {
    fn default() -> Self {
        Self { first_seed: 1, seeds: 10, grid: toml::Table::new() }
    }
}

/// A scenario with its variants, and the files that it came from.
#[derive(Clone, Debug)]
pub struct Experiment {
    pub(super) source: Source,
    scenario: Scenario,
    /// The file of delays that it names.
    matrix: Option<PathBuf>,
}

/// The scenario with one value of the grid for each of its keys.
#[derive(Clone, Debug)]
pub struct Variant {
    /// `base` where there is no grid, else like `network.delay_ms=5`; fit for a file's name.
    pub name: String,
    /// What it says.
    pub scenario: Scenario,
}

/// A key of the grid: its path in the scenario, and how many values it takes.
type Axis = (Vec<String>, usize);

impl Experiment {
    /// Reads a scenario file, those that it includes, and looks that every variant can be run.
    ///
    /// # Errors
    /// When one cannot be read, is not a scenario, or is impossible.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        Self::of(Source::load(path)?)
    }

    /// As `load`, of a text that includes no other.
    ///
    /// # Errors
    /// When it is not a scenario, or is impossible.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        Self::of(Source::of_text(text)?)
    }

    fn of(source: Source) -> Result<Self, ScenarioError> {
        let (scenario, matrix) = read(&source, source.merged()?)?;
        let this = Self { source, scenario, matrix };
        this.variants()?;
        Ok(this)
    }

    /// As it stands, whatever the grid says.
    #[must_use]
    pub const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// As `scenario`, to change it. The variants are as the files say.
    pub const fn scenario_mut(&mut self) -> &mut Scenario {
        &mut self.scenario
    }

    /// The BLAKE3 hashes of its files.
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<String, String> {
        let mut hashes = self.source.hashes();
        let bytes = self.matrix.as_ref().and_then(|path| Some((path, std::fs::read(path).ok()?)));
        if let Some((path, bytes)) = bytes {
            hashes.insert(path.display().to_string(), blake3::hash(&bytes).to_hex().to_string());
        }
        hashes
    }

    /// Every combination of the grid's values, in the order of its keys.
    ///
    /// # Errors
    /// When a key leads nowhere, or a value makes the scenario impossible.
    pub fn variants(&self) -> Result<Vec<Variant>, ScenarioError> {
        let merged = self.source.merged()?;
        let axes = self.axes(merged.get_ref())?;
        let count = axes.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(*values));
        let Some(count) = count.filter(|count| *count <= VARIANTS_MAX) else {
            let what = format!("the grid has more than {VARIANTS_MAX} variants");
            return Err(self.source.mistake(self.source.find("[sweep"), what, Some("leave values out".into())));
        };
        (0..count).map(|number| self.variant(&merged, &axes, number)).collect()
    }

    fn variant(&self, merged: &Spanned<DeTable<'_>>, axes: &[Axis], number: usize) -> Result<Variant, ScenarioError> {
        let mut tables = merged.clone();
        let (mut rest, mut names) = (number, Vec::new());
        for (path, values) in axes.iter().rev() {
            let value = grid_value(merged.get_ref(), path, rest % values).expect("the axes were read from it");
            names.push(name(path, &value));
            rest /= values;
            let span = value.span();
            set(tables.get_mut(), path, value).map_err(|what| {
                let help = "a key of the grid is the path of a key in this scenario: network.delay_ms, fault.0.for_s";
                self.source.mistake(span, what, Some(help.into()))
            })?;
        }
        names.reverse();
        let name = if names.is_empty() { "base".to_owned() } else { names.join(",") };
        Ok(Variant { name, scenario: read(&self.source, tables)?.0 })
    }

    /// The keys of the grid with their counts of values.
    fn axes(&self, tables: &DeTable<'_>) -> Result<Vec<Axis>, ScenarioError> {
        let mut axes = Vec::new();
        if let Some(grid) = grid(tables) {
            self.add_axes(grid, &mut Vec::new(), &mut axes)?;
        }
        Ok(axes)
    }

    fn add_axes(&self, table: &DeTable<'_>, at: &mut Vec<String>, axes: &mut Vec<Axis>) -> Result<(), ScenarioError> {
        for (key, value) in table {
            let before = at.len();
            at.extend(key.get_ref().split('.').map(str::to_owned));
            match value.get_ref() {
                DeValue::Table(inner) => self.add_axes(inner, at, axes)?,
                DeValue::Array(values) if !values.is_empty() => axes.push((at.clone(), values.len())),
                _ => {
                    let what = format!("{} takes a list of values", at.join("."));
                    let help = Some("such as [1, 2, 5]".to_owned());
                    return Err(self.source.mistake(value.span(), what, help));
                }
            }
            at.truncate(before);
        }
        Ok(())
    }
}

/// The table `sweep.grid`.
fn grid<'t, 'a>(tables: &'t DeTable<'a>) -> Option<&'t DeTable<'a>> {
    let DeValue::Table(sweep) = tables.get("sweep")?.get_ref() else { return None };
    let DeValue::Table(grid) = sweep.get("grid")?.get_ref() else { return None };
    Some(grid)
}

/// One value of a key of the grid. The key may be written with dots, in tables, or both.
fn grid_value<'a>(tables: &DeTable<'a>, path: &[String], number: usize) -> Option<Spanned<DeValue<'a>>> {
    fn find<'t, 'a>(table: &'t DeTable<'a>, path: &[String]) -> Option<&'t Spanned<DeValue<'a>>> {
        (1..=path.len()).find_map(|len| {
            let value = table.get(path[..len].join(".").as_str())?;
            match value.get_ref() {
                DeValue::Table(inner) if len < path.len() => find(inner, &path[len..]),
                _ => (len == path.len()).then_some(value),
            }
        })
    }
    let DeValue::Array(values) = find(grid(tables)?, path)?.get_ref() else { return None };
    values.get(number).cloned()
}

/// Sets what a path leads to. Tables that are not there are made; lists are not made longer.
fn set<'a>(table: &mut DeTable<'a>, path: &[String], value: Spanned<DeValue<'a>>) -> Result<(), String> {
    let (first, rest) = path.split_first().expect("a key has a name");
    let span = value.span();
    let key = Spanned::new(span.clone(), first.clone().into());
    if rest.is_empty() {
        super::source::put(table, key, value);
        return Ok(());
    }
    if table.get(first.as_str()).is_none() {
        table.insert(key, Spanned::new(span, DeValue::Table(DeTable::new())));
    }
    match table.get_mut(first.as_str()).expect("it was just put there").get_mut() {
        DeValue::Table(inner) => set(inner, rest, value),
        DeValue::Array(items) => {
            let count = items.len();
            let number = rest[0].parse().ok().filter(|number: &usize| *number < count);
            let Some(number) = number else { return Err(format!("{first} has {count} entries, from 0 up")) };
            match (items.get_mut(number).map(Spanned::get_mut), rest.len()) {
                (Some(DeValue::Table(inner)), 2..) => set(inner, &rest[1..], value),
                _ => Err(format!("{first}.{number} is no table")),
            }
        }
        _ => Err(format!("{first} is no table")),
    }
}

/// What a variant is called after one of its values, without what file names take badly.
fn name(path: &[String], value: &Spanned<DeValue<'_>>) -> String {
    let shown = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Array(items) => items.iter().map(|item| name(&[], item)).collect::<Vec<_>>().join("-"),
        DeValue::Table(_) | DeValue::Datetime(_) => "table".to_owned(),
    };
    let fit = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '_' };
    let shown: String = shown.chars().map(fit).collect();
    if path.is_empty() { shown } else { format!("{}={shown}", path.join(".")) }
}

fn read(source: &Source, tables: Spanned<DeTable<'_>>) -> Result<(Scenario, Option<PathBuf>), ScenarioError> {
    let read = Scenario::deserialize(toml::Deserializer::from(tables));
    let mut scenario = read.map_err(|error| source.malformed(&error))?;
    let matrix = scenario.survey(source)?;
    scenario.validate(source)?;
    Ok((scenario, matrix))
}
