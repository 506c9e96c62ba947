//! Releases: what a tenant may say in one, and the few that a cell retains.
use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::{Refusal, STORE_BYTES_MAX, no};
use crate::{
    cell::{Release, ReleaseInfo, Secrets, Workload},
    converge::STORES_MAX,
    outbound::{DESTINATIONS_MAX, Destination},
    placement::Policy,
    refusal::Code,
    resources::Jurisdiction,
    time::Timestamp,
};

/// A cell retains so many releases: it can go back to each of them, and their bytes are kept.
pub const RELEASES_MAX: usize = 10;
/// Names and values of an environment have at most so many bytes in all.
pub const ENV_BYTES_MAX: usize = 64 << 10;
/// A release names at most so many domains.
pub const DOMAINS_MAX: usize = 32;
/// A component has at most so many bytes.
pub const COMPONENT_BYTES_MAX: u64 = 256 << 20;
/// An app has at most so many instances.
pub const INSTANCES_MAX: u32 = 1_000;
/// Names and values of an app's secrets have at most so many bytes in all.
pub const SECRETS_BYTES_MAX: usize = 64 << 10;
/// A data key is wrapped for at most so many nodes.
pub const SECRETS_WRAPS_MAX: usize = 1_024;
/// A wrapped data key has at most so many bytes.
const WRAP_BYTES_MAX: usize = 256;
/// A policy lists at most so many jurisdictions at home, and as many away.
const JURISDICTIONS_MAX: usize = 64;
/// A policy lists at most so many operators that may recover it.
const RECOVERY_OPERATORS_MAX: usize = 16;

/// No release's number comes near: the next one is always higher.
const NUMBER_MAX: u64 = 1 << 62;

/// A release that can become current again.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Retained {
    #[n(0)]
    pub(super) info: ReleaseInfo,
    #[n(1)]
    pub(super) release: Release,
}

