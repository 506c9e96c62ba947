//! The tables of a scenario file, each with its defaults.
use bocage_protocol::{placement::AwayInCut, resources::Jurisdiction};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::model::{Family, Model};
use crate::{
    geo::{Access, Figures, Line},
    measure, policy,
};

/// Operators of one jurisdiction, all alike.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// The law that they and their sites answer to.
    #[schemars(with = "String")]
    pub jurisdiction: Jurisdiction,
    /// How many. Named `FR-1`, `FR-2`, and so on.
    #[serde(default = "one")]
    pub operators: u32,
    /// Sites of each. Named `FR-1/1`, `FR-1/2`, and so on.
    #[serde(default = "one")]
    pub sites: u32,
    /// Nodes of each, dealt out to its sites in turn.
    #[serde(default = "one")]
    pub nodes: u32,
    /// Behind NATs that nobody gets through: they dial out, and are reached through nodes that are not.
    #[serde(default)]
    pub at_home: bool,
    /// Where all their sites are: a city of `simulator/data/cities.csv`. Delays to other cities follow from the distance, or from
    /// the network's `matrix`. Left out: delays follow from the jurisdiction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub city: Option<Spanned<String>>,
    /// Instead of one city: several, which each operator's sites are dealt out to in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub cities: Vec<Spanned<String>>,
    /// The line of each node. Left out: one without delay, bound or queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// The electorate admitted them. Those who are not are Sybils: they are never counted among the honest.
    #[serde(default = "yes")]
    pub admitted: bool,
}

impl Population {
    /// So many operators with one node each.
    pub(crate) const fn of(jurisdiction: Jurisdiction, operators: u32) -> Self {
        Self {
            jurisdiction,
            operators,
            sites: one(),
            nodes: one(),
            at_home: false,
            city: None,
            cities: Vec::new(),
            access: None,
            admitted: yes(),
        }
    }
}

const fn yes() -> bool {
    true
}

const fn one() -> u32 {
    1
}

/// How nodes are linked. All delays are one way.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Between jurisdictions that no `between` names.
    pub delay_ms: u64,
    /// Within a jurisdiction.
    pub inside_ms: u64,
    /// Within a site, in microseconds.
    pub site_us: u64,
    /// Of pairs of jurisdictions.
    pub between: Vec<Between>,
    /// Most that a frame's delay is drawn longer, as a share of the delay; mostly far less. Between cities `figures` say it.
    pub jitter_percent: u64,
    /// A CSV of round trips in milliseconds between cities, whose first row and first column are their names; its path starts at
    /// this file's folder. Every pair of cities of the population must be in it, or be a `route`. Once it is read its pairs
    /// are routes: a resolved scenario needs no matrix.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub matrix: Option<Spanned<String>>,
    /// The delays of pairs of cities. Left out: by the distance and `figures`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Route>")]
    pub route: Vec<Spanned<Route>>,
    /// What turns the distance of two cities into delay.
    pub figures: Figures,
    /// Lines of access classes that differ from those that ship.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Line>")]
    pub access: Vec<Spanned<Line>>,
    /// From one node to another a frame takes so much longer than its link: threads that wake, signatures, encoding, sockets.
    /// Nothing, unless it was measured.
    pub frame_us: u64,
    /// Of frames, on links that are up. A stream loses none; this is what full queues drop.
    pub loss_per_mille: u64,
    /// On links that are up, losses that come together. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
    /// Of frames: so many of 1,000 come twice. A stream does not do so; this is what is sent again by something below it.
    pub duplicates_per_mille: u64,
    /// Of each node to each other: what a transfer gets. Those over a line share it.
    pub bandwidth_mbit: u64,
    /// A cut link or a machine without power is noticed within this range.
    pub silence_noticed_ms: [u64; 2],
    /// A process that died is noticed within this range.
    pub crash_noticed_ms: [u64; 2],
    /// A dial gives up after so long.
    pub dial_ms_max: u64,
    /// Until a link is up at the end that dialled: 1 with QUIC, 2 or 3 with TCP and TLS. At least 1.
    pub handshake_round_trips: u64,
}

