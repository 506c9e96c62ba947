//! Stories of the inventory.
use super::*;
use crate::{
    capacity::fixture::{EXPIRES, TestNode, WALL, inventory, law, mesh},
    resources::Resources,
};

fn ada() -> TestNode {
    TestNode::new("ada", "ada-1", "attic", "FR")
}

fn ask(count: u32) -> Ask {
    Ask { jurisdiction: law("FR"), need: Resources { cpu_millis: 100, memory_bytes: 0, disk_bytes: 0 }, count }
}

#[test]
fn a_node_can_be_asked_once_its_presence_and_its_offer_are_known_in_either_order() {
    let ada = ada();
    for records in [[ada.presence(), ada.offered(1)], [ada.offered(1), ada.presence()]] {
        let mut inventory = Inventory::new(mesh(), std::sync::Arc::default());
        inventory.learn(&records[0], WALL).unwrap();
        assert_eq!(inventory.candidates().count(), 0);
        inventory.learn(&records[1], WALL).unwrap();
        let capacity = inventory.capacity(ada.id()).unwrap();
        assert_eq!((capacity.health, capacity.expires), (Health::Up, EXPIRES));
        assert_eq!(capacity.addresses, [ada.address()]);
        assert_eq!(*capacity.candidate, ada.candidate());
    }
}

#[test]
fn an_expired_offer_goes_but_the_expiry_of_an_older_one_changes_nothing() {
    let ada = ada();
    let mut inventory = inventory(std::slice::from_ref(&ada));
    inventory.learn(&ada.offered(2), WALL).unwrap();
    inventory.expire(&ada.offered(1));
    assert!(inventory.capacity(ada.id()).is_some());
    inventory.expire(&ada.offered(2));
    assert!(inventory.capacity(ada.id()).is_none());
}

#[test]
fn capacity_is_not_health() {
    let ada = ada();
    let mut inventory = inventory(std::slice::from_ref(&ada));
    inventory.judge(ada.id(), true);
    assert_eq!(inventory.capacity(ada.id()).unwrap().health, Health::Down);
    assert_eq!(inventory.present().count(), 0);
    assert!(inventory.answer(&ask(4)).candidates.is_empty());
    inventory.judge(ada.id(), false);
    assert_eq!(inventory.answer(&ask(4)).candidates.len(), 1);
}

#[test]
fn nobody_can_offer_in_anothers_name() {
    let (ada, mut bob) = (ada(), TestNode::new("bob", "bob-1", "barn", "FR"));
    let mut inventory = inventory(std::slice::from_ref(&ada));
    bob.offer.node = ada.id();
    assert_eq!(inventory.learn(&bob.offered(9), WALL), Err(Unusable::Foreign("an offer")));
    assert_eq!(*inventory.capacity(ada.id()).unwrap().candidate, ada.candidate());
}

#[test]
fn an_offer_spread_in_another_jurisdiction_than_its_nodes_is_no_capacity() {
    let ada = ada();
    let mut inventory = inventory(&[]);
    inventory.learn(&ada.presence(), WALL).unwrap();
    let content = codec::encode(&ada.offer);
    let stray = ada.record(Kind::OFFER, Scope::Jurisdiction(law("DE")), Subject(ada.id().0), content, 1);
    inventory.learn(&stray, WALL).unwrap();
    assert!(inventory.capacity(ada.id()).is_none());
}

#[test]
fn an_unreadable_record_or_one_of_another_mesh_is_refused_and_changes_nothing() {
    let ada = ada();
    let mut inventory = Inventory::new(MeshId::of(b"another mesh"), std::sync::Arc::default());
    assert!(matches!(inventory.learn(&ada.presence(), WALL), Err(Unusable::Certificate(_))));
    let junk = ada.record(Kind::OFFER, Scope::Mesh, Subject(ada.id().0), b"junk".as_slice().into(), 1);
    assert_eq!(inventory.learn(&junk, WALL), Err(Unusable::Malformed("an offer")));
    let late = Timestamp(ada.identity.certificate().expires.0 + 1);
    assert!(super::Inventory::new(mesh(), std::sync::Arc::default()).learn(&ada.presence(), late).is_err());
}

#[test]
fn a_gate_names_the_cheapest_and_one_of_each_operator_first() {
    let nodes = [
        TestNode::new("ada", "ada-1", "attic", "FR").asking(10),
        TestNode::new("ada", "ada-2", "attic", "FR").asking(20),
        TestNode::new("bob", "bob-1", "barn", "FR").asking(500),
        TestNode::new("eve", "eve-1", "eaves", "DE").asking(1),
    ];
    let answer = inventory(&nodes).answer(&ask(3)).candidates;
    let named: Vec<_> = answer.iter().map(|(candidate, _)| candidate.clone()).collect();
    assert_eq!(named, [nodes[0].candidate(), nodes[2].candidate(), nodes[1].candidate()]);
    assert_eq!(inventory(&nodes).answer(&ask(1)).candidates.len(), 1);
    let too_much = Ask { need: Resources { cpu_millis: 9_000, ..Resources::default() }, ..ask(3) };
    assert!(inventory(&nodes).answer(&too_much).candidates.is_empty());
}

#[test]
fn what_a_gate_names_can_be_asked_until_its_offer_expires() {
    let ada = ada();
    let mut here = inventory(&[]);
    here.gather(ada.candidate(), &[ada.address()], WALL).unwrap();
    assert_eq!(here.capacity(ada.id()).unwrap().health, Health::Unknown);
    here.sweep(Timestamp(EXPIRES.0 - 1));
    assert_eq!(here.candidates().count(), 1);
    here.sweep(EXPIRES);
    assert_eq!(here.candidates().count(), 0);
    assert!(here.gather(ada.candidate(), &[], EXPIRES).is_err());
}

