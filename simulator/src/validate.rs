//! One question, answered by real processes and by this world, and held against each other. What both must do alike stands
//! here once: when what happens, what a plan of everybody is, and what counts as the answer.
use std::{fmt::Write as _, path::Path, time::Duration};

use bocage_protocol::{
    node::Node,
    placement::Policy,
    random::{Rng, Seed},
    resources::Jurisdiction,
};
use serde::Serialize;

use crate::{
    Options,
    measure::ms,
    results::{ResultsError, folder::Folder},
    scenario::{Experiment, Question, Scenario},
    spectator::Nobody,
};

/// The mesh is whole for so long before anything is asked.
pub const QUIET: Duration = Duration::from_secs(10);
/// One mesh answers so often, in both worlds: what it went through before is part of how it answers.
pub const ANSWERS_A_MESH: u32 = 5;
/// After a process is back and the app is whole, or all know the old price again, nothing is done for so long.
pub const REST: Duration = Duration::from_secs(4);
/// A process that is back needs about so long until the app is whole, as was seen of real ones.
pub(crate) const BACK: Duration = Duration::from_secs(2);
/// The client has written for so long, and nodes were asked, before anything happens.
pub const WRITES_BEFORE: Duration = Duration::from_secs(2);
/// And up to so much longer, drawn: what happens comes at any phase of what goes on.
pub const PHASE: Duration = Duration::from_secs(1);
/// The client's writes are watched for so long after the leader died, and until one is acknowledged.
pub const WATCH: Duration = Duration::from_secs(3);

/// The interval of the ratio must lie within these.
pub const WITHIN: [f64; 2] = [0.9, 1.1];
/// So often both sets are drawn anew to know how sure the ratio is.
const RESAMPLES: usize = 10_000;
/// Of fewer meshes nobody is sure: an interval from five holds the true ratio in 88 of 100 cases and not in 95, as draws of known spread
/// show.
const MESHES_MIN: usize = 12;
/// So many ratios are left out at either end, a fortieth: the interval is 95 % sure.
const TAIL: usize = RESAMPLES / 40;

/// What a node asks instead of a price.
#[must_use]
pub const fn price_asked(before: u64) -> u64 {
    2 * before
}

/// A plan with an instance on each of so many nodes under one law: its price is another one as soon as any of them asks
/// another one.
#[must_use]
pub fn policy_of_all(law: Jurisdiction, nodes: u32) -> Policy {
    let mut policy = Policy { home: vec![law], voters: 3, allow_degraded: true, ..Policy::default() };
    (policy.scale.min, policy.scale.max) = (nodes, nodes);
    policy
}

/// The longest time without an acknowledged write from when the leader died on: until an acknowledgement, from the one
/// before it or from the death. `None`: there was none after it. Times in nanoseconds, in order.
#[must_use]
pub fn pause(died: u64, acknowledged: &[u64]) -> Option<u64> {
    let mut since = died;
    let gaps = acknowledged.iter().filter(|at| **at > died).map(|at| at - std::mem::replace(&mut since, *at));
    gaps.max()
}

/// What this world answers with a seed: as often as a mesh answers, in milliseconds.
///
/// # Errors
/// In words: an answer did not come, or something else went wrong in that run.
pub fn simulated(scenario: &Scenario, seed: u64) -> Result<Vec<f64>, String> {
    let mut scenario = scenario.clone();
    // Nothing ends before the last answer: each takes half a minute at most, or a minute if none comes.
    scenario.duration_s = 60 + 30 * u64::from(ANSWERS_A_MESH) + 60;
    let options = Options { probed: true, ..Options::default() };
    let world = crate::ended::<Node>(&scenario, seed, &options, &mut Nobody).expect("nobody does not leave");
    if let Some(violation) = world.violations().first() {
        return Err(format!("seed {seed}: {:?}: {}", violation.property, violation.what));
    }
    let answers: Vec<f64> = world.probed().iter().copied().map(ms).collect();
    if answers.len() < ANSWERS_A_MESH as usize {
        return Err(format!("seed {seed}: {} answers came, and the next one not within a minute", answers.len()));
    }
    Ok(answers)
}

