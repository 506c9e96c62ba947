//! What a node makes of words about keys, and what becomes of the records of those whose keys are dead.
use std::sync::Arc;

use super::*;
use crate::{
    codec,
    id::{MeshId, NodeId, OperatorId},
    identity::{FOR_EVER, Genesis, Keypair, Lineage, Party, Ruled, Ruling, Void},
    resources::Site,
};

const WALL: Timestamp = Timestamp(1_800_000_000_000);

fn key(number: u8) -> Keypair {
    Keypair::from_secret(&[number; 32])
}

/// An operator with key 100, and recovery key 101.
fn operator() -> Lineage {
    let mut genesis = Genesis::new(Party::Operator, "alder", key(100).public(), Timestamp(1));
    genesis.recovery = vec![key(101).public()];
    genesis.threshold = 1;
    Lineage::first(genesis)
}

fn operator_id() -> OperatorId {
    operator().genesis.operator()
}

fn rotated(to: u8) -> Lineage {
    operator().succeed(&key(100), &key(to), WALL).unwrap()
}

fn recovered(to: u8) -> Lineage {
    operator().recover(0, &[&key(101)], &key(to), WALL).unwrap()
}

fn law() -> Jurisdiction {
    "FR".parse().unwrap()
}

/// A certificate of node `number` by the last key of a lineage, which is `by`.
fn certificate(number: u8, lineage: &Lineage, by: u8, serial: u64) -> Signed<NodeCertificate> {
    let certificate = NodeCertificate {
        mesh: MeshId([3; 32]),
        operator: lineage.genesis.clone(),
        node: key(number).node(),
        site: Site("a".into()),
        jurisdiction: law(),
        domains: Vec::new(),
        not_before: Timestamp(2),
        expires: WALL + std::time::Duration::from_hours(1_000),
        serial,
        sealing: PublicKey::default(),
        successions: (!lineage.successions.is_empty()).then(|| lineage.successions.clone()),
    };
    Signed::seal(&key(by), &certificate)
}

fn record(number: u8, certificate: &Signed<NodeCertificate>, body: &RecordBody) -> Shared {
    let record = Record { signed: Signed::seal(&key(number), body), certificate: Some(certificate.clone()) };
    Arc::new(Known::read(record).unwrap())
}

fn offer(number: u8, certificate: &Signed<NodeCertificate>, content: &str, version: u64) -> Shared {
    let order = Order { line: 0, generation: 0, version };
    let body = RecordBody {
        kind: Kind::OFFER,
        scope: Scope::Jurisdiction(law()),
        subject: Subject(key(number).node().0),
        order,
        expires: WALL + std::time::Duration::from_mins(5),
        content: content.into(),
    };
    record(number, certificate, &body)
}

/// A word as node `number` publishes it.
fn published(number: u8, certificate: &Signed<NodeCertificate>, word: &KeyWord, version: u64) -> Shared {
    let (subject, line, generation) = word.slot().unwrap();
    let body = RecordBody {
        kind: word.kind(),
        scope: Scope::Mesh,
        subject,
        order: Order { line, generation, version },
        expires: WALL + std::time::Duration::from_hours(24),
        content: codec::encode(word),
    };
    record(number, certificate, &body)
}

fn revoked(node: NodeId, below: u64, lineage: &Lineage, by: u8, made: Timestamp) -> KeyWord {
    let ruling = Ruling { operator: operator_id(), node, below, resolved: 0, made };
    KeyWord::Ruling(Ruled { lineage: lineage.clone(), signed: Signed::seal(&key(by), &ruling) })
}

fn set() -> RecordSet {
    RecordSet::new(MeshId([3; 32]), law(), Keyring::default())
}

