//! What a person, an edge or a guest may ask of a node, and what it answers.
use std::{sync::Arc, time::Duration};

use minicbor::{Decode, Encode};

use crate::{
    away::AwayShown,
    cell::{self, Answered, Applied, Barrier, CellGenesis, Description, Query, RecoveryPapers, TenantCommand, Write},
    charter::{Papers, RollShown},
    departure,
    id::{CellId, ContentHash, InstanceId, NodeId, OperatorId, TenantId},
    identity::{Endorsed, Genesis, NodeCertificate, Signed, Succession},
    membership::Address,
    placement::{Grade, Policy},
    reach::ReachShown,
    record::KeyWord,
    resources::{Jurisdiction, Price, Resources, Site},
    store::DiskFault,
    survey::Findings,
    time::Timestamp,
};

/// Asked with a `Context` that names request and deadline. Every signature in it was checked by the driver.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Command {
    /// Found a cell for a signed release. The release's bytes are in this node's content store already.
    #[n(0)]
    Deploy {
        /// Who.
        #[n(0)]
        tenant: Signed<Genesis>,
        /// How the tenant came from its first key to the one that signs; empty while it is the first.
        #[n(1)]
        successions: Vec<Endorsed<Succession>>,
        /// What: a `TenantAction::Release` with no cell.
        #[n(2)]
        release: Signed<TenantCommand>,
    },
    /// Show the plan that `Deploy` would make; changes nothing.
    #[n(1)]
    Plan {
        /// What must stay true.
        #[n(0)]
        policy: Box<Policy>,
    },
    /// Propose a command to a cell. A `TenantAction::Release` for an existing cell first gathers fsync receipts.
    #[n(2)]
    Submit {
        /// Which.
        #[n(0)]
        cell: CellId,
        /// What.
        #[n(1)]
        command: Box<cell::Command>,
    },
    /// Read from a cell.
    #[n(3)]
    Read {
        /// Which.
        #[n(0)]
        cell: CellId,
        /// How fresh.
        #[n(1)]
        barrier: Barrier,
        /// What. At most 64.
        #[n(2)]
        queries: Vec<Query>,
    },
    /// An instance on this node reads: from home, or where its app is away from the copy here, as the app's policy says.
    #[n(4)]
    GuestRead {
        /// Which instance.
        #[n(0)]
        instance: InstanceId,
        /// Its request depends on this index already.
        #[n(1)]
        seen: Option<u64>,
        /// What. At most 64.
        #[n(2)]
        queries: Vec<Query>,
    },
    /// An instance on this node writes. Signed by this node under the instance's lease.
    #[n(5)]
    Write {
        /// Which instance.
        #[n(0)]
        instance: InstanceId,
        /// Under which generation.
        #[n(1)]
        generation: u64,
        /// All or none.
        #[n(2)]
        writes: Vec<Write>,
    },
    /// An edge asks who serves a host. Answered once the table knows, or with `NotFound`.
    #[n(6)]
    Resolve {
        /// Lower case, without port.
        #[n(0)]
        host: String,
    },
    /// The operator changes what this node offers; `None` withdraws it.
    #[n(7)]
    Offer(#[n(0)] Option<Terms>),
    /// The operator empties this node, or with `None` no more.
    #[n(8)]
    Drain(#[n(0)] Option<departure::Order>),
    /// How far that is.
    #[n(9)]
    Drained,
    /// This node stops soon: others should lead what it leads. Until it is restarted it leads nothing that others can.
    #[n(10)]
    Depart,
    /// How this node reaches its peers and is reached.
    #[n(11)]
    Reach,
    /// What this node knows of its mesh's charter, members and motions.
    #[n(12)]
    Roll,
    /// Bring a motion, ballots, an invite: whatever proves itself.
    #[n(13)]
    Papers(#[n(0)] Box<Papers>),
    /// A word about keys, which proves itself: for this node and, by it, for the mesh. Answered with `Done`, or `Conflict`
    /// where something known here outranks it.
    #[n(14)]
    Word(#[n(0)] Box<KeyWord>),
    /// A later certificate of this node.
    #[n(15)]
    Certificate(#[n(0)] Box<Signed<NodeCertificate>>),
    /// What this node knows of itself and its mesh.
    #[n(16)]
    Status,
    /// What is left of a cell, as all say who may hold something of it.
    #[n(17)]
    Survey {
        /// Which.
        #[n(0)]
        cell: CellId,
    },
    /// Have a recovery carried out by the survivor that it names.
    #[n(18)]
    Recover(#[n(0)] Box<RecoveryPapers>),
    /// What this node knows of the cells that it has a replica or a lease of.
    #[n(19)]
    Cells,
    /// Bring bytes here, from the first of these nodes that has them, for somebody who will read them here. Answered with
    /// `Done` once they are, or `NotFound`.
    #[n(20)]
    Bring {
        /// Their hash.
        #[n(0)]
        content: ContentHash,
        /// How many at most.
        #[n(1)]
        size_bytes_max: u64,
        /// Who may have them. At most 16; of more, the first.
        #[n(2)]
        from: Vec<NodeId>,
    },
    /// Which cells answer for a tenant's apps, as bindings say.
    #[n(21)]
    Apps {
        /// Whose.
        #[n(0)]
        tenant: TenantId,
        /// Only the app of this name.
        #[n(1)]
        app: Option<String>,
    },
}

/// What an operator offers on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Terms {
    /// All of it.
    #[n(0)]
    pub total: Resources,
    /// What it asks.
    #[n(1)]
    pub price: Price,
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// To `Deploy`: the cell is founded on a majority of its voters.
    Deployed {
        /// Its id.
        cell: CellId,
        /// All of it.
        genesis: Arc<CellGenesis>,
        /// The self-certifying host.
        host: String,
    },
    /// To `Plan`.
    Planned(Box<PlanShown>),
    /// To `Submit` and `Write`.
    Applied(Applied),
    /// To `Read`.
    Answered(Answered),
    /// To `GuestRead`.
    GuestRead {
        /// What was read.
        answered: Answered,
        /// A copy away answered: what it holds was current so long ago, or later. `None`: home answered.
        age: Option<Duration>,
        /// It was beyond the age that the app allows while linked: a cut.
        stale: bool,
    },
    /// To `Bring`, `Resolve`, `Offer`, `Drain`, `Depart`, `Papers`, `Word` and `Certificate`.
    Done,
    /// To `Drained`.
    Drained(Box<DrainShown>),
    /// To `Reach`.
    Reach(Box<ReachShown>),
    /// To `Roll`.
    Roll(Box<RollShown>),
    /// To `Status`.
    Status(Box<NodeStatus>),
    /// To `Cells`: descriptions as of what is applied here.
    Cells(Vec<Arc<Description>>),
    /// To `Survey`.
    Surveyed(Box<Findings>),
    /// To `Recover`: this line has begun, durably.
    Recovered {
        /// Which.
        line: u64,
    },
    /// To `Apps`, by name.
    Apps(Vec<AppShown>),
}

/// How far a drain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainShown {
    /// In one word.
    pub stage: DrainStage,
    /// When it began.
    pub since: Option<Timestamp>,
    /// Until when others have time to take over.
    pub deadline: Option<Timestamp>,
    /// What is still here, by cell.
    pub held: Vec<HeldShown>,
}

/// Where a drain stands, and whether the node may be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStage {
    /// The node does not drain.
    Not,
    /// Others are taking over.
    Draining,
    /// It holds nothing: it may be stopped.
    Empty,
    /// Past the deadline; whatever it holds survives its end and one more loss: it may be stopped.
    Spared,
    /// Past the deadline; something would not survive its end and one more loss: it should not be stopped.
    Refused,
    /// Past the deadline; the operator takes that: it may be stopped.
    AsCrash,
}

/// What a draining node still holds of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldShown {
    /// Which.
    pub cell: CellId,
    /// The app's name.
    pub app: String,
    /// It has a vote here.
    pub votes: bool,
    /// It has a learner here.
    pub learns: bool,
    /// A replica is here that has left the cell and has not heard of it.
    pub past: bool,
    /// It is led here.
    pub leads: bool,
    /// Instances that run here.
    pub instances: usize,
    /// The rules in force: before 3 nothing is replaced because of a drain.
    pub rules: u32,
    /// Without this node it would survive one more loss, and be served.
    pub survives: bool,
}

/// An app as a binding says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppShown {
    /// Its name.
    pub app: String,
    /// Its cell 0.
    pub cell: CellId,
    /// The hosts that it answers for.
    pub hosts: Vec<String>,
}

