//! How a cell goes on that has lost the majority of its voters for good: on the next *line*, from what one survivor holds.
//!
//! ```text
//!   survey: what does each member hold? ─→ Recovery, signed by the tenant and the operators that its policy names
//!     ─→ the survivor checks it, applies its whole log, starts line + 1 as its only voter ─→ Recovered: shown to the old line
//! ```
//!
//! Whoever is shown a [`Recovered`] of a later line checks it against the policy in its own state, and stops for good. A
//! statement alone stops nobody: it counts once the survivor that it names has said that it was carried out.
use std::{fmt, time::Duration};

use minicbor::{Decode, Encode};

use crate::{
    id::{CellId, MeshId, NodeId, ReplicaId, TenantId},
    identity::{Endorsed, Envelope, Envelopes, Lineage, Signed, Statement},
    placement::Recovery as Recoverers,
    resources::Jurisdiction,
    time::Timestamp,
};

/// A recovery can be carried out for so long after it was made: nobody keeps one at hand.
pub const RECOVERY_VALID_MAX: Duration = Duration::from_hours(24);

/// Operators' lineages in one recovery; more are not read. A policy names no more.
pub const RECOVERERS_MAX: usize = 16;

/// Where a log ends, and whose it is. Two logs of one line that end alike are alike: raft's log matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Base {
    /// The survivor.
    #[n(0)]
    pub node: NodeId,
    /// Its replica.
    #[n(1)]
    pub replica: ReplicaId,
    /// Of its last entry.
    #[n(2)]
    pub term: u64,
    /// Of its last entry.
    #[n(3)]
    pub index: u64,
}

/// "This cell goes on from what this survivor holds." Signed by the tenant, and by those that its policy names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Recovery {
    /// In which mesh.
    #[n(0)]
    pub mesh: MeshId,
    /// Which cell.
    #[n(1)]
    pub cell: CellId,
    /// The line that ends. The next one begins.
    #[n(2)]
    pub line: u64,
    /// From what.
    #[n(3)]
    pub base: Base,
    /// Also while a home jurisdiction is unreachable as a whole, so that the old line may go on there.
    #[n(4)]
    pub fork: bool,
    /// When it was made.
    #[n(5)]
    pub made: Timestamp,
    /// Not carried out from then on. At most [`RECOVERY_VALID_MAX`] after `made`.
    #[n(6)]
    pub until: Timestamp,
}

impl Statement for Recovery {
    const DOMAIN: &'static str = "bocage/v1/recovery";
}

/// A recovery, and whose the keys are that signed it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecoveryPapers {
    /// What they signed.
    #[n(0)]
    pub statement: Endorsed<Recovery>,
    /// The tenant.
    #[n(1)]
    pub tenant: Lineage,
    /// The operators that signed. At most [`RECOVERERS_MAX`].
    #[n(2)]
    pub operators: Vec<Lineage>,
}

/// "I have carried it out." By the survivor's node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Carried {
    /// Hash of the statement.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub recovery: [u8; 32],
    /// Which cell.
    #[n(1)]
    pub cell: CellId,
    /// The line that has begun.
    #[n(2)]
    pub line: u64,
    /// Its first index.
    #[n(3)]
    pub index: u64,
    /// Its only voter.
    #[n(4)]
    pub replica: ReplicaId,
    /// When.
    #[n(5)]
    pub at: Timestamp,
}

impl Statement for Carried {
    const DOMAIN: &'static str = "bocage/v1/recovery-carried";
}

/// What ends a line for whoever is still on it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Recovered {
    /// What was to be done.
    #[n(0)]
    pub papers: RecoveryPapers,
    /// That it was.
    #[n(1)]
    pub carried: Signed<Carried>,
}

/// What one node says when it is asked what it holds of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// Under which law it is: any answer shows that this jurisdiction can be reached.
    #[n(0)]
    pub law: Option<Jurisdiction>,
    /// What its replica holds.
    #[n(1)]
    pub holding: Option<Holding>,
    /// The line and index that it has heard of by descriptions, whatever it holds.
    #[n(2)]
    pub heard: Option<(u64, u64)>,
    /// Lines that were fenced here, and what is kept of them.
    #[n(3)]
    pub kept: Vec<KeptLine>,
}

/// What a replica holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Holding {
    /// Its line.
    #[n(0)]
    pub line: u64,
    /// Where its log ends.
    #[n(1)]
    pub base: Base,
    /// What it knows to be agreed.
    #[n(2)]
    pub committed: u64,
    /// It votes.
    #[n(3)]
    pub votes: bool,
    /// The stamp of its newest entry.
    #[n(4)]
    pub stamp: Timestamp,
    /// How many milliseconds ago it last was one of a majority, as far as it can know; `None`: not since it started.
    #[n(5)]
    pub alone_ms: Option<u64>,
    /// Who leads, as it believes.
    #[n(6)]
    pub leader: Option<NodeId>,
    /// The members as it knows them: where, under which law, whether it votes.
    #[n(7)]
    pub members: Vec<(NodeId, Jurisdiction, bool)>,
    /// Where members were that left.
    #[n(8)]
    pub left: Vec<NodeId>,
    /// The policy's home. Empty: any.
    #[n(9)]
    pub home: Vec<Jurisdiction>,
    /// Who must sign beside the tenant.
    #[n(10)]
    pub recoverers: Recoverers,
    /// It does nothing any more, and why: its disk failed, or it differs from others.
    #[n(11)]
    pub stopped: Option<String>,
    /// Whose app it is.
    #[n(12)]
    pub tenant: TenantId,
    /// The app's name.
    #[n(13)]
    pub app: String,
}

/// A line that was fenced, of which a node keeps what it held beyond the recovery's base.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeptLine {
    /// Which.
    #[n(0)]
    pub line: u64,
    /// Up to which index.
    #[n(1)]
    pub index: u64,
    /// The stamp of the newest entry.
    #[n(2)]
    pub time: Timestamp,
    /// As what it is read: see [`CellId::of_line`].
    #[n(3)]
    pub cell: CellId,
}

impl Envelopes for RecoveryPapers {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        into.extend(self.statement.envelopes());
        self.tenant.envelopes(into);
        for lineage in self.operators.iter().take(RECOVERERS_MAX) {
            lineage.envelopes(into);
        }
    }
}

impl Envelopes for Recovered {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        self.papers.envelopes(into);
        into.push(self.carried.envelope());
    }
}

impl fmt::Debug for RecoveryPapers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with {} operators", self.statement, self.operators.len())
    }
}

impl fmt::Debug for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.papers, self.carried)
    }
}
