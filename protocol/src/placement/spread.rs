//! Third stage: whom to take together. Voters of distinct operators at distinct sites, over as many jurisdictions as can
//! be; instances next to voters, spread over operators.
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Policy, VoterPlace,
    feasible::Feasible,
    matching::{self, Rules},
    rank::{self, Aim, Ranked, Score},
};
use crate::{
    id::{NodeId, OperatorId},
    resources::{Jurisdiction, Resources},
};

/// Why the voters that a policy wants cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    /// So many distinct operators, and so many distinct pairs of operator and site, are there.
    Voters { operators: usize, together: usize },
    /// Too few of them in the jurisdiction that is to keep the quorum.
    HomeCut { side: Jurisdiction, needed: usize, found: usize },
}

/// The voters of a new app, best first.
///
/// With `allow_degraded`, where the whole of the policy cannot be had: fewer voters of distinct operators at distinct
/// sites, at least three; else three or more at shared sites; else three or more on distinct nodes, spread as evenly as
/// can be; else one. Always an odd number.
pub(super) fn voters<'a>(
    policy: &Policy,
    feasible: &[Feasible<'a>],
    aim: Aim<'_>,
    salt: u64,
) -> Result<Vec<Ranked<'a>>, Shortage> {
    let ranked = rank::voters(feasible, aim, salt);
    let wanted = usize::try_from(policy.voters).unwrap_or(usize::MAX);
    let rules = Rules {
        votes: wanted,
        sites_shared: false,
        spread: aim.spreads(),
        majority_in: policy.cut.home_cut.filter(|_| wanted > 1),
    };
    let best = matching::choose(&ranked, rules);
    let shortage = shortage(&ranked, &best, rules);
    let Some(shortage) = shortage else { return Ok(best) };
    if !policy.allow_degraded {
        return Err(shortage);
    }
    let degraded = fewer(&ranked, best, rules);
    if degraded.is_empty() { Err(shortage) } else { Ok(degraded) }
}

fn shortage(ranked: &[Ranked<'_>], best: &[Ranked<'_>], rules: Rules) -> Option<Shortage> {
    if best.len() < rules.votes {
        let operators: BTreeSet<_> = ranked.iter().map(|voter| voter.of.capacity.standing.operator).collect();
        return Some(Shortage::Voters { operators: operators.len(), together: best.len() });
    }
    let side = rules.majority_in?;
    let needed = rules.votes / 2 + 1;
    let found = best.iter().filter(|voter| voter.of.capacity.standing.jurisdiction == side).count();
    (found < needed).then_some(Shortage::HomeCut { side, needed, found })
}

fn fewer<'a>(ranked: &[Ranked<'a>], best: Vec<Ranked<'a>>, rules: Rules) -> Vec<Ranked<'a>> {
    if best.len() == rules.votes {
        return best;
    }
    if best.len() >= 3 {
        return matching::choose(ranked, Rules { votes: odd(best.len()), ..rules });
    }
    let sharing = matching::choose(ranked, Rules { sites_shared: true, ..rules });
    if sharing.len() >= 3 {
        return matching::choose(ranked, Rules { votes: odd(sharing.len()), sites_shared: true, ..rules });
    }
    evenly(ranked, odd(rules.votes.min(ranked.len())))
}

/// The largest odd number up to `count`; 0 for 0.
const fn odd(count: usize) -> usize {
    if count.is_multiple_of(2) { count.saturating_sub(1) } else { count }
}

/// So many distinct nodes, each next one where operator and site have the fewest so far.
fn evenly<'a>(ranked: &[Ranked<'a>], count: usize) -> Vec<Ranked<'a>> {
    let mut chosen: Vec<Ranked<'a>> = Vec::new();
    while chosen.len() < count {
        let untaken = ranked.iter().filter(|voter| chosen.iter().all(|taken| taken.node() != voter.node()));
        let crowd = |voter: &&Ranked<'a>| crowding(&voter.of.capacity.standing, chosen.iter().map(standing));
        let Some(next) = untaken.min_by_key(|voter| (crowd(voter), voter.score, voter.node())) else { break };
        chosen.push(*next);
    }
    chosen
}

fn standing<'a>(voter: &Ranked<'a>) -> &'a VoterPlace {
    &voter.of.capacity.standing
}

/// How many of `others` share operator, site and jurisdiction with it: fewer is better, in this order.
pub(super) fn crowding<'a>(of: &VoterPlace, others: impl Iterator<Item = &'a VoterPlace>) -> (usize, usize, usize) {
    others.fold((0, 0, 0), |(operator, site, law), other| {
        let same_law = other.jurisdiction == of.jurisdiction;
        let same_site = same_law && other.site == of.site;
        (
            operator + usize::from(other.operator == of.operator),
            site + usize::from(same_site),
            law + usize::from(same_law),
        )
    })
}

