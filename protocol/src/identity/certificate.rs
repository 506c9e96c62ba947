//! A node certificate: an operator says "this node is mine, it stands there, under that law, until then".
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::{
    BadSignature, Descent, Endorsed, Envelope, Genesis, Keypair, Lineage, Party, PublicKey, SUCCESSIONS_MAX,
    Signatures, Signed, Statement, Succession, signer::Signer,
};
use crate::{
    codec::{self, DecodeError},
    id::{MeshId, NodeId, OperatorId},
    resources::{Jurisdiction, Site},
    time::Timestamp,
};

/// Signed by the operator's key: the last one of the lineage in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NodeCertificate {
    /// Which mesh it is for.
    #[n(0)]
    pub mesh: MeshId,
    /// The operator's genesis: carries its first key, so a chain of one link checks itself.
    #[n(1)]
    pub operator: Genesis,
    /// The node.
    #[n(2)]
    pub node: NodeId,
    /// The place that fails together.
    #[n(3)]
    pub site: Site,
    /// The law it answers to.
    #[n(4)]
    pub jurisdiction: Jurisdiction,
    /// Finer things that fail together, in no order: `power:A`, `uplink:de-cix`. At most 16.
    #[n(5)]
    pub domains: Vec<String>,
    /// Not valid before.
    #[n(6)]
    pub not_before: Timestamp,
    /// Not valid from then on.
    #[n(7)]
    pub expires: Timestamp,
    /// A later certificate of the same node has a higher one.
    #[n(8)]
    pub serial: u64,
    /// X25519 key to which secrets are sealed for this node.
    #[n(9)]
    pub sealing: PublicKey,
    /// How the operator came from its first key to the one that signs; left out while it is the first.
    #[n(10)]
    pub successions: Option<Vec<Endorsed<Succession>>>,
}

impl Statement for NodeCertificate {
    const DOMAIN: &'static str = "bocage/v1/node-certificate";
}

/// Why a certificate does not count, though it is signed and in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// By a dead key.
    #[error(
        "signed by a key that its operator has replaced since (lineage serial {serial}): the operator makes a new one with \
         bocage node renew"
    )]
    Superseded {
        /// How often the operator has changed its key.
        serial: u64,
    },
    /// By its operator's word.
    #[error("revoked by its operator: a node that is to go on needs a new key and certificate")]
    Revoked,
}

/// Why a certificate does not count. The peer or this node must renew it; nothing else changes.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Signed by a key that is not the operator's.
    #[error("the certificate of node {0:?} is not signed by its operator's key")]
    NotByOperator(NodeId),
    /// Not a later one of the same node.
    #[error(
        "the certificate is not a later one of this node, of the same operator and jurisdiction; {0:?} is its node"
    )]
    NotALater(NodeId),
    /// Of another mesh.
    #[error("the certificate of node {0:?} is for another mesh")]
    OtherMesh(NodeId),
    /// Its time is over.
    #[error("the certificate of node {node:?} expired at {expires:?}; its operator must renew it: bocage node renew")]
    Expired {
        /// Whose.
        node: NodeId,
        /// When.
        expires: Timestamp,
    },
    /// Its time has not come: one of the two clocks is wrong.
    #[error("the certificate of node {node:?} is valid only from {from:?}: check this machine's clock")]
    NotYet {
        /// Whose.
        node: NodeId,
        /// When.
        from: Timestamp,
    },
    /// Its operator has taken it back.
    #[error("the certificate of node {node:?} counts no more: {why}")]
    Void {
        /// Whose.
        node: NodeId,
        /// Why.
        why: Void,
    },
    /// The bytes are not a certificate.
    #[error("a node certificate cannot be read")]
    Unreadable,
}

impl NodeCertificate {
    /// The operator's id.
    #[must_use]
    pub fn operator_id(&self) -> OperatorId {
        self.operator.operator()
    }

