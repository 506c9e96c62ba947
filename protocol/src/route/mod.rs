//! Who serves what: a table kept by the machine and a pure `decide` that the edge's threads call.
//!
//! ```text
//!   record (host → cell, voters) ─┐
//!   a voter's update ─────────────┼─→ Router ─RouteDelta→ Table ─decide→ this instance, retry, hold, refuse
//!   a cell's description ─────────┤
//!   short names of tenants ───────┘
//! ```
mod bindings;
mod names;
mod router;
mod table;
mod wire;

pub use router::{Input, Output, Router};
pub use table::{AppRoute, Attempt, Decision, HoldReason, RequestFacts, RouteDelta, Table, Target};
pub use wire::{Binding, Message, Update};

#[cfg(test)]
mod tests;