/// The one best voter beside `others`: of another operator and at another site than all of them, unless `allow_degraded`
/// and there is none; in a jurisdiction with few of them.
pub(super) fn newcomer<'a>(
    policy: &Policy,
    feasible: &[Feasible<'a>],
    others: &[&VoterPlace],
    aim: Aim<'_>,
    salt: u64,
) -> Result<Ranked<'a>, Shortage> {
    let ranked = rank::voters(feasible, aim, salt);
    let keeps_quorum = policy.cut.home_cut.filter(|_| others.len() >= 2);
    let majority = others.len().div_ceil(2) + 1 - others.len() % 2;
    let on_side = others.iter().filter(|other| Some(other.jurisdiction) == keeps_quorum).count();
    // One more vote elsewhere would leave the side that shall keep the quorum without a majority.
    let must_be_on_side = keeps_quorum.is_some() && on_side < majority;
    let key = |voter: &Ranked<'a>| {
        let (same_operator, same_site, same_law) = crowding(standing(voter), others.iter().copied());
        let off_side = must_be_on_side && keeps_quorum != Some(standing(voter).jurisdiction);
        let same_law = if aim.spreads() { same_law } else { 0 };
        (same_operator, same_site, off_side, same_law, voter.score, voter.node())
    };
    let operators: BTreeSet<_> = ranked.iter().map(|voter| standing(voter).operator).collect();
    let short = Shortage::Voters { operators: operators.len(), together: 0 };
    let best = ranked.iter().min_by_key(|voter| key(voter)).ok_or(short)?;
    let (same_operator, same_site, off_side, ..) = key(best);
    if policy.allow_degraded || (same_operator, same_site, off_side) == (0, 0, false) {
        return Ok(*best);
    }
    match keeps_quorum.filter(|_| (same_operator, same_site) == (0, 0)) {
        Some(side) => Err(Shortage::HomeCut { side, needed: majority, found: on_side }),
        None => Err(short),
    }
}

/// What an app has already, or is about to have.
#[derive(Clone, Debug, Default)]
pub(super) struct Loads {
    pub(super) of_operator: BTreeMap<OperatorId, usize>,
    /// Nodes with an instance: no node has two of one app.
    pub(super) hosting: BTreeSet<NodeId>,
    /// Nodes with a replica: an instance next to it reads without a round trip.
    pub(super) voting: BTreeSet<NodeId>,
    /// What this plan takes on a node beyond what is used there already.
    taken: BTreeMap<NodeId, Resources>,
}

/// Up to `count` nodes for instances, among `hosts`: each next one at the operator with the fewest, a voter's node before
/// others, then by rank.
pub(super) fn instances<'a>(
    hosts: impl Iterator<Item = Ranked<'a>>,
    need: &Resources,
    loads: &mut Loads,
    count: usize,
) -> Vec<Ranked<'a>> {
    type Key = (bool, Score, NodeId);
    let mut nodes = BTreeMap::<NodeId, Ranked<'a>>::new();
    let mut at = BTreeMap::<OperatorId, BTreeSet<Key>>::new();
    for host in hosts.filter(|host| loads.has_room(host, need)) {
        let key = (!loads.voting.contains(&host.node()), host.score, host.node());
        at.entry(standing(&host).operator).or_default().insert(key);
        nodes.insert(host.node(), host);
    }
    let load_of = |operator| loads.of_operator.get(&operator).copied().unwrap_or(0);
    let first_of = |(operator, keys): (&OperatorId, &BTreeSet<Key>)| {
        let best = *keys.first()?;
        Some((load_of(*operator), best, *operator))
    };
    let mut operators: BTreeSet<(usize, Key, OperatorId)> = at.iter().filter_map(first_of).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let Some((load, key, operator)) = operators.pop_first() else { break };
        let host = nodes[&key.2];
        chosen.push(host);
        loads.host(&host, need);
        let Some(keys) = at.get_mut(&operator) else { continue };
        keys.remove(&key);
        operators.extend(keys.first().map(|next| (load + 1, *next, operator)));
    }
    chosen
}

impl Loads {
    /// Counts a vote that this plan gives.
    pub(super) fn vote(&mut self, voter: &Ranked<'_>, need: &Resources) {
        self.voting.insert(voter.node());
        self.reserve(voter.node(), need);
    }

    fn host(&mut self, host: &Ranked<'_>, need: &Resources) {
        *self.of_operator.entry(standing(host).operator).or_default() += 1;
        self.hosting.insert(host.node());
        self.reserve(host.node(), need);
    }

    fn reserve(&mut self, node: NodeId, need: &Resources) {
        let taken = self.taken.entry(node).or_default();
        *taken = taken.plus(need);
    }

    fn has_room(&self, host: &Ranked<'_>, need: &Resources) -> bool {
        let taken = self.taken.get(&host.node()).copied().unwrap_or_default();
        !self.hosting.contains(&host.node()) && host.of.capacity.offer.free().covers(&taken.plus(need))
    }
}
