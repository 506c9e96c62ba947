//! Who may be given a vote or a lease: what each replica checks of a candidate, its offer and its grant, of the spread of
//! the voters, of the price of the whole, and of where bytes are durable. Pure: from the statements and the policy alone.
//! The signatures themselves were checked before any of it entered the machine; here it is asked who may say what.
use std::collections::BTreeSet;

use super::{Refusal, no};
use crate::{
    capacity::Offer,
    cell::{Candidate, Grant, Receipt, Role, Workload},
    codec,
    id::{ContentHash, MeshId, NodeId, OperatorId, TenantId},
    identity::{NodeCertificate, PublicKey, Signed},
    placement::{Grade, Policy, VoterPlace, grade},
    record::Kind,
    refusal::Code,
    resources::{Currency, Jurisdiction, Resources, Site},
    time::Timestamp,
};

/// An operator's name has at most so many bytes (the bound of `identity::Genesis`).
const OPERATOR_NAME_BYTES_MAX: usize = 63;
/// A site's name has at most so many bytes.
const SITE_BYTES_MAX: usize = 128;
/// Prices are per hour, policies per month: of so many hours.
const MONTH_HOURS: u128 = 730;
/// Grants are in micro-units of the minor currency unit.
const MICRO: u128 = 1_000_000;

/// A node that was accepted, and all that the cell keeps of it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) operator: OperatorId,
    pub(super) operator_name: String,
    pub(super) site: Site,
    pub(super) jurisdiction: Jurisdiction,
    pub(super) cost: Cost,
    pub(super) sealing: PublicKey,
}

/// What a vote or lease costs an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(super) struct Cost {
    /// Micro-units of the minor unit.
    #[n(0)]
    pub(super) per_hour: u64,
    #[n(1)]
    pub(super) currency: Currency,
}

/// What a candidate is wanted for.
pub(super) struct Wanted<'a> {
    pub(super) mesh: MeshId,
    pub(super) tenant: TenantId,
    /// See [`Grant::purpose`].
    pub(super) purpose: ContentHash,
    pub(super) role: Role,
    /// As a copy that stands away.
    pub(super) copy: bool,
    pub(super) policy: &'a Policy,
    /// When: cell time.
    pub(super) at: Timestamp,
}

impl Wanted<'_> {
    fn resources(&self) -> &Resources {
        match self.role {
            Role::Vote | Role::Learn => &self.policy.replica,
            Role::Instance => &self.policy.instance,
        }
    }

    /// Checks all that a candidate and its grant can be checked by alone: certificate, offer, grant, price, and whether
    /// the policy allows its jurisdiction.
    pub(super) fn accept(&self, candidate: &Candidate, grant: &Signed<Grant>) -> Result<Place, Refusal> {
        let certificate = NodeCertificate::accept(&candidate.certificate, self.mesh, self.at)
            .map_err(|error| no(Code::Unauthorised, format!("a candidate's certificate does not count: {error}")))?;
        let node = certificate.node;
        let by_node = |key: PublicKey, what: &str| {
            if key == PublicKey::from(node) {
                return Ok(());
            }
            Err(no(Code::Unauthorised, format!("the {what} of node {node:?} is not signed by it")))
        };
        if certificate.operator.name.len() > OPERATOR_NAME_BYTES_MAX || certificate.site.0.len() > SITE_BYTES_MAX {
            return Err(no(Code::Invalid, format!("the operator or site of node {node:?} has too long a name")));
        }

        by_node(candidate.offer.key(), "offer")?;
        let record = candidate.offer.open().map_err(|_| unreadable("offer", node))?;
        if record.kind != Kind::OFFER || record.expires <= self.at {
            return Err(no(Code::Invalid, format!("node {node:?} makes no offer now")));
        }
        let offer: Offer = codec::decode("offer", &record.content).map_err(|_| unreadable("offer", node))?;
        if offer.node != node {
            return Err(no(Code::Unauthorised, format!("node {node:?} shows the offer of another node")));
        }

        by_node(grant.key(), "grant")?;
        let grant = grant.open().map_err(|_| unreadable("grant", node))?;
        let wrong = |what: &str| Err(no(Code::Unauthorised, format!("the grant of node {node:?} is {what}")));
        if grant.node != node || grant.tenant != self.tenant {
            return wrong("for another node or tenant");
        }
        if grant.purpose != self.purpose {
            return wrong("for another plan");
        }
        if grant.role != self.role {
            return wrong("to another role");
        }
        if grant.expires <= self.at {
            return wrong("void: it expired before it was used");
        }
        if grant.resources != *self.resources() {
            return wrong("of other resources than the policy says");
        }
        if grant.price_per_hour != offer.price.per_hour(&grant.resources) {
            return wrong("at another price than its offer's");
        }
        let law = certificate.jurisdiction;
        let lawful = if self.copy { self.policy.is_away(law) } else { allows(self.policy, self.role, law) };
        if !lawful {
            let what = if self.copy { "copy" } else { role_name(self.role) };
            let detail = format!("the policy places no {what} in {law}");
            return Err(no(Code::Unplaceable, detail));
        }
        Ok(Place {
            node,
            operator: certificate.operator_id(),
            operator_name: certificate.operator.name,
            site: certificate.site,
            jurisdiction: certificate.jurisdiction,
            cost: Cost { per_hour: grant.price_per_hour, currency: offer.price.currency },
            sealing: certificate.sealing,
        })
    }
}

impl Place {
    pub(super) fn voter(&self) -> VoterPlace {
        VoterPlace { operator: self.operator, site: self.site.clone(), jurisdiction: self.jurisdiction }
    }
}

