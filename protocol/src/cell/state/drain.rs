//! What a draining node's word is worth. A node that its operator empties says so in its presence; that is evidence for giving
//! its votes and leases to others, and no more: it goes on voting and serving until they have taken over.
use super::{RULES_OF_DRAIN, Refusal, State, no};
use crate::{
    cell::{InstanceState, Relief},
    codec,
    id::{InstanceId, NodeId},
    identity::Signed,
    membership::Presence,
    record::{Kind, RecordBody},
    refusal::Code,
};

impl State {
    /// Whether `presence` is that node's own, in time by cell time, and says that it drains. One that the node has taken
    /// back since counts until it expires: a leader that keeps it moves a vote to another lawful host, and no more.
    pub(super) fn drains(&self, presence: &Signed<RecordBody>, node: NodeId) -> Result<(), Refusal> {
        let unfit = |what: &str| Err(no(Code::Invalid, format!("the word of node {node:?} that it drains {what}")));
        if self.rules < RULES_OF_DRAIN {
            let detail = format!("this cell is still on rules {}: draining comes with {RULES_OF_DRAIN}", self.rules);
            return Err(no(Code::Unsupported, detail));
        }
        let Ok(record) = presence.open() else { return unfit("cannot be read") };
        if record.kind != Kind::PRESENCE || record.expires <= self.time {
            return unfit("is another kind of record, or expired");
        }
        if presence.key() != node.into() || record.subject.0 != node.0 {
            return unfit("is another node's");
        }
        match codec::decode::<Presence>("presence", &record.content) {
            Ok(presence) if presence.draining.is_some() => Ok(()),
            Ok(_) => unfit("says that it does not"),
            Err(_) => unfit("cannot be read"),
        }
    }

    /// The lease that a newcomer relieves, if its node drains.
    pub(super) fn relieved(&self, relief: &Relief) -> Result<InstanceId, Refusal> {
        let Some(lease) = self.leases.iter().find(|lease| lease.instance == relief.instance) else {
            return Err(no(Code::NotFound, format!("instance {} has no lease to be relieved of", relief.instance)));
        };
        self.drains(&relief.presence, lease.node)?;
        Ok(lease.instance)
    }

    /// Whether another instance than this serves, or none is wanted any more.
    pub(super) fn served_beside(&self, instance: InstanceId) -> Result<(), Refusal> {
        let mut others = self.leases.iter().filter(|lease| lease.instance != instance);
        if self.removed.is_some() || others.any(|lease| lease.state == InstanceState::Running) {
            return Ok(());
        }
        Err(no(Code::Conflict, "no other instance serves yet: the one on the draining node stays until then"))
    }
}