/// Losses that come together, on each direction of each link for itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Between two bursts, on average.
    pub every_s: u64,
    /// A burst, on average.
    pub lasts_ms: u64,
    /// Of frames in a burst: so many of 1,000 are lost.
    pub loss_per_mille: u64,
    /// Lost frames are lost for good. Left out: their stream sends them again, so they are late, and all behind them.
    #[serde(default)]
    pub dropped: bool,
}

/// The delay between two jurisdictions.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// Both, in any order.
    #[schemars(with = "[String; 2]")]
    pub jurisdictions: [Jurisdiction; 2],
    /// One way.
    pub delay_ms: u64,
}

/// The delay between two cities.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Both, in any order.
    pub cities: [String; 2],
    /// One way.
    pub delay_us: u64,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            delay_ms: 20,
            inside_ms: 8,
            site_us: 250,
            between: Vec::new(),
            jitter_percent: 25,
            matrix: None,
            route: Vec::new(),
            figures: Figures::default(),
            access: Vec::new(),
            frame_us: 0,
            loss_per_mille: 0,
            burst: None,
            duplicates_per_mille: 0,
            bandwidth_mbit: 200,
            silence_noticed_ms: [1_000, 3_000],
            crash_noticed_ms: [20, 250],
            dial_ms_max: 3_000,
            handshake_round_trips: 1,
        }
    }
}

impl Network {
    /// What is wrong with its numbers, if anything, and of which key.
    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        let per_mille = [("loss_per_mille", self.loss_per_mille), ("duplicates_per_mille", self.duplicates_per_mille)];
        let burst = self.burst.iter().map(|burst| ("loss_per_mille", burst.loss_per_mille));
        for (key, value) in per_mille.into_iter().chain(burst) {
            if value > 1_000 {
                return Err((key, format!("{key} = {value} must be at most 1000: it is a share of a thousand")));
            }
        }
        if !(1..=10).contains(&self.handshake_round_trips) {
            return Err(("handshake_round_trips", "handshake_round_trips must be 1 to 10".into()));
        }
        match &self.burst {
            Some(Burst { every_s: 0, .. }) => Err(("every_s", "every_s = 0: bursts never end; raise it".into())),
            Some(Burst { lasts_ms: 0, .. }) => Err(("lasts_ms", "lasts_ms = 0: there is no burst; raise it".into())),
            _ => Ok(()),
        }
    }

    pub(super) fn ranges(&self) -> Vec<(&'static str, [u64; 2])> {
        vec![("silence_noticed_ms", self.silence_noticed_ms), ("crash_noticed_ms", self.crash_noticed_ms)]
    }
}

/// How fast disks are.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Disk {
    /// A sync takes this long, in microseconds.
    pub sync_us: [u64; 2],
    /// Any other block verb, in microseconds.
    pub verb_us: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { sync_us: [400, 4_000], verb_us: 30 }
    }
}

impl Disk {
    pub(super) fn ranges(&self) -> Vec<(&'static str, [u64; 2])> {
        vec![("sync_us", self.sync_us)]
    }
}

/// How wrong clocks are.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Clocks {
    /// Wall clocks are off by at most so much either way.
    pub offset_ms_max: u64,
    /// All clocks run too fast or slow by at most so much.
    pub drift_ppm_max: u64,
}

impl Default for Clocks {
    fn default() -> Self {
        Self { offset_ms_max: 200, drift_ppm_max: 20 }
    }
}

/// Apps, all alike.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// A DNS label; with `count`, a number is added.
    pub name: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// See the policy's. Empty: any.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub home: Vec<Jurisdiction>,
    /// See the policy's.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub away: Vec<Jurisdiction>,
    /// 1, 3 or 5.
    #[serde(default = "voters")]
    pub voters: u32,
    /// Instances, at least.
    #[serde(default = "one")]
    pub min: u32,
    /// Instances, at most.
    #[serde(default = "instances_max")]
    pub max: u32,
    /// Run below the grade that the voters promise.
    #[serde(default)]
    pub allow_degraded: bool,
    /// Age that a read away may have while linked.
    #[serde(default = "staleness_s")]
    pub max_staleness_s: u64,
    /// What a read away gets in a cut.
    #[serde(default = "stale")]
    #[schemars(with = "String")]
    pub cut_away: AwayInCut,
    /// For so long.
    #[serde(default = "stale_for_s")]
    pub stale_for_max_s: u64,
    /// See the policy's.
    #[schemars(with = "Option<String>")]
    pub home_cut: Option<Jurisdiction>,
    /// It has a store that converges, `shared`, to which its guests write wherever they run: counts, sets and deletions.
    #[serde(default)]
    pub converging: bool,
    /// How long the component is.
    #[serde(default = "component_bytes")]
    pub component_bytes: usize,
}

