//! Another placement than the one that ships: the seam for experiments. Whatever it plans is held against the request by
//! `check`, and the hosts that are asked decide by themselves as ever.
use std::fmt::Debug;

use super::{Plan, Request, Unplaceable, check, explain::Rule, plan};
use crate::capacity::Capacity;

/// Says where an app goes. Most will want no more than [`super::plan_ranked`]: the same lawful candidates, in another order.
pub trait Placing: Debug + Send + Sync {
    /// Whom to ask. Of the same request and inventory always the same.
    ///
    /// # Errors
    /// When nobody can keep the policy, with the rule that failed and what would make it work.
    fn plan(&self, request: &Request, inventory: &[&Capacity]) -> Result<Plan, Unplaceable>;
}

/// As [`plan`], or as somebody else says.
///
/// # Errors
/// As [`plan`]; and when somebody else's plan breaks what the policy promises.
pub fn plan_by<'a>(
    placing: Option<&dyn Placing>,
    request: &Request,
    inventory: impl IntoIterator<Item = &'a Capacity>,
) -> Result<Plan, Unplaceable> {
    let Some(placing) = placing else { return plan(request, inventory) };
    let inventory: Vec<&Capacity> = inventory.into_iter().collect();
    let plan = placing.plan(request, &inventory)?;
    let broken = |what: String| {
        let message = format!("{placing:?} made a plan that breaks the app's policy: {what}; mend that placement");
        Unplaceable { rule: Rule::Policy, message }
    };
    check(request, &plan).map_err(broken).map(|()| plan)
}
