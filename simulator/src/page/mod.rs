//! The report of runs as one page that needs nothing but a browser: figures in it, each one's numbers and Vega-Lite beside.
mod figure;
mod figures;

use std::{collections::BTreeMap, path::Path};

use askama::Template;

use crate::results::{
    Kept, ResultsError,
    folder::{self, Folder},
    kept,
};
use figures::OfVariant;

/// Where the numbers of each figure lie, beside the page.
const FIGURES: &str = "figures";

/// A report lists no more violations.
const VIOLATIONS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    scenario: &'a str,
    story: String,
    runs: usize,
    violated: usize,
    seeds: String,
    kept: &'a [Kept],
    figures: Vec<Shown>,
    measures: Vec<(String, Vec<String>)>,
    variants: Vec<String>,
    violations: Vec<(String, u64, String)>,
    left_out: usize,
    config: String,
}

/// A figure on the page.
struct Shown {
    name: &'static str,
    title: &'static str,
    caption: String,
    svg: String,
}

/// Makes the report of a folder of results: `report.html` in it, and `figures/`. Gives back how many figures it has.
///
/// # Errors
/// When there are no results in it, or it cannot be written.
pub fn write_report(path: &Path) -> Result<usize, ResultsError> {
    let runs = kept(path)?;
    let folder = Folder::open(path)?;
    let beside = Folder::open(&folder.path(FIGURES))?;
    let mut of_variants: BTreeMap<&str, OfVariant> = BTreeMap::new();
    for run in &runs {
        let variant = run.manifest.variant.as_str();
        let of = of_variants.entry(variant).or_insert_with(|| OfVariant {
            name: variant.to_owned(),
            runs: 0,
            rows: Vec::new(),
        });
        of.runs += 1;
        of.rows.extend(run.rows()?);
    }
    let of_variants: Vec<OfVariant> = of_variants.into_values().collect();
    let mut figures = Vec::new();
    for figure in figures::all(&of_variants) {
        let failed = |what: String| ResultsError::Unreadable { path: beside.path(figure.name), what };
        let csv = figure.csv().map_err(|error| failed(error.to_string()))?;
        beside.write(&format!("{}.csv", figure.name), &csv)?;
        let vega = serde_json::to_string_pretty(&figure.vega_lite()).map_err(|error| failed(error.to_string()))?;
        beside.write(&format!("{}.vl.json", figure.name), vega.as_bytes())?;
        let svg = figure.svg().map_err(|error| failed(error.to_string()))?;
        beside.write(&format!("{}.svg", figure.name), svg.as_bytes())?;
        figures.push(Shown { name: figure.name, title: figure.title, caption: figure.caption, svg });
    }
    let count = figures.len();
    let html = page(path, &runs, figures)?;
    folder.write("report.html", html.as_bytes())?;
    Ok(count)
}

fn page(path: &Path, runs: &[Kept], figures: Vec<Shown>) -> Result<String, ResultsError> {
    let first = &runs[0].manifest;
    let mut variants: Vec<String> = runs.iter().map(|run| run.manifest.variant.clone()).collect();
    variants.dedup();
    let config = config(path, &first.variant);
    let story = toml::from_str::<toml::Table>(&config).ok();
    let story = story.and_then(|table| Some(table.get("story")?.as_str()?.to_owned())).unwrap_or_default();
    let all: Vec<(String, u64, String)> = runs
        .iter()
        .map(|run| &run.manifest)
        .flat_map(|of| of.violations.iter().map(move |what| (of.variant.clone(), of.seed, what.clone())))
        .collect();
    let left_out = all.len().saturating_sub(VIOLATIONS_MAX);
    let mut seeds: Vec<u64> = runs.iter().map(|run| run.manifest.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let seeds = match seeds[..] {
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
        [] => String::new(),
    };
    let page = Page {
        scenario: &first.scenario,
        story,
        runs: runs.len(),
        violated: runs.iter().filter(|run| run.manifest.ended != "well").count(),
        seeds,
        kept: runs,
        figures,
        measures: measures(runs, &variants),
        variants,
        violations: all.into_iter().take(VIOLATIONS_MAX).collect(),
        left_out,
        config,
    };
    page.render().map_err(|error| ResultsError::Unreadable { path: path.join("report.html"), what: error.to_string() })
}

/// The scenario as it was run; nothing where it does not lie there.
fn config(path: &Path, variant: &str) -> String {
    let places = [path.join("scenario.toml"), path.join("runs").join(variant).join("scenario.toml")];
    let found = places.iter().find_map(|place| folder::read(place).ok());
    found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Each measure of whole runs, its mean and range over the runs of each variant.
#[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
fn measures(runs: &[Kept], variants: &[String]) -> Vec<(String, Vec<String>)> {
    let mut values: BTreeMap<&String, BTreeMap<&String, Vec<f64>>> = BTreeMap::new();
    for run in runs {
        for (measure, value) in &run.manifest.measures {
            values.entry(measure).or_default().entry(&run.manifest.variant).or_default().push(*value);
        }
    }
    let shown = |values: Option<&Vec<f64>>| {
        let Some(values) = values else { return "—".to_owned() };
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (low, high) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
        if values.len() == 1 { format!("{mean:.3}") } else { format!("{mean:.3} ({low:.3} … {high:.3})") }
    };
    let row = |(measure, of): (&String, BTreeMap<&String, Vec<f64>>)| {
        (measure.clone(), variants.iter().map(|variant| shown(of.get(variant))).collect())
    };
    values.into_iter().map(row).collect()
}
