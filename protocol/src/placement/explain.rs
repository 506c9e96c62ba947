//! Last stage: why, in people's words. Of everybody who was placed, of everybody who was left out, and of a policy that
//! cannot be honoured: which rule failed, and what would make it work.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    Policy, REJECTED_MAX, Reason, VoterPlace, WHY_BYTES_MAX,
    feasible::{Feasible, Sifted, is_home},
    rank::Ranked,
    spread::{Shortage, crowding},
};
use crate::{
    id::{NodeId, OperatorId},
    refusal::{Code, Refusal},
    resources::{Currency, Jurisdiction},
};

/// Which rule of the policy cannot be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The policy contradicts itself or a bound.
    Policy,
    /// `home` and `voters`: distinct operators at distinct sites.
    Voters,
    /// `cut.home_cut`: the side that keeps the quorum.
    HomeCut,
    /// `scale.min`.
    Instances,
    /// `away`: a copy for reads there.
    Copy,
    /// `max_price`.
    Price,
}

/// No plan honours the policy. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unplaceable {
    /// Which rule failed.
    pub rule: Rule,
    /// What is needed, what there is, and what would make it work.
    pub message: String,
}

impl From<Unplaceable> for Refusal {
    fn from(unplaceable: Unplaceable) -> Self {
        Self::definite(Code::Unplaceable, unplaceable.message)
    }
}

/// What operators ask, per jurisdiction: the lowest of each.
pub(super) struct Asked(BTreeMap<Jurisdiction, BTreeMap<OperatorId, u64>>);

