//! The capture that is being read from here, piece by piece, by whoever asked for it: one at a time, for a while. Of a replica's
//! state, or of a line that has ended and is kept.
use std::time::Duration;

use super::Replica;
use crate::{
    cell::{Answer, Answered, KeptLine, Query, State},
    codec::{self, Blob},
    id::{CellId, ContentHash},
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

/// All of the app as of what is applied in this state, no earlier. It takes the place of another one, whose reader begins again.
fn capture(slot: &mut Option<Captured>, state: &State, now: Instant) -> Answer {
    let captured = match slot.as_mut() {
        Some(held) if held.index == state.applied() => held,
        Some(held) if now.since(held.made) < AGAIN => return Answer::Captured(None),
        Some(_) | None => {
            let bytes = codec::encode(&state.capture());
            let content = ContentHash::of(&bytes);
            slot.insert(Captured { content, bytes, made: now, index: state.applied(), read: now })
        }
    };
    captured.read = now;
    Answer::Captured(Some((captured.content, captured.bytes.len() as u64)))
}

/// A piece of a capture that is still held.
fn piece(slot: &mut Option<Captured>, content: ContentHash, offset: u64, now: Instant) -> Answer {
    let Some(captured) = slot.as_mut().filter(|captured| captured.content == content) else {
        return Answer::Piece(None);
    };
    captured.read = now;
    let from = usize::try_from(offset).map_or(captured.bytes.len(), |offset| offset.min(captured.bytes.len()));
    let rest = &captured.bytes[from..];
    Answer::Piece(Some(rest[..rest.len().min(PIECE_BYTES_MAX)].into()))
}

impl Replica {
    pub(super) fn capture(&mut self) -> Answer {
        let state = self.state.as_ref().expect("reads are answered from a state");
        capture(&mut self.captured, state, self.now.instant)
    }

    pub(super) fn piece(&mut self, content: ContentHash, offset: u64) -> Answer {
        piece(&mut self.captured, content, offset, self.now.instant)
    }

    /// Forgets a capture that nobody reads any more. Its cell does not sleep before.
    pub(super) fn tick_capture(&mut self) {
        let now = self.now.instant;
        self.captured.take_if(|captured| now.since(captured.read) >= KEPT);
    }
}

/// A line that has ended, and what a member of it held beyond the next line's base: kept on disk and in memory until its tenant
/// has no use for it.
#[derive(Debug)]
pub struct Kept {
    state: State,
    captured: Option<Captured>,
}

impl Kept {
    /// From its encoded state; `None`: that is none.
    #[must_use]
    pub fn read(state: &[u8]) -> Option<Self> {
        Some(Self { state: State::decode(state).ok()?, captured: None })
    }

    /// Of which cell.
    #[must_use]
    pub const fn of(&self) -> CellId {
        self.state.cell()
    }

    /// What it is.
    #[must_use]
    pub fn line(&self) -> KeptLine {
        let (line, index, time) = (self.state.line(), self.state.applied(), self.state.time());
        KeptLine { line, index, time, cell: self.state.cell().of_line(line) }
    }

    /// Answers from it.
    pub fn answer(&mut self, queries: &[Query], now: Instant) -> Answered {
        self.captured.take_if(|captured| now.since(captured.read) >= KEPT);
        let answer = |query: &Query| match query {
            Query::Capture => capture(&mut self.captured, &self.state, now),
            Query::Piece { content, offset } => piece(&mut self.captured, *content, *offset, now),
            Query::Get { .. } | Query::List { .. } | Query::Describe => self.state.answer(query),
        };
        let answers = queries.iter().take(super::reads::QUERIES_MAX).map(answer).collect();
        Answered { index: self.state.applied(), answers }
    }
}
