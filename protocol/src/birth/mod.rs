//! How a plan becomes a cell: candidates are asked for, votes and leases granted, bytes placed, receipts gathered, and a
//! genesis founded. The sponsor is the node to which the tenant spoke; it can delay but not forge.
mod wire;
mod host;
mod sponsor;

pub use host::{Host, Input as HostInput, Output as HostOutput};
pub use sponsor::{Goal, Input as SponsorInput, Output as SponsorOutput, Sponsor, host_of};
pub use wire::Message;
