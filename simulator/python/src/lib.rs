//! The simulator within Python: runs a scenario with some seeds on all cores, and gives what `bocage sim run` keeps. What
//! researchers call stands in `python/bocage/`; these are the few functions below it.
use std::{
    num::NonZero,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use bocage_simulator::{
    Experiment, Scenario, ScenarioError,
    results::{self, Gathered, Program, ResultsError},
};
use pyo3::{
    exceptions::{PyOSError, PyValueError},
    prelude::*,
    types::PyBytes,
};

/// So often it is looked whether somebody pressed Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// A Parquet file of all rows; of each run its manifest and its report, both JSON.
type Answer<'py> = (Bound<'py, PyBytes>, Vec<(String, String)>);

#[pymodule]
mod _bocage {
    #[pymodule_export]
    use super::{commit, run_file, run_text, schema, toml_of_json};
}

/// Runs the scenario in a file.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "a function that Python calls owns what it is given")]
fn run_file(
    py: Python<'_>,
    path: PathBuf,
    seed: u64,
    seeds: NonZero<u64>,
    threads: Option<NonZero<usize>>,
    out: Option<PathBuf>,
) -> PyResult<Answer<'_>> {
    let experiment = Experiment::load(&path).map_err(|error| wrong(py, &error))?;
    run(py, &experiment, seed, seeds, threads, out)
}

/// Runs a scenario that stands in no file.
#[pyfunction]
fn run_text<'py>(
    py: Python<'py>,
    text: &str,
    seed: u64,
    seeds: NonZero<u64>,
    threads: Option<NonZero<usize>>,
    out: Option<PathBuf>,
) -> PyResult<Answer<'py>> {
    let experiment = Experiment::parse(text).map_err(|error| wrong(py, &error))?;
    run(py, &experiment, seed, seeds, threads, out)
}

/// Tables in JSON as TOML.
#[pyfunction]
fn toml_of_json(json: &str) -> PyResult<String> {
    let tables: toml::Table =
        serde_json::from_str(json).map_err(|error| PyValueError::new_err(format!("TOML cannot say this: {error}")))?;
    toml::to_string(&tables).map_err(|error| PyValueError::new_err(format!("TOML cannot say this: {error}")))
}

/// The JSON schema of scenario files.
#[pyfunction]
fn schema() -> String {
    Scenario::schema()
}

/// Which commit this was built from.
#[pyfunction]
fn commit() -> String {
    Program::this().commit
}

/// The runs go on threads of their own, without Python's lock; this one waits, and ends them when Ctrl-C is pressed.
#[expect(clippy::needless_pass_by_value, reason = "as functions that Python calls were given it")]
fn run<'py>(
    py: Python<'py>,
    experiment: &Experiment,
    seed: u64,
    seeds: NonZero<u64>,
    threads: Option<NonZero<usize>>,
    out: Option<PathBuf>,
) -> PyResult<Answer<'py>> {
    let range = seed..seed.saturating_add(seeds.get());
    let threads = threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let enough = AtomicBool::new(false);
    let gathered = thread::scope(|scope| {
        let work = scope.spawn(|| results::gather(experiment, range, threads, out.as_deref(), &enough));
        let mut interrupted = Ok(());
        while interrupted.is_ok() && !work.is_finished() {
            py.detach(|| thread::sleep(SIGNALS_EVERY));
            interrupted = py.check_signals();
        }
        enough.store(interrupted.is_err(), Ordering::Relaxed);
        let gathered = py.detach(|| work.join());
        interrupted.map(|()| gathered)
    })?;
    let gathered = gathered.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let Gathered { parquet, runs } = gathered.map_err(|error| unkept(&error))?.expect("nobody said that it is enough");
    let told = runs.iter().map(|(manifest, report)| (manifest.to_json(), report.to_json()));
    Ok((PyBytes::new(py, &parquet), told.collect()))
}

/// A scenario that cannot be run, as the exception of `python/bocage/errors.py`.
fn wrong(py: Python<'_>, error: &ScenarioError) -> PyErr {
    let made = || {
        let class = py.import("bocage.errors")?.getattr("ScenarioError")?;
        match error {
            ScenarioError::Unreadable { path, why } => class.call1((
                format!("{error}: {why}"),
                Some(path.clone()),
                None::<usize>,
                None::<usize>,
                None::<String>,
            )),
            ScenarioError::Wrong(mistake) => {
                let place = (mistake.path.clone(), Some(mistake.line), Some(mistake.column));
                class.call1((error.to_string(), place.0, place.1, place.2, mistake.help.clone()))
            }
        }
    };
    made().map_or_else(|raised| raised, PyErr::from_value)
}

/// Results that cannot be kept.
fn unkept(error: &ResultsError) -> PyErr {
    match error {
        ResultsError::Many { .. } => PyValueError::new_err(error.to_string()),
        ResultsError::Exists { .. }
        | ResultsError::Full { .. }
        | ResultsError::Io { .. }
        | ResultsError::Unreadable { .. }
        | ResultsError::Differs { .. } => PyOSError::new_err(error.to_string()),
    }
}
