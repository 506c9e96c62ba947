//! What the set takes in, what it refuses, and that its bytes stay what they are.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::*;
use crate::{
    codec,
    id::{MeshId, NodeId},
    identity::{Admitted, Genesis, Keypair, Party},
    resources::Site,
};

const WALL: Timestamp = Timestamp(1_800_000_000_000);

struct Signer {
    keys: Keypair,
    certificate: Signed<NodeCertificate>,
}

fn law(code: &str) -> Jurisdiction {
    code.parse().unwrap()
}

fn mesh() -> MeshId {
    MeshId([3; 32])
}

fn signer_in(number: u8, operator: u8, jurisdiction: &str) -> Signer {
    signer_of(Keypair::from_secret(&[number; 32]), &Keypair::from_secret(&[operator; 32]), jurisdiction)
}

/// Of an operator of its own, one of many.
fn signer_in_pair(hundreds: u8, ones: u8) -> Signer {
    let key = |of: u8| Keypair::from_secret(&std::array::from_fn(|at| [of, hundreds, ones][at % 3]));
    signer_of(key(1), &key(2), "FR")
}

fn signer_of(keys: Keypair, by: &Keypair, jurisdiction: &str) -> Signer {
    let certificate = NodeCertificate {
        mesh: mesh(),
        operator: Genesis::new(Party::Operator, "op", by.public(), Timestamp(1)),
        node: keys.node(),
        site: Site("a".into()),
        jurisdiction: law(jurisdiction),
        domains: vec!["power:A".into()],
        not_before: Timestamp(2),
        expires: WALL + Duration::from_hours(1_000),
        serial: 1,
        sealing: PublicKey([0; 32]),
        successions: None,
    };
    Signer { certificate: Signed::seal(by, &certificate), keys }
}

fn signer(number: u8) -> Signer {
    signer_in(number, 100, "FR")
}

fn body(kind: Kind, scope: Scope, subject: Subject, version: u64) -> RecordBody {
    RecordBody {
        kind,
        scope,
        subject,
        order: Order { line: 0, generation: 0, version },
        expires: WALL + Duration::from_mins(2),
        content: "content".into(),
    }
}

impl Signer {
    fn node(&self) -> NodeId {
        self.keys.node()
    }

    fn says(&self, body: &RecordBody) -> Shared {
        let record = Record { signed: Signed::seal(&self.keys, body), certificate: Some(self.certificate.clone()) };
        Arc::new(Known::read(record).unwrap())
    }

    fn offers(&self, version: u64, content: &str) -> Shared {
        let body = body(Kind::OFFER, Scope::Jurisdiction(law("FR")), Subject(self.node().0), version);
        self.says(&RecordBody { content: content.into(), ..body })
    }

    fn binds(&self, host: &str, version: u64) -> Shared {
        self.says(&body(Kind::BINDING, Scope::Mesh, Subject::of(host.as_bytes()), version))
    }
}

fn set() -> RecordSet {
    RecordSet::new(mesh(), law("FR"), Keyring::default())
}

fn in_force(set: &RecordSet, of: &Signer) -> Shared {
    set.find(Tier::Home, Kind::OFFER, Subject(of.node().0)).unwrap().clone()
}

#[test]
fn a_newer_record_replaces_an_older_one_and_never_the_other_way_round() {
    let (mut set, signer) = (set(), signer(1));
    let (old, new) = (signer.offers(WALL.0, "old"), signer.offers(WALL.0 + 1, "new"));
    assert_eq!(set.insert(&old, WALL), Inserted::Fresh);
    assert_eq!(set.insert(&old, WALL), Inserted::Duplicate);
    assert_eq!(set.insert(&new, WALL), Inserted::Newer(old.clone()));
    assert_eq!(set.insert(&old, WALL), Inserted::Stale);
    assert_eq!(in_force(&set, &signer), new);
}

