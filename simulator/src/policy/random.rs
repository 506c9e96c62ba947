//! A placement to hold others against: of all who may serve by the app's policy, whoever the dice say. Price, distance and how
//! full somebody is count for nothing.
use bocage_protocol::{
    capacity::Capacity,
    placement::{Placing, Plan, Request, Unplaceable, plan_ranked},
    random::mix,
};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random;

impl Placing for Random {
    fn plan(&self, request: &Request, inventory: &[&Capacity]) -> Result<Plan, Unplaceable> {
        // A draw by app and node: the same app is placed the same way again.
        let drawn = |capacity: &Capacity| {
            let node = capacity.offer.node.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            mix(mix(request.salt) ^ node)
        };
        plan_ranked(request, inventory.iter().copied(), &drawn)
    }
}