    /// The operator's keys, as far as this certificate knows them.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        Lineage { genesis: self.operator.clone(), successions: self.successions.clone().unwrap_or_default() }
    }

    /// What the lineage comes to; `None` if it does not count.
    #[must_use]
    pub fn descent(&self) -> Option<Descent> {
        self.lineage().descent().ok()
    }

    /// The statements inside an envelope, if it is a certificate's: they are checked with it.
    pub(super) fn inside(envelope: &Envelope) -> Result<Vec<Envelope>, BadSignature> {
        if envelope.domain != Self::DOMAIN {
            return Ok(Vec::new());
        }
        let this: Self = codec::decode(Self::DOMAIN, &envelope.payload).map_err(BadSignature::Payload)?;
        let successions = this.successions.unwrap_or_default();
        if successions.len() > SUCCESSIONS_MAX {
            let why = format!("{} successions, more than {SUCCESSIONS_MAX}", successions.len());
            return Err(BadSignature::Payload(DecodeError { what: Self::DOMAIN, why }));
        }
        Ok(successions.iter().flat_map(Endorsed::envelopes).cloned().collect())
    }

    /// Reads a certificate whose signature was checked, and checks what it says.
    ///
    /// # Errors
    /// When it does not count in `mesh` at `wall`.
    pub fn accept(signed: &Signed<Self>, mesh: MeshId, wall: Timestamp) -> Result<Self, CertificateError> {
        let this = signed.open().map_err(|_| CertificateError::Unreadable)?;
        let node = this.node;
        let by = this.descent().filter(|_| this.operator.party == Party::Operator);
        if by.is_none_or(|by| by.key() != signed.key()) {
            return Err(CertificateError::NotByOperator(node));
        }
        if this.mesh != mesh {
            return Err(CertificateError::OtherMesh(node));
        }
        if this.expires <= wall {
            return Err(CertificateError::Expired { node, expires: this.expires });
        }
        if wall < this.not_before {
            return Err(CertificateError::NotYet { node, from: this.not_before });
        }
        Ok(this)
    }
}

/// This node: its key and its certificate. Shared by every part that signs.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    signer: Signer,
    signed: Arc<Signed<NodeCertificate>>,
    certificate: Arc<NodeCertificate>,
}

impl PartialEq for NodeIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.signed == other.signed
    }
}

impl NodeIdentity {
    /// Puts key and certificate together.
    ///
    /// # Errors
    /// When the certificate is another node's or does not count now.
    pub fn new(
        keys: Keypair,
        signed: Signed<NodeCertificate>,
        mesh: MeshId,
        wall: Timestamp,
    ) -> Result<Self, CertificateError> {
        let certificate = NodeCertificate::accept(&signed, mesh, wall)?;
        if certificate.node != keys.node() {
            return Err(CertificateError::NotByOperator(certificate.node));
        }
        let signer = Signer::Key(Arc::new(keys));
        Ok(Self { signer, signed: Arc::new(signed), certificate: Arc::new(certificate) })
    }

    /// The same node, and what it signs from now on, for a tape. Whoever plays a tape has no key to give.
    #[must_use]
    pub fn taped(&self) -> (Self, Signatures) {
        let made = Signatures::default();
        let signer = match &self.signer {
            Signer::Key(keys) | Signer::Taped(keys, _) => Signer::Taped(keys.clone(), made.clone()),
            Signer::Played(public, _) => Signer::Played(*public, made.clone()),
        };
        (Self { signer, ..self.clone() }, made)
    }

    /// A node as a tape of it is played: it signs with the signatures that are put there.
    ///
    /// # Errors
    /// When the certificate does not count then.
    pub fn played(
        signed: Signed<NodeCertificate>,
        mesh: MeshId,
        wall: Timestamp,
    ) -> Result<(Self, Signatures), CertificateError> {
        let certificate = NodeCertificate::accept(&signed, mesh, wall)?;
        let made = Signatures::default();
        let signer = Signer::Played(certificate.node.into(), made.clone());
        Ok((Self { signer, signed: Arc::new(signed), certificate: Arc::new(certificate) }, made))
    }

    /// The same node with a later certificate.
    ///
    /// # Errors
    /// When it is another node's or operator's, of another jurisdiction, does not count now, or is not a later one.
    pub fn renewed(
        &self,
        signed: Signed<NodeCertificate>,
        mesh: MeshId,
        wall: Timestamp,
    ) -> Result<Self, CertificateError> {
        let certificate = NodeCertificate::accept(&signed, mesh, wall)?;
        let ours = &*self.certificate;
        let same = certificate.node == ours.node
            && certificate.operator == ours.operator
            && certificate.jurisdiction == ours.jurisdiction;
        if !same || certificate.serial < ours.serial {
            return Err(CertificateError::NotALater(certificate.node));
        }
        Ok(Self { signer: self.signer.clone(), signed: Arc::new(signed), certificate: Arc::new(certificate) })
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.certificate.node
    }

    /// What its operator says of it.
    #[must_use]
    pub fn certificate(&self) -> &NodeCertificate {
        &self.certificate
    }

    /// The same with the operator's signature, to show to others.
    #[must_use]
    pub fn signed_certificate(&self) -> &Signed<NodeCertificate> {
        &self.signed
    }

    /// Signs as this node.
    #[must_use]
    pub fn seal<T: Statement>(&self, statement: &T) -> Signed<T> {
        let payload = codec::encode(statement);
        Envelope::seal_with(self.signer.public(), T::DOMAIN, &payload, |message| self.signer.sign(message)).into()
    }
}