/// Real processes and this world, held against each other.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// The scenario's name.
    pub scenario: String,
    /// `failover` or `offer`.
    pub question: &'static str,
    /// What real processes answered.
    pub real: Answers,
    /// What this world answered.
    pub simulated: Answers,
    /// The median of what this world answered by that of real processes.
    pub ratio: f64,
    /// Where the true ratio lies, with 95 % confidence: percentiles of the ratio over both worlds' meshes drawn anew 10,000 times.
    pub interval: [f64; 2],
    /// The interval lies within 0.9 to 1.1, and is of twelve whole meshes at least in each world.
    pub holds: bool,
}

/// The answers of one world.
#[derive(Clone, Debug, Serialize)]
pub struct Answers {
    /// The middle one, or the mean of the two in the middle.
    pub median_ms: f64,
    /// A tenth are less.
    pub p10_ms: f64,
    /// A tenth are more.
    pub p90_ms: f64,
    /// All of them, in the order in which they came.
    pub all_ms: Vec<f64>,
}

impl Answers {
    /// # Panics
    /// If there is none.
    fn of(all_ms: Vec<f64>) -> Self {
        let mut sorted = all_ms.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let tenth = sorted.len() / 10;
        Self { median_ms: median(&mut sorted), p10_ms: sorted[tenth], p90_ms: sorted[sorted.len() - 1 - tenth], all_ms }
    }
}

impl Held {
    /// Holds both worlds' answers against each other; the same answers and seed give the same interval.
    ///
    /// # Panics
    /// If a world gave no answer.
    #[must_use]
    pub fn of(scenario: &Scenario, question: Question, real: Vec<f64>, simulated: Vec<f64>, seed: u64) -> Self {
        assert!(!real.is_empty() && !simulated.is_empty(), "both worlds answered");
        let (real, simulated) = (Answers::of(real), Answers::of(simulated));
        let ratio = simulated.median_ms / real.median_ms;
        let mut rng = Seed(*blake3::hash(&seed.to_be_bytes()).as_bytes()).split("resamples").rng();
        let mut ratios: Vec<f64> =
            (0..RESAMPLES).map(|_| drawn(&mut rng, &simulated.all_ms) / drawn(&mut rng, &real.all_ms)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let interval = [ratios[TAIL], ratios[RESAMPLES - 1 - TAIL]];
        let meshes = |of: &Answers| of.all_ms.len() / ANSWERS_A_MESH as usize;
        let enough = meshes(&real).min(meshes(&simulated)) >= MESHES_MIN;
        let holds = enough && WITHIN[0] <= interval[0] && interval[1] <= WITHIN[1];
        Self { scenario: scenario.name.clone(), question: question.name(), real, simulated, ratio, interval, holds }
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}: {}\n", self.scenario, self.question);
        let mut line = |line: std::fmt::Arguments| writeln!(text, "{line}").expect("a String takes every line");
        line(format_args!("  {:14} {:>5} {:>12} {:>12} {:>12}", "", "runs", "median", "p10", "p90"));
        for (name, of) in [("real processes", &self.real), ("simulated", &self.simulated)] {
            let Answers { median_ms, p10_ms, p90_ms, all_ms } = of;
            let runs = all_ms.len();
            line(format_args!("  {name:14} {runs:>5} {median_ms:>9.1} ms {p10_ms:>9.1} ms {p90_ms:>9.1} ms"));
        }
        let ([low, high], [least, most]) = (self.interval, WITHIN);
        let holds = if self.holds { "within" } else { "not within" };
        line(format_args!(
            "  simulated by real {:.3}, 95 % interval {low:.3} … {high:.3}: {holds} {least} … {most}",
            self.ratio
        ));
        text
    }
}

/// The median of the answers of as many meshes as there are, drawn from them with repetition: answers of one mesh are alike in what
/// that mesh is.
fn drawn(rng: &mut Rng, from: &[f64]) -> f64 {
    let meshes: Vec<&[f64]> = from.chunks(ANSWERS_A_MESH as usize).collect();
    let numbers = meshes.iter().filter_map(|_| rng.index(meshes.len()));
    let mut drawn: Vec<f64> = numbers.flat_map(|number| meshes[number]).copied().collect();
    median(&mut drawn)
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    let half = of.len() / 2;
    if of.len() % 2 == 1 { of[half] } else { f64::midpoint(of[half - 1], of[half]) }
}

/// A folder for what both worlds answer, made before anything is asked.
#[derive(Clone, Debug)]
pub struct Kept(Folder);