impl App {
    /// One with so many voters, at home anywhere.
    pub(crate) fn named(name: &str, voters: u32) -> Self {
        Self {
            name: name.to_owned(),
            count: one(),
            home: Vec::new(),
            away: Vec::new(),
            voters,
            min: one(),
            max: instances_max(),
            allow_degraded: false,
            max_staleness_s: staleness_s(),
            cut_away: stale(),
            stale_for_max_s: stale_for_s(),
            home_cut: None,
            converging: false,
            component_bytes: component_bytes(),
        }
    }
}

const fn voters() -> u32 {
    3
}

const fn instances_max() -> u32 {
    20
}

const fn staleness_s() -> u64 {
    60
}

const fn stale() -> AwayInCut {
    AwayInCut::Stale
}

const fn stale_for_s() -> u64 {
    24 * 3_600
}

const fn component_bytes() -> usize {
    64 << 10
}

/// What clients do: each has one operation under way, and repeats it until it is answered.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Of each app.
    pub clients: u32,
    /// Between an answer and the next operation: this on average.
    pub think_ms: u64,
    /// Of operations; the others write.
    pub reads_per_mille: u64,
    /// A client gives an attempt up after so long and repeats it.
    pub attempt_ms_max: u64,
    /// Offers change so often, all nodes together.
    pub offer_changes_per_minute: u64,
}

impl Default for Workload {
    fn default() -> Self {
        Self { clients: 1, think_ms: 1_000, reads_per_mille: 200, attempt_ms_max: 15_000, offer_changes_per_minute: 0 }
    }
}

/// Random faults, evenly spread over the duration. All zero: none.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Churn {
    /// Of all nodes, per minute: gone for ever, a new one in its place.
    pub replaced_per_mille: u64,
    /// Of all nodes, per minute: the process dies and starts again.
    pub crashed_per_mille: u64,
    /// How long a crashed one is down.
    pub down_ms: [u64; 2],
    /// Beside these: nodes lose their power and get it back as the nodes of a system did that was watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// Of the model: which fit.
    pub family: Family,
    /// Of the model: so many times as fast as it was.
    pub faster: u64,
    /// Of the model: of 1,000 times that a node goes, so often its whole site goes with it.
    pub whole_site_per_mille: u64,
}

impl Default for Churn {
    fn default() -> Self {
        Self {
            replaced_per_mille: 0,
            crashed_per_mille: 0,
            down_ms: [0; 2],
            model: None,
            family: Family::Weibull,
            faster: 1,
            whole_site_per_mille: 0,
        }
    }
}

/// Settings of the protocol. Left out: its own default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Knobs {
    /// Who says who is down. `bocage` is what ships; see `crate::policy` for others.
    #[schemars(schema_with = "detectors")]
    pub detector: Spanned<String>,
    /// Who says where an app goes, likewise.
    #[schemars(schema_with = "placements")]
    pub placement: Spanned<String>,
    /// By which set of numbers nodes gossip, likewise. The numbers below come after it.
    #[schemars(schema_with = "gossips")]
    pub gossip: Spanned<String>,
    /// See `CellConfig::tick`.
    pub tick_ms: Option<u64>,
    /// See `CellConfig::snapshot_entries`.
    pub snapshot_entries: Option<u64>,
    /// See `CellConfig::lease`.
    pub lease_ms: Option<u64>,
    /// See `membership::Config::active_max`.
    pub active_max: Option<usize>,
    /// See `membership::Config::observers`.
    pub observers: Option<usize>,
    /// See `membership::Config::probe`.
    pub probe_ms: Option<u64>,
    /// See `membership::Config::repair`.
    pub repair_ms: Option<u64>,
    /// Of all nodes, spread evenly: they speak the previous wire version. Frames are then encoded and read on every link.
    pub previous_wire_per_mille: u32,
    /// Those of them that are started again speak all versions: an upgrade under way.
    pub upgraded_at_restart: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        let shipped = || Spanned::new(0..0, policy::SHIPPED.to_owned());
        Self {
            detector: shipped(),
            placement: shipped(),
            gossip: shipped(),
            tick_ms: None,
            snapshot_entries: None,
            lease_ms: None,
            active_max: None,
            observers: None,
            probe_ms: None,
            repair_ms: None,
            previous_wire_per_mille: 0,
            upgraded_at_restart: false,
        }
    }
}

