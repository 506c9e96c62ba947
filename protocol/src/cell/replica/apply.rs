//! Committed entries become agreed state.
use raft::{
    StateRole,
    eraftpb::{Entry, EntryType},
};

use super::{Replica, log, membership};
use crate::{
    cell::{self, Applied},
    codec,
    notice::Notice,
    planted::{self, Planted},
};

impl Replica {
    /// Applies what raft says is committed and durable here.
    pub(super) fn apply_committed(&mut self, entries: Vec<Entry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        self.stir();
        for entry in entries {
            self.apply(&entry);
        }
        self.raw.advance_apply_to(last);
        self.note_applied();
        self.resign_if_removed();
        self.save_if_due();
        self.end_if_it_left();
    }

    fn apply(&mut self, entry: &Entry) {
        self.saved.bytes_since += log::size(entry);
        let outcome = match entry.get_entry_type() {
            EntryType::EntryNormal => self.apply_command(entry),
            EntryType::EntryConfChangeV2 => {
                self.apply_membership(entry);
                None
            }
            // Never proposed, and refused on the way in.
            EntryType::EntryConfChange => {
                self.agreed().skip(entry.index);
                None
            }
        };
        let state = self.agreed();
        let (line, digest) = (state.line(), state.digest());
        assert!(state.is_understood(), "this version does not know the rules that the cell has agreed on: upgrade it");
        let applied = Notice::Applied { cell: self.cell, line, index: entry.index, digest };
        self.outbox.push(cell::Output::Notice(applied));
        self.answer_proposal(entry.index, entry.term, outcome);
    }

    fn apply_command(&mut self, entry: &Entry) -> Option<Applied> {
        let decoded = (!entry.data.is_empty()).then(|| codec::decode::<cell::Entry>("cell entry", &entry.data));
        let wall = self.now.wall;
        let state = self.agreed();
        // Empty: a new leader's first. Unreadable: whoever proposed it, all skip it alike.
        let Some(Ok(mut decoded)) = decoded else {
            state.skip(entry.index);
            return None;
        };
        if planted::has(Planted::ClockAtApply) {
            decoded.stamp = wall;
        }
        let effects = state.apply(entry.index, &decoded);
        self.head_changed |= effects.head_changed;
        self.leading.stirred |= effects.head_changed;
        self.leading.members_due |= effects.head_changed;
        Some(Applied { index: entry.index, outcome: effects.outcome })
    }

    /// Obeys the entry only if it is the very change that is due; see [`membership`].
    fn apply_membership(&mut self, entry: &Entry) {
        let conf = self.conf();
        let state = self.agreed();
        let target = state.target_membership();
        state.skip(entry.index);
        self.leading.stirred = true;
        self.leading.members_due = true;
        let Some(change) = membership::due(&conf, &target) else { return };
        if membership::payload(&change) != entry.data {
            return;
        }
        let before = self.matched();
        self.raw.apply_conf_change(&change).expect("a change computed from raft's own membership is lawful");
        self.elections.redraw(&mut self.raw.raft);
        self.dismiss(&before);
        self.head_changed = true;
    }

    /// raft 0.7 goes on leading after it left its group, and panics at its next write: step down at once.
    fn resign_if_removed(&mut self) {
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && !raft.promotable() {
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
        self.elections.settle(&mut self.raw.raft);
    }

    fn agreed(&mut self) -> &mut cell::State {
        self.state.as_mut().expect("entries are applied only behind a snapshot")
    }
}
