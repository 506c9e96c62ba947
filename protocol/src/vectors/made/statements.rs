//! Signed statements, whole and spoilt.
use serde_json::{Value, json};

use super::{
    NOW, Strange,
    charter::{Admission, naming},
    forged, hex, key, party, rotated,
};
use crate::{
    bundle::{BUNDLE_FORMAT, BundleHead, Part},
    cell::{Base, Carried, Command, InstanceState, Missed, Recovery, Role, State, Support, fixture},
    codec,
    id::{ContentHash, ReplicaId},
    identity::{FOR_EVER, Keypair, Lineage, NodeCertificate, Ruling, Signed, Statement},
};

/// One of each kind of statement, and each spoilt in every way that a reader must notice.
pub(super) fn statements() -> Value {
    let hosts = fixture::hosts(3);
    let (founding, host) = (fixture::Founding::of(&hosts), &hosts[0]);
    let state = State::found(&founding.genesis()).unwrap();
    let mut list = Vec::new();
    add(&mut list, &founding.tenant.signed_genesis());
    add(&mut list, &host.certificate);
    add(&mut list, &host.candidate().offer);
    add(&mut list, &founding.signed_release());
    add(&mut list, &host.grant(ContentHash::of(b"plan"), Role::Vote, state.tenant_id(), state.policy()));
    add(&mut list, &host.receipt(&founding.release.workload));
    add(
        &mut list,
        &Signed::seal(&host.keys, &host.batch(&state, fixture::op("d", 1), vec![fixture::set("s", "k", "v")])),
    );
    add(&mut list, &Signed::seal(&host.keys, &Support { cell: state.cell(), replica: ReplicaId(1), rules: 1 }));
    let missed = Missed { cell: state.cell(), voter: ReplicaId(1), member: ReplicaId(2), missed: true, made: NOW };
    add(&mut list, &Signed::seal(&host.keys, &missed));
    if let Command::Renew(renewal) = host.renewal(&state, 1, InstanceState::Running) {
        add(&mut list, &renewal);
    }
    let admission = Admission::witnessed_by(host);
    add(&mut list, &admission.motion);
    add(&mut list, &admission.ballot);
    add(&mut list, &admission.invite);
    add(&mut list, &admission.claim);
    add(&mut list, &admission.stamp);
    add(&mut list, &naming(&admission));
    let part = |bytes: &[u8]| Part { content: ContentHash::of(bytes), size_bytes: bytes.len() as u64 };
    let bundle = BundleHead {
        format: BUNDLE_FORMAT,
        exported: NOW,
        state: part(b"state"),
        components: vec![part(b"component")],
        tenant: founding.tenant.signed_genesis(),
        successions: Vec::new(),
    };
    add(&mut list, &Signed::seal(&founding.tenant.keys, &bundle));
    let base = Base { node: host.node(), replica: ReplicaId(1), term: 3, index: 42 };
    let recovery = Recovery {
        mesh: state.mesh(),
        cell: state.cell(),
        line: 1,
        base,
        fork: false,
        made: NOW,
        until: NOW + std::time::Duration::from_hours(1),
    };
    let recovery = Signed::seal(&founding.tenant.keys, &recovery);
    let (hash, cell, replica) = (recovery.hash(), state.cell(), ReplicaId(4));
    let carried = Carried { recovery: hash, cell, line: 2, index: 43, replica, at: NOW };
    add(&mut list, &recovery);
    add(&mut list, &Signed::seal(&host.keys, &carried));
    let ruling =
        Ruling { operator: party().genesis.operator(), node: host.node(), below: FOR_EVER, resolved: 0, made: NOW };
    add(&mut list, &Signed::seal(&key(1), &ruling));
    for (what, lineage, verdict) in [
        ("with a key that succeeded", rotated(&party(), 1, 2), "valid"),
        ("with a succession whose signature does not hold", forged_succession(), "signature"),
    ] {
        let mut certificate = host.certificate.open().unwrap();
        certificate.operator = lineage.genesis.clone();
        certificate.successions = Some(lineage.successions);
        let bytes = codec::encode(&Signed::seal(&key(2), &certificate));
        let what = format!("{}: {what}", NodeCertificate::DOMAIN);
        list.push(
            json!({ "what": what, "read_as": NodeCertificate::DOMAIN, "bytes": hex(&bytes), "verdict": verdict }),
        );
    }
    json!({
        "about": "An envelope is [domain, payload, key, signature]; the signature is over domain, a zero byte and payload. \
                  Read it as a statement of the domain `read_as`, and say: valid; signature (it does not hold); domain (a \
                  statement of another kind); malformed (it does not decode).",
        "statements": list,
    })
}

fn forged_succession() -> Lineage {
    let lineage = rotated(&party(), 1, 2);
    Lineage { successions: vec![forged(&lineage.successions[0])], ..lineage }
}

fn add<T: Statement>(list: &mut Vec<Value>, signed: &Signed<T>) {
    let bytes = codec::encode(signed).to_vec();
    let mut case = |what: &str, bytes: &[u8], verdict: &str| {
        let what = format!("{}: {what}", T::DOMAIN);
        list.push(json!({ "what": what, "read_as": T::DOMAIN, "bytes": hex(bytes), "verdict": verdict }));
    };
    case("as it was signed", &bytes, "valid");
    let payload = signed.envelope().payload.len();
    let signature_at = bytes.len() - 64;
    let key_at = signature_at - 2 - 32;
    let mut changed = |what: &str, at: usize, verdict: &str| {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        case(what, &changed, verdict);
    };
    changed("a bit of the payload changed", key_at - 2 - payload / 2, "signature");
    changed("a bit of the key changed", key_at, "signature");
    changed("a bit of the signature's R changed", signature_at, "signature");
    changed("a bit of the signature's S changed", signature_at + 32, "signature");
    case("cut short", &bytes[..bytes.len() - 1], "malformed");
    case("a byte behind it", &[&bytes[..], &[0]].concat(), "malformed");
    // RFC 8032 wants S below the group's order; S + order is the same to a lenient reader.
    let mut twin = bytes.clone();
    plus_order(&mut twin[signature_at + 32..]);
    case("S and the group's order more", &twin, "signature");
    // With the neutral point as key and R, and S = 0, a lenient equation holds for every message.
    let mut small = bytes.clone();
    small[key_at..key_at + 32].copy_from_slice(&NEUTRAL);
    small[signature_at..signature_at + 32].copy_from_slice(&NEUTRAL);
    small[signature_at + 32..].fill(0);
    case("a key of small order", &small, "signature");
    let mut other = signed.envelope().clone();
    other.domain = "bocage/v1/of-a-later-day".to_owned();
    case("the same payload and signature as another kind", &codec::encode(&other), "signature");
    let stranger = Signed::seal(&Keypair::from_secret(&[9; 32]), &Strange { text: "hello".into() });
    case("another kind, well signed", &codec::encode(&stranger), "domain");
}

/// The encoding of the neutral point of the curve.
const NEUTRAL: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 1;
    point
};

/// Adds the order of Ed25519's group, 2²⁵² + 27742317777372353535851937790883648493, little-endian.
fn plus_order(s: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, more) in s.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}
