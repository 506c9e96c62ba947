//! What a tenant's signed commands do, and what instances write under their leases: the two signers whose commands are
//! made exactly once.
use super::{
    Effects, RULES_OF_CONVERGING, Refusal, State, TENANT_SKEW_MAX, found, no,
    place::{self, Keeper},
    release,
};
use crate::{
    cell::{DataBatch, Outcome, Receipt, Release, TenantAction, TenantCommand, Write},
    identity::Signed,
    planted::{self, Planted},
    refusal::Code,
};

impl State {
    /// In this order: who signed it; whether it was done before; whether it is for this cell and fresh; then what it says.
    /// Only what passes the first three is remembered, so that nobody but the tenant fills the tenant's sessions.
    pub(super) fn tenant(
        &mut self,
        index: u64,
        signed: &Signed<TenantCommand>,
        receipts: &[Signed<Receipt>],
    ) -> Result<Effects, Refusal> {
        let command = signed.open().map_err(|_| no(Code::Invalid, "a tenant's command cannot be read"))?;
        if command.tenant != self.tenant || signed.key() != self.tenant_key {
            return Err(no(Code::Unauthorised, "the command is not signed by this app's tenant"));
        }
        if let Some(outcome) = self.tenant_sessions.recall(command.op, Some(command.issued))? {
            return Ok(Effects::quiet(outcome.clone()));
        }
        if command.cell != Some(self.cell) {
            return Err(no(Code::Unauthorised, "the command was signed for another cell"));
        }
        if found::skew(command.issued, self.time) > TENANT_SKEW_MAX {
            let detail = "the command was signed more than a day before or after cell time: sign it again";
            return Err(no(Code::Expired, detail));
        }
        let effects = self.perform(index, command.action, receipts).unwrap_or_else(Effects::refused);
        self.tenant_sessions.remember(command.op, Some(command.issued), effects.outcome.clone(), self.time);
        Ok(effects)
    }

    fn perform(&mut self, index: u64, action: TenantAction, receipts: &[Signed<Receipt>]) -> Result<Effects, Refusal> {
        self.not_removed()?;
        match action {
            TenantAction::Release(release) => self.release(*release, receipts),
            TenantAction::Rollback { to } => self.roll_back(to),
            TenantAction::Scale { min, max } => {
                release::check_scale(min, max)?;
                self.policy.scale.min = min;
                self.policy.scale.max = max;
                Ok(Effects::head(Outcome::Done))
            }
            TenantAction::Write(writes) => self.write(index, &writes).map(Effects::quiet),
            TenantAction::Secrets(secrets) => {
                release::check_secrets(&secrets, self.secrets.key_generation)?;
                self.secrets = secrets;
                Ok(Effects::head(Outcome::Done))
            }
            TenantAction::Remove => {
                self.removed = Some(self.time);
                self.leases.end_all();
                Ok(Effects::head(Outcome::Done))
            }
        }
    }

    /// Makes a release current. What it changes of placement is only recorded here; repair brings it about.
    fn release(&mut self, mut release: Release, receipts: &[Signed<Receipt>]) -> Result<Effects, Refusal> {
        release.policy.converging = self.known_to_converge(release.policy.converging);
        release::check(&release)?;
        if release.app != self.releases.current().release.app {
            return Err(no(Code::Conflict, "a release never changes its app's name: deploy another app"));
        }
        if release.policy.recovery != self.policy.recovery {
            return Err(no(Code::Conflict, "who may recover an app is fixed when it is created"));
        }
        if let Some(store) = release.policy.converging.iter().find(|store| self.keys.holds(store)) {
            let detail = format!(
                "the store {store:?} holds keys of the cell: a store that converges begins empty, under another name"
            );
            return Err(no(Code::Conflict, detail));
        }
        place::durable(&release.workload, &self.keepers(), receipts)?;
        self.policy = release.policy.clone();
        let number = self.releases.push(release, None, self.time);
        Ok(Effects::head(Outcome::Released(number)))
    }

    /// Makes what an earlier release said current again: its workload, environment, domains and policy, its scale included.
    fn roll_back(&mut self, to: u64) -> Result<Effects, Refusal> {
        let Some(retained) = self.releases.numbered(to) else {
            let detail = format!("release {to} is not among the {} retained ones", release::RELEASES_MAX);
            return Err(no(Code::NotFound, detail));
        };
        let release = retained.release.clone();
        self.policy = release.policy.clone();
        let number = self.releases.push(release, Some(to), self.time);
        Ok(Effects::head(Outcome::Released(number)))
    }

    /// The nodes whose receipts count for a release: members, and holders of leases.
    fn keepers(&self) -> Vec<Keeper> {
        let mut keepers: Vec<Keeper> = Vec::new();
        for member in self.members.voters() {
            let site = (member.operator, member.site.clone());
            keepers.push(Keeper { node: member.node, site, votes: true });
        }
        let learners = self.members.iter().map(|member| (member.node, member.operator, &member.site));
        let hosts = self.leases.iter().map(|lease| (lease.node, lease.operator, &lease.site));
        for (node, operator, site) in learners.chain(hosts) {
            if keepers.iter().all(|keeper| keeper.node != node) {
                keepers.push(Keeper { node, site: (operator, site.clone()), votes: false });
            }
        }
        keepers
    }

    /// Earlier rules know of no stores that converge.
    fn known_to_converge(&self, stores: Vec<String>) -> Vec<String> {
        if self.rules < RULES_OF_CONVERGING { Vec::new() } else { stores }
    }

    /// Writes keys; those of a converging store are not the cell's.
    fn write(&mut self, index: u64, writes: &[Write]) -> Result<Outcome, Refusal> {
        let elsewhere = writes.iter().map(Write::store).find(|store| self.policy.converges(store));
        if let Some(store) = elsewhere {
            let detail = format!(
                "the store {store:?} converges: the cell holds nothing of it. Write through a node that hosts the app"
            );
            return Err(no(Code::Invalid, detail));
        }
        self.keys.write(index, writes)
    }

    /// What an instance writes, signed by its node under its lease. A batch that was made before gives its stored result
    /// whatever became of the lease since.
    pub(super) fn data(&mut self, index: u64, signed: &Signed<DataBatch>) -> Result<Effects, Refusal> {
        let batch = signed.open().map_err(|_| no(Code::Invalid, "a batch of writes cannot be read"))?;
        if batch.cell != self.cell {
            return Err(no(Code::Unauthorised, "the batch was signed for another cell"));
        }
        if let Some(outcome) =
            self.data_sessions.recall(batch.op, None)?.filter(|_| !planted::has(Planted::LostSession))
        {
            return Ok(Effects::quiet(outcome.clone()));
        }
        self.on_this_line(batch.line)?;
        if batch.writer != self.writer {
            let detail = format!("writer {} is fenced: the cell's is {}", batch.writer, self.writer);
            return Err(no(Code::Fenced, detail));
        }
        self.leases.may_write(batch.instance, batch.generation, signed.key())?;
        let effects = self.write(index, &batch.writes).map_or_else(Effects::refused, Effects::quiet);
        self.data_sessions.remember(batch.op, None, effects.outcome.clone(), self.time);
        Ok(effects)
    }
}
