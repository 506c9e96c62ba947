//! The replicas on this node: each an island that knows only its inputs and outputs, so that they could be spread over
//! threads without touching them.
mod marks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use self::marks::Mark;
use self::marks::Marks;
use crate::{
    agenda::Agenda,
    cell::{
        Answered, CellConfig, CellGenesis, Description, Holding, Input as CellInput, Kept, KeptLine, Message,
        Output as CellOutput, Query, Reached, RecoveryPapers, Replica, Standing,
    },
    id::{CellId, NodeId, ReplicaId, WriteId},
    identity::{NodeIdentity, Signed},
    machine::{Deadline, Machine, Outbox},
    random::Seed,
    record::{Keyring, RecordBody},
    refusal::{Code, Refusal},
    store::CellBoot,
    time::{Instant, Now},
};

/// A node that granted a replica waits so long for the leader to bring it in.
const EXPECT_MAX: Duration = Duration::from_mins(2);
/// Draining nodes remembered; of one more the cells hear only if they have a member there already.
const DRAINING_MAX: usize = 4_096;
/// Cells that may bring this node in, at once.
const EXPECTED_MAX: usize = 4_096;

/// Input of the cells.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Start the replica that this genesis gives to this node. Answered by `Opened`.
    Found(Box<CellGenesis>),
    /// A leader of this cell may bring this node in.
    Expect(CellId),
    /// To one replica; dropped when there is none.
    To {
        /// Which cell.
        cell: CellId,
        /// What.
        input: Box<CellInput>,
    },
    /// A frame for a cell.
    Received {
        /// Who.
        from: NodeId,
        /// Which cell.
        cell: CellId,
        /// What.
        message: Message,
    },
    /// A node says something of sleeping cells.
    Mark {
        /// Who.
        from: NodeId,
        /// What.
        mark: Mark,
    },
    /// A write of a replica and all of its writes before are durable.
    Persisted {
        /// Which cell.
        cell: CellId,
        /// Numbered by the replica.
        write: WriteId,
    },
    /// A node can be sent to, or not any more: for the replicas that have a member there.
    Link {
        /// Which.
        node: NodeId,
        /// It can.
        up: bool,
    },
    /// Observers agree on a node: for the replicas that have a member there.
    Verdict {
        /// Which.
        node: NodeId,
        /// It is down.
        down: bool,
        /// Records of verdicts.
        evidence: Vec<Signed<RecordBody>>,
    },
    /// A node says that it drains, or does not any more: for the replicas that have a member or a lease there.
    Drain {
        /// Which.
        node: NodeId,
        /// Its presence, which says so.
        presence: Option<Box<Signed<RecordBody>>>,
    },
    /// This node is about to stop: others should lead what is led here.
    Depart,
    /// What is known of keys changed: for all replicas.
    Keys(Arc<Keyring>),
}

/// Output of the cells.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Of one replica.
    Of {
        /// Which cell.
        cell: CellId,
        /// What.
        output: CellOutput,
    },
    /// A word about sleep for a node that holds a lease of a cell and no replica.
    ToHost {
        /// The node that the transport authenticated.
        from: NodeId,
        /// Which cell.
        cell: CellId,
        /// What.
        message: Message,
    },
    /// To a node of sleeping cells. Best effort.
    Mark {
        /// Where.
        to: NodeId,
        /// What.
        mark: Mark,
    },
    /// A founded replica is durable here, or was refused.
    Opened {
        /// Of which cell.
        cell: CellId,
        /// Why not.
        result: Result<(), Refusal>,
    },
    /// The replica here has left its cell, and is no more: forget what is on disk of it.
    Closed(CellId),
}

/// See the module.
#[derive(Debug)]
pub struct Cells {
    config: CellConfig,
    seed: Seed,
    identity: NodeIdentity,
    open: BTreeMap<CellId, Replica>,
    /// Lines that have ended, each as what it is kept: one for each recovery of a cell that had a member here.
    kept: BTreeMap<CellId, Kept>,
    /// Founded, and the first write not durable yet.
    founding: BTreeSet<CellId>,
    expected: BTreeMap<CellId, Instant>,
    /// Peers that this node is linked to.
    linked: BTreeSet<NodeId>,
    /// Which cells have a member on a node.
    by_node: BTreeMap<NodeId, BTreeSet<CellId>>,
    keyring: Arc<Keyring>,
    /// Presences of nodes that drain.
    draining: BTreeMap<NodeId, Box<Signed<RecordBody>>>,
    marks: Marks,
    agenda: Agenda<CellId>,
    outbox: Outbox<Output>,
}

