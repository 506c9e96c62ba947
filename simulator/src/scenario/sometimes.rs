//! What must be seen at least once in a run: a run in which it never happens proves less than it seems to.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that must happen, or the run fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sometimes {
    /// What.
    pub what: Sight,
    /// So often.
    #[serde(default = "once")]
    pub at_least: std::num::NonZero<u64>,
}

const fn once() -> std::num::NonZero<u64> {
    std::num::NonZero::<u64>::MIN
}

/// What may be seen in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// A client's write was acknowledged. Wherever clients write, it must be seen, declared or not.
    WriteAcknowledged,
    /// A client's read was answered.
    ReadAnswered,
    /// A client repeated an attempt that failed.
    AttemptRepeated,
    /// A cell elected a leader anew.
    LeaderChanged,
    /// A node counted another as down.
    NodeCalledDown,
    /// A replica was opened to mend a cell.
    ReplicaRepaired,
    /// A frame was lost on its way.
    FrameLost,
    /// A node dialled and nobody answered.
    DialInVain,
    /// A peer was turned away.
    PeerRefused,
    /// A record was refused.
    RecordRefused,
    /// It became known that a node contradicted itself.
    ContradictionKnown,
    /// A sync failed and its node stopped acknowledging.
    DiskFailed,
    /// A frame came with a signature that is not valid.
    BadSignature,
    /// An app that had lost its majority went on from what a survivor held.
    AppRecovered,
    /// A replica stopped because its line had ended.
    LineEnded,
    /// A write to a converging store was acknowledged during a cut.
    SharedWriteInACut,
}

impl Sight {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::WriteAcknowledged,
        Self::ReadAnswered,
        Self::AttemptRepeated,
        Self::LeaderChanged,
        Self::NodeCalledDown,
        Self::ReplicaRepaired,
        Self::FrameLost,
        Self::DialInVain,
        Self::PeerRefused,
        Self::RecordRefused,
        Self::ContradictionKnown,
        Self::DiskFailed,
        Self::BadSignature,
        Self::AppRecovered,
        Self::LineEnded,
        Self::SharedWriteInACut,
    ];

    /// The count of a report that says how often it was seen.
    #[must_use]
    pub const fn count(self) -> &'static str {
        match self {
            Self::WriteAcknowledged => "writes_acknowledged",
            Self::ReadAnswered => "reads_answered",
            Self::AttemptRepeated => "attempts_repeated",
            Self::LeaderChanged => "leaders_changed",
            Self::NodeCalledDown => "nodes_called_down",
            Self::ReplicaRepaired => "replicas_repaired",
            Self::FrameLost => "frames_lost",
            Self::DialInVain => "dials_in_vain",
            Self::PeerRefused => "notice_peer_refused",
            Self::RecordRefused => "notice_record_refused",
            Self::ContradictionKnown => "notice_contradicted",
            Self::DiskFailed => "notice_disk_failed",
            Self::BadSignature => "frames_with_bad_signatures",
            Self::AppRecovered => "apps_recovered",
            Self::LineEnded => "notice_fenced",
            Self::SharedWriteInACut => "shared_writes_in_a_cut",
        }
    }
}
