//! One lease that is held here.
use std::time::Duration;

use super::{AGAIN, content_of};
use crate::{
    cell::{Description, InstanceState, LeaseInfo, ReleaseInfo, Secrets},
    id::{ContentHash, InstanceId},
    io::Start,
    machine::Deadline,
    time::{Instant, Timestamp},
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

/// A lease without what every renewal changes: what is worth writing to disk again.
pub(super) fn without_renewals(lease: LeaseInfo) -> LeaseInfo {
    LeaseInfo { renewed: Timestamp(0), state: InstanceState::Starting, ..lease }
}
