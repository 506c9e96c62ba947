//! How one part is stepped and drained: the same for each of them, so that `node.rs` shows only who listens to whom.
use super::{HandOver, Node, Part};
use crate::{
    away::View, command::Reply, converge::Converge, frame::Frame, id::CellId, machine::Machine as _, reach,
    survey::Surveyor, time::Now,
};

impl Node {
    /// What is known here of a cell, for its instances here.
    fn view(&self, cell: CellId) -> Option<View> {
        let description = self.leases.description(cell)?;
        Some(View { description, copy: self.cells.standing(cell) })
    }

    pub(super) fn deliver(&mut self, now: Now, hand_over: HandOver) -> Option<Part> {
        let me = self.identity.node();
        Some(match hand_over {
            HandOver::Reach(reach::Input::Send { to, frame: Frame::Birth(message) }) if to == me => {
                self.on_birth(me, message);
                return None;
            }
            HandOver::Reach(input) => {
                self.reach.handle_input(now, input);
                Part::Reach
            }
            HandOver::Membership(input) => {
                self.membership.handle_input(now, input);
                Part::Membership
            }
            HandOver::Roll(input) => {
                self.roll.handle_input(now, input);
                Part::Roll
            }
            HandOver::Market(input) => {
                self.market.handle_input(now, input);
                Part::Market
            }
            HandOver::Cells(input) => {
                self.cells.handle_input(now, input);
                Part::Cells
            }
            HandOver::Caller(input) => {
                self.caller.handle_input(now, input);
                Part::Caller
            }
            HandOver::Leases(input) => {
                self.leases.handle_input(now, input);
                Part::Leases
            }
            HandOver::Host(input) => {
                self.host.handle_input(now, input);
                Part::Host
            }
            HandOver::Sponsor(input) => {
                self.sponsor.handle_input(now, input);
                Part::Sponsor
            }
            HandOver::Router(input) => {
                self.router.handle_input(now, input);
                Part::Router
            }
            HandOver::Away(input) => {
                let view = self.away.concerns(&input).and_then(|cell| self.view(cell));
                self.away.look(view);
                self.away.handle_input(now, input);
                Part::Away
            }
            HandOver::Converge(input) => {
                let view = Converge::concerns(&input).and_then(|cell| self.leases.description(cell));
                self.converge.look(view);
                self.converge.handle_input(now, input);
                Part::Converge
            }
            HandOver::Departure(input) => {
                self.departure.handle_input(now, input);
                Part::Departure
            }
            HandOver::Surveyor(input) => {
                let about = Surveyor::concerns(&input);
                let view = about.map(|(cell, papers)| self.view_of_loss(now, cell, papers));
                self.surveyor.look(view);
                self.surveyor.handle_input(now, input);
                Part::Surveyor
            }
            HandOver::Drained(request) => {
                let shown = self.drain_shown(now.wall);
                self.reply(request, Ok(Reply::Drained(Box::new(shown))));
                return None;
            }
            HandOver::Timeout(part) => {
                self.time_out(now, part);
                part
            }
        })
    }

    fn time_out(&mut self, now: Now, part: Part) {
        match part {
            Part::Reach => self.reach.handle_timeout(now),
            Part::Membership => self.membership.handle_timeout(now),
            Part::Roll => self.roll.handle_timeout(now),
            Part::Market => self.market.handle_timeout(now),
            Part::Cells => self.cells.handle_timeout(now),
            Part::Caller => self.caller.handle_timeout(now),
            Part::Leases => self.leases.handle_timeout(now),
            Part::Host => self.host.handle_timeout(now),
            Part::Sponsor => self.sponsor.handle_timeout(now),
            Part::Router => self.router.handle_timeout(now),
            Part::Away => self.away.handle_timeout(now),
            Part::Converge => self.converge.handle_timeout(now),
            Part::Departure => self.departure.handle_timeout(now),
            Part::Surveyor => self.surveyor.handle_timeout(now),
        }
    }

    pub(super) fn drain(&mut self, part: Part) {
        let deadline = match part {
            Part::Reach => {
                while let Some(output) = self.reach.poll_output() {
                    self.on_reach(output);
                }
                self.reach.poll_timeout()
            }
            Part::Membership => {
                while let Some(output) = self.membership.poll_output() {
                    self.on_membership(output);
                }
                self.membership.poll_timeout()
            }
            Part::Roll => {
                while let Some(output) = self.roll.poll_output() {
                    self.on_roll(output);
                }
                self.roll.poll_timeout()
            }
            Part::Market => {
                while let Some(output) = self.market.poll_output() {
                    self.on_market(output);
                }
                self.market.poll_timeout()
            }
            Part::Cells => {
                while let Some(output) = self.cells.poll_output() {
                    self.on_cells(output);
                }
                self.cells.poll_timeout()
            }
            Part::Caller => {
                while let Some(output) = self.caller.poll_output() {
                    self.on_caller(output);
                }
                self.caller.poll_timeout()
            }
            Part::Leases => {
                while let Some(output) = self.leases.poll_output() {
                    self.on_leases(output);
                }
                self.leases.poll_timeout()
            }
            Part::Host => {
                while let Some(output) = self.host.poll_output() {
                    self.on_host(output);
                }
                self.host.poll_timeout()
            }
            Part::Sponsor => {
                while let Some(output) = self.sponsor.poll_output() {
                    self.on_sponsor(output);
                }
                self.sponsor.poll_timeout()
            }
            Part::Router => {
                while let Some(output) = self.router.poll_output() {
                    self.on_router(output);
                }
                self.router.poll_timeout()
            }
            Part::Away => {
                while let Some(output) = self.away.poll_output() {
                    self.on_away(output);
                }
                self.away.poll_timeout()
            }
            Part::Converge => {
                while let Some(output) = self.converge.poll_output() {
                    self.on_converge(output);
                }
                self.converge.poll_timeout()
            }
            Part::Departure => {
                while let Some(output) = self.departure.poll_output() {
                    self.on_departure(output);
                }
                self.departure.poll_timeout()
            }
            Part::Surveyor => {
                while let Some(output) = self.surveyor.poll_output() {
                    self.on_surveyor(output);
                }
                self.surveyor.poll_timeout()
            }
        };
        self.agenda.set(part, deadline);
    }
}