impl Cells {
    /// The replicas found on disk; what each says first is polled as output.
    #[must_use]
    pub fn open(
        config: CellConfig,
        seed: Seed,
        identity: NodeIdentity,
        found: BTreeMap<CellId, CellBoot>,
        now: Now,
    ) -> Self {
        let me = identity.node();
        let mut this = Self {
            config,
            seed,
            identity,
            open: BTreeMap::new(),
            kept: BTreeMap::new(),
            founding: BTreeSet::new(),
            expected: BTreeMap::new(),
            linked: BTreeSet::new(),
            by_node: BTreeMap::new(),
            keyring: Arc::default(),
            draining: BTreeMap::new(),
            marks: Marks::new(me),
            agenda: Agenda::default(),
            outbox: Outbox::default(),
        };
        for (cell, boot) in found {
            // A newcomer that never got its first snapshot: nothing of the cell is here, and its leader brings it in again.
            if boot.snapshot.is_none() {
                this.expect(now, cell);
                this.outbox.push(Output::Closed(cell));
                continue;
            }
            let found = boot.snapshot.as_ref().map(|snapshot| snapshot.state.clone());
            let seed = this.seed.split_for("cell", &cell.0);
            match Replica::open(this.config.clone(), seed, this.identity.clone(), cell, boot, now) {
                Ok(replica) => this.adopt(now, cell, replica),
                Err(fault) => {
                    // What is kept of a line is no replica: it lies under another name than its cell's.
                    let kept = found.and_then(|state| Kept::read(&state));
                    if let Some(kept) = kept.filter(|kept| kept.line().cell == cell) {
                        this.kept.insert(cell, kept);
                        continue;
                    }
                    let reason = fault.to_string();
                    let notice = crate::notice::Notice::CellQuarantined { cell, reason };
                    this.outbox.push(Output::Of { cell, output: CellOutput::Notice(notice) });
                }
            }
        }
        this
    }

    /// What the replica of one cell says of it.
    #[must_use]
    pub fn description(&self, cell: CellId) -> Option<Arc<Description>> {
        self.open.get(&cell).and_then(Replica::description)
    }

    /// How fresh the copy of a cell here is; `None`: there is none.
    #[must_use]
    pub fn standing(&self, cell: CellId) -> Option<Standing> {
        self.open.get(&cell)?.standing()
    }

    /// What the copy of a cell here answers, as fresh as it is; `None`: there is none.
    #[must_use]
    pub fn look(&self, cell: CellId, queries: &[Query]) -> Option<Answered> {
        let replica = self.open.get(&cell)?;
        let Standing { applied: index, .. } = replica.standing()?;
        let state = replica.state()?;
        Some(Answered { index, answers: queries.iter().map(|query| state.answer(query)).collect() })
    }

    /// What the replica of a cell here holds; `None`: there is none, or it has nothing yet.
    #[must_use]
    pub fn holding(&self, cell: CellId, now: Instant) -> Option<Holding> {
        self.open.get(&cell)?.holding(now)
    }

    /// Whether a recovery is signed by the right parties, as the replica here knows them; `None`: there is none.
    #[must_use]
    pub fn weigh(&self, cell: CellId, papers: &RecoveryPapers) -> Option<Result<(), Refusal>> {
        Some(self.open.get(&cell)?.state()?.weigh(papers).map(|_| ()))
    }

    /// The lines of a cell that have ended and are kept here.
    pub fn kept(&self, cell: CellId) -> impl Iterator<Item = KeptLine> {
        self.kept.values().filter(move |kept| kept.of() == cell).map(Kept::line)
    }

    /// How many cells this node leads that others could.
    #[must_use]
    pub fn to_hand_over(&self) -> usize {
        self.open.values().filter(|replica| replica.can_hand_over()).count()
    }

    /// The cells with a replica here.
    pub fn ids(&self) -> impl Iterator<Item = CellId> {
        self.open.keys().copied()
    }

