//! Whom the voters miss. Observers speak of a node for as long as its presence holds, two minutes after its death; a member that
//! could not be replaced by then, because nobody fit was there or too few voters were, is still to be replaced some day. So
//! each voter says in the log which member it has had no link to for long, and takes it back once it has one. What most
//! voters say is evidence: they are who decides in this cell anyway, so nobody gains power by it.
use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use super::{Effects, RULES_OF_MISSES, Refusal, State, no};
use crate::{
    cell::{Missed, Outcome},
    id::ReplicaId,
    identity::Signed,
    refusal::Code,
    time::Timestamp,
};

/// What each voter last said of one member.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Misses(#[n(0)] BTreeMap<ReplicaId, Word>);

#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Word {
    #[n(0)]
    missed: bool,
    /// When it was signed: an older word of the same voter changes nothing any more.
    #[n(1)]
    made: Timestamp,
}

impl Misses {
    fn is_missed_by(&self, voter: ReplicaId) -> bool {
        self.0.get(&voter).is_some_and(|word| word.missed)
    }
}

impl State {
    /// A voter misses a member, or does so no more.
    pub(super) fn miss(&mut self, signed: &Signed<Missed>) -> Result<Effects, Refusal> {
        self.knows_misses()?;
        let word = signed.open().map_err(|_| no(Code::Invalid, "a word on a missed member cannot be read"))?;
        if word.cell != self.cell {
            return Err(no(Code::Unauthorised, "this word is for another cell"));
        }
        let voters: Vec<ReplicaId> = self.members.voters().map(|voter| voter.replica).collect();
        if !voters.contains(&word.voter) || word.voter == word.member {
            let detail = format!("replica {} has no say on replica {}", word.voter.0, word.member.0);
            return Err(no(Code::Unauthorised, detail));
        }
        if self.members.node_of(word.voter).is_none_or(|node| signed.key() != node.into()) {
            return Err(no(Code::Unauthorised, format!("replica {} is another node's", word.voter.0)));
        }
        let Some(misses) = self.members.misses_mut(word.member) else {
            return Err(no(Code::NotFound, format!("replica {} is no member", word.member.0)));
        };
        let Misses(said) = misses.get_or_insert_default();
        if said.get(&word.voter).is_some_and(|before| before.made >= word.made) {
            return Err(no(Code::Conflict, format!("replica {} has said something since", word.voter.0)));
        }
        said.retain(|voter, _| voters.contains(voter));
        said.insert(word.voter, Word { missed: word.missed, made: word.made });
        Ok(Effects::quiet(Outcome::Done))
    }

    /// Whether most voters miss a member.
    #[must_use]
    pub fn is_missed(&self, member: ReplicaId) -> bool {
        let Some(misses) = self.members.misses(member) else { return false };
        let voters = self.members.voters().count();
        self.members.voters().filter(|voter| misses.is_missed_by(voter.replica)).count() > voters / 2
    }

    /// Whether this voter said last that it misses a member.
    #[must_use]
    pub fn is_missed_by(&self, member: ReplicaId, voter: ReplicaId) -> bool {
        self.members.misses(member).is_some_and(|misses| misses.is_missed_by(voter))
    }

    /// When this voter made its last word on a member, by its own clock.
    pub(in crate::cell) fn last_missed_word(&self, member: ReplicaId, voter: ReplicaId) -> Option<Timestamp> {
        Some(self.members.misses(member)?.0.get(&voter)?.made)
    }

    /// Whether that a member is missed is a reason to replace it.
    pub(super) fn may_give_up(&self, member: ReplicaId) -> Result<(), Refusal> {
        self.knows_misses()?;
        if self.is_missed(member) {
            return Ok(());
        }
        Err(no(Code::Conflict, format!("most voters do not miss replica {}", member.0)))
    }

