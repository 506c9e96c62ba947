//! The figures that turn distance into delay. Those that ship are what `bocage sim calibrate` found (docs/simulator.md).
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{City, globe, mean};

const SHIPPED: &str = include_str!("../../data/delay.toml");

/// How a frame between two cities travels. Left out: as fitted to measurements.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Figures {
    /// How much longer a frame takes than light in a straight fibre would, for each part of the way.
    pub fibre_per_mille: u64,
    /// And so much whatever the distance, one way: routers, detours, the last hops.
    pub fixed_us: u64,
    /// By how much a frame is late on average, one way: for each tenth of all pairs of cities, from the calmest to the worst,
    /// the middle one of that tenth.
    pub jitter_us: [u64; 10],
}

impl Default for Figures {
    fn default() -> Self {
        #[derive(Deserialize)]
        struct Shipped {
            fibre_per_mille: u64,
            fixed_us: u64,
            jitter_us: [u64; 10],
        }
        let shipped: Shipped = toml::from_str(SHIPPED).expect("the figures that ship can be read");
        let Shipped { fibre_per_mille, fixed_us, jitter_us } = shipped;
        Self { fibre_per_mille, fixed_us, jitter_us }
    }
}

impl Figures {
    /// One way from a city to another, in nanoseconds.
    pub(crate) fn delay(&self, a: &City, b: &City) -> u64 {
        self.delay_over(globe::metres(a.at, b.at))
    }

    pub(super) const fn delay_over(&self, metres: u64) -> u64 {
        /// Light in glass: 200 km a millisecond.
        const NANOS_A_METRE: u64 = 5;
        metres * NANOS_A_METRE * self.fibre_per_mille / 1_000 + self.fixed_us * 1_000
    }

    /// By how much a frame between two cities is late on average, in nanoseconds: always the same for a pair.
    pub(crate) fn jitter(&self, a: &City, b: &City) -> u64 {
        let mut ends = [a.name.as_str(), b.name.as_str()];
        ends.sort_unstable();
        self.jitter_us[mean::tenth(ends)] * 1_000
    }

    /// What is wrong with them, if anything.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if !(1_000..=20_000).contains(&self.fibre_per_mille) {
            let what = format!("fibre_per_mille = {} must be 1000 to 20000", self.fibre_per_mille);
            return Err(format!("{what}: no frame is faster than light in a straight fibre"));
        }
        if self.fixed_us > 1_000_000 || self.jitter_us.iter().any(|late| *late > 1_000_000) {
            return Err("fixed_us and each of jitter_us must be at most 1000000, which is a second".into());
        }
        if !self.jitter_us.is_sorted() {
            return Err("jitter_us goes from the calmest tenth to the worst: put them in order".into());
        }
        Ok(())
    }
}