    /// How many replicas are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn adopt(&mut self, now: Now, cell: CellId, replica: Replica) {
        self.open.insert(cell, replica);
        self.drain(now, cell);
        if !self.keyring.is_empty() {
            self.hand(now, cell, CellInput::Keys(self.keyring.clone()));
        }
    }

    fn drain(&mut self, now: Now, cell: CellId) {
        let Some(replica) = self.open.get_mut(&cell) else { return };
        let (mut newcomers, mut left) = (BTreeSet::new(), false);
        while let Some(output) = replica.poll_output() {
            if let CellOutput::Described(description) = &output {
                let hosts = description.leases.iter().map(|lease| lease.node);
                for node in description.members.iter().map(|member| member.node).chain(hosts) {
                    if self.by_node.entry(node).or_default().insert(cell) {
                        newcomers.insert(node);
                    }
                }
            }
            if matches!(output, CellOutput::Sleeps(_)) {
                self.marks.note(now.instant, cell, replica.slumber());
            }
            left |= matches!(output, CellOutput::Left | CellOutput::Ended(_));
            if let CellOutput::Ended(Some(state)) = &output
                && let Some(kept) = Kept::read(state)
            {
                self.kept.insert(kept.line().cell, kept);
            }
            self.outbox.push(Output::Of { cell, output });
        }
        self.agenda.set(cell, replica.poll_timeout());
        if left {
            return self.close(cell);
        }
        for node in newcomers {
            if self.linked.contains(&node) {
                self.hand(now, cell, CellInput::Link { node, up: true });
            }
            if let Some(presence) = self.draining.get(&node).cloned() {
                self.hand(now, cell, CellInput::Drain { node, presence: Some(presence) });
            }
        }
    }

    /// The replica here is no member any more.
    fn close(&mut self, cell: CellId) {
        self.open.remove(&cell);
        self.marks.forget(cell);
        self.founding.remove(&cell);
        self.agenda.set(cell, None);
        for cells in self.by_node.values_mut() {
            cells.remove(&cell);
        }
        self.by_node.retain(|_, cells| !cells.is_empty());
        self.outbox.push(Output::Closed(cell));
    }

    fn on_link(&mut self, now: Now, node: NodeId, up: bool) {
        if up {
            self.linked.insert(node);
        } else {
            self.linked.remove(&node);
        }
        self.hand_to_cells_of(now, node, &CellInput::Link { node, up });
    }

    fn on_drain(&mut self, now: Now, node: NodeId, presence: Option<Box<Signed<RecordBody>>>) {
        let known = match &presence {
            Some(presence) if self.draining.len() < DRAINING_MAX || self.draining.contains_key(&node) => {
                self.draining.insert(node, presence.clone())
            }
            Some(_) => None,
            None => self.draining.remove(&node),
        };
        if presence.is_some() || known.is_some() {
            self.hand_to_cells_of(now, node, &CellInput::Drain { node, presence });
        }
    }

    fn hand(&mut self, now: Now, cell: CellId, input: CellInput) {
        if let Some(replica) = self.open.get_mut(&cell) {
            replica.handle_input(now, input);
            return self.drain(now, cell);
        }
        if let (CellInput::Read { context, queries, .. }, Some(kept)) = (&input, self.kept.get_mut(&cell)) {
            let result = Reached::Yes(kept.answer(queries, now.instant));
            let output = CellOutput::Answers { request: context.request, result };
            return self.outbox.push(Output::Of { cell, output });
        }
        let output = match input {
            CellInput::Propose { context, .. } => {
                CellOutput::Outcome { request: context.request, result: Reached::NotLeader(None) }
            }
            CellInput::Read { context, .. } => {
                CellOutput::Answers { request: context.request, result: Reached::NotLeader(None) }
            }
            CellInput::Received { .. }
            | CellInput::Persisted(_)
            | CellInput::PersistFailed(..)
            | CellInput::Fetched { .. }
            | CellInput::Link { .. }
            | CellInput::Verdict { .. }
            | CellInput::Drain { .. }
            | CellInput::Depart
            | CellInput::Keys(_)
            | CellInput::Later { .. }
            | CellInput::Found { .. } => return,
            CellInput::Recover { ticket, .. } => {
                let detail = "there is no replica of this cell here: look again";
                let result = Err(Refusal::definite(Code::NotFound, detail));
                CellOutput::Carried { ticket, result }
            }
        };
        self.outbox.push(Output::Of { cell, output });
    }

    /// A caller elsewhere believes in a replica that is not here.
    fn absent(&mut self, to: NodeId, cell: CellId, message: Message) {
        let message = match message {
            Message::Propose { context, .. } => {
                Message::Outcome { request: context.request, result: Reached::NotLeader(None) }
            }
            Message::Read { context, .. } => {
                Message::Answers { request: context.request, result: Reached::NotLeader(None) }
            }
            Message::Sleep { .. } | Message::Wake { .. } => {
                return self.outbox.push(Output::ToHost { from: to, cell, message });
            }
            Message::Raft { .. }
            | Message::Outcome { .. }
            | Message::Answers { .. }
            | Message::Slept { .. }
            | Message::Prove { .. }
            | Message::Outdated { .. }
            | Message::Recovered(_)
            | Message::Survey { .. }
            | Message::Surveyed { .. }
            | Message::Recover { .. }
            | Message::Carried { .. }
            | Message::Committed { .. } => return,
        };
        self.outbox.push(Output::Of { cell, output: CellOutput::Send { to, message } });
    }

    fn found(&mut self, now: Now, genesis: &CellGenesis) {
        let cell = genesis.cell();
        if self.open.contains_key(&cell) {
            if !self.founding.contains(&cell) {
                self.outbox.push(Output::Opened { cell, result: Ok(()) });
            }
            return;
        }
        let seed = self.seed.split_for("cell", &cell.0);
        match Replica::found(self.config.clone(), seed, self.identity.clone(), genesis, now) {
            Ok(replica) => {
                self.founding.insert(cell);
                self.adopt(now, cell, replica);
            }
            Err(refusal) => self.outbox.push(Output::Opened { cell, result: Err(refusal) }),
        }
    }

    /// Whether a newcomer here, which never got a state, is wanted under another id by now: the line for which it came has ended.
    fn is_outgrown(&self, now: Now, cell: CellId, message: &Message) -> bool {
        let Message::Raft { message: raft, .. } = message else { return false };
        let other = |replica: &Replica| replica.state().is_none() && replica.replica().0 != raft.to;
        let expected = self.expected.get(&cell).is_some_and(|until| now.instant < *until);
        expected && raft.to != 0 && self.open.get(&cell).is_some_and(other)
    }

    fn received(&mut self, now: Now, from: NodeId, cell: CellId, message: Message) {
        if self.is_outgrown(now, cell, &message) {
            self.close(cell);
        }
        if self.open.contains_key(&cell) {
            return self.hand(now, cell, CellInput::Received { from, message });
        }
        if let (Message::Read { context, queries, .. }, Some(kept)) = (&message, self.kept.get_mut(&cell)) {
            let result = Reached::Yes(kept.answer(queries, now.instant));
            let message = Message::Answers { request: context.request, result };
            return self.outbox.push(Output::Of { cell, output: CellOutput::Send { to: from, message } });
        }
        let Message::Raft { message: ref raft, .. } = message else {
            return self.absent(from, cell, message);
        };
        let expected = self.expected.get(&cell).is_some_and(|until| now.instant < *until);
        if !expected || raft.to == 0 {
            return;
        }
        self.expected.remove(&cell);
        let seed = self.seed.split_for("cell", &cell.0);
        let replica = ReplicaId(raft.to);
        let joined = Replica::join(self.config.clone(), seed, self.identity.clone(), cell, replica, now);
        self.adopt(now, cell, joined);
        self.hand(now, cell, CellInput::Received { from, message });
    }

    /// A node says that it sleeps where this one leads, or that nothing changed where that one does.
    fn on_mark(&mut self, now: Now, from: NodeId, mark: &Mark) {
        match *mark {
            Mark::Ask { stamp, echo, asleep } => {
                if let Some(mark) = self.marks.answer(now.instant, from, stamp, echo, asleep) {
                    self.outbox.push(Output::Mark { to: from, mark });
                }
            }
            Mark::Closed { echo, stamp, asleep, age } => {
                let Some(as_of) = self.marks.heard(from, echo, stamp, asleep, age) else { return };
                for cell in self.marks.asleep_on(from) {
                    if let Some(replica) = self.open.get_mut(cell) {
                        replica.closed(as_of);
                    }
                }
            }
        }
    }

    fn expect(&mut self, now: Now, cell: CellId) {
        self.expected.retain(|_, until| now.instant < *until);
        if self.expected.len() < EXPECTED_MAX {
            self.expected.insert(cell, now.instant + EXPECT_MAX);
        }
    }

    fn hand_to_cells_of(&mut self, now: Now, node: NodeId, input: &CellInput) {
        for cell in self.by_node.get(&node).cloned().unwrap_or_default() {
            self.hand(now, cell, input.clone());
        }
    }
}

