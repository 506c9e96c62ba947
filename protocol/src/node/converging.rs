//! What the part that keeps converging stores says, and who listens; and what becomes of a request that is not for them.
use std::sync::Arc;

use super::{HandOver, Node};
use crate::{
    away,
    birth::Goal,
    caller::{Owner, What},
    cell::Description,
    command::{Command, Reply},
    context::Context,
    converge,
    frame::Frame,
    io::Output,
    reach::Wanter,
    ties::Change,
    writes::Writer,
};

impl Node {
    pub(super) fn on_converge(&mut self, output: converge::Output) {
        match output {
            converge::Output::Elsewhere { context, command } => self.on_strong(context, *command),
            converge::Output::Send { to, cell, message } => self.send(to, Frame::Converge { cell, message }),
            converge::Output::Persist { cell, write, batch } => {
                let write = self.writes.number_for(Writer::Stores(cell), write);
                self.outbox.push(Output::Persist { write, batch });
            }
            converge::Output::Forget { cell, batch } => {
                self.writes.forget(Writer::Stores(cell));
                let write = self.writes.number();
                self.outbox.push(Output::Persist { write, batch });
            }
            converge::Output::GuestRead { request, answered } => {
                self.reply(request, Ok(Reply::GuestRead { answered, age: None, stale: false }));
            }
            converge::Output::Answered { request, answered } => self.reply(request, Ok(Reply::Answered(answered))),
            converge::Output::Applied { request, applied } => self.reply(request, Ok(Reply::Applied(applied))),
            converge::Output::Refuse { request, refusal } => self.reply(request, Err(refusal)),
            converge::Output::Want { cell, nodes } => {
                for Change { node: peer, needed: wanted, .. } in self.handed_over.keep(cell, nodes) {
                    self.want(Wanter::HandOver(cell), peer, wanted);
                }
            }
        }
    }

    /// What somebody asks of a cell, if its stores do not converge.
    fn on_strong(&mut self, context: Context, command: Command) {
        match command {
            Command::Submit { cell, command } => match Goal::for_release(cell, &command) {
                Some(goal) => self.start(context, goal),
                None => self.call(Owner::Person(context.request), context, cell, What::Submit(command)),
            },
            Command::Read { cell, barrier, queries } => {
                self.call(Owner::Person(context.request), context, cell, What::Read { barrier, queries });
            }
            Command::Write { instance, generation, writes } => {
                self.hand(HandOver::Away(away::Input::Write { context, instance, generation, writes }));
            }
            Command::GuestRead { instance, seen, queries } => {
                self.hand(HandOver::Away(away::Input::Read { context, cell: instance.cell, seen, queries }));
            }
            other => unreachable!("only what is asked of a cell comes by its stores: {other:?}"),
        }
    }

    /// Who belongs to a cell that has a replica or a lease here.
    pub(super) fn tell_stores(&mut self, description: &Arc<Description>) {
        self.hand(HandOver::Converge(converge::Input::Described(Arc::clone(description))));
    }
}
