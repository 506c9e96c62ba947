//! Everything that may happen to a node, and everything that it may ask of its driver. A run is a `Boot` and a list of
//! `(Now, Input)`: inputs have an encoding, for tapes.
use std::{sync::Arc, time::Duration};

use minicbor::{Decode, Encode};

use crate::{
    cell::{Secrets, Workload},
    codec::Blob,
    command::{Command, Reply},
    context::Context,
    frame::Frame,
    id::{ContentHash, InstanceId, NodeId, ReadId, RequestId, TenantId, TransferId, WriteId},
    identity::Verified,
    membership::Address,
    notice::Notice,
    record::Keyring,
    refusal::Refusal,
    resources::Resources,
    route::RouteDelta,
    store::{CellBoot, DiskFault, StoreKey, WriteBatch},
    time::Timestamp,
    wire::Versioned,
};

/// Input of a whole node.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(context_bound = "Versioned")]
pub enum Input {
    /// A frame: its sender authenticated by the transport, its signatures checked.
    #[n(0)]
    Received {
        /// The node that sent it.
        #[n(0)]
        from: NodeId,
        /// What it says.
        #[n(1)]
        frame: Verified<Frame>,
    },
    /// A datagram that the detector of another node sent. Only in experiments: no transport carries any.
    #[n(9)]
    Datagram {
        /// Who sent it.
        #[n(0)]
        from: NodeId,
        /// What it says.
        #[n(1)]
        bytes: Blob,
    },
    /// A link changed.
    #[n(1)]
    Link {
        /// With which peer.
        #[n(0)]
        peer: NodeId,
        /// How.
        #[n(1)]
        change: LinkChange,
    },
    /// That write and all before it are durable.
    #[n(2)]
    Persisted(#[n(0)] WriteId),
    /// That write and all after it never will be.
    #[n(3)]
    PersistFailed(#[n(0)] WriteId, #[n(1)] DiskFault),
    /// The answer to `Load`.
    #[n(4)]
    Loaded {
        /// Which.
        #[n(0)]
        read: ReadId,
        /// `None`: there is no such thing.
        #[n(1)]
        result: Result<Option<Box<CellBoot>>, DiskFault>,
    },
    /// The end of a `Transfer`.
    #[n(5)]
    Transferred {
        /// Which.
        #[n(0)]
        id: TransferId,
        /// The bytes, synced to disk; handed over if `Content::Snapshot`.
        #[n(1)]
        result: Result<Option<Blob>, TransferFault>,
    },
    /// An instance changed.
    #[n(6)]
    Instance {
        /// Which.
        #[n(0)]
        id: InstanceId,
        /// Under which generation of its lease.
        #[n(1)]
        generation: u64,
        /// How.
        #[n(2)]
        change: InstanceChange,
    },
    /// Usage that a runtime or an edge measured.
    #[n(7)]
    Reading(#[n(0)] Reading),
    /// A person, an edge or a guest asks. Answered by one `Reply`, at the latest shortly after the deadline.
    #[n(8)]
    Command {
        /// Whose, until when.
        #[n(0)]
        context: Context,
        /// What. In a box, for it is rare, and large beside what else comes in.
        #[n(1)]
        command: Box<Command>,
    },
}

/// How a link changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LinkChange {
    /// Frames can be sent. The first link to this peer.
    #[n(0)]
    Up {
        /// Where the peer was reached, if this node dialled.
        #[n(0)]
        address: Option<Address>,
        /// What the link goes over.
        #[n(1)]
        over: Over,
    },
    /// The link goes over something else now, and was never down: a direct connection took the place of a relayed one, or
    /// QUIC that of TCP, or what it went over before broke and this is what is left.
    #[n(1)]
    Moved {
        /// Where the peer was reached, if this node dialled.
        #[n(0)]
        address: Option<Address>,
        /// What it goes over now.
        #[n(1)]
        over: Over,
    },
    /// Frames cannot be sent any more; those under way may be lost.
    #[n(2)]
    Down,
    /// Dialling failed at every address of a path. A link over another path may stand.
    #[n(3)]
    Unreachable {
        /// Which way was tried.
        #[n(0)]
        path: PathKind,
        /// In words.
        #[n(1)]
        why: String,
    },
    /// Measured by a ping.
    #[n(4)]
    RoundTrip(#[n(0)] Duration),
    /// The send queue was full: a frame of this urgency was dropped.
    #[n(5)]
    Full,
    /// The local network says that this peer is at this address.
    #[n(6)]
    Discovered {
        /// Where.
        #[n(0)]
        address: Address,
    },
    /// This node listens here now. `peer` is this node.
    #[n(7)]
    Listening {
        /// Where.
        #[n(0)]
        address: Address,
    },
    /// This node does not listen here any more. `peer` is this node.
    #[n(8)]
    Deaf {
        /// Where.
        #[n(0)]
        address: Address,
    },
    /// The peer relays for this node: others reach it through the peer.
    #[n(9)]
    Reserved,
    /// The peer does not relay for this node (any more).
    #[n(10)]
    Unreserved {
        /// In words.
        #[n(0)]
        why: String,
    },
    /// The peer dialled this node at an address, as asked: from outside, not back over a link that stood.
    #[n(11)]
    Tested {
        /// Where.
        #[n(0)]
        address: Address,
        /// It got through.
        #[n(1)]
        reached: bool,
    },
    /// From where the peer sees this node come.
    #[n(12)]
    Observed {
        /// What the peer says.
        #[n(0)]
        address: Address,
    },
    /// Both sides dialled each other at one moment, to get through their NATs. Nothing: they met.
    #[n(13)]
    Punched {
        /// Why they did not.
        #[n(0)]
        failed: Option<String>,
    },
}

/// Which way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum PathKind {
    /// From node to node.
    #[n(0)]
    Direct,
    /// Through another node that relays.
    #[n(1)]
    Relayed,
}

/// A way to a peer, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// From node to node: its addresses, best first.
    Direct(Vec<Address>),
    /// Through another node that relays: addresses at relays, best first.
    Relayed(Vec<Address>),
}

impl Path {
    /// Which way it is.
    #[must_use]
    pub const fn kind(&self) -> PathKind {
        match self {
            Self::Direct(_) => PathKind::Direct,
            Self::Relayed(_) => PathKind::Relayed,
        }
    }

