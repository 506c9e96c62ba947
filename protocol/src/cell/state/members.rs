//! The members of a cell: who votes, who is learning to, who left. Raft's own membership follows this one.
use std::{collections::BTreeMap, time::Duration};

use minicbor::{Decode, Encode};

use super::{
    Effects, Membership, RULES_OF_CUT, RULES_OF_RECOVERY, Refusal, State, leases,
    misses::Misses,
    no,
    place::{self, Cost, Place},
};
use crate::{
    cell::{Candidate, Evidence, Grant, Member, Outcome, Role, Support},
    id::{NodeId, ReplicaId},
    identity::Signed,
    placement::{Grade, VoterPlace, grade},
    refusal::Code,
    resources::Jurisdiction,
    time::Timestamp,
};

/// The last so many members that left are remembered with their nodes, so that they are still answered.
pub const LEFT_MAX: usize = 16;
/// A learner that was not promoted within so long (of cell time) may be replaced without further evidence.
pub const JOIN_MAX: Duration = Duration::from_mins(5);
/// What any binary applies by, and so what a newcomer supports before it says more.
const RULES_FIRST: u32 = 1;

/// Voters and learners, and those that left.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Members {
    #[n(0)]
    by_id: BTreeMap<ReplicaId, Seat>,
    /// The highest id given so far: none is given twice.
    #[n(1)]
    numbered: u64,
    /// At most [`LEFT_MAX`], the latest last.
    #[n(2)]
    left: Vec<(ReplicaId, NodeId)>,
}

#[derive(Clone, Debug, Encode, Decode)]
struct Seat {
    #[n(0)]
    member: Member,
    /// Of a learner: what it came for.
    #[n(1)]
    joining: Option<Joining>,
    #[n(2)]
    cost: Cost,
    /// The rules that it announced to support.
    #[n(3)]
    supports: u32,
    /// Of a copy that stands away: cell time when it was added.
    #[n(4)]
    stands: Option<Timestamp>,
    /// Which voters miss it; none ever did.
    #[n(5)]
    missed: Option<Misses>,
}

#[derive(Clone, Copy, Debug, Encode, Decode)]
struct Joining {
    /// Whose vote it is to take over.
    #[n(0)]
    replaces: Option<ReplicaId>,
    /// Cell time when it was added.
    #[n(1)]
    since: Timestamp,
}

/// What a member does.
#[derive(Clone, Copy, Debug)]
enum Seated {
    Votes,
    Joins(Joining),
    /// Away, since then.
    Stands(Timestamp),
}

