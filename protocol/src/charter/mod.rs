//! Who belongs to the mesh, and by which rules. A mesh is founded by a statement that names its first electors; from then
//! on operators are admitted and excluded, tenants given short names, and the charter amended, by motions that a majority of
//! the electorate carries.
//!
//! ```text
//!   founding ─→ charter 0 ─┬─→ motion + ballots = case ─carried→ certificate ─→ who counts, and since when
//!                          └─→ charter 1 ─→ …
//! ```
//!
//! Nobody needs everybody online. Motions and ballots prove themselves, wait as records that any node carries, and are
//! counted by every node alike ([`Register`]); what carries a motion *is* the certificate. There is no service to ask:
//! whoever meets a peer shows its certificate, and each node has what it counts by on its own disk.
mod document;
mod motion;
mod alias;
mod case;
mod register;
mod shown;
mod roll;
mod token;

pub use alias::{ALIAS_REQUESTS_MAX, ALIASES_MAX, ALIASES_PER_TENANT_MAX, Alias, LINEAGE_BYTES_MAX, check_alias};
pub use case::{Case, Papers, STATEMENTS_MAX, Void};
pub use document::{Charter, ELECTORS_MAX, Electorate, Unlawful, Values};
pub use motion::{Ballot, Claim, Counted, Invite, InviteId, Matter, Motion, MotionId, Stamp, TEXT_BYTES_MAX};
pub use register::{
    CARRIED_MAX, INVITED_MAX, MOTION_LIFE, MOTIONS_MAX, Member, REQUESTS_MAX, Register, Taken, UNPLACED_MAX, VOID_LIFE,
    Version,
};
pub use roll::{Input, Output, Roll};
pub(crate) use roll::{rule, rule_for_outsiders};
pub use shown::{CaseShown, RollShown};
pub use token::{BadToken, Token};

#[cfg(test)]
mod tests;
