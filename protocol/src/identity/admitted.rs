//! Whom a mesh counts: the operators that its charter admitted, as one node knows them. Worked out by `charter`, read by
//! every part that meets strangers.
use std::{collections::BTreeSet, sync::Arc};

use crate::id::OperatorId;

/// Who counts here. Cheap to clone; replaced as a whole when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted(Option<Arc<Operators>>);

/// See [`Admitted`].
#[derive(Debug, Default, PartialEq, Eq)]
struct Operators {
    members: BTreeSet<OperatorId>,
    excluded: BTreeSet<OperatorId>,
}

impl Admitted {
    /// Everybody: of a mesh whose founding statement is not known here, so that nobody can be told from a stranger.
    #[must_use]
    pub const fn everybody() -> Self {
        Self(None)
    }

    /// These, and nobody else; those were members and are none any more.
    #[must_use]
    pub fn these(members: BTreeSet<OperatorId>, excluded: BTreeSet<OperatorId>) -> Self {
        Self(Some(Arc::new(Operators { members, excluded })))
    }

    /// Whether an operator counts.
    #[must_use]
    pub fn counts(&self, operator: &OperatorId) -> bool {
        self.0.as_ref().is_none_or(|known| known.members.contains(operator))
    }

    /// Whether an operator was a member and was excluded.
    #[must_use]
    pub fn excluded(&self, operator: &OperatorId) -> bool {
        self.0.as_ref().is_some_and(|known| known.excluded.contains(operator))
    }

    /// How many are members; `None`: everybody counts.
    #[must_use]
    pub fn members(&self) -> Option<usize> {
        self.0.as_ref().map(|known| known.members.len())
    }
}
