//! What a district offers in sum, and whom to ask there. Offers stay in their jurisdiction; this crosses the mesh.
use minicbor::{Decode, Encode};

use super::inventory::{Capacity, Health};
use crate::{
    id::NodeId,
    membership::Address,
    record::Subject,
    resources::{Currency, Jurisdiction, Resources},
};

/// A summary names at most so many gates.
pub const GATES_MAX: usize = 4;

/// A gate is named with at most so many addresses: a summary goes to every node of the mesh.
pub const GATE_ADDRESSES_MAX: usize = 4;

/// An address is no longer than this, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// A summary gives the cheapest price in at most so many currencies.
const CURRENCIES_MAX: usize = 8;

/// What [`Summary::cheapest`] is the price of: a core, a GiB of memory, 10 GiB of disk.
pub const REFERENCE: Resources = Resources { cpu_millis: 1_000, memory_bytes: 1 << 30, disk_bytes: 10 << 30 };

/// The content of a mesh-wide record that one of a district's summarisers signs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Summary {
    /// Of which jurisdiction.
    #[n(0)]
    pub jurisdiction: Jurisdiction,
    /// Which part of it, by node key prefix; 0 while a jurisdiction is one district.
    #[n(1)]
    pub district: u32,
    /// All that its nodes offer.
    #[n(2)]
    pub total: Resources,
    /// What of it is used.
    #[n(3)]
    pub used: Resources,
    /// Nodes that are here, offering or not.
    #[n(4)]
    pub nodes: u32,
    /// Whom others may ask for candidates, and where. At most [`GATES_MAX`], each with at most [`GATE_ADDRESSES_MAX`].
    #[n(5)]
    pub gates: Vec<(NodeId, Vec<Address>)>,
    /// Per currency the lowest price of [`REFERENCE`] that anybody asks, in micro-units of the minor unit an hour. At
    /// most 8.
    #[n(6)]
    pub cheapest: Vec<(Currency, u64)>,
}

impl Summary {
    /// What a summariser's record is about. Each summariser has a subject of its own, so that two of them never
    /// contradict each other; readers merge.
    #[must_use]
    pub fn subject(jurisdiction: Jurisdiction, district: u32, signer: NodeId) -> Subject {
        let name = format!("summary {jurisdiction} {district} {signer}");
        Subject::of(name.as_bytes())
    }

    /// Sums up the offers of a jurisdiction.
    pub(super) fn of<'a>(
        jurisdiction: Jurisdiction,
        nodes: usize,
        gates: Vec<(NodeId, Vec<Address>)>,
        offers: impl Iterator<Item = &'a Capacity>,
    ) -> Self {
        let mut cheapest = std::collections::BTreeMap::<Currency, u64>::new();
        let (mut total, mut used) = (Resources::default(), Resources::default());
        let stands_here =
            |capacity: &&Capacity| capacity.standing.jurisdiction == jurisdiction && capacity.health != Health::Down;
        for capacity in offers.filter(stands_here) {
            total = total.plus(&capacity.offer.total);
            used = used.plus(&capacity.offer.used);
            if capacity.offer.total != Resources::default() {
                let price = capacity.offer.price.per_hour(&REFERENCE);
                let lowest = cheapest.entry(capacity.offer.price.currency).or_insert(price);
                *lowest = price.min(*lowest);
            }
        }
        let nodes = u32::try_from(nodes).unwrap_or(u32::MAX);
        let cheapest = cheapest.into_iter().take(CURRENCIES_MAX).collect();
        Self { jurisdiction, district: 0, total, used, nodes, gates, cheapest }
    }

    /// Why a peer's summary does not count, if it does not.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let crowded = |(_, addresses): &(NodeId, Vec<Address>)| {
            addresses.len() > GATE_ADDRESSES_MAX || addresses.iter().any(|address| address.len() > ADDRESS_BYTES_MAX)
        };
        if self.gates.len() > GATES_MAX {
            return Some("a summary names more than 4 gates");
        }
        if self.gates.iter().any(crowded) {
            return Some("a summary names too many or too long addresses of a gate");
        }
        (self.cheapest.len() > CURRENCIES_MAX).then_some("a summary names more than 8 currencies")
    }
}
