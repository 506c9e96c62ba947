//! The table that edges read, and what to do with one request. Pure: the same table and request give the same decision.
use std::{collections::BTreeMap, time::Duration};

use crate::{
    id::{CellId, InstanceId, NodeId, TenantId},
    refusal::{Code, Refusal},
};

/// Where requests may go. Edges keep a copy, changed by [`RouteDelta`]s only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    hosts: BTreeMap<String, CellId>,
    apps: BTreeMap<CellId, AppRoute>,
}

/// One app's instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRoute {
    /// Its cell 0.
    pub cell: CellId,
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub app: String,
    /// Hosts that it answers for.
    pub hosts: Vec<String>,
    /// Best first: local, then by round trip.
    pub targets: Vec<Target>,
}

/// An instance that may serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which instance.
    pub instance: InstanceId,
    /// Under which generation of its lease.
    pub generation: u64,
    /// Where.
    pub node: NodeId,
    /// On this very node.
    pub local: bool,
    /// The link to it is up, as this node sees it now.
    pub up: bool,
    /// Of the link.
    pub round_trip: Duration,
}

/// A change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteDelta {
    /// This app is routed so from now on.
    Put(AppRoute),
    /// This app is not routed any more.
    Remove(CellId),
}

/// What `decide` needs to know of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFacts<'a> {
    /// Lower case, without port.
    pub host: &'a str,
    /// GET, HEAD, OPTIONS, PUT, DELETE by their definition, or any method with an `Idempotency-Key`.
    pub repeatable: bool,
    /// Time since the request came in.
    pub waited: Duration,
}

/// What happened to it so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Instances that were tried and failed.
    pub tried: Vec<InstanceId>,
    /// The machine was asked to resolve the host.
    pub resolved: bool,
    /// Bytes of the request may have reached an instance that did not answer.
    pub perhaps_done: bool,
}

/// What the edge does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send it there.
    Go(Target),
    /// Ask the machine to resolve the host, then decide again.
    Resolve,
    /// Wait for a change of the table, at most so long, then decide again.
    Hold {
        /// At most.
        at_most: Duration,
        /// Why, for the log.
        reason: HoldReason,
    },
    /// Answer this.
    Refuse(Refusal),
}

/// Why a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// No instance is up; one is being started or a stand-in sought.
    NoInstance,
    /// All that are up were tried.
    AllTried,
}

/// A request waits at most so long for an instance.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// A request goes to at most so many instances.
const ATTEMPTS_MAX: usize = 4;

impl Table {
    /// Takes a change in.
    pub fn change(&mut self, delta: RouteDelta) {
        match delta {
            RouteDelta::Put(route) => {
                self.unhost(route.cell);
                for host in &route.hosts {
                    self.hosts.insert(host.clone(), route.cell);
                }
                self.apps.insert(route.cell, route);
            }
            RouteDelta::Remove(cell) => {
                self.unhost(cell);
                self.apps.remove(&cell);
            }
        }
    }

    fn unhost(&mut self, cell: CellId) {
        for host in self.apps.get(&cell).map(|route| route.hosts.clone()).unwrap_or_default() {
            if self.hosts.get(&host) == Some(&cell) {
                self.hosts.remove(&host);
            }
        }
    }

    /// The route of a host.
    #[must_use]
    pub fn route(&self, host: &str) -> Option<&AppRoute> {
        self.apps.get(self.hosts.get(host)?)
    }

    /// All routes, by cell.
    pub fn routes(&self) -> impl Iterator<Item = &AppRoute> {
        self.apps.values()
    }

    /// What to do with a request that came so far.
    ///
    /// A request that may have been done and may not be repeated is refused *indefinite*; anything else goes to the best
    /// instance not tried yet, waits for one, or is refused *definite* in the end.
    #[must_use]
    pub fn decide(&self, request: &RequestFacts<'_>, attempt: &Attempt) -> Decision {
        if attempt.perhaps_done && !request.repeatable {
            let detail = "the instance stopped answering; whether the request was done is unknown. Repeat it with an \
                          Idempotency-Key to find out.";
            return Decision::Refuse(Refusal::indefinite(Code::Unreachable, detail));
        }
        let Some(route) = self.route(request.host) else {
            if !attempt.resolved {
                return Decision::Resolve;
            }
            let detail = format!("no app answers for {} in this mesh", request.host);
            return Decision::Refuse(Refusal::definite(Code::NotFound, detail));
        };
        let untried = |target: &&Target| target.up && !attempt.tried.contains(&target.instance);
        if attempt.tried.len() < ATTEMPTS_MAX
            && let Some(target) = route.targets.iter().find(untried)
        {
            return Decision::Go(target.clone());
        }
        let left = HOLD_MAX.saturating_sub(request.waited);
        if left.is_zero() || attempt.tried.len() >= ATTEMPTS_MAX {
            let detail = format!("no instance of {} answered in time; try again", route.app);
            return Decision::Refuse(Refusal::definite(Code::Unreachable, detail));
        }
        let reason = if attempt.tried.is_empty() { HoldReason::NoInstance } else { HoldReason::AllTried };
        Decision::Hold { at_most: left.min(Duration::from_millis(100)), reason }
    }
}
