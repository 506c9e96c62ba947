//! The other side of placement: whether a plan keeps what its policy promises, re-read from what operators and nodes
//! signed, by other means than those that made it. Each replica's check of a genesis mirrors it.
use std::collections::{BTreeMap, BTreeSet};

use super::{Grade, HOURS_A_MONTH, MICRO, Placed, Plan, Request, VoterPlace, WHY_BYTES_MAX, Want, grade};
use crate::{
    capacity::Offer,
    cell::Role,
    codec,
    id::NodeId,
    resources::{Jurisdiction, Resources},
};

/// Checks a plan against its request.
///
/// # Errors
/// The first promise that it breaks, in words.
pub fn check(request: &Request, plan: &Plan) -> Result<(), String> {
    let policy = &request.policy;
    let mut needs = BTreeMap::<NodeId, (Resources, Offer)>::new();
    for (placed, role) in roles(plan) {
        let offer = check_placed(request, placed, role)?;
        let need = if role == Role::Instance { &policy.instance } else { &policy.replica };
        ensure(placed.price_per_hour == offer.price.per_hour(need), || {
            format!("{:?} is placed at another price than it asks", placed.node)
        })?;
        ensure(Some(offer.price.currency) == plan.currency, || format!("{:?} asks in another currency", placed.node))?;
        let entry = needs.entry(placed.node).or_insert_with(|| (Resources::default(), offer));
        entry.0 = entry.0.plus(need);
    }
    for (node, (need, offer)) in &needs {
        ensure(offer.free().covers(need), || format!("{node:?} has no room for all that it is to hold"))?;
    }
    check_voters(request, plan)?;
    check_instances(request, plan)?;
    check_price(request, plan)
}

fn roles(plan: &Plan) -> impl Iterator<Item = (&Placed, Role)> {
    let voters = plan.voters.iter().map(|placed| (placed, Role::Vote));
    voters.chain(plan.instances.iter().map(|placed| (placed, Role::Instance)))
}

fn check_placed(request: &Request, placed: &Placed, role: Role) -> Result<Offer, String> {
    let policy = &request.policy;
    let node = placed.node;
    let certificate = placed.candidate.certificate.verify().map_err(|error| error.to_string())?;
    let body = placed.candidate.offer.verify().map_err(|error| error.to_string())?;
    let offer: Offer = codec::decode("offer", &body.content).map_err(|error| error.to_string())?;
    ensure(certificate.node == node && offer.node == node, || format!("{node:?} is not who its papers say"))?;
    ensure(request.at < certificate.expires && request.at < body.expires, || format!("{node:?} has expired papers"))?;
    ensure(!request.exclude.contains(&node), || format!("{node:?} was excluded"))?;
    ensure(placed.why.len() <= WHY_BYTES_MAX && !placed.why.is_empty(), || format!("{node:?} lacks a short reason"))?;
    let away_only = |law: &Jurisdiction| policy.away.contains(law);
    let home = if policy.home.is_empty() {
        !away_only(&certificate.jurisdiction)
    } else {
        policy.home.contains(&certificate.jurisdiction)
    };
    let is_copy = matches!(request.want, Want::Copy { law, .. } if law == certificate.jurisdiction);
    let lawful = if is_copy && role == Role::Vote {
        !home && away_only(&certificate.jurisdiction)
    } else {
        home || (role == Role::Instance && away_only(&certificate.jurisdiction))
    };
    ensure(lawful, || format!("{node:?} stands in {}", certificate.jurisdiction))?;
    let standing = VoterPlace {
        operator: certificate.operator_id(),
        site: certificate.site.clone(),
        jurisdiction: certificate.jurisdiction,
    };
    ensure(placed.standing == standing, || format!("{node:?} stands elsewhere than planned"))?;
    Ok(offer)
}

