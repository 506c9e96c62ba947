//! What a node was opened with, but for its key.
use minicbor::{Decode, Encode};

use crate::{
    cell::CellConfig,
    command::Terms,
    config::Config,
    id::{DiskId, MeshId, NodeId},
    identity::{CertificateError, Envelope, Founding, NodeCertificate, NodeIdentity, Signatures, Signed},
    membership::{self, Address},
    policies::Policies,
    random::Seed,
    store::{Boot, Rot},
    time::Now,
    wire::WireRange,
};

/// Which program recorded a tape: another one may rightly do other things.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Program {
    /// Of the package.
    #[n(0)]
    pub version: String,
    /// The commit that it was built from, uncommitted changes aside.
    #[n(1)]
    pub commit: String,
}

/// All but the keyed state and the cells, which follow it on the tape one by one.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Opening {
    /// Who recorded it.
    #[n(0)]
    pub program: Program,
    /// See [`Config::mesh`].
    #[n(1)]
    pub mesh: MeshId,
    /// The node's certificate as it started.
    #[n(2)]
    pub certificate: Signed<NodeCertificate>,
    /// See [`Config::founding`].
    #[n(3)]
    pub founding: Option<Founding>,
    /// See [`Config::request`].
    #[n(4)]
    pub request: Option<Vec<Envelope>>,
    /// See [`Config::zone`].
    #[n(5)]
    pub zone: String,
    /// See [`Config::bootstrap`].
    #[n(6)]
    pub bootstrap: Vec<(NodeId, Vec<Address>)>,
    /// See [`Config::announce`].
    #[n(7)]
    pub announce: Vec<Address>,
    /// See [`Config::relays`].
    #[n(8)]
    pub relays: bool,
    /// See [`Config::offer`].
    #[n(9)]
    pub offer: Option<Terms>,
    /// See [`Config::cell`].
    #[n(10)]
    pub cell: CellConfig,
    /// See [`Config::wire`].
    #[n(11)]
    pub wire: WireRange,
    /// See [`Config::membership`].
    #[n(12)]
    pub membership: membership::Config,
    /// All randomness of this life of the node.
    #[n(13)]
    pub seed: Seed,
    /// When it opened.
    #[n(14)]
    pub opened: Now,
    /// See [`Boot::disk`].
    #[n(15)]
    pub disk: DiskId,
    /// See [`Boot::boots`].
    #[n(16)]
    pub boots: u64,
    /// See [`Boot::rot`].
    #[n(17)]
    pub rot: Rot,
    /// So many keys of small state follow.
    #[n(18)]
    pub keyed: u64,
    /// So many cells follow them.
    #[n(19)]
    pub cells: u64,
}

impl Opening {
    /// Of a node that is being opened.
    #[must_use]
    pub fn new(program: Program, config: &Config, seed: Seed, boot: &Boot, opened: Now) -> Self {
        let Config {
            mesh,
            identity,
            founding,
            request,
            zone,
            bootstrap,
            announce,
            relays,
            offer,
            cell,
            wire,
            membership,
            // No daemon has any.
            policies: _,
        } = config;
        let Boot { disk, boots, keyed, cells, rot } = boot;
        Self {
            program,
            mesh: *mesh,
            certificate: identity.signed_certificate().clone(),
            founding: founding.clone(),
            request: request.clone(),
            zone: zone.clone(),
            bootstrap: bootstrap.clone(),
            announce: announce.clone(),
            relays: *relays,
            offer: *offer,
            cell: cell.clone(),
            wire: *wire,
            membership: membership.clone(),
            seed,
            opened,
            disk: *disk,
            boots: *boots,
            rot: rot.clone(),
            keyed: keyed.len() as u64,
            cells: cells.len() as u64,
        }
    }

    /// The settings, for a node that signs with the signatures that are put there.
    ///
    /// # Errors
    /// When its certificate did not count as it opened.
    pub fn config(&self) -> Result<(Config, Signatures), CertificateError> {
        let (identity, signatures) = NodeIdentity::played(self.certificate.clone(), self.mesh, self.opened.wall)?;
        let config = Config {
            mesh: self.mesh,
            identity,
            founding: self.founding.clone(),
            request: self.request.clone(),
            zone: self.zone.clone(),
            bootstrap: self.bootstrap.clone(),
            announce: self.announce.clone(),
            relays: self.relays,
            offer: self.offer,
            cell: self.cell.clone(),
            wire: self.wire,
            membership: self.membership.clone(),
            policies: Policies::default(),
        };
        Ok((config, signatures))
    }

    /// What was on its disk, but for what follows on the tape.
    #[must_use]
    pub fn boot(&self) -> Boot {
        Boot { disk: self.disk, boots: self.boots, rot: self.rot.clone(), ..Boot::default() }
    }
}
