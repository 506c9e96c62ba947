//! What a hoster runs. Gives the protocol a clock, links, a disk, runtimes and an edge; decides nothing by itself.
//!
//! Read in this order: the loop that owns the machine (`driver`, `clock`, `inbox`; `tape` records it) and what everybody else holds of it
//! (`handle`); what it acts through (`sources`, `transport`, `transfer`, `disk`, `content`, `runtime`); where requests come in, and how
//! they end (`sockets`, `leaving`, `edge`, `control`); a node's folder (`settings`, `keyfile`, `sealing`); and the whole of it (`daemon`).

pub mod clock;
pub mod handle;
pub mod effects;
pub mod inbox;
pub mod sources;
pub mod driver;
pub mod tape;
pub mod transport;
pub mod transfer;
pub mod disk;
pub mod content;
pub mod runtime;
pub mod sockets;
pub mod leaving;
pub mod edge;
pub mod control;
pub mod keyfile;
pub mod sealing;
pub mod settings;
pub mod daemon;
