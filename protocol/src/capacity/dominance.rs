//! The charter's cap: from four operators on, none gets more than its share of what the mesh offers, however much it
//! offers itself. Counted where offers are known in full: in each jurisdiction, by whoever is asked for candidates there.
//! (The largest share of any resource counts, after Ghodsi's *dominant resource*.)
use std::collections::{BTreeMap, BTreeSet};

use super::Capacity;
use crate::{id::OperatorId, resources::Resources};

/// With fewer operators there is no sharing out: a mesh of one or two must work.
pub const OPERATORS_MIN: usize = 4;

/// Operators that would hold more than `permille` of what is offered, were `need` placed with them.
pub(super) fn dominating<'a>(
    capacities: impl Iterator<Item = &'a Capacity>,
    need: &Resources,
    permille: u32,
) -> BTreeSet<OperatorId> {
    let mut total = Resources::default();
    let mut used = BTreeMap::<OperatorId, Resources>::new();
    for capacity in capacities {
        add(&mut total, &capacity.offer.total);
        add(used.entry(capacity.standing.operator).or_default(), &capacity.offer.used);
    }
    if used.len() < OPERATORS_MIN {
        return BTreeSet::new();
    }
    let exceeds = |held: u64, need: u64, total: u64| {
        need > 0 && u128::from(held.saturating_add(need)) * 1_000 > u128::from(total) * u128::from(permille)
    };
    let over = used.into_iter().filter(|(_, held)| {
        exceeds(held.cpu_millis, need.cpu_millis, total.cpu_millis)
            || exceeds(held.memory_bytes, need.memory_bytes, total.memory_bytes)
            || exceeds(held.disk_bytes, need.disk_bytes, total.disk_bytes)
    });
    over.map(|(operator, _)| operator).collect()
}

fn add(sum: &mut Resources, more: &Resources) {
    sum.cpu_millis = sum.cpu_millis.saturating_add(more.cpu_millis);
    sum.memory_bytes = sum.memory_bytes.saturating_add(more.memory_bytes);
    sum.disk_bytes = sum.disk_bytes.saturating_add(more.disk_bytes);
}
