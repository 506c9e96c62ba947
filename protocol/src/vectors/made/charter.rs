//! What operators say to each other about who belongs.
use std::time::Duration;

use super::{NOW, key};
use crate::{
    cell::fixture,
    charter::{Ballot, Charter, Claim, Counted, Invite, InviteId, Matter, Motion, Papers, Stamp},
    codec::{self, Blob},
    identity::{Founding, Genesis, Lineage, Party, Signed},
};

/// A tenant of that mesh asks for a short name.
pub(super) fn naming(admission: &Admission) -> Signed<Motion> {
    let tenant = Lineage::first(Genesis::new(Party::Tenant, "wren", key(9).public(), NOW));
    let matter = Matter::Alias { name: "bakery".into(), tenant: Box::new(tenant) };
    let (mesh, charter) = (admission.founding.mesh(), Charter::first(&admission.founding).hash());
    Signed::seal(&key(9), &Motion { mesh, charter, matter, made: NOW })
}

/// A mesh of one founder, whom a newcomer asks to be let in by an invite.
pub(super) struct Admission {
    pub(super) founding: Founding,
    pub(super) motion: Signed<Motion>,
    pub(super) ballot: Signed<Ballot>,
    pub(super) invite: Signed<Invite>,
    pub(super) claim: Signed<Claim>,
    pub(super) stamp: Signed<Stamp>,
}

impl Admission {
    /// Of the operator whose key is 1, witnessed by this node.
    pub(super) fn witnessed_by(witness: &fixture::Host) -> Self {
        let (founder, newcomer) = (&witness.operator, super::party().genesis);
        let operators = vec![founder.genesis.clone()];
        let founding = Founding { name: "hedge".into(), operators, founded: fixture::FOUNDED };
        let (mesh, charter) = (founding.mesh(), Charter::first(&founding).hash());
        let (bearer, id) = (key(8), InviteId([7; 16]));
        let invite = Invite {
            mesh,
            charter,
            id,
            bearer: bearer.public(),
            witness: witness.node(),
            uses: 1,
            expires: NOW + Duration::from_hours(24),
            made: NOW,
        };
        let matter = Matter::Admit { operator: newcomer, invite: Some(id) };
        let motion = Signed::seal(&key(1), &Motion { mesh, charter, matter, made: NOW });
        let named = motion.hash();
        let ballot = Ballot { motion: named, elector: founder.operator_id(), yes: true, at: NOW };
        Self {
            ballot: Signed::seal(&founder.keys, &ballot),
            invite: Signed::seal(&founder.keys, &invite),
            claim: Signed::seal(&bearer, &Claim { motion: named, invite: id }),
            stamp: Signed::seal(&witness.keys, &Stamp { motion: named, invite: id, counted: Counted::Use(0), at: NOW }),
            founding,
            motion,
        }
    }

    /// The motion and all that was said to it.
    pub(super) fn papers(&self) -> Papers {
        let statements = [
            self.motion.envelope(),
            self.claim.envelope(),
            self.invite.envelope(),
            self.stamp.envelope(),
            self.ballot.envelope(),
        ];
        Papers { statements: statements.map(Clone::clone).to_vec(), founding: None }
    }

    pub(super) fn content(&self) -> Blob {
        codec::encode(&self.papers())
    }
}
