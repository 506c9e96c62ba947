//! The manifest as it is written: which keys there are, and of which kind each value is. What follows from several of
//! them together is checked in the folder's `mod.rs`.
use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::quantity::{Bytes, Cores, MonthlyPrice, Written};
use crate::{id::OperatorId, resources::Jurisdiction};

/// A duration and where it stands.
pub(super) type Period = Spanned<Written<Duration>>;

/// A jurisdiction and where it stands.
pub(super) type Law = Spanned<Written<Jurisdiction>>;

type Count = Spanned<Written<u32>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) app: Option<Spanned<String>>,
    pub(super) component: Option<Spanned<Component>>,
    pub(super) container: Option<Spanned<Container>>,
    pub(super) site: Option<Spanned<SiteFiles>>,
    pub(super) env: Option<BTreeMap<String, Spanned<String>>>,
    pub(super) place: Option<Place>,
    pub(super) resources: Option<InstanceResources>,
    pub(super) scale: Option<ScaleSection>,
    pub(super) read: Option<Read>,
    pub(super) cut: Option<Cut>,
    pub(super) recovery: Option<Recovery>,
    pub(super) domains: Option<Domains>,
    pub(super) state: Option<BTreeMap<String, Spanned<StateSection>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    pub(super) path: Spanned<String>,
    pub(super) allowed_outbound_hosts: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Container {
    pub(super) image: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteFiles {
    pub(super) path: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) home: Option<Spanned<Vec<Law>>>,
    pub(super) away: Option<Spanned<Vec<Law>>>,
    pub(super) voters: Option<Count>,
    pub(super) max_price: Option<Written<MonthlyPrice>>,
    pub(super) allow_degraded: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceResources {
    pub(super) memory: Option<Spanned<Written<Bytes>>>,
    pub(super) cpu: Option<Spanned<Written<Cores>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScaleSection {
    pub(super) min: Option<Count>,
    pub(super) max: Option<Count>,
    pub(super) target_concurrency: Option<Count>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    pub(super) max_staleness: Option<Period>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the keys as people write them")]
pub(super) struct Cut {
    pub(super) away: Option<Spanned<String>>,
    pub(super) stale_for_max: Option<Period>,
    pub(super) home_cut: Option<Law>,
    pub(super) lost_after: Option<Period>,
    pub(super) hold_for: Option<Period>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateSection {
    pub(super) mode: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recovery {
    pub(super) operators: Spanned<Vec<Spanned<Written<OperatorId>>>>,
    pub(super) threshold: Option<Count>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Domains {
    pub(super) names: Option<Spanned<Vec<Spanned<String>>>>,
}