    fn knows_misses(&self) -> Result<(), Refusal> {
        if self.rules >= RULES_OF_MISSES {
            return Ok(());
        }
        let detail =
            format!("this cell is still on rules {}: voters miss members from {RULES_OF_MISSES} on", self.rules);
        Err(no(Code::Unsupported, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{
        Command, Evidence, Repair, Role,
        state::{RULES_OF_CUT, fixture},
    };

    fn cell(rules: u32) -> (Vec<fixture::Host>, State) {
        let hosts = fixture::hosts(4);
        let mut state = State::found(&fixture::Founding::of(&hosts[..3]).genesis()).unwrap();
        for (replica, host) in (1..).zip(&hosts[..3]) {
            let command = host.support(&state, ReplicaId(replica), rules);
            assert_eq!(told(&mut state, command), Ok(()));
        }
        (hosts, state)
    }

    fn told(state: &mut State, command: Command) -> Result<(), Code> {
        let entry = fixture::entry(state, command);
        match state.apply(state.applied() + 1, &entry).outcome {
            Outcome::Refused(refusal) => Err(refusal.code),
            _ => Ok(()),
        }
    }

    fn word(host: &fixture::Host, state: &State, voter: u64, missed: bool, at: u64) -> Command {
        let word = Missed {
            cell: state.cell(),
            voter: ReplicaId(voter),
            member: ReplicaId(3),
            missed,
            made: Timestamp(fixture::FOUNDED.0 + at),
        };
        Command::Miss(Signed::seal(&host.keys, &word))
    }

    fn swap(state: &State, newcomer: &fixture::Host) -> Command {
        Command::Repair(Box::new(Repair::AddLearner {
            replaces: Some(ReplicaId(3)),
            evidence: Evidence::Missed,
            candidate: newcomer.candidate(),
            grant: newcomer.grant_to(state, Role::Learn),
        }))
    }

    #[test]
    fn a_member_that_most_voters_miss_is_replaced_and_not_before() {
        let (hosts, mut state) = cell(RULES_OF_MISSES);
        let command = word(&hosts[0], &state, 1, true, 1);
        assert_eq!(told(&mut state, command), Ok(()));
        let swapped = swap(&state, &hosts[3]);
        assert_eq!(told(&mut state, swapped.clone()), Err(Code::Conflict), "one of three is no majority");
        let command = word(&hosts[1], &state, 2, true, 1);
        assert_eq!(told(&mut state, command), Ok(()));
        assert!(state.is_missed(ReplicaId(3)) && !state.is_missed(ReplicaId(1)));
        assert_eq!(told(&mut state, swapped), Ok(()));
        assert_eq!(state.joining(), Some((ReplicaId(4), Some(ReplicaId(3)))));
    }

    #[test]
    fn who_is_linked_again_is_missed_no_more_and_an_old_word_does_not_come_back() {
        let (hosts, mut state) = cell(RULES_OF_MISSES);
        let old = word(&hosts[0], &state, 1, true, 1);
        for command in [old.clone(), word(&hosts[1], &state, 2, true, 1), word(&hosts[0], &state, 1, false, 2)] {
            assert_eq!(told(&mut state, command), Ok(()));
        }
        assert!(!state.is_missed(ReplicaId(3)));
        assert_eq!(told(&mut state, old), Err(Code::Conflict));
        assert!(!state.is_missed(ReplicaId(3)));
    }

    #[test]
    fn nobody_speaks_for_another_nor_on_himself_nor_under_older_rules() {
        let (hosts, mut state) = cell(RULES_OF_MISSES);
        let forged = word(&hosts[0], &state, 2, true, 1);
        assert_eq!(told(&mut state, forged), Err(Code::Unauthorised));
        let of_itself = word(&hosts[2], &state, 3, true, 1);
        assert_eq!(told(&mut state, of_itself), Err(Code::Unauthorised));
        let stranger = word(&hosts[3], &state, 4, true, 1);
        assert_eq!(told(&mut state, stranger), Err(Code::Unauthorised));
        let (hosts, mut state) = cell(RULES_OF_CUT);
        let early = word(&hosts[0], &state, 1, true, 1);
        assert_eq!(told(&mut state, early), Err(Code::Unsupported));
    }
}