#[test]
fn two_statements_of_one_version_are_both_kept_and_all_nodes_agree_which_is_in_force() {
    let signer = signer(1);
    let (a, b) = (signer.offers(WALL.0, "a"), signer.offers(WALL.0, "b"));
    let lower = if a.hash < b.hash { &a } else { &b };
    for (first, second) in [(&a, &b), (&b, &a)] {
        let mut set = set();
        assert_eq!(set.insert(first, WALL), Inserted::Fresh);
        let Inserted::Contradiction { kept, proof } = set.insert(second, WALL) else { panic!("not noticed") };
        assert_eq!((&kept, &proof.0), (lower, lower));
        assert_eq!(in_force(&set, &signer), *lower);
        let (one, other) = set.contradiction(Tier::Home, Kind::OFFER, Subject(signer.node().0)).unwrap();
        assert!(one.record.signed.verify().is_ok() && other.record.signed.verify().is_ok());
        assert_ne!(one, other);
        assert_eq!(set.insert(first, WALL), Inserted::Duplicate);
        assert_eq!(set.insert(second, WALL), Inserted::Duplicate);
        let later = signer.offers(WALL.0 + 1, "one word again");
        assert!(matches!(set.insert(&later, WALL), Inserted::Newer(_)));
        assert!(set.contradiction(Tier::Home, Kind::OFFER, Subject(signer.node().0)).is_none());
    }
}

#[test]
fn nobody_speaks_for_another_node_or_in_another_jurisdiction() {
    let (mut set, signer, other) = (set(), signer(1), signer(2));
    let fr = Scope::Jurisdiction(law("FR"));
    let refusals = [
        (body(Kind::OFFER, fr, Subject(other.node().0), WALL.0), Refused::Subject),
        (body(Kind::PRESENCE, fr, Subject(other.node().0), WALL.0), Refused::Subject),
        (body(Kind::OFFER, Scope::Mesh, Subject(signer.node().0), WALL.0), Refused::Scope),
        (body(Kind::OFFER, Scope::Jurisdiction(law("DE")), Subject(signer.node().0), WALL.0), Refused::Scope),
        (body(Kind::BINDING, fr, Subject::of(b"host"), WALL.0), Refused::Scope),
        (body(Kind::SUMMARY, fr, Subject::of(b"district"), WALL.0), Refused::Scope),
        (body(Kind::VERDICT, Scope::Mesh, Subject::of(b"pair"), WALL.0), Refused::Scope),
        (body(Kind(900), Scope::Jurisdiction(law("DE")), Subject::of(b"x"), WALL.0), Refused::Scope),
    ];
    for (body, why) in refusals {
        assert_eq!(set.insert(&signer.says(&body), WALL), Inserted::Refused(why), "{body:?}");
    }
    assert!(set.is_empty());
}

#[test]
fn a_kind_of_a_later_version_is_kept() {
    let (mut set, signer) = (set(), signer(1));
    for scope in [Scope::Mesh, Scope::Jurisdiction(law("FR"))] {
        assert_eq!(set.insert(&signer.says(&body(Kind(900), scope, Subject::of(b"x"), WALL.0)), WALL), Inserted::Fresh);
    }
}

#[test]
fn versions_from_the_future_and_lives_without_end_are_refused() {
    let (mut set, signer) = (set(), signer(1));
    let ahead = signer.offers(WALL.0 + 60_001, "ahead");
    assert_eq!(set.insert(&ahead, WALL), Inserted::Refused(Refused::Ahead));
    assert_eq!(set.insert(&signer.offers(WALL.0 + 60_000, "just"), WALL), Inserted::Fresh);
    let host = Subject::of(b"host");
    for (kind, hours, fits) in [(Kind::BINDING, 24, true), (Kind::BINDING, 25, false), (Kind::SUMMARY, 2, false)] {
        let long = RecordBody { expires: WALL + Duration::from_hours(hours), ..body(kind, Scope::Mesh, host, WALL.0) };
        let inserted = set.insert(&signer.says(&long), WALL);
        let expected = if fits { Inserted::Fresh } else { Inserted::Refused(Refused::Lifetime) };
        if kind == Kind::BINDING && !fits {
            let longer = RecordBody { order: Order { line: 0, generation: 0, version: WALL.0 + 1 }, ..long };
            assert_eq!(set.insert(&signer.says(&longer), WALL), expected);
        } else {
            assert_eq!(inserted, expected);
        }
    }
}

