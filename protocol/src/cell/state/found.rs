//! How the first state is made of a genesis, and all that a member checks before it starts one.
use std::{collections::BTreeSet, time::Duration};

use super::{
    RULES_MAX, RULES_OF_CONVERGING, Refusal, State, TENANT_SKEW_MAX,
    keys::Keys,
    leases::Leases,
    members::Members,
    no,
    place::{self, Keeper, Place, Wanted},
    release::{self, Releases},
    sessions::Sessions,
};
use crate::{
    cell::{CellGenesis, Founder, Outcome, Release, Role, Secrets, TenantAction, TenantCommand},
    id::{ContentHash, InstanceId, NodeId, ReplicaId},
    identity::{Genesis, Lineage, Party, PublicKey},
    refusal::Code,
    time::Timestamp,
};

/// Why something was placed where it is has at most so many bytes.
pub const WHY_BYTES_MAX: usize = 256;
/// The farthest two voters are at most such a round trip apart: election timeouts are multiples of it.
pub const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

/// A founder that was accepted.
struct Accepted {
    number: u64,
    place: Place,
    why: String,
}

impl State {
    /// Checks a genesis completely, from itself alone, and makes the first state: index 1 applied, in term 1.
    ///
    /// Signatures are not checked here: a genesis enters the machine as `Verified`. Nor is `founded` compared with a
    /// clock: whoever starts a member does that.
    ///
    /// # Errors
    /// The first thing found wanting: `Unsupported`, `Invalid`, `Unauthorised` or `Unplaceable`; `Conflict` when bytes are not
    /// durable yet. Always definite.
    pub fn found(genesis: &CellGenesis) -> Result<Self, Refusal> {
        if !(1..=RULES_MAX).contains(&genesis.rules) {
            return Err(no(Code::Unsupported, format!("this version founds cells by rules 1 to {RULES_MAX}")));
        }
        if genesis.round_trip > ROUND_TRIP_MAX {
            return Err(no(Code::Invalid, format!("voters are at most {ROUND_TRIP_MAX:?} apart")));
        }
        let (tenant, key) = tenant(genesis)?;
        let (command, mut release) = founding_release(genesis, &tenant, key)?;
        if genesis.rules < RULES_OF_CONVERGING {
            // Founded as by whoever cannot read that part of a policy.
            release.policy.converging = Vec::new();
        }
        let voters = accept_all(genesis, &genesis.voters, Role::Vote, &tenant, &release)?;
        let instances = accept_all(genesis, &genesis.instances, Role::Instance, &tenant, &release)?;
        check_together(&release, &voters, &instances)?;
        place::durable(&release.workload, &keepers(&voters, &instances), &genesis.receipts)?;

        let cell = genesis.cell();
        let mut members = Members::default();
        for Accepted { number, place, why } in voters {
            members.found(ReplicaId(number), place, why, genesis.rules);
        }
        let mut leases = Leases::default();
        for Accepted { number, place, why } in instances {
            leases.found(InstanceId { cell, number }, place, why, genesis.founded);
        }
        let mut tenant_sessions = Sessions::default();
        tenant_sessions.remember(command.op, Some(command.issued), Outcome::Released(1), genesis.founded);
        Ok(Self {
            format: super::FORMAT,
            cell,
            mesh: genesis.mesh,
            tenant: tenant.tenant(),
            tenant_key: key,
            line: 1,
            writer: 1,
            rules: genesis.rules,
            applied: 1,
            time: genesis.founded,
            round_trip: genesis.round_trip,
            digest: cell.0,
            policy: release.policy.clone(),
            releases: Releases::found(release, genesis.founded),
            secrets: Secrets::default(),
            removed: None,
            members,
            leases,
            tenant_sessions,
            data_sessions: Sessions::default(),
            keys: Keys::default(),
            recovered: None,
            tenant_lineage: genesis.successions.is_some().then(|| genesis.lineage()).flatten(),
        })
    }
}

/// The tenant and its current key.
fn tenant(genesis: &CellGenesis) -> Result<(Genesis, PublicKey), Refusal> {
    let tenant = genesis.tenant.open().map_err(|_| no(Code::Invalid, "the tenant's genesis cannot be read"))?;
    if tenant.party != Party::Tenant || genesis.tenant.key() != tenant.key {
        return Err(no(Code::Unauthorised, "the tenant's genesis is not a tenant's, or not signed by its own key"));
    }
    let lineage = Lineage { genesis: tenant, successions: genesis.successions.clone().unwrap_or_default() };
    let descent = lineage.descent().map_err(|error| no(Code::Invalid, format!("the tenant's lineage: {error}")))?;
    Ok((lineage.genesis, descent.key()))
}

