//! Asks what is left of a cell, and has a recovery carried out.
//!
//! Whoever is asked by a person asks all that are known to be, or to have been, members, and some nodes of the app's home; after a
//! few seconds it judges what they said ([`Findings`], pure). The node of the survivor that a recovery names asks all of them
//! again by itself, whoever brought it, before its replica acts: nobody's word counts but those of members, and its own.
mod judge;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use judge::{Findings, Loss, Missing};

use crate::{
    agenda::Agenda,
    capacity::Gates,
    cell::{Holding, Message, RecoveryPapers, Report},
    command::Reply,
    context::Context,
    id::{CellId, MeshId, NodeId, RequestId},
    identity::{NodeCertificate, Signed},
    machine::{Deadline, Machine, Outbox},
    membership::Address,
    notice::Notice,
    refusal::{Code, Refusal},
    resources::Jurisdiction,
    time::{Instant, Now},
};

/// Who is asked has so long to answer: enough to be dialled across the farthest border.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Inquiries and recoveries under way; one more is refused.
const INQUIRIES_MAX: usize = 64;
/// Nodes that one inquiry asks; more are not asked.
const ASKED_MAX: usize = 64;
/// Of a home jurisdiction, so many of those that answer for it are asked.
const GATES_ASKED: usize = 3;
/// Entries in each list of a report; a longer one is not read.
const LIST_MAX: usize = 64;
/// Bytes of each of its words; one with more is not read.
const WORDS_BYTES_MAX: usize = 1_024;
/// What somebody else asked for is given up after so long, whatever he says.
const LEFT_MAX: Duration = Duration::from_mins(1);

/// Input.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A person wants to know what is left. Answered by `Reply::Surveyed`.
    Survey {
        /// Whose, until when.
        context: Context,
        /// Of which cell.
        cell: CellId,
    },
    /// A person wants it carried out. Answered by `Reply::Recovered`.
    Recover {
        /// Whose, until when.
        context: Context,
        /// What was signed.
        papers: Box<RecoveryPapers>,
    },
    /// A node says something of a cell.
    Received {
        /// Who.
        from: NodeId,
        /// Which cell.
        cell: CellId,
        /// `Survey`, `Surveyed`, `Recover` or `Carried`.
        message: Message,
    },
    /// Who votes there, as routes say.
    Located {
        /// Which cell.
        cell: CellId,
        /// Nodes.
        voters: Vec<NodeId>,
    },
    /// A peer can be sent to.
    PeerUp {
        /// Which.
        peer: NodeId,
        /// What its operator says of it.
        certificate: Box<Signed<NodeCertificate>>,
    },
    /// It cannot.
    PeerDown(NodeId),
    /// Who answers for which jurisdiction.
    Gates(Gates),
    /// The replica here has carried a recovery out, or not.
    Carried {
        /// Which.
        ticket: u64,
        /// The line that has begun, durably; or why not.
        result: Result<u64, Refusal>,
    },
}

/// Output.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To a node.
    Send {
        /// Where.
        to: NodeId,
        /// Of which cell.
        cell: CellId,
        /// What.
        message: Message,
    },
    /// Who votes there?
    Locate(CellId),
    /// A link to this node is needed, or no longer.
    Want {
        /// For which cell.
        cell: CellId,
        /// Who.
        peer: NodeId,
        /// Where it may be.
        addresses: Vec<Address>,
        /// Needed.
        wanted: bool,
    },
    /// The replica here is the survivor: it goes on alone. Answered by `Carried`.
    Carry {
        /// Which cell.
        cell: CellId,
        /// Named in the answer.
        ticket: u64,
        /// What was signed.
        papers: Box<RecoveryPapers>,
    },
    /// What is kept of a line can be read there.
    Kept {
        /// As what.
        cell: CellId,
        /// Where.
        node: NodeId,
    },
    /// To a person.
    Reply {
        /// Whose.
        request: RequestId,
        /// What.
        result: Result<Reply, Refusal>,
    },
    /// What happened.
    Notice(Notice),
}

