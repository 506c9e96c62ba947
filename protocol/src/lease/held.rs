//! One lease that is held here.
use std::time::Duration;

use super::{AGAIN, content_of};
use crate::{
    cell::{Description, InstanceState, LeaseInfo, ReleaseInfo, Secrets},
    id::{CellId, ContentHash, InstanceId},
    io::Start,
    machine::Deadline,
    time::{Instant, Timestamp, millis},
};

/// How far an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its bytes are sought.
    Fetching {
        /// Which.
        content: ContentHash,
    },
    /// Ordered from the runtime.
    Starting,
    /// Serves.
    Running,
    /// Will not serve, and why.
    Failed(String),
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) generation: u64,
    pub(super) line: u64,
    pub(super) writer: u64,
    pub(super) duration: Duration,
    pub(super) phase: Phase,
    /// Some release of it serves now: a new one that is still starting does not take it away.
    pub(super) serving: bool,
    /// It takes no new requests: its node drains and others serve, or its node stops.
    pub(super) lets_go: bool,
    /// Of the last renewal that was asked for.
    pub(super) serial: u64,
    pub(super) renew_at: Instant,
    /// The cell counts on it until then, on this node's clock; `None`: not renewed since the start.
    pub(super) valid_until: Option<Instant>,
    /// What runs, or is being started.
    running: Option<Running>,
}

/// All that a running instance was given, but its bounds: when any of it changes, it is started anew.
#[derive(Clone, Debug, PartialEq)]
struct Running {
    release: ReleaseInfo,
    env: Vec<(String, String)>,
    secrets: Secrets,
    outbound: Vec<String>,
}

impl Held {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            generation: 0,
            line: 0,
            writer: 0,
            duration: AGAIN,
            phase: Phase::Starting,
            serving: false,
            lets_go: false,
            serial: 0,
            renew_at: now + AGAIN,
            valid_until: None,
            running: None,
        }
    }

    /// Takes in what the cell says.
    pub(super) fn take(&mut self, description: &Description, lease: &LeaseInfo) {
        let wanted = description.release().map(|release| Running {
            release: ReleaseInfo { deployed: Timestamp(0), ..release.clone() },
            env: description.env.clone(),
            secrets: description.secrets.clone(),
            outbound: description.policy.outbound.clone(),
        });
        let same = self.generation == lease.generation && self.running == wanted;
        self.generation = lease.generation;
        self.line = description.line;
        self.writer = description.writer;
        self.duration = lease.duration;
        if same {
            return;
        }
        let content = wanted.as_ref().and_then(|wanted| content_of(&wanted.release.workload));
        self.running = wanted;
        self.phase = match content {
            Some((content, _)) => Phase::Fetching { content },
            None => Phase::Failed("this kind of workload does not run on this node".into()),
        };
    }

    /// What the cell is told.
    pub(super) fn state(&self) -> InstanceState {
        match &self.phase {
            Phase::Failed(why) => InstanceState::Failed(why.clone()),
            Phase::Fetching { .. } | Phase::Starting | Phase::Running if self.lets_go => InstanceState::Starting,
            Phase::Running => InstanceState::Running,
            Phase::Fetching { .. } | Phase::Starting if self.serving => InstanceState::Running,
            Phase::Fetching { .. } | Phase::Starting => InstanceState::Starting,
        }
    }

    pub(super) fn wants(&self, wanted: ContentHash) -> bool {
        matches!(self.phase, Phase::Fetching { content } if content == wanted)
    }

    /// The order, now that the bytes are here.
    pub(super) fn start(&mut self, description: &Description, instance: InstanceId) -> Option<Start> {
        let Running { release, env, secrets, outbound } = self.running.clone()?;
        self.phase = Phase::Starting;
        Some(Start {
            instance,
            generation: self.generation,
            tenant: description.tenant,
            app: description.app.clone(),
            release: release.number,
            workload: release.workload,
            env,
            secrets,
            outbound,
            resources: description.policy.instance,
        })
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline { at: self.renew_at, reason: "renew a lease" }
    }
}

/// When a lease of this cell is renewed next: all holders do so at one moment of the wall clock, another for each cell, so
/// that the cell's members wake once for all of them. Later than a quarter of `every`, and within five quarters.
pub(super) fn until_renewal(wall: Timestamp, cell: CellId, every: Duration) -> Duration {
    let every = millis(every).max(1);
    let own = cell.0.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(257).wrapping_add(u64::from(*byte))) % every;
    let left = every - (wall.0 + every - own) % every;
    Duration::from_millis(if left * 4 > every { left } else { left + every })
}

/// A lease without what every renewal changes: what is worth writing to disk again.
pub(super) fn without_renewals(lease: LeaseInfo) -> LeaseInfo {
    LeaseInfo { renewed: Timestamp(0), state: InstanceState::Starting, ..lease }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_holders_of_a_cells_leases_renew_at_one_moment_and_those_of_others_at_another() {
        let every = Duration::from_secs(3);
        let next = |wall: u64, cell: u8| wall + millis(until_renewal(Timestamp(wall), CellId([cell; 32]), every));
        let moments: Vec<u64> = (1_000_000..1_009_000).step_by(7).map(|wall| next(wall, 1) % 3_000).collect();
        assert!(moments.iter().all(|moment| *moment == moments[0]), "{moments:?}");
        assert_ne!(next(1_000_000, 1) % 3_000, next(1_000_000, 2) % 3_000);
        for wall in 1_000_000..1_003_000 {
            let wait = next(wall, 1) - wall;
            assert!(wait > 750 && wait <= 3_750, "{wait} ms");
        }
        assert_eq!(until_renewal(Timestamp(0), CellId::default(), Duration::ZERO), Duration::from_millis(1));
    }
}
