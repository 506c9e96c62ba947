//! What an app is at one index, for its tenant: to keep, or to begin again elsewhere (`bundle`).
//!
//! It holds what the tenant said and what its instances wrote, and nothing of who hosts it: neither members nor leases, nor
//! sessions. So it does not depend on how a cell keeps its state, and has a format of its own.
use minicbor::{Decode, Encode};

use super::command::{Release, Secrets};
use crate::{
    codec::{self, Blob, DecodeError},
    id::{CellId, MeshId, TenantId},
    time::Timestamp,
};

/// The format of an encoded [`Capture`].
pub const CAPTURE_FORMAT: u32 = 1;

/// See the module. At most as large as a cell's state and its releases.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Capture {
    /// [`CAPTURE_FORMAT`].
    #[n(0)]
    pub format: u32,
    /// Where it ran.
    #[n(1)]
    pub mesh: MeshId,
    /// As which cell.
    #[n(2)]
    pub cell: CellId,
    /// Whose it is.
    #[n(3)]
    pub tenant: TenantId,
    /// On which line.
    #[n(4)]
    pub line: u64,
    /// All up to this index of the cell's log is in it, and nothing after.
    #[n(5)]
    pub index: u64,
    /// The cell's time then.
    #[n(6)]
    pub time: Timestamp,
    /// The current release, with the scale that was set since it was deployed.
    #[n(7)]
    pub release: Release,
    /// Sealed as they are in the cell: the tenant's own key opens them.
    #[n(8)]
    pub secrets: Secrets,
    /// By name; none is empty.
    #[n(9)]
    pub stores: Vec<CapturedStore>,
}

/// A store with all its keys.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CapturedStore {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// In order.
    #[n(1)]
    pub keys: Vec<(String, Blob)>,
}

impl Capture {
    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.stores.iter().map(|store| store.keys.len()).sum()
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are not one, or one of a later format.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let capture: Self = codec::decode("capture", bytes)?;
        if capture.format != CAPTURE_FORMAT {
            let why = format!("it has format {}, and only {CAPTURE_FORMAT} is known here", capture.format);
            return Err(DecodeError { what: "capture", why });
        }
        Ok(capture)
    }
}
