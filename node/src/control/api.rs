//! What the control API says, in JSON: the names are promises. Fields are only ever added.
use bocage_protocol::{
    cell::{Description, InstanceState, TenantCommand},
    command::{KeysShown, NodeStatus, PlanShown},
    id::{CellId, NodeId, OperatorId},
    identity::{Endorsed, Genesis, Signed, Succession},
    placement::Grade,
};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What founds a cell, as signed: CBOR, not JSON.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Founding {
    /// Who.
    #[n(0)]
    pub tenant: Signed<Genesis>,
    /// What.
    #[n(1)]
    pub release: Signed<TenantCommand>,
    /// How the tenant came from its first key to the one that signs the release.
    #[n(2)]
    pub successions: Option<Vec<Endorsed<Succession>>>,
}

/// An app and where it lives.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct App {
    /// Its name.
    pub app: String,
    /// Its cell 0.
    pub cell: String,
    /// The hosts that it answers for.
    pub hosts: Vec<String>,
}

/// An app that was deployed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deployed {
    /// Its name.
    pub app: String,
    /// Its cell 0.
    pub cell: String,
    /// The release's number.
    pub release: u64,
    /// Its self-certifying host.
    pub host: String,
}

/// What a cell says of itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Cell {
    /// Its id.
    pub cell: String,
    /// Raised only by recovery after lost majority.
    pub line: u64,
    /// Fences all instances at once.
    pub writer: u64,
    /// The version of the rules by which it changes its state.
    #[serde(default)]
    pub rules: u32,
    /// What its voters survive: `nothing`, `operator`, `site` or `jurisdiction`.
    pub grade: String,
    /// The leader's node.
    pub leader: Option<String>,
    /// Voters and learners.
    pub replicas: Vec<Replica>,
}

/// A member of a cell.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Replica {
    /// Its node.
    pub node_id: String,
    /// What its operator is called.
    pub operator: String,
    /// The law it answers to.
    pub jurisdiction: String,
    /// The place that fails together.
    pub site: String,
    /// `voter` or `learner`.
    pub role: String,
    /// How far its log is known to reach.
    pub applied: Option<u64>,
    /// Why it was placed there.
    pub why: String,
}

/// A running copy of an app.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Its number.
    pub number: u64,
    /// Its node.
    pub node_id: String,
    /// What its operator is called.
    pub operator: String,
    /// The law it answers to.
    pub jurisdiction: String,
    /// The place that fails together.
    pub site: String,
    /// `starting`, `running` or `failed`.
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// Fences a stale holder.
    pub generation: u64,
    /// Why it was placed there.
    pub why: String,
}

/// A retained release.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Release {
    /// From 1 up.
    pub number: u64,
    /// It is the current one.
    pub current: bool,
    /// Hash of what runs.
    pub content: String,
    /// Milliseconds since the Unix epoch.
    pub deployed_ms: u64,
    /// The number that this rollback made current again.
    pub rolled_back_to: Option<u64>,
}

/// All about one app.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AppStatus {
    /// Its name.
    pub app: String,
    /// Its cells; number 0 first.
    pub cells: Vec<Cell>,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Its retained releases.
    pub releases: Vec<Release>,
    /// Names of its secrets.
    pub secrets: Vec<String>,
    /// At least so many instances.
    pub scale_min: u32,
    /// At most so many.
    pub scale_max: u32,
    /// When the tenant ended it.
    pub removed_ms: Option<u64>,
}

/// A plan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What its voters survive.
    pub grade: String,
    /// In millionths of the currency's minor unit an hour.
    pub price_per_hour_micro: u64,
    /// Replicas and instances.
    pub placed: Vec<Placed>,
    /// Nodes left out, and why.
    pub rejected: Vec<Rejected>,
}

/// A replica or instance as planned.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Placed {
    /// `voter`, `learner` or `instance`.
    pub role: String,
    /// Its node.
    pub node_id: String,
    /// What its operator is called.
    pub operator: String,
    /// The law it answers to.
    pub jurisdiction: String,
    /// The place that fails together.
    pub site: String,
    /// Why there.
    pub why: String,
}