fn founding_release(
    genesis: &CellGenesis,
    tenant: &Genesis,
    key: PublicKey,
) -> Result<(TenantCommand, Release), Refusal> {
    let command = genesis.release.open().map_err(|_| no(Code::Invalid, "the release cannot be read"))?;
    if command.tenant != tenant.tenant() || genesis.release.key() != key {
        return Err(no(Code::Unauthorised, "the release is not signed by the tenant"));
    }
    if command.cell.is_some() {
        return Err(no(Code::Unauthorised, "the release is for a cell that exists"));
    }
    if command.op.seq == 0 {
        return Err(no(Code::Invalid, "the ops of a session are numbered from 1"));
    }
    if skew(command.issued, genesis.founded) > TENANT_SKEW_MAX {
        return Err(no(Code::Invalid, "the release was signed more than a day before or after the cell was founded"));
    }
    let release = match &command.action {
        TenantAction::Release(release) => (**release).clone(),
        TenantAction::Rollback { .. }
        | TenantAction::Scale { .. }
        | TenantAction::Write(_)
        | TenantAction::Secrets(_)
        | TenantAction::Remove => return Err(no(Code::Invalid, "a cell is founded by a release")),
    };
    release::check(&release)?;
    Ok((command, release))
}

fn accept_all(
    genesis: &CellGenesis,
    founders: &[Founder],
    role: Role,
    tenant: &Genesis,
    release: &Release,
) -> Result<Vec<Accepted>, Refusal> {
    let wanted = Wanted {
        mesh: genesis.mesh,
        tenant: tenant.tenant(),
        purpose: ContentHash(genesis.release.hash()),
        role,
        copy: false,
        policy: &release.policy,
        at: genesis.founded,
    };
    let (mut numbers, mut nodes) = (BTreeSet::new(), BTreeSet::<NodeId>::new());
    let mut accepted = Vec::new();
    for founder in founders {
        if !(1..=founders.len() as u64).contains(&founder.number) || !numbers.insert(founder.number) {
            return Err(no(Code::Invalid, "founders are numbered from 1 up, each with its own number"));
        }
        if founder.why.len() > WHY_BYTES_MAX {
            return Err(no(Code::Invalid, format!("why a founder was placed takes at most {WHY_BYTES_MAX} bytes")));
        }
        let place = wanted.accept(&founder.candidate, &founder.grant)?;
        if !nodes.insert(place.node) {
            return Err(no(Code::Unplaceable, format!("node {:?} is there twice in one role", place.node)));
        }
        accepted.push(Accepted { number: founder.number, place, why: founder.why.clone() });
    }
    Ok(accepted)
}

/// What only all founders together can break: their numbers, spread and price.
fn check_together(release: &Release, voters: &[Accepted], instances: &[Accepted]) -> Result<(), Refusal> {
    let policy = &release.policy;
    let wanted = policy.voters as usize;
    let enough = if policy.allow_degraded { (1..=wanted).contains(&voters.len()) } else { voters.len() == wanted };
    if !enough {
        return Err(no(Code::Unplaceable, format!("{} voters, the policy wants {wanted}", voters.len())));
    }
    if instances.len() > policy.scale.max as usize {
        let detail = format!("{} instances, the policy wants at most {}", instances.len(), policy.scale.max);
        return Err(no(Code::Unplaceable, detail));
    }
    let voter_places: Vec<_> = voters.iter().map(|voter| voter.place.voter()).collect();
    place::spread(policy, &voter_places)?;
    place::keeps_side(policy, &voter_places, &[])?;
    place::affordable(policy, voters.iter().chain(instances).map(|founder| founder.place.cost))
}

fn keepers(voters: &[Accepted], instances: &[Accepted]) -> Vec<Keeper> {
    let keeper = |founder: &Accepted, votes| Keeper {
        node: founder.place.node,
        site: (founder.place.operator, founder.place.site.clone()),
        votes,
    };
    let mut keepers: Vec<_> = voters.iter().map(|voter| keeper(voter, true)).collect();
    let only_hosts = |host: &&Accepted| voters.iter().all(|voter| voter.place.node != host.place.node);
    keepers.extend(instances.iter().filter(only_hosts).map(|host| keeper(host, false)));
    keepers
}

/// How far two clocks are apart.
pub(super) fn skew(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}