/// Whether `policy` lets a replica or instance stand under that law. An empty home is any.
pub(super) fn allows(policy: &Policy, role: Role, law: Jurisdiction) -> bool {
    let home = policy.home.is_empty() || policy.home.contains(&law);
    match role {
        Role::Vote | Role::Learn => home,
        Role::Instance => home || policy.away.contains(&law),
    }
}

/// From three voters on: each of another operator and at another site, which leaves no operator a majority; and never an
/// even number. A policy that allows degraded is content with less, and the cell's grade shows it.
pub(super) fn spread(policy: &Policy, voters: &[VoterPlace]) -> Result<(), Refusal> {
    if policy.allow_degraded {
        return Ok(());
    }
    if voters.len().is_multiple_of(2) {
        return Err(no(Code::Unplaceable, format!("{} voters: an even number survives no more", voters.len())));
    }
    if voters.len() < 3 {
        return Ok(());
    }
    apart(policy, voters)?;
    assert!(grade(voters) > Grade::Nothing, "three voters of three operators survive the loss of one");
    Ok(())
}

/// Each of another operator and at another site, unless the policy allows degraded.
pub(super) fn apart(policy: &Policy, voters: &[VoterPlace]) -> Result<(), Refusal> {
    if policy.allow_degraded {
        return Ok(());
    }
    let operators: BTreeSet<_> = voters.iter().map(|voter| voter.operator).collect();
    let sites: BTreeSet<_> = voters.iter().map(|voter| (voter.operator, &voter.site)).collect();
    if operators.len() < voters.len() || sites.len() < voters.len() {
        let detail =
            format!("{} voters need as many operators and sites: these have {}", voters.len(), operators.len());
        return Err(no(Code::Unplaceable, detail));
    }
    Ok(())
}

/// Where the policy names the side of home that keeps the quorum in a cut: whether the voters that are to be have their majority
/// there, or at least as many of them as now.
pub(super) fn keeps_side(policy: &Policy, after: &[VoterPlace], before: &[VoterPlace]) -> Result<(), Refusal> {
    let Some(side) = policy.cut.home_cut.filter(|_| after.len() > 1 && !policy.allow_degraded) else { return Ok(()) };
    let there = |voters: &[VoterPlace]| voters.iter().filter(|voter| voter.jurisdiction == side).count();
    if there(after) > after.len() / 2 || (!before.is_empty() && there(after) >= there(before)) {
        return Ok(());
    }
    let (held, all) = (there(after), after.len());
    Err(no(Code::Unplaceable, format!("{side} is to keep the quorum in a cut, and would have {held} of {all} voters")))
}

/// Whether all costs together stay within the policy's price of a month.
pub(super) fn affordable(policy: &Policy, costs: impl IntoIterator<Item = Cost>) -> Result<(), Refusal> {
    let Some(max) = policy.max_price else { return Ok(()) };
    let mut per_hour = 0_u128;
    for cost in costs {
        if cost.currency != max.currency {
            let detail = format!("a host asks {}, the policy's price is in {}", cost.currency, max.currency);
            return Err(no(Code::Unplaceable, detail));
        }
        per_hour += u128::from(cost.per_hour);
    }
    let (month, bound) = (per_hour * MONTH_HOURS, u128::from(max.minor) * MICRO);
    if month > bound {
        let detail =
            format!("a month would cost {} of at most {} minor units of {}", month / MICRO, max.minor, max.currency);
        return Err(no(Code::Unplaceable, detail));
    }
    Ok(())
}

/// A node that may vouch for bytes on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keeper {
    pub(super) node: NodeId,
    pub(super) site: (OperatorId, Site),
    pub(super) votes: bool,
}

/// Whether a release's bytes are durable: receipts of a majority of the voters and of one node at a site of none of
/// these; of every node, where there is no such site. Receipts for other bytes, or by others, count for nothing.
pub(super) fn durable(workload: &Workload, keepers: &[Keeper], receipts: &[Signed<Receipt>]) -> Result<(), Refusal> {
    let Workload::Component { hash, size_bytes } = workload else {
        return Err(no(Code::Unsupported, "this version runs WASM components only"));
    };
    if receipts.len() > keepers.len() {
        return Err(no(Code::Invalid, "more receipts than nodes that could give them"));
    }
    let counts = |signed: &Signed<Receipt>| {
        let receipt = signed.open().ok()?;
        let theirs = signed.key() == receipt.node.into();
        (theirs && receipt.content == *hash && receipt.size_bytes == *size_bytes).then_some(receipt.node)
    };
    let nodes: BTreeSet<NodeId> = receipts.iter().filter_map(counts).collect();
    let stored: Vec<&Keeper> = keepers.iter().filter(|keeper| nodes.contains(&keeper.node)).collect();
    let all: Vec<&Keeper> = keepers.iter().collect();
    let majority = keepers.iter().filter(|keeper| keeper.votes).count() / 2 + 1;
    if survive_a_site(&stored, majority) || (!survive_a_site(&all, majority) && stored.len() == all.len()) {
        return Ok(());
    }
    let detail = format!(
        "the release's bytes are durable on {} of {} nodes: it takes a majority of the voters and one more site",
        stored.len(),
        all.len()
    );
    Err(no(Code::Conflict, detail))
}

fn survive_a_site(stored: &[&Keeper], majority: usize) -> bool {
    stored
        .iter()
        .any(|one_more| stored.iter().filter(|keeper| keeper.votes && keeper.site != one_more.site).count() >= majority)
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Vote | Role::Learn => "replica",
        Role::Instance => "instance",
    }
}

fn unreadable(what: &str, node: NodeId) -> Refusal {
    no(Code::Invalid, format!("the {what} of node {node:?} cannot be read"))
}
