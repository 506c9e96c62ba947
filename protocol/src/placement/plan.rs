//! The pure `plan`: feasible → rank → spread → explain. Same request and same inventory in any order: same plan.
use std::collections::BTreeSet;

use super::{
    Current, INSTANCES_MAX, Placed, Plan, Policy, Request, Unplaceable, VoterPlace, Want,
    explain::{self, Asked, Rule},
    feasible::{self, Reason, Sifted},
    grade,
    rank::{self, Aim, Ranked},
    spread::{self, Loads},
};
use crate::{capacity::Capacity, cell::Role, id::NodeId, resources::Jurisdiction};

/// A month has so many hours, here as in [`Policy::max_price`].
pub const HOURS_A_MONTH: u64 = 730;

/// Micro-units in one minor unit of a currency.
pub const MICRO: u64 = 1_000_000;

/// Whom to ask, so that the policy is kept. Costs one pass over the inventory and a sort.
///
/// # Errors
/// When nobody could keep it, with the rule that failed and what would make it work.
pub fn plan<'a>(request: &Request, inventory: impl IntoIterator<Item = &'a Capacity>) -> Result<Plan, Unplaceable> {
    planned(request, inventory, Aim::Best)
}

/// As [`plan`], with the same rules, but among those who may serve whoever is ranked lowest comes first, and jurisdictions
/// are not spread over for their own sake. Where that is too dear for the policy, the cheapest as ever.
///
/// # Errors
/// As [`plan`].
pub fn plan_ranked<'a>(
    request: &Request,
    inventory: impl IntoIterator<Item = &'a Capacity>,
    rank: &dyn Fn(&Capacity) -> u64,
) -> Result<Plan, Unplaceable> {
    planned(request, inventory, Aim::By(rank))
}

fn planned<'a>(
    request: &Request,
    inventory: impl IntoIterator<Item = &'a Capacity>,
    aim: Aim<'_>,
) -> Result<Plan, Unplaceable> {
    if let Some(message) = contradiction(&request.policy) {
        return Err(Unplaceable { rule: Rule::Policy, message });
    }
    let mut sifted = feasible::sift(request, inventory);
    if let Want::Replica { replaces } | Want::Copy { replaces, .. } = request.want {
        leave_out_members(request, replaces.map(|replica| replica.0), &mut sifted);
    }
    let best = Draft::make(request, &sifted, aim)?;
    if best.within_price(request) {
        return Ok(best.finish(request, &sifted));
    }
    let cheapest = Draft::make(request, &sifted, Aim::Cheapest)?;
    match (request.policy.max_price, sifted.currency) {
        (Some(limit), Some(currency)) if !cheapest.within_price(request) => {
            Err(explain::too_dear(limit.minor, cheapest.price_per_hour, currency))
        }
        _ => Ok(cheapest.finish(request, &sifted)),
    }
}

/// What a policy must not say; the manifest refuses it earlier, but a release may come from anywhere.
fn contradiction(policy: &Policy) -> Option<String> {
    if !matches!(policy.voters, 1 | 3 | 5) {
        return Some(format!("voters is {}: it must be 1, 3 or 5", policy.voters));
    }
    if policy.scale.min > policy.scale.max {
        return Some(format!("scale.min {} is more than scale.max {}", policy.scale.min, policy.scale.max));
    }
    if policy.scale.min > INSTANCES_MAX {
        return Some(format!("scale.min is {}: at most {INSTANCES_MAX} are placed at once", policy.scale.min));
    }
    let both = policy.home.iter().find(|home| policy.away.contains(home))?;
    Some(format!("{both} is both home and away: name it in one of them"))
}

fn leave_out_members(request: &Request, replaces: Option<u64>, sifted: &mut Sifted<'_>) {
    let members: BTreeSet<_> = staying(request, replaces).map(|current| current.node).collect();
    let Sifted { feasible, rejected, .. } = sifted;
    feasible.retain(|candidate| {
        let node = candidate.capacity.offer.node;
        let is_member = members.contains(&node);
        if is_member {
            rejected.push((node, Reason::HasReplica));
        }
        !is_member
    });
}

