//! What the part that empties this node says, and who listens.
use super::{HandOver, Node};
use crate::{birth::HostInput, capacity, command::Reply, departure, lease, membership};

impl Node {
    pub(super) fn on_departure(&mut self, output: departure::Output) {
        match output {
            departure::Output::Keep { key, value } => self.keep(key, value),
            departure::Output::Drains(since) => {
                self.hand(HandOver::Membership(membership::Input::Drain(since)));
                self.hand(HandOver::Leases(lease::Input::Drain(since.is_some())));
            }
            departure::Output::Offers(terms) => {
                self.hand(HandOver::Market(capacity::Input::Terms(terms)));
                self.hand(HandOver::Host(HostInput::Terms(terms)));
            }
            departure::Output::Done(request) => self.reply(request, Ok(Reply::Done)),
        }
    }
}
