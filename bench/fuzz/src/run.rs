//! The engine that needs nothing: mutants of the corpus, one after the other, each run guarded. Same seed, same inputs.
use std::{
    collections::BTreeMap,
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use bocage_protocol::random::{Rng, Seed};

use crate::{corpus, mutate::mutate, target::Target};

/// A slower input is reported: it is one that a peer would like to send.
const SLOW: Duration = Duration::from_secs(1);

/// Mutants kept to be mutated further.
const FURTHER_MAX: usize = 256;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Inputs run.
    pub inputs: u64,
    /// How long it took.
    pub took: Duration,
    /// The slowest input.
    pub slowest: Duration,
    /// Where it broke and what was said: the first input that did it, in a file.
    pub crashes: BTreeMap<String, PathBuf>,
}

/// Where the last panic was, and what it said.
static LAST: Mutex<String> = Mutex::new(String::new());

/// From now on a panic is noted instead of printed.
pub fn quiet() {
    panic::set_hook(Box::new(|info| {
        let at = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let said = info.payload_as_str().unwrap_or("?");
        let said: String = said.chars().take(300).collect();
        if let Ok(mut last) = LAST.lock() {
            *last = format!("{at}: {said}");
        }
    }));
}

/// Runs one input; what broke, if anything did.
#[must_use]
pub fn guarded(target: &Target, bytes: &[u8]) -> Option<String> {
    if let Ok(mut last) = LAST.lock() {
        last.clear();
    }
    let broke = panic::catch_unwind(AssertUnwindSafe(|| target.feed(bytes))).is_err();
    let said = LAST.lock().map(|last| last.clone()).unwrap_or_default();
    broke.then_some(said)
}

/// Runs the corpus, then `inputs` mutants of it drawn from `seed`. What crashes is written to `crashes`.
///
/// # Errors
/// When the corpus cannot be read or a crash cannot be written.
pub fn run(target: &Target, inputs: u64, seed: u64, crashes: &Path) -> io::Result<Report> {
    let corpus: Vec<Vec<u8>> = corpus::load(target)?.into_iter().map(|(_, bytes)| bytes).collect();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut rng = Seed(bytes).split(target.name).rng();
    let began = Instant::now();
    let mut report = Report::default();
    // Mutants that are mutated further. Most inputs come from the corpus itself: mutants of mutants become noise.
    let mut further: Vec<Vec<u8>> = Vec::new();
    let mutants = (0..inputs).map(|_| {
        let pick = |rng: &mut Rng, from: &[Vec<u8>]| from.get(rng.index(from.len()).unwrap_or(0)).cloned();
        let deeper = if rng.chance(250) { pick(&mut rng, &further) } else { None };
        let from = deeper.or_else(|| pick(&mut rng, &corpus)).unwrap_or_default();
        let other = pick(&mut rng, &corpus).unwrap_or_default();
        let mutant = mutate(&from, &other, target.bytes_max, &mut rng);
        if rng.chance(20) {
            match rng.index(FURTHER_MAX) {
                Some(at) if at < further.len() => further[at].clone_from(&mutant),
                Some(_) | None => further.push(mutant.clone()),
            }
        }
        mutant
    });
    for input in corpus.iter().cloned().chain(mutants) {
        let started = Instant::now();
        let broke = guarded(target, &input);
        report.slowest = report.slowest.max(started.elapsed());
        report.inputs += 1;
        let broke = broke.or_else(|| (started.elapsed() > SLOW).then(|| format!("slow: more than {SLOW:?}")));
        let Some(said) = broke else { continue };
        // One a place: the words may hold numbers.
        let place = said.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
        if !report.crashes.keys().any(|known| known.starts_with(&place)) {
            fs::create_dir_all(crashes)?;
            let path = crashes.join(format!("{}-{}", target.name, &blake3::hash(&input).to_hex()[..12]));
            fs::write(&path, &input)?;
            report.crashes.insert(said, path);
        }
    }
    report.took = began.elapsed();
    Ok(report)
}
