//! Who is there: overlay, broadcast, repair, observers.
mod verdict;
mod wire;
mod io;
mod config;

pub use config::Config;
pub use io::{Address, Draft, Input, Output, Presence};
pub use verdict::{Liveness, Verdict};
pub use wire::Message;
