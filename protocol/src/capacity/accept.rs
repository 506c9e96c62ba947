//! The host decides: what it says when a sponsor or a cell asks it for votes and leases. Pure.
use crate::{
    cell::Role,
    command::Terms,
    id::TenantId,
    refusal::{Code, Refusal},
    resources::Resources,
};

/// One request asks for at most so many votes and leases of one node.
pub const ROLES_MAX: usize = 64;

/// What a host asks for each role, in micro-units of its currency's minor unit an hour, in the order of `roles`.
///
/// `used` is what its grants, votes and leases hold already; all roles fit together, or none is granted.
///
/// # Errors
/// `Full` when they do not fit or nothing is offered, `Invalid` when nothing or too much is asked for. Definite: ask
/// another host.
pub fn accept(
    terms: Option<&Terms>,
    used: &Resources,
    roles: &[(Role, Resources)],
    tenant: TenantId,
) -> Result<Vec<u64>, Refusal> {
    if roles.is_empty() || roles.len() > ROLES_MAX {
        let detail = format!("a host is asked for 1 to {ROLES_MAX} roles at once, not for {}", roles.len());
        return Err(Refusal::definite(Code::Invalid, detail));
    }
    let Some(terms) = terms else {
        let detail = "this node offers nothing now: ask another";
        return Err(Refusal::definite(Code::Full, detail));
    };
    let need = roles.iter().fold(Resources::default(), |sum, (_, need)| sum.plus(need));
    let free = terms.total.less(used);
    if !free.covers(&need) {
        let detail = format!("too little is free for tenant {}: it needs {need}, {free} is left", tenant.short());
        return Err(Refusal::definite(Code::Full, detail));
    }
    Ok(roles.iter().map(|(_, need)| terms.price.per_hour(need)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Price;

    const HALF: Resources = Resources { cpu_millis: 500, memory_bytes: 1 << 29, disk_bytes: 0 };

    fn terms() -> Terms {
        let price =
            Price { currency: "EUR".parse().unwrap(), cpu_core_hour: 1_000, memory_gib_hour: 500, disk_gib_hour: 1 };
        Terms { total: Resources { cpu_millis: 1_000, memory_bytes: 1 << 30, disk_bytes: 0 }, price }
    }

    fn asked(used: Resources, roles: &[(Role, Resources)]) -> Result<Vec<u64>, Code> {
        accept(Some(&terms()), &used, roles, TenantId::of(b"t")).map_err(|refusal| refusal.code)
    }

    #[test]
    fn what_fits_is_granted_at_the_offered_price() {
        assert_eq!(asked(Resources::default(), &[(Role::Vote, HALF), (Role::Instance, HALF)]), Ok(vec![750, 750]));
    }

    #[test]
    fn all_roles_fit_together_or_none_is_granted() {
        assert_eq!(asked(HALF, &[(Role::Vote, HALF), (Role::Instance, HALF)]), Err(Code::Full));
        assert_eq!(asked(HALF, &[(Role::Vote, HALF)]), Ok(vec![750]));
    }

    #[test]
    fn absurd_requests_are_refused_not_computed() {
        let huge = Resources { cpu_millis: u64::MAX, memory_bytes: u64::MAX, disk_bytes: u64::MAX };
        assert_eq!(asked(Resources::default(), &[(Role::Vote, huge), (Role::Vote, huge)]), Err(Code::Full));
        assert_eq!(asked(Resources::default(), &[]), Err(Code::Invalid));
        assert_eq!(asked(Resources::default(), &vec![(Role::Vote, HALF); 65]), Err(Code::Invalid));
    }

    #[test]
    fn a_node_that_withdrew_its_offer_grants_nothing() {
        let refused = accept(None, &Resources::default(), &[(Role::Vote, HALF)], TenantId::of(b"t")).unwrap_err();
        assert_eq!(refused.code, Code::Full);
    }
}
