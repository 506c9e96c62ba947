//! Brings a command or a question to a cell, wherever its leader is, and brings back exactly one answer.
//!
//! A caller asks whom it believes to lead; is told of another and asks him; hears nothing, or sees the link break, and
//! asks the next voter, with the *same op*, so that a repetition is harmless. At the deadline a command that was ever
//! sent is *indefinite*: it may have been done. A question never is.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    agenda::Agenda,
    cell::{Answered, Applied, Barrier, Command, Message, Query, Reached},
    context::Context,
    id::{CellId, NodeId, RequestId},
    machine::{Deadline, Machine, Outbox},
    refusal::{Certainty, Code, Refusal},
    time::{Instant, Now},
};

/// Calls under way at once; one more is refused `Full`.
const CALLS_MAX: usize = 8_192;
/// Cells whose voters are remembered; of more, the first in order is forgotten.
const CELLS_MAX: usize = 8_192;
/// An attempt that was not answered so long goes to the next voter. Longer than a commit across the farthest border.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// Wait before asking again when nobody leads; an election takes longer, but its end is noticed by `Located`.
const NOBODY_LEADS: Duration = Duration::from_millis(50);
/// Hints followed without a wait; more, and two replicas point at each other.
const HOPS_MAX: u32 = 3;
/// A node whose link broke so lately is asked only if there is nobody else: followers go on naming a dead leader until they
/// elect another, and each question to it would cost [`ATTEMPT_MAX`].
const LOST_FOR: Duration = Duration::from_secs(3);
/// Lost nodes remembered; of more, the first in order is forgotten.
const LOST_MAX: usize = 1_024;

/// Which part waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A person, an edge or a guest, by request.
    Person(RequestId),
    /// The part that holds leases, by its own number.
    Leases(u64),
    /// The part that founds cells and places releases, by its own number.
    Sponsor(u64),
    /// The part that answers guests' reads, by its own number.
    Away(u64),
}

/// What is brought to a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A command.
    Submit(Box<Command>),
    /// Questions.
    Read {
        /// How fresh.
        barrier: Barrier,
        /// Answered at one index.
        queries: Vec<Query>,
    },
}

/// What a cell answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To `Submit`.
    Applied(Applied),
    /// To `Read`.
    Answered(Answered),
}

/// Input of the caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Bring this to that cell.
    Call {
        /// Who waits.
        owner: Owner,
        /// Until when, under which op.
        context: Context,
        /// Which cell.
        cell: CellId,
        /// What.
        what: What,
    },
    /// Who votes there and who leads, as far as known here.
    Located {
        /// Which cell.
        cell: CellId,
        /// In order of preference.
        voters: Vec<NodeId>,
        /// Who leads.
        leader: Option<NodeId>,
    },
    /// A replica answered a `Propose`.
    Outcome {
        /// Which node.
        from: NodeId,
        /// Our call.
        request: RequestId,
        /// What it says.
        result: Reached<Applied>,
    },
    /// A replica answered a `Read`.
    Answers {
        /// Which node.
        from: NodeId,
        /// Our call.
        request: RequestId,
        /// What it says.
        result: Reached<Answered>,
    },
    /// A link to a node is there.
    PeerUp(NodeId),
    /// The link to a node is gone: what was asked of it is asked of another.
    PeerDown(NodeId),
}

/// Output of the caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To a node's replica; this node's own included.
    Send {
        /// To which node.
        to: NodeId,
        /// Of which cell.
        cell: CellId,
        /// Until when, on this node's clock: what the frame's context was made from.
        context: Context,
        /// `Propose` or `Read`.
        message: Message,
    },
    /// Nobody knows who votes there: find out.
    Locate(CellId),
    /// The one answer.
    Done {
        /// Who waits.
        owner: Owner,
        /// What.
        result: Result<Answer, Refusal>,
    },
}

#[derive(Debug)]
struct Call {
    owner: Owner,
    context: Context,
    cell: CellId,
    what: What,
    /// Who was asked last, and has not answered.
    asked: Option<NodeId>,
    /// Somebody was asked who never answered: he may do it yet.
    open: bool,
    /// How many were asked; chooses the next voter.
    attempts: u32,
    /// Hints followed since the last wait.
    hops: u32,
    /// It was sent at least once, so it may have been done.
    sent: bool,
    /// When to try again.
    retry_at: Instant,
}

#[derive(Debug, Default)]
struct Located {
    voters: Vec<NodeId>,
    leader: Option<NodeId>,
}

