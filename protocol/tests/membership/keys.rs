//! Words about keys in a small world: they reach those who were away, liars are found out, certificates end in time.
use std::{collections::BTreeMap, time::Duration};

use bocage_protocol::{
    codec,
    id::{NodeId, RequestId},
    identity::{FOR_EVER, Genesis, Lineage, NodeIdentity, Party, Ruled, Ruling, Signed},
    membership::{Input, Message, Parcel},
    record::{KeyWord, Kind, Known, Order, Record, RecordBody, Scope, Shared, Subject},
    time::Timestamp,
};

use crate::world::{World, certificate, identity, law, mesh, node_keys, operator_keys, secs, settled};

/// The lineage of an operator of this world.
fn lineage(operator: usize) -> Lineage {
    Lineage::first(genesis(operator))
}

fn genesis(operator: usize) -> Genesis {
    certificate(0, operator, law("FR")).open().unwrap().operator
}

fn revocation(world: &World, operator: usize, node: NodeId) -> KeyWord {
    let lineage = lineage(operator);
    let operator_id = lineage.genesis.operator();
    let made = world.clock().wall;
    let ruling = Ruling { operator: operator_id, node, below: FOR_EVER, resolved: 0, made };
    KeyWord::Ruling(Ruled { lineage, signed: Signed::seal(&operator_keys(operator), &ruling) })
}

fn tell(world: &mut World, node: NodeId, word: &KeyWord) {
    world.input(node, Input::Word { request: RequestId(1), word: Box::new(word.clone()) });
}

fn knows(world: &World, node: NodeId, word: &KeyWord) -> bool {
    world.hosts[&node].member.records().keyring().words().any(|known| known == *word)
}

#[test]
fn a_revocation_reaches_every_node_and_what_the_revoked_one_said_is_gone() {
    let mut world = settled(41, 24, &["FR", "DE"], 8);
    let (teller, revoked) = (node_keys(0).node(), node_keys(8).node());
    assert_eq!(world.laws[&teller], world.laws[&revoked]);
    assert!(world.record(teller, Kind::PRESENCE, Subject(revoked.0)).is_some());
    let word = revocation(&world, 0, revoked);
    tell(&mut world, teller, &word);
    assert_eq!(world.hosts[&teller].weighed, [Ok(())]);
    world.run(secs(2));
    for node in world.alive() {
        assert!(knows(&world, node, &word), "{node:?}");
        let presence = world.record(node, Kind::PRESENCE, Subject(revoked.0));
        assert!(presence.is_none(), "{node:?} still holds what it said");
    }
}

#[test]
fn nobody_revokes_another_operators_node() {
    let mut world = settled(42, 8, &["FR"], 4);
    let victim = node_keys(1).node();
    let word = revocation(&world, 2, victim);
    tell(&mut world, node_keys(0).node(), &word);
    world.run(secs(2));
    for node in world.alive().into_iter().filter(|node| *node != victim) {
        assert!(world.record(node, Kind::PRESENCE, Subject(victim.0)).is_some(), "{node:?}");
    }
}

#[test]
fn a_word_outlives_its_records_its_tellers_and_a_year_in_which_nobody_ran() {
    let mut world = settled(43, 6, &["FR"], 6);
    let away = world.kill(node_keys(5).node(), secs(1));
    let stolen = node_keys(99).node();
    let word = revocation(&world, 3, stolen);
    tell(&mut world, node_keys(0).node(), &word);
    world.run(secs(5));
    // The one who was told is gone for ever; the others stop, and a year goes by.
    world.kill(node_keys(0).node(), secs(1));
    let kept: Vec<_> = (1..5).map(|number| (number, world.kill(node_keys(number).node(), secs(1)).keyed)).collect();
    world.run(secs(300 * 24 * 3_600));
    world.bootstrap = vec![node_keys(1).node()];
    for (number, keyed) in kept {
        world.start_with(identity(number, number, law("FR")), keyed, number);
    }
    world.start_with(away.identity, away.keyed, 5);
    let newcomer = world.start(50, 2, law("FR"));
    world.run(secs(120));
    for node in [node_keys(5).node(), newcomer] {
        assert!(knows(&world, node, &word), "{node:?}");
    }
}