/// The replicas that stay: all but the one to be replaced.
fn staying(request: &Request, replaces: Option<u64>) -> impl Iterator<Item = &Current> {
    let is_replica = |current: &&Current| current.role != Role::Instance;
    request.current.iter().filter(is_replica).filter(move |current| Some(current.number) != replaces)
}

/// The votes that stay: a copy away is no vote, and stands in no voter's way.
fn staying_votes(request: &Request, replaces: Option<u64>) -> impl Iterator<Item = &Current> {
    let is_copy =
        |current: &&Current| current.role == Role::Learn && request.policy.is_away(current.standing.jurisdiction);
    staying(request, replaces).filter(move |current| !is_copy(current))
}

/// A choice before it is explained.
struct Draft<'a> {
    voters: Vec<Ranked<'a>>,
    instances: Vec<Ranked<'a>>,
    /// Replicas that stay beside the new ones.
    others: Vec<&'a VoterPlace>,
    loads: Loads,
    price_per_hour: u64,
}

impl<'a> Draft<'a> {
    fn make(request: &'a Request, sifted: &Sifted<'a>, aim: Aim<'_>) -> Result<Self, Unplaceable> {
        match request.want {
            Want::All => Self::all(request, sifted, aim),
            Want::Replica { replaces } => Self::replica(request, sifted, aim, replaces.map(|replica| replica.0)),
            Want::Instance => Self::instance(request, sifted, aim),
            Want::InstanceOn(node) => Self::instance_on(request, sifted, aim, node),
            Want::Copy { law, replaces } => Self::copy(request, sifted, aim, law, replaces.map(|replica| replica.0)),
        }
    }

    fn all(request: &Request, sifted: &Sifted<'a>, aim: Aim<'_>) -> Result<Self, Unplaceable> {
        let policy = &request.policy;
        let wanted = usize::try_from(policy.voters).unwrap_or(usize::MAX);
        let voters = spread::voters(policy, &sifted.feasible, aim, request.salt)
            .map_err(|shortage| explain::shortage(policy, sifted, shortage, wanted))?;
        let mut loads = Loads::default();
        for voter in &voters {
            loads.vote(voter, &policy.replica);
        }
        let hosts = rank::hosts(&sifted.feasible, aim, request.salt);
        let wanted = usize::try_from(policy.scale.min).unwrap_or(usize::MAX);
        let at_home = hosts.iter().filter(|host| host.of.home).copied();
        let mut instances = spread::instances(at_home, &policy.instance, &mut loads, wanted);
        let degraded = policy.allow_degraded && !instances.is_empty();
        if instances.len() < wanted && !degraded {
            return Err(explain::no_room(policy, sifted, wanted, instances.len()));
        }
        if policy.scale.min > 0 {
            instances.extend(away(policy, &hosts, &mut loads, instances.len()));
        }
        let replicas = voters.iter().map(|voter| voter.of.replica_price);
        let prices = replicas.chain(instances.iter().map(|host| host.of.instance_price));
        let price_per_hour = prices.fold(0, u64::saturating_add);
        Ok(Self { voters, instances, others: Vec::new(), loads, price_per_hour })
    }

    fn replica(
        request: &'a Request,
        sifted: &Sifted<'a>,
        aim: Aim<'_>,
        replaces: Option<u64>,
    ) -> Result<Self, Unplaceable> {
        let policy = &request.policy;
        let others: Vec<_> = staying_votes(request, replaces).map(|current| &current.standing).collect();
        let voter = spread::newcomer(policy, &sifted.feasible, &others, aim, request.salt)
            .map_err(|shortage| explain::newcomer_shortage(policy, sifted, shortage))?;
        let instances = request.current.iter().filter(|current| current.role == Role::Instance);
        let stays = staying(request, replaces).chain(instances).map(|current| current.price_per_hour);
        let price_per_hour = stays.fold(voter.of.replica_price, u64::saturating_add);
        Ok(Self { voters: vec![voter], instances: Vec::new(), others, loads: Loads::default(), price_per_hour })
    }

