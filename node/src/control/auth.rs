//! Who may ask. Over the node's own unix socket: whoever can open it, as the file's permissions say. Over TCP: whoever
//! signs the request with a tenant's or the operator's key, once, now.
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bocage_protocol::{
    codec,
    id::{OperatorId, TenantId},
    identity::{Endorsed, Genesis, Lineage, Party, Signed, Statement, Succession},
    record::Keyring,
    refusal::{Code, Refusal},
    time::Timestamp,
};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use minicbor::{Decode, Encode};

use crate::keyfile::KeyFile;

/// Carries a [`SignedRequest`].
pub const AUTHORIZATION: HeaderName = HeaderName::from_static("bocage-authorization");
/// A request older or newer than this is refused: clocks differ, but not so much.
const AGE_MAX: Duration = Duration::from_mins(2);
/// Nonces remembered; of more, the oldest is forgotten, and its request is too old by then at the usual rates.
const NONCES_MAX: usize = 100_000;

/// What a caller signs: this request, to whichever node, now, once.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ControlRequest {
    /// `GET`, `POST`, `PUT`.
    #[n(0)]
    pub method: String,
    /// Path and query.
    #[n(1)]
    pub path: String,
    /// BLAKE3 of the body.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub body: [u8; 32],
    /// When it was signed.
    #[n(3)]
    pub at: Timestamp,
    /// Drawn at random.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub nonce: [u8; 16],
}

impl Statement for ControlRequest {
    const DOMAIN: &'static str = "bocage/v1/control-request";
}

/// A signed request and who signs.
#[derive(Clone, Debug, Encode, Decode)]
struct SignedRequest {
    #[n(0)]
    party: Signed<Genesis>,
    #[n(1)]
    request: Signed<ControlRequest>,
    /// How the party came from its first key to the one that signs the request.
    #[n(2)]
    successions: Option<Vec<Endorsed<Succession>>>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Through the unix socket: this machine's own user.
    Local,
    /// The operator of this node.
    Operator,
    /// A tenant.
    Tenant(TenantId),
}

impl Caller {
    /// Whether it may see and do what is a tenant's.
    #[must_use]
    pub fn is_tenant(&self, tenant: TenantId) -> bool {
        match self {
            Self::Local => true,
            Self::Tenant(caller) => *caller == tenant,
            Self::Operator => false,
        }
    }

    /// Whether it may change what this node offers.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        matches!(self, Self::Local | Self::Operator)
    }
}

/// Signs a request with a party's key.
///
/// # Panics
/// When it is no party's key.
#[must_use]
pub fn sign(by: &KeyFile, method: &str, path: &str, body: &[u8], at: Timestamp) -> HeaderValue {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).expect("the operating system gives randomness");
    let body = *blake3::hash(body).as_bytes();
    let request = ControlRequest { method: method.to_owned(), path: path.to_owned(), body, at, nonce };
    let signed = SignedRequest {
        party: by.signed_genesis().expect("a party's key file has a genesis"),
        request: Signed::seal(&by.keys, &request),
        successions: (!by.successions.is_empty()).then(|| by.successions.clone()),
    };
    HeaderValue::from_str(&BASE64.encode(&codec::encode(&signed))).expect("base64 is a header value")
}

const OTHER_REQUEST: &str = "the signature is of another request";

/// A caller whose signature holds, and the hash of the body that was signed with it.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    caller: Caller,
    body: [u8; 32],
}

