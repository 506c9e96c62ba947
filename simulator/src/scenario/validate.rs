//! What `bocage sim validate` asks of real processes and of this world alike, and where they stand: whatever real processes
//! cannot do is shown at its line and column.
use std::{ops::Range, time::Duration};

use bocage_protocol::{
    random::Seed,
    resources::{Jurisdiction, Site},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{App, Churn, Experiment, Knobs, Network, Scenario, ScenarioError};
use crate::{network, population};

/// Real processes of one machine: fewer make no mesh that is worth asking, more wait for each other's cores.
const NODES: std::ops::RangeInclusive<u64> = 5..=15;
/// One that is asked more often does nothing else.
const LOOK_EVERY_MS_MIN: u64 = 2;

/// A question that real processes and this world answer with the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// The process that leads the app's cell dies while a client writes through the edge of another node. Asked is the
    /// longest time from then on in which no write was acknowledged.
    Failover,
    /// One node asks another price. Asked is the time until the last of the others reckons with it.
    Offer,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// Which question.
    pub question: Question,
    /// Of an offer: each node is asked so often whether it knows.
    #[serde(default = "look_every_ms")]
    pub look_every_ms: u64,
}

const fn look_every_ms() -> u64 {
    5
}

/// Where real processes must stand to be what a scenario says.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What is asked.
    pub question: Question,
    /// See [`Validate::look_every_ms`].
    pub look_every: Duration,
    /// The nodes, by number.
    pub seats: Vec<Seat>,
    /// One way, from each to each other.
    pub ways: Vec<Way>,
    /// What the tenant deploys, where the question is of an app.
    pub app: Option<App>,
    /// Between two writes of the client: this on average.
    pub think: Duration,
    /// The client gives an attempt up after so long.
    pub attempt_max: Duration,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its operator's name.
    pub operator: String,
    /// Which law it answers to.
    pub jurisdiction: Jurisdiction,
    /// Its site.
    pub site: Site,
}

/// The way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// From which node.
    pub from: usize,
    /// To which.
    pub to: usize,
    /// Every frame takes at least so long.
    pub delay: Duration,
    /// By how much a frame is late on the average.
    pub late: Duration,
}

impl Question {
    /// As a scenario says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Offer => "offer",
        }
    }
}

impl Experiment {
    /// Where real processes must stand.
    ///
    /// # Errors
    /// At line and column: nothing is asked, or something that real processes on emulated links cannot do.
    pub fn layout(&self) -> Result<Layout, ScenarioError> {
        let scenario = self.scenario();
        let wrong = |Unlike { at, what, help }: Unlike| {
            let span = match at {
                Place::Span(span) => span,
                Place::Word(word) => self.source.find(word),
            };
            self.source.mistake(span, what, Some(help.to_owned()))
        };
        let asked = scenario.asked().map_err(wrong)?;
        for looks in [Scenario::unlike_population, Scenario::unlike_network, Scenario::unlike_rest] {
            looks(scenario).map_or(Ok(()), |unlike| Err(wrong(unlike)))?;
        }
        let app = match asked.question {
            Question::Failover => Some(scenario.unlike_app().map_err(wrong)?),
            Question::Offer => None,
        };
        Ok(Layout {
            question: asked.question,
            look_every: Duration::from_millis(asked.look_every_ms),
            seats: scenario.seats(),
            ways: scenario.ways(),
            app,
            think: Duration::from_millis(scenario.workload.think_ms),
            attempt_max: Duration::from_millis(scenario.workload.attempt_ms_max),
        })
    }
}

/// Something that real processes cannot do.
struct Unlike {
    at: Place,
    what: String,
    help: &'static str,
}

