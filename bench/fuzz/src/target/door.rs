//! The signature of a request to the control API, as its header carries it (base64 of these bytes).
use std::sync::OnceLock;

use bocage_node::{
    control::auth::{self, AUTHORIZATION, Door},
    keyfile::{KeyFile, Kind},
};
use bocage_protocol::{
    cell::fixture::{FOUNDED, Party},
    identity,
    record::Keyring,
};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue};

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "door",
    about: "signed requests at the door of the control API",
    run,
    seeds,
    bytes_max: 8 << 10,
    heap: Some((64, 64 << 10)),
};

const PATH: &str = "/v1/apps";

fn run(bytes: &[u8]) {
    static DOOR: OnceLock<Door> = OnceLock::new();
    let door = DOOR.get_or_init(|| Door::new(Party::operator("operator 1").genesis.operator()));
    let text = BASE64.encode(bytes);
    let Ok(value) = HeaderValue::from_str(&text) else { return };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let _ = door
        .check(&headers, "POST", PATH, b"body", FOUNDED, &Keyring::default())
        .map_err(|refusal| refusal.to_string());
}

/// A party's key file, as it would lie on its disk.
pub(crate) fn key_file(party: &Party) -> KeyFile {
    KeyFile {
        kind: match party.genesis.party {
            identity::Party::Operator => Kind::Operator,
            identity::Party::Tenant => Kind::Tenant,
        },
        name: party.genesis.name.clone(),
        created: party.genesis.created,
        keys: party.keys.clone(),
        genesis: Some(party.signed_genesis()),
        successions: Vec::new(),
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let header = |party: &Party| {
        let value = auth::sign(&key_file(party), "POST", PATH, b"body", FOUNDED);
        BASE64.decode(value.as_bytes()).expect("a signed request is base64")
    };
    vec![
        ("tenant".into(), header(&Party::tenant("tess"))),
        ("operator".into(), header(&Party::operator("operator 1"))),
        ("other-operator".into(), header(&Party::operator("operator 2"))),
    ]
}