impl Knobs {
    /// The policies that are chosen by name, each with its key.
    pub(crate) const fn policies(&self) -> [(&'static str, &Spanned<String>); 3] {
        [("detector", &self.detector), ("placement", &self.placement), ("gossip", &self.gossip)]
    }
}

fn detectors(_: &mut SchemaGenerator) -> Schema {
    one_of("detector")
}

fn placements(_: &mut SchemaGenerator) -> Schema {
    one_of("placement")
}

fn gossips(_: &mut SchemaGenerator) -> Schema {
    one_of("gossip")
}

/// The names that a kind of policy may have.
fn one_of(kind: &str) -> Schema {
    json_schema!({ "type": "string", "enum": policy::names(kind), "default": policy::SHIPPED })
}

/// Which checkers watch. All, unless said otherwise.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is one checker, and a file turns any of them off")]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Replicas apply the same.
    pub agreement: bool,
    /// Each operation takes effect once, and in order.
    pub exactly_once: bool,
    /// No write of a lease that ended.
    pub fencing: bool,
    /// After the faults all agree and every app is writable.
    pub convergence: bool,
    /// No honest node is called down, or loses its vote.
    pub eviction: bool,
    /// No honest node is shown to have contradicted itself.
    pub blame: bool,
    /// Whoever contradicts itself is shown to.
    pub attribution: bool,
    /// Reads away keep what their apps' policies say.
    pub cut_contract: bool,
    /// Converging stores end up alike, with all that was acknowledged.
    pub converge: bool,
    /// Every declared fault and lie touches something.
    pub faults: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            agreement: true,
            exactly_once: true,
            fencing: true,
            convergence: true,
            eviction: true,
            blame: true,
            attribution: true,
            cut_contract: true,
            converge: true,
            faults: true,
        }
    }
}

/// A bound of a measure. One that was not taken, or lies outside, is a violation.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Its name in the report.
    pub measure: String,
    /// No more.
    pub at_most: Option<f64>,
    /// No less.
    pub at_least: Option<f64>,
    /// No more on the average of all seeds: looked at by a sweep only.
    pub mean_at_most: Option<f64>,
    /// No less on the average of all seeds: looked at by a sweep only.
    pub mean_at_least: Option<f64>,
}

impl Expect {
    /// What is wrong with it, if anything.
    pub(super) fn validate(&self) -> Result<(), String> {
        if !measure::NAMES.contains(&self.measure.as_str()) {
            return Err(format!("there is no measure {:?}; there are {}", self.measure, measure::NAMES.join(", ")));
        }
        let bounds = [self.at_most, self.at_least, self.mean_at_most, self.mean_at_least];
        if bounds.iter().all(Option::is_none) {
            return Err("at_most, at_least, mean_at_most or mean_at_least is missing".into());
        }
        Ok(())
    }
}

/// How often what goes on is measured, where results are kept. Measuring changes nothing in a run.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Measuring {
    /// Rates and counts are taken over intervals of this length, once the mesh stands.
    pub every_ms: u64,
}

impl Default for Measuring {
    fn default() -> Self {
        Self { every_ms: 1_000 }
    }
}

/// When a run ends before its time. What is looked at in the end only is then not looked at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// As soon as anything is violated.
    pub at_first_violation: bool,
}
