//! What the part that brings commands and questions to cells says, and who listens.
use super::{HandOver, Node};
use crate::{
    away,
    birth::SponsorInput,
    caller::{self, Owner},
    cell, cells,
    command::Reply,
    context::Context,
    frame::Frame,
    id::{CellId, NodeId},
    lease, route,
};

impl Node {
    pub(super) fn on_caller(&mut self, output: caller::Output) {
        match output {
            caller::Output::Send { to, cell, context, message } => self.hand_to_replica(to, cell, context, message),
            caller::Output::Locate(cell) => self.hand(HandOver::Router(route::Input::Locate(cell))),
            caller::Output::Done { owner, result } => match owner {
                Owner::Leases(call) => self.hand(HandOver::Leases(lease::Input::Called { call, result })),
                Owner::Away(call) => self.hand(HandOver::Away(away::Input::Called { call, result })),
                Owner::Sponsor(call) => self.hand(HandOver::Sponsor(SponsorInput::Called { call, result })),
                Owner::Person(request) => {
                    let reply = result.map(|answer| match answer {
                        caller::Answer::Applied(applied) => Reply::Applied(applied),
                        caller::Answer::Answered(answered) => Reply::Answered(answered),
                    });
                    self.reply(request, reply);
                }
            },
        }
    }

    fn hand_to_replica(&mut self, to: NodeId, cell: CellId, context: Context, message: cell::Message) {
        if to != self.identity.node() {
            return self.send(to, Frame::Cell { cell, message });
        }
        let input = match message {
            cell::Message::Propose { command, .. } => cell::Input::Propose { context, command },
            cell::Message::Read { barrier, queries, .. } => cell::Input::Read { context, barrier, queries },
            cell::Message::Raft { .. }
            | cell::Message::Outcome { .. }
            | cell::Message::Answers { .. }
            | cell::Message::Sleep { .. }
            | cell::Message::Slept { .. }
            | cell::Message::Prove { .. }
            | cell::Message::Committed { .. }
            | cell::Message::Outdated { .. }
            | cell::Message::Recovered(_)
            | cell::Message::Survey { .. }
            | cell::Message::Surveyed { .. }
            | cell::Message::Recover { .. }
            | cell::Message::Carried { .. }
            | cell::Message::Wake { .. } => {
                unreachable!("a caller proposes and reads")
            }
        };
        self.hand(HandOver::Cells(cells::Input::To { cell, input: Box::new(input) }));
    }
}
