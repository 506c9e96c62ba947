//! A node that its operator empties: it offers nothing, says so in its presence, and cells take over what it holds. What is
//! left, and whether the node may stop with that, is a pure function of what its cells say.
use std::{collections::BTreeMap, time::Duration};

use minicbor::{Decode, Encode};

use crate::{
    cell::{Description, InstanceState},
    codec::{self, Blob},
    command::{DrainShown, DrainStage, HeldShown, Terms},
    id::{CellId, NodeId, RequestId},
    machine::{Deadline, Machine, Outbox},
    time::{Now, Timestamp},
};

/// Key of what is stored.
const KEPT: &str = "departure";
/// A drain's deadline is at most so far away.
pub const DRAIN_MAX: Duration = Duration::from_hours(24 * 7);

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// How long others have to take over.
    #[n(0)]
    pub within: Duration,
    /// Past that the node may stop with whatever it still holds, as if it crashed.
    #[n(1)]
    pub as_crash: bool,
}

/// What is under way, as stored: a node that restarts still drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Drain {
    #[n(0)]
    since: Timestamp,
    #[n(1)]
    deadline: Timestamp,
    #[n(2)]
    as_crash: bool,
}

/// Input of the departure.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The operator wants the node emptied, or with `None` no more. Answered by `Done`.
    Order {
        /// Whose.
        request: RequestId,
        /// What.
        order: Option<Order>,
    },
    /// The operator changes what the node offers.
    Terms(Option<Terms>),
}

/// Output of the departure.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Keep under this key, or forget.
    Keep {
        /// Its key.
        key: Blob,
        /// Replaces the one before.
        value: Option<Blob>,
    },
    /// For the presence: since when the node drains.
    Drains(Option<Timestamp>),
    /// What the node offers from now on: nothing while it drains.
    Offers(Option<Terms>),
    /// An order was taken.
    Done(RequestId),
}

/// See the module.
#[derive(Debug)]
pub struct Departure {
    drain: Option<Drain>,
    terms: Option<Terms>,
    outbox: Outbox<Output>,
}

impl Departure {
    /// As the disk held it; what it says first is polled as output.
    #[must_use]
    pub fn open(keyed: &BTreeMap<Blob, Blob>, terms: Option<Terms>) -> Self {
        let kept = keyed.get(&Blob::from(KEPT));
        let drain = kept.and_then(|bytes| codec::decode::<Drain>("departure", bytes).ok());
        let mut this = Self { drain, terms, outbox: Outbox::default() };
        if drain.is_some() {
            this.tell();
        }
        this
    }

    fn tell(&mut self) {
        self.outbox.push(Output::Drains(self.drain.map(|drain| drain.since)));
        self.outbox.push(Output::Offers(self.terms.filter(|_| self.drain.is_none())));
    }

    fn order(&mut self, now: Now, order: Option<Order>) {
        let since = self.drain.map_or(now.wall, |drain| drain.since);
        self.drain = order.map(|Order { within, as_crash }| Drain {
            since,
            deadline: now.wall + within.min(DRAIN_MAX),
            as_crash,
        });
        self.outbox.push(Output::Keep { key: KEPT.into(), value: self.drain.as_ref().map(codec::encode) });
        self.tell();
    }

    /// What the operator offers, whether or not it is offered now.
    #[must_use]
    pub const fn terms(&self) -> Option<Terms> {
        self.terms
    }

    /// Since when the node drains.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.drain.map(|drain| drain.since)
    }

    /// How far it is. `cells`: what is known of each cell with a replica or lease here; `replicas`: of which there is a replica
    /// here, member or not any more; `down`: whom observers call down.
    pub fn progress<'a>(
        &self,
        now: Timestamp,
        me: NodeId,
        cells: impl Iterator<Item = &'a Description>,
        replicas: &[CellId],
        down: impl Fn(NodeId) -> bool,
    ) -> DrainShown {
        let held = cells.filter_map(|cell| held(cell, me, replicas.contains(&cell.cell), &down));
        let held: Vec<HeldShown> = held.collect();
        let stage = match self.drain {
            None => DrainStage::Not,
            Some(_) if held.is_empty() => DrainStage::Empty,
            Some(drain) if now < drain.deadline => DrainStage::Draining,
            Some(drain) if drain.as_crash => DrainStage::AsCrash,
            Some(_) if held.iter().all(|held| held.survives) => DrainStage::Spared,
            Some(_) => DrainStage::Refused,
        };
        DrainShown {
            stage,
            since: self.drain.map(|drain| drain.since),
            deadline: self.drain.map(|drain| drain.deadline),
            held,
        }
    }
}