/// What this node knows by itself of the cell that an input is about.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What it would say if it were asked.
    pub report: Report,
    /// The members, as a description here says.
    pub members: Vec<NodeId>,
    /// Whether the papers in the input are signed by the right parties, as the replica here knows them; `None`: none is here.
    pub weighed: Option<Result<(), Refusal>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Person(RequestId),
    Node(NodeId, RequestId),
}

#[derive(Debug)]
enum Goal {
    /// To be shown.
    Show,
    /// To be carried out here, if what is found allows it.
    Carry(Box<RecoveryPapers>),
    /// It is being carried out here.
    Carried,
    /// It is brought to the survivor, once it is linked.
    Bring(Box<RecoveryPapers>, NodeId, bool),
}

#[derive(Debug)]
struct Inquiry {
    asker: Asker,
    cell: CellId,
    goal: Goal,
    deadline: Instant,
    /// Judged then.
    ends: Instant,
    asked: BTreeSet<NodeId>,
    /// Those that were not told yet: there is no link.
    untold: BTreeSet<NodeId>,
    answers: BTreeMap<NodeId, Report>,
    /// Nodes of the app's home were asked.
    knows_home: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Surveyor {
    me: NodeId,
    mesh: MeshId,
    law: Jurisdiction,
    linked: BTreeMap<NodeId, Jurisdiction>,
    gates: BTreeMap<Jurisdiction, Vec<(NodeId, Vec<Address>)>>,
    inquiries: BTreeMap<u64, Inquiry>,
    last: u64,
    view: Option<View>,
    agenda: Agenda<u64>,
    outbox: Outbox<Output>,
}

impl Surveyor {
    /// On node `me` under this law.
    #[must_use]
    pub fn new(me: NodeId, mesh: MeshId, law: Jurisdiction) -> Self {
        Self {
            me,
            mesh,
            law,
            linked: BTreeMap::new(),
            gates: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            last: 0,
            view: None,
            agenda: Agenda::default(),
            outbox: Outbox::default(),
        }
    }

    /// Which cell an input is about, and the papers in it: what is known here of them is to be shown by [`Surveyor::look`] first.
    #[must_use]
    pub fn concerns(input: &Input) -> Option<(CellId, Option<&RecoveryPapers>)> {
        match input {
            Input::Survey { cell, .. } | Input::Received { cell, message: Message::Survey { .. }, .. } => {
                Some((*cell, None))
            }
            Input::Recover { papers, .. } => Some((papers.statement.open().ok()?.cell, Some(papers))),
            Input::Received { cell, message: Message::Recover { papers, .. }, .. } => Some((*cell, Some(papers))),
            Input::Received { .. }
            | Input::Located { .. }
            | Input::PeerUp { .. }
            | Input::PeerDown(_)
            | Input::Gates(_)
            | Input::Carried { .. } => None,
        }
    }

    /// What is known here of the cell that the next input is about.
    pub fn look(&mut self, view: Option<View>) {
        self.view = view;
    }

    fn person_recovers(&mut self, now: Now, context: &Context, papers: Box<RecoveryPapers>) {
        let asker = Asker::Person(context.request);
        let Ok(recovery) = papers.statement.open() else {
            return self.refuse(asker, CellId::default(), unreadable());
        };
        let (to, cell) = (recovery.base.node, recovery.cell);
        if to == self.me {
            return self.recover_here(now, asker, cell, context.deadline, papers);
        }
        let goal = Goal::Bring(papers, to, false);
        let Some(id) = self.begin(now, asker, cell, context.deadline, goal) else { return };
        self.ask(now, id, to, Vec::new());
    }

    fn recover_here(&mut self, now: Now, asker: Asker, cell: CellId, deadline: Instant, papers: Box<RecoveryPapers>) {
        let View { report, members, weighed } = self.view.take().unwrap_or_default();
        let weighed = weighed.unwrap_or_else(|| {
            Err(Refusal::definite(Code::NotFound, "the survivor's node holds no replica of this cell: look again"))
        });
        if let Err(refusal) = weighed {
            let reason = refusal.to_string();
            self.outbox.push(Output::Notice(Notice::RecoveryRefused { cell, reason }));
            return self.refuse(asker, cell, refusal);
        }
        self.inquire(now, asker, cell, deadline, Goal::Carry(papers), (report, members));
    }

