//! What a liar makes of a node's neighbours and of its temper.
use std::collections::BTreeSet;

use bocage_protocol::{
    id::NodeId,
    membership::{Contact, Input, Message},
};

use crate::{
    failure::lie,
    world::{World, law, node_keys, secs, settled},
};

fn contact(world: &World, node: NodeId) -> Contact {
    Contact { node, addresses: vec!["/ring".into()], jurisdiction: law("FR"), seen: world.clock().wall }
}

/// A node chooses two neighbours among equally many honest and lying ones: at least one is honest in three of four seeds. All
/// others are the ring's within seconds. What a ring of all neighbours hides comes by those who watch the node: that is
/// the simulator's `eclipse.toml`.
#[test]
fn whoever_urges_itself_upon_a_node_displaces_nobody_whom_the_node_chose() {
    let mut kept = 0;
    for seed in 31..41 {
        let mut world = settled(seed, 24, &["FR"], 12);
        // Every second node is of the ring, and so is every second operator.
        let ring: BTreeSet<NodeId> = (0..24).filter(|n| n % 2 == 1).map(|n| node_keys(n).node()).collect();
        let victim = node_keys(12).node();
        let honest = |world: &World| world.hosts[&victim].member.neighbours().filter(|it| !ring.contains(it)).count();
        for node in &ring {
            world.dial(*node, victim);
        }
        for _second in 0..60 {
            let contacts: Vec<Contact> = ring.iter().take(16).map(|node| contact(&world, *node)).collect();
            for node in &ring {
                let (me, contacts) = (contact(&world, *node), contacts.clone());
                let message = Message::Neighbour { urgent: true, me, contacts };
                world.input(victim, Input::Received { from: *node, message });
            }
            world.run(secs(1));
        }
        let neighbours = world.hosts[&victim].member.neighbours().count();
        assert!(neighbours <= 6, "seed {seed}: {neighbours} neighbours");
        kept += usize::from(honest(&world) > 0);
    }
    assert!(kept >= 6, "an honest neighbour is left in {kept} of 10 seeds only");
}

/// How many of 100 copies of what the honest said were fetched, at first and later.
fn fetched(seed: u64) -> (u64, u64) {
    let mut world = settled(seed, 24, &["FR"], 6);
    world.mute = (0..24).filter(|n| n % 6 == 1).map(|n| node_keys(n).node()).collect();
    let honest: Vec<NodeId> = world.alive().into_iter().filter(|node| !world.mute.contains(node)).collect();
    let mut fetched = |offers: usize| {
        let before = world.fetched;
        for n in 0..offers {
            world.offer(honest[n % honest.len()], &format!("{before}/{n}"));
            world.run(secs(1));
        }
        (world.fetched - before) * 100 / (offers as u64 * 23)
    };
    (fetched(20), fetched(20))
}

#[test]
fn who_passes_on_beats_and_no_records_is_soon_nobodys_parent() {
    let seeds: Vec<_> = (38..58).map(fetched).collect();
    let shunned = seeds.iter().filter(|(_, then)| *then <= 5).count();
    assert!(shunned >= 14, "copies of a hundred that were fetched at first and later: {seeds:?}");
}

#[test]
fn an_accuser_who_repeats_himself_is_refuted_once() {
    let mut world = settled(37, 12, &["FR"], 6);
    let (liar, about) = (node_keys(1).node(), node_keys(2).node());
    for _ in 0..10 {
        let incarnation = world.hosts[&about].member.incarnation();
        lie(&mut world, liar, about, incarnation);
        world.run(secs(2));
    }
    assert_eq!(world.hosts[&about].member.incarnation(), 2);
    assert!(world.hosts.values().all(|host| host.verdicts.is_empty()), "and nobody believes it");
    world.run(secs(12));
    assert_eq!(world.hosts[&about].member.incarnation(), 3, "what still stands after a while is refuted once more");
    world.run(secs(60));
    assert_eq!(world.hosts[&about].member.incarnation(), 3, "and no more once nobody says it");
}
