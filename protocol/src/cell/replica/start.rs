//! How a replica starts: founded with its cell, opened from its disk, or joining; and how raft is set up.
use std::{collections::BTreeMap, time::Duration};

use raft::{RawNode, ReadOnlyOption, eraftpb::HardState};

use super::{
    Replica, Saved,
    announce::Announcement,
    answers::Proposals,
    catch_up,
    elections::{Elections, Timing},
    fresh::Fresh,
    handing::Heir,
    leading::Leading,
    letter,
    log::Log,
    reads::Reads,
    ready::Writes,
    sleep::Sleep,
};
use crate::{
    cell::{CellConfig, CellGenesis, Output, State},
    id::{CellId, ReplicaId},
    identity::NodeIdentity,
    machine::Outbox,
    notice::Notice,
    random::Seed,
    refusal::{Code, Refusal},
    store::{CellBoot, SnapshotMeta, StoreOp},
    time::Now,
};

/// Appends under way to one peer.
const INFLIGHT_MAX: usize = 32;
/// Of entries in one append.
const APPEND_BYTES_MAX: u64 = 256 << 10;
/// Of entries not committed; beyond it proposals are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 8 << 20;
/// Of entries applied in one go.
const COMMITTED_BYTES_PER_READY_MAX: u64 = 16 << 20;

/// What a replica starts from.
struct Origin {
    id: ReplicaId,
    log: Log,
    /// Index that `state` has applied.
    applied: u64,
    state: Option<State>,
}

impl Replica {
    /// A founding member. Raft starts behind a snapshot at index 1, term 1: the state that the genesis makes. Its first
    /// output is the write of that snapshot; the founder with the lowest id campaigns once it is durable.
    ///
    /// # Errors
    /// When the genesis does not hold, or gives this node no vote.
    pub fn found(
        config: CellConfig,
        seed: Seed,
        me: NodeIdentity,
        genesis: &CellGenesis,
        now: Now,
    ) -> Result<Self, Refusal> {
        let state = State::found(genesis)?;
        let node = me.node();
        let id = state.replica_of(node).ok_or_else(|| {
            Refusal::definite(
                Code::Invalid,
                format!("the genesis of cell {:?} gives node {node:?} no vote", state.cell()),
            )
        })?;
        let target = state.target_membership();
        let meta = SnapshotMeta {
            index: 1,
            term: 1,
            voters: target.voters.iter().map(|id| id.0).collect(),
            ..SnapshotMeta::default()
        };
        let hard_state = HardState { term: 1, commit: 1, ..HardState::default() };
        let snapshot = StoreOp::Snapshot { cell: state.cell(), meta: meta.clone(), state: state.encode() };
        let log = Log::new(hard_state, &meta, Vec::new());
        let cell = state.cell();
        let mut this = Self::new(config, seed, me, cell, Origin { id, log, applied: 1, state: Some(state) }, now);
        let first = target.voters.first() == Some(&id);
        this.begin_founding(snapshot, first);
        Ok(this)
    }