/// What of a cell is here, and whether what it has elsewhere would survive one more loss without it; `None`: nothing.
fn held(cell: &Description, me: NodeId, has_replica: bool, down: impl Fn(NodeId) -> bool) -> Option<HeldShown> {
    let here = cell.members.iter().find(|member| member.node == me);
    let instances = cell.leases.iter().filter(|lease| lease.node == me).count();
    if here.is_none() && instances == 0 && !has_replica {
        return None;
    }
    let votes = here.is_some_and(|member| member.votes);
    let voters = cell.members.iter().filter(|member| member.votes);
    let (all, rest) = (voters.clone().count(), voters.filter(|it| it.node != me && !down(it.node)).count());
    let quorum = all / 2 + 1;
    let elsewhere = cell.leases.iter().filter(|lease| lease.node != me && !down(lease.node));
    let serving = elsewhere.filter(|lease| lease.state == InstanceState::Running).count();
    let survives = (!votes || rest > quorum) && (instances == 0 || serving > 0);
    Some(HeldShown {
        cell: cell.cell,
        app: cell.app.clone(),
        votes,
        learns: here.is_some_and(|member| !member.votes),
        past: here.is_none() && has_replica,
        leads: cell.leader == Some(me),
        instances,
        rules: cell.rules,
        survives,
    })
}

impl Machine for Departure {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Order { request, order } => {
                self.order(now, order);
                self.outbox.push(Output::Done(request));
            }
            Input::Terms(terms) => {
                self.terms = terms;
                self.outbox.push(Output::Offers(terms.filter(|_| self.drain.is_none())));
            }
        }
    }

    fn handle_timeout(&mut self, _: Now) {
        self.outbox.begin_step();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cell::fixture,
        time::{Instant, Timestamp},
    };

    const NOW: Timestamp = Timestamp(1_000_000);

    fn cell(voters: usize) -> (Vec<NodeId>, Description) {
        let hosts = fixture::hosts(voters);
        let genesis = fixture::genesis(&hosts);
        let description = crate::cell::State::found(&genesis).unwrap().description();
        (hosts.iter().map(fixture::Host::node).collect(), description)
    }

    fn draining(as_crash: bool) -> Departure {
        let mut departure = Departure::open(&BTreeMap::new(), None);
        let now = Now { instant: Instant::START, wall: NOW };
        let order = Some(Order { within: Duration::from_mins(1), as_crash });
        departure.handle_input(now, Input::Order { request: RequestId(1), order });
        while departure.poll_output().is_some() {}
        departure
    }

    fn stage(departure: &Departure, at: Timestamp, me: NodeId, cell: &Description, down: &[NodeId]) -> DrainStage {
        departure.progress(at, me, [cell].into_iter(), &[], |node| down.contains(&node)).stage
    }

    #[test]
    fn past_its_deadline_a_drain_is_refused_where_the_rest_would_not_survive_one_more_loss() {
        let (nodes, three) = cell(3);
        let (of_five, five) = cell(5);
        let drain = draining(false);
        let late = NOW + Duration::from_secs(61);
        assert_eq!(stage(&drain, NOW, nodes[1], &three, &[]), DrainStage::Draining);
        assert_eq!(stage(&drain, late, nodes[1], &three, &[]), DrainStage::Refused, "two of three survive no loss");
        assert_eq!(stage(&drain, late, of_five[1], &five, &[]), DrainStage::Spared, "four of five survive one");
        assert_eq!(stage(&drain, late, of_five[1], &five, &[of_five[3]]), DrainStage::Refused, "one is lost already");
        assert_eq!(stage(&drain, late, of_five[0], &five, &[]), DrainStage::Refused, "nobody else serves the app");
        assert_eq!(stage(&draining(true), late, nodes[1], &three, &[]), DrainStage::AsCrash);
    }

    #[test]
    fn a_node_that_restarts_still_drains_and_offers_nothing_until_that_is_undone() {
        let terms = Terms { total: crate::resources::Resources::default(), price: fixture::price() };
        let mut departure = Departure::open(&BTreeMap::new(), Some(terms));
        assert_eq!(departure.poll_output(), None);
        let now = Now { instant: Instant::START, wall: NOW };
        let order = Some(Order { within: Duration::from_mins(1), as_crash: false });
        departure.handle_input(now, Input::Order { request: RequestId(1), order });
        let said: Vec<Output> = std::iter::from_fn(|| departure.poll_output()).collect();
        let Output::Keep { key, value: Some(value) } = said[0].clone() else { panic!("{said:?}") };
        assert_eq!(said[1..3], [Output::Drains(Some(NOW)), Output::Offers(None)]);

        let mut again = Departure::open(&BTreeMap::from([(key, value)]), Some(terms));
        let said: Vec<Output> = std::iter::from_fn(|| again.poll_output()).collect();
        assert_eq!(said, [Output::Drains(Some(NOW)), Output::Offers(None)]);
        again.handle_input(now, Input::Order { request: RequestId(2), order: None });
        let said: Vec<Output> = std::iter::from_fn(|| again.poll_output()).collect();
        assert_eq!(said[1..], [Output::Drains(None), Output::Offers(Some(terms)), Output::Done(RequestId(2))]);
    }
}
