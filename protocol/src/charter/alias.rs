//! Short names of tenants: `app.alias.zone` beside `app.tenant.zone`. Whose a name is follows from the motions that were
//! carried, as all else in the register does; a node that never heard of one routes by the self-certifying name.
//!
//! One name has one holder because two majorities of one electorate share an elector, and an elector's command signs for one
//! motion about a name only. Should a majority sign twice all the same, the earlier certificate counts everywhere.
use std::collections::{BTreeMap, BTreeSet};

use super::MotionId;
use crate::{
    codec,
    id::TenantId,
    identity::{Genesis, Lineage, Party},
    time::Timestamp,
};

/// A tenant has at most so many names, those that it still asks for included; more are refused.
pub const ALIASES_PER_TENANT_MAX: usize = 4;

/// Names that were given, of all time; beyond it no more are.
pub const ALIASES_MAX: usize = 1_024;

/// Requests for names that wait; beyond it more are refused.
pub const ALIAS_REQUESTS_MAX: usize = 64;

/// A tenant's genesis and successions have at most so many bytes in a request, so that its ballots still fit into a record.
pub const LINEAGE_BYTES_MAX: usize = 6 << 10;

/// A tenant's short name.
#[derive(Clone, Debug, PartialEq)]
pub struct Alias {
    /// Whose.
    pub tenant: Genesis,
    /// Its id.
    pub holder: TenantId,
    /// From then on.
    pub since: Timestamp,
    /// By which motion.
    pub by: MotionId,
}

/// Whether a tenant can be called so.
///
/// # Errors
/// When not, with what a name is.
pub fn check_alias(name: &str) -> Result<(), &'static str> {
    let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = (1..=63).contains(&name.len()) && name.bytes().all(lawful);
    if !is_label || name.starts_with('-') || name.ends_with('-') {
        return Err("an alias is one DNS label: 1 to 63 of a-z, 0-9 and -, with no - at either end");
    }
    if name.parse::<TenantId>().is_ok() {
        return Err("an alias must not look like a tenant's id");
    }
    // Letters that look like others.
    if name.starts_with("xn--") {
        Err("an alias must not begin with xn--: it would show as other letters")
    } else {
        Ok(())
    }
}

/// Whether a tenant may ask by this lineage, and with which key it signs.
pub(super) fn check_tenant(tenant: &Lineage) -> Result<crate::identity::PublicKey, &'static str> {
    if tenant.genesis.party != Party::Tenant || codec::encode(tenant).len() > LINEAGE_BYTES_MAX {
        return Err("whoever asks is no tenant, or its keys are too many");
    }
    // An elector checks the signatures in it before he signs: what he and the others sign is what counts.
    tenant.descent().map(|descent| descent.key()).map_err(|_| "the tenant's keys do not follow each other")
}

/// Whose each name is, of the requests that were carried.
pub(super) fn holders<'a>(
    carried: impl Iterator<Item = (Timestamp, MotionId, &'a str, &'a Genesis)>,
) -> BTreeMap<String, Alias> {
    let ordered: BTreeMap<_, _> = carried.map(|(at, id, name, tenant)| ((at, id), (name, tenant))).collect();
    let mut names: BTreeMap<String, Alias> = BTreeMap::new();
    let mut held: BTreeMap<TenantId, BTreeSet<&str>> = BTreeMap::new();
    for ((since, by), (name, tenant)) in ordered {
        let holder = tenant.tenant();
        let of_tenant = held.entry(holder).or_default();
        if of_tenant.len() >= ALIASES_PER_TENANT_MAX || names.contains_key(name) {
            continue;
        }
        of_tenant.insert(name);
        names.insert(name.to_owned(), Alias { tenant: tenant.clone(), holder, since, by });
    }
    names
}
