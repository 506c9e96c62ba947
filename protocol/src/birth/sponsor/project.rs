//! One thing being placed: what for, how far, what was gathered.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Address, Candidate, CellGenesis, Context, Description, Founder, Grant, Jurisdiction, Need, Plan, Policy, Receipt,
    Refusal, Resources, Role, Seeking, Signed, TenantAction, Want, placement,
};
use crate::{
    capacity::{Capacity, Inventory, Named, WITHHELD_MAX},
    cell::{TenantCommand, Workload, state::RULES_OF_CONVERGING},
    id::{CellId, ContentHash, MeshId, NodeId, TenantId},
    identity::{Admitted, Endorsed, Genesis, Lineage, Succession},
    placement::{Current, Placing, Unplaceable, VoterPlace},
    record::Keyring,
    refusal::Code,
    time::{Now, Timestamp},
};

/// What round trip is assumed between voters that never measured one: across a continent.
const ROUND_TRIP_ASSUMED: Duration = Duration::from_millis(30);

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// A new cell.
    Deploy {
        /// Who.
        tenant: Signed<Genesis>,
        /// How it came from its first key to the current one.
        successions: Vec<Endorsed<Succession>>,
        /// What.
        release: Signed<TenantCommand>,
    },
    /// Only to see where.
    Plan {
        /// What must stay true.
        policy: Box<Policy>,
    },
    /// A release for a living cell.
    Release {
        /// Which.
        cell: CellId,
        /// What.
        signed: Signed<TenantCommand>,
    },
    /// A stand-in for a cell that is led here.
    Seek {
        /// The cell as it is.
        description: Arc<Description>,
        /// What it lacks.
        need: Need,
    },
}

impl Goal {
    /// The goal of a command for a living cell whose bytes must be placed before it is proposed; `None` for any other.
    #[must_use]
    pub fn for_release(cell: CellId, command: &crate::cell::Command) -> Option<Self> {
        let crate::cell::Command::Tenant { signed, receipts } = command else { return None };
        let is_release = signed.open().is_ok_and(|command| matches!(command.action, TenantAction::Release(_)));
        (is_release && receipts.is_empty()).then(|| Self::Release { cell, signed: signed.clone() })
    }
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Candidates are asked for; these gates have not answered for their jurisdictions.
    Gathering { pending: BTreeSet<(Jurisdiction, NodeId)> },
    /// Candidates are asked; these have not answered.
    Granting { plan: Plan, pending: BTreeSet<NodeId>, grants: BTreeMap<NodeId, Vec<Signed<Grant>>> },
    /// Bytes are being put on disks; these have not said so.
    Storing {
        plan: Option<Plan>,
        grants: BTreeMap<NodeId, Vec<Signed<Grant>>>,
        pending: BTreeSet<NodeId>,
        receipts: Vec<Signed<Receipt>>,
    },
    /// Members are told; these have not started.
    Founding {
        cell: CellId,
        genesis: Arc<CellGenesis>,
        pending: BTreeMap<NodeId, Vec<Address>>,
        started: BTreeSet<NodeId>,
        refused: Vec<Refusal>,
        /// The person was told.
        answered: bool,
    },
    /// A living cell is asked where it is.
    Describing,
}

#[derive(Debug)]
pub(super) struct Project {
    pub(super) context: Context,
    pub(super) goal: Goal,
    pub(super) stage: Stage,
    pub(super) policy: Policy,
    pub(super) tenant: TenantId,
    pub(super) app: String,
    /// What grants are asked for.
    pub(super) purpose: ContentHash,
    /// The bytes of the release.
    pub(super) content: Option<(ContentHash, u64)>,
    pub(super) rounds: u32,
    /// Who said no, and why.
    pub(super) exclude: BTreeMap<NodeId, String>,
    inventory: Inventory,
    /// Whom the cap on dominance keeps out of it.
    withheld: BTreeSet<NodeId>,
}

impl Stage {
    /// Moves on from granting (or, for a living cell, from describing) to storing.
    pub(super) fn store(&mut self, pending: BTreeSet<NodeId>) {
        let (plan, grants) = match std::mem::replace(self, Self::Describing) {
            Self::Granting { plan, grants, .. } => (Some(plan), grants),
            Self::Gathering { .. } | Self::Storing { .. } | Self::Founding { .. } | Self::Describing => {
                (None, BTreeMap::new())
            }
        };
        *self = Self::Storing { plan, grants, pending, receipts: Vec::new() };
    }

    pub(super) fn storing(&mut self) -> Option<(&mut BTreeSet<NodeId>, &mut Vec<Signed<Receipt>>)> {
        match self {
            Self::Storing { pending, receipts, .. } => Some((pending, receipts)),
            Self::Gathering { .. } | Self::Granting { .. } | Self::Founding { .. } | Self::Describing => None,
        }
    }
}

