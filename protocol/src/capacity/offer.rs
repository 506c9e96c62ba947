//! What an operator offers: resources, price and terms, until a time.
use minicbor::{Decode, Encode};

use crate::{
    id::NodeId,
    resources::{Price, Resources},
};

/// The content of a record that the node signs under its certificate; its scope is the node's jurisdiction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Offer {
    /// Which node.
    #[n(0)]
    pub node: NodeId,
    /// All that it offers; what is leased of it is in `used`.
    #[n(1)]
    pub total: Resources,
    /// What its leases and votes use of it.
    #[n(2)]
    pub used: Resources,
    /// What it asks.
    #[n(3)]
    pub price: Price,
}

impl Offer {
    /// What is left.
    #[must_use]
    pub const fn free(&self) -> Resources {
        self.total.less(&self.used)
    }
}
