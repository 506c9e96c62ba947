//! Delays that follow from where nodes stand and from the lines that connect them: all pairs of cities computed once, so that
//! a frame costs two look-ups in flat lists.
use rustc_hash::FxHashMap;
use toml::Spanned;

use crate::{
    geo::{self, Access, City, Line},
    population::Place,
    scenario,
};

/// A node in no city.
const NOWHERE: u16 = u16::MAX;

/// Cities and lines of a world.
#[derive(Debug)]
pub(super) struct Ground {
    /// Of each node: its city, by number among those of this world.
    city: Vec<u16>,
    /// Of each node: its line; without delay, bound or queue if none was said.
    line: Vec<Option<Line>>,
    /// The numbers of this world's cities in the table of all.
    cities: Vec<u16>,
    /// One way, in nanoseconds, from each to each.
    delay: Vec<u64>,
    /// By how much a frame is late on the average, in nanoseconds, from each to each.
    jitter: Vec<u64>,
    /// What each class is like here.
    lines: Vec<Line>,
}

impl Ground {
    /// None if nobody stands in a city or has a line.
    pub(super) fn new(population: &[scenario::Population], settings: &scenario::Network) -> Option<Self> {
        let mut cities: Vec<u16> = population
            .iter()
            .flat_map(scenario::Population::cities)
            .filter_map(|city| geo::find(city.get_ref()).ok())
            .collect();
        cities.sort_unstable();
        cities.dedup();
        if cities.is_empty() && population.iter().all(|group| group.access.is_none()) {
            return None;
        }
        let city = |number: &u16| &geo::cities()[usize::from(*number)];
        let pairs = || cities.iter().flat_map(|a| cities.iter().map(move |b| (city(a), city(b))));
        let routes: FxHashMap<(&str, &str), u64> = settings.route.iter().flat_map(both_ways).collect();
        let said = |a: &City, b: &City| routes.get(&(a.name.as_str(), b.name.as_str())).copied();
        let delay = pairs().map(|(a, b)| said(a, b).unwrap_or_else(|| settings.figures.delay(a, b))).collect();
        let jitter = pairs().map(|(a, b)| settings.figures.jitter(a, b)).collect();
        let said =
            |class: &Access| settings.access.iter().map(|line| *line.get_ref()).find(|line| line.class == *class);
        let lines = Access::ALL.iter().map(|class| said(class).unwrap_or_else(|| class.line())).collect();
        Some(Self { city: Vec::new(), line: Vec::new(), cities, delay, jitter, lines })
    }

    /// A node joins; gives back its line.
    pub(super) fn join(&mut self, place: &Place) -> Option<Line> {
        let number = place.city.and_then(|city| self.cities.binary_search(&city).ok());
        self.city.push(number.and_then(|number| u16::try_from(number).ok()).unwrap_or(NOWHERE));
        let line = place.access.and_then(|class| self.lines.iter().find(|line| line.class == class));
        self.line.push(line.copied());
        line.copied()
    }

    /// Between the cities of two nodes, if both stand in one.
    pub(super) fn delay(&self, from: u32, to: u32) -> Option<u64> {
        Some(self.delay[self.pair(from, to)?])
    }

    /// As `delay`: by how much a frame is late on the average.
    pub(super) fn jitter(&self, from: u32, to: u32) -> Option<u64> {
        Some(self.jitter[self.pair(from, to)?])
    }

    /// What the lines at both ends add.
    pub(super) fn lines_delay(&self, from: u32, to: u32) -> u64 {
        let one = |node: u32| self.line(node).map_or(0, |line| line.delay_us * 1_000);
        one(from) + one(to)
    }

    /// By how much the lines at both ends make a frame late on the average.
    pub(super) fn lines_jitter(&self, from: u32, to: u32) -> u64 {
        let one = |node: u32| self.line(node).map_or(0, |line| line.jitter_us * 1_000);
        one(from) + one(to)
    }

    pub(super) fn line(&self, node: u32) -> Option<&Line> {
        self.line[node as usize].as_ref()
    }

    fn pair(&self, from: u32, to: u32) -> Option<usize> {
        let (from, to) = (self.city[from as usize], self.city[to as usize]);
        let both = from != NOWHERE && to != NOWHERE;
        both.then(|| usize::from(from) * self.cities.len() + usize::from(to))
    }
}

/// A route from either end, in nanoseconds.
fn both_ways(route: &Spanned<scenario::Route>) -> [((&str, &str), u64); 2] {
    let scenario::Route { cities: [a, b], delay_us } = route.get_ref();
    let nanos = delay_us * 1_000;
    [((a.as_str(), b.as_str()), nanos), ((b.as_str(), a.as_str()), nanos)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    /// Paris by a server's port, New York by a home's line, and one that stands nowhere.
    fn ground(more: &str) -> Ground {
        let text = format!(
            "name = \"x\"\nduration_s = 1
            [[population]]\njurisdiction = \"FR\"\ncity = \"Paris\"\naccess = \"datacentre\"
            [[population]]\njurisdiction = \"US\"\ncity = \"New York\"\naccess = \"dsl\"
            [[population]]\njurisdiction = \"DE\"\n{more}"
        );
        let scenario = scenario::Scenario::parse(&text).unwrap();
        let mut ground = Ground::new(&scenario.population, &scenario.network).unwrap();
        let population = crate::population::Population::new(&scenario, bocage_protocol::random::Seed([1; 32]));
        for place in &population.places {
            ground.join(place);
        }
        ground
    }

    #[test]
    fn delays_follow_from_the_distance_unless_a_route_says_them() {
        // 5,837 km at 5 ns a metre.
        let by = ground("[network.figures]\nfibre_per_mille = 2_000\nfixed_us = 1_000\n");
        let delay = by.delay(0, 1).unwrap();
        assert!(delay.abs_diff(59_370_000) < MILLI / 2, "{delay}");
        assert_eq!(by.delay(1, 0), Some(delay));
        assert_eq!((by.delay(0, 0), by.delay(0, 2)), (Some(MILLI), None));
        let said = ground("[[network.route]]\ncities = [\"New York\", \"Paris\"]\ndelay_us = 40_000\n");
        assert_eq!((said.delay(0, 1), said.delay(1, 0)), (Some(40 * MILLI), Some(40 * MILLI)));
    }

    #[test]
    fn a_line_adds_its_delay_at_its_end_and_a_scenario_may_have_its_own() {
        let shipped = ground("");
        assert_eq!(shipped.lines_delay(0, 1), 8_050_000);
        assert_eq!(shipped.lines_delay(1, 2), 8_000_000);
        let own = "[[network.access]]\nclass = \"dsl\"\ndelay_us = 3\njitter_us = 0\nup_mbit = 1\ndown_mbit = 2
            up_buffer_kib = 64\ndown_buffer_kib = 64\n";
        let own = ground(own);
        assert_eq!((own.lines_delay(1, 2), own.line(1).unwrap().down_mbit), (3_000, 2));
    }
}
