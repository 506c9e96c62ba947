//! How a plan becomes a cell: candidates are asked for, votes and leases granted, bytes placed, receipts gathered, and a
//! genesis founded. The sponsor is the node to which the tenant spoke; it can delay but not forge.
mod wire;

pub use wire::Message;