enum Place {
    Span(Range<usize>),
    /// Where it stands first.
    Word(&'static str),
}

fn unlike(word: &'static str, what: impl Into<String>, help: &'static str) -> Unlike {
    Unlike { at: Place::Word(word), what: what.into(), help }
}

impl Scenario {
    fn asked(&self) -> Result<Validate, Unlike> {
        let Some(asked) = self.validate else {
            let help = "say it in a table: [validate] with question = \"failover\" or \"offer\"";
            return Err(unlike("name", "nothing is asked of real processes here", help));
        };
        if asked.look_every_ms < LOOK_EVERY_MS_MIN {
            let what = format!("look_every_ms = {}: nodes would do little but answer", asked.look_every_ms);
            return Err(unlike("look_every_ms", what, "raise it to 2 or more"));
        }
        let workload = &self.workload;
        if workload.offer_changes_per_minute > 0 {
            let help = "leave it out: the question itself changes offers";
            return Err(unlike("offer_changes_per_minute", "offers change beside the question", help));
        }
        match asked.question {
            Question::Failover if workload.clients != 1 || workload.reads_per_mille > 0 => {
                let help = "write clients = 1 and reads_per_mille = 0";
                Err(unlike("[workload]", "failover is asked by one client that only writes", help))
            }
            Question::Offer if !self.app.is_empty() => {
                Err(unlike("[[app]]", "offers are asked about in a mesh without apps", "take the app out"))
            }
            Question::Offer
                if self.population.iter().any(|group| group.jurisdiction != self.population[0].jurisdiction) =>
            {
                let help = "put all of the population under one law; cities may lie anywhere";
                Err(unlike("[[population]]", "an offer is known within its jurisdiction only", help))
            }
            Question::Failover | Question::Offer => Ok(asked),
        }
    }

    fn unlike_population(&self) -> Option<Unlike> {
        let word = "[[population]]";
        let nodes = self.nodes();
        if !NODES.contains(&nodes) {
            let what =
                format!("{nodes} nodes: real processes are asked in meshes of {} to {}", NODES.start(), NODES.end());
            return Some(unlike(word, what, "change operators or nodes"));
        }
        let at_home = self.population.iter().any(|group| group.at_home);
        if at_home {
            return Some(unlike("at_home", "emulated links have no NAT", "take at_home out"));
        }
        if self.population.iter().any(|group| group.access.is_some()) {
            return Some(unlike("access", "emulated links have no width and no queue", "take access out"));
        }
        if self.population.iter().any(|group| !group.admitted) || self.absent_founders > 0 {
            let help = "take admitted and absent_founders out";
            return Some(unlike(word, "the operators found their mesh together", help));
        }
        None
    }

    fn unlike_network(&self) -> Option<Unlike> {
        let Network { loss_per_mille, burst, duplicates_per_mille, bandwidth_mbit, .. } = &self.network;
        let help = "take it out";
        match () {
            () if *loss_per_mille > 0 => {
                Some(unlike("loss_per_mille", "streams of real processes lose no frame on links that are up", help))
            }
            () if burst.is_some() => Some(unlike("[network.burst]", "emulated links have no bursts", help)),
            () if *duplicates_per_mille > 0 => {
                Some(unlike("duplicates_per_mille", "streams of real processes bring no frame twice", help))
            }
            () if *bandwidth_mbit != Network::default().bandwidth_mbit => {
                Some(unlike("bandwidth_mbit", "emulated links have no width", help))
            }
            () => None,
        }
    }

    fn unlike_rest(&self) -> Option<Unlike> {
        if let Some(fault) = self.fault.first() {
            let what = format!("{} cannot befall real processes beside the question", fault.get_ref().what.name());
            return Some(Unlike {
                at: Place::Span(fault.span()),
                what,
                help: "take the fault out: failover kills by itself",
            });
        }
        if let Some(liar) = self.liar.first() {
            let what = "real processes do not lie".to_owned();
            return Some(Unlike { at: Place::Span(liar.span()), what, help: "take the liar out" });
        }
        let Churn { replaced_per_mille, crashed_per_mille, model, .. } = &self.churn;
        if *replaced_per_mille > 0 || *crashed_per_mille > 0 || model.is_some() {
            return Some(unlike("[churn]", "nothing befalls real processes beside the question", "take the table out"));
        }
        if self.clock.offset_ms_max > 0 || self.clock.drift_ppm_max > 0 {
            let help = "write [clock] with offset_ms_max = 0 and drift_ppm_max = 0";
            return Some(unlike("[clock]", "real processes here share one clock", help));
        }
        if self.knobs != Knobs::default() {
            return Some(unlike("[knobs]", "real processes run by the protocol's defaults", "take the table out"));
        }
        None
    }