impl Members {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values().map(|seat| &seat.member)
    }

    pub(super) fn voters(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| member.votes)
    }

    pub(super) fn costs(&self, without: [Option<ReplicaId>; 2]) -> impl Iterator<Item = Cost> {
        self.by_id.iter().filter(move |(id, _)| !without.contains(&Some(**id))).map(|(_, seat)| seat.cost)
    }

    /// The living member on `node`; of two, while a wiped one rejoins, the newcomer.
    pub(super) fn on(&self, node: NodeId) -> Option<ReplicaId> {
        self.iter().filter(|member| member.node == node).map(|member| member.replica).max()
    }

    pub(super) fn node_of(&self, replica: ReplicaId) -> Option<NodeId> {
        let left = || self.left.iter().find(|(id, _)| *id == replica).map(|(_, node)| *node);
        self.by_id.get(&replica).map(|seat| seat.member.node).or_else(left)
    }

    pub(super) fn target(&self) -> Membership {
        let (voters, learners): (Vec<_>, Vec<_>) = self.iter().partition(|member| member.votes);
        let ids = |members: Vec<&Member>| members.into_iter().map(|member| member.replica).collect();
        Membership { voters: ids(voters), learners: ids(learners) }
    }

    pub(super) fn grade(&self) -> Grade {
        grade(&self.voters().map(voter_place).collect::<Vec<_>>())
    }

    /// A founding voter.
    pub(super) fn found(&mut self, replica: ReplicaId, place: Place, why: String, rules: u32) {
        self.numbered = self.numbered.max(replica.0);
        self.insert(replica, place, why, rules, Seated::Votes);
    }

    /// A learner under the next id.
    fn join(&mut self, place: Place, why: String, joining: Joining) {
        self.numbered = self.numbered.saturating_add(1);
        self.insert(ReplicaId(self.numbered), place, why, RULES_FIRST, Seated::Joins(joining));
    }

    /// A copy under the next id.
    pub(super) fn stand(&mut self, place: Place, why: String, since: Timestamp) {
        self.numbered = self.numbered.saturating_add(1);
        self.insert(ReplicaId(self.numbered), place, why, RULES_FIRST, Seated::Stands(since));
    }

    fn insert(&mut self, replica: ReplicaId, place: Place, why: String, supports: u32, seated: Seated) {
        let (votes, joining, stands) = match seated {
            Seated::Votes => (true, None, None),
            Seated::Joins(joining) => (false, Some(joining), None),
            Seated::Stands(since) => (false, None, Some(since)),
        };
        let cost = place.cost;
        let member = Member {
            replica,
            node: place.node,
            operator: place.operator,
            operator_name: place.operator_name,
            site: place.site,
            jurisdiction: place.jurisdiction,
            votes,
            why,
            sealing: place.sealing,
        };
        self.by_id.insert(replica, Seat { member, joining, cost, supports, stands, missed: None });
    }

    /// The copies that stand away, and since when.
    pub(super) fn copies(&self) -> impl Iterator<Item = (&Member, Timestamp)> {
        self.by_id.values().filter_map(|seat| Some((&seat.member, seat.stands?)))
    }

    pub(super) fn leave(&mut self, replica: ReplicaId) {
        let Some(seat) = self.by_id.remove(&replica) else { return };
        self.left.push((replica, seat.member.node));
        let surplus = self.left.len().saturating_sub(LEFT_MAX);
        self.left.drain(..surplus);
    }

    /// All leave but this one, which votes under the next id. `None`: it is no member.
    pub(super) fn stand_alone(&mut self, replica: ReplicaId, rules: u32) -> Option<ReplicaId> {
        let seat = self.by_id.get(&replica)?.clone();
        for id in self.by_id.keys().copied().collect::<Vec<_>>() {
            self.leave(id);
        }
        self.numbered = self.numbered.saturating_add(1);
        let replica = ReplicaId(self.numbered);
        let why = "the cell goes on from what it held when the majority was lost".to_owned();
        let member = Member { replica, votes: true, why, ..seat.member };
        let (joining, stands, missed) = (None, None, None);
        let supports = seat.supports.max(rules);
        self.by_id.insert(replica, Seat { member, joining, cost: seat.cost, supports, stands, missed });
        Some(replica)
    }

    pub(super) fn left(&self) -> impl Iterator<Item = NodeId> {
        self.left.iter().map(|(_, node)| *node)
    }

    fn learner(&self) -> Option<(ReplicaId, Joining)> {
        self.by_id.iter().find_map(|(id, seat)| Some((*id, seat.joining?)))
    }

    pub(super) fn supports(&self, replica: ReplicaId) -> Option<u32> {
        self.by_id.get(&replica).map(|seat| seat.supports)
    }

    pub(super) fn misses(&self, replica: ReplicaId) -> Option<&Misses> {
        self.by_id.get(&replica)?.missed.as_ref()
    }

    pub(super) fn misses_mut(&mut self, replica: ReplicaId) -> Option<&mut Option<Misses>> {
        self.by_id.get_mut(&replica).map(|seat| &mut seat.missed)
    }

    pub(super) fn joining(&self) -> Option<(ReplicaId, Option<ReplicaId>)> {
        self.learner().map(|(id, joining)| (id, joining.replaces))
    }

    pub(super) fn joins_since(&self) -> Option<Timestamp> {
        self.learner().map(|(_, joining)| joining.since)
    }

    /// The voters as they would be with `newcomer` in the place of `replaced`.
    fn swapped(&self, replaced: Option<ReplicaId>, newcomer: VoterPlace) -> Vec<VoterPlace> {
        let stay = self.voters().filter(|member| Some(member.replica) != replaced);
        stay.map(voter_place).chain([newcomer]).collect()
    }
}

fn voter_place(member: &Member) -> VoterPlace {
    VoterPlace { operator: member.operator, site: member.site.clone(), jurisdiction: member.jurisdiction }
}

