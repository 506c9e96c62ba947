//! Snapshots: of our own, to keep the log short; for a follower that fell behind the log; from a leader.
use raft::{
    ProgressState, SnapshotStatus,
    eraftpb::{Entry, Message, SnapshotMetadata},
};

use super::{
    Replica, Saved, letter, log,
    snapshots::{Fetching, Provided},
};
use crate::{
    cell::{Message as CellMessage, Output, RaftMessage, SnapshotOffer, State},
    codec::Blob,
    id::{ContentHash, NodeId, ReplicaId},
    store::{LogEntry, SnapshotMeta, StoreOp},
};

/// What a snapshot holds beside the keyed state, at most.
const SNAPSHOT_EXTRA_BYTES_MAX: u64 = 64 << 20;
/// A quarter of what a snapshot is made after stays in the log for slow followers.
const TAIL_SHARE: u64 = 4;

/// The entries on disk behind a snapshot; `None` when they have a gap or are of unknown form.
pub(super) fn read_back(meta: &SnapshotMeta, stored: Vec<LogEntry>) -> Option<Vec<Entry>> {
    let mut entries = Vec::with_capacity(stored.len());
    let (mut index, mut term) = (meta.index, meta.term);
    for stored in stored.into_iter().skip_while(|entry| entry.index <= meta.index) {
        if stored.index != index + 1 || stored.term < term {
            return None;
        }
        (index, term) = (stored.index, stored.term);
        entries.push(log::from_stored(stored)?);
    }
    Some(entries)
}

/// Of our own.
impl Replica {
    /// Bytes of log after which a snapshot is due: a quarter of a large state at least, or writing the state again and
    /// again would cost more than the log itself.
    pub(super) fn log_bytes_due(&self) -> u64 {
        self.config.snapshot_bytes.max(self.least_bytes())
    }

    fn least_bytes(&self) -> u64 {
        self.state.as_ref().map_or(0, State::bytes) / 4
    }

    /// Keeps the state and forgets the log before it, once the log is long.
    pub(super) fn save_if_due(&mut self) {
        let Some(state) = &self.state else { return };
        let entries = state.applied() - self.saved.index;
        let long = entries >= self.config.snapshot_entries && self.saved.bytes_since >= self.least_bytes();
        if !long && self.saved.bytes_since < self.log_bytes_due() {
            return;
        }
        let (meta, bytes) = self.snapshot_now();
        let index = meta.index;
        self.saved = Saved { index, bytes_since: 0 };
        self.write(vec![StoreOp::Snapshot { cell: self.cell, meta, state: bytes }], None, Vec::new());
        // A follower that fetches a snapshot needs the entries behind it, unless it takes for ever.
        let patient = self.raw.store().bytes() < 2 * self.log_bytes_due();
        let needed = self.provided.as_ref().filter(|provided| patient && self.is_fetched(provided));
        let index = needed.map_or(index, |provided| provided.offer.meta.index.min(index));
        let keep = (self.config.snapshot_entries / TAIL_SHARE, self.log_bytes_due() / TAIL_SHARE);
        self.raw.mut_store().compact(index, keep.0, keep.1);
    }

    fn snapshot_now(&self) -> (SnapshotMeta, Blob) {
        let state = self.state.as_ref().expect("only a replica with state makes snapshots");
        let term = self.raw.raft.raft_log.term(state.applied()).expect("the log holds what was just applied");
        (log::to_stored_meta(state.applied(), term, &self.conf()), state.encode())
    }
}

/// For a follower.
impl Replica {
    /// Makes a snapshot for peers that raft wants to send one to, and withdraws it when nobody came.
    pub(super) fn serve_snapshots(&mut self) {
        let wanted = self.raw.mut_store().take_wanted();
        if wanted.is_empty() || !self.is_leader() {
            return;
        }
        self.provide();
        for peer in wanted {
            if self.raw.raft.prs().get(peer).is_some() {
                self.raw.raft.send_append(peer);
            }
        }
    }

    pub(super) fn provide(&mut self) {
        let (meta, bytes) = self.snapshot_now();
        let content = ContentHash::of(&bytes);
        self.withdraw(Some(content));
        let offer = SnapshotOffer { meta: meta.clone(), content, size_bytes: bytes.len() as u64 };
        self.provided = Some(Provided::new(offer, self.now.instant));
        self.raw.mut_store().offer(Some(log::to_raft_meta(&meta)));
        self.outbox.push(Output::Provide { content, bytes });
    }

    /// Nobody can fetch what was offered any more, unless it is the `same` that is offered anew.
    pub(super) fn withdraw(&mut self, same: Option<ContentHash>) {
        let Some(provided) = self.provided.take() else { return };
        self.raw.mut_store().offer(None);
        if same == Some(provided.offer.content) {
            return;
        }
        for peer in provided.peers() {
            self.raw.report_snapshot(peer, SnapshotStatus::Failure);
        }
        self.outbox.push(Output::Withdraw { content: provided.offer.content });
    }