    /// Asks all that may hold something.
    fn inquire(
        &mut self,
        now: Now,
        asker: Asker,
        cell: CellId,
        deadline: Instant,
        goal: Goal,
        (report, members): (Report, Vec<NodeId>),
    ) {
        let Some(id) = self.begin(now, asker, cell, deadline, goal) else { return };
        for node in members {
            self.ask(now, id, node, Vec::new());
        }
        self.outbox.push(Output::Locate(cell));
        self.answered(now, id, self.me, report);
    }

    fn begin(&mut self, now: Now, asker: Asker, cell: CellId, deadline: Instant, goal: Goal) -> Option<u64> {
        if self.inquiries.len() >= INQUIRIES_MAX {
            let detail = format!("this node makes {INQUIRIES_MAX} such inquiries already; try again in a moment");
            self.refuse(asker, cell, Refusal::definite(Code::Full, detail));
            return None;
        }
        self.last += 1;
        let ends = match goal {
            Goal::Bring(..) => deadline,
            Goal::Show | Goal::Carry(_) | Goal::Carried => deadline.min(now.instant + ANSWER_WITHIN),
        };
        let (asked, untold, answers) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let inquiry = Inquiry { asker, cell, goal, deadline, ends, asked, untold, answers, knows_home: false };
        self.inquiries.insert(self.last, inquiry);
        self.agenda.set(self.last, Some(Deadline { at: ends, reason: "what is left of a cell" }));
        Some(self.last)
    }

    fn ask(&mut self, now: Now, id: u64, node: NodeId, addresses: Vec<Address>) {
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        if node == self.me || inquiry.asked.len() >= ASKED_MAX || !inquiry.asked.insert(node) {
            return;
        }
        let cell = inquiry.cell;
        self.outbox.push(Output::Want { cell, peer: node, addresses, wanted: true });
        if self.linked.contains_key(&node) {
            self.tell(now, id, node);
        } else {
            inquiry.untold.insert(node);
        }
    }

    fn tell(&mut self, now: Now, id: u64, to: NodeId) {
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        let cell = inquiry.cell;
        let context = Context::until(RequestId(id), inquiry.deadline).to_wire(now);
        let message = match &mut inquiry.goal {
            Goal::Bring(papers, _, told) => {
                *told = true;
                Message::Recover { context, papers: papers.clone() }
            }
            Goal::Show | Goal::Carry(_) => Message::Survey { context },
            Goal::Carried => return,
        };
        self.outbox.push(Output::Send { to, cell, message });
    }

    fn answered(&mut self, now: Now, id: u64, from: NodeId, report: Report) {
        let Some(inquiry) = self.inquiries.get_mut(&id) else { return };
        if from != self.me && (!inquiry.asked.contains(&from) || !is_short(&report)) {
            return;
        }
        let mut others = Vec::new();
        if let Some(holding) = &report.holding {
            others.extend(holding.members.iter().map(|(node, _, _)| *node).chain(holding.left.iter().copied()));
        }
        let home = report.holding.as_ref().filter(|_| !inquiry.knows_home).map(|holding| holding.home.clone());
        inquiry.knows_home |= home.is_some();
        inquiry.answers.insert(from, report);
        for node in others {
            self.ask(now, id, node, Vec::new());
        }
        for law in home.into_iter().flatten() {
            let gates = self.gates.get(&law).cloned().unwrap_or_default();
            for (node, addresses) in gates.into_iter().take(GATES_ASKED) {
                self.ask(now, id, node, addresses);
            }
        }
        let all = self.inquiries.get(&id).is_some_and(|inquiry| {
            inquiry.knows_home && inquiry.asked.iter().all(|node| inquiry.answers.contains_key(node))
        });
        if all {
            self.judge(now, id);
        }
    }