    /// A member that starts again, from what its disk held.
    ///
    /// # Errors
    /// When the disk holds no sound state of this cell with this node in it: a newcomer that never got its first
    /// snapshot, or a member that has left. Forget the cell then; a member is told by its leader's next message to join.
    pub fn open(
        config: CellConfig,
        seed: Seed,
        me: NodeIdentity,
        cell: CellId,
        boot: CellBoot,
        now: Now,
    ) -> Result<Self, Refusal> {
        let node = me.node();
        let unfit =
            |why: &str| Refusal::definite(Code::NotFound, format!("the replica of cell {cell:?} on disk {why}"));
        let snapshot = boot.snapshot.ok_or_else(|| unfit("has no snapshot yet"))?;
        let state = State::decode(&snapshot.state).map_err(|error| unfit(&format!("is damaged: {error}")))?;
        if state.cell() != cell || state.applied() != snapshot.meta.index {
            return Err(unfit("is of another cell or index"));
        }
        let id = state.replica_of(node).ok_or_else(|| unfit("is no member any more"))?;
        letter::check_meta(&snapshot.meta, id.0).map_err(|_| unfit("is no member of raft's group any more"))?;
        let meta = snapshot.meta;
        let entries = catch_up::read_back(&meta, boot.entries).ok_or_else(|| unfit("has a log with gaps"))?;
        let last = entries.last().map_or((meta.index, meta.term), |entry| (entry.index, entry.term));
        let hard_state = HardState {
            term: boot.hard_state.term.max(last.1),
            vote: if boot.hard_state.term < last.1 { 0 } else { boot.hard_state.vote },
            commit: boot.hard_state.commit.clamp(meta.index, last.0),
            ..HardState::default()
        };
        let log = Log::new(hard_state, &meta, entries);
        Ok(Self::new(config, seed, me, cell, Origin { id, log, applied: meta.index, state: Some(state) }, now))
    }

    /// A newcomer that was told of its membership by the first message to `id`: an empty log, waiting for a snapshot.
    #[must_use]
    pub fn join(config: CellConfig, seed: Seed, me: NodeIdentity, cell: CellId, id: ReplicaId, now: Now) -> Self {
        let id = ReplicaId(id.0.max(1));
        Self::new(config, seed, me, cell, Origin { id, log: Log::default(), applied: 0, state: None }, now)
    }

    fn new(config: CellConfig, seed: Seed, identity: NodeIdentity, cell: CellId, origin: Origin, now: Now) -> Self {
        let round_trip = origin.state.as_ref().map_or(Duration::ZERO, State::round_trip);
        let timing = Timing::of(&config, round_trip);
        let Origin { id, log, applied, state } = origin;
        let next_tick = now.instant + first_tick(&config, seed);
        let mut this = Self {
            raw: start_raft(id, &timing, applied, log),
            elections: Elections::new(cell, timing),
            saved: Saved { index: applied, bytes_since: 0 },
            config,
            cell,
            me: identity.node(),
            identity,
            id,
            state,
            contacts: BTreeMap::new(),
            line_heard: 0,
            writes: Writes::default(),
            next_tick,
            proposals: Proposals::default(),
            reads: Reads::default(),
            provided: None,
            captured: None,
            fetching: None,
            arrived: None,
            leading: Leading::default(),
            handing: None,
            heir: Heir::default(),
            announcement: Announcement { last: now.instant },
            missing: super::missing::Missing::default(),
            wiped: super::wiped::Wiped::default(),
            contact: super::recovering::Contact::default(),
            sleep: Sleep::default(),
            fresh: Fresh::default(),
            told_leader: (0, 0),
            description: None,
            head_changed: true,
            stopped: None,
            now,
            outbox: Outbox::default(),
        };
        this.elections.settle(&mut this.raw.raft);
        this.outbox.push(Output::Notice(Notice::CellOpened { cell, replica: id }));
        this
    }
}

/// raft as it starts, and as it starts anew.
pub(super) fn start_raft(id: ReplicaId, timing: &Timing, applied: u64, log: Log) -> RawNode<Log> {
    let config = raft::Config {
        id: id.0,
        election_tick: timing.election,
        heartbeat_tick: timing.heartbeat,
        min_election_tick: timing.election,
        max_election_tick: timing.bound(),
        applied,
        max_size_per_msg: APPEND_BYTES_MAX,
        max_inflight_msgs: INFLIGHT_MAX,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        batch_append: true,
        max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
        max_committed_size_per_ready: COMMITTED_BYTES_PER_READY_MAX,
        ..raft::Config::default()
    };
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&config, log, &silent)
        .expect("the settings hold by construction, and the log starts where applied does")
}

/// Replicas of one process do not all tick at once.
fn first_tick(config: &CellConfig, seed: Seed) -> Duration {
    seed.split("ticks").rng().duration_below(config.tick)
}
