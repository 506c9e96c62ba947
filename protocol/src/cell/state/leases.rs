//! Leases: who may run an instance and write for it, until when, and when one may be ended.
//!
//! A lease runs on its holder's own clock from the moment that it asked for the last renewal, and the cell stamped that
//! renewal later than that. So once cell time is past `renewed + duration`, the holder has stopped believing in it.
//!
//! That holds while one leader stamps. Cell time may jump ahead at a change of leaders, by as much as their clocks differ
//! (followers drop stamps more than 30 s ahead of their own); so a leader also waits a lease's time by its own `Instant`
//! from when it began to lead. If it does not, two instances may answer for a moment: harm to nobody's state, for the one
//! whose lease has ended writes no more.
use std::{collections::BTreeMap, time::Duration};

use minicbor::{Decode, Encode};

use super::{
    Effects, RULES_OF_CUT, RULES_OF_DRAIN, Refusal, State, no,
    place::{self, Cost, Place},
};
use crate::{
    cell::{Candidate, Evidence, Grant, InstanceState, LeaseInfo, Outcome, Relief, Renewal, Role},
    codec,
    id::{CellId, InstanceId, NodeId},
    identity::{PublicKey, Signed},
    membership::{Liveness, Verdict},
    planted::{self, Planted},
    record::{Kind, RecordBody},
    refusal::Code,
    time::Timestamp,
};

/// A lease lasts so long after each renewal, on its holder's own clock. Longer: a dead host's instance is missed longer;
/// shorter: a short cut stops instances.
pub const LEASE: Duration = Duration::from_secs(10);
/// A lease is ended for mere silence only so long after it ran out.
pub const SILENCE_MARGIN: Duration = Duration::from_secs(2);
/// What a host says of a failure is kept up to so many bytes.
pub const FAILURE_BYTES_MAX: usize = 512;
/// At most so many verdicts are carried as evidence.
pub const VERDICTS_MAX: usize = 32;

/// Fewer verdicts are no evidence: one voice is not two, as in `membership`.
const VERDICTS_MIN: usize = 2;

/// The leases not ended.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Leases {
    #[n(0)]
    by_number: BTreeMap<u64, Held>,
    /// The highest number given so far: none is given twice.
    #[n(1)]
    numbered: u64,
    /// The highest generation so far.
    #[n(2)]
    generation: u64,
}

#[derive(Clone, Debug, Encode, Decode)]
struct Held {
    #[n(0)]
    info: LeaseInfo,
    /// Of the last renewal.
    #[n(1)]
    serial: u64,
    #[n(2)]
    cost: Cost,
}

impl Leases {
    pub(super) fn iter(&self) -> impl Iterator<Item = &LeaseInfo> {
        self.by_number.values().map(|held| &held.info)
    }

    pub(super) fn costs(&self) -> impl Iterator<Item = Cost> {
        self.by_number.values().map(|held| held.cost)
    }