/// Checks signed requests, each once.
#[derive(Debug)]
pub struct Door {
    operator: OperatorId,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    nonces: BTreeSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Door {
    /// A door of this operator's node.
    #[must_use]
    pub fn new(operator: OperatorId) -> Self {
        Self { operator, seen: Mutex::default() }
    }

    /// Who asks, over TCP.
    ///
    /// # Errors
    /// When the request is not signed, or the signature does not fit this very request, or it came before, or the key that
    /// signed is dead as far as `keyring` knows.
    pub fn check(
        &self,
        headers: &HeaderMap,
        method: &str,
        path: &str,
        body: &[u8],
        wall: Timestamp,
        keyring: &Keyring,
    ) -> Result<Caller, Refusal> {
        self.check_head(headers, method, path, wall, keyring)?.with_body(body)
    }

    /// Who asks, as far as the head of a request tells: nobody else's body is read at all.
    ///
    /// # Errors
    /// As [`Door::check`]. The request counts as having come.
    pub fn check_head(
        &self,
        headers: &HeaderMap,
        method: &str,
        path: &str,
        wall: Timestamp,
        keyring: &Keyring,
    ) -> Result<Announced, Refusal> {
        let header = headers.get(AUTHORIZATION).ok_or_else(|| {
            refuse("requests over TCP are signed with a tenant's or operator's key: run bocage login, or use the node's unix socket")
        })?;
        let bytes = BASE64.decode(header.as_bytes()).map_err(|_| refuse("the signature is not base64"))?;
        let signed: SignedRequest =
            codec::decode("signed request", &bytes).map_err(|error| refuse(&error.to_string()))?;
        let party = signed.party.verify().map_err(|error| refuse(&error.to_string()))?;
        let request = signed.request.verify().map_err(|error| refuse(&error.to_string()))?;
        let lineage =
            Lineage { genesis: party.clone().into_inner(), successions: signed.successions.unwrap_or_default() };
        let descent = lineage.verify().map_err(|error| refuse(&error))?;
        if party.key != signed.party.key() || descent.key() != signed.request.key() {
            return Err(refuse("the request is not signed by the key of the party that it names"));
        }
        if !keyring.speaks_for(&descent, descent.key()) {
            return Err(refuse(
                "the request is signed by a key that was replaced since: use the new key file; if it was not you who \
                 replaced the key, bocage keys recover takes it back",
            ));
        }
        if request.method != method || request.path != path {
            return Err(refuse(OTHER_REQUEST));
        }
        if request.at.since(wall).max(wall.since(request.at)) > AGE_MAX {
            return Err(refuse("the request was signed more than two minutes from now: check this machine's clock"));
        }
        if !self.seen.lock().unwrap_or_else(PoisonError::into_inner).first_time(request.nonce) {
            return Err(refuse("the request came before: sign a new one"));
        }
        let caller = match party.party {
            Party::Operator if party.operator() == self.operator => Caller::Operator,
            Party::Operator => return Err(refuse("this node is another operator's")),
            Party::Tenant => Caller::Tenant(party.tenant()),
        };
        Ok(Announced { caller, body: request.body })
    }
}

impl Announced {
    /// The caller, if this is the body that was signed.
    ///
    /// # Errors
    /// When it is another.
    pub fn with_body(self, body: &[u8]) -> Result<Caller, Refusal> {
        if self.body == *blake3::hash(body).as_bytes() {
            return Ok(self.caller);
        }
        Err(refuse(OTHER_REQUEST))
    }
}

fn refuse(why: &str) -> Refusal {
    Refusal::definite(Code::Unauthorised, why)
}

impl Seen {
    fn first_time(&mut self, nonce: [u8; 16]) -> bool {
        if !self.nonces.insert(nonce) {
            return false;
        }
        self.order.push_back(nonce);
        if self.order.len() > NONCES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.nonces.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use bocage_protocol::{identity::Keypair, record::KeyWord};

    use super::*;
    use crate::keyfile::Kind;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn tenant() -> KeyFile {
        let keys = Keypair::from_secret(&[5; 32]);
        KeyFile { keys, ..KeyFile::generate(Kind::Tenant, "t", Timestamp(1)) }
    }

    fn headers(by: &KeyFile, path: &str, body: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, sign(by, "POST", path, body, NOW))])
    }

    fn door() -> Door {
        Door::new(OperatorId::of(b"another"))
    }

    fn check(door: &Door, headers: &HeaderMap, keyring: &Keyring) -> Result<Caller, Refusal> {
        door.check(headers, "POST", "/v1/apps", b"x", NOW, keyring)
    }

    #[test]
    fn a_signed_request_is_let_in_once() {
        let (door, headers, keyring) = (door(), headers(&tenant(), "/v1/apps", b"x"), Keyring::default());
        let caller = check(&door, &headers, &keyring).unwrap();
        assert_eq!(caller, Caller::Tenant(tenant().genesis().unwrap().tenant()));
        assert!(check(&door, &headers, &keyring).is_err(), "a replay");
    }

    #[test]
    fn a_replaced_key_opens_no_door_once_its_successor_is_known() {
        let (door, old, mut keyring) = (door(), tenant(), Keyring::default());
        let new = Keypair::from_secret(&[6; 32]);
        let lineage = old.lineage().unwrap().succeed(&old.keys, &new, NOW).unwrap();
        let next = old.next(new, old.signed_genesis().unwrap(), lineage.clone());
        let caller = check(&door, &headers(&next, "/v1/apps", b"x"), &keyring).unwrap();
        assert_eq!(caller, Caller::Tenant(old.genesis().unwrap().tenant()), "before anybody told this node");
        keyring.learn(&KeyWord::Lineage(lineage));
        assert!(check(&door, &headers(&next, "/v1/apps", b"x"), &keyring).is_ok());
        let refusal = check(&door, &headers(&old, "/v1/apps", b"x"), &keyring).unwrap_err();
        assert!(refusal.detail.contains("bocage keys recover"), "{refusal:?}");
    }

    #[test]
    fn a_signature_is_of_one_method_path_body_and_time() {
        let (door, headers, keyring) = (door(), headers(&tenant(), "/v1/apps", b"x"), Keyring::default());
        let later = NOW + Duration::from_mins(10);
        for (method, path, body, at) in [
            ("PUT", "/v1/apps", b"x", NOW),
            ("POST", "/v1/cells", b"x", NOW),
            ("POST", "/v1/apps", b"y", NOW),
            ("POST", "/v1/apps", b"x", later),
        ] {
            assert!(door.check(&headers, method, path, body, at, &keyring).is_err(), "{method} {path}");
        }
        assert!(check(&door, &HeaderMap::new(), &keyring).is_err(), "unsigned");
    }
}
