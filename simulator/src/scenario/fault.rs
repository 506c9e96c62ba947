//! A fault of the timeline: what befalls whom, when, for how long.
use bocage_protocol::resources::Jurisdiction;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Scenario;

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
    /// Of a cut: from whom they are cut off. Left out: from everybody else.
    pub from: Option<Select>,
    /// Of a cut: `who` cannot reach `from`, but the other way works.
    #[serde(default)]
    pub one_way: bool,
    /// Of a loss: so many of 1,000 frames.
    #[serde(default)]
    pub per_mille: u64,
    /// Of recover-apps: also while a jurisdiction that they are at home in is unreachable as a whole.
    #[serde(default)]
    pub fork: bool,
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
    /// The node's operator drains it. When the fault heals it must hold nothing, and takes votes and leases again.
    Drain,
    /// Each sync fails.
    FailSync,
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
    /// So many of those that match, drawn at random among nodes that run.
    pub any: Option<u32>,
}

fn is_everybody(who: &Select) -> bool {
    *who == Select::default()
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
            Self::Drain => "drain",
            Self::FailSync => "fail-sync",
            Self::Replace => "replace",
            Self::Leave => "leave",
            Self::Revoke => "revoke",
            Self::Recover => "recover",
            Self::RecoverApps => "recover-apps",
        }
    }
}

impl Fault {
    /// What is wrong with it, if anything.
    pub(super) fn validate(&self, scenario: &Scenario) -> Result<(), String> {
        if self.at_s >= scenario.duration_s {
            return Err(format!("at_s = {} lies behind duration_s = {}", self.at_s, scenario.duration_s));
        }
        if self.for_s == Some(0) {
            return Err("for_s = 0 touches nothing: leave it out or raise it".into());
        }
        let cut = self.what == What::Cut;
        if !cut && (self.from.is_some() || self.one_way) {
            return Err("from and one_way belong to a cut".into());
        }
        if cut && self.who == Select::default() && self.from.is_none() {
            return Err("a cut needs who, from, or both".into());
        }
        if (self.what == What::Loss) != (self.per_mille > 0) {
            return Err("per_mille belongs to a loss, and a loss needs it".into());
        }
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