    /// Where.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        match self {
            Self::Direct(addresses) | Self::Relayed(addresses) => addresses,
        }
    }
}

/// What a link goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Over {
    /// UDP, from node to node.
    #[n(0)]
    Quic,
    /// TCP, from node to node: what QUIC does not get through.
    #[n(1)]
    Tcp,
    /// This node carries it, and reads nothing of it.
    #[n(2)]
    Relay(#[n(0)] NodeId),
}

impl Over {
    /// Whether another node carries it.
    #[must_use]
    pub const fn is_relayed(self) -> bool {
        matches!(self, Self::Relay(_))
    }
}

/// How an instance changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum InstanceChange {
    /// It serves.
    #[n(0)]
    Started,
    /// It could not start or had to be stopped for good, and why.
    #[n(1)]
    Failed(#[n(0)] String),
    /// It is gone, as ordered.
    #[n(2)]
    Stopped,
}

/// Why bytes did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum TransferFault {
    /// The peer does not have them, or they were other bytes.
    #[error("the peer does not have these bytes")]
    #[n(0)]
    NotThere,
    /// The link broke.
    #[error("the peer could not be reached: {0}")]
    #[n(1)]
    Broken(#[n(0)] String),
    /// Longer than announced.
    #[error("more bytes than announced")]
    #[n(2)]
    TooLong,
    /// They could not be kept.
    #[error(transparent)]
    #[n(3)]
    Disk(
        #[n(0)]
        #[from]
        DiskFault,
    ),
}

/// Usage of one instance in one interval, as measured. Where the ledger will take it from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reading {
    /// Which.
    #[n(0)]
    pub instance: InstanceId,
    /// How long the interval was.
    #[n(1)]
    pub interval: Duration,
    /// Requests that ended in it.
    #[n(2)]
    pub requests: u64,
    /// CPU time used in it.
    #[n(3)]
    pub cpu: Duration,
    /// Most memory used in it.
    #[n(4)]
    pub memory_bytes: u64,
}

