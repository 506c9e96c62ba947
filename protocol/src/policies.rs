//! Decisions that an experiment may have taken in another way: who is down, and where an app goes. What ships is the default,
//! and a daemon has no other: nodes that decide differently disagree, so no setting of a node leads here, and only who builds a
//! [`crate::config::Config`] in code chooses. How a node gossips is numbers already: [`crate::membership::Config`].
use std::sync::Arc;

use crate::{membership::detector::Detection, placement::Placing};

/// Who decides instead of what ships.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Who is down. Left out: the observers' majority.
    pub detector: Option<Arc<dyn Detection>>,
    /// Where an app goes. Left out: [`crate::placement::plan`].
    pub placement: Option<Arc<dyn Placing>>,
}
