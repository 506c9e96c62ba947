//! What the part that keeps converging stores is told, and what it says.
use std::{collections::BTreeSet, sync::Arc};

use super::wire::Message;
use crate::{
    cell::{Answered, Applied, Description},
    command::Command,
    context::Context,
    id::{CellId, NodeId, RequestId, WriteId},
    refusal::Refusal,
    store::{DiskFault, WriteBatch},
};

/// Input of this part.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A person or a guest asks or writes something of a cell: `Write`, `GuestRead`, `Read` or `Submit`. Whoever drives has
    /// made sure that who writes by `Submit` or asks by `Read` may.
    Asked {
        /// Whose.
        context: Context,
        /// What.
        command: Box<Command>,
    },
    /// A cell with a replica or a lease here says who belongs to it.
    Described(Arc<Description>),
    /// This node has neither any more; what was known of the cell last.
    Over(Arc<Description>),
    /// Another member says something.
    Received {
        /// The node that the transport authenticated.
        from: NodeId,
        /// Of which app.
        cell: CellId,
        /// What.
        message: Message,
    },
    /// A node can be sent to.
    PeerUp(NodeId),
    /// It cannot.
    PeerDown(NodeId),
    /// A write of ours is durable.
    Persisted {
        /// Of which app.
        cell: CellId,
        /// Which.
        write: WriteId,
    },
    /// A write of ours never will be.
    PersistFailed {
        /// Of which app.
        cell: CellId,
        /// Why.
        fault: DiskFault,
    },
}

/// Output of this part.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// It is about a strong store, or of an app that is not here: it goes its usual way.
    Elsewhere {
        /// Whose.
        context: Context,
        /// What.
        command: Box<Command>,
    },
    /// To another member. Best effort.
    Send {
        /// Where.
        to: NodeId,
        /// Of which app.
        cell: CellId,
        /// What.
        message: Message,
    },
    /// Make this durable; answered by `Persisted`.
    Persist {
        /// Of which app.
        cell: CellId,
        /// Our number.
        write: WriteId,
        /// What.
        batch: WriteBatch,
    },
    /// Nothing of it is kept any more; nobody waits for that.
    Forget {
        /// Of which app.
        cell: CellId,
        /// What.
        batch: WriteBatch,
    },
    /// A guest has read.
    GuestRead {
        /// Whose.
        request: RequestId,
        /// What. It rests on no index: 0.
        answered: Answered,
    },
    /// A person has read.
    Answered {
        /// Whose.
        request: RequestId,
        /// What. It rests on no index: 0.
        answered: Answered,
    },
    /// It is written, durably, on this node.
    Applied {
        /// Whose.
        request: RequestId,
        /// At no index: 0.
        applied: Applied,
    },
    /// No.
    Refuse {
        /// Whose.
        request: RequestId,
        /// Why.
        refusal: Refusal,
    },
    /// These nodes must be reached: this one is no member any more and has writes that none of them has. Replaces the ones
    /// before.
    Want {
        /// For which app.
        cell: CellId,
        /// Whom.
        nodes: BTreeSet<NodeId>,
    },
}
