//! The trace hashes of short runs: the beginning of every scenario in `scenarios/`, and small ones whole, each with another
//! fault. `.ci/run` compares what one thread and two say, a build with debug assertions and other optimisation, and runs that
//! are measured, recorded and looked at: `cargo run --release -p bocage-simulator --example hashes -- THREADS (plain|watched)`.
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use bocage_protocol::node::Node;
use bocage_simulator::{Options, Report, Scenario, Spectator, measure_before, run_with, scene::Scene};

/// Four nodes in two countries; a fault follows.
const SMALL: &str = r#"
duration_s = 20
[[population]]
jurisdiction = "FR"
operators = 3
[[population]]
jurisdiction = "DE"
[[app]]
name = "guestbook"
[workload]
clients = 2
think_ms = 300
offer_changes_per_minute = 20
[[fault]]
at_s = 3
for_s = 5
"#;

/// What befalls the small ones, and how their nodes and links are.
const BEFALLS: [(&str, &str); 7] = [
    ("small-stall", "what = \"stall\"\nwho = { any = 2 }"),
    ("small-wipe", "what = \"wipe\"\nwho = { any = 1 }"),
    ("small-cut", "what = \"cut\"\nwho = { jurisdiction = \"DE\" }"),
    ("small-loss", "what = \"loss\"\nper_mille = 200\nwho = { jurisdiction = \"FR\" }"),
    ("small-fail-sync", "what = \"fail-sync\"\nwho = { any = 1 }"),
    ("small-clocks", "what = \"power\"\nwho = { any = 2 }\n[clock]\noffset_ms_max = 2_000\ndrift_ppm_max = 200"),
    ("small-mixed", "what = \"crash\"\nwho = { any = 1 }\n[knobs]\nprevious_wire_per_mille = 500"),
];

/// A larger mesh takes minutes and gigabytes to stand, without optimisation.
const NODES_MAX: u64 = 500;
/// Fewer would show less than is promised.
const RUNS_MIN: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [threads, how] = &arguments[..] else { return usage() };
    let (Ok(threads @ 1..), "plain" | "watched") = (threads.parse::<usize>(), how.as_str()) else { return usage() };
    let scenarios = scenarios();
    assert!(scenarios.len() >= RUNS_MIN, "{} scenarios are too few", scenarios.len());
    let (next, told) = (Mutex::new(scenarios.iter()), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, scenario)) = { held(&next).next() } {
                    let report = begun(scenario, how == "watched");
                    held(&told).insert(name, report);
                }
            });
        }
    });
    for (name, report) in held(&told).iter() {
        println!("{name} {} events {}", report.events, report.trace_hash);
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("a number of threads, then plain or watched, please");
    ExitCode::from(2)
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By name.
fn scenarios() -> BTreeMap<String, Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = fs::read_dir(&folder).expect("the scenarios lie beside the code");
    let paths = files.map(|entry| entry.expect("a folder can be read").path());
    let mut all: BTreeMap<String, Scenario> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.file_stem().expect("it has a name").to_string_lossy().into_owned(), load(&path)))
        .filter(|(_, scenario)| scenario.nodes() <= NODES_MAX)
        .collect();
    for (name, befalls) in BEFALLS {
        let text = format!("name = \"{name}\"{SMALL}{befalls}\n");
        all.insert(name.to_owned(), Scenario::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}")));
    }
    all
}

fn load(path: &Path) -> Scenario {
    Scenario::load(path).unwrap_or_else(|error| panic!("{error}"))
}

/// How a run begins: small meshes for a minute, large ones for some seconds, which is as many events.
fn begun(scenario: &Scenario, watched: bool) -> Report {
    let seconds = (600 / scenario.nodes().max(1)).clamp(6, 60);
    // With a figure of the mesh without liars, that one is not run first.
    let options =
        Options { until_ns: Some(seconds * 1_000_000_000), quiet_p99_ns: Some(1_000_000_000), ..Options::default() };
    if !watched {
        return run_with::<Node>(scenario, 1, &options).0;
    }
    let options = Options { recorded: true, tape: Some(0), ..options };
    let mut onlooker = Onlooker { scenes: 0 };
    let measured = measure_before::<Node>(scenario, 1, &options, &mut onlooker).expect("the onlooker stays");
    assert!(onlooker.scenes > 0, "{}: nothing was seen", scenario.name);
    measured.report
}

/// Has a scene made each second.
struct Onlooker {
    scenes: u64,
}

impl Spectator for Onlooker {
    fn every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn stays(&mut self) -> bool {
        true
    }

    fn look(&mut self, scene: &dyn Fn() -> Scene) {
        self.scenes += u64::from(!scene().conditions.is_empty());
    }
}
