//! A fault of the timeline: what befalls whom, when, for how long.
use bocage_protocol::resources::Jurisdiction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Scenario;
use crate::geo::{self, Access};

/// A declared fault. One that touched nothing fails the run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// After the mesh stands.
    pub at_s: u64,
    /// It heals after so long, or with everything else when `duration_s` is over.
    pub for_s: Option<u64>,
    /// What befalls them.
    pub what: What,
    /// Whom. Left out: everybody.
    #[serde(default, skip_serializing_if = "is_everybody")]
    pub who: Select,
    /// Of a cut or a delay: from whom. Left out: from everybody else.
    pub from: Option<Select>,
    /// Of a cut: `who` cannot reach `from`, but the other way works.
    #[serde(default)]
    pub one_way: bool,
    /// Of a cut: only so many of 1,000 pairs of nodes across it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub part_per_mille: u64,
    /// Of a cut: it cuts for so long, then lets everything through for so long, and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaps_ms: Option<[u64; 2]>,
    /// Of a loss: so many of 1,000 frames.
    #[serde(default)]
    pub per_mille: u64,
    /// Of a delay: so much longer, one way.
    #[serde(default, skip_serializing_if = "is_none")]
    pub delay_ms: u64,
    /// Of throttle: no more than this each way.
    #[serde(default, skip_serializing_if = "is_none")]
    pub mbit: u64,
    /// Of slow: each frame, answer and wake-up takes so long.
    #[serde(default, skip_serializing_if = "is_none")]
    pub slow_us: u64,
    /// Of a blackout: each node's battery lasts for something within this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery_s: Option<[u64; 2]>,
    /// Of a blackout or a fire: once `for_s` is over, power comes back to one site after the other within so long.
    #[serde(default, skip_serializing_if = "is_none")]
    pub back_s: u64,
    /// Of a crowd: clients come back so many times as soon.
    #[serde(default, skip_serializing_if = "is_none")]
    pub times: u64,
    /// Of recover-apps: also while a jurisdiction that they are at home in is unreachable as a whole.
    #[serde(default)]
    pub fork: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none(number: &u64) -> bool {
    *number == 0
}

/// What befalls a node or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The process dies; its peers soon notice. It starts again when the fault heals.
    Crash,
    /// The machine loses its power: its peers notice by silence. It starts again when the fault heals.
    Power,
    /// As `crash`, and the disk is empty when it starts again.
    Wipe,
    /// The process is stopped for a while and knows nothing of it.
    Stall,
    /// Frames do not get through.
    Cut,
    /// Some frames do not get through.
    Loss,
    /// Frames take longer.
    Delay,
    /// Lines carry less.
    Throttle,
    /// The machine is busy with something else: whatever it does takes longer.
    Slow,
    /// The power grid fails. Each machine goes on until its battery is empty; power comes back to one site after the other.
    Blackout,
    /// The machines burn and never come back. The other sites of their operator in the same city lose their power at once;
    /// it comes back to one after the other.
    Fire,
    /// Everybody comes at once: clients do their next operation sooner. It befalls clients: who does not fit.
    Crowd,
    /// The node's operator drains it. When the fault heals it must hold nothing, and takes votes and leases again.
    Drain,
    /// Each sync fails.
    FailSync,
    /// The disk is full: it takes no new segment. When the fault heals there is room again and the process is started anew.
    DiskFull,
    /// The process dies, and some of what is on its disk rots meanwhile. It starts again when the fault heals.
    Rot,
    /// The node is gone for ever; a new one of the same operator and site takes its place.
    Replace,
    /// The node is gone for ever.
    Leave,
    /// The node's key was stolen: its operator revokes it. The machine runs on.
    Revoke,
    /// The operator's key was stolen, and the node is the thief's: the operator takes its key back by recovery keys and
    /// certifies its other nodes anew. The machine runs on.
    Recover,
    /// The tenants look what is left of their apps, and have those recovered that have lost their majority. It befalls apps: who
    /// does not fit.
    RecoverApps,
}

/// Who is meant: all that match every key given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Select {
    /// By number, from 0 up in the order of the population.
    pub node: Option<u32>,
    /// By number, from the first to the last.
    pub nodes: Option<[u32; 2]>,
    /// By the operator's name: `FR-1` is the first one in FR.
    pub operator: Option<String>,
    /// By the site's name: `FR-1/1` is the first site of that operator.
    pub site: Option<String>,
    /// By law.
    #[schemars(with = "Option<String>")]
    pub jurisdiction: Option<Jurisdiction>,
    /// By the city of its site.
    pub city: Option<String>,
    /// By the country that its city is in, two capital letters.
    pub country: Option<String>,
    /// By its access class.
    pub access: Option<Access>,
    /// So many of those that match, drawn at random among nodes that run.
    pub any: Option<u32>,
}

fn is_everybody(who: &Select) -> bool {
    *who == Select::default()
}

impl Select {
    /// What is wrong with it, if anything. That nobody matches is seen in the run.
    pub(super) fn validate(&self) -> Result<(), String> {
        if let Some(city) = &self.city {
            geo::find(city).map_err(|help| format!("there is no city \"{city}\" in the table ({help})"))?;
        }
        let country = self.country.as_ref();
        match country.filter(|code| !geo::cities().iter().any(|city| city.country == **code)) {
            Some(code) => Err(format!("there is no city in country \"{code}\": two capital letters, such as FR")),
            None => Ok(()),
        }
    }
}

