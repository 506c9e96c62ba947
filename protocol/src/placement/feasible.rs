//! First stage: who may serve at all. One pass; whoever is left out is left out for one named reason.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Policy, Request};
use crate::{
    capacity::{Capacity, Health},
    id::{NodeId, OperatorId},
    resources::{Currency, Jurisdiction, Resources},
};

/// A node that may serve, with what it asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feasible<'a> {
    pub(super) capacity: &'a Capacity,
    /// It stands where the quorum may be.
    pub(super) home: bool,
    /// It is at home and has room for a replica.
    pub(super) votes: bool,
    /// It is away and has room for a replica.
    pub(super) copies: bool,
    /// It has room for an instance.
    pub(super) hosts: bool,
    pub(super) replica_price: u64,
    pub(super) instance_price: u64,
}

/// What the first stage leaves.
#[derive(Debug)]
pub(super) struct Sifted<'a> {
    pub(super) feasible: Vec<Feasible<'a>>,
    pub(super) rejected: Vec<(NodeId, Reason)>,
    /// The one currency that the plan is made in.
    pub(super) currency: Option<Currency>,
}

/// Why a node was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its jurisdiction is neither home nor away.
    Elsewhere(Jurisdiction),
    /// Asked to be left out: it said no, or is the one to be replaced.
    Excluded,
    /// Its observers agree that it is down.
    Down,
    /// Its certificate or offer has expired.
    Expired,
    /// Too little is free, even for the smaller of replica and instance.
    TooSmall {
        /// What is free.
        free: Resources,
    },
    /// It asks in another currency than the plan is made in.
    OtherCurrency {
        /// Its own.
        asks: Currency,
        /// The plan's.
        plan: Currency,
    },
    /// It has a replica of this app.
    HasReplica,
    /// Its operator has a vote in this app.
    SameOperator,
    /// A voter of this app stands at its site.
    SameSite,
    /// Its operator would hold more than the charter lets one hold.
    Dominant,
    /// It could serve; those that were chosen are better placed, cheaper or nearer.
    NotNeeded,
}

/// Sorts the inventory into who may serve and who may not.
pub(super) fn sift<'a>(request: &Request, inventory: impl IntoIterator<Item = &'a Capacity>) -> Sifted<'a> {
    let policy = &request.policy;
    let (mut feasible, mut rejected, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
    for capacity in inventory {
        match examine(request, capacity) {
            Ok(candidate) => feasible.push(candidate),
            Err(reason) => rejected.push((capacity.offer.node, reason)),
        }
        known.insert(capacity.offer.node);
    }
    let withheld = request.withheld.iter().filter(|node| !known.contains(node));
    rejected.extend(withheld.map(|node| (*node, Reason::Dominant)));
    let currency = policy.max_price.map(|price| price.currency).or_else(|| commonest_currency(&feasible));
    feasible.retain(|candidate| {
        let asks = candidate.capacity.offer.price.currency;
        let Some(plan) = currency.filter(|plan| *plan != asks) else { return true };
        rejected.push((candidate.capacity.offer.node, Reason::OtherCurrency { asks, plan }));
        false
    });
    Sifted { feasible, rejected, currency }
}

/// Whether the quorum may stand there. An empty home is everywhere but away.
pub(super) fn is_home(policy: &Policy, jurisdiction: Jurisdiction) -> bool {
    policy.is_home(jurisdiction)
}

fn examine<'a>(request: &Request, capacity: &'a Capacity) -> Result<Feasible<'a>, Reason> {
    let policy = &request.policy;
    let jurisdiction = capacity.standing.jurisdiction;
    let home = is_home(policy, jurisdiction);
    if !home && !policy.away.contains(&jurisdiction) {
        return Err(Reason::Elsewhere(jurisdiction));
    }
    if request.exclude.contains(&capacity.offer.node) {
        return Err(Reason::Excluded);
    }
    if capacity.health == Health::Down {
        return Err(Reason::Down);
    }
    if capacity.expires <= request.at {
        return Err(Reason::Expired);
    }
    let free = capacity.offer.free();
    let votes = home && free.covers(&policy.replica);
    let copies = !home && free.covers(&policy.replica);
    let hosts = free.covers(&policy.instance);
    // Nothing on offer is no capacity, even for a policy that asks for nothing.
    if !(votes || copies || hosts) || free == Resources::default() {
        return Err(Reason::TooSmall { free });
    }
    let replica_price = capacity.offer.price.per_hour(&policy.replica);
    let instance_price = capacity.offer.price.per_hour(&policy.instance);
    Ok(Feasible { capacity, home, votes, copies, hosts, replica_price, instance_price })
}

/// Prices in two currencies cannot be compared or added. Where the tenant names none, the plan is made in the one in
/// which most operators ask; ties go to the first in the alphabet.
fn commonest_currency(feasible: &[Feasible<'_>]) -> Option<Currency> {
    let asks = |candidate: &Feasible<'_>| candidate.capacity.offer.price.currency;
    let first = asks(feasible.first()?);
    if feasible.iter().all(|candidate| asks(candidate) == first) {
        return Some(first);
    }
    let mut operators = BTreeMap::<Currency, BTreeSet<OperatorId>>::new();
    for candidate in feasible {
        operators.entry(asks(candidate)).or_default().insert(candidate.capacity.standing.operator);
    }
    operators.into_iter().min_by_key(|(_, asking)| std::cmp::Reverse(asking.len())).map(|(currency, _)| currency)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere(jurisdiction) => write!(f, "{jurisdiction} is neither home nor away"),
            Self::Excluded => f.write_str("it said no, or shall be left out"),
            Self::Down => f.write_str("it is down: its observers agree"),
            Self::Expired => f.write_str("its offer or certificate has expired"),
            Self::TooSmall { free } => write!(f, "too little is free: {free}"),
            Self::OtherCurrency { asks, plan } => write!(f, "it asks {asks}; this plan is made in {plan}"),
            Self::HasReplica => f.write_str("it has a replica already"),
            Self::SameOperator => f.write_str("its operator has a vote already"),
            Self::SameSite => f.write_str("a voter stands at its site already"),
            Self::Dominant => f.write_str("its operator would hold more than the charter's share: bocage charter show"),
            Self::NotNeeded => f.write_str("not needed: the chosen ones are better placed, cheaper or nearer"),
        }
    }
}
