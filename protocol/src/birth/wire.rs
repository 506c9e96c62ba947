//! What a sponsor and its candidates say to each other.
use minicbor::{Decode, Encode};

use crate::{
    capacity::Ask,
    cell::{Candidate, CellGenesis, Grant, Receipt, Role},
    context::WireContext,
    id::{ContentHash, NodeId, RequestId, TenantId},
    identity::{Envelope, Envelopes, Signed},
    refusal::Refusal,
    resources::Resources,
};

/// A frame of placing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// A gate is asked for candidates in its jurisdiction.
    #[n(0)]
    Candidates {
        /// Whose, until when.
        #[n(0)]
        context: WireContext,
        /// Which kind.
        #[n(1)]
        ask: Ask,
    },
    /// Its answer, best first. At most 32.
    #[n(1)]
    CandidatesFound {
        /// The asker's request.
        #[n(0)]
        request: RequestId,
        /// Who, with where to reach them.
        #[n(1)]
        candidates: Vec<(Candidate, Vec<String>)>,
        /// Who has room, and is not named because of the cap on dominance. At most [`crate::capacity::WITHHELD_MAX`]; more
        /// are ignored. For people.
        #[n(2)]
        withheld: Option<Vec<NodeId>>,
    },
    /// A candidate is asked for a vote or lease.
    #[n(2)]
    Grant {
        /// Whose, until when.
        #[n(0)]
        context: WireContext,
        /// See [`Grant::purpose`].
        #[n(1)]
        purpose: ContentHash,
        /// For whom.
        #[n(2)]
        tenant: TenantId,
        /// To what: each gets a grant of its own, or none does.
        #[n(3)]
        roles: Vec<(Role, Resources)>,
    },
    /// Yes, in the order of the roles; or no.
    #[n(3)]
    Granted {
        /// The asker's request.
        #[n(0)]
        request: RequestId,
        /// One grant a role, or why none.
        #[n(1)]
        result: Result<Vec<Signed<Grant>>, Refusal>,
    },
    /// Fetch these bytes from `holder`, sync them, and say so.
    #[n(4)]
    Store {
        /// Whose, until when.
        #[n(0)]
        context: WireContext,
        /// Which bytes.
        #[n(1)]
        content: ContentHash,
        /// How many.
        #[n(2)]
        size_bytes: u64,
        /// Who has them.
        #[n(3)]
        holder: NodeId,
    },
    /// They are on disk; or not, and why.
    #[n(5)]
    Stored {
        /// The asker's request.
        #[n(0)]
        request: RequestId,
        /// The receipt.
        #[n(1)]
        result: Result<Signed<Receipt>, Refusal>,
    },
    /// A cell is founded: its members check it and start.
    #[n(6)]
    Found {
        /// Whose, until when.
        #[n(0)]
        context: WireContext,
        /// All of it.
        #[n(1)]
        genesis: Box<CellGenesis>,
    },
    /// This member started it, durably; or will not, and why.
    #[n(7)]
    Founded {
        /// The asker's request.
        #[n(0)]
        request: RequestId,
        /// Why not.
        #[n(1)]
        result: Result<(), Refusal>,
    },
}

impl Envelopes for Message {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        match self {
            Self::CandidatesFound { candidates, .. } => {
                for (candidate, _) in candidates {
                    candidate.envelopes(into);
                }
            }
            Self::Granted { result: Ok(grants), .. } => into.extend(grants.iter().map(Signed::envelope)),
            Self::Stored { result: Ok(receipt), .. } => into.push(receipt.envelope()),
            Self::Found { genesis, .. } => genesis.envelopes(into),
            Self::Candidates { .. }
            | Self::Grant { .. }
            | Self::Granted { result: Err(_), .. }
            | Self::Store { .. }
            | Self::Stored { result: Err(_), .. }
            | Self::Founded { .. } => {}
        }
    }
}
