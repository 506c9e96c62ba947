//! Where an app goes: the pure `plan(policy, inventory, current) → Plan`, in stages that are the files of this folder.
//! The host that is asked decides, by granting or refusing; a plan is only what to ask for.
mod policy;
mod grade;

pub use grade::{VoterPlace, grade};
pub use policy::{AwayInCut, CutContract, Grade, Policy, Recovery, Scale};