fn check_voters(request: &Request, plan: &Plan) -> Result<(), String> {
    let policy = &request.policy;
    let replaced = match request.want {
        Want::Replica { replaces } => replaces.map(|replica| replica.0),
        Want::Copy { replaces, .. } => replaces.map(|replica| replica.0),
        Want::All | Want::Instance | Want::InstanceOn(_) => None,
    };
    let stays = request.current.iter().filter(|current| {
        request.want != Want::All && current.role != Role::Instance && Some(current.number) != replaced
    });
    let stays: Vec<_> = stays.collect();
    let votes = |current: &&&crate::placement::Current| {
        current.role == Role::Vote || !policy.away.contains(&current.standing.jurisdiction)
    };
    let mut all: Vec<VoterPlace> = stays.iter().filter(votes).map(|current| current.standing.clone()).collect();
    if !matches!(request.want, Want::Copy { .. }) {
        all.extend(plan.voters.iter().map(|placed| placed.standing.clone()));
    }
    ensure(grade(&all) == plan.grade, || "the plan shows another grade than its voters have".into())?;

    let nodes = stays.iter().map(|current| current.node).chain(plan.voters.iter().map(|placed| placed.node));
    let nodes: Vec<_> = nodes.collect();
    let doubled = nodes.len() - nodes.iter().collect::<BTreeSet<_>>().len();
    ensure(doubled == 0 || plan.voters.is_empty(), || "one node has two replicas".into())?;

    let expected = match request.want {
        Want::All => policy.voters as usize,
        Want::Replica { .. } | Want::Copy { .. } => 1,
        Want::Instance | Want::InstanceOn(_) => 0,
    };
    let right_count = plan.voters.len() == expected
        || (request.want == Want::All
            && policy.allow_degraded
            && plan.voters.len() % 2 == 1
            && plan.voters.len() < expected);
    ensure(right_count, || format!("{} voters are not {expected}", plan.voters.len()))?;
    if policy.allow_degraded || matches!(request.want, Want::Copy { .. }) {
        return Ok(());
    }
    for (at, placed) in plan.voters.iter().enumerate() {
        let others = plan.voters[..at].iter().map(|other| &other.standing);
        for other in others.chain(stays.iter().filter(votes).map(|current| &current.standing)) {
            ensure(other.operator != placed.standing.operator, || "an operator has two votes".into())?;
            let one_site = other.jurisdiction == placed.standing.jurisdiction && other.site == placed.standing.site;
            ensure(!one_site, || "two votes stand at one site".into())?;
        }
    }
    if request.want == Want::All && policy.voters > 1 {
        ensure(plan.grade >= Grade::Site, || "three voters do not survive the loss of a site".into())?;
        if let Some(side) = policy.cut.home_cut {
            let there = all.iter().filter(|voter| voter.jurisdiction == side).count();
            ensure(there > all.len() / 2, || format!("{side} would not keep the quorum"))?;
        }
    }
    Ok(())
}

fn check_instances(request: &Request, plan: &Plan) -> Result<(), String> {
    let policy = &request.policy;
    let at_home = plan.instances.iter().filter(|placed| !policy.away.contains(&placed.standing.jurisdiction)).count();
    let (min, max) = (policy.scale.min as usize, policy.scale.max as usize);
    match request.want {
        Want::All => {
            let enough = at_home == min || (policy.allow_degraded && (1..min).contains(&at_home));
            ensure(enough, || format!("{at_home} instances at home, {min} wanted"))?;
            ensure(plan.instances.len() <= max, || "more instances than scale.max".into())
        }
        Want::Replica { .. } | Want::Copy { .. } => {
            ensure(plan.instances.is_empty(), || "an instance that nobody wanted".into())
        }
        Want::Instance | Want::InstanceOn(_) => ensure(plan.instances.len() == 1, || "one instance was wanted".into()),
    }
}

fn check_price(request: &Request, plan: &Plan) -> Result<(), String> {
    let Some(limit) = request.policy.max_price else { return Ok(()) };
    ensure(plan.currency.is_none_or(|currency| currency == limit.currency), || "another currency".into())?;
    let placed: u128 = roles(plan).map(|(placed, _)| u128::from(placed.price_per_hour)).sum();
    let allowed = u128::from(limit.minor) * u128::from(MICRO);
    ensure(placed * u128::from(HOURS_A_MONTH) <= allowed, || "dearer than max_price".into())?;
    ensure(placed <= u128::from(plan.price_per_hour), || "the plan hides a part of its price".into())
}

fn ensure(holds: bool, why_not: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why_not()) }
}
