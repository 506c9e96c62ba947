//! What the part that answers guests away says, and who listens.
use super::{HandOver, Node};
use crate::{
    away,
    caller::{Owner, What},
    command::Reply,
    lease,
    refusal::{Code, Refusal},
};

impl Node {
    pub(super) fn on_away(&mut self, output: away::Output) {
        match output {
            away::Output::Call { call, context, cell, barrier, queries } => {
                self.call(Owner::Away(call), context, cell, What::Read { barrier, queries });
            }
            away::Output::Here { request, cell, queries, age, stale } => {
                let gone = || Refusal::definite(Code::Unreachable, "the copy here has just left its cell; try again");
                let answered = self.cells.look(cell, &queries).ok_or_else(gone);
                self.reply(request, answered.map(|answered| Reply::GuestRead { answered, age: Some(age), stale }));
            }
            away::Output::Answered { request, answered } => {
                self.reply(request, Ok(Reply::GuestRead { answered, age: None, stale: false }));
            }
            away::Output::Write { context, instance, generation, writes } => {
                self.hand(HandOver::Leases(lease::Input::Write { context, instance, generation, writes }));
            }
            away::Output::Refuse { request, refusal } => self.reply(request, Err(refusal)),
        }
    }
}