impl Project {
    /// Reads what is wanted.
    pub(super) fn new(
        context: Context,
        goal: Goal,
        mesh: MeshId,
        keyring: Arc<Keyring>,
    ) -> Result<Self, Box<(Goal, Refusal)>> {
        let read = |signed: &Signed<TenantCommand>| {
            let invalid = |why: String| Refusal::definite(Code::Invalid, why);
            let command = signed.open().map_err(|error| invalid(error.to_string()))?;
            let TenantAction::Release(release) = command.action else {
                return Err(invalid("only a release can be deployed".into()));
            };
            Ok((command.tenant, *release))
        };
        if let Goal::Deploy { tenant, successions, release } = &goal
            && let Err(why) = speaks(&keyring, tenant, successions, release)
        {
            return Err(Box::new((goal, Refusal::definite(Code::Unauthorised, why))));
        }
        let (tenant, app, policy, purpose, content) = match &goal {
            Goal::Deploy { release: signed, .. } | Goal::Release { signed, .. } => match read(signed) {
                Ok((tenant, release)) => {
                    let content = match release.workload {
                        Workload::Component { hash, size_bytes } => Some((hash, size_bytes)),
                        Workload::Container { .. } | Workload::Site { .. } => None,
                    };
                    (tenant, release.app, release.policy, ContentHash(signed.hash()), content)
                }
                Err(refusal) => return Err(Box::new((goal, refusal))),
            },
            Goal::Plan { policy } => {
                (TenantId::default(), String::new(), (**policy).clone(), ContentHash::default(), None)
            }
            Goal::Seek { description, .. } => {
                let purpose = ContentHash(description.cell.0);
                (description.tenant, description.app.clone(), description.policy.clone(), purpose, None)
            }
        };
        Ok(Self {
            context,
            goal,
            stage: Stage::Describing,
            policy,
            tenant,
            app,
            purpose,
            content,
            rounds: 0,
            exclude: BTreeMap::new(),
            inventory: Inventory::new(mesh, keyring),
            withheld: BTreeSet::new(),
        })
    }

    /// The one jurisdiction that can help, if it is one.
    pub(super) const fn law(&self) -> Option<Jurisdiction> {
        match &self.goal {
            Goal::Seek { need, .. } => need.law,
            Goal::Deploy { .. } | Goal::Plan { .. } | Goal::Release { .. } => None,
        }
    }

    /// The least that a candidate must have free.
    pub(super) fn need(&self) -> Resources {
        match &self.goal {
            Goal::Seek { need, .. } if need.role != Seeking::Instance => self.policy.replica,
            Goal::Seek { .. } => self.policy.instance,
            Goal::Deploy { .. } | Goal::Plan { .. } | Goal::Release { .. } => {
                let (replica, instance) = (self.policy.replica, self.policy.instance);
                if replica.covers(&instance) { instance } else { replica }
            }
        }
    }

    /// Nodes of other operators than these are not asked.
    pub(super) fn count_only(&mut self, admitted: Admitted) {
        self.inventory.count_only(admitted, None);
    }

    /// Takes candidates in from a gate that was asked; what does not count is left out. One gate that names somebody is
    /// enough for its jurisdiction; one that has nobody to name leaves the word to the others.
    pub(super) fn gathered(&mut self, now: Now, gate: NodeId, named: Named) {
        let Stage::Gathering { pending } = &mut self.stage else { return };
        let Some(asked) = pending.iter().find(|(_, asked)| *asked == gate).copied() else { return };
        pending.remove(&asked);
        if !named.candidates.is_empty() {
            pending.retain(|(jurisdiction, _)| *jurisdiction != asked.0);
        }
        self.withheld.extend(named.withheld.into_iter().take(WITHHELD_MAX));
        for (candidate, addresses) in named.candidates {
            let _unusable = self.inventory.gather(candidate, &addresses, now.wall);
        }
    }

