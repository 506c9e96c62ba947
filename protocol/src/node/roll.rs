//! Who counts, told to every part that meets strangers.
use super::{HandOver, Node};
use crate::{birth::SponsorInput, capacity, charter, io::Output, membership, reach, route};

impl Node {
    pub(super) fn on_roll(&mut self, output: charter::Output) {
        match output {
            charter::Output::Say(draft) => self.hand(HandOver::Membership(membership::Input::Say(draft))),
            charter::Output::Counted { admitted, dominance_permille } => {
                self.hand(HandOver::Reach(reach::Input::Counted(admitted.clone())));
                self.hand(HandOver::Membership(membership::Input::Counted(admitted.clone())));
                self.hand(HandOver::Sponsor(SponsorInput::Counted(admitted.clone())));
                self.hand(HandOver::Market(capacity::Input::Counted { admitted, dominance_permille }));
            }
            charter::Output::Named(names) => self.hand(HandOver::Router(route::Input::Named(names))),
            charter::Output::Credentials(statements) => {
                self.hand(HandOver::Reach(reach::Input::Credentials(statements)));
            }
            charter::Output::Keep { key, value } => self.keep(key, value),
            charter::Output::Reply { request, result } => self.reply(request, result),
            charter::Output::Notice(notice) => self.outbox.push(Output::Notice(notice)),
        }
    }
}
