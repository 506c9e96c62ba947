//! A node's settings: parsed once, valid ever after.
use crate::{
    cell::CellConfig,
    command::Terms,
    id::{MeshId, NodeId},
    identity::{Envelope, Founding, NodeIdentity},
    membership::Address,
    wire::WireRange,
};

/// What a node is told when it opens.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which mesh.
    pub mesh: MeshId,
    /// Its key and certificate.
    pub identity: NodeIdentity,
    /// How the mesh was founded. Without it everybody counts, until a peer shows it.
    pub founding: Option<Founding>,
    /// The request of an operator that is not a member yet: a motion, its claim and its invites.
    pub request: Option<Vec<Envelope>>,
    /// Suffix of self-certifying hosts: `app.tenant.zone`.
    pub zone: String,
    /// Whom to dial first. With a full peer cache nobody of them need be alive.
    pub bootstrap: Vec<(NodeId, Vec<Address>)>,
    /// Where others reach this node, if it knows better than its sockets.
    pub announce: Vec<Address>,
    /// It relays for members that cannot be dialled.
    pub relays: bool,
    /// What it offers at the start.
    pub offer: Option<Terms>,
    /// How its cells behave.
    pub cell: CellConfig,
    /// The wire versions that it speaks. Less than all: to stand for a node that was not upgraded yet.
    pub wire: WireRange,
    /// How it gossips.
    pub membership: crate::membership::Config,
    /// Who decides instead of what ships. The default, but in an experiment.
    pub policies: crate::policies::Policies,
}
