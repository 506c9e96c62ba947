//! Keys, signatures and ids.
use serde_json::{Value, json};

use super::{Strange, encoded, hex};
use crate::{
    cell::fixture,
    id::ContentHash,
    identity::{Founding, Keypair, Signed},
};

pub(super) fn keys() -> Value {
    let pairs = (1..=3_u8).map(|n| {
        let keys = Keypair::from_secret(&[n; 32]);
        let signed = Signed::seal(&keys, &Strange { text: format!("message {n}") });
        let envelope = signed.envelope();
        let message = [envelope.domain.as_bytes(), &[0], &envelope.payload].concat();
        json!({
            "secret": hex(&keys.secret()),
            "public": hex(&keys.public().0),
            "node_id": keys.node().to_string(),
            "domain": envelope.domain,
            "payload": hex(&envelope.payload),
            "message": hex(&message),
            "signature": hex(&envelope.signature.0),
        })
    });
    let operator = fixture::Party::operator("operator 1");
    let tenant = fixture::Party::tenant("tess");
    let founding =
        Founding { name: "hedge".into(), operators: vec![operator.genesis.clone()], founded: fixture::FOUNDED };
    json!({
        "about": "Ed25519 (RFC 8032) over `message`, which is domain, a zero byte and payload; a node's id is its public key, in lower-case base32 without padding. The id of an \
                  operator or tenant is the BLAKE3 hash of its genesis, of a mesh that of its founding, of content that of \
                  its bytes.",
        "ed25519": pairs.collect::<Vec<_>>(),
        "ids": [
            { "of": "operator", "bytes": encoded(&operator.genesis), "id": operator.operator_id().to_string() },
            { "of": "tenant", "bytes": encoded(&tenant.genesis), "id": tenant.tenant_id().to_string() },
            { "of": "mesh", "bytes": encoded(&founding), "id": founding.mesh().to_string() },
            { "of": "content", "bytes": hex(b"a component"), "id": ContentHash::of(b"a component").to_string() },
        ],
    })
}
