//! `bocage plan PATH`: the plan that a deploy would make, with price, what it survives, and why. Changes nothing.
use std::{fmt::Write as _, path::PathBuf};

use bocage_node::control::api::Plan as Shown;
use clap::Args;

use super::status::survives;
use crate::{failure::Failure, invocation::Invocation, manifest::Found, say};

/// Hours of a month, as prices count them.
const MONTH_HOURS: u128 = 730;

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// A manifest, a folder that holds one, or a .wasm component
    path: PathBuf,
}

impl Plan {
    pub(crate) async fn run(self, at: &Invocation) -> Result<(), Failure> {
        let found = Found::at(&self.path)?;
        let tenant = at.tenant_at_first_use()?;
        let plan = at.control(&tenant)?.plan(&found.manifest.policy).await?;
        at.say.result(&plan, shown);
        Ok(())
    }
}

fn shown(plan: &Shown) -> String {
    let mut text = say::table(
        ["ROLE", "OPERATOR", "LAW", "SITE", "NODE", "WHY THERE"],
        plan.placed.iter().map(|placed| {
            [
                placed.role.clone(),
                placed.operator.clone(),
                placed.jurisdiction.clone(),
                placed.site.clone(),
                say::short(&placed.node_id),
                placed.why.clone(),
            ]
        }),
    );
    let micro = u128::from(plan.price_per_hour_micro) * MONTH_HOURS;
    let cents = micro.div_ceil(1_000_000);
    let _ = writeln!(text, "\nsurvives {}", survives(&plan.grade));
    let _ = writeln!(text, "costs {}.{:02} a month", cents / 100, cents % 100);
    if !plan.rejected.is_empty() {
        text.push_str("\nleft out\n");
        let rows = plan.rejected.iter().map(|rejected| [say::short(&rejected.node_id), rejected.why.clone()]);
        text.push_str(&say::table(["NODE", "WHY NOT"], rows));
    }
    text
}
