//! What happened, for logs, metrics, the dashboard and tests. Carries no obligation: a driver may drop every one.
use std::time::Duration;

use crate::{
    id::{CellId, InstanceId, NodeId, OperatorId, PartyId, ReplicaId},
    io::Over,
    membership::{Address, Liveness},
    store::DiskFault,
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A peer introduced itself and is a member.
    PeerUp(NodeId),
    /// The link to a peer is gone.
    PeerDown(NodeId),
    /// The link to a peer goes over something else now; it was never down.
    PeerMoved {
        /// Who.
        peer: NodeId,
        /// What it goes over.
        over: Over,
    },
    /// A node that relayed for this one does so no longer, or would not.
    RelayLost {
        /// Who.
        relay: NodeId,
        /// Why.
        why: String,
    },
    /// A peer was turned away, and why.
    PeerRefused {
        /// Who.
        peer: NodeId,
        /// Why.
        reason: String,
    },
    /// The quorum of observers agreed on a node.
    Verdict {
        /// Whom.
        about: NodeId,
        /// What.
        state: Liveness,
    },
    /// A record was refused, and why. Its sender may be faulty.
    RecordRefused {
        /// From whom.
        from: NodeId,
        /// Why.
        reason: String,
    },
    /// Two statements of one version by one signer.
    Contradiction {
        /// By whom.
        signer: NodeId,
    },
    /// An operator is a member of the mesh from now on, or none any more.
    Operator {
        /// Who.
        operator: OperatorId,
        /// What people call it.
        name: String,
        /// It is one.
        member: bool,
    },
    /// A version of the charter is in force.
    Charter {
        /// Which.
        version: u64,
    },
    /// It is known here that a party has changed its key: the one before is dead.
    Succeeded {
        /// Whose.
        party: PartyId,
        /// How often by now.
        serial: u64,
    },
    /// It is known here what an operator rules about its node.
    Ruled {
        /// Whose node.
        operator: OperatorId,
        /// Which.
        node: NodeId,
        /// Certificates of a lower serial are void.
        below: u64,
        /// Contradictions up to this version are explained.
        resolved: u64,
    },
    /// It is known here, with proof, that a node contradicted itself: it gets no new votes and leases.
    Contradicted {
        /// Which.
        node: NodeId,
    },
    /// Another process runs with this node's key, and says that it is there. Two nodes with one key undo each other: one
    /// of them must stop, and be made anew with bocage node init.
    Doubled {
        /// Where the other one says that it is.
        addresses: Vec<Address>,
    },
    /// Two processes introduce themselves with this peer's key, from different disks: its operator must stop one of them.
    PeerDoubled(NodeId),
    /// A replica of a cell runs here.
    CellOpened {
        /// Which cell.
        cell: CellId,
        /// Which member.
        replica: ReplicaId,
    },
    /// A cell has a new leader, as its replica here believes.
    Leader {
        /// Which cell.
        cell: CellId,
        /// Who.
        leader: Option<NodeId>,
        /// In which term.
        term: u64,
    },
    /// An entry was applied. For checkers: `digest` chains all that was applied before.
    Applied {
        /// Which cell.
        cell: CellId,
        /// On which line.
        line: u64,
        /// Where.
        index: u64,
        /// Hash of the entry and of the digest before it.
        digest: [u8; 32],
    },
    /// A cell's replica here stopped for ever: a panic was contained, or its state is not what the others have.
    CellQuarantined {
        /// Which cell.
        cell: CellId,
        /// Why.
        reason: String,
    },
    /// A cell has lost its majority and goes on, on this line, from what this node holds.
    Recovered {
        /// Which cell.
        cell: CellId,
        /// The line that has begun.
        line: u64,
        /// Its first index.
        index: u64,
    },
    /// A recovery was shown here that does not count, and why. Nothing changed.
    RecoveryRefused {
        /// Of which cell.
        cell: CellId,
        /// Why.
        reason: String,
    },
    /// The line of a cell's replica here has ended: the cell was recovered without it.
    Fenced {
        /// Which cell.
        cell: CellId,
        /// The line that ended.
        line: u64,
        /// Entries here that the new line does not have, at least; they are kept: bocage export --line. 0: none, nothing is kept.
        beyond: u64,
    },
    /// An instance started, stopped or failed here.
    Instance {
        /// Which.
        instance: InstanceId,
        /// In words.
        what: String,
    },
    /// The disk failed: this node acknowledges nothing any more.
    DiskFailed(DiskFault),
    /// This node's clock is far from its peers' median: it signs nothing.
    ClockOff {
        /// How far.
        by: Duration,
        /// This node is ahead.
        ahead: bool,
    },
}