#[test]
fn a_replaced_key_is_dead_and_its_records_go_with_it() {
    let mut set = set();
    let old = certificate(1, &operator(), 100, 1);
    let offer_of_old = offer(1, &old, "offer", WALL.0);
    assert_eq!(set.insert(&offer_of_old, WALL), Inserted::Fresh);
    assert_eq!(set.learn(&KeyWord::Lineage(rotated(102))), Learned::New);
    let (fresh, gone) = set.news();
    assert_eq!((fresh.len(), gone), (1, vec![offer_of_old]));
    // Backdated or not: what the dead key certified counts no more, with whatever serial.
    let backdated = certificate(2, &operator(), 100, u64::MAX);
    let refused = set.insert(&offer(2, &backdated, "offer", WALL.0), WALL);
    assert!(matches!(refused, Inserted::Refused(Refused::Certificate(crate::identity::CertificateError::Void { .. }))));
    let new = certificate(1, &rotated(102), 102, 2);
    assert_eq!(set.insert(&offer(1, &new, "offer", WALL.0 + 1), WALL), Inserted::Fresh);
}

#[test]
fn a_certificate_by_a_new_key_tells_of_the_succession_by_itself() {
    let mut set = set();
    let old = certificate(1, &operator(), 100, 1);
    set.insert(&offer(1, &old, "offer", WALL.0), WALL);
    let new = certificate(2, &rotated(102), 102, 2);
    assert_eq!(set.insert(&offer(2, &new, "offer", WALL.0), WALL), Inserted::Fresh);
    let (fresh, gone) = set.news();
    assert_eq!((fresh, gone.len()), (vec![KeyWord::Lineage(rotated(102))], 1));
}

#[test]
fn a_thief_with_the_current_key_loses_it_to_a_recovery_and_never_wins_it_back() {
    let mut keyring = Keyring::default();
    let thief = rotated(66).succeed(&key(66), &key(67), WALL).unwrap();
    assert_eq!(keyring.learn(&KeyWord::Lineage(thief.clone())), Learned::New);
    assert_eq!(keyring.learn(&KeyWord::Lineage(recovered(102))), Learned::New);
    assert!(matches!(keyring.learn(&KeyWord::Lineage(thief)), Learned::Not(_)));
    let descent = keyring.descent(operator_id().into()).unwrap();
    assert_eq!(descent.key(), key(102).public());
    for (by, lineage) in [(100, operator()), (66, rotated(66))] {
        let signed = certificate(1, &lineage, by, 9);
        let void = keyring.counts(&signed.open().unwrap(), signed.key());
        assert_eq!(void, Err(Void::Superseded { serial: 1 }));
    }
}

#[test]
fn a_key_that_retired_long_ago_rewrites_nothing() {
    let mut keyring = Keyring::default();
    keyring.learn(&KeyWord::Lineage(rotated(102)));
    let forged = KeyWord::Lineage(rotated(66));
    assert!(matches!(keyring.learn(&forged), Learned::Not(_)));
    let signed = certificate(1, &rotated(66), 66, 9);
    assert!(keyring.counts(&signed.open().unwrap(), signed.key()).is_err());
    assert!(keyring.speaks_for(&rotated(102).descent().unwrap(), key(102).public()));
    assert!(!keyring.speaks_for(&rotated(66).descent().unwrap(), key(66).public()));
    assert!(!keyring.speaks_for(&operator().descent().unwrap(), key(100).public()));
}

#[test]
fn a_revoked_node_is_out_and_its_operators_other_nodes_are_not() {
    let mut set = set();
    let (one, other) = (certificate(1, &operator(), 100, 5), certificate(2, &operator(), 100, 5));
    set.insert(&offer(1, &one, "offer", WALL.0), WALL);
    set.insert(&offer(2, &other, "offer", WALL.0), WALL);
    let word = revoked(key(1).node(), FOR_EVER, &operator(), 100, WALL);
    // Even the revoked node itself may carry the word.
    assert_eq!(set.insert(&published(1, &one, &word, WALL.0), WALL), Inserted::Fresh);
    let (_, gone) = set.news();
    assert_eq!(gone.len(), 2, "its offer, and the record by which it told");
    assert_eq!(set.len(), 1);
    assert_eq!(set.insert(&published(2, &other, &word, WALL.0), WALL), Inserted::Fresh);
    assert!(matches!(set.insert(&offer(1, &one, "again", WALL.0 + 9), WALL), Inserted::Refused(_)));
    let again = certificate(1, &operator(), 100, u64::MAX - 1);
    assert!(matches!(set.insert(&offer(1, &again, "again", WALL.0 + 9), WALL), Inserted::Refused(_)), "for ever");
}

