//! What may happen to membership, and what it asks of its node.
use std::{sync::Arc, time::Duration};

use minicbor::{Decode, Encode};

use super::{
    verdict::Liveness,
    wire::{Message, addresses_within_bounds},
};
use crate::{
    codec::{self, Blob},
    id::{DiskId, NodeId, RequestId},
    identity::{Admitted, NodeCertificate, NodeIdentity, Signed},
    notice::Notice,
    record::{KeyWord, Keyring, Kind, Known, Order, RecordBody, Scope, Shared, Subject},
    refusal::Refusal,
    resources::Jurisdiction,
    time::Timestamp,
};

/// Where a node can be reached: a multiaddress in text, without the peer id. At most 256 bytes.
pub type Address = String;

/// The gates of one jurisdiction, and where they are.
pub type GatesOf = (Jurisdiction, Vec<(NodeId, Vec<Address>)>);

/// The content of a node's presence record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Presence {
    /// Raised to refute a verdict, and at each boot.
    #[n(0)]
    pub incarnation: u64,
    /// Where it can be reached, best first. At most 8.
    #[n(1)]
    pub addresses: Vec<Address>,
    /// Its disk.
    #[n(2)]
    pub disk: DiskId,
    /// See [`crate::store::Boot::boots`].
    #[n(3)]
    pub boots: u64,
    /// It relays for members that cannot be dialled. Left out: no.
    #[n(4)]
    pub relays: Option<bool>,
    /// Its operator empties it, since then: it gets no new votes and leases, and cells replace what it holds. Left out: no.
    #[n(5)]
    pub draining: Option<Timestamp>,
}

impl Presence {
    /// Reads the content of a record of kind `PRESENCE`.
    #[must_use]
    pub fn read(known: &Known) -> Option<Self> {
        codec::decode("presence", &known.body.content).ok()
    }

    /// The rule of the kind: within its bounds, and its order is its incarnation's.
    pub(super) fn rule(body: &RecordBody, _: &NodeCertificate) -> Result<(), &'static str> {
        let Ok(this) = codec::decode::<Self>("presence", &body.content) else { return Err("it is not a presence") };
        match () {
            () if body.order.generation != this.incarnation => Err("its order is not of its incarnation"),
            () if !addresses_within_bounds(&this.addresses) => Err("its addresses are too many or too long"),
            () => Ok(()),
        }
    }
}

/// Input of membership.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A peer introduced itself: its link is up and its certificate counts.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// What its operator says of it.
        certificate: Box<Signed<NodeCertificate>>,
    },
    /// The link to a peer is gone.
    PeerDown(NodeId),
    /// How long a round trip to a peer takes now.
    RoundTrip(NodeId, Duration),
    /// A frame of gossip, every signature in it checked.
    Received {
        /// The node that the transport authenticated.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// What another node's detector said to that of this node, in an experiment; else it is dropped.
    Datagram {
        /// Who.
        from: NodeId,
        /// What.
        bytes: Blob,
    },
    /// A part of this node wants something known. Membership signs it and gives it its version.
    Publish(Draft),
    /// The same, once: it is not renewed.
    Say(Draft),
    /// Who counts: what others say is taken in only if it is a member's. The first is everybody.
    Counted(Admitted),
    /// This node wants what is said about a subject and would not come by itself, or no longer: records in
    /// `Scope::Subscribers`, and of a node in another jurisdiction (its id as the subject) presence and verdicts. At
    /// most 1,024 at once; more are ignored.
    Subscribe {
        /// Which.
        subject: Subject,
        /// Wanted.
        wanted: bool,
    },
    /// Addresses at which this node can be reached changed.
    Addresses(Vec<Address>),
    /// A part of this node no longer stands by a record that it published: not renewed, and void everywhere shortly.
    Withdraw {
        /// What it was about.
        kind: Kind,
        /// How far it spread.
        scope: Scope,
        /// Whom it was about.
        subject: Subject,
    },
    /// A frame other than gossip came from this peer: it lives.
    Heard(NodeId),
    /// The gates that the summaries of each jurisdiction name. Replaces those before. At most 64 jurisdictions of 8.
    Gates(Vec<GatesOf>),
    /// This node drains since then, or does not any more: its presence says so.
    Drain(Option<Timestamp>),
    /// This node's clock is far from its peers' median (or no longer): while it is, nothing is signed.
    ClockOff(bool),
    /// Somebody brings a word about keys, whose signatures were checked. Answered by `Weighed`.
    Word {
        /// Whose.
        request: RequestId,
        /// What.
        word: Box<KeyWord>,
    },
    /// Somebody brings a later certificate of this node. Answered by `Weighed`, and by `Certified` if it counts.
    Certificate {
        /// Whose.
        request: RequestId,
        /// What.
        certificate: Box<Signed<NodeCertificate>>,
    },
}

/// A record before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What it is about.
    pub kind: Kind,
    /// How far it spreads.
    pub scope: Scope,
    /// Whom it is about.
    pub subject: Subject,
    /// See [`Order::line`].
    pub line: u64,
    /// See [`Order::generation`].
    pub generation: u64,
    /// Void so long after now.
    pub lifetime: Duration,
    /// Decoded by the owner of the kind.
    pub content: Blob,
}

/// Output of membership.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Best effort.
    Send {
        /// To which peer.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// What another detector than the one that ships says to that of another node.
    Datagram {
        /// To whom.
        to: NodeId,
        /// What.
        bytes: Blob,
    },
    /// It wants a link to this node (an overlay neighbour, a node it observes), or no longer.
    Want {
        /// Who.
        peer: NodeId,
        /// Where it was last said to be.
        addresses: Vec<Address>,
        /// Wanted.
        wanted: bool,
    },
    /// A record is new here (or newer): in force from now on. Own ones too.
    Learned(Shared),
    /// A record is void.
    Expired(Shared),
    /// The quorum of observers agreed.
    Verdict {
        /// Whom.
        about: NodeId,
        /// What.
        state: Liveness,
        /// Their signed records.
        evidence: Vec<Signed<RecordBody>>,
    },
    /// Keep under this key, or forget with `None`: own order counters, the peer cache, words about keys. Never waited for.
    Keep {
        /// Prefixed `membership/`, or `keys/`.
        key: Blob,
        /// Replaces the one before.
        value: Option<Blob>,
    },
    /// What became of a `Word` or `Certificate`.
    Weighed {
        /// Whose.
        request: RequestId,
        /// Why it counts for nothing, if so.
        result: Result<(), Refusal>,
    },
    /// This node has a later certificate from now on.
    Certified(Box<NodeIdentity>),
    /// This node's certificate is past two thirds of its life: whoever has the operator's key should make a new one. Said
    /// again now and then.
    Recertify {
        /// When it ends.
        expires: Timestamp,
    },
    /// What is known of keys changed: this is all of it.
    Keys(Arc<Keyring>),
    /// What happened.
    Notice(Notice),
}

impl Draft {
    /// The body at a version.
    #[must_use]
    pub fn body(self, version: u64, wall: crate::time::Timestamp) -> RecordBody {
        RecordBody {
            kind: self.kind,
            scope: self.scope,
            subject: self.subject,
            order: Order { line: self.line, generation: self.generation, version },
            expires: wall + self.lifetime,
            content: self.content,
        }
    }
}