impl Machine for Cells {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Found(genesis) => self.found(now, &genesis),
            Input::Expect(cell) => self.expect(now, cell),
            Input::To { cell, input } => self.hand(now, cell, *input),
            Input::Received { from, cell, message } => self.received(now, from, cell, message),
            Input::Mark { from, mark } => self.on_mark(now, from, &mark),
            Input::Persisted { cell, write } => {
                self.hand(now, cell, CellInput::Persisted(write));
                if self.founding.remove(&cell) {
                    self.outbox.push(Output::Opened { cell, result: Ok(()) });
                }
            }
            Input::Link { node, up } => self.on_link(now, node, up),
            Input::Verdict { node, down, evidence } => {
                self.hand_to_cells_of(now, node, &CellInput::Verdict { node, down, evidence });
            }
            Input::Drain { node, presence } => self.on_drain(now, node, presence),
            Input::Depart => {
                for cell in self.open.keys().copied().collect::<Vec<_>>() {
                    self.hand(now, cell, CellInput::Depart);
                }
            }
            Input::Keys(keyring) => {
                self.keyring = keyring;
                for cell in self.open.keys().copied().collect::<Vec<_>>() {
                    self.hand(now, cell, CellInput::Keys(self.keyring.clone()));
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        for (to, mark) in self.marks.ask(now) {
            self.outbox.push(Output::Mark { to, mark });
        }
        while let Some(cell) = self.agenda.pop_due(now) {
            if let Some(replica) = self.open.get_mut(&cell) {
                replica.handle_timeout(now);
                self.drain(now, cell);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let (replicas, marks) = (self.agenda.first(), self.marks.due());
        replicas.into_iter().chain(marks).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cell::fixture, store::HardState};

    #[test]
    fn a_node_that_holds_nothing_of_a_cell_joins_it_only_when_its_leader_is_expected() {
        let hosts = fixture::hosts(4);
        let cell = fixture::genesis(&hosts[..3]).cell();
        let me = hosts[2].identity();
        let mut cells = Cells::open(CellConfig::default(), Seed([1; 32]), me, BTreeMap::new(), Now::default());
        let mut hears = |input: Input| {
            cells.handle_input(Now::default(), input);
            while cells.poll_output().is_some() {}
            cells.len()
        };
        let heartbeat = |to| {
            let message = crate::cell::RaftMessage { kind: 8, to, from: 1, term: 3, ..Default::default() };
            let message = Message::Raft { line: 1, message };
            Input::Received { from: hosts[0].identity().node(), cell, message }
        };
        assert_eq!(hears(heartbeat(3)), 0, "it was replica 3, and has forgotten it");
        assert_eq!(hears(Input::Expect(cell)), 0);
        assert_eq!(hears(heartbeat(4)), 1);
    }

    /// Seed 2 of `simulator/tests/planted.rs`, two votes in one term.
    #[test]
    fn a_newcomer_that_restarts_before_its_first_snapshot_came_is_brought_in_again() {
        let hosts = fixture::hosts(4);
        let (leader, newcomer) = (hosts[0].identity().node(), hosts[3].identity());
        let cell = fixture::genesis(&hosts[..3]).cell();
        let boot = CellBoot { hard_state: HardState { term: 3, ..HardState::default() }, ..CellBoot::default() };
        let config = CellConfig::default();
        let mut cells = Cells::open(config, Seed([1; 32]), newcomer, BTreeMap::from([(cell, boot)]), Now::default());
        let said: Vec<Output> = std::iter::from_fn(|| cells.poll_output()).collect();
        assert!(
            matches!(said[..], [Output::Closed(it)] if it == cell),
            "nothing is here, and no harm is done: {said:?}"
        );
        let heartbeat = crate::cell::RaftMessage { kind: 8, to: 4, from: 1, term: 3, ..Default::default() };
        let message = Message::Raft { line: 1, message: heartbeat };
        cells.handle_input(Now::default(), Input::Received { from: leader, cell, message });
        while cells.poll_output().is_some() {}
        assert!(cells.open.contains_key(&cell));
    }
}
