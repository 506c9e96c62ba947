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
        total = total.plus(&capacity.offer.total);
        let held: &mut Resources = used.entry(capacity.standing.operator).or_default();
        *held = held.plus(&capacity.offer.used);
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
