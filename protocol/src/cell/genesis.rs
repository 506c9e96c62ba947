//! How a cell is born: plan → grants of votes and leases from the candidates → the bytes to them → their fsync receipts
//! → this genesis, which holds all of these and the tenant's signed release, and is checked by each member → start.
use std::time::Duration;

use minicbor::{Decode, Encode};

use super::command::TenantCommand;
use crate::{
    codec,
    id::{CellId, ContentHash, MeshId, NodeId, ReplicaId, TenantId},
    identity::{Endorsed, Envelope, Envelopes, Genesis, Lineage, NodeCertificate, Signed, Statement, Succession},
    record::RecordBody,
    resources::Resources,
    time::Timestamp,
};

/// A node that may be given a vote or a lease, with all that a replica needs to check it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Candidate {
    /// Who it is, where, under which law.
    #[n(0)]
    pub certificate: Signed<NodeCertificate>,
    /// The record of its offer: what it asks.
    #[n(1)]
    pub offer: Signed<RecordBody>,
}

/// What a grant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Role {
    /// A replica with a vote.
    #[n(0)]
    Vote,
    /// A replica without.
    #[n(1)]
    Learn,
    /// An instance.
    #[n(2)]
    Instance,
}

/// A host's yes: it keeps the resources free for this purpose until `expires`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// The plan it belongs to: the hash of the tenant's signed command, or the cell that mends itself.
    #[n(0)]
    pub purpose: ContentHash,
    /// Who says yes.
    #[n(1)]
    pub node: NodeId,
    /// To what.
    #[n(2)]
    pub role: Role,
    /// For whom.
    #[n(3)]
    pub tenant: TenantId,
    /// How much.
    #[n(4)]
    pub resources: Resources,
    /// At what price: micro-units of the offer's minor currency unit an hour.
    #[n(5)]
    pub price_per_hour: u64,
    /// Unused by then, it is void.
    #[n(6)]
    pub expires: Timestamp,
}

impl Statement for Grant {
    const DOMAIN: &'static str = "bocage/v1/grant";
}

/// "These bytes are on my disk, synced."
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// Which bytes.
    #[n(0)]
    pub content: ContentHash,
    /// How many.
    #[n(1)]
    pub size_bytes: u64,
    /// Whose disk.
    #[n(2)]
    pub node: NodeId,
    /// Since when.
    #[n(3)]
    pub stored: Timestamp,
}

impl Statement for Receipt {
    const DOMAIN: &'static str = "bocage/v1/fsync-receipt";
}

/// A founding member or host.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Founder {
    /// Replica id for a vote, instance number for a lease; from 1 up, unique within its list.
    #[n(0)]
    pub number: u64,
    /// Who.
    #[n(1)]
    pub candidate: Candidate,
    /// Its yes.
    #[n(2)]
    pub grant: Signed<Grant>,
    /// Why it was placed there, in people's words. At most 256 bytes.
    #[n(3)]
    pub why: String,
}

/// The first state of a cell. Its hash is the cell's id.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CellGenesis {
    /// Of which mesh.
    #[n(0)]
    pub mesh: MeshId,
    /// Whose.
    #[n(1)]
    pub tenant: Signed<Genesis>,
    /// The tenant's signed release.
    #[n(2)]
    pub release: Signed<TenantCommand>,
    /// The voters.
    #[n(3)]
    pub voters: Vec<Founder>,
    /// The first instances.
    #[n(4)]
    pub instances: Vec<Founder>,
    /// Where the release's bytes are durable.
    #[n(5)]
    pub receipts: Vec<Signed<Receipt>>,
    /// When the sponsor put it together: the first cell time.
    #[n(6)]
    pub founded: Timestamp,
    /// The round trip between the farthest two voters, as the sponsor knows it: what election timeouts scale with.
    #[cbor(n(7), with = "codec::duration_ms")]
    pub round_trip: Duration,
    /// The rules version it starts with.
    #[n(8)]
    pub rules: u32,
    /// How the tenant came from its first key to the one that signs the release; left out while it is the first.
    #[n(9)]
    pub successions: Option<Vec<Endorsed<Succession>>>,
}

impl CellGenesis {
    /// The cell's id.
    #[must_use]
    pub fn cell(&self) -> CellId {
        CellId::of(&codec::encode(self))
    }

    /// The tenant's keys, as far as this genesis knows them; `None` if its first statement cannot be read.
    #[must_use]
    pub fn lineage(&self) -> Option<Lineage> {
        let genesis = self.tenant.open().ok()?;
        Some(Lineage { genesis, successions: self.successions.clone().unwrap_or_default() })
    }

    /// The founding replica of `node`, if it has a vote.
    #[must_use]
    pub fn replica_of(&self, node: NodeId) -> Option<ReplicaId> {
        let has_vote = |founder: &&Founder| founder.grant.open().is_ok_and(|grant| grant.node == node);
        self.voters.iter().find(has_vote).map(|founder| ReplicaId(founder.number))
    }
}

impl Envelopes for Candidate {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        into.push(self.certificate.envelope());
        into.push(self.offer.envelope());
    }
}

impl Envelopes for CellGenesis {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        into.push(self.tenant.envelope());
        into.push(self.release.envelope());
        into.extend(self.successions.iter().flatten().flat_map(Endorsed::envelopes));
        for founder in self.voters.iter().chain(&self.instances) {
            founder.candidate.envelopes(into);
            into.push(founder.grant.envelope());
        }
        into.extend(self.receipts.iter().map(Signed::envelope));
    }
}