impl What {
    /// As a scenario says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Power => "power",
            Self::Wipe => "wipe",
            Self::Stall => "stall",
            Self::Cut => "cut",
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Throttle => "throttle",
            Self::Slow => "slow",
            Self::Blackout => "blackout",
            Self::Fire => "fire",
            Self::Crowd => "crowd",
            Self::Drain => "drain",
            Self::FailSync => "fail-sync",
            Self::DiskFull => "disk-full",
            Self::Rot => "rot",
            Self::Replace => "replace",
            Self::Leave => "leave",
            Self::Revoke => "revoke",
            Self::Recover => "recover",
            Self::RecoverApps => "recover-apps",
        }
    }
}

impl Fault {
    /// One that befalls everybody, with nothing said that only some kinds want.
    pub(crate) fn new(at_s: u64, what: What) -> Self {
        Self {
            at_s,
            for_s: None,
            what,
            who: Select::default(),
            from: None,
            one_way: false,
            part_per_mille: 0,
            flaps_ms: None,
            per_mille: 0,
            delay_ms: 0,
            mbit: 0,
            slow_us: 0,
            battery_s: None,
            back_s: 0,
            times: 0,
            fork: false,
        }
    }

    /// Numbers that belong to some kinds only: whether the fault says one, which kinds it fits, and whether they need it.
    fn numbers(&self) -> [(&'static str, bool, &'static [What], bool); 10] {
        [
            ("one_way", self.one_way, &[What::Cut], false),
            ("part_per_mille", self.part_per_mille > 0, &[What::Cut], false),
            ("flaps_ms", self.flaps_ms.is_some(), &[What::Cut], false),
            ("per_mille", self.per_mille > 0, &[What::Loss], true),
            ("delay_ms", self.delay_ms > 0, &[What::Delay], true),
            ("mbit", self.mbit > 0, &[What::Throttle], true),
            ("slow_us", self.slow_us > 0, &[What::Slow], true),
            ("battery_s", self.battery_s.is_some(), &[What::Blackout], true),
            ("back_s", self.back_s > 0, &[What::Blackout, What::Fire], false),
            ("times", self.times > 0, &[What::Crowd], true),
        ]
    }

    /// That each number fits its kind and lies within its bounds.
    fn validate_numbers(&self) -> Result<(), String> {
        /// Longer ones are no delay but a cut.
        const DELAY_MS_MAX: u64 = 60_000;
        /// One that takes longer hears nothing in time.
        const SLOW_US_MAX: u64 = 1_000_000;
        const TIMES_MAX: u64 = 10_000;
        for (key, said, kinds, needed) in self.numbers() {
            let fits = kinds.contains(&self.what);
            if said && !fits {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                return Err(format!("{key} belongs to {}", names.join(" or ")));
            }
            if fits && needed && !said {
                return Err(format!("{key} is missing: {} needs it, and more than 0 of it", self.what.name()));
            }
        }
        let too_much = [
            ("part_per_mille", self.part_per_mille, 1_000),
            ("per_mille", self.per_mille, 1_000),
            ("delay_ms", self.delay_ms, DELAY_MS_MAX),
            ("slow_us", self.slow_us, SLOW_US_MAX),
            ("times", self.times, TIMES_MAX),
        ];
        if let Some((key, value, most)) = too_much.into_iter().find(|(_, value, most)| value > most) {
            return Err(format!("{key} = {value} must be at most {most}"));
        }
        if self.flaps_ms.is_some_and(|[cut, whole]| cut < 10 || whole < 10) {
            return Err("flaps_ms = [cut, whole]: each must be at least 10".into());
        }
        if self.battery_s.is_some_and(|[least, most]| least > most) {
            return Err("battery_s: the first must not be greater".into());
        }
        Ok(())
    }

    /// What is wrong with it, if anything.
    pub(super) fn validate(&self, scenario: &Scenario) -> Result<(), String> {
        if self.at_s >= scenario.duration_s {
            return Err(format!("at_s = {} lies behind duration_s = {}", self.at_s, scenario.duration_s));
        }
        if self.for_s == Some(0) {
            return Err("for_s = 0 touches nothing: leave it out or raise it".into());
        }
        self.validate_numbers()?;
        let between = matches!(self.what, What::Cut | What::Delay);
        if !between && self.from.is_some() {
            return Err("from belongs to a cut or a delay".into());
        }
        if between && self.who == Select::default() && self.from.is_none() {
            return Err(format!("a {} needs who, from, or both", self.what.name()));
        }
        let powerless = matches!(self.what, What::Blackout | What::Fire);
        let last = self.at_s.saturating_add(self.for_s.unwrap_or(u64::MAX)).saturating_add(self.back_s);
        if powerless && last > scenario.duration_s {
            let what = self.what.name();
            return Err(format!("a {what} needs for_s, and all power back (at_s + for_s + back_s) before duration_s"));
        }
        if self.what == What::Crowd && self.who != Select::default() {
            return Err("a crowd befalls all clients: who does not fit".into());
        }
        self.who.validate()?;
        self.from.as_ref().map_or(Ok(()), Select::validate)?;
        let of_apps = self.what == What::RecoverApps;
        if of_apps && (self.who != Select::default() || self.for_s.is_some()) {
            return Err("recover-apps befalls all apps, at once: who and for_s do not fit".into());
        }
        if self.fork && !of_apps {
            return Err("fork belongs to recover-apps".into());
        }
        let for_ever = matches!(self.what, What::Replace | What::Leave | What::Revoke | What::Recover);
        if for_ever && self.for_s.is_some() {
            return Err("who leaves, or whose key is dead, is gone for ever: for_s does not fit".into());
        }
        Ok(())
    }
}
