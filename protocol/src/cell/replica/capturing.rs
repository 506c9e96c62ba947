//! The capture that is being read from here, piece by piece, by whoever asked for it: one at a time, for a while.
use std::time::Duration;

use super::Replica;
use crate::{
    cell::Answer,
    codec::{self, Blob},
    id::ContentHash,
    time::Instant,
};

/// A capture is kept so long after it was last read.
const KEPT: Duration = Duration::from_secs(30);

/// Another one is made no sooner: it costs as much as a snapshot, and holds up the node meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// A piece has at most so many bytes: an answer must fit in a frame.
pub const PIECE_BYTES_MAX: usize = 512 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Captured {
    content: ContentHash,
    bytes: Blob,
    made: Instant,
    /// Of what is applied.
    index: u64,
    read: Instant,
}

impl Replica {
    /// All of the app as of what is applied here, no earlier. It takes the place of another one, whose reader begins again.
    pub(super) fn capture(&mut self) -> Answer {
        let now = self.now.instant;
        let state = self.state.as_ref().expect("reads are answered from a state");
        let captured = match self.captured.as_mut() {
            Some(held) if held.index == state.applied() => held,
            Some(held) if now.since(held.made) < AGAIN => return Answer::Captured(None),
            Some(_) | None => {
                let bytes = codec::encode(&state.capture());
                let content = ContentHash::of(&bytes);
                self.captured.insert(Captured { content, bytes, made: now, index: state.applied(), read: now })
            }
        };
        captured.read = now;
        Answer::Captured(Some((captured.content, captured.bytes.len() as u64)))
    }

    /// A piece of a capture that is still held.
    pub(super) fn piece(&mut self, content: ContentHash, offset: u64) -> Answer {
        let now = self.now.instant;
        let Some(captured) = self.captured.as_mut().filter(|captured| captured.content == content) else {
            return Answer::Piece(None);
        };
        captured.read = now;
        let from = usize::try_from(offset).map_or(captured.bytes.len(), |offset| offset.min(captured.bytes.len()));
        let rest = &captured.bytes[from..];
        Answer::Piece(Some(rest[..rest.len().min(PIECE_BYTES_MAX)].into()))
    }

    /// Forgets a capture that nobody reads any more. Its cell does not sleep before.
    pub(super) fn tick_capture(&mut self) {
        let now = self.now.instant;
        self.captured.take_if(|captured| now.since(captured.read) >= KEPT);
    }
}