/// See the module.
#[derive(Debug)]
pub struct Caller {
    me: NodeId,
    calls: BTreeMap<u64, Call>,
    by_cell: BTreeMap<CellId, Vec<u64>>,
    cells: BTreeMap<CellId, Located>,
    /// Whom this node has a link to.
    linked: BTreeSet<NodeId>,
    /// Whose link broke lately, and since when.
    lost: BTreeMap<NodeId, Instant>,
    agenda: Agenda<u64>,
    last: u64,
    outbox: Outbox<Output>,
}

impl Caller {
    /// A caller on node `me`.
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        Self {
            me,
            calls: BTreeMap::new(),
            by_cell: BTreeMap::new(),
            cells: BTreeMap::new(),
            linked: BTreeSet::new(),
            lost: BTreeMap::new(),
            agenda: Agenda::default(),
            last: 0,
            outbox: Outbox::default(),
        }
    }

    fn call(&mut self, now: Now, owner: Owner, context: Context, cell: CellId, what: What) {
        if self.calls.len() >= CALLS_MAX {
            let detail = format!("this node has {CALLS_MAX} calls under way; try again in a moment");
            self.outbox.push(Output::Done { owner, result: Err(Refusal::definite(Code::Full, detail)) });
            return;
        }
        self.last += 1;
        let call = Call {
            owner,
            context,
            cell,
            what,
            asked: None,
            open: false,
            attempts: 0,
            hops: 0,
            sent: false,
            retry_at: now.instant,
        };
        self.calls.insert(self.last, call);
        self.by_cell.entry(cell).or_default().push(self.last);
        self.attempt(now, self.last, None);
    }

    /// Asks `hint`, or the leader, or the next voter.
    fn attempt(&mut self, now: Now, id: u64, hint: Option<NodeId>) {
        let Some(call) = self.calls.get(&id) else { return };
        if call.context.deadline <= now.instant {
            self.give_up(id);
            return;
        }
        let to = hint.or_else(|| self.choose(now, call));
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(to) = to else {
            call.retry_at = now.instant + ATTEMPT_MAX;
            self.outbox.push(Output::Locate(call.cell));
            self.arm(id);
            return;
        };
        call.open |= call.asked.replace(to).is_some();
        call.attempts += 1;
        call.hops += u32::from(hint.is_some());
        call.sent = true;
        call.retry_at = now.instant + ATTEMPT_MAX;
        let context = Context { request: RequestId(id), ..call.context };
        let wire = context.to_wire(now);
        let message = match &call.what {
            What::Submit(command) => Message::Propose { context: wire, command: command.clone() },
            What::Read { barrier, queries } => {
                Message::Read { context: wire, barrier: *barrier, queries: queries.clone() }
            }
        };
        self.outbox.push(Output::Send { to, cell: call.cell, context, message });
        self.arm(id);
    }

    /// Whom to ask: the leader first, then this node if it votes, then voter after voter, those with a link before those who must
    /// be dialled, as they must after a cut; the lost ones only if all are.
    fn choose(&self, now: Now, call: &Call) -> Option<NodeId> {
        let located = self.cells.get(&call.cell)?;
        let lost = |node: &NodeId| is_lost(&self.lost, now, *node);
        let any_replica = matches!(call.what, What::Read { barrier: Barrier::AtLeast(_), .. });
        let local = located.voters.contains(&self.me).then_some(self.me);
        let leader = located.leader.filter(|leader| !lost(leader));
        let first = if any_replica { local.or(leader) } else { leader.or(local) };
        if let Some(first) = first
            && (call.attempts == 0 || (!any_replica && leader.is_some_and(|leader| call.asked != Some(leader))))
        {
            return Some(first);
        }
        let (mut here, there): (Vec<NodeId>, Vec<NodeId>) =
            located.voters.iter().filter(|voter| !lost(voter)).partition(|voter| self.linked.contains(voter));
        here.extend(there);
        let next = |among: &[NodeId]| {
            let at = usize::try_from(call.attempts).unwrap_or(0).checked_rem(among.len())?;
            among.get(at).copied()
        };
        next(&here).or_else(|| next(&located.voters))
    }

    fn arm(&mut self, id: u64) {
        let due = self.calls.get(&id).map(|call| {
            let at = call.retry_at.min(call.context.deadline);
            Deadline { at, reason: "call to a cell" }
        });
        self.agenda.set(id, due);
    }

    fn finish(&mut self, id: u64, result: Result<Answer, Refusal>) {
        let Some(call) = self.calls.remove(&id) else { return };
        if let Some(ids) = self.by_cell.get_mut(&call.cell) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_cell.remove(&call.cell);
            }
        }
        self.agenda.set(id, None);
        self.outbox.push(Output::Done { owner: call.owner, result });
    }

    fn give_up(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        let detail = format!("cell {} did not answer in time", call.cell.short());
        let may_be_done = call.sent && matches!(call.what, What::Submit(_));
        let refusal = if may_be_done {
            Refusal::indefinite(Code::Timeout, format!("{detail}; whether it was done is unknown: repeat it"))
        } else {
            Refusal::definite(Code::Timeout, detail)
        };
        self.finish(id, Err(refusal));
    }

    fn on_reached(&mut self, now: Now, from: NodeId, id: u64, result: Reached<Answer>) {
        let Some(call) = self.calls.get(&id) else { return };
        match result {
            Reached::Yes(answer) => self.finish(id, Ok(answer)),
            Reached::No(refusal) if refusal.certainty == Certainty::Definite => {
                let may_be_done = call.open && matches!(call.what, What::Submit(_));
                let certainty = if may_be_done { Certainty::Indefinite } else { Certainty::Definite };
                self.finish(id, Err(Refusal { certainty, ..refusal }));
            }
            Reached::NotLeader(Some(hint))
                if hint != from
                    && call.hops < HOPS_MAX
                    && call.asked == Some(from)
                    && !is_lost(&self.lost, now, hint) =>
            {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.asked = None;
                }
                self.attempt(now, id, Some(hint));
            }
            Reached::No(_) | Reached::NotLeader(_) => {
                let Some(call) = self.calls.get_mut(&id).filter(|call| call.asked == Some(from)) else { return };
                call.asked = None;
                call.hops = 0;
                call.retry_at = now.instant + NOBODY_LEADS;
                if let Some(located) = self.cells.get_mut(&call.cell)
                    && located.leader == Some(from)
                {
                    located.leader = None;
                }
                self.arm(id);
            }
        }
    }

    /// Asks again whatever was asked of somebody other than the leader, or of nobody.
    fn on_located(&mut self, now: Now, cell: CellId, voters: Vec<NodeId>, leader: Option<NodeId>) {
        let waiting = self.by_cell.get(&cell).cloned().unwrap_or_default();
        if !self.cells.contains_key(&cell) && self.cells.len() >= CELLS_MAX {
            self.cells.pop_first();
        }
        let located = self.cells.entry(cell).or_default();
        let leader = leader.or_else(|| located.leader.filter(|leader| voters.contains(leader)));
        let news = located.leader != leader || located.voters.is_empty();
        *located = Located { voters, leader };
        if !news {
            return;
        }
        for id in waiting {
            let Some(call) = self.calls.get(&id) else { continue };
            if call.asked.is_none() || (leader.is_some() && call.asked != leader) {
                self.attempt(now, id, None);
            }
        }
    }

    fn on_peer_down(&mut self, now: Now, peer: NodeId) {
        if self.lost.len() >= LOST_MAX {
            self.lost.pop_first();
        }
        self.lost.insert(peer, now.instant);
        for located in self.cells.values_mut().filter(|located| located.leader == Some(peer)) {
            located.leader = None;
        }
        let lost: Vec<u64> =
            self.calls.iter().filter(|(_, call)| call.asked == Some(peer)).map(|(id, _)| *id).collect();
        for id in lost {
            self.attempt(now, id, None);
        }
    }
}

fn is_lost(lost: &BTreeMap<NodeId, Instant>, now: Now, node: NodeId) -> bool {
    lost.get(&node).is_some_and(|since| now.instant.since(*since) < LOST_FOR)
}

impl Machine for Caller {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Call { owner, context, cell, what } => self.call(now, owner, context, cell, what),
            Input::Located { cell, voters, leader } => self.on_located(now, cell, voters, leader),
            Input::Outcome { from, request, result } => {
                self.on_reached(now, from, request.0, result.map(Answer::Applied));
            }
            Input::Answers { from, request, result } => {
                self.on_reached(now, from, request.0, result.map(Answer::Answered));
            }
            Input::PeerUp(peer) => {
                self.linked.insert(peer);
                self.lost.remove(&peer);
            }
            Input::PeerDown(peer) => {
                self.linked.remove(&peer);
                self.on_peer_down(now, peer);
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(id) = self.agenda.pop_due(now) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.hops = 0;
            }
            self.attempt(now, id, None);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}

#[cfg(test)]
mod tests;
