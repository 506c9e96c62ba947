//! What must hold, one property per file. Each checker keeps its own memory, asks no node's opinion of another's, and
//! looks only at what changed.
pub(crate) mod agreement;
pub(crate) mod exactly_once;
pub(crate) mod fencing;
pub(crate) mod convergence;
pub(crate) mod no_panic;
pub(crate) mod eviction;
pub(crate) mod blame;
pub(crate) mod attribution;
pub(crate) mod offers;
pub(crate) mod cut_contract;
pub(crate) mod converge;
