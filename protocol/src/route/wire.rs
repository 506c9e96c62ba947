//! What routers say to each other, and the record that names a host's cell.
use minicbor::{Decode, Encode};

use crate::{
    id::{CellId, InstanceId, NodeId, TenantId},
    identity::{Envelope, Envelopes},
    resources::Jurisdiction,
};

/// The content of a binding record: host → cell genesis, and whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Binding {
    /// Lower case, without port.
    #[n(0)]
    pub host: String,
    /// Which cell answers for it.
    #[n(1)]
    pub cell: CellId,
    /// Whose.
    #[n(2)]
    pub tenant: TenantId,
    /// The app's name.
    #[n(3)]
    pub app: String,
    /// Nodes that vote, and behind them those that hold copies away; and where each stands.
    #[n(4)]
    pub voters: Vec<(NodeId, Jurisdiction)>,
    /// Where a voter's node can be reached, if its reader does not know.
    #[n(5)]
    pub addresses: Vec<(NodeId, Vec<String>)>,
}

/// A frame of routing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// An edge wants to know who serves a cell, now and on each change, for a minute.
    #[n(0)]
    Subscribe {
        /// Which cell.
        #[n(0)]
        cell: CellId,
    },
    /// What a voter says.
    #[n(1)]
    Update(#[n(0)] Update),
    /// The asked node has no replica of that cell.
    #[n(2)]
    Unknown {
        /// Which cell.
        #[n(0)]
        cell: CellId,
    },
}

/// Who serves a cell, as of one applied index.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Update {
    /// Which cell.
    #[n(0)]
    pub cell: CellId,
    /// Its line.
    #[n(1)]
    pub line: u64,
    /// As of this index: an older update changes nothing.
    #[n(2)]
    pub applied: u64,
    /// Instances that may serve.
    #[n(3)]
    pub instances: Vec<(InstanceId, u64, NodeId)>,
    /// Nodes that vote.
    #[n(4)]
    pub voters: Vec<NodeId>,
    /// Who leads, as the sender believes.
    #[n(5)]
    pub leader: Option<NodeId>,
    /// Hosts that the app answers for.
    #[n(6)]
    pub hosts: Vec<String>,
    /// The tenant ended the app.
    #[n(7)]
    pub removed: bool,
}

impl Envelopes for Message {
    fn envelopes<'a>(&'a self, _: &mut Vec<&'a Envelope>) {}
}
