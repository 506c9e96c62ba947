//! A peer's bytes never panic.
use bocage_protocol::{
    frame::Frame,
    id::NodeId,
    membership::{Contact, Input, Message, Parcel, Sums},
    record::{Header, Kind, Order, Scope, Settled, Subject, Tier},
    resources::Jurisdiction,
    time::Timestamp,
    wire::{WIRE_NEWEST, WIRE_OLDEST, WireRange},
};
use proptest::prelude::*;

use crate::world::{World, certificate, demo, law, secs};

fn header() -> impl Strategy<Value = Header> {
    let tier = prop_oneof![Just(Tier::Mesh), Just(Tier::Home), Just(Tier::Asked)];
    (tier, any::<u16>(), any::<u64>(), any::<(u64, u64, u64)>(), any::<u64>()).prop_map(
        |(tier, kind, subject, (line, generation, version), hash)| Header {
            tier,
            kind: Kind(kind % 9),
            subject,
            order: Order { line, generation, version },
            hash,
        },
    )
}

fn contact() -> impl Strategy<Value = Contact> {
    (any::<[u8; 32]>(), proptest::collection::vec(".{0,40}", 0..12), any::<u64>()).prop_map(
        |(node, addresses, seen)| Contact {
            node: NodeId(node),
            addresses,
            jurisdiction: law("DE"),
            seen: Timestamp(seen),
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let headers = || proptest::collection::vec(header(), 0..20);
    let contacts = || proptest::collection::vec(contact(), 0..20);
    let tier = || prop_oneof![Just(Tier::Mesh), Just(Tier::Home), Just(Tier::Asked)];
    let sums =
        (tier(), proptest::collection::vec(any::<u64>(), 0..70)).prop_map(|(tier, buckets)| Sums { tier, buckets });
    prop_oneof![
        headers().prop_map(Message::Announce),
        headers().prop_map(Message::Fetch),
        tier().prop_map(Message::Graft),
        (tier(), any::<[u8; 32]>(), any::<u64>(), any::<u32>()).prop_map(|(tier, root, number, hops)| Message::Beat {
            tier,
            root: NodeId(root),
            number,
            hops
        }),
        tier().prop_map(Message::Prune),
        (any::<u64>(), proptest::collection::vec(sums, 0..4))
            .prop_map(|(at, sums)| Message::Digest { settled: Settled::at(Timestamp(at)), sums }),
        (any::<u64>(), tier(), proptest::collection::vec(any::<u8>(), 0..80), headers()).prop_map(
            |(at, tier, buckets, headers)| Message::Have {
                settled: Settled::at(Timestamp(at)),
                tier,
                buckets,
                headers
            }
        ),
        (any::<bool>(), contact(), contacts()).prop_map(|(urgent, me, contacts)| Message::Neighbour {
            urgent,
            me,
            contacts
        }),
        (any::<bool>(), contact(), contacts()).prop_map(|(accepted, me, contacts)| Message::Welcome {
            accepted,
            me,
            contacts
        }),
        (any::<bool>(), contacts()).prop_map(|(answer, contacts)| Message::Shuffle { answer, contacts }),
        any::<[u8; 32]>().prop_map(|node| Message::Probe(NodeId(node))),
        any::<[u8; 32]>().prop_map(|node| Message::Probed(NodeId(node))),
        any::<u64>().prop_map(Message::Ping),
        Just(Message::Part),
        proptest::collection::vec(any::<[u8; 32]>().prop_map(Subject), 0..9).prop_map(Message::Subscribe),
        (contacts(), contacts()).prop_map(|(inner, outer)| Message::Observers { inner, outer }),
    ]
}

/// A peer that is a member and misbehaves.
fn victim() -> (World, NodeId, NodeId) {
    let (mut world, nodes) = demo(41);
    world.run(secs(2));
    let peer = bad_peer(&mut world, nodes[0], law("FR"));
    (world, nodes[0], peer)
}

fn bad_peer(world: &mut World, at: NodeId, jurisdiction: Jurisdiction) -> NodeId {
    let signed = certificate(99, 99, jurisdiction);
    let peer = signed.open().unwrap().node;
    world.laws.insert(peer, jurisdiction);
    world.input(at, Input::PeerUp { peer, certificate: Box::new(signed) });
    peer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_message_of_a_member_stops_a_node(messages in proptest::collection::vec(message(), 1..12)) {
        let (mut world, at, from) = victim();
        for message in messages {
            let frame = Frame::Gossip(message.clone());
            for version in [WIRE_OLDEST, WIRE_NEWEST] {
                prop_assert_eq!(&Frame::decode(&frame.encode(version), WireRange::default()).unwrap(), &frame);
            }
            world.input(at, Input::Received { from, message });
        }
        world.run(secs(5));
        prop_assert_eq!(world.hosts[&at].member.neighbours().filter(|node| *node != from).count(), 4);
    }

    #[test]
    fn no_bytes_stop_a_node(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Frame::decode(&bytes, WireRange::default());
        for version in [WIRE_OLDEST, WIRE_NEWEST] {
            let framed = [&[0x82, u8::try_from(version).unwrap(), 0x82, 0x01, 0x81][..], &bytes].concat();
            let _ = Frame::decode(&framed, WireRange::default());
        }
    }

    #[test]
    fn a_flipped_byte_in_a_message_is_refused_or_read_and_checked(at in 0_usize..2_000, bit in 0_u8..8) {
        let (mut world, nodes) = demo(42);
        world.run(secs(1));
        let record = world.record(nodes[0], Kind::PRESENCE, Subject(nodes[0].0)).unwrap();
        let mut bytes = Frame::Gossip(Message::Records(vec![Parcel(record)])).encode(WIRE_NEWEST).to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(frame) = Frame::decode(&bytes, WireRange::default()) && let Ok(checked) = frame.check(|_| false)
            && let Frame::Gossip(message) = checked.into_inner() {
            let from = bad_peer(&mut world, nodes[1], law("FR"));
            world.input(nodes[1], Input::Received { from, message });
            world.run(secs(1));
        }
    }
}

#[test]
fn a_record_of_another_jurisdiction_is_refused_and_not_passed_on() {
    let (mut world, nodes) = demo(43);
    world.run(secs(2));
    world.offer(nodes[2], "of DE");
    let record = world.record(nodes[2], Kind::OFFER, Subject(nodes[2].0)).unwrap();
    assert_eq!(record.body.scope, Scope::Jurisdiction(law("DE")));
    world.input(nodes[0], Input::Received { from: nodes[2], message: Message::Records(vec![Parcel(record)]) });
    world.run(secs(1));
    assert!(world.record(nodes[0], Kind::OFFER, Subject(nodes[2].0)).is_none());
    assert!(world.record(nodes[1], Kind::OFFER, Subject(nodes[2].0)).is_none());
}
