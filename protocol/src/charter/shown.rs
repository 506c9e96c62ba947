//! What a person is shown of the roll.
use std::collections::BTreeMap;

use super::{Alias, Case, Charter, Counted, Member, Motion, MotionId, Papers, Register, Version};
use crate::{id::OperatorId, identity::Founding, time::Timestamp};

/// All that a node knows of its mesh's charter.
#[derive(Clone, Debug, PartialEq)]
pub struct RollShown {
    /// How the mesh was founded; `None`: not known here, so everybody counts.
    pub founding: Option<Founding>,
    /// The versions of the charter, oldest first.
    pub versions: Vec<Version>,
    /// The number of the one in force.
    pub in_force: Option<u64>,
    /// Operators that are members, or were.
    pub members: Vec<Member>,
    /// Whose each short name is.
    pub aliases: BTreeMap<String, Alias>,
    /// Motions.
    pub cases: Vec<CaseShown>,
    /// Whether this node's own operator is a member.
    pub counts: bool,
}

/// A motion as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseShown {
    /// Names it.
    pub id: MotionId,
    /// What is asked.
    pub motion: Motion,
    /// Electors that said yes, and when.
    pub yes: Vec<(OperatorId, Timestamp)>,
    /// Electors that said no.
    pub no: Vec<OperatorId>,
    /// Electors that said nothing yet.
    pub silent: Vec<OperatorId>,
    /// So many must say yes.
    pub needed: usize,
    /// It was carried, and takes effect then.
    pub effective: Option<Timestamp>,
    /// What the witness of its invite said.
    pub stamp: Option<Counted>,
    /// All of it, to carry elsewhere.
    pub papers: Papers,
}

impl RollShown {
    /// The version in force.
    #[must_use]
    pub fn charter(&self) -> Option<&Charter> {
        self.versions.iter().map(|version| &version.charter).find(|charter| Some(charter.version) == self.in_force)
    }
}

impl CaseShown {
    pub(super) fn of(case: &Case, register: &Register) -> Self {
        let electors = register.version(&case.motion.charter).map(|version| &version.electors);
        let yes: Vec<_> = electors.map(|electors| case.votes(electors).into_iter().collect()).unwrap_or_default();
        let no: Vec<_> = case.refusals().collect();
        let spoke = |elector: &OperatorId| yes.iter().any(|(it, _)| it == elector) || no.contains(elector);
        let silent = electors.map(|electors| electors.all().filter(|it| !spoke(it)).collect()).unwrap_or_default();
        Self {
            id: case.id,
            motion: case.motion.clone(),
            silent,
            needed: electors.map_or(0, |electors| electors.needed),
            effective: register.decided(&case.id),
            stamp: case.stamp(),
            papers: case.papers(),
            yes,
            no,
        }
    }
}
