//! What a tape says, one thing after the other.
use minicbor::{Decode, Encode};

use super::Opening;
use crate::{
    codec::{self, Blob, DecodeError},
    frame::Frame,
    id::CellId,
    identity::Signature,
    io::{Input, LinkChange},
    store::CellBoot,
    time::Now,
    wire::{Versioned, Wire},
};

/// Frames are in this wire version on each tape of this form, whatever their link spoke. Once this code does not speak it any
/// more, tapes have another form.
const FRAMES_WIRE: u16 = 2;

/// One thing that a tape says.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(context_bound = "Versioned")]
pub enum Record {
    /// First: what the node was opened with.
    #[n(0)]
    Opening(#[n(0)] Box<Opening>),
    /// Of what was on its disk: small state.
    #[n(1)]
    Keyed {
        /// Its key.
        #[n(0)]
        key: Blob,
        /// Its value.
        #[n(1)]
        value: Blob,
    },
    /// Of what was on its disk: a cell.
    #[n(2)]
    Cell {
        /// Which.
        #[n(0)]
        cell: CellId,
        /// All of it.
        #[n(1)]
        boot: CellBoot,
    },
    /// A step begins.
    #[n(3)]
    Step {
        /// What the clocks read.
        #[n(0)]
        now: Now,
        /// What the node was told; nothing: its deadline had passed.
        #[n(1)]
        input: Option<Input>,
    },
    /// The opening, or the step, is over.
    #[n(4)]
    Done {
        /// What the node signed in it.
        #[n(0)]
        signatures: Vec<Signature>,
        /// The [`super::Digest`] of each output, one after the other.
        #[n(1)]
        outputs: Blob,
    },
    /// Last: why there is no more. Left out: the process was killed.
    #[n(5)]
    End(#[n(0)] End),
}

/// Why a tape ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum End {
    /// The node stopped.
    #[n(0)]
    #[error("the node stopped")]
    Stopped,
    /// The machine of the node panicked, in the step that has begun and is not done.
    #[n(1)]
    #[error("the machine of the node broke")]
    Broke,
    /// The tape is as long as it may be.
    #[n(2)]
    #[error("the tape has reached its limit: --tape-limit of bocage node run")]
    Limit,
    /// The disk of the tape was slower than the node, which does not wait for it.
    #[n(3)]
    #[error("the tape's disk was slower than the node, which does not wait for it")]
    Behind,
    /// Something does not fit into a record.
    #[n(4)]
    #[error("the node was told more at once than a record of a tape holds")]
    Large,
}

impl Record {
    /// Its bytes on a tape.
    #[must_use]
    pub fn encode(&self) -> Blob {
        codec::encode_in(self, &mut Wire(FRAMES_WIRE))
    }

    /// The bytes of `Keyed`.
    #[must_use]
    pub fn keyed(key: &Blob, value: &Blob) -> Blob {
        codec::encode(&(1, (key, value)))
    }

    /// The bytes of `Cell`.
    #[must_use]
    pub fn cell(cell: CellId, boot: &CellBoot) -> Blob {
        codec::encode(&(2, (cell, boot)))
    }

    /// The bytes of `Step`, of an input that goes on to its node.
    #[must_use]
    pub fn step(now: Now, input: Option<&Input>) -> Blob {
        codec::encode_in(&(3, (now, input)), &mut Wire(FRAMES_WIRE))
    }

    /// Reads one. Signatures within frames are checked, as they were when the frame came.
    ///
    /// # Errors
    /// When the bytes are not one record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_in("record of a tape", bytes, &mut Wire(FRAMES_WIRE))
    }
}

/// What happened in a step, in a few words that one can count by.
#[must_use]
pub fn kind(input: Option<&Input>) -> &'static str {
    let Some(input) = input else { return "timeout" };
    match input {
        Input::Received { frame, .. } => match &**frame {
            Frame::Hello(_) => "frame: hello",
            Frame::Gossip(_) => "frame: gossip",
            Frame::Cell { .. } => "frame: cell",
            Frame::Birth(_) => "frame: birth",
            Frame::Route(_) => "frame: route",
            Frame::Reach(_) => "frame: reach",
            Frame::Mark(_) => "frame: mark",
            Frame::Converge { .. } => "frame: converge",
        },
        Input::Link { change, .. } => match change {
            LinkChange::RoundTrip(_) => "link: round trip",
            LinkChange::Up { .. }
            | LinkChange::Moved { .. }
            | LinkChange::Down
            | LinkChange::Unreachable { .. }
            | LinkChange::Full
            | LinkChange::Discovered { .. }
            | LinkChange::Listening { .. }
            | LinkChange::Deaf { .. }
            | LinkChange::Reserved
            | LinkChange::Unreserved { .. }
            | LinkChange::Tested { .. }
            | LinkChange::Observed { .. }
            | LinkChange::Punched { .. } => "link",
        },
        Input::Persisted(_) => "persisted",
        Input::PersistFailed(..) => "persist failed",
        Input::Loaded { .. } => "loaded",
        Input::Transferred { .. } => "transferred",
        Input::Instance { .. } => "instance",
        Input::Reading(_) => "reading",
        Input::Command { .. } => "command",
        Input::Datagram { .. } => "datagram",
    }
}
