//! What the mesh *is*: deterministic state machines that open nothing, read no clock and draw no random number of their
//! own. A daemon (`bocage-node`) and a simulator (`bocage-simulator`) drive the same [`machine::Machine`].
//!
//! Read the ground first, then upwards; no arrow runs back up.
#![forbid(unsafe_code)]

pub mod time;
pub mod machine;
pub mod agenda;
pub mod random;
pub mod id;
pub mod codec;
pub mod wire;
pub mod context;
pub mod refusal;
pub mod resources;
pub mod outbound;
pub mod ties;
pub mod planted;

pub mod identity;
pub mod record;
pub mod store;
pub mod membership;
pub mod reach;
pub mod charter;
pub mod capacity;
pub mod placement;
pub mod manifest;
pub mod cell;
pub mod caller;
pub mod lease;
pub mod birth;
pub mod route;
pub mod away;
pub mod converge;
pub mod departure;
pub mod survey;
pub mod bundle;

pub mod cells;
pub mod writes;

pub mod frame;
pub mod command;
pub mod io;
pub mod notice;
pub mod policies;
pub mod config;
pub mod node;
pub mod tape;

#[cfg(test)]
mod vectors;
