//! What detectors say to each other.
use bocage_protocol::id::NodeId;
use minicbor::{Decode, Encode};

/// News in one datagram: about as many as memberlist packs into 1,400 bytes. The rest goes in the next.
pub(super) const RUMOURS_MAX: usize = 16;

/// Which life of a node something is about: which start of its process, and how often it said since that it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(super) struct Incarnation {
    #[n(0)]
    pub(super) life: u64,
    #[n(1)]
    pub(super) refuted: u64,
}

/// What is said of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Claim {
    #[n(0)]
    Alive,
    #[n(1)]
    Suspect,
    #[n(2)]
    Dead,
}

/// News.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Rumour {
    #[n(0)]
    pub(super) about: NodeId,
    #[n(1)]
    pub(super) at: Incarnation,
    #[n(2)]
    pub(super) claim: Claim,
    /// Who says so.
    #[n(3)]
    pub(super) from: NodeId,
}

/// What a datagram is for, besides the news in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) enum Say {
    /// Only news.
    #[n(0)]
    Nothing,
    /// Are you there?
    #[n(1)]
    Ping(#[n(0)] u64),
    /// I am, or who you asked about is.
    #[n(2)]
    Ack(#[n(0)] u64),
    /// Ping this node for me.
    #[n(3)]
    PingFor(#[n(0)] u64, #[n(1)] NodeId),
    /// I did, and it does not answer.
    #[n(4)]
    Nack(#[n(0)] u64),
    /// All that I know; tell me what you know, unless this is the answer.
    #[n(5)]
    State {
        #[n(0)]
        answer: bool,
        #[n(1)]
        members: Vec<Rumour>,
    },
}

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Letter {
    #[n(0)]
    pub(super) say: Say,
    #[n(1)]
    pub(super) rumours: Vec<Rumour>,
}