impl State {
    /// Lets a newcomer learn, to take over a vote later. One at a time. A learner that does not come through is itself
    /// replaced: `replaces` then names it, and the newcomer inherits the vote it was to take over.
    pub(super) fn add_learner(
        &mut self,
        replaces: Option<ReplicaId>,
        evidence: &Evidence,
        candidate: &Candidate,
        grant: &Signed<Grant>,
    ) -> Result<Effects, Refusal> {
        self.not_removed()?;
        let place = self.wanted(Role::Learn).accept(candidate, grant)?;
        let stuck = match self.members.learner() {
            Some((learner, joining)) if replaces == Some(learner) => Some((learner, joining)),
            Some((learner, _)) => {
                return Err(no(Code::Conflict, format!("replica {} is joining already", learner.0)));
            }
            None => None,
        };
        let vote = stuck.map_or(replaces, |(_, joining)| joining.replaces);
        let gone = stuck.map(|(learner, _)| learner);

        let twice = self.members.iter().find(|member| member.node == place.node && Some(member.replica) != gone);
        let rejoins = matches!(evidence, Evidence::Wiped(_)) && twice.map(|member| member.replica) == vote;
        if twice.is_some() && !rejoins {
            return Err(no(Code::Conflict, format!("node {:?} is a member already", place.node)));
        }
        let voters = self.members.swapped(vote, place.voter());
        if voters.len() > self.policy.voters as usize {
            return Err(no(Code::Conflict, format!("the policy wants {} voters", self.policy.voters)));
        }
        if self.grows_to(voters.len()) {
            place::apart(&self.policy, &voters)?;
        } else {
            place::spread(&self.policy, &voters)?;
        }
        if self.rules >= RULES_OF_CUT {
            let before: Vec<_> = self.members.voters().map(voter_place).collect();
            place::keeps_side(&self.policy, &voters, &before)?;
        }
        place::affordable(&self.policy, self.costs_without([vote, gone]).chain([place.cost]))?;
        match stuck {
            Some((learner, joining)) => self.may_replace_learner(learner, joining, evidence, &place)?,
            None => self.may_replace_voter(replaces, evidence, &place, &voters)?,
        }

        let why = format!(
            "{}: {} at {} in {} said yes",
            reason(vote, evidence),
            place.operator_name,
            place.site,
            place.jurisdiction
        );
        if let Some(learner) = gone {
            self.members.leave(learner);
        }
        self.members.join(place, why, Joining { replaces: vote, since: self.time });
        Ok(Effects::head(Outcome::Done))
    }

    /// Whether a recovery left one voter where the policy wants more, and these are two: on the way to three. Two can lose no
    /// more than one can, but what they hold is on two disks.
    fn grows_to(&self, voters: usize) -> bool {
        let alone = self.members.voters().count() == 1;
        self.rules >= RULES_OF_RECOVERY && alone && voters == 2 && self.policy.voters > 2
    }

    /// Whether a voter is to be added beside those that are there: by way of two to three, and no further, for the next step would
    /// be four.
    pub(in crate::cell) fn wants_another_voter(&self) -> bool {
        let voters = self.members.voters().count();
        self.recovered.is_some() && voters < 3 && voters < self.policy.voters as usize
    }

    fn may_replace_voter(
        &self,
        replaces: Option<ReplicaId>,
        evidence: &Evidence,
        newcomer: &Place,
        voters: &[VoterPlace],
    ) -> Result<(), Refusal> {
        let Some(replica) = replaces else {
            return match evidence {
                Evidence::Policy => Ok(()),
                Evidence::Down(_)
                | Evidence::Silent
                | Evidence::Wiped(_)
                | Evidence::Revoked(_)
                | Evidence::Drain(_)
                | Evidence::Missed => Err(no(Code::Invalid, "a further voter is wanted by the policy or not at all")),
            };
        };
        let Some(member) = self.members.by_id.get(&replica).map(|seat| &seat.member) else {
            return Err(no(Code::NotFound, format!("replica {} is no member", replica.0)));
        };
        match evidence {
            Evidence::Down(verdicts) => leases::down(verdicts, member.node, self.time),
            Evidence::Wiped(node) => wiped(*node, member, newcomer),
            Evidence::Revoked(ruled) => self.revoked(ruled, member.node, member.operator),
            Evidence::Drain(presence) => self.drains(presence, member.node),
            Evidence::Missed => self.may_give_up(replica),
            Evidence::Policy => {
                let misplaced = !place::allows(&self.policy, Role::Vote, member.jurisdiction);
                if misplaced || self.brings_quorum_home(member, newcomer) || grade(voters) > self.members.grade() {
                    return Ok(());
                }
                Err(no(Code::Conflict, "the policy lets this member stay, and the swap would raise no grade"))
            }
            Evidence::Silent => Err(no(Code::Invalid, "silence ends a lease, not a membership")),
        }
    }

    /// Whether the side of home that is to keep the quorum lacks its majority, and this swap gives it one vote more.
    fn brings_quorum_home(&self, leaves: &Member, newcomer: &Place) -> bool {
        let side = self.policy.cut.home_cut.filter(|_| self.rules >= RULES_OF_CUT);
        side.is_some_and(|side| {
            self.lacks_quorum_on(side) && leaves.jurisdiction != side && newcomer.jurisdiction == side
        })
    }

    /// Whether a voter's place should be taken by one on the side of home that is to keep the quorum, which lacks its majority.
    pub(in crate::cell) fn should_bring_home(&self, voter: &Member) -> bool {
        let side = self.policy.cut.home_cut.filter(|_| self.rules >= RULES_OF_CUT && !self.policy.allow_degraded);
        side.is_some_and(|side| voter.jurisdiction != side && self.lacks_quorum_on(side))
    }

    fn lacks_quorum_on(&self, side: Jurisdiction) -> bool {
        let voters = self.members.voters().count();
        let held = self.members.voters().filter(|voter| voter.jurisdiction == side).count();
        voters > 1 && held <= voters / 2
    }

