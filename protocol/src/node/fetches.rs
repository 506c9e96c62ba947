//! Bytes on their way to this node, and who waits for them.
#![allow(clippy::option_option, reason = "it came or not; a snapshot comes with its bytes, a component stays on disk")]
use std::collections::BTreeMap;

use super::{HandOver, Node};
use crate::{
    birth::HostInput,
    cell, cells,
    codec::Blob,
    command::Reply,
    id::{CellId, ContentHash, NodeId, RequestId, TransferId},
    io::{Content, ContentKind, Output},
    lease,
    reach::Wanter,
    refusal::{Code, Refusal},
};

/// Who waits for bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fetcher {
    Leases,
    Host,
    Cell(CellId),
    /// Whoever asks for bytes to be brought here.
    Person(RequestId),
}

/// Requests for bytes that are under way at once; one more is refused.
const BROUGHT_MAX: usize = 16;
/// Nodes that are asked in turn.
const HOLDERS_MAX: usize = 16;

/// Bytes that somebody asked for.
#[derive(Debug)]
struct Brought {
    size_bytes_max: u64,
    /// Who may have them and was not asked, the next one last.
    from: Vec<NodeId>,
}

/// Numbered, so that each answer finds who asked.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    under_way: BTreeMap<TransferId, (Fetcher, NodeId, ContentHash)>,
    last: TransferId,
    brought: BTreeMap<RequestId, Brought>,
}

impl Node {
    pub(super) fn fetch(&mut self, fetcher: Fetcher, from: NodeId, hash: ContentHash, size_bytes_max: u64) {
        self.fetches.last = TransferId(self.fetches.last.0 + 1);
        let id = self.fetches.last;
        let kind = match fetcher {
            Fetcher::Leases | Fetcher::Host | Fetcher::Person(_) => ContentKind::Component,
            Fetcher::Cell(_) => ContentKind::Snapshot,
        };
        self.fetches.under_way.insert(id, (fetcher, from, hash));
        self.want(Wanter::Transfer(id), from, true);
        self.outbox.push(Output::Transfer { id, from, what: Content { hash, size_bytes_max, kind } });
    }

    /// Bytes shall be brought here from one of these nodes.
    pub(super) fn bring(&mut self, request: RequestId, content: ContentHash, size_bytes_max: u64, from: Vec<NodeId>) {
        if self.fetches.brought.len() >= BROUGHT_MAX {
            let detail = format!("{BROUGHT_MAX} requests for bytes are under way already: try again in a moment");
            return self.reply(request, Err(Refusal::definite(Code::Full, detail)));
        }
        let from = from.into_iter().take(HOLDERS_MAX).rev().collect();
        self.fetches.brought.insert(request, Brought { size_bytes_max, from });
        self.bring_on(request, content);
    }

    /// From the next one who may have them.
    fn bring_on(&mut self, request: RequestId, content: ContentHash) {
        let Some(brought) = self.fetches.brought.get_mut(&request) else { return };
        let size_bytes_max = brought.size_bytes_max;
        if let Some(from) = brought.from.pop() {
            return self.fetch(Fetcher::Person(request), from, content, size_bytes_max);
        }
        self.fetches.brought.remove(&request);
        let detail = format!("nobody who should have it gave {content}");
        self.reply(request, Err(Refusal::definite(Code::NotFound, detail)));
    }

    /// Bytes came, with a snapshot's content, or did not.
    pub(super) fn on_transferred(&mut self, id: TransferId, arrived: Option<Option<Blob>>) {
        if let Some((fetcher, from, content)) = self.fetches.under_way.remove(&id) {
            self.want(Wanter::Transfer(id), from, false);
            self.on_fetched(fetcher, content, arrived);
        }
    }

    fn on_fetched(&mut self, fetcher: Fetcher, content: ContentHash, arrived: Option<Option<Blob>>) {
        let here = arrived.is_some();
        match fetcher {
            Fetcher::Leases => self.hand(HandOver::Leases(lease::Input::Fetched { content, here })),
            Fetcher::Host => self.hand(HandOver::Host(HostInput::Fetched { content, here })),
            Fetcher::Cell(cell) => {
                let input = Box::new(cell::Input::Fetched { content, bytes: arrived.flatten() });
                self.hand(HandOver::Cells(cells::Input::To { cell, input }));
            }
            Fetcher::Person(request) if here => {
                self.fetches.brought.remove(&request);
                self.reply(request, Ok(Reply::Done));
            }
            Fetcher::Person(request) => self.bring_on(request, content),
        }
    }
}