impl Kept {
    /// A folder that is new or empty, with the scenario in it.
    ///
    /// # Errors
    /// When it holds something already, or cannot be written.
    pub fn begin(experiment: &Experiment, path: &Path) -> Result<Self, ResultsError> {
        let folder = Folder::new(path)?;
        folder.write("scenario.toml", experiment.scenario().to_toml().as_bytes())?;
        Ok(Self(folder))
    }

    /// Writes the answers that there are as CSV, over those that were written before.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Panics
    /// Never: memory takes every row.
    pub fn answers(&self, question: Question, real: &[f64], simulated: &[f64]) -> Result<(), ResultsError> {
        let mut rows = csv::Writer::from_writer(Vec::new());
        let mut row = |cells: [&str; 4]| rows.write_record(cells).expect("memory takes every row");
        row(["world", "run", "question", "ms"]);
        for (world, answers) in [("real", real), ("simulated", simulated)] {
            for (run, answer) in (1..).zip(answers) {
                row([world, &u32::to_string(&run), question.name(), &answer.to_string()]);
            }
        }
        let rows = rows.into_inner().expect("memory takes every row");
        self.0.write("answers.csv", &rows)
    }

    /// Writes what all answers come to as JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    ///
    /// # Panics
    /// Never: numbers are JSON.
    pub fn end(&self, held: &Held) -> Result<(), ResultsError> {
        let text = serde_json::to_string_pretty(held).expect("numbers are JSON");
        self.0.write("validation.json", text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(real: &[f64], simulated: &[f64]) -> Held {
        Held::of(&Scenario::empty("x", 1, 0), Question::Offer, real.to_vec(), simulated.to_vec(), 1)
    }

    #[test]
    fn the_pause_is_the_longest_after_the_death_and_the_last_word_before_it_does_not_count() {
        assert_eq!(pause(100, &[50, 90, 105, 900, 910]), Some(795));
        assert_eq!(pause(100, &[90, 700, 710]), Some(600));
        assert_eq!(pause(100, &[50, 90]), None);
    }

    #[test]
    fn worlds_alike_hold_and_worlds_that_differ_or_are_not_sure_do_not() {
        let around = |middle: f64, spread: f64| -> Vec<f64> {
            (0..60_u32).map(|number| middle + spread * (f64::from(number * 7 % 60) - 29.5) / 29.5).collect()
        };
        let alike = held(&around(800.0, 80.0), &around(804.0, 80.0));
        assert!(alike.holds && (alike.ratio - 1.005).abs() < 1e-9, "{alike:?}");
        assert!(alike.interval[0] < 1.0 && alike.interval[1] > 1.005, "{alike:?}");
        let off = held(&around(800.0, 80.0), &around(400.0, 40.0));
        assert!(!off.holds && off.interval[1] < 0.6, "{off:?}");
        let unsure = held(&around(800.0, 700.0), &around(800.0, 700.0));
        assert!(!unsure.holds && (unsure.ratio - 1.0).abs() < 1e-9, "{unsure:?}");
        let few = held(&around(800.0, 8.0)[..59], &around(800.0, 8.0));
        assert!(
            WITHIN[0] < few.interval[0] && few.interval[1] < WITHIN[1] && !few.holds,
            "eleven meshes and four answers: {few:?}"
        );
    }

    #[test]
    fn answers_that_are_alike_within_a_mesh_count_no_more_than_their_meshes() {
        // Twelve meshes, a third of them slow: sixty answers of one mesh each would be sure of the median.
        let by_mesh = |mesh: u32| if mesh.is_multiple_of(3) { 1_200.0 } else { 800.0 + f64::from(mesh) };
        let clustered: Vec<f64> = (0..60).map(|run| by_mesh(run / ANSWERS_A_MESH)).collect();
        let spread: Vec<f64> = (0..60).map(|run| by_mesh(run % 12)).collect();
        let width = |of: &[f64]| {
            let [low, high] = held(of, of).interval;
            high - low
        };
        assert!(width(&clustered) > 2.0 * width(&spread), "{} {}", width(&clustered), width(&spread));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&mut [9.0, 1.0, 3.0, 5.0]).to_bits(), 4.0_f64.to_bits());
        assert_eq!(median(&mut [9.0, 1.0, 3.0]).to_bits(), 3.0_f64.to_bits());
    }
}
