//! Records before a reader.
use std::time::Duration;

use serde_json::{Value, json};

use super::{NOW, charter::Admission, encoded, frames::contact, hex, key, party, recovered, rotated};
use crate::{
    cell::fixture,
    charter::Papers,
    codec::{self, Blob},
    id::DiskId,
    identity::{FOR_EVER, Lineage, Ruled, Ruling, Signed},
    membership::{Liveness, Presence},
    record::{BUCKETS, Contradiction, KeyWord, Kind, Order, Record, RecordBody, Scope, Subject},
};

fn body(host: &fixture::Host, kind: Kind, content: Blob) -> RecordBody {
    RecordBody {
        kind,
        scope: Scope::Jurisdiction("FR".parse().unwrap()),
        subject: Subject(host.node().0),
        order: Order { line: 0, generation: 1, version: NOW.0 },
        expires: NOW + Duration::from_mins(10),
        content,
    }
}

pub(super) fn presence(host: &fixture::Host, version: u64, disk: &str) -> Record {
    let content = Presence {
        incarnation: 1,
        addresses: contact().addresses,
        disk: DiskId(*blake3::hash(disk.as_bytes()).as_bytes()),
        boots: 1,
        relays: None,
        draining: None,
    };
    let mut body = body(host, Kind::PRESENCE, codec::encode(&content));
    body.order.version = version;
    signed(host, &body)
}

fn signed(host: &fixture::Host, body: &RecordBody) -> Record {
    Record { signed: Signed::seal(&host.keys, body), certificate: Some(host.certificate.clone()) }
}

/// Records one by one before a reader who knows nothing yet, and some after each other.
pub(super) fn records() -> Value {
    let hosts = fixture::hosts(2);
    let (host, abroad) = (&hosts[0], &hosts[1]);
    let mut list = Vec::new();
    let mut case = |what: &str, record: &Record, verdict: &str| {
        list.push(json!({ "what": what, "bytes": encoded(record), "verdict": verdict }));
    };
    let offer = || body(host, Kind::OFFER, host.candidate().offer.open().unwrap().content);
    case("a presence", &presence(host, NOW.0, "one"), "fresh");
    case("an offer", &signed(host, &offer()), "fresh");
    case("of a kind of a later day", &signed(host, &body(host, Kind(900), "whatever".into())), "fresh");
    let bare = Record { certificate: None, ..signed(host, &offer()) };
    case("without a certificate, of a signer who is not known", &bare, "UnknownSigner");
    let others = Record { certificate: Some(abroad.certificate.clone()), ..presence(host, NOW.0, "one") };
    case("with another node's certificate", &others, "OtherCertificate");
    let ahead = RecordBody { order: Order { version: NOW.0 + 60_001, ..offer().order }, ..offer() };
    case("61 s ahead of the reader", &signed(host, &ahead), "Ahead");
    let close = RecordBody { order: Order { version: NOW.0 + 60_000, ..offer().order }, ..offer() };
    case("60 s ahead of the reader", &signed(host, &close), "fresh");
    case("expired this moment", &signed(host, &RecordBody { expires: NOW, ..offer() }), "Expired");
    let long = RecordBody { expires: NOW + Duration::from_hours(2), ..offer() };
    case("living longer than its kind may", &signed(host, &long), "Lifetime");
    let wide = RecordBody { content: vec![0; 16_385].into(), ..body(host, Kind(900), Blob::default()) };
    case("longer than 16 KiB", &signed(host, &wide), "TooLong");
    let about = RecordBody { subject: Subject(abroad.node().0), ..offer() };
    case("an offer about another node", &signed(host, &about), "Subject");
    let stray = RecordBody { scope: Scope::Jurisdiction("DE".parse().unwrap()), ..offer() };
    case("an offer in another jurisdiction than its signer's", &signed(host, &stray), "Scope");
    case("an offer to the whole mesh", &signed(host, &RecordBody { scope: Scope::Mesh, ..offer() }), "Scope");
    let verdict = host.verdict(abroad.node(), Liveness::Down).open().unwrap();
    let bold = RecordBody { expires: NOW + Duration::from_mins(10), ..verdict };
    case("a verdict to the whole mesh", &signed(host, &bold), "Scope");

    words(host, &mut case);
    papers(host, &mut case);
    let later = body(host, Kind(900), "whatever".into());

    let lone = |what, record: &Record, verdict| json!({ "what": what, "bytes": encoded(record), "verdict": verdict });
    // Of statements of one version the lower hash is in force: a third one counts if it is lower than both.
    let version = NOW.0 + 1;
    let mut third: Vec<Record> = (0..16).map(|n| presence(host, version, &format!("third {n}"))).collect();
    third.sort_by_key(|record| record.signed.hash());
    let (lowest, highest) = (&third[0], &third[15]);
    let (one, other) = (presence(host, version, "one"), presence(host, version, "two"));
    assert!([&one, &other].iter().all(|it| (lowest.signed.hash()..highest.signed.hash()).contains(&it.signed.hash())));
    let sequence = [
        lone("a presence", &presence(host, NOW.0, "one"), "fresh"),
        lone("the same again", &presence(host, NOW.0, "one"), "duplicate"),
        lone("an older one", &presence(host, NOW.0 - 1, "one"), "stale"),
        lone("a newer one", &one, "newer"),
        lone("another of the same version", &other, "contradiction"),
        lone("the first of the two again", &one, "duplicate"),
        lone("a third of that version, of a higher hash than both", highest, "stale"),
        lone("a third of that version, of a lower hash than both", lowest, "contradiction"),
        lone("a newer one still", &presence(host, NOW.0 + 2, "two"), "newer"),
        lone("its operator revokes the node", &word(abroad, &revoked(host)), "fresh"),
        lone("a newer one of a revoked node", &presence(host, NOW.0 + 3, "two"), "Certificate"),
    ];
    json!({
        "about": "Records whose signatures hold, those in words about keys too, before a reader in `home` whose clock says \
                  `now` (milliseconds since the epoch). `each`: alone, before a reader who knows nobody; fresh, or why \
                  not. `in_order`: before one reader, after each other. `digest`: \
                  records that a reader holds, and the bucket sums of his jurisdiction's tier, eight bytes each.",
        "mesh": hex(&fixture::mesh().0),
        "home": "FR",
        "now": NOW.0,
        "each": list,
        "in_order": sequence,
        "digest": digest(&[presence(host, NOW.0, "one"), signed(host, &offer()), signed(host, &later)]),
    })
}