/// The retained releases by rising number; the last is the current one.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(transparent)]
pub(super) struct Releases(#[n(0)] Vec<Retained>);

impl Releases {
    /// The first one.
    pub(super) fn found(release: Release, founded: Timestamp) -> Self {
        let info =
            ReleaseInfo { number: 1, workload: release.workload.clone(), deployed: founded, rolled_back_to: None };
        Self(vec![Retained { info, release }])
    }

    /// False only of a state that did not come from here.
    pub(super) fn is_sound(&self) -> bool {
        self.0.last().is_some_and(|newest| newest.info.number < NUMBER_MAX)
            && self.0.is_sorted_by(|a, b| a.info.number < b.info.number)
    }

    pub(super) fn current(&self) -> &Retained {
        self.0.last().expect("a cell is founded with a release, and the newest is never dropped")
    }

    pub(super) fn numbered(&self, number: u64) -> Option<&Retained> {
        self.0.iter().find(|retained| retained.info.number == number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Retained> {
        self.0.iter()
    }

    /// Makes `release` current and drops the oldest beyond [`RELEASES_MAX`]. Returns its number.
    pub(super) fn push(&mut self, release: Release, rolled_back_to: Option<u64>, now: Timestamp) -> u64 {
        let number = self.current().info.number.saturating_add(1);
        let info = ReleaseInfo { number, workload: release.workload.clone(), deployed: now, rolled_back_to };
        self.0.push(Retained { info, release });
        let surplus = self.0.len().saturating_sub(RELEASES_MAX);
        self.0.drain(..surplus);
        number
    }
}

/// Whether a release is well formed, from itself alone.
pub(super) fn check(release: &Release) -> Result<(), Refusal> {
    if !is_label(&release.app) {
        let detail = "an app's name is 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -";
        return Err(no(Code::Invalid, detail));
    }
    match &release.workload {
        Workload::Component { size_bytes, .. } if (1..=COMPONENT_BYTES_MAX).contains(size_bytes) => {}
        Workload::Component { .. } => {
            return Err(no(Code::Invalid, format!("a component has 1 to {COMPONENT_BYTES_MAX} bytes")));
        }
        Workload::Container { .. } => return Err(no(Code::Unsupported, "this version runs no containers")),
        Workload::Site { .. } => return Err(no(Code::Unsupported, "this version runs no static sites")),
    }
    let env_bytes: usize = release.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env_bytes > ENV_BYTES_MAX || !are_names(release.env.iter().map(|(name, _)| name)) {
        let detail = format!("an environment has distinct, non-empty names and at most {ENV_BYTES_MAX} bytes in all");
        return Err(no(Code::Invalid, detail));
    }
    if release.domains.len() > DOMAINS_MAX
        || !are_names(release.domains.iter())
        || !release.domains.iter().all(|domain| is_host(domain))
    {
        let detail = format!("domains are at most {DOMAINS_MAX} distinct host names in lower case");
        return Err(no(Code::Invalid, detail));
    }
    check_policy(&release.policy)
}

fn check_policy(policy: &Policy) -> Result<(), Refusal> {
    let invalid = |what: &str| Err(no(Code::Invalid, format!("the policy {what}")));
    if !matches!(policy.voters, 1 | 3 | 5) {
        return invalid("must ask for 1, 3 or 5 voters");
    }
    check_scale(policy.scale.min, policy.scale.max)?;
    if policy.scale.target_concurrency == 0 {
        return invalid("must let an instance have at least 1 request in flight");
    }
    if !are_few_and_distinct(&policy.home) || !are_few_and_distinct(&policy.away) {
        return invalid("names a jurisdiction twice, or more than 64");
    }
    if let Some(side) = policy.cut.home_cut
        && !policy.home.contains(&side)
    {
        return invalid("gives the quorum of a cut to a jurisdiction that is not at home");
    }
    let readable = |text: &String| text.parse::<Destination>().is_ok();
    if policy.outbound.len() > DESTINATIONS_MAX || !policy.outbound.iter().all(readable) {
        let detail = format!(
            "the policy names at most {DESTINATIONS_MAX} public hosts that requests may go to, each such as \
             \"https://api.example.org\""
        );
        return Err(no(Code::Invalid, detail));
    }
    let named = |store: &String| (1..=STORE_BYTES_MAX).contains(&store.len());
    if policy.converging.len() > STORES_MAX
        || !are_names(policy.converging.iter())
        || !policy.converging.iter().all(named)
    {
        let detail = format!(
            "the policy names at most {STORES_MAX} distinct stores that converge, each of 1 to {STORE_BYTES_MAX} bytes"
        );
        return Err(no(Code::Invalid, detail));
    }
    let recovery = &policy.recovery;
    let distinct: BTreeSet<_> = recovery.operators.iter().collect();
    if distinct.len() != recovery.operators.len()
        || distinct.len() > RECOVERY_OPERATORS_MAX
        || recovery.threshold as usize > distinct.len()
        || (recovery.threshold == 0 && !distinct.is_empty())
    {
        return invalid("must name at most 16 distinct operators for a recovery, and how many of them agree");
    }
    Ok(())
}

/// Whether an app may run between `min` and `max` instances.
pub(super) fn check_scale(min: u32, max: u32) -> Result<(), Refusal> {
    if min > max || max > INSTANCES_MAX {
        return Err(no(Code::Invalid, format!("instances: at least min, at most max, at most {INSTANCES_MAX}")));
    }
    Ok(())
}

/// Whether `secrets` are well formed and may replace those of `key_generation`.
pub(super) fn check_secrets(secrets: &Secrets, key_generation: u64) -> Result<(), Refusal> {
    if secrets.key_generation < key_generation {
        return Err(no(Code::Conflict, "these secrets are under an older data key than the cell's: read them again"));
    }
    let bytes: usize = secrets.values.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > SECRETS_BYTES_MAX || !are_names(secrets.values.iter().map(|(name, _)| name)) {
        let detail = format!("secrets have distinct, non-empty names and at most {SECRETS_BYTES_MAX} bytes in all");
        return Err(no(Code::Invalid, detail));
    }
    let nodes: BTreeSet<_> = secrets.wraps.iter().map(|(node, _)| node).collect();
    let long = |wrap: usize| wrap > WRAP_BYTES_MAX;
    if nodes.len() != secrets.wraps.len()
        || nodes.len() > SECRETS_WRAPS_MAX
        || long(secrets.own.len())
        || secrets.wraps.iter().any(|(_, wrap)| long(wrap.len()))
    {
        let detail = format!("a data key is wrapped once for each of at most {SECRETS_WRAPS_MAX} nodes");
        return Err(no(Code::Invalid, detail));
    }
    Ok(())
}

/// Distinct, none empty, none with a zero byte.
fn are_names<'a>(mut names: impl Iterator<Item = &'a String>) -> bool {
    let mut seen = BTreeSet::new();
    names.all(|name| !name.is_empty() && !name.contains('\0') && seen.insert(name))
}

fn are_few_and_distinct(laws: &[Jurisdiction]) -> bool {
    laws.len() <= JURISDICTIONS_MAX && laws.iter().collect::<BTreeSet<_>>().len() == laws.len()
}

fn is_label(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(known) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_host(text: &str) -> bool {
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
}