#[test]
fn a_node_that_tells_one_thing_here_and_another_there_is_found_out_by_all() {
    let mut world = settled(44, 16, &["FR"], 8);
    let liar = node_keys(3).node();
    let version = world.clock().wall.0;
    let offer = |content: &str| {
        let body = RecordBody {
            kind: Kind::OFFER,
            scope: Scope::Jurisdiction(law("FR")),
            subject: Subject(liar.0),
            order: Order { line: 0, generation: 0, version },
            expires: Timestamp(version) + Duration::from_mins(5),
            content: content.into(),
        };
        let record = Record { signed: Signed::seal(&node_keys(3), &body), certificate: None };
        Parcel(Shared::new(Known::read(record).unwrap()))
    };
    let peers: Vec<NodeId> = world.hosts[&liar].member.neighbours().collect();
    assert!(peers.len() >= 2);
    for (number, peer) in peers.iter().enumerate() {
        let story = if number % 2 == 0 { "a hundred cores" } else { "one core" };
        world.input(*peer, Input::Received { from: liar, message: Message::Records(vec![offer(story)]) });
    }
    world.run(secs(3));
    let operator = genesis(3).operator();
    for node in world.alive().into_iter().filter(|node| *node != liar) {
        let proof = world.hosts[&node].member.records().keyring().barred(operator, liar).cloned();
        let proof = proof.unwrap_or_else(|| panic!("{node:?} knows nothing"));
        assert!(proof.one.verify().is_ok() && proof.other.verify().is_ok(), "the proof stands by itself");
    }
    // Its operator answers for it.
    let ruling = Ruling { operator, node: liar, below: 0, resolved: version, made: world.clock().wall };
    let ruled = Ruled { lineage: lineage(3), signed: Signed::seal(&operator_keys(3), &ruling) };
    tell(&mut world, node_keys(0).node(), &KeyWord::Ruling(ruled));
    world.run(secs(2));
    for host in world.hosts.values() {
        assert_eq!(host.member.records().keyring().barred(operator, liar), None);
    }
}

#[test]
fn an_operator_changes_its_key_and_its_nodes_stay_once_they_are_certified_anew() {
    let mut world = settled(45, 12, &["FR"], 4);
    let (new, made) = (node_keys(777), world.clock().wall);
    let later = lineage(1).succeed(&operator_keys(1), &new, made).unwrap();
    let theirs: Vec<usize> = (0..12).filter(|number| number % 4 == 1).collect();
    let (certified, left_out) = (&theirs[1..], node_keys(theirs[0]).node());
    for number in certified {
        let old = certificate(*number, 1, law("FR")).open().unwrap();
        let successions = Some(later.successions.clone());
        let renewed = bocage_protocol::identity::NodeCertificate { successions, serial: old.serial + 1, ..old };
        let certificate = Box::new(Signed::seal(&new, &renewed));
        world.input(node_keys(*number).node(), Input::Certificate { request: RequestId(2), certificate });
    }
    world.run(secs(3));
    // Nobody told the lineage: the certificates did.
    for node in world.alive().into_iter().filter(|node| *node != left_out) {
        let keyring = world.hosts[&node].member.records().keyring().clone();
        assert_eq!(keyring.serial(genesis(1).party_id()), 1, "{node:?}");
        assert!(world.record(node, Kind::PRESENCE, Subject(left_out.0)).is_none(), "its certificate is by a dead key");
        for number in certified {
            assert!(world.record(node, Kind::PRESENCE, Subject(node_keys(*number).node().0)).is_some(), "{node:?}");
        }
    }
}