#[test]
fn a_signer_is_believed_only_with_its_operators_certificate() {
    let (mut set, signer) = (set(), signer(1));
    let offer = signer.offers(WALL.0, "offer");
    let without = |known: &Known| Record { signed: known.record.signed.clone(), certificate: None };
    let bare = Arc::new(Known::read(without(&offer)).unwrap());
    assert_eq!(set.insert(&bare, WALL), Inserted::Refused(Refused::UnknownSigner));
    let borrowed = Record { certificate: Some(super::tests::signer(2).certificate), ..without(&offer) };
    let borrowed = Arc::new(Known::read(borrowed).unwrap());
    assert_eq!(set.insert(&borrowed, WALL), Inserted::Refused(Refused::OtherCertificate));
    set.pin(&signer.certificate, WALL).unwrap();
    assert_eq!(set.insert(&bare, WALL), Inserted::Fresh);
    let binding = signer.binds("host", WALL.0);
    let bare = Arc::new(Known::read(without(&binding)).unwrap());
    assert_eq!(set.insert(&bare, WALL), Inserted::Refused(Refused::CertificateMissing));
}

#[test]
fn one_signer_fills_its_own_share_and_no_more() {
    let (mut set, greedy, modest) = (set(), signer(1), signer(2));
    for n in 0..RECORDS_PER_SIGNER_MAX {
        assert_eq!(set.insert(&greedy.binds(&format!("host{n}"), WALL.0), WALL), Inserted::Fresh);
    }
    assert_eq!(set.insert(&greedy.binds("more", WALL.0), WALL), Inserted::Refused(Refused::SignerFull));
    assert!(matches!(set.insert(&greedy.binds("host3", WALL.0 + 1), WALL), Inserted::Newer(_)), "its own may change");
    assert_eq!(set.insert(&modest.binds("other", WALL.0), WALL), Inserted::Fresh);
    set.expire(WALL + Duration::from_mins(3));
    let later = WALL + Duration::from_mins(3);
    let again = RecordBody {
        expires: later + Duration::from_mins(1),
        ..body(Kind::BINDING, Scope::Mesh, Subject::of(b"more"), later.0)
    };
    assert_eq!(set.insert(&greedy.says(&again), later), Inserted::Fresh, "room comes back with expiry");
}

#[test]
fn one_signers_bytes_are_bounded_too() {
    let (mut set, greedy) = (set(), signer(1));
    let big = |n: u64| {
        let content = vec![0; CONTENT_BYTES_MAX].into();
        let subject = Subject::of(&n.to_le_bytes());
        greedy.says(&RecordBody { content, ..body(Kind::BINDING, Scope::Mesh, subject, WALL.0) })
    };
    let taken = (0..64).filter(|n| set.insert(&big(*n), WALL) == Inserted::Fresh).count();
    assert!(taken * CONTENT_BYTES_MAX <= BYTES_PER_SIGNER_MAX);
    assert!(taken >= 14);
    let content = vec![0; CONTENT_BYTES_MAX + 1].into();
    let long = RecordBody { content, ..body(Kind::BINDING, Scope::Mesh, Subject::of(b"long"), WALL.0) };
    assert_eq!(set.insert(&greedy.says(&long), WALL), Inserted::Refused(Refused::TooLong));
}