    fn judge(&mut self, now: Now, id: u64) {
        let Some(mut inquiry) = self.inquiries.remove(&id) else { return };
        let mut reached: BTreeSet<Jurisdiction> = self.linked.values().copied().collect();
        reached.extend(inquiry.answers.values().filter_map(|report| report.law));
        reached.insert(self.law);
        let found = Findings::of((self.mesh, inquiry.cell), &inquiry.answers, &reached, now.wall);
        self.let_go(&inquiry);
        match inquiry.goal {
            Goal::Show => {
                self.agenda.set(id, None);
                let Asker::Person(request) = inquiry.asker else { return };
                // Of several that keep a line, whoever holds most is asked for it.
                let mut most: BTreeMap<CellId, (u64, NodeId)> = BTreeMap::new();
                for (node, line) in &found.kept {
                    let best = most.entry(line.cell).or_default();
                    *best = (*best).max((line.index, *node));
                }
                for (cell, (_, node)) in most {
                    self.outbox.push(Output::Kept { cell, node });
                }
                self.outbox.push(Output::Reply { request, result: Ok(Reply::Surveyed(Box::new(found))) });
            }
            Goal::Carry(papers) => {
                let allowed = papers.statement.open().map_err(|_| unreadable()).and_then(|it| found.allows(&it));
                if let Err(refusal) = allowed {
                    self.agenda.set(id, None);
                    let reason = refusal.to_string();
                    self.outbox.push(Output::Notice(Notice::RecoveryRefused { cell: inquiry.cell, reason }));
                    return self.refuse(inquiry.asker, inquiry.cell, refusal);
                }
                self.outbox.push(Output::Carry { cell: inquiry.cell, ticket: id, papers });
                inquiry.goal = Goal::Carried;
                inquiry.asked.clear();
                inquiry.ends = inquiry.deadline;
                self.agenda.set(id, Some(Deadline { at: inquiry.ends, reason: "a recovery is carried out" }));
                self.inquiries.insert(id, inquiry);
            }
            Goal::Bring(..) | Goal::Carried => self.agenda.set(id, None),
        }
    }

    /// It took too long.
    fn end(&mut self, now: Now, id: u64) {
        let Some(inquiry) = self.inquiries.get(&id) else { return };
        let (asker, cell) = (inquiry.asker, inquiry.cell);
        let refusal = match inquiry.goal {
            Goal::Show | Goal::Carry(_) => return self.judge(now, id),
            Goal::Bring(_, node, false) => {
                let detail = format!("the survivor's node {} cannot be reached from here", node.short());
                Refusal::definite(Code::Unreachable, detail)
            }
            Goal::Bring(..) | Goal::Carried => {
                let detail = "the survivor did not answer in time; whether the line has begun is unknown: look again";
                Refusal::indefinite(Code::Timeout, detail)
            }
        };
        self.finish(id);
        self.refuse(asker, cell, refusal);
    }

    fn finish(&mut self, id: u64) -> Option<Inquiry> {
        self.agenda.set(id, None);
        let inquiry = self.inquiries.remove(&id)?;
        self.let_go(&inquiry);
        Some(inquiry)
    }

    fn let_go(&mut self, inquiry: &Inquiry) {
        let cell = inquiry.cell;
        let wanted =
            |node: &NodeId| self.inquiries.values().any(|other| other.cell == cell && other.asked.contains(node));
        for peer in inquiry.asked.iter().filter(|node| !wanted(node)) {
            self.outbox.push(Output::Want { cell, peer: *peer, addresses: Vec::new(), wanted: false });
        }
    }

    fn refuse(&mut self, asker: Asker, cell: CellId, refusal: Refusal) {
        self.carried(asker, cell, Err(refusal));
    }