/// Output of a whole node.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Make a link to a peer, or a better connection of the link that stands. Answered by `Link`.
    Dial {
        /// Who.
        peer: NodeId,
        /// Which way, and where.
        via: Path,
    },
    /// Ask a peer to which there is a direct link to relay for this node, until told otherwise. Answered by `Link`:
    /// `Reserved` or `Unreserved`.
    Reserve {
        /// Who.
        relay: NodeId,
        /// No longer, if not.
        wanted: bool,
    },
    /// Close the link.
    Hangup {
        /// Who.
        peer: NodeId,
    },
    /// Best effort. Never before the writes that it depends on are durable: the machine sees to that.
    Send {
        /// To whom.
        to: NodeId,
        /// The version of this link, to encode it in.
        wire: u16,
        /// What.
        frame: Frame,
    },
    /// Carry this to the detector of another node, past all links, if it can be done. Only in experiments: a daemon has no
    /// detector that says any.
    Datagram {
        /// To whom.
        to: NodeId,
        /// What.
        bytes: Blob,
    },
    /// Make durable, in order. Answered by `Persisted` or `PersistFailed`.
    Persist {
        /// Rising.
        write: WriteId,
        /// What.
        batch: WriteBatch,
    },
    /// Answered by `Loaded`.
    Load {
        /// Named in the answer.
        read: ReadId,
        /// What.
        key: StoreKey,
    },
    /// Fetch bytes by hash from a peer. Answered by `Transferred`, after the bytes are synced to disk.
    Transfer {
        /// Named in the answer.
        id: TransferId,
        /// Who has them. This node itself: it says whether they are here.
        from: NodeId,
        /// Which.
        what: Content,
    },
    /// Keep these bytes where peers can fetch them by hash.
    Provide {
        /// Their hash.
        content: ContentHash,
        /// The bytes.
        bytes: Blob,
    },
    /// Nobody needs these bytes any more.
    Withdraw {
        /// Their hash.
        content: ContentHash,
    },
    /// Start or stop an instance: idempotent.
    Run(Order),
    /// What the edge may route.
    Serve(RouteDelta),
    /// This node's certificate ends then: give it a new one by `Command::Certificate`, if the operator's key is at hand.
    Recertify {
        /// When.
        expires: Timestamp,
    },
    /// What is known of keys changed, for whoever asks at the door.
    Keys(Arc<Keyring>),
    /// The answer to a `Command`.
    Reply {
        /// Whose.
        request: RequestId,
        /// What became of it.
        result: Result<Reply, Refusal>,
    },
    /// What happened; no obligation.
    Notice(Notice),
}

/// What to transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// The hash of its bytes; checked on arrival.
    pub hash: ContentHash,
    /// No more than this is read.
    pub size_bytes_max: u64,
    /// What for.
    pub kind: ContentKind,
}

/// What bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentKind {
    /// To run: kept in the content store only.
    Component,
    /// A cell's state: kept and handed to the machine.
    Snapshot,
}

/// What a runtime shall do. A lower generation than one it has seen of the same instance changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run this instance; a new order for a running one replaces its workload without dropping requests.
    Start(Box<Start>),
    /// End it.
    Stop {
        /// Which.
        instance: InstanceId,
        /// Under which generation.
        generation: u64,
    },
}

/// How to start an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub instance: InstanceId,
    /// Under which generation.
    pub generation: u64,
    /// Whose.
    pub tenant: TenantId,
    /// The app's name.
    pub app: String,
    /// The release's number.
    pub release: u64,
    /// What runs. Its bytes are in this node's content store.
    pub workload: Workload,
    /// Given to the instance.
    pub env: Vec<(String, String)>,
    /// Given to the instance once unwrapped.
    pub secrets: Secrets,
    /// Where its requests may go: see [`crate::placement::Policy::outbound`].
    pub outbound: Vec<String>,
    /// Its bounds.
    pub resources: Resources,
}
