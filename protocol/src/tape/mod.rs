//! A tape as it is kept: what a node was opened with, every step that it took, and a hash of each output. A daemon records
//! it, `bocage sim tape` plays it on a fresh node. Only bytes here: files are written in `node/` and read in `simulator/`.
//!
//! ```text
//!  tape    = segments, numbered from 1: one file each
//!  segment = head, then records
//!            Opening, Keyed…, Cell…, Done, (Step, Done)…, End        over all segments
//!  head    = "bocage tape" (11), format (2), number (4), check (8)
//!  record  = length (4), check of the length (4), check (8), CBOR
//! ```
//! Numbers before the CBOR are little-endian. Each check is of what it stands by and of everything before it, so a record
//! that was changed, left out or brought from elsewhere is found, at its place; and so is a changed length, which would
//! else look like a tape that was cut. A tape without an `End`, or with half a record at its end, is that of a process that
//! was killed: it is good as far as it goes.
//!
//! What a node signs is on its tape, and the key is not: see [`crate::identity::Signatures`].
mod chain;
mod digest;
mod opening;
mod record;
#[cfg(test)]
mod tests;

pub use chain::{Chain, FORMAT, Flaw, HEAD_BYTES, PREFIX_BYTES, RECORD_BYTES_MAX};
pub use digest::{DIGEST_BYTES, Digest, digest};
pub use opening::{Opening, Program};
pub use record::{End, Record, kind};
