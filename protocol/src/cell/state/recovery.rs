//! A line ends, and the next one begins: what a recovery must prove, and the first state that it makes.
//!
//! It is no entry of a log, for the log that it ends has nobody left who could agree: as at a cell's founding the first state
//! is a snapshot. Everything is checked against what the survivor itself has agreed on: who the tenant is, and whom the policy
//! named when the app was created.
use std::{collections::BTreeSet, time::Duration};

use super::{RULES_OF_RECOVERY, Refusal, State, no};
use crate::{
    cell::{Carried, RECOVERERS_MAX, RECOVERY_VALID_MAX, Recovered, Recovery, RecoveryPapers},
    codec,
    id::{OperatorId, PartyId},
    identity::{Lineage, Party, PublicKey, Signed, Standing},
    refusal::Code,
    time::Timestamp,
};

/// Clocks of who makes a recovery and of who carries it out may differ by so much.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_mins(1);

impl State {
    /// The first state of the next line: all that this one has applied, and the survivor as its only voter.
    ///
    /// # Errors
    /// What is wanting; nothing has changed then.
    pub fn recover(
        &self,
        papers: RecoveryPapers,
        at: Timestamp,
        seal: impl FnOnce(&Carried) -> Signed<Carried>,
    ) -> Result<Self, Refusal> {
        self.not_removed()?;
        let recovery = self.weigh(&papers)?;
        in_time(&recovery, at)?;
        if recovery.line != self.line {
            let detail = format!("this recovery ends line {}, and the cell is on line {}", recovery.line, self.line);
            return Err(no(Code::Fenced, detail));
        }
        let base = recovery.base;
        if self.node_of(base.replica) != Some(base.node) || base.index != self.applied {
            return Err(no(Code::Conflict, "this recovery begins with what this replica does not hold: look again"));
        }
        let mut next = self.clone();
        let Some(replica) = next.members.stand_alone(base.replica, RULES_OF_RECOVERY) else {
            return Err(no(Code::Conflict, format!("replica {} is no member any more", base.replica.0)));
        };
        next.line += 1;
        next.writer += 1;
        next.rules = next.rules.max(RULES_OF_RECOVERY);
        next.time = next.time.max(at);
        next.advance(self.applied + 1);
        let carried = Carried {
            recovery: papers.statement.hash(),
            cell: self.cell,
            line: next.line,
            index: next.applied,
            replica,
            at,
        };
        let recovered = Recovered { papers, carried: seal(&carried) };
        next.chain(next.applied, &codec::encode(&recovered), b"");
        next.recovered = Some(Box::new(recovered));
        Ok(next)
    }

    /// Whether this shows that the line of this state has ended, and which one has begun.
    ///
    /// # Errors
    /// Why it does not.
    pub fn is_ended_by(&self, recovered: &Recovered) -> Result<Recovery, Refusal> {
        let recovery = self.weigh(&recovered.papers)?;
        let carried = recovered.carried.open().map_err(|_| no(Code::Invalid, "a recovery's end cannot be read"))?;
        if recovered.carried.key() != PublicKey::from(recovery.base.node) {
            return Err(no(Code::Unauthorised, "that it was carried out is not said by the survivor that it names"));
        }
        let same = carried.recovery == recovered.papers.statement.hash() && carried.cell == self.cell;
        if !same || carried.line != recovery.line.saturating_add(1) {
            return Err(no(Code::Invalid, "what was carried out is another recovery"));
        }
        in_time(&recovery, carried.at)?;
        if carried.line < self.line || (carried.line == self.line && !self.yields_to(&recovered.papers, &recovery)) {
            return Err(no(Code::Fenced, format!("the cell is on line {} already", self.line)));
        }
        Ok(recovery)
    }

    /// Of two recoveries of one line, which only a tenant brings about who accepts a fork twice, the one that was made later stands;
    /// of one moment, the one with the higher hash.
    fn yields_to(&self, papers: &RecoveryPapers, recovery: &Recovery) -> bool {
        let own = self.recovered.as_ref().map(|it| &it.papers.statement);
        let Some((own, made)) = own.and_then(|own| Some((own, own.open().ok()?.made))) else { return false };
        (recovery.made, papers.statement.hash()) > (made, own.hash())
    }

    /// What ended the line before this one; `None`: this is the first.
    #[must_use]
    pub fn recovered(&self) -> Option<&Recovered> {
        self.recovered.as_deref()
    }

    /// Whether the right parties signed, from this state alone.
    ///
    /// # Errors
    /// Who is missing, or what.
    pub(crate) fn weigh(&self, papers: &RecoveryPapers) -> Result<Recovery, Refusal> {
        let recovery = papers.statement.open().map_err(|_| no(Code::Invalid, "a recovery cannot be read"))?;
        if recovery.cell != self.cell || recovery.mesh != self.mesh {
            return Err(no(Code::Unauthorised, "the recovery was signed for another cell"));
        }
        let keys: BTreeSet<PublicKey> = papers.statement.keys().collect();
        if !keys.contains(&self.tenant_now(&papers.tenant)?) {
            return Err(no(Code::Unauthorised, "the recovery is not signed by this app's tenant"));
        }
        let wanted = &self.policy.recovery;
        let mut signed: BTreeSet<OperatorId> = BTreeSet::new();
        for lineage in papers.operators.iter().take(RECOVERERS_MAX) {
            let Ok(descent) = lineage.descent() else { continue };
            let named = wanted.operators.iter().find(|operator| PartyId::from(**operator) == descent.party);
            if let Some(operator) = named.filter(|_| lineage.genesis.party == Party::Operator)
                && keys.contains(&descent.key())
            {
                signed.insert(*operator);
            }
        }
        let (given, needed) = (signed.len(), wanted.threshold as usize);
        if given < needed {
            let detail = format!(
                "the recovery is signed by {given} of the operators that the app's policy names, and {needed} of {} must \
                 sign",
                wanted.operators.len()
            );
            return Err(no(Code::Unauthorised, detail));
        }
        Ok(recovery)
    }

    /// The tenant's key by a lineage that this cell does not know better than.
    fn tenant_now(&self, lineage: &Lineage) -> Result<PublicKey, Refusal> {
        let refuse = |why: String| no(Code::Unauthorised, why);
        let shown =
            lineage.descent().map_err(|error| refuse(format!("the tenant's lineage does not count: {error}")))?;
        if lineage.genesis.party != Party::Tenant || shown.party != PartyId::from(self.tenant) {
            return Err(refuse("the recovery is of another tenant".to_owned()));
        }
        let known = self.tenant_lineage.clone().unwrap_or_else(|| Lineage::first(lineage.genesis.clone()));
        let known = known.descent().map_err(|error| refuse(error.to_string()))?;
        match shown.against(&known) {
            Standing::Same | Standing::Outranks => Ok(shown.key()),
            Standing::Outranked | Standing::Forked => {
                Err(refuse("the recovery is signed by a key that the tenant has replaced".to_owned()))
            }
        }
    }
}

/// Whether a recovery may be carried out at that time.
pub(in crate::cell) fn in_time(recovery: &Recovery, at: Timestamp) -> Result<(), Refusal> {
    if recovery.until.since(recovery.made) > RECOVERY_VALID_MAX {
        return Err(no(Code::Invalid, "a recovery is valid for a day at most"));
    }
    if recovery.made > at + CLOCKS_DIFFER_MAX {
        return Err(no(Code::Invalid, "the recovery was made later than now: a clock is wrong"));
    }
    if recovery.until <= at {
        return Err(no(Code::Expired, "the recovery has expired: look at what is left, and make another"));
    }
    Ok(())
}
