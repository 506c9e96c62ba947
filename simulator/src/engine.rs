//! The engine alone: how many events a second its calendar gives and takes, at a size.
use std::{hint::black_box, time::Instant};

use bocage_protocol::random::Seed;
use serde::Serialize;

use crate::queue::Queue;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// Nodes that events are of.
    pub nodes: u32,
    /// Events that wait all the time.
    pub pending: u32,
    /// Events in each run.
    pub events: u64,
    /// How often.
    pub runs: u32,
}

impl Default for Engine {
    fn default() -> Self {
        Self { nodes: 100_000, pending: 1_000_000, events: 20_000_000, runs: 3 }
    }
}

/// How it went, on one core.
#[derive(Clone, Debug, Serialize)]
pub struct EngineMeasured {
    /// See [`Engine`].
    pub nodes: u32,
    /// See [`Engine`].
    pub pending: u32,
    /// See [`Engine`].
    pub events: u64,
    /// The best run.
    pub events_per_s: f64,
    /// Each run.
    pub runs: Vec<f64>,
}

/// What an event holds besides its time and node: as much as those of a world.
type Payload = [u64; 3];

/// The classic hold: take the earliest event, add one a delay later (D. Jones, *An Empirical Comparison of Priority-Queue and
/// Event-Set Implementations*, 1986). Delays are as in a mesh: most of them of links, some of timers.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
pub fn bench(engine: Engine) -> EngineMeasured {
    /// Drawn before, so that drawing is not measured.
    const DELAYS: usize = 1 << 16;
    let Engine { nodes, pending, events, runs } = engine;
    let mut rng = Seed([7; 32]).rng();
    let delays: Vec<(u64, u32)> = (0..DELAYS)
        .map(|_| {
            let delay = match rng.below(10) {
                0..8 => 1_000_000 + rng.below(60_000_000),
                8 => rng.below(1_000_000),
                _ => 100_000_000 + rng.below(1_000_000_000),
            };
            (delay, u32::try_from(rng.below(u64::from(nodes.max(1)))).unwrap_or(0))
        })
        .collect();
    let mut measured = Vec::new();
    for _ in 0..runs {
        let mut queue: Queue<Payload> = Queue::default();
        for number in 0..pending {
            let (delay, node) = delays[number as usize % DELAYS];
            queue.push(delay, node, [u64::from(number); 3]);
        }
        let mut at_delay = 0;
        let mut turn = |queue: &mut Queue<Payload>| {
            let (at, _, payload) = queue.pop().expect("as many are added as taken");
            let (delay, node) = delays[at_delay];
            at_delay = (at_delay + 1) % DELAYS;
            queue.push(at + delay, node, black_box(payload));
        };
        // Until the queue has the shape that it keeps.
        (0..pending).for_each(|_| turn(&mut queue));
        let began = Instant::now();
        (0..events).for_each(|_| turn(&mut queue));
        measured.push((events as f64 / began.elapsed().as_secs_f64().max(1e-9)).round());
    }
    let events_per_s = measured.iter().copied().fold(0.0, f64::max);
    EngineMeasured { nodes, pending, events, events_per_s, runs: measured }
}
