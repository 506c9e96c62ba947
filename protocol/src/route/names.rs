//! The hosts of apps by the short names of their tenants. What the charter's register says is brought here; while it says
//! nothing, self-certifying hosts route as ever.
use std::collections::{BTreeMap, BTreeSet};

use crate::{birth::host_of, id::TenantId};

/// See the module.
#[derive(Debug)]
pub(super) struct Names {
    zone: String,
    by_name: BTreeMap<String, TenantId>,
    by_tenant: BTreeMap<TenantId, Vec<String>>,
}

impl Names {
    pub(super) fn new(zone: String) -> Self {
        Self { zone, by_name: BTreeMap::new(), by_tenant: BTreeMap::new() }
    }

    /// Takes new names for the old ones. Tenants that are called otherwise than before.
    pub(super) fn change(&mut self, names: BTreeMap<String, TenantId>) -> BTreeSet<TenantId> {
        let mut by_tenant: BTreeMap<TenantId, Vec<String>> = BTreeMap::new();
        for (name, tenant) in &names {
            by_tenant.entry(*tenant).or_default().push(name.clone());
        }
        let all = self.by_tenant.keys().chain(by_tenant.keys());
        let touched = all.filter(|it| self.by_tenant.get(it) != by_tenant.get(it)).copied().collect();
        (self.by_name, self.by_tenant) = (names, by_tenant);
        touched
    }

    /// The self-certifying host that is meant: `app.tenant.zone` for `app.alias.zone`, any other host as it is.
    pub(super) fn certifying(&self, host: &str) -> String {
        let tenant = self.below_zone(host).and_then(|(app, name)| Some((app, *self.by_name.get(name)?)));
        tenant.map_or_else(|| host.to_owned(), |(app, tenant)| host_of(app, tenant, &self.zone))
    }

    /// Under which hosts an app is served: its own, those by its tenant's names, and of those that it claims besides the ones
    /// outside the zone, where nobody is named by his key.
    pub(super) fn hosts(&self, app: &str, tenant: TenantId, claimed: &[String]) -> Vec<String> {
        let own = host_of(app, tenant, &self.zone);
        let lawful = claimed.iter().filter(|host| **host == own || self.below_zone(host).is_none());
        let names = self.by_tenant.get(&tenant).into_iter().flatten();
        lawful.cloned().chain(names.map(|name| format!("{app}.{name}.{}", self.zone))).collect()
    }

    /// App and tenant, as `app.tenant.zone` names them.
    fn below_zone<'a>(&self, host: &'a str) -> Option<(&'a str, &'a str)> {
        let (app, name) = host.strip_suffix(&self.zone)?.strip_suffix('.')?.split_once('.')?;
        (!name.contains('.')).then_some((app, name))
    }
}
