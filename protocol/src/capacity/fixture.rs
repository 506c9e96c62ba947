//! Nodes of a small mesh for tests: certificates, presences, offers, all really signed.
use std::sync::Arc;

use super::{Capacity, Inventory, Offer};
use crate::{
    cell::Candidate,
    codec::{self, Blob},
    id::{DiskId, MeshId, NodeId},
    identity::{Genesis, Keypair, NodeCertificate, NodeIdentity, Party, PublicKey, Signed},
    membership::{Draft, Presence},
    record::{Kind, Known, Record, RecordBody, Scope, Shared, Subject},
    resources::{Jurisdiction, Price, Resources, Site},
    time::Timestamp,
};

/// When tests happen.
pub(crate) const WALL: Timestamp = Timestamp(1_800_000_000_000);

/// Records of tests expire then.
pub(crate) const EXPIRES: Timestamp = Timestamp(WALL.0 + 120_000);

pub(crate) fn mesh() -> MeshId {
    MeshId::of(b"test mesh")
}

pub(crate) fn law(code: &str) -> Jurisdiction {
    code.parse().unwrap()
}

/// A node, its key made from its name.
#[derive(Clone)]
pub(crate) struct TestNode {
    pub(crate) name: String,
    pub(crate) identity: NodeIdentity,
    pub(crate) offer: Offer,
}

impl TestNode {
    /// `operator` owns it; it stands at `site` under the law of `jurisdiction`, and offers four cores for 1,000
    /// micro-units each.
    pub(crate) fn new(operator: &str, name: &str, site: &str, jurisdiction: &str) -> Self {
        let keys = Keypair::from_secret(blake3::hash(name.as_bytes()).as_bytes());
        let operator_keys = Keypair::from_secret(blake3::hash(operator.as_bytes()).as_bytes());
        let certificate = NodeCertificate {
            mesh: mesh(),
            operator: Genesis::new(Party::Operator, operator, operator_keys.public(), Timestamp(1)),
            node: keys.node(),
            site: Site(site.into()),
            jurisdiction: law(jurisdiction),
            domains: Vec::new(),
            not_before: Timestamp(0),
            expires: Timestamp(WALL.0 + 365 * 86_400_000),
            serial: 1,
            sealing: PublicKey::default(),
            successions: None,
        };
        let signed = Signed::seal(&operator_keys, &certificate);
        let node = keys.node();
        let identity = NodeIdentity::new(keys, signed, mesh(), WALL).unwrap();
        let total = Resources { cpu_millis: 4_000, memory_bytes: 8 << 30, disk_bytes: 100 << 30 };
        let offer = Offer { node, total, used: Resources::default(), price: price("EUR", 1_000) };
        Self { name: name.into(), identity, offer }
    }

    pub(crate) fn asking(mut self, per_core: u64) -> Self {
        self.offer.price.cpu_core_hour = per_core;
        self
    }

    pub(crate) fn id(&self) -> NodeId {
        self.identity.node()
    }

    pub(crate) fn address(&self) -> String {
        format!("/dns/{}/udp/1/quic-v1", self.name)
    }

    pub(crate) fn presence(&self) -> Shared {
        let presence = Presence {
            incarnation: 1,
            addresses: vec![self.address()],
            disk: DiskId::default(),
            boots: 1,
            relays: None,
            draining: None,
        };
        let scope = Scope::Jurisdiction(self.identity.certificate().jurisdiction);
        self.record(Kind::PRESENCE, scope, Subject(self.id().0), codec::encode(&presence), 1)
    }

    pub(crate) fn offer_body(&self, version: u64) -> RecordBody {
        let scope = Scope::Jurisdiction(self.identity.certificate().jurisdiction);
        body(Kind::OFFER, scope, Subject(self.id().0), codec::encode(&self.offer), version)
    }

    pub(crate) fn offered(&self, version: u64) -> Shared {
        self.sealed(&self.offer_body(version))
    }

    pub(crate) fn record(&self, kind: Kind, scope: Scope, subject: Subject, content: Blob, version: u64) -> Shared {
        self.sealed(&body(kind, scope, subject, content, version))
    }

    /// As membership makes a record of it.
    pub(crate) fn published(&self, draft: Draft, version: u64) -> Shared {
        self.sealed(&draft.body(version, WALL))
    }

    fn sealed(&self, body: &RecordBody) -> Shared {
        let certificate = (body.kind != Kind::OFFER).then(|| self.identity.signed_certificate().clone());
        Arc::new(Known::read(Record { signed: self.identity.seal(body), certificate }).unwrap())
    }

    pub(crate) fn candidate(&self) -> Candidate {
        let certificate = self.identity.signed_certificate().clone();
        Candidate { certificate, offer: self.identity.seal(&self.offer_body(1)) }
    }
}

fn body(kind: Kind, scope: Scope, subject: Subject, content: Blob, version: u64) -> RecordBody {
    let order = crate::record::Order { line: 0, generation: 0, version };
    RecordBody { kind, scope, subject, order, expires: EXPIRES, content }
}

pub(crate) fn price(currency: &str, per_core: u64) -> Price {
    Price { currency: currency.parse().unwrap(), cpu_core_hour: per_core, memory_gib_hour: 0, disk_gib_hour: 0 }
}

/// An inventory that has heard of all of them.
pub(crate) fn inventory(nodes: &[TestNode]) -> Inventory {
    let mut inventory = Inventory::new(mesh(), std::sync::Arc::default());
    for node in nodes {
        inventory.learn(&node.presence(), WALL).unwrap();
        inventory.learn(&node.offered(1), WALL).unwrap();
    }
    inventory
}

/// What the inventory would hold of a node.
pub(crate) fn capacity(node: &TestNode) -> Capacity {
    inventory(std::slice::from_ref(node)).capacity(node.id()).unwrap().clone()
}