    fn unlike_app(&self) -> Result<App, Unlike> {
        let [app] = &self.app[..] else {
            return Err(unlike("[[app]]", "failover is asked of one app", "leave one [[app]]"));
        };
        if app.count != 1 {
            return Err(unlike("count", "failover is asked of one app", "take count out"));
        }
        if !app.away.is_empty() || app.converging || app.home_cut.is_some() {
            let help = "take away, converging and home_cut out";
            return Err(unlike(
                "[[app]]",
                "failover is asked of an app that is at home only, and agrees on each write",
                help,
            ));
        }
        Ok(app.clone())
    }

    /// Where its nodes stand, by number.
    fn seats(&self) -> Vec<Seat> {
        population::Population::new(self, Seed([0; 32])).seats()
    }

    /// All ways between its nodes, as this world has them.
    fn ways(&self) -> Vec<Way> {
        let places = population::Population::new(self, Seed([0; 32])).places;
        let mut network = network::Network::new(self.network.clone(), Seed([0; 32]));
        network.stand(&self.population);
        let count = u32::try_from(places.len()).expect("real processes are few");
        for place in places {
            network.join(place, |_, _| (false, false));
        }
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to))).filter(|(from, to)| from != to);
        pairs
            .map(|(from, to)| Way {
                from: from as usize,
                to: to as usize,
                delay: Duration::from_nanos(network.delay(from, to)),
                late: Duration::from_nanos(network.late_on_average(from, to)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = r#"
name = "asked"
duration_s = 60
[clock]
offset_ms_max = 0
drift_ppm_max = 0
[validate]
question = "failover"
[[population]]
jurisdiction = "FR"
operators = 3
[[population]]
jurisdiction = "DE"
operators = 2
[network]
inside_ms = 4
delay_ms = 15
jitter_percent = 40
[[app]]
name = "visits"
[workload]
reads_per_mille = 0
"#;

    fn layout(text: &str) -> Result<Layout, String> {
        let asked = Experiment::parse(text).unwrap_or_else(|error| panic!("{error}"));
        asked.layout().map_err(|error| error.to_string())
    }

    #[test]
    fn real_processes_stand_where_the_scenario_has_its_nodes_and_wait_as_long() {
        let layout = layout(ASKED).unwrap();
        let named: Vec<&str> = layout.seats.iter().map(|seat| seat.operator.as_str()).collect();
        assert_eq!(named, ["FR-1", "FR-2", "FR-3", "DE-1", "DE-2"]);
        assert_eq!(layout.ways.len(), 20);
        let way = |from, to| *layout.ways.iter().find(|way| way.from == from && way.to == to).unwrap();
        let ms = Duration::from_millis;
        assert_eq!((way(0, 2).delay, way(0, 4).delay, way(4, 0).delay), (ms(4), ms(15), ms(15)));
        // Two even draws, one below the other: a quarter of the most.
        assert_eq!(way(0, 4).late, Duration::from_micros(1_500));
    }

    #[test]
    fn what_real_processes_cannot_do_is_named_with_its_line() {
        let complaint = |text: &str| layout(text).unwrap_err();
        let more = |rest: &str| complaint(&format!("{ASKED}{rest}"));
        let without = |what: &str| complaint(&ASKED.replace(what, ""));
        let text = more("[[fault]]\nat_s = 1\nwhat = \"stall\"\nwho = { any = 1 }\n");
        assert!(text.contains("line 23") && text.contains("stall"), "{text}");
        let text = more("[knobs]\ntick_ms = 20\n");
        assert!(text.contains("line 23, column 1") && text.contains("defaults"), "{text}");
        let text = without("[validate]\nquestion = \"failover\"\n");
        assert!(text.contains("line 2") && text.contains("[validate]"), "{text}");
        let text = complaint(&ASKED.replace("operators = 3", "operators = 14"));
        assert!(text.contains("line 9") && text.contains("16 nodes") && text.contains("5 to 15"), "{text}");
        let text = complaint(&ASKED.replace("inside_ms = 4", "loss_per_mille = 4"));
        assert!(text.contains("line 16") && text.contains("lose no frame"), "{text}");
        let text = without("offset_ms_max = 0\n");
        assert!(text.contains("line 4") && text.contains("one clock"), "{text}");
        let text = complaint(&ASKED.replace("\"failover\"", "\"offer\""));
        assert!(text.contains("without apps"), "{text}");
    }
}