/// A plan as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanShown {
    /// Replicas and instances.
    pub placed: Vec<PlacedShown>,
    /// What the voters survive.
    pub grade: Grade,
    /// Micro-units of the minor currency unit an hour.
    pub price_per_hour: u64,
    /// Nodes that were left out, and why.
    pub rejected: Vec<(NodeId, String)>,
}

/// A replica or instance as planned.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedShown {
    /// `voter`, `learner` or `instance`.
    pub role: &'static str,
    /// Where.
    pub node: NodeId,
    /// Of whom.
    pub operator: OperatorId,
    /// What the operator is called.
    pub operator_name: String,
    /// Under which law.
    pub jurisdiction: Jurisdiction,
    /// At which site.
    pub site: Site,
    /// Why there.
    pub why: String,
}

/// What a node knows.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// This node.
    pub node: NodeId,
    /// Of whom.
    pub operator: OperatorId,
    /// What the operator is called.
    pub operator_name: String,
    /// Under which law.
    pub jurisdiction: Jurisdiction,
    /// At which site.
    pub site: Site,
    /// What it offers, and how much of it is used.
    pub offer: Option<(Terms, Resources)>,
    /// Peers with a link now.
    pub peers: Vec<PeerShown>,
    /// Nodes of this jurisdiction that are present and not down, this one included.
    pub known_nodes: usize,
    /// Records held.
    pub records: usize,
    /// Cells with a replica here.
    pub cells: usize,
    /// Leases held here.
    pub leases: usize,
    /// How guests' reads and writes went where their apps are away.
    pub away: AwayShown,
    /// Cells led here that others could lead.
    pub to_hand_over: usize,
    /// It drains, since then.
    pub draining: Option<Timestamp>,
    /// Neighbours in the overlay: each of them counts this node's operator as a member.
    pub neighbours: usize,
    /// Where it says that it can be reached, best first.
    pub addresses: Vec<Address>,
    /// The last peer that was turned away, and why.
    pub turned_away: Option<(NodeId, String)>,
    /// The clock of the last peer that introduced itself, less this node's, in milliseconds.
    pub last_clock_ms: Option<i64>,
    /// The disk failed: restart after mending it.
    pub disk: Option<DiskFault>,
    /// This node's clock is off by so many milliseconds from its peers' median; positive: ahead.
    pub clock_off_ms: i64,
    /// Of its own keys, and of others'.
    pub keys: KeysShown,
}

