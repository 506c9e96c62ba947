//! Where a scenario's nodes stand: its cities and the delays between them, read from its matrix if it names one, and every
//! mistake shown in the file that it is in.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

use toml::Spanned;

use super::{Mistake, Population, Route, Scenario, ScenarioError, mistake::nearest, source::Source};
use crate::geo::{self, Matrix};

impl Population {
    /// The city of each operator's sites, in turn; none if they stand in none.
    pub(crate) fn cities(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.city.iter().chain(&self.cities)
    }
}

impl Scenario {
    /// Looks that every city is one and that there is a delay between any two; makes routes of what the matrix says. Gives
    /// back the matrix's path.
    pub(super) fn survey(&mut self, source: &Source) -> Result<Option<PathBuf>, ScenarioError> {
        let used = self.used_cities(source)?;
        self.survey_lines(source)?;
        for route in &self.network.route {
            for city in &route.get_ref().cities {
                geo::find(city).map_err(|help| unknown(source, route.span(), city, help))?;
            }
        }
        let Some(matrix) = self.network.matrix.take() else { return Ok(None) };
        let path = source.beside(&matrix)?;
        let read = Matrix::read(&path).map_err(|spoilt| in_matrix(&path, &spoilt, None))?;
        if let Some((city, span)) = used.iter().find(|(city, _)| !read.names.iter().any(|name| name == *city)) {
            let names: Vec<&str> = read.names.iter().map(String::as_str).collect();
            let best = Some(nearest(city, &names)).filter(|best| best.starts_with("did"));
            let help = best.unwrap_or_else(|| "add its row and column, or leave the key matrix out".into());
            let what = format!("the matrix {} has no city {city}", path.display());
            return Err(source.mistake(span.clone(), what, Some(help)));
        }
        let pair = |a: &str, b: &str| if a < b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) };
        let said: BTreeSet<(String, String)> = self
            .network
            .route
            .iter()
            .map(|route| {
                let [a, b] = &route.get_ref().cities;
                pair(a, b)
            })
            .collect();
        let names: Vec<&String> = used.keys().collect();
        for (number, a) in names.iter().enumerate() {
            for b in names.iter().skip(number + 1).filter(|b| !said.contains(&pair(a, b))) {
                let help = format!(
                    "fill it in, or say it in the scenario: [[network.route]] with cities = [\"{a}\", \"{b}\"]"
                );
                let round_trip = read.round_trip_us(a, b).map_err(|spoilt| in_matrix(&path, &spoilt, Some(help)))?;
                let route = Route { cities: [(*a).clone(), (*b).clone()], delay_us: round_trip / 2 };
                self.network.route.push(Spanned::new(matrix.span(), route));
            }
        }
        Ok(Some(path))
    }

    /// Each city of the population, with where it is first named.
    fn used_cities(&self, source: &Source) -> Result<BTreeMap<String, Range<usize>>, ScenarioError> {
        let mut used = BTreeMap::new();
        for group in &self.population {
            if let (Some(city), Some(_)) = (&group.city, group.cities.first()) {
                let help = Some("take one of the two keys out".to_owned());
                return Err(source.mistake(city.span(), "a group has a city or cities, not both".into(), help));
            }
            if let Some(city) = group.cities.get(group.sites.max(1) as usize) {
                let what = format!("{} cities for {} sites of each operator", group.cities.len(), group.sites);
                let help = Some("raise sites, or leave cities out".to_owned());
                return Err(source.mistake(city.span(), what, help));
            }
            for city in group.cities() {
                let name = city.get_ref();
                geo::find(name).map_err(|help| unknown(source, city.span(), name, help))?;
                used.entry(name.clone()).or_insert_with(|| city.span());
            }
        }
        Ok(used)
    }

    fn survey_lines(&self, source: &Source) -> Result<(), ScenarioError> {
        let network = &self.network;
        if let Err(what) = network.figures.validate() {
            return Err(source.mistake(source.find("[network.figures]"), what, None));
        }
        for (number, line) in network.access.iter().enumerate() {
            let again = network.access[..number].iter().any(|other| other.get_ref().class == line.get_ref().class);
            let again = if again { Err("this class has a line already".into()) } else { Ok(()) };
            again.and(line.get_ref().validate()).map_err(|what| source.mistake(line.span(), what, None))?;
        }
        Ok(())
    }
}

fn unknown(source: &Source, at: Range<usize>, city: &str, help: String) -> ScenarioError {
    source.mistake(at, format!("there is no city \"{city}\" in the table"), Some(help))
}

/// A mistake in a matrix, at its cell.
fn in_matrix(path: &Path, spoilt: &geo::Spoilt, help: Option<String>) -> ScenarioError {
    // The file was read a moment ago; one that cannot be read has no text to show.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut start = 0;
    let mut line = "";
    for (number, text) in (1..).zip(text.split_inclusive('\n')) {
        if number == spoilt.line {
            line = text.trim_end();
            break;
        }
        start += text.len();
    }
    let before: usize = line.split(',').take(spoilt.cell.saturating_sub(1)).map(|cell| cell.len() + 1).sum();
    let len = line.split(',').nth(spoilt.cell.saturating_sub(1)).map_or(0, str::len);
    let at = (start + before).min(text.len());
    let what = format!("the matrix {}", spoilt.what);
    let mistake = Mistake::at(Some(path.to_owned()), &text, at..at + len, what, help);
    ScenarioError::Wrong(Box::new(mistake))
}
