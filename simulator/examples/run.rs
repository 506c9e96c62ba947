//! Runs a scenario file: `cargo run --release -p bocage-simulator --example run -- FILE SEED [json]`, or many seeds with
//! `FIRST..END` for `SEED`. The CLI's `bocage sim run` does the same with proper options.
use std::{num::NonZero, ops::Range, process::ExitCode, thread};

use bocage_simulator::{Ended, Scenario, run, sweep::sweep};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seeds = arguments.get(1).map_or(Some(1..2), |seeds| range(seeds));
    let (Some(file), Some(seeds)) = (arguments.first(), seeds) else {
        eprintln!("a scenario file and a seed or a range of seeds, please");
        return u8::from(Ended::Usage).into();
    };
    let json = arguments.get(2).is_some_and(|format| format == "json");
    let scenario = match Scenario::load(file.as_ref()) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{error}");
            return u8::from(Ended::Usage).into();
        }
    };
    if seeds.end == seeds.start + 1 {
        let report = run(&scenario, seeds.start);
        println!("{}", if json { report.to_json() } else { report.to_text() });
        return report.exit_code().into();
    }
    let sweep = sweep(&scenario, seeds, thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN));
    println!("{}", if json { sweep.to_json() } else { sweep.to_text() });
    u8::from(sweep.ended()).into()
}

fn range(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((first, end)) => Some(first.parse().ok()?..end.parse().ok()?),
        None => text.parse().ok().map(|seed: u64| seed..seed + 1),
    }
}
