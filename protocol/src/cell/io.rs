//! What may happen to a replica of a cell, and what it asks of its node.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use minicbor::{Decode, Encode};

use super::{
    command::{Barrier, Command, Query},
    description::Description,
    genesis::{Candidate, Grant, Role},
    recovery::RecoveryPapers,
    wire::{Answered, Applied, Message, Reached},
};
use crate::{
    codec::Blob,
    context::Context,
    id::{ContentHash, NodeId, ReplicaId, RequestId, WriteId},
    identity::Signed,
    notice::Notice,
    record::{Keyring, RecordBody},
    refusal::Refusal,
    resources::Jurisdiction,
    store::{DiskFault, WriteBatch},
};

/// Input of a replica.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A frame of this cell, every signature in it checked.
    Received {
        /// The node that the transport authenticated.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// That write (numbered by this replica) and all before it are durable.
    Persisted(WriteId),
    /// That write never will be: acknowledge nothing any more.
    PersistFailed(WriteId, DiskFault),
    /// A snapshot asked for with `Fetch` came, or did not.
    Fetched {
        /// Which.
        content: ContentHash,
        /// Its bytes, their hash checked.
        bytes: Option<Blob>,
    },
    /// A caller on this node wants a command proposed. Answered by `Outcome`.
    Propose {
        /// Whose, until when.
        context: Context,
        /// What.
        command: Box<Command>,
    },
    /// A caller on this node wants to read. Answered by `Answers`.
    Read {
        /// Whose, until when.
        context: Context,
        /// How fresh.
        barrier: Barrier,
        /// What.
        queries: Vec<Query>,
    },
    /// The link to a member's node changed: its voters act at once on what they see themselves.
    Link {
        /// Which node.
        node: NodeId,
        /// It can be sent to.
        up: bool,
    },
    /// The observers of a member's node agree: their signed verdicts.
    Verdict {
        /// Which node.
        node: NodeId,
        /// It is down; else it is back.
        down: bool,
        /// Records of verdicts.
        evidence: Vec<Signed<RecordBody>>,
    },
    /// A member's or host's node says that it drains, or does not any more.
    Drain {
        /// Which node.
        node: NodeId,
        /// Its presence, which says so.
        presence: Option<Box<Signed<RecordBody>>>,
    },
    /// This node is about to stop: another should lead.
    Depart,
    /// What is known of keys changed.
    Keys(Arc<Keyring>),
    /// A candidate asked for with `Seek` said yes, or nobody did.
    Found {
        /// What was sought.
        need: Need,
        /// Who, and its yes.
        found: Option<Box<(Candidate, Signed<Grant>)>>,
    },
    /// This replica is the survivor from which the next line begins. Answered by `Carried`.
    Recover {
        /// Named in the answer.
        ticket: u64,
        /// What was signed.
        papers: Box<RecoveryPapers>,
    },
    /// A binding says that the cell is on this line by now, with other voters.
    Later {
        /// Which.
        line: u64,
        /// Who may say more.
        nodes: Vec<NodeId>,
    },
}

/// Output of a replica.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Best effort.
    Send {
        /// To which node.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Make durable, then say so. Numbered from 1 up.
    Persist {
        /// Its number.
        write: WriteId,
        /// What.
        batch: WriteBatch,
    },
    /// Keep these bytes where peers can fetch them by hash.
    Provide {
        /// Their hash.
        content: ContentHash,
        /// The bytes.
        bytes: Blob,
    },
    /// Nobody needs them any more.
    Withdraw {
        /// Their hash.
        content: ContentHash,
    },
    /// Fetch bytes from a node, then give them back by `Fetched`.
    Fetch {
        /// Who has them.
        from: NodeId,
        /// Their hash.
        content: ContentHash,
        /// How many at most.
        size_bytes: u64,
    },
    /// The answer to a local `Propose`.
    Outcome {
        /// Whose.
        request: RequestId,
        /// What became of it.
        result: Reached<Applied>,
    },
    /// The answer to a local `Read`.
    Answers {
        /// Whose.
        request: RequestId,
        /// What was read.
        result: Reached<Answered>,
    },
    /// The head of the state changed, or who leads.
    Described(Arc<Description>),
    /// The leader wants a candidate.
    Seek(Need),
    /// The cell has agreed that this replica left: it does nothing any more, and what is on disk of it is of no use.
    Left,
    /// Its line has ended: it does nothing any more, and what is on disk of it is gone. What it held beyond the next line's base
    /// is kept there under another name: the encoded state.
    Ended(Option<Blob>),
    /// The answer to a `Recover`.
    Carried {
        /// Its ticket.
        ticket: u64,
        /// The line that has begun, durably; or why not.
        result: Result<u64, Refusal>,
    },
    /// It sleeps from now on, and wakes when it is told that the link to one of these nodes is gone; `None`: it is awake.
    Sleeps(Option<BTreeSet<NodeId>>),
    /// What happened.
    Notice(Notice),
}

