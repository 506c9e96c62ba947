//! How a mesh begins: a statement that its founders make, whose hash names the mesh for ever.
use minicbor::{Decode, Encode};

use super::{Genesis, Statement};
use crate::{codec, id::MeshId, time::Timestamp};

/// The first statement of a mesh. Its hash is the mesh's id.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Founding {
    /// What people call the mesh, at most 63 bytes. Not unique; the id is.
    #[n(0)]
    pub name: String,
    /// The operators that found it: the first electorate.
    #[n(1)]
    pub operators: Vec<Genesis>,
    /// When.
    #[n(2)]
    pub founded: Timestamp,
}

impl Statement for Founding {
    const DOMAIN: &'static str = "bocage/v1/founding";
}

impl Founding {
    /// The mesh's id.
    #[must_use]
    pub fn mesh(&self) -> MeshId {
        MeshId::of(&codec::encode(self))
    }
}