/// A node left out of a plan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rejected {
    /// Which.
    pub node_id: String,
    /// Why.
    pub why: String,
}

/// What a node knows of keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Trust {
    /// How often its operator has changed its key.
    pub serial: u64,
    /// When its certificate ends.
    pub certificate_expires_ms: u64,
    /// Why its certificate counts no more, though it is in time.
    pub void: Option<String>,
    /// Where another process says it is that runs with this node's key.
    pub double: Option<Vec<String>>,
    /// Nodes that contradicted themselves.
    pub contradicted: Vec<Contradicted>,
    /// Words about keys known: successions, rulings, contradictions.
    pub words: usize,
}

/// A node that contradicted itself: two signed statements of one version.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Contradicted {
    /// Which.
    pub node_id: String,
    /// What its operator is called, if it is known here.
    pub operator: Option<String>,
    /// Of the two statements: what its operator names to explain it.
    pub version: u64,
    /// It gets no new votes and leases; else its operator has explained it.
    pub barred: bool,
}

/// How a party came to its current key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Lineage {
    /// How often it was changed.
    pub serial: u64,
    /// Genesis and successions: CBOR in base64.
    pub lineage: String,
}

/// What an operator has ruled about its node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ruling {
    /// Certificates of a lower serial are void; the highest number: all, for ever.
    pub below: u64,
    /// Contradictions up to this version are explained.
    pub resolved: u64,
}

/// A node, by itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its id.
    pub node_id: String,
    /// What its operator is called.
    pub operator: String,
    /// The operator's id.
    pub operator_id: String,
    /// The law it answers to.
    pub jurisdiction: String,
    /// The place that fails together.
    pub site: String,
    /// What it offers; none: nothing.
    pub offer: Option<Offer>,
    /// Peers with a link now.
    pub peers: Vec<Peer>,
    /// Nodes of its jurisdiction that are present and not down, this one included.
    pub known_nodes: usize,
    /// Records held.
    pub records: usize,
    /// Cells with a replica here.
    pub cells: usize,
    /// Leases held here.
    pub leases: usize,
    /// What guests here read and wrote where their apps are away.
    #[serde(default)]
    pub away: Away,
    /// It drains, since then: milliseconds since the Unix epoch.
    #[serde(default)]
    pub draining_since_ms: Option<u64>,
    /// Where it says that other nodes reach it, best first.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Why its disk failed.
    pub disk_fault: Option<String>,
    /// Its clock less its peers' median.
    pub clock_off_ms: i64,
    /// What it knows of keys: its own, and those that count no more.
    #[serde(default)]
    pub keys: Trust,
    /// Suffix of self-certifying hosts.
    pub zone: String,
    /// Which mesh.
    pub mesh: String,
    /// Where HTTP for apps comes in: `host:port`, as the node listens.
    pub edge: Option<String>,
}

/// How guests' reads and writes went where their apps are away, since the node started.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Away {
    /// Reads that a copy here answered, no older than their app allows.
    pub copy: u64,
    /// Reads that a copy here answered in a cut, older than that: with their age.
    pub stale_copy: u64,
    /// Reads that home answered, those of instances at home among them.
    pub home: u64,
    /// Reads and writes refused because of a cut.
    pub refused: u64,
}

/// What a node offers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// Thousandths of a core in all.
    pub cpu_millis: u64,
    /// Thousandths of a core in use.
    pub cpu_millis_used: u64,
    /// Bytes of memory in all.
    pub memory_bytes: u64,
    /// Bytes of memory in use.
    pub memory_bytes_used: u64,
    /// Bytes of disk in all.
    pub disk_bytes: u64,
    /// Bytes of disk in use.
    pub disk_bytes_used: u64,
    /// Of the prices.
    pub currency: String,
    /// For a core and hour, in millionths of the minor unit.
    pub cpu_core_hour_micro: u64,
    /// For a GiB of memory and hour, in millionths of the minor unit.
    pub memory_gib_hour_micro: u64,
    /// For a GiB of disk and hour, in millionths of the minor unit.
    pub disk_gib_hour_micro: u64,
}

