//! Keys that are dead to this cell: the tenant's earlier ones, and those of nodes that their operators have revoked. Both
//! prove themselves, so any member may propose them; they are checked here against the state alone.
use super::{Effects, Refusal, State, no};
use crate::{
    cell::Outcome,
    id::{NodeId, OperatorId, PartyId},
    identity::{Descent, FOR_EVER, Lineage, Party, Ruled, Standing},
    refusal::Code,
};

impl State {
    /// The tenant has another key. Commands by the one before are refused from now on, whenever they were signed.
    pub(super) fn succeed(&mut self, lineage: &Lineage) -> Result<Effects, Refusal> {
        self.knows_keys()?;
        let heir = self.heir(lineage)?;
        self.tenant_key = heir.key();
        self.tenant_lineage = Some(lineage.clone());
        Ok(Effects::quiet(Outcome::Done))
    }

    /// What a lineage comes to that outranks what this cell knows of its tenant's keys.
    pub(super) fn heir(&self, lineage: &Lineage) -> Result<Descent, Refusal> {
        let refuse = |why: String| no(Code::Unauthorised, why);
        let heir =
            lineage.descent().map_err(|error| refuse(format!("the tenant's lineage does not count: {error}")))?;
        if lineage.genesis.party != Party::Tenant || heir.party != PartyId::from(self.tenant) {
            return Err(refuse("this lineage is not the tenant's".to_owned()));
        }
        let known = self.tenant_lineage.clone().unwrap_or_else(|| Lineage::first(lineage.genesis.clone()));
        let known = known.descent().map_err(|error| refuse(error.to_string()))?;
        match heir.against(&known) {
            Standing::Outranks => Ok(heir),
            Standing::Same => Err(no(Code::Conflict, "this is the tenant's key already")),
            Standing::Outranked => Err(no(Code::Conflict, "a later lineage of the tenant is known to this cell")),
            Standing::Forked => {
                Err(no(Code::Conflict, "another succession of the tenant is known to this cell: it must be recovered"))
            }
        }
    }

    /// Whether its operator has revoked a member or host for ever.
    pub(super) fn revoked(&self, ruled: &Ruled, node: NodeId, operator: OperatorId) -> Result<(), Refusal> {
        self.knows_keys()?;
        let (ruling, _) = ruled
            .accept()
            .map_err(|error| no(Code::Unauthorised, format!("the revocation does not count: {error}")))?;
        if ruling.node != node || ruling.operator != operator {
            return Err(no(Code::Invalid, "the revocation is of another node, or not by its operator"));
        }
        if ruling.below != FOR_EVER {
            return Err(no(Code::Invalid, "the node's operator lets it go on with a later certificate"));
        }
        Ok(())
    }
}
