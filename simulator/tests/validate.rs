//! The questions of `bocage sim validate`, as this world answers them. That real processes answer the same: `cli/tests/validate.rs`.
use std::path::PathBuf;

use bocage_simulator::{
    Experiment, Scenario, run,
    validate::{ANSWERS_A_MESH, simulated},
};

fn shipped(name: &str) -> Experiment {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "scenarios", name].iter().collect();
    Experiment::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn failover_takes_an_election_and_one_seed_gives_one_answer() {
    let experiment = shipped("validate-failover.toml");
    assert_eq!(experiment.layout().unwrap().seats.len(), 5);
    let of = |seed| simulated(experiment.scenario(), seed).unwrap();
    // No election is over before the leader was silent for twelve ticks of 50 ms, less the heartbeat before its death.
    let answers = of(1);
    assert_eq!(answers.len(), ANSWERS_A_MESH as usize);
    assert!(answers.iter().all(|ms| (250.0..5_000.0).contains(ms)), "{answers:?}");
    assert!(answers.iter().any(|ms| (ms - answers[0]).abs() > 1.0), "moments are drawn: {answers:?}");
    let bits = |answers: &[f64]| answers.iter().map(|ms| ms.to_bits()).collect::<Vec<u64>>();
    assert_eq!(bits(&of(1)), bits(&answers));
    assert_ne!(bits(&of(2)), bits(&answers));
}

#[test]
fn an_offer_is_known_no_sooner_than_the_longest_way_takes() {
    let experiment = shipped("validate-offer.toml");
    let layout = experiment.layout().unwrap();
    // Each node is somewhere from which the farthest other one is at least so far.
    let farthest = |from: usize| layout.ways.iter().filter(|way| way.from == from).map(|way| way.delay).max().unwrap();
    let least = (0..layout.seats.len()).map(farthest).min().unwrap().as_secs_f64() * 1_000.0;
    let answers = simulated(experiment.scenario(), 1).unwrap();
    assert!(answers.iter().all(|ms| (least..2_000.0).contains(ms)), "{least} {answers:?}");
}

#[test]
fn a_scenario_that_asks_is_the_same_run_when_nobody_asks() {
    let small = "name = \"small\"\nduration_s = 5\nsettle_s = 45\n[[population]]\njurisdiction = \"FR\"\noperators = 3\n\
                 [[app]]\nname = \"a\"\n";
    let hash = |more: &str| run(&Scenario::parse(&format!("{small}{more}")).unwrap(), 3).trace_hash;
    assert_eq!(hash(""), hash("[validate]\nquestion = \"failover\"\n"));
}