    pub(super) fn costs_without(&self, gone: Option<InstanceId>) -> impl Iterator<Item = Cost> {
        let stay = self.by_number.values().filter(move |held| Some(held.info.instance) != gone);
        stay.map(|held| held.cost)
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn on(&self, node: NodeId) -> Option<&LeaseInfo> {
        self.iter().find(|lease| lease.node == node)
    }

    pub(super) fn end_all(&mut self) {
        self.by_number.clear();
    }

    /// A founding lease.
    pub(super) fn found(&mut self, instance: InstanceId, place: Place, why: String, founded: Timestamp) {
        self.generation = 1;
        self.numbered = self.numbered.max(instance.number);
        self.insert(instance, place, why, founded);
    }

    /// A lease under the next number and generation.
    fn grant(&mut self, cell: CellId, place: Place, why: String, now: Timestamp) {
        self.generation = self.generation.saturating_add(1);
        self.numbered = self.numbered.saturating_add(1);
        self.insert(InstanceId { cell, number: self.numbered }, place, why, now);
    }

    fn insert(&mut self, instance: InstanceId, place: Place, why: String, now: Timestamp) {
        let cost = place.cost;
        let info = LeaseInfo {
            instance,
            node: place.node,
            operator: place.operator,
            operator_name: place.operator_name,
            site: place.site,
            jurisdiction: place.jurisdiction,
            generation: self.generation,
            duration: LEASE,
            renewed: now,
            state: InstanceState::Starting,
            why,
            sealing: place.sealing,
        };
        self.by_number.insert(instance.number, Held { info, serial: 0, cost });
    }

    /// The lease of `instance`, if it is `generation` that holds, and `key` is its holder's.
    fn held(&self, instance: InstanceId, generation: u64, key: PublicKey) -> Result<&Held, Refusal> {
        let held = self.by_number.get(&instance.number).filter(|held| held.info.instance == instance);
        let Some(held) = held else {
            return Err(no(Code::Fenced, format!("the lease of instance {instance} has ended")));
        };
        if held.info.generation != generation {
            let current = held.info.generation;
            return Err(no(Code::Fenced, format!("instance {instance} is in generation {current}, not {generation}")));
        }
        if key != held.info.node.into() {
            return Err(no(Code::Unauthorised, format!("instance {instance} is another node's")));
        }
        Ok(held)
    }

    /// Whether `key` may write for `instance`.
    pub(super) fn may_write(&self, instance: InstanceId, generation: u64, key: PublicKey) -> Result<(), Refusal> {
        match self.held(instance, generation, key) {
            Err(refusal) if refusal.code == Code::Fenced && planted::has(Planted::ForgottenFence) => Ok(()),
            Err(refusal) if refusal.code == Code::Unauthorised && planted::has(Planted::UnsignedCommand) => Ok(()),
            held => held.map(|_| ()),
        }
    }
}

impl State {
    /// A host keeps its lease, and says how its instance is. A lease that ran out and was not ended is renewed too: its
    /// host was cut off, and nobody took its place.
    pub(super) fn renew(&mut self, signed: &Signed<Renewal>) -> Result<Effects, Refusal> {
        let renewal = signed.open().map_err(|_| no(Code::Invalid, "a renewal cannot be read"))?;
        self.on_this_line(renewal.line)?;
        let serial = self.leases.held(renewal.instance, renewal.generation, signed.key())?.serial;
        if renewal.serial <= serial {
            return Err(no(Code::Conflict, format!("renewal {} is behind {serial}", renewal.serial)));
        }
        let now = self.time;
        let held = self.leases.by_number.get_mut(&renewal.instance.number).expect("it was found held just above");
        let state = bounded(renewal.state);
        let head_changed = held.info.state != state;
        held.info.state = state;
        held.info.renewed = now;
        held.serial = renewal.serial;
        Ok(Effects { outcome: Outcome::Done, head_changed })
    }

    /// Gives a host a lease: the same checks as of a founding instance, and room below the scale's upper bound. A lease
    /// that the newcomer relieves does not count: so there is one more than the policy wants, until that one ends.
    pub(super) fn grant_lease(
        &mut self,
        candidate: &Candidate,
        grant: &Signed<Grant>,
        relieves: Option<&Relief>,
    ) -> Result<Effects, Refusal> {
        self.not_removed()?;
        let relieved =
            relieves.filter(|_| self.rules >= RULES_OF_DRAIN).map(|relief| self.relieved(relief)).transpose()?;
        let held = self.leases.len() - usize::from(relieved.is_some());
        if held >= self.policy.scale.max as usize {
            return Err(no(Code::Conflict, format!("the policy wants at most {} instances", self.policy.scale.max)));
        }
        let place = self.wanted(Role::Instance).accept(candidate, grant)?;
        if self.leases.on(place.node).is_some() {
            return Err(no(Code::Conflict, format!("node {:?} holds a lease of this app already", place.node)));
        }
        let others = self.members.costs([None, None]).chain(self.leases.costs_without(relieved));
        place::affordable(&self.policy, others.chain([place.cost]))?;
        let why = format!(
            "the cell wanted another instance: {} at {} in {} said yes",
            place.operator_name, place.site, place.jurisdiction
        );
        self.leases.grant(self.cell, place, why, self.time);
        Ok(Effects::head(Outcome::Done))
    }

