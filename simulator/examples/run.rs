//! Runs a scenario file: `cargo run --release -p bocage-simulator --example run -- FILE SEED [json]`. The CLI's
//! `bocage sim run` does the same with proper options.
use std::process::ExitCode;

use bocage_simulator::{Ended, Scenario, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seed = arguments.get(1).map_or(Some(1), |seed| seed.parse().ok());
    let (Some(file), Some(seed)) = (arguments.first(), seed) else {
        eprintln!("a scenario file and a seed, please");
        return u8::from(Ended::Usage).into();
    };
    match Scenario::load(file.as_ref()) {
        Ok(scenario) => {
            let report = run(&scenario, seed);
            let json = arguments.get(2).is_some_and(|format| format == "json");
            println!("{}", if json { report.to_json() } else { report.to_text() });
            report.exit_code().into()
        }
        Err(error) => {
            eprintln!("{error}");
            u8::from(Ended::Usage).into()
        }
    }
}