#[test]
fn a_certificate_says_at_two_thirds_of_its_life_that_it_ends_and_a_new_one_is_shown_to_all() {
    let mut world = World::new(46);
    let life = secs(900);
    let begins = world.clock().wall;
    let of = |number: usize, begins: Timestamp, serial: u64| {
        let year = certificate(number, number, law("FR")).open().unwrap();
        let short =
            bocage_protocol::identity::NodeCertificate { not_before: begins, expires: begins + life, serial, ..year };
        Signed::seal(&operator_keys(number), &short)
    };
    let short = NodeIdentity::new(node_keys(0), of(0, begins, 1), mesh(), begins).unwrap();
    let node = world.start_with(short, BTreeMap::new(), 0);
    world.bootstrap = vec![node];
    let peer = world.start(1, 1, law("FR"));
    world.run(secs(590));
    assert!(world.hosts[&node].recertify.is_empty(), "not yet");
    world.run(secs(30));
    let said = world.hosts[&node].recertify.clone();
    assert!(!said.is_empty() && said.iter().all(|(_, expires)| *expires == begins + life), "{said:?}");
    // An older one, another node's, and one by a stranger change nothing.
    let later = world.clock().wall;
    let stranger = Signed::seal(&operator_keys(1), &of(0, later, 2).open().unwrap());
    for wrong in [of(0, begins, 0), of(1, later, 2), stranger] {
        world.input(node, Input::Certificate { request: RequestId(3), certificate: Box::new(wrong) });
    }
    assert!(world.hosts[&node].weighed.iter().all(Result::is_err), "{:?}", world.hosts[&node].weighed);
    world.input(node, Input::Certificate { request: RequestId(4), certificate: Box::new(of(0, later, 2)) });
    assert_eq!(world.hosts[&node].weighed.last(), Some(&Ok(())));
    world.run(secs(600));
    // Long past the first one's end.
    assert!(world.record(peer, Kind::PRESENCE, Subject(node.0)).is_some());
    let shown = world.hosts[&peer].member.records().certificate(&node).unwrap();
    assert_eq!(shown.certificate.serial, 2);
}

#[test]
fn two_processes_with_one_key_are_named_by_both_and_do_not_shout_each_other_down() {
    let copied = bocage_protocol::id::DiskId::of(&2_usize.to_le_bytes());
    for disk in [bocage_protocol::id::DiskId::of(b"another disk"), copied] {
        doubled(disk);
    }
}

/// Another process runs with the key of node 2, on such a disk: its own, or a copy of that node's.
fn doubled(disk: bocage_protocol::id::DiskId) {
    let mut world = settled(47, 6, &["FR"], 6);
    let node = node_keys(2).node();
    world.run(secs(60));
    let count = |world: &World| {
        let doubled = |notice: &&bocage_protocol::notice::Notice| {
            matches!(notice, bocage_protocol::notice::Notice::Doubled { .. })
        };
        world.hosts[&node].notices.iter().filter(doubled).count()
    };
    assert_eq!(count(&world), 0);
    // What the other one says comes by a neighbour.
    let neighbour = world.hosts[&node].member.neighbours().next().unwrap();
    for number in 0..40_u64 {
        let version = world.clock().wall.0;
        let presence = bocage_protocol::membership::Presence {
            incarnation: 100 + number,
            addresses: vec!["/node/elsewhere".into()],
            disk,
            boots: 1,
            relays: None,
            draining: None,
        };
        let body = RecordBody {
            kind: Kind::PRESENCE,
            scope: Scope::Jurisdiction(law("FR")),
            subject: Subject(node.0),
            order: Order { line: 0, generation: 100 + number, version },
            expires: Timestamp(version) + Duration::from_mins(2),
            content: codec::encode(&presence),
        };
        let signed = Signed::seal(&node_keys(2), &body);
        let record = Record { signed, certificate: Some(certificate(2, 2, law("FR"))) };
        let parcel = Parcel(Shared::new(Known::read(record).unwrap()));
        world.input(node, Input::Received { from: neighbour, message: Message::Records(vec![parcel]) });
        world.run(secs(1));
    }
    let named = count(&world);
    assert!((3..=5).contains(&named), "about every ten seconds of forty: {named}");
    assert_eq!(world.hosts[&node].member.double(), Some(&["/node/elsewhere".to_owned()][..]));
    let incarnations = world.hosts[&node].member.incarnation();
    assert!(incarnations < 145, "it contradicts now and then only: {incarnations}");
}

#[test]
fn a_party_of_another_kind_rules_no_node() {
    let mut world = settled(48, 4, &["FR"], 4);
    let tenant = Genesis::new(Party::Tenant, "t", operator_keys(1).public(), Timestamp(1));
    let lineage = Lineage::first(tenant);
    let ruling = Ruling {
        operator: lineage.genesis.operator(),
        node: node_keys(1).node(),
        below: FOR_EVER,
        resolved: 0,
        made: world.clock().wall,
    };
    let word = KeyWord::Ruling(Ruled { lineage, signed: Signed::seal(&operator_keys(1), &ruling) });
    tell(&mut world, node_keys(0).node(), &word);
    assert!(world.hosts[&node_keys(0).node()].weighed[0].is_err());
}