/// What a node knows of keys, as people see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysShown {
    /// How often its operator has changed its key.
    pub serial: u64,
    /// When its certificate ends.
    pub certificate_expires: Timestamp,
    /// Why its certificate counts no more, though it is in time.
    pub void: Option<String>,
    /// Where another process says it is that runs with this node's key.
    pub double: Option<Vec<Address>>,
    /// Nodes that contradicted themselves, in records of which version, and whether that bars them from votes and leases.
    pub contradicted: Vec<ContradictedShown>,
    /// Words about keys known: successions, rulings of operators, contradictions.
    pub words: usize,
}

/// A node that contradicted itself, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContradictedShown {
    /// Which.
    pub node: NodeId,
    /// What its operator is called, if it is known here.
    pub operator_name: Option<String>,
    /// In records of this version.
    pub version: u64,
    /// It gets no new votes and leases; else its operator has explained it.
    pub barred: bool,
}

/// A peer as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerShown {
    /// Who.
    pub node: NodeId,
    /// What its operator is called.
    pub operator_name: String,
    /// Under which law.
    pub jurisdiction: Jurisdiction,
    /// At which site.
    pub site: Site,
    /// Of the link, in microseconds; 0 when not measured yet.
    pub round_trip_us: u64,
    /// The wire version of the link.
    pub wire: u16,
}
