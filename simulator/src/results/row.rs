//! One number that was measured: the row of a table in long form.
use std::borrow::Cow;

use bocage_protocol::resources::Jurisdiction;

/// What was measured, when, of whom. Columns that do not apply are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Since the mesh stood. Of a sample: when it ended. Of a rate or count: the end of its interval.
    pub time_s: f64,
    /// Of the run.
    pub seed: u64,
    /// Which measure: see [`MEASURES`].
    pub measure: Cow<'static, str>,
    /// Of whom it is true: the jurisdiction of a node, or of the edge that a client spoke to.
    pub jurisdiction: Option<Cow<'static, str>>,
    /// The node, by number.
    pub node: Option<u32>,
    /// What kind: of operation, of fault, of what is concentrated.
    pub kind: Option<Cow<'static, str>>,
    /// Of a concentration: among whom.
    pub by: Option<Cow<'static, str>>,
    /// The number.
    pub value: f64,
}

impl Row {
    /// A number without labels; those follow.
    pub(crate) fn new(seed: u64, time_s: f64, measure: &'static str, value: f64) -> Self {
        debug_assert!(unit(measure).is_some(), "{measure} stands in MEASURES");
        Self { time_s, seed, measure: measure.into(), jurisdiction: None, node: None, kind: None, by: None, value }
    }

    pub(crate) fn within(mut self, jurisdiction: Jurisdiction) -> Self {
        self.jurisdiction = Some(jurisdiction.to_string().into());
        self
    }

    pub(crate) fn on(mut self, node: u32) -> Self {
        self.node = Some(node);
        self
    }

    pub(crate) fn of(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    pub(crate) fn by(mut self, by: &'static str) -> Self {
        self.by = Some(by.into());
        self
    }
}

/// Every measure with its unit and what it says.
pub const MEASURES: [(&str, &str, &str); 23] = [
    ("operation_ms", "ms", "A client's operation (kind: write, read), from its first attempt to its answer."),
    ("acknowledged", "1", "Operations answered within the interval (kind: write, read), by the edge's jurisdiction."),
    (
        "failed",
        "1",
        "Attempts of clients that failed within the interval: refused, broken off, given up. They are repeated.",
    ),
    (
        "availability",
        "1",
        "Of the attempts that began within the interval at edges there, the share that was answered.",
    ),
    ("live_nodes", "1", "Nodes that run at the end of the interval."),
    (
        "sent_bytes_per_node_s",
        "B/s",
        "Sent within the interval, by node and second; mean over the jurisdiction's nodes.",
    ),
    ("sent_frames_per_node_s", "1/s", "As before, frames."),
    ("sent_bytes", "B", "Sent by one node from when the mesh stood to the end."),
    ("sent_frames", "1", "As before, frames."),
    ("leader_change", "1", "A cell elected a leader anew: one row each."),
    ("death", "1", "A process died: one row each, on its node."),
    ("detect_first_ms", "ms", "From the death of a node to the first other node that counted it as down."),
    ("detect_ms", "ms", "From the death of a node to each other node that counted it as down."),
    (
        "false_death",
        "1",
        "A node counted another as down that lives: well, or stalled (kind): one row each, on that other.",
    ),
    ("converge_ms", "ms", "From when all faults were over until every node knew the same and every app took writes."),
    ("offer_known_ms", "ms", "From an offer's change until 99 % of the honest nodes concerned knew it."),
    ("rejoin_ms", "ms", "From a process's start until it had its first peer."),
    ("repair", "1", "A replica was opened to mend a cell: one row each, on its node."),
    ("largest_share", "1", "The largest party's share (kind: nodes, votes, leases; by: operator, jurisdiction)."),
    ("herfindahl", "1", "The sum of the squares of all shares: 1 if one party has all."),
    ("nakamoto", "1", "How few parties together hold more than half."),
    ("fault_begins", "1", "A fault began (kind: which); the value is what it touched."),
    ("fault_heals", "1", "A fault was over."),
];

/// The unit of a measure, as UCUM has it; `None` of no measure.
#[must_use]
pub fn unit(measure: &str) -> Option<&'static str> {
    MEASURES.iter().find(|(name, ..)| *name == measure).map(|(_, unit, _)| *unit)
}
