//! What a hoster runs: gives the protocol a clock, sockets, a disk, runtimes and an edge.
pub mod runtime;