    /// Whom to ask, by what was gathered.
    pub(super) fn plan(&self, now: Now, placing: Option<&dyn Placing>) -> Result<Plan, Unplaceable> {
        let (want, current) = match &self.goal {
            Goal::Seek { description, need } => {
                let want = match (need.role, need.law, need.node) {
                    (Seeking::Copy, Some(law), _) => Want::Copy { law, replaces: need.replaces },
                    (Seeking::Instance, _, Some(node)) => Want::InstanceOn(node),
                    (Seeking::Instance, _, None) => Want::Instance,
                    (Seeking::Replica | Seeking::Copy, ..) => Want::Replica { replaces: need.replaces },
                };
                (want, current_of(description))
            }
            Goal::Deploy { .. } | Goal::Plan { .. } | Goal::Release { .. } => (Want::All, Vec::new()),
        };
        let exclude = self.exclude.keys().copied().collect();
        let salt = self.purpose.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let policy = self.policy.clone();
        let withheld = self.withheld.clone();
        let rejoins = match &self.goal {
            Goal::Seek { need, .. } if need.role == Seeking::Replica => need.node,
            Goal::Seek { .. } | Goal::Deploy { .. } | Goal::Plan { .. } | Goal::Release { .. } => None,
        };
        // Who rejoins stands in nobody's way: neither the vote that it takes over again nor what came for it in vain.
        let stays = |at: &Current| at.role == Role::Instance || Some(at.node) != rejoins;
        let current = current.into_iter().filter(stays).collect();
        let request = placement::Request { policy, current, want, exclude, withheld, at: now.wall, salt };
        let asked = |capacity: &&Capacity| rejoins.is_none_or(|node| capacity.offer.node == node);
        placement::plan_by(placing, &request, self.inventory.candidates().filter(asked))
    }

    /// The first candidate that said yes.
    pub(super) fn found(&self) -> Option<(Candidate, Signed<Grant>)> {
        let Stage::Granting { plan, grants, .. } = &self.stage else { return None };
        let placed = plan.voters.first().or(plan.instances.first())?;
        let grant = grants.get(&placed.node)?.first()?;
        Some((placed.candidate.clone(), grant.clone()))
    }

    /// All nodes that the plan gives something to.
    pub(super) fn hosts(&self) -> BTreeMap<NodeId, Vec<Address>> {
        let Stage::Storing { plan: Some(plan), .. } = &self.stage else { return BTreeMap::new() };
        plan.voters.iter().chain(&plan.instances).map(|placed| (placed.node, placed.addresses.clone())).collect()
    }

    /// The genesis, once everybody granted and stored.
    pub(super) fn genesis(&self, mesh: MeshId, founded: Timestamp) -> Option<CellGenesis> {
        let Goal::Deploy { tenant, successions, release } = &self.goal else { return None };
        let Stage::Storing { plan: Some(plan), grants, receipts, .. } = &self.stage else { return None };
        let founder = |(at, placed): (usize, &placement::Placed), role: Role| {
            let of_role = |grant: &&Signed<Grant>| grant.open().is_ok_and(|grant| grant.role == role);
            let grant = grants.get(&placed.node)?.iter().find(of_role)?.clone();
            let number = u64::try_from(at).ok()? + 1;
            Some(Founder { number, candidate: placed.candidate.clone(), grant, why: placed.why.clone() })
        };
        Some(CellGenesis {
            mesh,
            tenant: tenant.clone(),
            release: release.clone(),
            voters: plan.voters.iter().enumerate().map(|one| founder(one, Role::Vote)).collect::<Option<_>>()?,
            instances: plan
                .instances
                .iter()
                .enumerate()
                .map(|one| founder(one, Role::Instance))
                .collect::<Option<_>>()?,
            receipts: receipts.clone(),
            founded,
            round_trip: ROUND_TRIP_ASSUMED,
            // Whoever does not know of converging stores must not found an app that has one.
            rules: if self.policy.converging.is_empty() { 1 } else { RULES_OF_CONVERGING },
            successions: (!successions.is_empty()).then(|| successions.clone()),
        })
    }
}

/// Whether a release is signed by the key that is its tenant's now, as far as is known here.
fn speaks(
    keyring: &Keyring,
    tenant: &Signed<Genesis>,
    successions: &[Endorsed<Succession>],
    release: &Signed<TenantCommand>,
) -> Result<(), String> {
    let genesis = tenant.open().map_err(|error| error.to_string())?;
    let descent =
        Lineage { genesis, successions: successions.to_vec() }.descent().map_err(|error| error.to_string())?;
    if keyring.speaks_for(&descent, release.key()) {
        return Ok(());
    }
    Err("the release is not signed by the tenant's current key: a key that was replaced deploys nothing".to_owned())
}

/// What a living cell has already.
fn current_of(description: &Description) -> Vec<Current> {
    let members = description.members.iter().map(|member| Current {
        role: if member.votes { Role::Vote } else { Role::Learn },
        number: member.replica.0,
        node: member.node,
        standing: VoterPlace {
            operator: member.operator,
            site: member.site.clone(),
            jurisdiction: member.jurisdiction,
        },
        price_per_hour: 0,
    });
    let leases = description.leases.iter().map(|lease| Current {
        role: Role::Instance,
        number: lease.instance.number,
        node: lease.node,
        standing: VoterPlace { operator: lease.operator, site: lease.site.clone(), jurisdiction: lease.jurisdiction },
        price_per_hour: 0,
    });
    members.chain(leases).collect()
}