#[test]
fn older_certificates_are_void_and_a_later_one_goes_on() {
    let mut keyring = Keyring::default();
    keyring.learn(&revoked(key(1).node(), 5, &operator(), 100, WALL));
    let counts = |serial| {
        let signed = certificate(1, &operator(), 100, serial);
        keyring.counts(&signed.open().unwrap(), signed.key())
    };
    assert_eq!((counts(4), counts(5)), (Err(Void::Revoked), Ok(())));
}

#[test]
fn nobody_but_its_operator_revokes_a_node_and_no_revocation_is_taken_back() {
    let mut keyring = Keyring::default();
    let stranger = Lineage::first(Genesis::new(Party::Operator, "birch", key(50).public(), Timestamp(1)));
    let forged = Ruling { operator: operator_id(), node: key(1).node(), below: FOR_EVER, resolved: 0, made: WALL };
    let by_stranger = |lineage: &Lineage| {
        KeyWord::Ruling(Ruled { lineage: lineage.clone(), signed: Signed::seal(&key(50), &forged) })
    };
    assert!(matches!(keyring.learn(&by_stranger(&stranger)), Learned::Not(_)), "another operator");
    assert!(matches!(keyring.learn(&by_stranger(&operator())), Learned::Not(_)), "not its key");
    let later = |minutes| WALL + std::time::Duration::from_mins(minutes);
    keyring.learn(&revoked(key(1).node(), 7, &operator(), 100, WALL));
    assert!(matches!(keyring.learn(&revoked(key(1).node(), 3, &operator(), 100, later(1))), Learned::Not(_)));
    assert_eq!(keyring.learn(&revoked(key(1).node(), 9, &operator(), 100, later(2))), Learned::New);
}

#[test]
fn what_a_thief_ruled_ends_with_his_key() {
    let mut keyring = Keyring::default();
    keyring.learn(&revoked(key(1).node(), FOR_EVER, &operator(), 100, WALL));
    assert!(keyring.stands(operator_id(), key(1).node(), 5).is_err());
    keyring.learn(&KeyWord::Lineage(recovered(102)));
    assert!(keyring.stands(operator_id(), key(1).node(), 5).is_ok());
    let again = revoked(key(1).node(), FOR_EVER, &operator(), 100, WALL + std::time::Duration::from_mins(1));
    assert!(matches!(keyring.learn(&again), Learned::Not(_)));
}

#[test]
fn a_contradiction_bars_its_node_until_its_operator_explains_it() {
    let mut set = set();
    let by = certificate(1, &operator(), 100, 1);
    let (a, b) = (offer(1, &by, "a", WALL.0), offer(1, &by, "b", WALL.0));
    set.insert(&a, WALL);
    let Inserted::Contradiction { proof, .. } = set.insert(&b, WALL) else { panic!("not noticed") };
    let proof = Contradiction::of(&proof.0.record.signed, &proof.1.record.signed);
    assert_eq!(proof, Contradiction::of(&b.record.signed, &a.record.signed), "whoever found it");
    let word = KeyWord::Contradiction(proof.clone());
    let other = certificate(2, &operator(), 100, 1);
    assert_eq!(set.insert(&published(2, &other, &word, WALL.0), WALL), Inserted::Fresh);
    let node = key(1).node();
    assert_eq!(set.keyring().barred(operator_id(), node), Some(&proof));
    let explained = |resolved| {
        let ruling = Ruling { operator: operator_id(), node, below: 0, resolved, made: WALL };
        KeyWord::Ruling(Ruled { lineage: operator(), signed: Signed::seal(&key(100), &ruling) })
    };
    let mut elsewhere = Keyring::default();
    elsewhere.learn(&word);
    elsewhere.learn(&explained(WALL.0 - 1));
    assert!(elsewhere.barred(operator_id(), node).is_some(), "an older one is explained, not this");
    set.learn(&explained(WALL.0));
    assert_eq!(set.keyring().barred(operator_id(), node), None);
    assert!(set.keyring().stands(operator_id(), node, 1).is_ok());
}