    fn instance(request: &'a Request, sifted: &Sifted<'a>, aim: Aim<'_>) -> Result<Self, Unplaceable> {
        let policy = &request.policy;
        let mut loads = Loads::default();
        let (mut at_home, mut served) = (0, BTreeSet::new());
        for current in &request.current {
            if current.role != Role::Instance {
                loads.voting.insert(current.node);
                continue;
            }
            *loads.of_operator.entry(current.standing.operator).or_default() += 1;
            loads.hosting.insert(current.node);
            at_home += u32::from(feasible::is_home(policy, current.standing.jurisdiction));
            served.insert(current.standing.jurisdiction);
        }
        let hosts = rank::hosts(&sifted.feasible, aim, request.salt);
        let unserved = policy.away.iter().filter(|law| !served.contains(law) && at_home >= policy.scale.min.max(1));
        let mut chosen = Vec::new();
        for law in unserved {
            let there = hosts.iter().filter(|host| host.of.capacity.standing.jurisdiction == *law).copied();
            chosen = spread::instances(there, &policy.instance, &mut loads, 1);
            if !chosen.is_empty() {
                break;
            }
        }
        if chosen.is_empty() {
            let there = hosts.iter().filter(|host| host.of.home).copied();
            chosen = spread::instances(there, &policy.instance, &mut loads, 1);
        }
        let Some(host) = chosen.first() else { return Err(explain::no_room(policy, sifted, 1, 0)) };
        let stays = request.current.iter().map(|current| current.price_per_hour);
        let price_per_hour = stays.fold(host.of.instance_price, u64::saturating_add);
        let others = staying_votes(request, None).map(|current| &current.standing).collect();
        Ok(Self { voters: Vec::new(), instances: chosen, others, loads, price_per_hour })
    }

    /// On that very node, which has a copy already.
    fn instance_on(request: &'a Request, sifted: &Sifted<'a>, aim: Aim<'_>, node: NodeId) -> Result<Self, Unplaceable> {
        let hosts = rank::hosts(&sifted.feasible, aim, request.salt);
        let mut loads = Loads::default();
        loads.voting.insert(node);
        let there = hosts.into_iter().filter(|host| host.node() == node);
        let chosen = spread::instances(there, &request.policy.instance, &mut loads, 1);
        let Some(host) = chosen.first() else { return Err(explain::no_room(&request.policy, sifted, 1, 0)) };
        let stays = request.current.iter().map(|current| current.price_per_hour);
        let price_per_hour = stays.fold(host.of.instance_price, u64::saturating_add);
        let others = staying_votes(request, None).map(|current| &current.standing).collect();
        Ok(Self { voters: Vec::new(), instances: chosen, others, loads, price_per_hour })
    }

    /// Where an instance of the app runs already, if there is room; else the best under that law.
    fn copy(
        request: &'a Request,
        sifted: &Sifted<'a>,
        aim: Aim<'_>,
        law: Jurisdiction,
        replaces: Option<u64>,
    ) -> Result<Self, Unplaceable> {
        let instances = request.current.iter().filter(|current| current.role == Role::Instance);
        let hosting: BTreeSet<NodeId> = instances.map(|current| current.node).collect();
        let ranked = rank::copies(&sifted.feasible, aim, request.salt);
        let there = ranked.into_iter().filter(|copy| copy.of.capacity.standing.jurisdiction == law);
        let best = there.min_by_key(|copy| (!hosting.contains(&copy.node()), copy.score, copy.node()));
        let copy = best.ok_or_else(|| explain::no_copy(law))?;
        let stays = staying(request, replaces).chain(request.current.iter().filter(|one| one.role == Role::Instance));
        let price_per_hour = stays.map(|one| one.price_per_hour).fold(copy.of.replica_price, u64::saturating_add);
        let others = staying_votes(request, replaces).map(|current| &current.standing).collect();
        let loads = Loads::default();
        Ok(Self { voters: vec![copy], instances: Vec::new(), others, loads, price_per_hour })
    }