    fn carried(&mut self, asker: Asker, cell: CellId, result: Result<u64, Refusal>) {
        let output = match asker {
            Asker::Person(request) => Output::Reply { request, result: result.map(|line| Reply::Recovered { line }) },
            Asker::Node(to, request) => Output::Send { to, cell, message: Message::Carried { request, result } },
        };
        self.outbox.push(output);
    }

    fn received(&mut self, now: Now, from: NodeId, cell: CellId, message: Message) {
        match message {
            Message::Survey { context } => {
                let mut report = self.view.take().unwrap_or_default().report;
                report.law = Some(self.law);
                let message = Message::Surveyed { request: context.request, report: Box::new(report) };
                self.outbox.push(Output::Send { to: from, cell, message });
            }
            Message::Surveyed { request, report } => self.answered(now, request.0, from, *report),
            Message::Recover { context, papers } => {
                let asker = Asker::Node(from, context.request);
                let deadline = context.rebase(now, LEFT_MAX).deadline;
                let named = papers.statement.open().is_ok_and(|it| it.cell == cell && it.base.node == self.me);
                if named {
                    return self.recover_here(now, asker, cell, deadline, papers);
                }
                let detail = "this node is not the survivor that the recovery names";
                self.refuse(asker, cell, Refusal::definite(Code::Invalid, detail));
            }
            Message::Carried { request, result } => {
                let brought = |inquiry: &Inquiry| matches!(inquiry.goal, Goal::Bring(_, to, true) if to == from);
                if self.inquiries.get(&request.0).is_some_and(brought)
                    && let Some(inquiry) = self.finish(request.0)
                {
                    self.carried(inquiry.asker, inquiry.cell, result);
                }
            }
            _ => {}
        }
    }
}

/// Whether a report is no longer than an honest one.
fn is_short(report: &Report) -> bool {
    let held = |it: &Holding| {
        let lists = [it.members.len(), it.left.len(), it.home.len(), it.recoverers.operators.len()];
        let words = [it.app.len(), it.stopped.as_ref().map_or(0, String::len)];
        lists.iter().all(|len| *len <= LIST_MAX) && words.iter().all(|len| *len <= WORDS_BYTES_MAX)
    };
    report.kept.len() <= LIST_MAX && report.holding.as_ref().is_none_or(held)
}

fn unreadable() -> Refusal {
    Refusal::definite(Code::Invalid, "the recovery cannot be read")
}

impl Machine for Surveyor {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Survey { context, cell } => {
                let View { report, members, .. } = self.view.take().unwrap_or_default();
                let asker = Asker::Person(context.request);
                self.inquire(now, asker, cell, context.deadline, Goal::Show, (report, members));
            }
            Input::Recover { context, papers } => self.person_recovers(now, &context, papers),
            Input::Received { from, cell, message } => self.received(now, from, cell, message),
            Input::Located { cell, voters } => {
                let open = |(_, inquiry): &(&u64, &Inquiry)| {
                    inquiry.cell == cell && matches!(inquiry.goal, Goal::Show | Goal::Carry(_))
                };
                for id in self.inquiries.iter().filter(open).map(|(id, _)| *id).collect::<Vec<_>>() {
                    for node in &voters {
                        self.ask(now, id, *node, Vec::new());
                    }
                }
            }
            Input::PeerUp { peer, certificate } => {
                let Ok(certificate) = certificate.open() else { return };
                self.linked.insert(peer, certificate.jurisdiction);
                let waits = |inquiry: &mut Inquiry| inquiry.untold.remove(&peer);
                let ids = self.inquiries.iter_mut().filter_map(|(id, inquiry)| waits(inquiry).then_some(*id));
                for id in ids.collect::<Vec<_>>() {
                    self.tell(now, id, peer);
                }
            }
            Input::PeerDown(peer) => {
                self.linked.remove(&peer);
            }
            Input::Gates(gates) => self.gates = gates.into_iter().collect(),
            Input::Carried { ticket, result } => {
                if let Some(inquiry) = self.finish(ticket) {
                    self.carried(inquiry.asker, inquiry.cell, result);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(id) = self.agenda.pop_due(now) {
            self.end(now, id);
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
