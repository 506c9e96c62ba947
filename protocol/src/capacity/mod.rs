//! Signed offers, and the inventory that is made of them. *Capacity is not health.*
mod offer;
mod ask;

pub use ask::Ask;
pub use offer::Offer;
