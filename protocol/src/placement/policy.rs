//! What a tenant wants kept true of an app. Written in a manifest, carried in every release, checked twice: placement
//! refuses a plan that cannot honour it, and each replica checks it again at apply.
use std::time::Duration;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{
    codec,
    id::OperatorId,
    resources::{Jurisdiction, Money, Resources},
};

/// A tenant's policy for one app.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Policy {
    /// Jurisdictions that hold the quorum and accept writes. Empty: any.
    #[n(0)]
    pub home: Vec<Jurisdiction>,
    /// Where read copies and instances may run too.
    #[n(1)]
    pub away: Vec<Jurisdiction>,
    /// 1, 3 or 5. Never passes through 4.
    #[n(2)]
    pub voters: u32,
    /// The most that the whole plan may cost in a month of 730 hours.
    #[n(3)]
    pub max_price: Option<Money>,
    /// Run even below the grade that `voters` promises, and show it.
    #[n(4)]
    pub allow_degraded: bool,
    /// What each replica uses.
    #[n(5)]
    pub replica: Resources,
    /// What each instance uses.
    #[n(6)]
    pub instance: Resources,
    /// How many instances.
    #[n(7)]
    pub scale: Scale,
    /// What a cut does.
    #[n(8)]
    pub cut: CutContract,
    /// Age that an away read may have while linked.
    #[cbor(n(9), with = "codec::duration_ms")]
    pub max_staleness: Duration,
    /// Who must sign a recovery after lost majority. Fixed when the app is created.
    #[n(10)]
    pub recovery: Recovery,
    /// Where its requests may go, each a [`crate::outbound::Destination`] as written. Empty: nowhere. At most
    /// [`crate::outbound::DESTINATIONS_MAX`].
    #[cbor(n(11), skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<String>,
    /// Stores that converge: all others are strong. By name, in order. At most [`crate::converge::STORES_MAX`]. From rules 6 on.
    #[cbor(n(12), skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub converging: Vec<String>,
}

/// How many instances run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Scale {
    /// At least so many, 0 allowed: the first request starts one.
    #[n(0)]
    pub min: u32,
    /// At most so many.
    #[n(1)]
    pub max: u32,
    /// Requests in flight that one instance should have.
    #[n(2)]
    pub target_concurrency: u32,
}

/// What away instances answer while cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AwayInCut {
    /// What they last knew, with its `Age`.
    #[n(0)]
    Stale,
    /// Nothing.
    #[n(1)]
    Stop,
}

/// What holds when parts of the mesh cannot talk.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CutContract {
    /// What away does.
    #[n(0)]
    pub away: AwayInCut,
    /// No longer than this.
    #[cbor(n(1), with = "codec::duration_ms")]
    pub stale_for_max: Duration,
    /// Which home side keeps the quorum; `None`: whichever has the majority.
    #[n(2)]
    pub home_cut: Option<Jurisdiction>,
    /// After this a silent instance's lease ends for good.
    #[cbor(n(3), with = "codec::duration_ms")]
    pub lost_after: Duration,
    /// Its host keeps it so long.
    #[cbor(n(4), with = "codec::duration_ms")]
    pub hold_for: Duration,
}

/// Who must agree to raise the line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Recovery {
    /// The operators.
    #[n(0)]
    pub operators: Vec<OperatorId>,
    /// How many of them.
    #[n(1)]
    pub threshold: u32,
}

/// What a cell survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Not the loss of one node.
    #[n(0)]
    Nothing,
    /// The loss of any one operator.
    #[n(1)]
    Operator,
    /// The loss of any one operator or site.
    #[n(2)]
    Site,
    /// The loss of any one operator, site or jurisdiction.
    #[n(3)]
    Jurisdiction,
}

impl Policy {
    /// Whether the quorum may stand under that law. An empty home is everywhere but away.
    #[must_use]
    pub fn is_home(&self, law: Jurisdiction) -> bool {
        if self.home.is_empty() { !self.away.contains(&law) } else { self.home.contains(&law) }
    }

    /// Whether this store converges.
    #[must_use]
    pub fn converges(&self, store: &str) -> bool {
        self.converging.iter().any(|it| it == store)
    }

    /// Whether only copies and instances stand under that law.
    #[must_use]
    pub fn is_away(&self, law: Jurisdiction) -> bool {
        self.away.contains(&law) && !self.home.contains(&law)
    }
}

impl Default for Policy {
    /// Three voters anywhere, one to twenty instances; what the manifest leaves out.
    fn default() -> Self {
        Self {
            home: Vec::new(),
            away: Vec::new(),
            voters: 3,
            max_price: None,
            allow_degraded: false,
            replica: Resources { cpu_millis: 20, memory_bytes: 16 << 20, disk_bytes: 256 << 20 },
            instance: Resources { cpu_millis: 100, memory_bytes: 64 << 20, disk_bytes: 0 },
            scale: Scale { min: 1, max: 20, target_concurrency: 50 },
            cut: CutContract {
                away: AwayInCut::Stop,
                stale_for_max: Duration::from_hours(24),
                home_cut: None,
                lost_after: Duration::from_mins(10),
                hold_for: Duration::from_hours(7 * 24),
            },
            max_staleness: Duration::from_mins(1),
            recovery: Recovery::default(),
            outbound: Vec::new(),
            converging: Vec::new(),
        }
    }
}