/// A peer with a link.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Who.
    pub node_id: String,
    /// What its operator is called.
    pub operator: String,
    /// The law it answers to.
    pub jurisdiction: String,
    /// The place that fails together.
    pub site: String,
    /// Of the link; 0: not measured yet.
    pub round_trip_us: u64,
    /// The wire version of the link; lower than this node's newest: the peer was not upgraded yet.
    pub wire: u16,
}

/// The result of a tenant's command.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The entry's index in the cell's log.
    pub index: u64,
    /// `released`, `written`, `conflict` or `done`.
    pub outcome: String,
    /// Of `released`: its number. Of `written` and `conflict`: the key's version.
    pub number: u64,
}

/// One key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Value {
    /// The value in base64.
    pub value: String,
    /// What compare-and-swap names.
    pub version: u64,
}

/// Keys in order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// The keys.
    pub keys: Vec<String>,
    /// More follow after the last one.
    pub more: bool,
}

/// The wrapped data key of an app's secrets, for its tenant.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Sealed {
    /// CBOR of the cell's `Secrets`, in base64.
    pub secrets: String,
    /// Nodes that hold a vote or lease now, with their sealing keys where known.
    pub holders: Vec<String>,
}

/// A problem, RFC 9457.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem.
    pub r#type: String,
    /// In two words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What, why, and what to do.
    pub detail: String,
    /// For programs.
    pub code: String,
    /// `definite`: it did not and will not happen. `indefinite`: it may have.
    pub certainty: String,
}

/// The word for a grade.
#[must_use]
pub fn grade(grade: Grade) -> String {
    match grade {
        Grade::Nothing => "nothing",
        Grade::Operator => "operator",
        Grade::Site => "site",
        Grade::Jurisdiction => "jurisdiction",
    }
    .to_owned()
}

impl AppStatus {
    /// As a cell describes it.
    #[must_use]
    pub fn of(description: &Description) -> Self {
        let progress = |replica| description.progress.iter().find(|(known, _)| *known == replica).map(|(_, at)| *at);
        let cell = Cell {
            cell: description.cell.to_string(),
            line: description.line,
            rules: description.rules,
            writer: description.writer,
            grade: grade(description.grade),
            leader: description.leader.map(|leader| leader.to_string()),
            replicas: description
                .members
                .iter()
                .map(|member| Replica {
                    node_id: member.node.to_string(),
                    operator: member.operator_name.clone(),
                    jurisdiction: member.jurisdiction.to_string(),
                    site: member.site.to_string(),
                    role: if member.votes { "voter" } else { "learner" }.to_owned(),
                    applied: progress(member.replica),
                    why: member.why.clone(),
                })
                .collect(),
        };
        Self {
            app: description.app.clone(),
            cells: vec![cell],
            instances: description.leases.iter().map(instance).collect(),
            releases: description.releases.iter().map(|release| self::release(release, description.current)).collect(),
            secrets: description.secrets.values.iter().map(|(name, _)| name.clone()).collect(),
            scale_min: description.policy.scale.min,
            scale_max: description.policy.scale.max,
            removed_ms: description.removed.map(|removed| removed.0),
        }
    }
}

fn instance(lease: &bocage_protocol::cell::LeaseInfo) -> Instance {
    let (state, reason) = match &lease.state {
        InstanceState::Starting => ("starting", None),
        InstanceState::Running => ("running", None),
        InstanceState::Failed(why) => ("failed", Some(why.clone())),
    };
    Instance {
        number: lease.instance.number,
        node_id: lease.node.to_string(),
        operator: lease.operator_name.clone(),
        jurisdiction: lease.jurisdiction.to_string(),
        site: lease.site.to_string(),
        state: state.to_owned(),
        reason,
        generation: lease.generation,
        why: lease.why.clone(),
    }
}