/// What a leader wants of placement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// A replica or an instance.
    pub role: Seeking,
    /// Whose vote it shall take over, or which copy's place.
    pub replaces: Option<ReplicaId>,
    /// Of a copy or what stands beside one: under which law.
    pub law: Option<Jurisdiction>,
    /// Of an instance beside a copy, and of who rejoins: on which node.
    pub node: Option<NodeId>,
}

impl Need {
    /// A replica that is to take over a vote.
    #[must_use]
    pub const fn vote(replaces: Option<ReplicaId>) -> Self {
        Self { role: Seeking::Replica, replaces, law: None, node: None }
    }

    /// A replica on the node of this one, which has lost all that it held: it takes its own vote over under a new id.
    #[must_use]
    pub const fn rejoin(replica: ReplicaId, node: NodeId) -> Self {
        Self { role: Seeking::Replica, replaces: Some(replica), law: None, node: Some(node) }
    }

    /// An instance.
    #[must_use]
    pub const fn instance() -> Self {
        Self { role: Seeking::Instance, replaces: None, law: None, node: None }
    }

    /// A copy that stands away.
    #[must_use]
    pub const fn copy(law: Jurisdiction, replaces: Option<ReplicaId>) -> Self {
        Self { role: Seeking::Copy, replaces, law: Some(law), node: None }
    }

    /// An instance on the node of a copy.
    #[must_use]
    pub const fn beside(law: Jurisdiction, node: NodeId) -> Self {
        Self { role: Seeking::Instance, replaces: None, law: Some(law), node: Some(node) }
    }
}

/// [`Role`] with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seeking {
    /// A replica that first learns.
    Replica,
    /// An instance.
    Instance,
    /// A copy that stands away.
    Copy,
}

impl From<Seeking> for Role {
    fn from(seeking: Seeking) -> Self {
        match seeking {
            Seeking::Replica | Seeking::Copy => Self::Learn,
            Seeking::Instance => Self::Instance,
        }
    }
}

/// How a replica behaves. Same on all replicas of a cell only where noted.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct CellConfig {
    /// How often raft ticks. Smaller: faster elections, more work. Default 50 ms.
    #[n(0)]
    pub tick: Duration,
    /// Ticks between heartbeats of a leader: at most half of `election_ticks`, so that one may be late. Default 6.
    #[n(1)]
    pub heartbeat_ticks: u32,
    /// Silent ticks before a follower may campaign, before the cell's round trip is taken into account: at least ten
    /// round trips are waited. Default 12; the draw adds up to as many again.
    #[n(2)]
    pub election_ticks: u32,
    /// Entries between snapshots. Default 4,096.
    #[n(3)]
    pub snapshot_entries: u64,
    /// Bytes of log between snapshots. Default 8 MiB.
    #[n(4)]
    pub snapshot_bytes: u64,
    /// The most a cell's keyed state may hold in memory; beyond it writes are refused. Default 64 MiB.
    #[n(5)]
    pub state_bytes_max: u64,
    /// Proposals under way at once; beyond it callers are told `Full`. Default 4,096.
    #[n(6)]
    pub proposals_max: usize,
    /// A cell in which nothing was agreed for so long falls asleep. Below a third of `lease`, or one with instances never
    /// does. Default 1.5 s.
    #[n(7)]
    pub quiet: Duration,
    /// How long a lease lasts after its renewal. Default 10 s.
    #[n(8)]
    pub lease: Duration,
}

impl Default for CellConfig {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(50),
            heartbeat_ticks: 6,
            election_ticks: 12,
            snapshot_entries: 4_096,
            snapshot_bytes: 8 << 20,
            state_bytes_max: 64 << 20,
            proposals_max: 4_096,
            quiet: Duration::from_millis(1_500),
            lease: Duration::from_secs(10),
        }
    }
}
