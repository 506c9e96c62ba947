//! What a hoster runs. Gives the protocol a clock, links, a disk, runtimes and an edge; decides nothing by itself.

pub mod clock;
pub mod driver;
pub mod effects;
pub mod inbox;
pub mod handle;
pub mod transport;
pub mod transfer;
