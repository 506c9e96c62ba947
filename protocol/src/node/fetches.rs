//! Bytes on their way to this node, and who waits for them.
#![allow(clippy::option_option, reason = "it came or not; a snapshot comes with its bytes, a component stays on disk")]
use std::collections::BTreeMap;

use super::{HandOver, Node};
use crate::{
    birth::HostInput,
    cell, cells,
    codec::Blob,
    id::{CellId, ContentHash, NodeId, TransferId},
    io::{Content, ContentKind, Output},
    lease,
    reach::Wanter,
};

/// Who waits for bytes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fetcher {
    Leases,
    Host,
    Cell(CellId),
}

/// Numbered, so that each answer finds who asked.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    under_way: BTreeMap<TransferId, (Fetcher, NodeId, ContentHash)>,
    last: TransferId,
}

impl Node {
    pub(super) fn fetch(&mut self, fetcher: Fetcher, from: NodeId, hash: ContentHash, size_bytes_max: u64) {
        self.fetches.last = TransferId(self.fetches.last.0 + 1);
        let id = self.fetches.last;
        let kind = match fetcher {
            Fetcher::Leases | Fetcher::Host => ContentKind::Component,
            Fetcher::Cell(_) => ContentKind::Snapshot,
        };
        self.fetches.under_way.insert(id, (fetcher, from, hash));
        self.want(Wanter::Transfer(id), from, true);
        self.outbox.push(Output::Transfer { id, from, what: Content { hash, size_bytes_max, kind } });
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
        }
    }
}