    fn may_replace_learner(
        &self,
        learner: ReplicaId,
        joining: Joining,
        evidence: &Evidence,
        newcomer: &Place,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.by_id.get(&learner).map(|seat| &seat.member) else {
            return Err(no(Code::NotFound, format!("replica {} is no member", learner.0)));
        };
        match evidence {
            Evidence::Down(verdicts) => leases::down(verdicts, member.node, self.time),
            Evidence::Wiped(node) => wiped(*node, member, newcomer),
            Evidence::Revoked(ruled) => self.revoked(ruled, member.node, member.operator),
            Evidence::Drain(presence) => self.drains(presence, member.node),
            Evidence::Missed => self.may_give_up(learner),
            Evidence::Policy if self.time > joining.since + JOIN_MAX => Ok(()),
            Evidence::Policy => Err(no(Code::Conflict, "the learner still has time to catch up")),
            Evidence::Silent => Err(no(Code::Invalid, "silence ends a lease, not a membership")),
        }
    }

    /// The learner votes and the member whose vote it takes over leaves, by one joint change. Whether it caught up is
    /// known to the leader only, and not checked here: a leader that promotes too early delays its cell, no more.
    pub(super) fn promote(&mut self, learner: ReplicaId, leaves: Option<ReplicaId>) -> Result<Effects, Refusal> {
        let Some((_, joining)) = self.members.learner().filter(|(id, _)| *id == learner) else {
            return Err(no(Code::Conflict, format!("replica {} is not joining", learner.0)));
        };
        if joining.replaces != leaves {
            return Err(no(Code::Conflict, "the learner came for another vote"));
        }
        let after = self.members.voters().filter(|member| Some(member.replica) != leaves).count() + 1;
        if after.is_multiple_of(2) && !self.policy.allow_degraded && !self.grows_to(after) {
            return Err(no(Code::Unplaceable, format!("never through {after} voters")));
        }
        let rules = self.rules;
        let Some(seat) = self.members.by_id.get_mut(&learner) else {
            return Err(no(Code::Conflict, format!("replica {} is not joining", learner.0)));
        };
        if seat.supports < rules {
            return Err(no(Code::Unsupported, format!("replica {} does not support rules {rules} yet", learner.0)));
        }
        seat.joining = None;
        seat.member.votes = true;
        if let Some(leaves) = leaves {
            self.members.leave(leaves);
        }
        Ok(Effects::head(Outcome::Done))
    }

    /// A member announces newer rules; they come into force once all voters have, from the next entry on.
    pub(super) fn support(&mut self, signed: &Signed<Support>) -> Result<Effects, Refusal> {
        let support = signed.open().map_err(|_| no(Code::Invalid, "an announcement of rules cannot be read"))?;
        if support.cell != self.cell {
            return Err(no(Code::Unauthorised, "this announcement is for another cell"));
        }
        let Some(seat) = self.members.by_id.get_mut(&support.replica) else {
            return Err(no(Code::NotFound, format!("replica {} is no member", support.replica.0)));
        };
        if signed.key() != seat.member.node.into() {
            return Err(no(Code::Unauthorised, format!("replica {} is another node's", support.replica.0)));
        }
        if support.rules < seat.supports {
            return Err(no(Code::Conflict, "support is never taken back: what was agreed on may be in force"));
        }
        seat.supports = support.rules;
        let voters = self.members.by_id.values().filter(|seat| seat.member.votes);
        let common = voters.map(|seat| seat.supports).min().unwrap_or(self.rules);
        let head_changed = common > self.rules;
        self.rules = self.rules.max(common);
        Ok(Effects { outcome: Outcome::Done, head_changed })
    }
}

/// A node whose disk was wiped rejoins under a new id. The newcomer's grant, signed by that very node, is what says so.
fn wiped(node: NodeId, member: &Member, newcomer: &Place) -> Result<(), Refusal> {
    if node == member.node && newcomer.node == node {
        return Ok(());
    }
    Err(no(Code::Invalid, "a wiped disk is told by its own node, which rejoins"))
}

fn reason(vote: Option<ReplicaId>, evidence: &Evidence) -> String {
    let taken = vote.map_or_else(|| "a further vote".to_owned(), |vote| format!("the vote of replica {}", vote.0));
    match evidence {
        Evidence::Down(_) => format!("{taken}, whose node is down"),
        Evidence::Wiped(_) => format!("{taken}, whose disk was wiped"),
        Evidence::Revoked(_) => format!("{taken}, whose node was revoked"),
        Evidence::Drain(_) => format!("{taken}, whose node drains"),
        Evidence::Missed => format!("{taken}, whom most voters miss"),
        Evidence::Policy | Evidence::Silent => format!("{taken}, as the policy wants it"),
    }
}
