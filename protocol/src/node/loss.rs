//! What the part that looks for what is left of cells says, and what it is told.
use super::{HandOver, Node};
use crate::{
    caller,
    cell::{self, RecoveryPapers, Report},
    cells,
    frame::Frame,
    id::CellId,
    io::Output,
    reach::{self, Wanter},
    route, survey,
    time::Now,
};

impl Node {
    /// What is known here of a cell that may have lost its majority.
    pub(super) fn view_of_loss(&self, now: Now, cell: CellId, papers: Option<&RecoveryPapers>) -> survey::View {
        let description = self.leases.description(cell);
        let heard = description.as_ref().map(|description| (description.line, description.applied));
        let (holding, kept) = (self.cells.holding(cell, now.instant), self.cells.kept(cell).collect());
        let members = description.iter().flat_map(|description| &description.members);
        survey::View {
            report: Report { law: None, holding, heard, kept },
            members: members.map(|member| member.node).collect(),
            weighed: papers.and_then(|papers| self.cells.weigh(cell, papers)),
        }
    }

    pub(super) fn on_surveyor(&mut self, output: survey::Output) {
        match output {
            survey::Output::Send { to, cell, message } => self.send(to, Frame::Cell { cell, message }),
            survey::Output::Locate(cell) => self.hand(HandOver::Router(route::Input::Locate(cell))),
            survey::Output::Want { cell, peer, addresses, wanted } => {
                let by = Wanter::Survey(cell);
                self.hand(HandOver::Reach(reach::Input::Want { by, peer, addresses, wanted }));
            }
            survey::Output::Carry { cell, ticket, papers } => {
                let input = Box::new(cell::Input::Recover { ticket, papers });
                self.hand(HandOver::Cells(cells::Input::To { cell, input }));
            }
            survey::Output::Kept { cell, node } => {
                let (voters, leader) = (vec![node], Some(node));
                self.hand(HandOver::Caller(caller::Input::Located { cell, voters, leader }));
            }
            survey::Output::Reply { request, result } => self.reply(request, result),
            survey::Output::Notice(notice) => self.outbox.push(Output::Notice(notice)),
        }
    }
}
