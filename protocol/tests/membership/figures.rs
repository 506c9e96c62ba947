//! The figures that a mesh must reach, measured.
use std::time::Duration;

use bocage_protocol::{id::NodeId, membership::Config, random::Rng, resources::Jurisdiction, time::Instant};

use crate::world::{World, law, ms, secs, settled, settled_with};

struct Said {
    hash: [u8; 32],
    at: Instant,
    /// Those in its scope that had been there for 5 s.
    audience: Vec<NodeId>,
}

/// What a minute of churn came to.
#[derive(Debug)]
#[expect(dead_code, reason = "all of it is printed")]
pub(crate) struct Measured {
    /// Thousandths of (offer, node) pairs known within a second.
    pub(crate) reached_per_mille: u64,
    /// The worst offer's.
    pub(crate) worst_per_mille: u64,
    /// Payload copies received per 1,000 nodes reached.
    pub(crate) redundancy_per_mille: u64,
    pub(crate) slowest_99: Duration,
    pub(crate) median: Duration,
}

fn replace_one(world: &mut World, number: usize, rng: &mut Rng, operators: usize, laws: &[Jurisdiction]) {
    let alive = world.alive();
    let victim = alive[rng.index(alive.len()).unwrap()];
    world.kill(victim, secs(1));
    world.start(number, number % operators, laws[number % laws.len()]);
}

pub(crate) fn measure(
    seed: u64,
    count: usize,
    codes: &[&str],
    lasting: Duration,
    config: Config,
    churned: bool,
) -> Measured {
    let operators = count / 4;
    let laws: Vec<Jurisdiction> = codes.iter().map(|code| law(code)).collect();
    let mut world = settled_with(seed, count, codes, operators, config);
    let mut rng = world.rng.clone();
    let mut said: Vec<Said> = Vec::new();
    let end = world.now + lasting;
    // 5 % of the nodes are replaced per minute.
    let churn = secs(60) / u32::try_from(count / 20).unwrap();
    let mut next_churn = world.now + churn;
    let mut number = 10_000;
    while world.now < end {
        if churned && world.now >= next_churn {
            next_churn = next_churn + churn;
            number += 1;
            replace_one(&mut world, number, &mut rng, operators, &laws);
        }
        let old: Vec<NodeId> =
            world.hosts.iter().filter(|(_, host)| world.now.since(host.since) > secs(5)).map(|(n, _)| *n).collect();
        let by = old[rng.index(old.len()).unwrap()];
        let audience = old.into_iter().filter(|node| world.laws[node] == world.laws[&by]).collect();
        let hash = world.offer(by, &format!("offer {:?}", world.now));
        said.push(Said { hash, at: world.now, audience });
        world.run(ms(200));
    }
    world.run(secs(5));
    evaluate(&world, &said)
}

fn evaluate(world: &World, said: &[Said]) -> Measured {
    let (mut pairs, mut reached, mut worst) = (0, 0, 1_000);
    let mut delays: Vec<Duration> = Vec::new();
    let holders = |hash| world.hosts.values().filter(|host| host.learned.contains_key(hash)).count() as u64;
    let (mut copies, mut held) = (0, 0);
    for offer in said {
        let audience: Vec<_> = offer.audience.iter().filter_map(|node| world.hosts.get(node)).collect();
        let late = secs(3_600);
        let took = audience.iter().map(|host| host.learned.get(&offer.hash).map_or(late, |at| at.since(offer.at)));
        let took: Vec<Duration> = took.collect();
        let in_time = took.iter().filter(|took| **took <= secs(1)).count() as u64;
        pairs += took.len() as u64;
        reached += in_time;
        worst = worst.min(in_time * 1_000 / took.len() as u64);
        delays.extend(took);
        copies += world.copies.get(&offer.hash).copied().unwrap_or(0);
        held += holders(&offer.hash).saturating_sub(1);
    }
    delays.sort_unstable();
    Measured {
        reached_per_mille: reached * 1_000 / pairs,
        worst_per_mille: worst,
        redundancy_per_mille: copies * 1_000 / held,
        median: delays[delays.len() / 2],
        slowest_99: delays[delays.len() * 99 / 100],
    }
}

/// For people: `ACTIVE=6 cargo test --release -p bocage-protocol --test membership survey -- --nocapture --ignored`.
#[test]
#[ignore = "a measurement over many seeds, for people"]
fn survey() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let defaults = Config::default();
    let config = Config {
        active_max: number("ACTIVE").map_or(defaults.active_max, |it| usize::try_from(it).unwrap()),
        announce_after: number("ANNOUNCE_MS").map_or(defaults.announce_after, ms),
        graft_after: number("GRAFT_MS").map_or(defaults.graft_after, ms),
        beat: number("BEAT_MS").map_or(defaults.beat, ms),
        ..defaults
    };
    println!("{config:?}");
    for laws in [&["FR"][..], &["FR", "DE", "BE", "CN"]] {
        for seed in 1..=number("SEEDS").unwrap_or(4) {
            let churned = number("STILL").is_none();
            let measured = measure(seed, 200, laws, secs(60), config.clone(), churned);
            println!("{} jurisdictions, seed {seed}: {measured:?}", laws.len());
        }
    }
}

#[test]
fn what_a_node_says_reaches_all_its_neighbours_in_one_hop() {
    let mut world = settled(5, 40, &["FR"], 10);
    for node in world.alive() {
        let offer = world.offer(node, "changed");
        world.run(ms(60));
        let know = world.hosts.values().filter(|host| host.learned.contains_key(&offer)).count();
        // Itself, and so many neighbours as it looks for: of five places one stays free.
        assert!(know > 4, "{node:?}: {know}");
    }
}

#[test]
fn of_two_who_hear_of_a_record_together_mostly_one_tells_the_other() {
    let mut world = settled(6, 40, &["FR"], 10);
    world.delay = ms(10);
    world.told.clear();
    for node in world.alive() {
        world.offer(node, "changed");
        world.run(secs(1));
    }
    let told = &world.told;
    let both = told.iter().filter(|(record, from, to)| told.contains(&(*record, *to, *from))).count() / 2;
    let pairs = told.len() - both;
    assert!(pairs > 1_000 && both * 2 < pairs, "{both} of {pairs} pairs told each other");
}

#[test]
fn an_offers_change_is_known_to_99_percent_within_a_second_at_a_redundancy_of_1_5() {
    for (seed, laws) in [(1, &["FR"][..]), (2, &["FR", "DE", "BE", "CN"])] {
        let measured = measure(seed, 200, laws, secs(60), Config::default(), true);
        assert!(measured.reached_per_mille >= 990, "{laws:?}: {measured:?}");
        assert!(measured.redundancy_per_mille <= 1_500, "{laws:?}: {measured:?}");
    }
}
