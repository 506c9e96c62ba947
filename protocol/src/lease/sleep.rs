//! Leases of sleeping cells: their time stands still, so nobody renews them. A replica on this node says whether its cell sleeps;
//! where there is none, the leader does, and its word holds as long as the link to it does.
use super::{Leases, Output, RENEWALS_PER_LEASE, held};
use crate::{
    cell::Message,
    id::{CellId, InstanceId, NodeId},
    time::Now,
};

impl Leases {
    pub(super) fn sleeps(&self, cell: CellId) -> bool {
        self.cells.get(&cell).is_some_and(|seen| seen.asleep.is_some())
    }

    /// The replica here says so.
    pub(super) fn local_sleeps(&mut self, now: Now, cell: CellId, asleep: bool) {
        let me = self.identity.node();
        self.set_asleep(now, cell, asleep.then_some(me));
    }

    /// The leader says so, to a host without a replica.
    pub(super) fn hear(&mut self, now: Now, from: NodeId, cell: CellId, message: &Message) {
        let Some(seen) = self.cells.get(&cell).filter(|seen| !seen.local) else { return };
        let (line, members) = (seen.description.line, &seen.description.members);
        if !members.iter().any(|member| member.node == from) {
            return;
        }
        match *message {
            Message::Sleep { line: said, term, index } if said == line => {
                self.set_asleep(now, cell, Some(from));
                self.outbox.push(Output::Sleeps { cell, on: Some(from) });
                self.outbox.push(Output::Send { to: from, cell, message: Message::Slept { line, term, index } });
            }
            Message::Wake { line: said } if said == line => self.wake(now, cell),
            _ => {}
        }
    }

    /// Whatever slept on the word of this node is awake: another may lead by now, and wait for renewals.
    pub(super) fn wake_without(&mut self, now: Now, peer: NodeId) {
        let relied = self.cells.iter().filter(|(_, seen)| !seen.local && seen.asleep == Some(peer));
        for cell in relied.map(|(cell, _)| *cell).collect::<Vec<_>>() {
            self.wake(now, cell);
        }
    }

    fn wake(&mut self, now: Now, cell: CellId) {
        if self.sleeps(cell) {
            self.set_asleep(now, cell, None);
            self.outbox.push(Output::Sleeps { cell, on: None });
        }
    }

    /// Stops the clocks of a cell's leases, or starts them as if each had just been renewed.
    fn set_asleep(&mut self, now: Now, cell: CellId, on: Option<NodeId>) {
        let Some(seen) = self.cells.get_mut(&cell) else { return };
        let was_awake = std::mem::replace(&mut seen.asleep, on).is_none();
        if was_awake == on.is_none() {
            return;
        }
        let instances: Vec<InstanceId> = self.held.keys().filter(|held| held.cell == cell).copied().collect();
        for instance in instances {
            if let Some(held) = self.held.get_mut(&instance).filter(|_| on.is_none()) {
                let every = held.duration / RENEWALS_PER_LEASE;
                held.renew_at = now.instant + held::until_renewal(now.wall, cell, every);
            }
            self.arm(instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc, time::Duration};

    use super::*;
    use crate::{
        cell::{Command, Repair, Role, State, fixture},
        lease::Input,
        machine::Machine as _,
        time::Instant,
    };

    fn at(ms: u64) -> Now {
        let instant = Instant::START + Duration::from_millis(ms);
        Now { instant, wall: fixture::FOUNDED + Duration::from_millis(ms) }
    }

    fn step(leases: &mut Leases, ms: u64, input: Input) -> Vec<Output> {
        leases.handle_input(at(ms), input);
        std::iter::from_fn(|| leases.poll_output()).collect()
    }

    /// Renewals that it asks for until then, if woken for each.
    fn renewals(leases: &mut Leases, until_ms: u64) -> usize {
        let mut count = 0;
        while let Some(due) = leases.poll_timeout().filter(|due| due.at <= at(until_ms).instant) {
            let ms = u64::try_from(due.at.since(Instant::START).as_millis()).unwrap() + 1;
            leases.handle_timeout(at(ms));
            let renews = |output: &Output| {
                matches!(output, Output::Call { what: super::super::What::Submit(command), .. }
                    if matches!(**command, Command::Renew(_)))
            };
            count += std::iter::from_fn(|| leases.poll_output()).filter(renews).count();
        }
        count
    }

    /// A host without a replica that holds a lease, its cell, and the node that leads it.
    fn host() -> (Leases, State, NodeId) {
        let hosts = fixture::hosts(4);
        let mut founding = fixture::Founding::of(&hosts[..3]);
        founding.release.policy.scale.max = 3;
        let mut state = State::found(&founding.genesis()).unwrap();
        let (candidate, grant) = (hosts[3].candidate(), hosts[3].grant_to(&state, Role::Instance));
        let entry =
            fixture::entry(&state, Command::Repair(Box::new(Repair::GrantLease { candidate, grant, relieves: None })));
        state.apply(state.applied() + 1, &entry);
        let mut leases = Leases::open(hosts[3].identity(), &BTreeMap::new(), at(0));
        step(&mut leases, 0, Input::Described { description: Arc::new(state.description()), local: false });
        assert_eq!(leases.held(), 1);
        (leases, state, hosts[0].node())
    }

    fn sleep(state: &State) -> Message {
        Message::Sleep { line: state.line(), term: 2, index: state.applied() }
    }

    #[test]
    fn a_host_whose_cell_sleeps_renews_nothing_until_it_is_woken_or_loses_the_leader() {
        for wakes in [true, false] {
            let (mut leases, state, leader) = host();
            let cell = state.cell();
            assert!(renewals(&mut leases, 30_000) > 5);
            let outputs = step(&mut leases, 30_001, Input::Received { from: leader, cell, message: sleep(&state) });
            let message = Message::Slept { line: state.line(), term: 2, index: state.applied() };
            let said = [Output::Sleeps { cell, on: Some(leader) }, Output::Send { to: leader, cell, message }];
            assert_eq!(outputs, said);
            assert_eq!(renewals(&mut leases, 3_600_000), 0);
            let wake = Message::Wake { line: state.line() };
            let input =
                if wakes { Input::Received { from: leader, cell, message: wake } } else { Input::PeerDown(leader) };
            assert_eq!(step(&mut leases, 3_600_001, input), [Output::Sleeps { cell, on: None }]);
            assert!(renewals(&mut leases, 3_605_000) >= 1, "in time for a lease of ten seconds");
        }
    }

    #[test]
    fn only_members_put_a_host_to_sleep_and_other_nodes_going_wakes_nothing() {
        let (mut leases, state, leader) = host();
        let cell = state.cell();
        let stranger = NodeId([9; 32]);
        assert_eq!(step(&mut leases, 1, Input::Received { from: stranger, cell, message: sleep(&state) }), []);
        let other_line = Message::Sleep { line: state.line() + 1, term: 2, index: state.applied() };
        assert_eq!(step(&mut leases, 2, Input::Received { from: leader, cell, message: other_line }), []);
        assert!(!leases.sleeps(cell));
        step(&mut leases, 3, Input::Received { from: leader, cell, message: sleep(&state) });
        assert_eq!(step(&mut leases, 4, Input::PeerDown(stranger)), []);
        assert!(leases.sleeps(cell));
    }
}
