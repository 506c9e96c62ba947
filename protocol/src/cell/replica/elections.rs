//! When a voter campaigns. raft 0.7 draws election timeouts from the thread's own generator, which would differ between
//! two runs of one seed; every draw is replaced here before a tick can use it.
//!
//! Our draw gives each voter of a cell its own *slot*, by a permutation of the voters that cell and term alone decide:
//! two voters never campaign at once, so an election is decided in its first round. Slots lie far enough apart for the
//! earlier one to win before the next begins (two round trips: pre-vote and vote), and the first lies behind the moment
//! at which all followers of a silent leader have stopped refusing votes (one round trip of skew).
use std::time::Duration;

use raft::Raft;

use super::log::Log;
use crate::{cell::CellConfig, id::CellId, random};

/// No cell has more voters, both halves of a joint change together.
const VOTERS_MAX: usize = 16;

/// A round trip longer than this is taken as this: no cell waits longer than ten times as much for its leader.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(3);

/// In ticks, scaled to the round trip that the cell has agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    /// Silent ticks before a follower stops believing in its leader: at least ten round trips.
    pub(super) election: usize,
    /// Between a leader's heartbeats.
    pub(super) heartbeat: usize,
    /// From `election` to the first slot: all followers have stopped believing by then. More than a round trip.
    pub(super) lead: usize,
    /// Between two slots.
    gap: usize,
}

impl Timing {
    /// For a cell whose farthest voters are `round_trip` apart.
    pub(super) fn of(config: &CellConfig, round_trip: Duration) -> Self {
        let tick = config.tick.max(Duration::from_millis(1));
        let trips = |count: u32| {
            let ticks = (round_trip.min(ROUND_TRIP_MAX) * count).as_nanos().div_ceil(tick.as_nanos());
            usize::try_from(ticks).unwrap_or(usize::MAX)
        };
        let wanted = config.election_ticks.max(2) as usize;
        let heartbeat = (config.heartbeat_ticks.max(1) as usize).min(wanted - 1);
        let election = wanted.max(trips(10));
        Self { election, heartbeat: heartbeat * election / wanted, lead: 1 + trips(1), gap: 1 + trips(2).max(1) }
    }

    /// Silent ticks before the voter in `slot` campaigns.
    pub(super) const fn timeout(&self, slot: usize) -> usize {
        self.election + self.lead + self.gap * slot
    }

    /// A follower that has heard nothing for so long has time for one more heartbeat before it stops believing.
    pub(super) const fn until_next_heartbeat(&self) -> usize {
        self.election.saturating_sub(self.heartbeat + self.lead)
    }

    /// No timeout reaches this.
    pub(super) const fn bound(&self) -> usize {
        self.timeout(VOTERS_MAX) + 1
    }

    /// Ticks between two attempts of the voter in `slot` while it knows that nobody leads.
    pub(super) const fn hurried(&self, slot: usize) -> usize {
        self.lead + self.gap * slot
    }
}

/// The draws of one replica.
#[derive(Debug)]
pub(super) struct Elections {
    cell: CellId,
    pub(super) timing: Timing,
    /// The term and voters that `slot` was drawn for.
    drawn_for: (u64, Vec<u64>),
    slot: usize,
    /// Attempts left that do not wait for a silent leader: its link is down, or the cell was just founded.
    hurry: u32,
}

impl Elections {
    pub(super) fn new(cell: CellId, timing: Timing) -> Self {
        Self { cell, timing, drawn_for: (0, Vec::new()), slot: VOTERS_MAX, hurry: 0 }
    }

    /// Replaces raft's draw. Call after every step, tick and change of members.
    pub(super) fn settle(&mut self, raft: &mut Raft<Log>) {
        if self.drawn_for.0 != raft.term || self.drawn_for.1.is_empty() {
            self.draw(raft);
        }
        raft.set_randomized_election_timeout(self.timing.timeout(self.slot));
        if raft.leader_id != raft::INVALID_ID && raft.election_elapsed == 0 {
            self.hurry = 0;
        }
    }

