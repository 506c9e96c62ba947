//! What the transport counts. Names and labels are part of what operators build on.
use bocage_protocol::frame::Urgency;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

type Label = [(&'static str, &'static str); 1];

/// Why something from outside was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The handshake failed or took too long: random bytes, a half-open connection, another protocol.
    Handshake,
    /// A connection beyond a bound, or of a peer whose key is not Ed25519.
    Connection,
    /// A frame longer than allowed.
    Oversized,
    /// A frame that does not decode.
    Malformed,
    /// A frame with a signature that does not hold.
    Signature,
    /// A frame that took too long to arrive, or a peer that never said anything.
    Slow,
    /// A stream beyond a bound.
    Stream,
    /// No memory was left for it.
    Memory,
    /// A frame of a peer that had not introduced itself.
    Stranger,
}

impl Refused {
    const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Connection => "connection",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Signature => "signature",
            Self::Slow => "slow",
            Self::Stream => "stream",
            Self::Memory => "memory",
            Self::Stranger => "stranger",
        }
    }
}

/// The transport's counters. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    reads: Family<Label, Counter>,
    frames_in: Family<Label, Counter>,
    frames_out: Family<Label, Counter>,
    frames_dropped: Family<Label, Counter>,
    bytes_in: Family<Label, Counter>,
    bytes_out: Family<Label, Counter>,
    refused: Family<Label, Counter>,
    /// Peers with a link now.
    pub links: Gauge,
    /// Links given up because pings stayed unanswered.
    pub silent: Counter,
    /// Signatures checked; those in the memo not counted.
    pub signatures: Counter,
    /// Times that a peer was not read for a while, because it had used up a quota.
    pub waited: Counter,
    /// Bytes that this node carried between others, each once.
    pub relayed_bytes: Counter,
    /// Circuits between others through this node now.
    pub relay_circuits: Gauge,
}

/// A circuit through this node is counted while this lives.
#[derive(Debug)]
pub(super) struct OpenCircuit(Gauge);

impl Drop for OpenCircuit {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Counters that `registry` shows.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register("bocage_guest_reads", "Reads of guests, by what answered them", this.reads.clone());
        registry.register("bocage_frames_in", "Frames received and valid", this.frames_in.clone());
        registry.register("bocage_frames_out", "Frames sent", this.frames_out.clone());
        registry.register(
            "bocage_frames_dropped",
            "Frames not sent: no link, or a full queue",
            this.frames_dropped.clone(),
        );
        registry.register("bocage_frame_bytes_in", "Bytes of frames received", this.bytes_in.clone());
        registry.register("bocage_frame_bytes_out", "Bytes of frames sent", this.bytes_out.clone());
        registry.register("bocage_refused", "What was turned away, by reason", this.refused.clone());
        registry.register("bocage_links", "Peers with a link now", this.links.clone());
        registry.register("bocage_links_silent", "Links given up: pings stayed unanswered", this.silent.clone());
        registry.register("bocage_signatures_checked", "Signatures checked", this.signatures.clone());
        registry.register("bocage_relayed_bytes", "Bytes carried between other nodes", this.relayed_bytes.clone());
        registry.register(
            "bocage_relay_circuits",
            "Circuits between other nodes through this one now",
            this.relay_circuits.clone(),
        );
        registry.register("bocage_quota_waits", "Times a peer beyond a quota was not read", this.waited.clone());
        this
    }

    /// A guest has read: at home or from a copy away, which may be older than its app allows while linked.
    pub fn read(&self, copy: bool, stale: bool) {
        let answered = match (copy, stale) {
            (false, _) => "home",
            (true, false) => "copy",
            (true, true) => "stale-copy",
        };
        self.reads.get_or_create(&[("answered", answered)]).inc();
    }

    /// How often something was turned away for `reason`.
    #[must_use]
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused.get_or_create(&[("reason", reason.label())]).get()
    }

    /// Frames of `urgency` received so far.
    #[must_use]
    pub fn frames_in(&self, urgency: Urgency) -> u64 {
        self.frames_in.get_or_create(&of(urgency)).get()
    }

    /// Frames of `urgency` not sent so far: no link, or a full queue.
    #[must_use]
    pub fn frames_dropped(&self, urgency: Urgency) -> u64 {
        self.frames_dropped.get_or_create(&of(urgency)).get()
    }

    pub(super) fn relayed(&self, bytes: usize) {
        self.relayed_bytes.inc_by(bytes as u64);
    }

    pub(super) fn circuit(&self) -> OpenCircuit {
        self.relay_circuits.inc();
        OpenCircuit(self.relay_circuits.clone())
    }

    pub(super) fn refuse(&self, reason: Refused) {
        self.refused.get_or_create(&[("reason", reason.label())]).inc();
    }

    pub(super) fn received(&self, urgency: Urgency, bytes: usize) {
        self.frames_in.get_or_create(&of(urgency)).inc();
        self.bytes_in.get_or_create(&of(urgency)).inc_by(bytes as u64);
    }

    pub(super) fn sent(&self, urgency: Urgency, frames: usize, bytes: usize) {
        self.frames_out.get_or_create(&of(urgency)).inc_by(frames as u64);
        self.bytes_out.get_or_create(&of(urgency)).inc_by(bytes as u64);
    }

    pub(super) fn dropped(&self, urgency: Urgency) {
        self.frames_dropped.get_or_create(&of(urgency)).inc();
    }
}

const fn of(urgency: Urgency) -> Label {
    let name = match urgency {
        Urgency::Control => "control",
        Urgency::Request => "request",
        Urgency::Bulk => "bulk",
    };
    [("class", name)]
}
