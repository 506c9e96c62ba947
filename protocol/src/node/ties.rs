//! Which nodes a cell needs, told to the parts that keep links, ask for verdicts, and watch.
use std::collections::BTreeSet;

use super::{HandOver, Node};
use crate::{
    cell,
    id::{CellId, NodeId},
    membership,
    reach::{self, Wanter},
    record::Subject,
    ties::Change,
};

impl Node {
    /// The nodes on which a sleeping cell relies are watched, each once for all cells.
    pub(super) fn watch(&mut self, cell: CellId, nodes: BTreeSet<NodeId>) {
        for Change { node: peer, needed: wanted, sole } in self.vigils.keep(cell, nodes) {
            if sole {
                self.hand(HandOver::Reach(reach::Input::Watch { peer, wanted }));
            }
        }
    }

    /// A replica's node keeps links to the nodes of its cell.
    pub(super) fn want_members(&mut self, description: &cell::Description) {
        let members: BTreeSet<NodeId> = description.members.iter().map(|member| member.node).collect();
        let home = self.identity.certificate().jurisdiction;
        let abroad = description.leases.iter().filter(|lease| lease.jurisdiction != home);
        let hosts = abroad.map(|lease| lease.node).chain(members.iter().copied()).collect();
        self.want_nodes(description.cell, members, hosts);
    }

    pub(super) fn want_nodes(&mut self, cell: CellId, members: BTreeSet<NodeId>, watched: BTreeSet<NodeId>) {
        for Change { node: peer, needed: wanted, .. } in self.ties.keep(cell, members) {
            self.want(Wanter::Cell(cell), peer, wanted);
        }
        for Change { node: peer, needed: wanted, sole } in self.watched.keep(cell, watched) {
            // Verdicts and presences stay in a node's jurisdiction: whoever depends on a node elsewhere asks for them.
            if sole {
                let subject = Subject(peer.0);
                self.hand(HandOver::Membership(membership::Input::Subscribe { subject, wanted }));
            }
        }
    }
}