    fn within_price(&self, request: &Request) -> bool {
        request.policy.max_price.is_none_or(|limit| {
            u128::from(self.price_per_hour) * u128::from(HOURS_A_MONTH) <= u128::from(limit.minor) * u128::from(MICRO)
        })
    }

    fn finish(self, request: &Request, sifted: &Sifted<'_>) -> Plan {
        let policy = &request.policy;
        let votes = |voter: &&Ranked<'_>| voter.of.home;
        let new = self.voters.iter().filter(votes).map(|voter| &voter.of.capacity.standing);
        let together: Vec<&VoterPlace> = self.others.iter().copied().chain(new).collect();
        let grade = grade(&together.iter().copied().cloned().collect::<Vec<_>>());
        let chosen: BTreeSet<_> = self.voters.iter().chain(&self.instances).map(Ranked::node).collect();
        let voting = matches!(request.want, Want::All | Want::Replica { .. }).then_some(together.as_slice());
        let rejected = explain::rejected(sifted, &chosen, voting);

        let asked = Asked::of(&self.voters, &sifted.feasible, |of| (of.votes || of.copies).then_some(of.replica_price));
        let place_voter = |voter: &Ranked<'_>| {
            let itself = &voter.of.capacity.standing;
            let others: Vec<_> = together.iter().copied().filter(|other| !std::ptr::eq(*other, itself)).collect();
            let why = if voter.of.home {
                explain::voter(policy, voter, &others, &asked)
            } else {
                explain::copy(policy, voter, &asked)
            };
            placed(voter, voter.of.replica_price, why)
        };
        let voters = self.voters.iter().map(place_voter).collect();

        let asked = Asked::of(&self.instances, &sifted.feasible, |of| of.hosts.then_some(of.instance_price));
        let place_instance = |host: &Ranked<'_>| {
            let by_a_voter = self.loads.voting.contains(&host.node());
            placed(host, host.of.instance_price, explain::instance(policy, host, by_a_voter, &asked))
        };
        let instances = self.instances.iter().map(place_instance).collect();
        let currency = sifted.currency.filter(|_| !chosen.is_empty());
        Plan { voters, instances, grade, price_per_hour: self.price_per_hour, currency, rejected }
    }
}

/// One instance in each away jurisdiction, as far as `scale.max` goes and somebody there has room.
fn away<'a>(policy: &Policy, hosts: &[Ranked<'a>], loads: &mut Loads, placed: usize) -> Vec<Ranked<'a>> {
    let room = usize::try_from(policy.scale.max.min(INSTANCES_MAX)).unwrap_or(usize::MAX).saturating_sub(placed);
    let mut chosen = Vec::new();
    for law in policy.away.iter().collect::<BTreeSet<_>>() {
        if chosen.len() == room {
            break;
        }
        let there = hosts.iter().filter(|host| host.of.capacity.standing.jurisdiction == *law).copied();
        chosen.extend(spread::instances(there, &policy.instance, loads, 1));
    }
    chosen
}

fn placed(node: &Ranked<'_>, price_per_hour: u64, why: String) -> Placed {
    let capacity = node.of.capacity;
    Placed {
        candidate: (*capacity.candidate).clone(),
        node: node.node(),
        addresses: capacity.addresses.clone(),
        standing: capacity.standing.clone(),
        operator_name: capacity.certificate.operator.name.clone(),
        price_per_hour,
        why,
    }
}