    /// Ends a lease for good, if the evidence bears it.
    pub(super) fn end_lease(
        &mut self,
        instance: InstanceId,
        generation: u64,
        evidence: &Evidence,
    ) -> Result<Effects, Refusal> {
        let held = self.leases.by_number.get(&instance.number).filter(|held| held.info.instance == instance);
        let Some(Held { info, .. }) = held.filter(|held| held.info.generation == generation) else {
            return Err(no(Code::Conflict, format!("instance {instance} has no lease of generation {generation}")));
        };
        let runs_out = info.renewed + info.duration;
        match evidence {
            Evidence::Silent if self.time > runs_out + self.patience_with(info) => {}
            Evidence::Silent => return Err(no(Code::Conflict, "its host is not silent for long enough")),
            Evidence::Down(verdicts) => {
                down(verdicts, info.node, self.time)?;
                if self.time <= runs_out {
                    return Err(no(Code::Conflict, "its holder may still believe in this lease"));
                }
            }
            Evidence::Policy if self.unwanted(info) => {}
            Evidence::Policy => return Err(no(Code::Conflict, "the policy wants this instance")),
            // Its holder may still believe in it; but nothing that it writes shall count any more.
            Evidence::Revoked(ruled) => self.revoked(ruled, info.node, info.operator)?,
            // It still believes in it, and goes on serving until it hears of the end: by then another must serve.
            Evidence::Drain(presence) => {
                self.drains(presence, info.node)?;
                self.served_beside(instance)?;
            }
            Evidence::Wiped(_) => return Err(no(Code::Invalid, "a wiped disk ends no lease")),
            Evidence::Missed => return Err(no(Code::Invalid, "voters miss members; a lease ends by its own silence")),
        }
        self.leases.by_number.remove(&instance.number);
        Ok(Effects::head(Outcome::Done))
    }

    /// How long after it ran out a lease may be ended for mere silence. One away may be silent because of a cut, which its app
    /// has a contract for.
    pub(in crate::cell) fn patience_with(&self, lease: &LeaseInfo) -> Duration {
        if self.rules >= RULES_OF_CUT && self.policy.is_away(lease.jurisdiction) {
            return self.policy.cut.lost_after.max(SILENCE_MARGIN);
        }
        SILENCE_MARGIN
    }

    /// Whether the policy can do without this lease: there are more than the scale's lower bound, its host says that it
    /// cannot start, or it stands where the policy of the current release places none.
    fn unwanted(&self, lease: &LeaseInfo) -> bool {
        self.leases.len() > self.policy.scale.min as usize
            || matches!(lease.state, InstanceState::Failed(_))
            || !place::allows(&self.policy, Role::Instance, lease.jurisdiction)
    }
}

/// Whether `verdicts` say that `about` does not answer, as far as entry and state can tell: each is a record of a verdict
/// about that node, signed by the observer that it names, which is another node, not expired by cell time, and no two
/// are of one observer.
///
/// What they cannot tell: whether the signers are the observers that rendezvous hashing drew for the node, whether their
/// certificates hold, whether they are of distinct operators, and how many make a quorum, for none of this is in the
/// entry. So a leader with accomplices can accuse; it is why a verdict alone ends no lease that its holder may still
/// believe in, and why it brings a newcomer in only through the newcomer's own signed grant.
pub(super) fn down(verdicts: &[Signed<RecordBody>], about: NodeId, now: Timestamp) -> Result<(), Refusal> {
    let unfit = |what: &str| Err(no(Code::Invalid, format!("a verdict on node {about:?} {what}")));
    if verdicts.len() < VERDICTS_MIN || verdicts.len() > VERDICTS_MAX {
        return unfit("stands alone, or there are too many");
    }
    let mut observers = std::collections::BTreeSet::new();
    for signed in verdicts {
        let Ok(record) = signed.open() else { return unfit("cannot be read") };
        if record.kind != Kind::VERDICT || record.expires <= now {
            return unfit("is another kind of record, or expired");
        }
        let Ok(verdict) = codec::decode::<Verdict>("verdict", &record.content) else { return unfit("cannot be read") };
        if verdict.about != about || verdict.observer == about {
            return unfit("is about another node, or its own");
        }
        if signed.key() != verdict.observer.into() {
            return unfit("is not signed by its observer");
        }
        match verdict.state {
            Liveness::Down | Liveness::UnreachableFrom(_) => {}
            Liveness::Alive => return unfit("says that it lives"),
        }
        if !observers.insert(verdict.observer) {
            return unfit("is there twice");
        }
    }
    Ok(())
}

/// What a host says, cut where its words are too many.
fn bounded(state: InstanceState) -> InstanceState {
    match state {
        InstanceState::Failed(mut why) => {
            why.truncate(why.floor_char_boundary(FAILURE_BYTES_MAX));
            InstanceState::Failed(why)
        }
        InstanceState::Starting | InstanceState::Running => state,
    }
}
