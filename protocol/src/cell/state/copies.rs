//! Copies that stand away: learners under a law that the policy calls away, for reads there and never for a vote. They come and
//! go beside the one learner that joins to take over a vote, so a copy that does not come through holds no repair up.
use super::{Effects, RULES_OF_CUT, Refusal, State, leases, no, place};
use crate::{
    cell::{Candidate, Evidence, Grant, Member, Outcome, Role},
    id::ReplicaId,
    identity::Signed,
    refusal::Code,
    time::Timestamp,
};

/// A cell has at most so many copies away, one under each law: each gets every entry.
pub const COPIES_MAX: usize = 8;

impl State {
    /// Lets a copy stand away: the same checks as of a learner at home, but for the vote.
    pub(super) fn add_copy(
        &mut self,
        replaces: Option<ReplicaId>,
        evidence: &Evidence,
        candidate: &Candidate,
        grant: &Signed<Grant>,
    ) -> Result<Effects, Refusal> {
        self.knows_copies()?;
        self.not_removed()?;
        let place = place::Wanted { copy: true, ..self.wanted(Role::Learn) }.accept(candidate, grant)?;
        match replaces {
            Some(replica) => self.may_replace_copy(replica, evidence, &place)?,
            None => self.has_room_for_copy(evidence, &place)?,
        }
        let twice = self.members.iter().any(|member| member.node == place.node && Some(member.replica) != replaces);
        if twice {
            return Err(no(Code::Conflict, format!("node {:?} is a member already", place.node)));
        }
        place::affordable(&self.policy, self.costs_without([replaces, None]).chain([place.cost]))?;
        let why =
            format!("a copy for reads in {}: {} at {} said yes", place.jurisdiction, place.operator_name, place.site);
        if let Some(replica) = replaces {
            self.members.leave(replica);
        }
        self.members.stand(place, why, self.time);
        Ok(Effects::head(Outcome::Done))
    }

    /// Ends a copy that is not wanted there, or is of no use.
    pub(super) fn end_copy(&mut self, replica: ReplicaId, evidence: &Evidence) -> Result<Effects, Refusal> {
        self.knows_copies()?;
        let (member, since) = self.copy(replica)?;
        match evidence {
            Evidence::Policy if self.is_useless(member, since) => {}
            Evidence::Policy => {
                return Err(no(Code::Conflict, "the policy wants this copy, and it applies by the rules"));
            }
            Evidence::Revoked(ruled) => self.revoked(ruled, member.node, member.operator)?,
            Evidence::Drain(presence) => self.drains(presence, member.node)?,
            Evidence::Down(_) | Evidence::Silent | Evidence::Wiped(_) | Evidence::Missed => {
                let detail = "a copy away may be silent because of a cut: it is replaced, not ended";
                return Err(no(Code::Invalid, detail));
            }
        }
        self.members.leave(replica);
        Ok(Effects::head(Outcome::Done))
    }

    fn knows_copies(&self) -> Result<(), Refusal> {
        if self.rules >= RULES_OF_CUT {
            return Ok(());
        }
        let detail = format!("this cell is still on rules {}: copies away come with {RULES_OF_CUT}", self.rules);
        Err(no(Code::Unsupported, detail))
    }

    fn copy(&self, replica: ReplicaId) -> Result<(&Member, Timestamp), Refusal> {
        let found = self.members.copies().find(|(member, _)| member.replica == replica);
        found.ok_or_else(|| no(Code::NotFound, format!("replica {} is no copy away", replica.0)))
    }

    fn has_room_for_copy(&self, evidence: &Evidence, newcomer: &place::Place) -> Result<(), Refusal> {
        if *evidence != Evidence::Policy {
            return Err(no(Code::Invalid, "a further copy is wanted by the policy or not at all"));
        }
        if self.members.copies().any(|(copy, _)| copy.jurisdiction == newcomer.jurisdiction) {
            return Err(no(Code::Conflict, format!("there is a copy in {} already", newcomer.jurisdiction)));
        }
        if self.members.copies().count() >= COPIES_MAX {
            return Err(no(Code::Full, format!("a cell has at most {COPIES_MAX} copies away")));
        }
        Ok(())
    }

    fn may_replace_copy(
        &self,
        replica: ReplicaId,
        evidence: &Evidence,
        newcomer: &place::Place,
    ) -> Result<(), Refusal> {
        let (member, _) = self.copy(replica)?;
        if member.jurisdiction != newcomer.jurisdiction {
            return Err(no(Code::Conflict, format!("replica {} stands under another law", replica.0)));
        }
        match evidence {
            Evidence::Down(verdicts) => leases::down(verdicts, member.node, self.time),
            Evidence::Revoked(ruled) => self.revoked(ruled, member.node, member.operator),
            Evidence::Drain(presence) => self.drains(presence, member.node),
            Evidence::Policy | Evidence::Silent | Evidence::Wiped(_) | Evidence::Missed => {
                Err(no(Code::Invalid, "a copy is replaced because its node is down, drains or was revoked"))
            }
        }
    }

    /// Whether a copy stands where the policy places none, or has not come to apply by the rules in force in good time.
    pub(in crate::cell) fn is_useless(&self, copy: &Member, since: Timestamp) -> bool {
        let behind = self.members.supports(copy.replica).is_none_or(|supports| supports < self.rules);
        !self.policy.is_away(copy.jurisdiction) || (behind && self.time > since + super::JOIN_MAX)
    }

    /// Copies that `Repair::EndCopy` may end by the policy.
    pub(in crate::cell) fn useless_copies(&self) -> impl Iterator<Item = ReplicaId> {
        let useless = self.members.copies().filter(|(copy, since)| self.is_useless(copy, *since));
        useless.map(|(copy, _)| copy.replica)
    }
}
