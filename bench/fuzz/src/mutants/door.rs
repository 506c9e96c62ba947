//! Signed requests at the door of the control API.
use std::time::Duration;

use bocage_node::{
    control::auth::{self, AUTHORIZATION, ControlRequest, Door},
    keyfile::KeyFile,
};
use bocage_protocol::{
    cell::fixture::{FOUNDED, Party},
    codec,
    identity::{Genesis, Keypair, Signed},
    random::Rng,
    record::Keyring,
    time::Timestamp,
};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue};

use super::{
    Arena,
    bytes::{damage, graft, other_domain},
};
use crate::target::key_file;

pub(super) struct Requests {
    door: Door,
    tenant: Party,
    operator: Party,
    wall: Timestamp,
    used: Vec<HeaderMap>,
}

const PATH: &str = "/v1/apps?tenant=t";

/// A signed request as its header carries it.
type Parts = (Signed<Genesis>, Signed<ControlRequest>);

impl Requests {
    pub(super) fn new() -> Self {
        let operator = Party::operator("operator 1");
        let door = Door::new(operator.genesis.operator());
        Self { door, tenant: Party::tenant("tess"), operator, wall: FOUNDED, used: Vec::new() }
    }

    fn party(&self, rng: &mut Rng) -> Party {
        if rng.chance(500) { self.tenant.clone() } else { self.operator.clone() }
    }

    fn right(&self, by: &Party) -> HeaderMap {
        header(auth::sign(&key_file(by), "POST", PATH, b"body", self.wall))
    }

    fn parts(&self, by: &Party) -> Parts {
        parts_of(&self.right(by)).expect("an honest header reads")
    }

    fn offer(&self, headers: &HeaderMap) -> bool {
        self.door.check(headers, "POST", PATH, b"body", self.wall, &Keyring::default()).is_ok()
    }

    fn offer_parts(&self, parts: &Parts) -> bool {
        let value = BASE64.encode(&codec::encode(parts));
        self.offer(&header(HeaderValue::from_str(&value).expect("base64 is a header value")))
    }
}

fn header(value: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

fn parts_of(headers: &HeaderMap) -> Option<Parts> {
    let bytes = BASE64.decode(headers.get(AUTHORIZATION)?.as_bytes()).ok()?;
    codec::decode("signed request", &bytes).ok()
}

impl Arena for Requests {
    const NAME: &'static str = "requests";

    fn honest(&mut self, rng: &mut Rng) -> bool {
        self.wall = self.wall + Duration::from_millis(1);
        let right = self.right(&self.party(rng));
        let accepted = self.offer(&right);
        self.used.push(right);
        if self.used.len() > 64 {
            self.used.remove(0);
        }
        accepted
    }

    fn mutant(&mut self, rng: &mut Rng) -> (&'static str, bool) {
        let by = self.party(rng);
        let other = Party::tenant("mallory");
        match rng.below(10) {
            0 | 1 => {
                let right = self.right(&by);
                let parts = parts_of(&right);
                let bytes = BASE64.decode(right[AUTHORIZATION].as_bytes()).expect("base64");
                let (what, bytes) = damage(&bytes, rng);
                let value = HeaderValue::from_str(&BASE64.encode(&bytes)).expect("base64 is a header value");
                let headers = header(value);
                // Changed where nothing is signed, it is still the same request.
                let same = parts_of(&headers) == parts;
                (what, self.offer(&headers) && !same)
            }
            2 => {
                let (party, request) = self.parts(&by);
                let (what, request) = graft(&request, self.parts(&other).1.envelope(), rng);
                (what, self.offer_parts(&(party, request)))
            }
            3 => {
                let (party, request) = self.parts(&by);
                let (what, party) = graft(&party, self.parts(&other).0.envelope(), rng);
                (what, self.offer_parts(&(party, request)))
            }
            4 => {
                let (party, _) = self.parts(&by);
                let (_, request) = self.parts(&other);
                ("re-signed: another's request in this party's name", self.offer_parts(&(party, request)))
            }
            5 => {
                let (party, request) = self.parts(&by);
                let request = other_domain(&request, &by.keys);
                ("re-signed: signed as another kind of statement", self.offer_parts(&(party, request)))
            }
            6 => match rng.index(self.used.len()) {
                Some(at) => ("replayed: a request that was let in", self.offer(&self.used[at])),
                None => ("replayed: a request that was let in", false),
            },
            7 => {
                let away = Duration::from_millis(120_001 + rng.below(1 << 36));
                let at = if rng.chance(500) { self.wall - away } else { self.wall + away };
                (
                    "expired: signed at another time",
                    self.offer(&header(auth::sign(&key_file(&by), "POST", PATH, b"body", at))),
                )
            }
            8 => {
                let (method, path, body): (_, _, &[u8]) = match rng.below(3) {
                    0 => ("PUT", PATH, b"body"),
                    1 => ("POST", "/v1/apps?tenant=u", b"body"),
                    _ => ("POST", PATH, b"bodz"),
                };
                (
                    "re-scoped: a request for something else",
                    self.offer(&header(auth::sign(&key_file(&by), method, path, body, self.wall))),
                )
            }
            _ => {
                // A party that claims a name and is another's key, or an operator of another node.
                let stranger = Keypair::from_secret(&std::array::from_fn(|_| rng.next().to_be_bytes()[0]));
                if rng.chance(500) {
                    let signed =
                        auth::sign(&KeyFile { keys: stranger, ..key_file(&by) }, "POST", PATH, b"body", self.wall);
                    ("re-signed: this party's genesis by another key", self.offer(&header(signed)))
                } else {
                    let elsewhere = Party::operator("operator 2");
                    let signed = auth::sign(&key_file(&elsewhere), "POST", PATH, b"body", self.wall);
                    ("re-scoped: the operator of another node", self.offer(&header(signed)))
                }
            }
        }
    }
}