/// The sums of what a reader holds in the tier of his own jurisdiction, worked out as the page says it.
fn digest(records: &[Record]) -> Value {
    let mut sums = vec![0_u64; usize::from(BUCKETS)];
    for record in records {
        let mut first = [0; 8];
        first.copy_from_slice(&record.signed.hash()[..8]);
        let z = u64::from_be_bytes(first).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bucket = record.signed.open().unwrap().subject.0[0] / 4;
        let sum = &mut sums[usize::from(bucket)];
        *sum = sum.wrapping_add(z ^ (z >> 31));
    }
    json!({
        "records": records.iter().map(encoded).collect::<Vec<_>>(),
        "sums": sums.iter().map(|sum| hex(&sum.to_be_bytes())).collect::<Vec<_>>(),
    })
}

/// A word about keys as `carrier` publishes it.
fn word(carrier: &fixture::Host, word: &KeyWord) -> Record {
    let (subject, line, generation) = word.slot().unwrap();
    let body = RecordBody {
        scope: Scope::Mesh,
        subject,
        order: Order { line, generation, version: NOW.0 },
        expires: NOW + Duration::from_hours(24),
        ..body(carrier, word.kind(), codec::encode(word))
    };
    signed(carrier, &body)
}

fn revoked(host: &fixture::Host) -> KeyWord {
    let lineage = Lineage::first(host.operator.genesis.clone());
    let ruling =
        Ruling { operator: host.operator.operator_id(), node: host.node(), below: FOR_EVER, resolved: 0, made: NOW };
    KeyWord::Ruling(Ruled { signed: Signed::seal(&host.operator.keys, &ruling), lineage })
}

/// Papers of the charter, which any node may carry; whose mesh it is, is another question.
fn papers(carrier: &fixture::Host, case: &mut impl FnMut(&str, &Record, &str)) {
    let admission = Admission::witnessed_by(carrier);
    let motion = RecordBody {
        scope: Scope::Mesh,
        subject: Subject(admission.motion.hash()),
        ..body(carrier, Kind::OPERATOR, admission.content())
    };
    case("papers of an admission", &signed(carrier, &motion), "fresh");
    let papers = Papers { statements: Vec::new(), founding: Some(admission.founding.clone()) };
    let founding = RecordBody {
        scope: Scope::Mesh,
        subject: Subject(admission.founding.mesh().0),
        ..body(carrier, Kind::CHARTER, codec::encode(&papers))
    };
    case("the founding", &signed(carrier, &founding), "fresh");
    let stray = RecordBody { scope: Scope::Jurisdiction("FR".parse().unwrap()), ..founding };
    case("the founding to one jurisdiction", &signed(carrier, &stray), "Scope");
}

/// Words about keys, which any node may carry.
fn words(carrier: &fixture::Host, case: &mut impl FnMut(&str, &Record, &str)) {
    let lineage = KeyWord::Lineage(recovered(&rotated(&party(), 1, 21), 0, 2));
    case("a lineage, of whomever", &word(carrier, &lineage), "fresh");
    case("a ruling, of whomever", &word(carrier, &revoked(&fixture::hosts(3)[2])), "fresh");
    let (one, two) = (presence(carrier, NOW.0, "one"), presence(carrier, NOW.0, "two"));
    let proof = Contradiction::of(&one.signed, &two.signed);
    case("a contradiction", &word(carrier, &KeyWord::Contradiction(proof.clone())), "fresh");
    let bend = |record: &Record, change: &dyn Fn(&mut RecordBody)| {
        let mut body = record.signed.open().unwrap();
        change(&mut body);
        signed(carrier, &body)
    };
    let honest = word(carrier, &lineage);
    case("a lineage that ranks itself higher", &bend(&honest, &|body| body.order.generation += 1), "Content");
    case("a lineage about another party", &bend(&honest, &|body| body.subject = Subject::of(b"mallory")), "Content");
    case("a lineage as a ruling", &bend(&honest, &|body| body.kind = Kind::RULING), "Content");
    let twice = Contradiction { other: proof.one.clone(), one: proof.one.clone() };
    let forged = codec::encode(&KeyWord::Contradiction(twice));
    let honest = word(carrier, &KeyWord::Contradiction(proof));
    case(
        "the same statement twice, as a contradiction",
        &bend(&honest, &|body| body.content = forged.clone()),
        "Content",
    );
    let stranger =
        Ruling { operator: party().genesis.operator(), node: carrier.node(), below: 1, resolved: 0, made: NOW };
    let stolen = KeyWord::Ruling(Ruled { lineage: party(), signed: Signed::seal(&key(9), &stranger) });
    let honest = word(carrier, &revoked(carrier));
    let bytes = codec::encode(&stolen);
    case("a ruling by a stranger", &bend(&honest, &|body| body.content = bytes.clone()), "Content");
}