    /// The voters changed.
    pub(super) fn redraw(&mut self, raft: &mut Raft<Log>) {
        self.draw(raft);
        self.settle(raft);
    }

    fn draw(&mut self, raft: &Raft<Log>) {
        let mut voters: Vec<u64> = raft.prs().conf().voters().ids().iter().collect();
        voters.sort_unstable();
        self.slot = slot(self.cell, raft.term, &voters, raft.id);
        self.drawn_for = (raft.term, voters);
    }

    /// Call before a tick.
    ///
    /// # Panics
    /// If raft would use a draw of its own.
    pub(super) fn assert_settled(&self, raft: &Raft<Log>) {
        assert_eq!(
            raft.randomized_election_timeout(),
            self.timing.timeout(self.slot),
            "raft's own election draw is never used"
        );
    }

    /// Nobody leads, as far as can be seen here: do not wait out the silence. Pre-vote keeps this from disturbing a
    /// leader that others still hear.
    pub(super) fn hurry(&mut self, raft: &mut Raft<Log>, attempts: u32) {
        if raft.state != raft::StateRole::Follower {
            return;
        }
        self.hurry = attempts;
        let wait = self.timing.timeout(self.slot).saturating_sub(self.timing.hurried(self.slot));
        raft.election_elapsed = raft.election_elapsed.max(wait);
    }

    /// After a tick: an attempt that found no majority is repeated soon.
    pub(super) fn keep_hurrying(&mut self, raft: &mut Raft<Log>) {
        if self.hurry == 0 || raft.state != raft::StateRole::PreCandidate || raft.election_elapsed != 0 {
            return;
        }
        self.hurry -= 1;
        raft.election_elapsed = self.timing.timeout(self.slot).saturating_sub(self.timing.hurried(self.slot) + 1);
    }
}

/// The place of `id` in the order that cell and term give the voters; behind all of them when it has no vote.
fn slot(cell: CellId, term: u64, voters: &[u64], id: u64) -> usize {
    let mut order = voters.to_vec();
    let name = cell.0.chunks_exact(8).fold(term, |name, chunk| {
        random::mix(name ^ u64::from_le_bytes(chunk.try_into().expect("a chunk of eight bytes")))
    });
    for last in (1..order.len()).rev() {
        let below = random::mix(name ^ last as u64) % (last as u64 + 1);
        order.swap(last, usize::try_from(below).expect("below the number of voters"));
    }
    order.iter().position(|voter| *voter == id).unwrap_or(VOTERS_MAX).min(VOTERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_voters_share_a_slot_and_all_come_first_at_times() {
        let voters = [1, 2, 5, 7, 9];
        let mut firsts = [0; 5];
        for term in 1..200 {
            let cell = CellId::of(b"cell");
            let mut slots: Vec<usize> = voters.iter().map(|id| slot(cell, term, &voters, *id)).collect();
            firsts[slots.iter().position(|slot| *slot == 0).unwrap()] += 1;
            slots.sort_unstable();
            assert_eq!(slots, [0, 1, 2, 3, 4]);
        }
        assert!(firsts.iter().all(|count| *count > 15), "{firsts:?}");
    }

    #[test]
    fn timeouts_cover_ten_round_trips_and_heartbeats_scale_with_them() {
        let config = CellConfig::default();
        let near = Timing::of(&config, Duration::from_millis(1));
        assert_eq!((near.election, near.heartbeat), (12, 6));
        let far = Timing::of(&config, Duration::from_millis(470));
        assert!(config.tick * u32::try_from(far.election).unwrap() >= Duration::from_millis(4_700));
        assert_eq!(far.heartbeat, 6 * far.election / 12);
        assert!(config.tick * u32::try_from(far.gap).unwrap() >= Duration::from_millis(940));
    }
}
