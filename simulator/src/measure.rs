//! What a run measures, and its percentiles. Measures are read, never decided on: floats may live here.
use std::collections::BTreeMap;

/// Every measure a report may hold; a scenario may expect something of each.
pub(crate) const NAMES: &[&str] = &[
    "write_p50_ms",
    "write_p99_ms",
    "write_max_ms",
    "read_p50_ms",
    "read_p99_ms",
    "silent_app_max_ms",
    "deploy_p50_ms",
    "deploy_max_ms",
    "offer_known_99_p50_ms",
    "offer_known_99_max_ms",
    "offer_changes_known_within_1s",
    "honest_offers_p99_ms",
    "quiet_offers_p99_ms",
    "honest_offers_in_time",
    "eclipsed",
    "contradictions_known_to",
    "rejoin_max_ms",
    "detect_first_p50_ms",
    "detect_first_max_ms",
    "detect_p50_ms",
    "detect_p99_ms",
    "key_dead_p50_ms",
    "key_dead_max_ms",
    "payload_redundancy",
    "sent_bytes_per_node_s",
    "sent_frames_per_node_s",
    "links_per_node",
    "converged_after_ms",
    "apps_lost_with_their_majority",
];

/// The unit of a measure, which is the end of its name.
pub(crate) fn unit(name: &str) -> &'static str {
    match () {
        () if name.ends_with("_ms") => "ms",
        () if name.ends_with("_bytes_per_node_s") => "B/s",
        () if name.ends_with("_per_node_s") => "1/s",
        () => "1",
    }
}

/// Durations in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    nanos: Vec<u64>,
}

impl Samples {
    pub(crate) fn add(&mut self, nanos: u64) {
        self.nanos.push(nanos);
    }

    /// All of them, in the order they were taken.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.nanos.iter().copied()
    }

    pub(crate) const fn len(&self) -> usize {
        self.nanos.len()
    }

    /// The least sample that `per_mille` of all do not exceed, in milliseconds.
    pub(crate) fn percentile_ms(&self, per_mille: usize) -> Option<f64> {
        let mut sorted = self.nanos.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
        sorted.get(rank - 1).map(|nanos| ms(*nanos))
    }

    /// How many do not exceed `nanos`.
    pub(crate) fn within(&self, nanos: u64) -> usize {
        self.nanos.iter().filter(|sample| **sample <= nanos).count()
    }
}

/// Nanoseconds as milliseconds.
#[allow(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
pub(crate) fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// One number by another; `None` when there is nothing to divide by.
#[allow(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The measures that were taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measures(pub(crate) BTreeMap<&'static str, f64>);

impl Measures {
    /// Notes a measure, if it was taken.
    ///
    /// # Panics
    /// If it is not in [`NAMES`].
    pub(crate) fn note(&mut self, name: &'static str, value: Option<f64>) {
        assert!(NAMES.contains(&name), "every measure stands in NAMES");
        if let Some(value) = value {
            self.0.insert(name, (value * 1_000.0).round() / 1_000.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.percentile_ms(500), None);
        (1..=100).rev().for_each(|number| samples.add(number * 1_000_000));
        let of = |per_mille| samples.percentile_ms(per_mille);
        assert_eq!((of(0), of(500), of(990), of(1_000)), (Some(1.0), Some(50.0), Some(99.0), Some(100.0)));
        assert_eq!((samples.within(10_000_000), samples.len()), (10, 100));
    }
}
