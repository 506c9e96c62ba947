//! What travels between nodes, and the one place where its bytes are read and its signatures checked.
//!
//! A frame is `[version, body]` in CBOR, at most [`FRAME_BYTES_MAX`] long. The driver reads the length, then the bytes,
//! then calls [`Frame::decode`] and [`Frame::check`] in its bounded pool; only a `Verified<Frame>` enters a machine.
use minicbor::{Decode, Decoder, Encode, decode};

use crate::{
    birth, cell,
    cells::Mark,
    codec::{self, Blob, DecodeError},
    converge,
    id::{CellId, DiskId, MeshId},
    identity::{BadSignature, Envelope, Envelopes, NodeCertificate, Signed, Verified},
    membership, reach, route,
    time::Timestamp,
    wire::{Versioned, WIRE_HELLO, Wire, WireRange},
};

/// No frame is longer: larger things go by transfer.
pub const FRAME_BYTES_MAX: usize = 2 << 20;

/// What the question where somebody is counts for in a peer's quota of records: some 0.3 ms with a full address book.
const FIND_WORTH_RECORDS: usize = 16;

/// One message from node to node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "Versioned")]
pub enum Frame {
    /// First on every link, in both directions.
    #[n(0)]
    Hello(#[n(0)] Box<Hello>),
    /// Membership and records.
    #[n(1)]
    Gossip(#[n(0)] membership::Message),
    /// Of one cell.
    #[n(2)]
    Cell {
        /// Which.
        #[n(0)]
        cell: CellId,
        /// What.
        #[n(1)]
        message: cell::Message,
    },
    /// Placing: candidates, grants, founding.
    #[n(3)]
    Birth(#[n(0)] birth::Message),
    /// Who serves what.
    #[n(4)]
    Route(#[n(0)] route::Message),
    /// Where somebody is. Only to who said in its Hello that it answers.
    #[n(5)]
    Reach(#[n(0)] reach::Message),
    /// That sleeping cells are unchanged. Only to nodes of cells on rules 4.
    #[n(6)]
    Mark(#[n(0)] Mark),
    /// Of the converging stores of one app. Only to who said in its Hello that it knows them.
    #[n(7)]
    Converge {
        /// Its cell.
        #[n(0)]
        cell: CellId,
        /// What.
        #[n(1)]
        message: converge::Message,
    },
}

/// How a node introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Newest wire version it speaks.
    #[n(0)]
    pub wire: u16,
    /// Oldest wire version it still speaks.
    #[n(1)]
    pub wire_min: u16,
    /// Which mesh.
    #[n(2)]
    pub mesh: MeshId,
    /// Who vouches for it.
    #[n(3)]
    pub certificate: Signed<NodeCertificate>,
    /// Its disk.
    #[n(4)]
    pub disk: DiskId,
    /// See [`crate::store::Boot::boots`].
    #[n(5)]
    pub boots: u64,
    /// Its wall clock now.
    #[n(6)]
    pub wall: Timestamp,
    /// It relays for members that cannot be dialled. Left out: no.
    #[n(7)]
    pub relays: Option<bool>,
    /// It answers who asks where somebody is. Left out: it does not know such frames.
    #[n(8)]
    pub finds: Option<bool>,
    /// By what its operator was admitted, unless it is a founder: see [`crate::charter::Papers`]. At most
    /// [`crate::charter::STATEMENTS_MAX`]; more are ignored.
    #[n(9)]
    pub credentials: Option<Vec<Envelope>>,
    /// It understands who says whether a link is needed, and says so itself. Left out: it does not know such frames.
    #[n(10)]
    pub parts: Option<bool>,
    /// It lets cells sleep: it answers who asks whether it lives, and knows a cell's words about sleep. Left out: it does not.
    #[n(11)]
    pub sleeps: Option<bool>,
    /// It knows of recoveries, and says what it holds of a cell. Left out: it does not know such frames.
    #[n(12)]
    pub recovers: Option<bool>,
    /// It knows of converging stores. Left out: it does not know such frames.
    #[n(13)]
    pub converges: Option<bool>,
}

/// How much a frame's delay hurts. The driver keeps a queue each and empties them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Introductions, raft, liveness.
    Control,
    /// Requests of people and guests.
    Request,
    /// Records, repair.
    Bulk,
}

impl Frame {
    /// The bytes that go on a link of this version, without a length.
    #[must_use]
    pub fn encode(&self, version: u16) -> Blob {
        codec::encode_in(&(version, self), &mut Wire(version))
    }

    /// Reads the bytes of one frame. Allocates no more than what arrived.
    ///
    /// # Errors
    /// When they are not one frame of a version that is spoken here. A Hello of version 1 is always read: it may say why
    /// there is no common one.
    pub fn decode(bytes: &[u8], spoken: WireRange) -> Result<Self, DecodeError> {
        let failed = |why: String| DecodeError { what: "frame", why };
        let mut decoder = Decoder::new(bytes);
        let (fields, version) = (decoder.array(), decoder.u16());
        let (Ok(Some(2..)), Ok(version)) = (fields, version) else { return Err(failed("it has no version".into())) };
        if !spoken.reads(version) && version != WIRE_HELLO {
            let (oldest, newest) = (spoken.oldest(), spoken.newest());
            return Err(failed(format!("wire version {version} is not spoken here, only {oldest} to {newest}")));
        }
        let (_, frame): (u16, Self) = codec::decode_in("frame", bytes, &mut Wire(version))?;
        if spoken.reads(version) || matches!(frame, Self::Hello(_)) {
            return Ok(frame);
        }
        Err(failed(format!("wire version {version} is spoken here for a Hello only")))
    }

    /// Checks every signature in it, asking `known` first: a memo of envelopes that were checked before.
    ///
    /// # Errors
    /// At the first that is not valid: drop the frame and count it against its sender.
    pub fn check(self, mut known: impl FnMut(&Envelope) -> bool) -> Result<Verified<Self>, BadSignature> {
        if let Self::Cell { message, .. } = &self {
            message.check(&mut known)?;
            return Ok(Verified::own(self));
        }
        Verified::check(self, known)
    }

    /// How many records it brings: what a peer's quota counts.
    #[must_use]
    pub fn records(&self) -> usize {
        match self {
            Self::Gossip(membership::Message::Records(records) | membership::Message::Found(records)) => records.len(),
            // It is no record, but its answer looks at every address that is known.
            Self::Reach(reach::Message::Find(_)) => FIND_WORTH_RECORDS,
            Self::Hello(_)
            | Self::Gossip(_)
            | Self::Cell { .. }
            | Self::Birth(_)
            | Self::Route(_)
            | Self::Mark(_)
            | Self::Converge { .. }
            | Self::Reach(
                reach::Message::Found { .. }
                | reach::Message::Needed(_)
                | reach::Message::Probe
                | reach::Message::Alive,
            ) => 0,
        }
    }

    /// How much its delay hurts.
    #[must_use]
    pub const fn urgency(&self) -> Urgency {
        match self {
            // What is said of sleep stands in one queue with raft's heartbeats, for it follows one.
            Self::Hello(_)
            | Self::Mark(_)
            | Self::Reach(reach::Message::Probe | reach::Message::Alive)
            | Self::Cell {
                message:
                    cell::Message::Raft { .. }
                    | cell::Message::Sleep { .. }
                    | cell::Message::Slept { .. }
                    | cell::Message::Prove { .. }
                    | cell::Message::Committed { .. }
                    | cell::Message::Outdated { .. }
                    | cell::Message::Recovered(_)
                    | cell::Message::Wake { .. },
                ..
            } => Urgency::Control,
            Self::Cell { .. } | Self::Birth(_) | Self::Route(_) | Self::Reach(_) => Urgency::Request,
            Self::Converge { .. } => Urgency::Bulk,
            Self::Gossip(message) => message.urgency(),
        }
    }
}

/// A frame on a tape: its signatures were checked when it came, and are again by whoever reads it.
impl<'b, C: Versioned> Decode<'b, C> for Verified<Frame> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        <Frame as Decode<'b, C>>::decode(d, ctx)?
            .check(|_| false)
            .map_err(|error| decode::Error::message(error.to_string()).at(at))
    }
}

impl Envelopes for Frame {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        match self {
            Self::Hello(hello) => {
                into.push(hello.certificate.envelope());
                into.extend(hello.credentials.iter().flatten());
            }
            Self::Gossip(message) => message.envelopes(into),
            Self::Birth(message) => message.envelopes(into),
            Self::Route(message) => message.envelopes(into),
            Self::Reach(_) | Self::Mark(_) | Self::Converge { .. } => {}
            Self::Cell { .. } => unreachable!("a cell's messages check their own entries"),
        }
    }
}
