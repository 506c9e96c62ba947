//! A random experiment of the swarm: a cell of five to nine nodes and a mix of faults. Each seed takes only some kinds of
//! fault, so that many seeds have much of few (A. Groce and others, *Swarm Testing*, 2012).
use bocage_protocol::{
    random::{Rng, Seed},
    resources::Jurisdiction,
};
use toml::Spanned;

use crate::scenario::{App, Checks, Fault, Population, Scenario, Select, Stop, What};

/// How long faults and clients go on.
const DURATION_S: u64 = 600;

/// How long the mesh then has to converge.
const SETTLE_S: u64 = 90;

/// No seed has more faults.
const FAULTS_MAX: u64 = 24;

/// Kinds of fault that the swarm draws from. Those that take a disk for ever are drawn no more often than a cell survives.
/// Drains and dead keys are left out: what a drained node still holds is held against it, though another fault may be why;
/// and whose key is dead never comes back.
const KINDS: [What; 9] = [
    What::Crash,
    What::Power,
    What::Stall,
    What::Cut,
    What::Loss,
    What::FailSync,
    What::Wipe,
    What::Replace,
    What::Leave,
];

/// What clients do all along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// At most 200 operations in all.
    Light,
    /// 20 operations a second.
    Busy,
}

/// The experiment of a seed.
pub(crate) fn scenario(seed: u64, load: Load) -> Scenario {
    let mut rng = Seed(*blake3::hash(&seed.to_be_bytes()).as_bytes()).split("hunt").rng();
    let nodes = 5 + rng.below(5);
    let voters = if nodes >= 7 && rng.chance(400) { 5 } else { 3 };
    let mut scenario = Scenario::empty(&format!("hunt-{seed}"), DURATION_S, SETTLE_S);
    scenario.story = "Drawn by bocage sim hunt.".into();
    scenario.population = population(nodes, &mut rng);
    scenario.app = vec![App::named("hunted", voters)];
    let network = &mut scenario.network;
    network.delay_ms = [2, 20, 60, 120][index(&mut rng, 4)];
    network.inside_ms = [1, 8, 20][index(&mut rng, 3)];
    network.jitter_percent = [0, 25, 200][index(&mut rng, 3)];
    network.loss_per_mille = [0, 0, 0, 2, 20][index(&mut rng, 5)];
    scenario.disk.sync_us = [[100, 1_000], [400, 4_000], [2_000, 60_000]][index(&mut rng, 3)];
    scenario.clock.offset_ms_max = [0, 200, 4_000][index(&mut rng, 3)];
    scenario.clock.drift_ppm_max = [0, 20, 200][index(&mut rng, 3)];
    let workload = &mut scenario.workload;
    (workload.clients, workload.think_ms) = match load {
        Load::Light => (2, 7_500),
        Load::Busy => (10, 500),
    };
    scenario.check = Checks { faults: false, ..Checks::default() };
    scenario.stop = Stop { at_first_violation: true };
    scenario.fault = faults(nodes, voters, &mut rng).into_iter().map(|fault| Spanned::new(0..0, fault)).collect();
    scenario
}

fn index(rng: &mut Rng, len: usize) -> usize {
    rng.index(len).unwrap_or(0)
}

/// Nodes of distinct operators in one to three jurisdictions.
fn population(nodes: u64, rng: &mut Rng) -> Vec<Population> {
    let laws = 1 + rng.below(3);
    let names = ["FR", "DE", "BE"];
    let groups = names.iter().zip(0..laws).map(|(name, number)| {
        let operators = nodes / laws + u64::from(number < nodes % laws);
        let jurisdiction: Jurisdiction = name.parse().expect("these are jurisdictions");
        Population::of(jurisdiction, u32::try_from(operators).unwrap_or(1))
    });
    groups.collect()
}

fn faults(nodes: u64, voters: u32, rng: &mut Rng) -> Vec<Fault> {
    let mut kinds: Vec<What> = KINDS.into_iter().filter(|_| rng.chance(500)).collect();
    if kinds.is_empty() {
        kinds.push(KINDS[index(rng, KINDS.len())]);
    }
    let mut disks_left = (voters - 1) / 2;
    let count = 3 + rng.below(FAULTS_MAX - 2);
    let mut faults = Vec::new();
    for _ in 0..count {
        let what = kinds[index(rng, kinds.len())];
        let takes_a_disk = matches!(what, What::Wipe | What::Replace | What::Leave);
        if takes_a_disk {
            if disks_left == 0 {
                continue;
            }
            disks_left -= 1;
        }
        faults.push(fault(what, nodes, rng));
    }
    faults.sort_by_key(|fault| fault.at_s);
    faults
}

fn fault(what: What, nodes: u64, rng: &mut Rng) -> Fault {
    let node = |rng: &mut Rng| Some(u32::try_from(rng.below(nodes)).unwrap_or(0));
    let at_s = 2 + rng.below(DURATION_S - 60);
    let at_most = [3, 20, 90][index(rng, 3)];
    let lasts = 1 + rng.below(at_most);
    let who = Select { node: node(rng), ..Select::default() };
    let mut fault = Fault { for_s: Some(lasts), who, ..Fault::new(at_s, what) };
    match what {
        What::Cut => {
            // Some from all others, one from one, or one way only.
            let last = u32::try_from(1 + rng.below(nodes / 2)).unwrap_or(1);
            match rng.below(3) {
                0 => fault.who = Select { nodes: Some([0, last - 1]), ..Select::default() },
                1 => {
                    let from = node(rng).filter(|from| Some(*from) != fault.who.node);
                    fault.from = from.map(|from| Select { node: Some(from), ..Select::default() });
                }
                _ => fault.one_way = rng.chance(500),
            }
        }
        What::Loss => {
            fault.who = if rng.chance(500) { Select::default() } else { fault.who };
            fault.per_mille = [20, 200, 600][index(rng, 3)];
        }
        What::Replace | What::Leave => fault.for_s = None,
        What::Crash | What::Power | What::Wipe | What::Stall | What::FailSync => {}
        What::Drain
        | What::Revoke
        | What::Recover
        | What::RecoverApps
        | What::Delay
        | What::Throttle
        | What::Slow
        | What::Blackout
        | What::Fire
        | What::Crowd
        | What::DiskFull
        | What::Rot => unreachable!("they are not among KINDS"),
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_experiment_is_one_and_no_two_are_the_same() {
        let mut texts = std::collections::BTreeSet::new();
        for seed in 0..300 {
            let drawn = scenario(seed, Load::Light);
            let text = drawn.to_toml();
            let read = Scenario::parse(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            assert_eq!(read.to_toml(), text, "seed {seed}");
            assert!((5..=9).contains(&drawn.nodes()) && !drawn.fault.is_empty());
            let disks =
                |fault: &&Spanned<Fault>| matches!(fault.get_ref().what, What::Wipe | What::Replace | What::Leave);
            let voters = drawn.app[0].voters as usize;
            assert!(drawn.fault.iter().filter(disks).count() * 2 < voters, "a majority of disks survives");
            texts.insert(text);
        }
        assert_eq!(texts.len(), 300);
    }
}