#[test]
fn a_jurisdiction_full_of_made_up_operators_leaves_room_for_others() {
    let mut set = set();
    let mut taken = 0;
    // Bindings of the longest kind: the jurisdiction's bytes are used up long before its records.
    let content: Blob = vec![7; CONTENT_BYTES_MAX].into();
    let mut version = WALL.0;
    'all: for operator in 0..40_u8 {
        for node in 0..4_u8 {
            let mallory = signer_in(100 + 4 * (operator % 30) + node, operator, "MX");
            for _ in 0..60 {
                version += 1;
                let host = Subject::of(&version.to_be_bytes());
                let record = mallory
                    .says(&RecordBody { content: content.clone(), ..body(Kind::BINDING, Scope::Mesh, host, WALL.0) });
                match set.insert(&record, WALL) {
                    Inserted::Fresh => taken += 1,
                    Inserted::Refused(Refused::JurisdictionFull) => break 'all,
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!(taken * CONTENT_BYTES_MAX <= BYTES_PER_JURISDICTION_MAX);
    assert!(taken * (CONTENT_BYTES_MAX + 2_000) > BYTES_PER_JURISDICTION_MAX, "{taken}");
    let honest = signer(1);
    assert_eq!(set.insert(&honest.offers(WALL.0, "here too"), WALL), Inserted::Fresh);
    set.expire(WALL + Duration::from_hours(2));
    let late = signer_in(1, 2, "MX");
    let later = WALL + Duration::from_hours(2);
    let again = body(Kind::BINDING, Scope::Mesh, Subject::of(b"late"), later.0);
    let again = late.says(&RecordBody { expires: later + Duration::from_mins(1), ..again });
    assert_eq!(set.insert(&again, later), Inserted::Fresh, "what expired gives its share back");
}

#[test]
fn what_expired_is_never_resurrected_by_an_older_word_that_lives_longer() {
    let (mut set, signer) = (set(), signer(1));
    let offer = |version: u64, minutes: u64| {
        let body = body(Kind::OFFER, Scope::Jurisdiction(law("FR")), Subject(signer.node().0), version);
        signer.says(&RecordBody { expires: WALL + Duration::from_mins(minutes), ..body })
    };
    let (old, new) = (offer(WALL.0, 30), offer(WALL.0 + 1, 1));
    set.insert(&old, WALL);
    set.insert(&new, WALL);
    let later = WALL + Duration::from_mins(2);
    assert_eq!(set.expire(later), std::slice::from_ref(&new));
    assert_eq!(set.insert(&old, later), Inserted::Stale);
    assert_eq!(set.insert(&new, later), Inserted::Stale);
    let header = Header::of(Tier::Home, &old);
    assert_eq!(set.standing(&header), Standing::Ahead, "nor is it fetched");
    assert!(set.expire(WALL + Duration::from_mins(31)).is_empty());
    assert_eq!(set.next_expiry(), None, "and what was kept to know it is gone too");
    assert_eq!(set.insert(&old, WALL + Duration::from_mins(31)), Inserted::Refused(Refused::Expired));
}

#[test]
fn equal_sets_have_equal_digests_and_one_record_shows_in_one_bucket() {
    let (mut a, mut b) = (set(), set());
    let settled = Settled::at(WALL + Duration::from_secs(10));
    let records: Vec<Shared> = (1..40).map(|n| signer(n).offers(WALL.0, "offer")).collect();
    for record in &records {
        assert_eq!(a.insert(record, WALL), Inserted::Fresh);
    }
    for record in records.iter().rev() {
        assert_eq!(b.insert(record, WALL), Inserted::Fresh);
    }
    assert_eq!(a.digest(Tier::Home, settled), b.digest(Tier::Home, settled));
    a.insert(&signer(7).offers(WALL.0 + 1, "changed"), WALL);
    let differ: Vec<u8> = (0..BUCKETS)
        .filter(|n| a.digest(Tier::Home, settled)[usize::from(*n)] != b.digest(Tier::Home, settled)[usize::from(*n)])
        .collect();
    assert_eq!(differ.len(), 1);
    let lacking = a.of_buckets(Tier::Home, &differ, settled).map(|known| Header::of(Tier::Home, known));
    assert_eq!(lacking.filter(|header| b.standing(header) == Standing::Lacking).count(), 1);
}

#[test]
fn digests_leave_out_what_is_under_way_and_what_is_dying() {
    let mut set = set();
    set.insert(&signer(1).offers(WALL.0, "offer"), WALL);
    let empty = vec![0; usize::from(BUCKETS)];
    assert_eq!(set.digest(Tier::Home, Settled::at(WALL + Duration::from_secs(2))), empty);
    assert_ne!(set.digest(Tier::Home, Settled::at(WALL + Duration::from_secs(3))), empty);
    assert_eq!(set.digest(Tier::Home, Settled::at(WALL + Duration::from_secs(111))), empty);
    assert_ne!(set.digest(Tier::Home, Settled::with_young(WALL)), empty);
}

#[test]
fn a_certificate_stays_as_long_as_a_record_or_a_link_needs_it() {
    let (mut set, signer) = (set(), signer(1));
    set.insert(&signer.offers(WALL.0, "offer"), WALL);
    set.pin(&signer.certificate, WALL).unwrap();
    set.expire(WALL + Duration::from_mins(3));
    assert!(set.certificate(&signer.node()).is_some());
    set.unpin(signer.node());
    assert!(set.certificate(&signer.node()).is_none());
}

/// Signed, sent and stored bytes never change under a reader: this file is read by every later version.
#[test]
fn the_bytes_of_a_record_are_those_of_the_golden_file() {
    let golden = include_str!("golden_record.hex").trim();
    let record = signer(1).binds("guestbook.example.org", WALL.0);
    assert_eq!(data_encoding::HEXLOWER.encode(&codec::encode(&record.record)), golden);
    let bytes = data_encoding::HEXLOWER.decode(golden.as_bytes()).unwrap();
    let read: Record = codec::decode("record", &bytes).unwrap();
    assert!(read.signed.verify().is_ok());
    assert_eq!(Known::read(read).unwrap(), *record);
}

/// Who is not admitted may ask to be, and there is room for so many who ask. Also for those who were members once, and again
/// for one more when somebody who asked is admitted.
#[test]
fn only_so_many_strangers_wait_to_be_admitted() {
    let strangers: Vec<Signer> = (0..=255).flat_map(|of| [0, 1].map(|half| signer_in_pair(half, of))).collect();
    let stranger = |number: usize| &strangers[number];
    let asks = |of: &Signer| of.says(&body(Kind::OPERATOR, Scope::Mesh, Subject(of.node().0), WALL.0));
    let operator = |of: &Signer| of.certificate.open().unwrap().operator_id();
    let mut set = set();
    set.demand_of_outsiders(|_, _| Ok(()));
    let (once, member) = (stranger(0), stranger(1));
    assert_eq!(set.insert(&asks(once), WALL), Inserted::Fresh, "while everybody counts");
    set.count_only(Admitted::these([operator(member)].into(), BTreeSet::new()));
    for number in 2..=OUTSIDERS_MAX {
        assert_eq!(set.insert(&asks(stranger(number)), WALL), Inserted::Fresh, "{number}");
    }
    let late = stranger(OUTSIDERS_MAX + 1);
    assert_eq!(set.insert(&asks(late), WALL), Inserted::Refused(Refused::OutsidersFull));
    assert_eq!(set.insert(&asks(member), WALL), Inserted::Fresh, "a member does not wait");
    let now = [operator(member), operator(stranger(7))].into();
    set.count_only(Admitted::these(now, BTreeSet::new()));
    assert_eq!(set.insert(&asks(late), WALL), Inserted::Fresh, "one who waited was admitted");
}