#[test]
fn two_statements_that_an_honest_node_may_make_prove_nothing() {
    let by = certificate(1, &operator(), 100, 1);
    let (a, later) = (offer(1, &by, "a", WALL.0), offer(1, &by, "b", WALL.0 + 1));
    let stranger = offer(2, &certificate(2, &operator(), 100, 1), "b", WALL.0);
    for other in [&later, &stranger, &a] {
        assert_eq!(Contradiction::of(&a.record.signed, &other.record.signed).accept(), None);
    }
}

#[test]
fn a_word_whose_head_or_content_is_another_is_refused() {
    let mut set = set();
    let by = certificate(1, &operator(), 100, 1);
    let word = KeyWord::Lineage(rotated(102));
    let honest = published(1, &by, &word, WALL.0);
    let bodies = [
        RecordBody { subject: Subject([0; 32]), ..honest.body.clone() },
        RecordBody { order: Order { generation: 2, ..honest.body.order }, ..honest.body.clone() },
        RecordBody { kind: Kind::RULING, ..honest.body.clone() },
        RecordBody { content: "nonsense".into(), ..honest.body.clone() },
    ];
    for body in bodies {
        assert!(matches!(set.insert(&record(1, &by, &body), WALL), Inserted::Refused(_)), "{body:?}");
    }
    let mut ahead = revoked(key(1).node(), FOR_EVER, &operator(), 100, WALL + std::time::Duration::from_mins(2));
    assert_eq!(set.insert(&published(1, &by, &ahead, WALL.0), WALL), Inserted::Refused(Refused::Ahead));
    ahead = revoked(key(1).node(), FOR_EVER, &operator(), 100, WALL);
    assert_eq!(set.insert(&published(1, &by, &ahead, WALL.0), WALL), Inserted::Fresh);
}

#[test]
fn signatures_inside_a_word_and_inside_a_certificate_are_checked_with_it() {
    let forged = |lineage: Lineage| {
        let mut bytes = codec::encode(&lineage).to_vec();
        // The last byte is of the last signature.
        *bytes.last_mut().unwrap() ^= 1;
        codec::decode::<Lineage>("lineage", &bytes).unwrap()
    };
    let lineage = forged(rotated(102));
    assert!(lineage.descent().is_ok(), "only the signature is wrong");
    let by = certificate(1, &operator(), 100, 1);
    let check = |known: &Known| crate::identity::Verified::check(known_of(known), |_| false).is_ok();
    assert!(check(&published(1, &by, &KeyWord::Lineage(rotated(102)), WALL.0)));
    assert!(!check(&published(1, &by, &KeyWord::Lineage(lineage.clone()), WALL.0)));
    assert!(certificate(1, &rotated(102), 102, 1).verify().is_ok());
    assert!(certificate(1, &lineage, 102, 1).verify().is_err());
}

fn known_of(known: &Known) -> Known {
    Known::read(known.record.clone()).unwrap()
}

#[test]
fn a_keyring_outlives_a_restart() {
    let mut keyring = Keyring::default();
    let words = [
        KeyWord::Lineage(recovered(102)),
        revoked(key(1).node(), FOR_EVER, &recovered(102), 102, WALL),
        KeyWord::Contradiction(Contradiction::of(
            &offer(2, &certificate(2, &operator(), 100, 1), "a", WALL.0).record.signed,
            &offer(2, &certificate(2, &operator(), 100, 1), "b", WALL.0).record.signed,
        )),
    ];
    let stored = words.iter().map(|word| (word.stored_as().unwrap(), codec::encode(word))).collect();
    for word in &words {
        assert_eq!(keyring.learn(word), Learned::New);
    }
    assert_eq!(Keyring::recall(&stored), keyring);
}