impl Asked {
    /// Of the jurisdictions of `chosen`.
    pub(super) fn of(
        chosen: &[Ranked<'_>],
        feasible: &[Feasible<'_>],
        price: impl Fn(&Feasible<'_>) -> Option<u64>,
    ) -> Self {
        let law = |of: &Feasible<'_>| of.capacity.standing.jurisdiction;
        let mut asked: BTreeMap<_, _> = chosen.iter().map(|node| (law(&node.of), BTreeMap::new())).collect();
        for candidate in feasible {
            if let (Some(there), Some(price)) = (asked.get_mut(&law(candidate)), price(candidate)) {
                let lowest = there.entry(candidate.capacity.standing.operator).or_insert(price);
                *lowest = price.min(*lowest);
            }
        }
        Self(asked)
    }

    /// "the cheapest of 3 operators there".
    fn place(&self, jurisdiction: Jurisdiction, price: u64) -> String {
        let there = self.0.get(&jurisdiction);
        let operators = there.map_or(0, BTreeMap::len);
        let cheaper = there.map_or(0, |there| there.values().filter(|lowest| **lowest < price).count());
        match (operators, cheaper) {
            (0 | 1, _) => "the only operator with room there".into(),
            (_, 0) => format!("the cheapest of {operators} operators there"),
            _ => format!("the {} cheapest of {operators} operators there", nth(cheaper + 1)),
        }
    }
}

/// Why a voter stands where it stands, beside `others`.
pub(super) fn voter(policy: &Policy, voter: &Ranked<'_>, others: &[&VoterPlace], asked: &Asked) -> String {
    let standing = &voter.of.capacity.standing;
    let mut why = format!("{}; ", law(policy, standing.jurisdiction));
    why.push_str(&asked.place(standing.jurisdiction, voter.of.replica_price));
    why.push_str(&distance(voter));
    let (of_operator, at_site, _) = crowding(standing, others.iter().copied());
    if of_operator > 0 {
        why.push_str("; its operator has another vote, as allow_degraded allows");
    } else if at_site > 0 {
        let _ = write!(why, "; shares site {} with another vote, as allow_degraded allows", standing.site);
    } else if !others.is_empty() {
        let _ = write!(why, "; site {} differs from the others", standing.site);
    }
    cut(why)
}

/// Why a copy stands where it stands.
pub(super) fn copy(policy: &Policy, copy: &Ranked<'_>, asked: &Asked) -> String {
    let jurisdiction = copy.of.capacity.standing.jurisdiction;
    let mut why = format!("{}; a copy for reads there; ", law(policy, jurisdiction));
    why.push_str(&asked.place(jurisdiction, copy.of.replica_price));
    why.push_str(&distance(copy));
    cut(why)
}

/// Why an instance runs where it runs.
pub(super) fn instance(policy: &Policy, host: &Ranked<'_>, by_a_voter: bool, asked: &Asked) -> String {
    let jurisdiction = host.of.capacity.standing.jurisdiction;
    let mut why = format!("{}; ", law(policy, jurisdiction));
    if by_a_voter {
        why.push_str("next to a voter, so it reads without a round trip; ");
    }
    why.push_str(&asked.place(jurisdiction, host.of.instance_price));
    why.push_str(&distance(host));
    cut(why)
}

/// Everybody who was not chosen, with a reason: who could not serve by id, then who was not needed by id.
pub(super) fn rejected(
    sifted: &Sifted<'_>,
    chosen: &BTreeSet<NodeId>,
    voters: Option<&[&VoterPlace]>,
) -> Vec<(NodeId, Reason)> {
    let mut rejected = sifted.rejected.clone();
    rejected.sort_unstable_by_key(|(node, _)| *node);
    let outranked = |candidate: &Feasible<'_>| {
        let standing = &candidate.capacity.standing;
        let (of_operator, at_site, _) = crowding(standing, voters.unwrap_or_default().iter().copied());
        match (of_operator, at_site) {
            (0, 0) => Reason::NotNeeded,
            (0, _) => Reason::SameSite,
            _ => Reason::SameOperator,
        }
    };
    let mut others: Vec<_> =
        sifted.feasible.iter().filter(|candidate| !chosen.contains(&candidate.capacity.offer.node)).collect();
    others.sort_unstable_by_key(|candidate| candidate.capacity.offer.node);
    let room = REJECTED_MAX.saturating_sub(rejected.len());
    rejected.truncate(REJECTED_MAX);
    rejected.extend(others.into_iter().take(room).map(|other| (other.capacity.offer.node, outranked(other))));
    rejected
}

pub(super) fn shortage(policy: &Policy, sifted: &Sifted<'_>, shortage: Shortage, wanted: usize) -> Unplaceable {
    let home = home(policy);
    match shortage {
        Shortage::Voters { operators, together } => {
            let (needs, of, offer) = (
                counted(wanted, "operator"),
                counted(operators, "operator"),
                if operators == 1 { "offers" } else { "offer" },
            );
            let mut message = if operators < wanted {
                format!("{home} needs {needs}, {operators} {offer} enough")
            } else {
                format!(
                    "{home} needs {needs} at distinct sites, {of} offer enough, but at most {together} stand apart (sites of \
                         one name under one law count as one)"
                )
            };
            message.push_str(&left_out_at_home(policy, sifted));
            message.push_str(": ");
            if !policy.home.is_empty() {
                message.push_str("add a jurisdiction to home, ");
            }
            message.push_str("ask for less in [resources], or set allow_degraded");
            Unplaceable { rule: Rule::Voters, message }
        }
        Shortage::HomeCut { side, needed, found } => {
            let operators = counted(needed, "operator");
            let message = format!(
                "home_cut = \"{side}\" needs {operators} at distinct sites in {side} to keep the quorum there, {found} can be had: \
                 name another side, leave home_cut out, or set allow_degraded"
            );
            Unplaceable { rule: Rule::HomeCut, message }
        }
    }
}

pub(super) fn newcomer_shortage(policy: &Policy, sifted: &Sifted<'_>, found: Shortage) -> Unplaceable {
    if let Shortage::HomeCut { .. } = found {
        return shortage(policy, sifted, found, 1);
    }
    let home = home(policy);
    let message = format!(
        "{home} has no operator with room that has no vote in this app yet, at a site without one{}: add a jurisdiction to \
         home, or set allow_degraded",
        left_out_at_home(policy, sifted)
    );
    Unplaceable { rule: Rule::Voters, message }
}

pub(super) fn no_room(policy: &Policy, sifted: &Sifted<'_>, wanted: usize, found: usize) -> Unplaceable {
    let message = format!(
        "{} has room for {found} of {}{}: lower scale.min, ask for less in [resources], or add a jurisdiction to home",
        home(policy),
        counted(wanted, "instance"),
        left_out_at_home(policy, sifted)
    );
    Unplaceable { rule: Rule::Instances, message }
}

pub(super) fn no_copy(law: Jurisdiction) -> Unplaceable {
    let message = format!(
        "{law} is away, and nobody there has room for a copy: ask for less in [resources], or name another jurisdiction in away"
    );
    Unplaceable { rule: Rule::Copy, message }
}

pub(super) fn too_dear(limit: u64, price_per_hour: u64, currency: Currency) -> Unplaceable {
    let month = u128::from(price_per_hour) * u128::from(super::HOURS_A_MONTH);
    let cost = month.div_ceil(u128::from(super::MICRO));
    let message = format!(
        "the cheapest plan found costs {cost} minor units of {currency} a month, max_price is {limit}: raise max_price, lower \
         scale.min or voters, or ask for less in [resources]"
    );
    Unplaceable { rule: Rule::Price, message }
}

fn law(policy: &Policy, jurisdiction: Jurisdiction) -> String {
    match (policy.home.is_empty(), is_home(policy, jurisdiction)) {
        (_, false) => format!("{jurisdiction} is away"),
        (false, true) => format!("{jurisdiction} is home"),
        (true, true) => format!("{jurisdiction}: home is anywhere"),
    }
}

fn home(policy: &Policy) -> String {
    if policy.home.is_empty() {
        return "the mesh".into();
    }
    let codes: Vec<_> = policy.home.iter().map(Jurisdiction::as_str).collect();
    format!("home {}", codes.join(", "))
}

/// " (left out there: 1 down, 2 with too little free)"; nothing where nobody was.
fn left_out_at_home(policy: &Policy, sifted: &Sifted<'_>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for (_, reason) in &sifted.rejected {
        let what = match reason {
            Reason::Down => "down",
            Reason::TooSmall { .. } => "with too little free",
            Reason::Expired => "with an expired offer or certificate",
            Reason::Excluded => "that said no",
            Reason::OtherCurrency { .. } => "asking in another currency",
            Reason::HasReplica => "with a replica already",
            Reason::Dominant => "of operators that hold the charter's share already",
            // Of jurisdictions that the policy does not name, or reasons of later stages.
            Reason::Elsewhere(_) | Reason::SameOperator | Reason::SameSite | Reason::NotNeeded => continue,
        };
        *counts.entry(what).or_default() += 1;
    }
    if counts.is_empty() {
        return String::new();
    }
    let parts: Vec<_> = counts.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
    let where_ = if policy.away.is_empty() { "" } else { " at home or away" };
    format!(" (left out{where_}: {})", parts.join(", "))
}

fn distance(node: &Ranked<'_>) -> String {
    node.of.capacity.round_trip.map_or_else(String::new, |round_trip| format!(", {} ms away", round_trip.as_millis()))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn nth(n: usize) -> String {
    let suffix = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

/// No longer than a genesis may hold: a site's name is as long as its operator likes.
fn cut(mut why: String) -> String {
    if why.len() > WHY_BYTES_MAX {
        let end = (0..=WHY_BYTES_MAX - '…'.len_utf8()).rev().find(|at| why.is_char_boundary(*at)).unwrap_or(0);
        why.truncate(end);
        why.push('…');
    }
    why
}