fn release(release: &bocage_protocol::cell::ReleaseInfo, current: u64) -> Release {
    use bocage_protocol::cell::Workload;
    let content = match &release.workload {
        Workload::Component { hash, .. } | Workload::Site { hash, .. } => hash.to_string(),
        Workload::Container { image } => image.clone(),
    };
    Release {
        number: release.number,
        current: release.number == current,
        content,
        deployed_ms: release.deployed.0,
        rolled_back_to: release.rolled_back_to,
    }
}

impl From<PlanShown> for Plan {
    fn from(plan: PlanShown) -> Self {
        let rejected = plan.rejected.into_iter().map(|(node, why)| Rejected { node_id: node.to_string(), why });
        Self {
            grade: grade(plan.grade),
            price_per_hour_micro: plan.price_per_hour,
            placed: plan
                .placed
                .into_iter()
                .map(|placed| Placed {
                    role: placed.role.to_owned(),
                    node_id: placed.node.to_string(),
                    operator: placed.operator_name,
                    jurisdiction: placed.jurisdiction.to_string(),
                    site: placed.site.to_string(),
                    why: placed.why,
                })
                .collect(),
            rejected: rejected.collect(),
        }
    }
}

impl Node {
    /// As the machine says.
    #[must_use]
    pub fn of(status: NodeStatus, zone: &str, mesh: &str) -> Self {
        Self {
            node_id: id(status.node),
            operator: status.operator_name,
            operator_id: operator(status.operator),
            jurisdiction: status.jurisdiction.to_string(),
            site: status.site.to_string(),
            offer: status.offer.map(|(terms, used)| Offer {
                cpu_millis: terms.total.cpu_millis,
                cpu_millis_used: used.cpu_millis,
                memory_bytes: terms.total.memory_bytes,
                memory_bytes_used: used.memory_bytes,
                disk_bytes: terms.total.disk_bytes,
                disk_bytes_used: used.disk_bytes,
                currency: terms.price.currency.to_string(),
                cpu_core_hour_micro: terms.price.cpu_core_hour,
                memory_gib_hour_micro: terms.price.memory_gib_hour,
                disk_gib_hour_micro: terms.price.disk_gib_hour,
            }),
            peers: status
                .peers
                .into_iter()
                .map(|peer| Peer {
                    node_id: id(peer.node),
                    operator: peer.operator_name,
                    jurisdiction: peer.jurisdiction.to_string(),
                    site: peer.site.to_string(),
                    round_trip_us: peer.round_trip_us,
                    wire: peer.wire,
                })
                .collect(),
            known_nodes: status.known_nodes,
            records: status.records,
            cells: status.cells,
            leases: status.leases,
            away: Away {
                copy: status.away.fresh,
                stale_copy: status.away.stale,
                home: status.away.home,
                refused: status.away.refused,
            },
            draining_since_ms: status.draining.map(|since| since.0),
            addresses: status.addresses,
            disk_fault: status.disk.map(|fault| fault.to_string()),
            clock_off_ms: status.clock_off_ms,
            keys: Trust::of(status.keys),
            zone: zone.to_owned(),
            mesh: mesh.to_owned(),
            edge: None,
        }
    }
}

impl Trust {
    fn of(keys: KeysShown) -> Self {
        let contradicted = keys.contradicted.into_iter().map(|shown| Contradicted {
            node_id: id(shown.node),
            operator: shown.operator_name,
            version: shown.version,
            barred: shown.barred,
        });
        Self {
            serial: keys.serial,
            certificate_expires_ms: keys.certificate_expires.0,
            void: keys.void,
            double: keys.double,
            contradicted: contradicted.collect(),
            words: keys.words,
        }
    }
}

fn id(node: NodeId) -> String {
    node.to_string()
}

fn operator(operator: OperatorId) -> String {
    operator.to_string()
}

/// A cell's id in a path.
#[must_use]
pub fn cell(text: &str) -> Option<CellId> {
    text.parse().ok()
}