    /// Repeats offers, and ends them when their time is over.
    pub(super) fn tick_snapshots(&mut self) {
        let now = self.now.instant;
        if self.provided.as_ref().is_some_and(|provided| provided.is_over(now)) {
            self.withdraw(None);
        }
        let Some(mut provided) = self.provided.take() else { return };
        let due = provided.repeat(now, |peer| self.waits_for_snapshot(peer) && !self.wiped.has(ReplicaId(peer)));
        self.provided = Some(provided);
        let line = self.line();
        for message in due {
            if let Some(to) = self.node_of(message.to) {
                self.send(to, CellMessage::Raft { line, message });
            }
        }
    }

    fn waits_for_snapshot(&self, peer: u64) -> bool {
        let progress = self.raw.raft.prs().get(peer);
        self.is_leader() && progress.is_some_and(|progress| progress.state == ProgressState::Snapshot)
    }

    fn is_fetched(&self, provided: &Provided) -> bool {
        provided.peers().into_iter().any(|peer| self.waits_for_snapshot(peer))
    }

    /// Where the bytes of the snapshot in raft's message are.
    pub(super) fn offer_for(&mut self, message: &Message) -> Option<SnapshotOffer> {
        let index = offer_index(message);
        let offer = self.provided.as_ref().map(|provided| &provided.offer).filter(|offer| offer.meta.index == index);
        if offer.is_none() {
            self.raw.report_snapshot(message.to, SnapshotStatus::Failure);
        }
        offer.cloned()
    }

    pub(super) fn note_offer_sent(&mut self, message: &RaftMessage) {
        let now = self.now.instant;
        if let Some(provided) = self.provided.as_mut().filter(|_| message.snapshot.is_some()) {
            provided.sent(message.clone(), now);
        }
    }
}

/// From a leader.
impl Replica {
    /// A leader says that this replica needs a snapshot. Its bytes are fetched first; raft hears of it when they are here.
    pub(super) fn offered(&mut self, from: NodeId, offer: &SnapshotOffer, kept: RaftMessage, message: Message) {
        let raft = &self.raw.raft;
        let committed = raft.raft_log.committed;
        let known = raft.raft_log.match_term(offer.meta.index, offer.meta.term);
        if message.term < raft.term || offer.meta.index < committed || known {
            // raft answers what it has already.
            self.step(message);
            return;
        }
        if offer.meta.index != committed {
            self.fetch(from, kept);
        }
    }

    /// Fetches the state that a message offers.
    pub(super) fn fetch(&mut self, from: NodeId, kept: RaftMessage) {
        let Some(offer) = &kept.snapshot else { return };
        let (content, size_bytes) = (offer.content, offer.size_bytes);
        let bytes_max = self.config.state_bytes_max.saturating_mul(2).saturating_add(SNAPSHOT_EXTRA_BYTES_MAX);
        if size_bytes > bytes_max {
            return;
        }
        let again = self.fetching.as_ref().is_some_and(|fetching| fetching.is_of(content) && fetching.from == from);
        self.fetching = Some(Fetching { message: kept, from });
        if !again {
            self.outbox.push(Output::Fetch { from, content, size_bytes });
        }
    }

    /// The bytes came, or did not: then the leader's next message asks again.
    pub(super) fn fetched(&mut self, content: ContentHash, bytes: Option<Blob>) {
        let Some(fetching) = self.fetching.take_if(|fetching| fetching.is_of(content)) else { return };
        let Some(bytes) = bytes else { return };
        let Some(offer) = fetching.message.snapshot.clone() else { return };
        let Ok(state) = State::decode(&bytes) else { return };
        let mine = state.node_of(self.id) == Some(self.me);
        let fits = state.cell() == self.cell && state.applied() == offer.meta.index && mine && state.is_understood();
        if !fits || self.state.as_ref().is_some_and(|own| own.line() != state.line()) {
            return;
        }
        if self.is_shown_out(&state) {
            self.state = Some(state);
            return self.end();
        }
        self.arrived = Some((offer.meta, Box::new(state), bytes));
        // It waited: what it says is checked again against what is known now.
        if let Ok(message) = letter::admit(fetching.message, &self.receiver()) {
            let newer = offer_index(&message) > self.raw.raft.raft_log.committed;
            if newer && message.term >= self.raw.raft.term {
                self.step(message);
            }
        }
        if self.raw.snap().is_none() {
            self.arrived = None;
        }
    }

    /// raft took a received snapshot: it replaces the log and the state. On disk it replaces everything: entries beyond
    /// it were never part of the log that it stands for.
    pub(super) fn install(&mut self, meta: &SnapshotMetadata) -> Vec<StoreOp> {
        let (stored, state, bytes) =
            self.arrived.take().expect("raft is told of a snapshot only when its state is here");
        assert!(
            stored.index == meta.index && stored.term == meta.term,
            "raft takes the very snapshot that it was told of last"
        );
        self.raw.mut_store().install(meta);
        self.withdraw(None);
        self.state = Some(*state);
        self.contacts.clear();
        self.saved = Saved { index: meta.index, bytes_since: 0 };
        self.head_changed = true;
        self.elections.redraw(&mut self.raw.raft);
        let cell = self.cell;
        vec![StoreOp::DropCell { cell }, StoreOp::Snapshot { cell, meta: stored, state: bytes }]
    }
}

fn offer_index(message: &Message) -> u64 {
    message.get_snapshot().get_metadata().index
}
