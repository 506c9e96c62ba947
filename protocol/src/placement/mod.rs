//! Where an app goes: the pure `plan(policy, inventory, current) → Plan`, in stages that are the files of this folder.
//! The host that is asked decides, by granting or refusing; a plan is only what to ask for.
//!
//! ```text
//!   request ─► feasible ─► rank ─► spread (matching) ─► explain ─► plan
//!              who may     who is   whom to take         why
//!              at all      better   together
//! ```
//!
//! `check` re-reads a finished plan from what was signed, and says whether it keeps its policy.
mod policy;
mod grade;
mod request;
mod plan;
mod feasible;
mod rank;
mod spread;
mod matching;
mod explain;
mod check;
mod placing;
#[cfg(test)]
mod tests;

pub use check::check;
pub use explain::{Rule, Unplaceable};
pub use feasible::Reason;
pub use grade::{VoterPlace, grade};
pub use placing::{Placing, plan_by};
pub use plan::{HOURS_A_MONTH, MICRO, plan, plan_ranked};
pub use policy::{AwayInCut, CutContract, Grade, Policy, Recovery, Scale};
pub use request::{Current, INSTANCES_MAX, Placed, Plan, REJECTED_MAX, Request, WHY_BYTES_MAX, Want};
