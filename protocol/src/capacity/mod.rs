//! Signed offers, and the inventory that is made of them. *Capacity is not health.*
//!
//! Read in this order: what a node offers (`offer`), what a jurisdiction offers in sum (`summary`), who sums up
//! (`rendezvous`), who holds too much already (`dominance`), what is known of all that here (`inventory`), the machine that
//! keeps it and publishes its own share (`market`), what a sponsor asks and is told (`ask`), and what a host says when it is asked itself (`accept`).
mod offer;
mod summary;
mod rendezvous;
mod dominance;
mod inventory;
mod market;
mod ask;
mod accept;
#[cfg(test)]
pub(crate) mod fixture;

pub use accept::{ROLES_MAX, accept};
pub use ask::{Ask, Named, WITHHELD_MAX};
pub use dominance::OPERATORS_MIN as DOMINANCE_OPERATORS_MIN;
pub use inventory::{ANSWER_MAX, Capacity, GATHERED_MAX, Health, Inventory, NODES_MAX, Unusable};
pub use market::{Gates, Input, Market, Output};
pub use offer::Offer;
pub use summary::{ADDRESS_BYTES_MAX, GATE_ADDRESSES_MAX, GATES_MAX, REFERENCE, Summary};