#[test]
fn a_gate_cannot_pass_off_a_strangers_offer() {
    let (ada, bob) = (ada(), TestNode::new("bob", "bob-1", "barn", "FR"));
    let mixed = Candidate { certificate: ada.candidate().certificate, offer: bob.candidate().offer };
    assert_eq!(inventory(&[]).gather(mixed, &[], WALL), Err(Unusable::Foreign("a gathered offer")));
}

#[test]
fn what_is_gathered_is_bounded_and_the_first_to_expire_makes_room() {
    let mut here = inventory(&[]);
    for n in 0..GATHERED_MAX + 5 {
        let node = TestNode::new("ada", &format!("n{n}"), "attic", "FR");
        here.gather(node.candidate(), &[], WALL).unwrap();
    }
    assert_eq!(here.candidates().count(), GATHERED_MAX);
    assert!(here.capacity(TestNode::new("ada", &format!("n{}", GATHERED_MAX + 4), "attic", "FR").id()).is_some());
}

#[test]
fn a_measured_round_trip_is_shown_whenever_it_came() {
    let ada = ada();
    let mut early = inventory(&[]);
    early.measure(ada.id(), Duration::from_millis(7));
    early.learn(&ada.presence(), WALL).unwrap();
    early.learn(&ada.offered(1), WALL).unwrap();
    assert_eq!(early.capacity(ada.id()).unwrap().round_trip, Some(Duration::from_millis(7)));
    early.measure(ada.id(), Duration::from_millis(9));
    assert_eq!(early.capacity(ada.id()).unwrap().round_trip, Some(Duration::from_millis(9)));
}

#[test]
fn from_four_operators_on_nobody_gets_more_than_the_charters_share() {
    let node = |operator: &str, cpu_millis: u64| {
        let mut node = TestNode::new(operator, &format!("{operator}-1"), operator, "FR");
        node.offer.total.cpu_millis = 100_000;
        node.offer.used.cpu_millis = cpu_millis;
        node
    };
    let mesh = [node("ada", 159_900 / 2), node("bob", 0), node("cem", 0), node("dot", 0)];
    let named = |nodes: &[TestNode], permille: Option<u32>, need: u64| {
        let mut here = inventory(nodes);
        here.count_only(Admitted::everybody(), permille);
        let need = Resources { cpu_millis: need, memory_bytes: 0, disk_bytes: 0 };
        let ask = Ask { jurisdiction: law("FR"), need, count: 8 };
        let named = here.answer(&ask);
        let is_named = named.candidates.iter().any(|(candidate, _)| *candidate == mesh[0].candidate());
        assert_eq!(named.withheld, if is_named { vec![] } else { vec![mesh[0].id()] }, "and whoever asks is told why");
        is_named
    };
    assert!(named(&mesh, None, 100), "no charter, no cap");
    assert!(named(&mesh, Some(200), 50), "just as much as a fifth of 400 cores");
    assert!(!named(&mesh, Some(200), 51), "one thousandth of a core more");
    assert!(named(&mesh[..3], Some(200), 51), "three operators must be able to live");
}

#[test]
fn nodes_of_operators_that_are_not_admitted_are_not_gathered() {
    let ada = ada();
    let mut here = inventory(&[]);
    here.gather(ada.candidate(), &[ada.address()], WALL).unwrap();
    here.count_only(Admitted::these(BTreeSet::new(), BTreeSet::new()), None);
    assert!(here.capacity(ada.id()).is_none(), "who was gathered before is forgotten");
    assert_eq!(here.gather(ada.candidate(), &[ada.address()], WALL), Err(Unusable::Outsider));
}

#[test]
fn who_contradicted_himself_or_was_revoked_is_no_candidate_until_that_is_explained() {
    use crate::{
        identity::{FOR_EVER, Keypair, Lineage, Ruled, Ruling},
        record::{Contradiction, KeyWord, Keyring},
    };
    let (ada, bob) = (ada(), TestNode::new("bob", "bob-1", "barn", "FR"));
    let mut inventory = inventory(&[ada.clone(), bob.clone()]);
    let (mut other, mut keyring) = (ada.clone(), Keyring::default());
    other.offer.used.cpu_millis += 1;
    let two = (ada.offered(7), other.offered(7));
    keyring.learn(&KeyWord::Contradiction(Contradiction::of(&two.0.record.signed, &two.1.record.signed)));
    inventory.heed(Arc::new(keyring.clone()));
    assert!(inventory.capacity(ada.id()).is_none());
    assert!(inventory.capacity(bob.id()).is_some());
    assert_eq!(inventory.gather(ada.candidate(), &[ada.address()], WALL), Err(Unusable::Contradicted));
    let operator = ada.identity.certificate().operator.clone();
    let rules = |below, resolved, seconds| {
        let made = WALL + Duration::from_secs(seconds);
        let ruling = Ruling { operator: operator.operator(), node: ada.id(), below, resolved, made };
        let by = Keypair::from_secret(blake3::hash(b"ada").as_bytes());
        KeyWord::Ruling(Ruled { lineage: Lineage::first(operator.clone()), signed: Signed::seal(&by, &ruling) })
    };
    keyring.learn(&rules(0, 7, 1));
    inventory.heed(Arc::new(keyring.clone()));
    assert!(inventory.capacity(ada.id()).is_some(), "its operator has answered for it");
    keyring.learn(&rules(FOR_EVER, 7, 2));
    inventory.heed(Arc::new(keyring));
    assert!(inventory.capacity(ada.id()).is_none());
    assert!(matches!(inventory.gather(ada.candidate(), &[ada.address()], WALL), Err(Unusable::Void(_))));
}
