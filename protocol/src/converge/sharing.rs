//! One app's converging stores on this node: what waits for the disk, who shares them, and what each of these is known to have.
//!
//! One write is under way to the disk at a time. What comes meanwhile waits, and goes in the next one together. So whatever is
//! told to others, or answered, is what is in memory at a moment when all of it is durable: nobody ever hears of a write that a
//! crash undoes.
//!
//! ```text
//!   quiet ──write or delta──→ to the disk ──durable──→ answer, push to who was in step, in a second: Have ──all agree──→ quiet
//! ```
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    clock::{Clock, Slot},
    io::Output,
    keep::{self, Company, Found, Ops},
    slots::Slots,
    stores::{Name, Piece, Stores, no},
    vector::Vector,
    wire::{Entry, Message},
};
use crate::{
    cell::{Answer, Answered, Applied, Description, Outcome, Query, Write},
    id::{CellId, NodeId, OpId, RequestId, WriteId},
    machine::{Deadline, Outbox},
    refusal::{Code, Refusal},
    store::{DiskFault, WriteBatch},
    time::{Instant, Now},
};

/// What waits for the disk; a request more is refused `Full`, a peer's word more is dropped, for it says it again.
const WORK_MAX: usize = 1_024;
/// What changes so many bytes goes to the disk by itself; what waits behind it goes next.
const STEP_BYTES_MAX: u64 = 16 << 20;
/// After a change all members are told what is here, once, after so long.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// A member that is not known to have the same is asked again after this, then twice as late, up to [`ASK_MAX`].
const ASK_AFTER: Duration = Duration::from_secs(2);
/// See [`ASK_AFTER`].
const ASK_MAX: Duration = Duration::from_mins(1);
/// What was sent to a member is not sent again before.
const RESEND_AFTER: Duration = Duration::from_secs(1);
/// A node that came to an app waits so long for another's state before it serves what it has.
pub const FILL_MAX: Duration = Duration::from_secs(5);
/// Who was a member may bring what it wrote for so long, by wall clocks.
pub const FORMER_KEPT: Duration = Duration::from_hours(7 * 24);
/// Former members remembered; of more, the one that left first is forgotten.
const FORMER_MAX: usize = 64;

/// Something that waits for its turn.
#[derive(Debug)]
pub(super) enum Work {
    Write {
        request: RequestId,
        op: Option<OpId>,
        writes: Vec<Write>,
    },
    Read {
        request: RequestId,
        guest: bool,
        queries: Vec<Query>,
        /// For who asks in the same read whose it is.
        description: Arc<Description>,
    },
    Delta {
        from: NodeId,
        basis: Vector,
        entries: Vec<Entry>,
        upto: Vector,
        more: bool,
    },
    Anew {
        seen: Vector,
    },
    /// The head alone.
    Head,
}

/// What is known of another member.
#[derive(Debug)]
struct Peer {
    linked: bool,
    /// What it said last that is durable there.
    has: Option<Vector>,
    filled: bool,
    /// What was sent to it, if all arrived.
    sent: Vector,
    resend_at: Instant,
    /// What it was told of this node.
    told: Option<Vector>,
    /// It wants to be told, whatever it was told.
    asks: bool,
    /// It has just said what it has.
    heard: bool,
    /// It says that it holds nothing of this app any more.
    gone: bool,
    ask_at: Instant,
    patience: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sharing {
    cell: CellId,
    pub(super) stores: Stores,
    company: Company,
    ops: Ops,
    peers: BTreeMap<NodeId, Peer>,
    work: VecDeque<Work>,
    /// On its way to the disk, and what to say once it is there.
    under_way: Option<(WriteId, Vec<Output>)>,
    last_write: WriteId,
    /// All members are told then.
    tell_at: Option<Instant>,
    /// What all had seen when tombstones were last looked through.
    seen_by_all: Vector,
    /// Since when it waits to be filled.
    opened: Instant,
    /// The disk has failed, and how: nothing is answered or told any more.
    failed: Option<String>,
    /// This node is no member any more.
    over: bool,
    /// It is no member, and everything is with others: forget it.
    pub(super) done: bool,
}

impl Sharing {
    /// As found on disk; `fresh`: a slot that nobody ever had.
    pub(super) fn open(cell: CellId, found: Found, fresh: Slot, now: Now) -> Self {
        let Found { mut stores, company, ops, doubtful } = found;
        let is_new = stores.head.slot == Slot::default();
        if is_new {
            stores.head.slot = fresh;
        } else if doubtful {
            // What this disk lost others may have: all is asked for again, and nothing is numbered as something lost was.
            let number = stores.head.seen.of(stores.head.slot);
            let mut own = Vector::default();
            own.see(stores.head.slot, number);
            let _ = stores.begin_anew(fresh, &Vector::default());
            stores.head.before = own;
        }
        let peers = company.members.iter().map(|node| (*node, Peer::new(now))).collect();
        let mut this = Self {
            cell,
            stores,
            company,
            ops,
            peers,
            work: VecDeque::new(),
            under_way: None,
            last_write: WriteId::default(),
            tell_at: None,
            seen_by_all: Vector::default(),
            opened: now.instant,
            failed: None,
            over: false,
            done: false,
        };
        if is_new || doubtful {
            this.work.push_back(Work::Head);
        }
        this
    }

    /// Who belongs to the app, as far as known here.
    ///
    /// Returns whether this node had left it, and is back.
    pub(super) fn described(
        &mut self,
        now: Now,
        me: NodeId,
        description: &Description,
        linked: &BTreeSet<NodeId>,
    ) -> bool {
        let members = description.members.iter().map(|member| member.node);
        let hosts = description.leases.iter().map(|lease| lease.node);
        let members: BTreeSet<NodeId> = members.chain(hosts).filter(|node| *node != me).collect();
        let is_back = std::mem::take(&mut self.over);
        if members == self.company.members {
            return is_back;
        }
        for gone in self.company.members.difference(&members) {
            self.company.former.insert(*gone, now.wall);
        }
        self.company.former.retain(|node, since| !members.contains(node) && now.wall.since(*since) < FORMER_KEPT);
        while self.company.former.len() > FORMER_MAX {
            let first = self.company.former.iter().min_by_key(|(node, since)| (**since, **node)).map(|(node, _)| *node);
            let Some(first) = first else { break };
            self.company.former.remove(&first);
        }
        for node in &members {
            let peer = self.peers.entry(*node).or_insert_with(|| Peer::new(now));
            peer.linked = linked.contains(node);
        }
        self.company.members = members;
        let company = &self.company;
        self.peers.retain(|node, _| company.members.contains(node) || company.former.contains_key(node));
        self.tell_at = Some(now.instant);
        self.push_work(Work::Head);
        is_back
    }

    /// This node belongs to it no more. Whom it must reach to hand over what only it has.
    pub(super) fn leave(&mut self, removed: bool) -> BTreeSet<NodeId> {
        self.over = true;
        self.done = removed || self.stores.is_empty() || self.company.members.is_empty();
        self.settle_leaving();
        if self.done { BTreeSet::new() } else { self.company.members.clone() }
    }

    fn settle_leaving(&mut self) {
        let has = |node: &NodeId| self.peers.get(node).and_then(|peer| peer.has.as_ref());
        let kept = self.company.members.iter().filter_map(has).any(|has| has.covers(&self.stores.head.seen));
        self.done |= self.over && self.under_way.is_none() && kept;
    }

    /// Whether it may speak about this app.
    pub(super) fn admits(&self, from: NodeId) -> bool {
        self.company.members.contains(&from) || self.company.former.contains_key(&from)
    }

    pub(super) fn link(&mut self, now: Now, node: NodeId, up: bool) {
        if !self.admits(node) {
            return;
        }
        let fresh = Peer { linked: up, ..Peer::new(now) };
        let before = self.peers.insert(node, fresh);
        // What it has stays true for who asks whether a deletion may be forgotten.
        if let (Some(peer), Some(before)) = (self.peers.get_mut(&node), before) {
            peer.has = before.has;
            peer.filled = before.filled;
            peer.sent = peer.has.clone().unwrap_or_default();
        }
    }

    fn push_work(&mut self, work: Work) -> bool {
        let room = self.work.len() < WORK_MAX;
        if room {
            self.work.push_back(work);
        }
        room
    }

    /// A request; what it says to one too many.
    pub(super) fn ask(&mut self, work: Work, outbox: &mut Outbox<Output>) {
        let request = match &work {
            Work::Write { request, .. } | Work::Read { request, .. } => *request,
            Work::Delta { .. } | Work::Anew { .. } | Work::Head => return,
        };
        if let Some(fault) = &self.failed {
            return outbox.push(Output::Refuse { request, refusal: no(Code::DiskFailed, fault.clone()) });
        }
        if !self.push_work(work) {
            let detail =
                format!("{WORK_MAX} requests to this app's converging stores wait on this node; try again in a moment");
            outbox.push(Output::Refuse { request, refusal: no(Code::Full, detail) });
        }
    }

    pub(super) fn received(&mut self, now: Now, from: NodeId, message: Message, slots: &mut Slots) {
        if self.failed.is_some() || !message.is_lawful() || !self.admits(from) {
            return;
        }
        let peer = self.peers.entry(from).or_insert_with(|| Peer::new(now));
        peer.linked = true;
        peer.patience = ASK_AFTER;
        peer.ask_at = now.instant + ASK_AFTER;
        match message {
            Message::Have { seen, filled, ask } => {
                // It has what it was sent: the rest may follow at once.
                if seen.covers(&peer.sent) {
                    peer.resend_at = now.instant;
                }
                if seen.of(self.stores.head.slot) > self.stores.head.seen.of(self.stores.head.slot) {
                    // Somebody has more of this node's writes than itself: its disk is an older copy of what it was.
                    self.stores.head.slot = slots.fresh();
                    self.push_work(Work::Head);
                }
                let peer = self.peers.entry(from).or_insert_with(|| Peer::new(now));
                peer.gone = false;
                peer.filled = filled;
                // Who has more than this node must know what it lacks.
                let lacks = !self.stores.head.seen.covers(&seen);
                peer.asks |= ask || (lacks && peer.told.as_ref() != Some(&self.stores.head.seen));
                peer.heard = true;
                peer.has = Some(seen);
            }
            Message::Delta { basis, entries, upto, more } => {
                self.push_work(Work::Delta { from, basis, entries, upto, more });
            }
            Message::Anew { seen } => {
                self.push_work(Work::Anew { seen });
            }
            Message::Gone => peer.gone = true,
        }
    }

    pub(super) fn persisted(&mut self, now: Now, write: WriteId, outbox: &mut Outbox<Output>) {
        let Some((under_way, _)) = &self.under_way else { return };
        if *under_way > write {
            return;
        }
        for answer in self.under_way.take().map(|(_, answers)| answers).unwrap_or_default() {
            outbox.push(answer);
        }
        self.push_own(now, outbox);
    }

    /// A write never will be durable. What is in memory may be gone after a restart, so nobody hears of it, and whoever waits is
    /// told at once; of a write that was on its way nobody knows whether it is there then.
    pub(super) fn persist_failed(&mut self, fault: &DiskFault, outbox: &mut Outbox<Output>) {
        let detail = fault.to_string();
        for answer in self.under_way.take().map(|(_, answers)| answers).unwrap_or_default() {
            outbox.push(match answer {
                Output::Applied { request, .. } => {
                    Output::Refuse { request, refusal: Refusal::indefinite(Code::DiskFailed, &detail) }
                }
                Output::GuestRead { request, .. } | Output::Answered { request, .. } => {
                    Output::Refuse { request, refusal: no(Code::DiskFailed, &detail) }
                }
                other => other,
            });
        }
        for work in self.work.drain(..) {
            if let Work::Write { request, .. } | Work::Read { request, .. } = work {
                outbox.push(Output::Refuse { request, refusal: no(Code::DiskFailed, &detail) });
            }
        }
        self.failed = Some(detail);
    }

    /// What this node wrote goes at once to everybody who was in step with it.
    fn push_own(&mut self, now: Now, outbox: &mut Outbox<Output>) {
        let slot = self.stores.head.slot;
        let own = self.stores.head.seen.of(slot);
        for (node, peer) in &mut self.peers {
            let in_step = peer.has.is_some() && peer.sent.of(slot) < own;
            if !in_step || !peer.linked {
                continue;
            }
            let Piece { basis, entries, upto, more } = self.stores.lacking(&peer.sent, Some(slot));
            peer.sent.join(&upto);
            peer.resend_at = now.instant + RESEND_AFTER;
            outbox.push(Output::Send {
                to: *node,
                cell: self.cell,
                message: Message::Delta { basis, entries, upto, more },
            });
        }
    }

    /// Whether guests are served: all that a member had is here, or nobody could be asked for long.
    fn serves(&self, now: Now) -> bool {
        self.stores.head.filled || now.instant >= self.opened + FILL_MAX
    }

    /// Does what waits, and says what is to be said, as far as the disk allows.
    pub(super) fn step(&mut self, now: Now, clock: &mut Clock, slots: &mut Slots, outbox: &mut Outbox<Output>) {
        if self.under_way.is_some() || self.failed.is_some() {
            return;
        }
        self.fill(now);
        self.do_work(now, clock, slots, outbox);
        if self.under_way.is_none() {
            self.speak(now, outbox);
            self.settle_leaving();
        }
    }

    fn do_work(&mut self, now: Now, clock: &mut Clock, slots: &mut Slots, outbox: &mut Outbox<Output>) {
        let head = self.stores.head.clone();
        let mut changed = self.forget(now);
        let (mut answers, mut ops) = (Vec::new(), Vec::new());
        let (mut dirty, mut later) = (false, VecDeque::new());
        let serves = self.serves(now);
        let mut taken = 0;
        while taken < STEP_BYTES_MAX
            && let Some(work) = self.work.pop_front()
        {
            match work {
                Work::Write { .. } | Work::Read { .. } if !serves => later.push_back(work),
                Work::Read { request, guest, queries, description } => {
                    answers.push(self.read(request, guest, &queries, &description));
                }
                Work::Write { request, op, writes } => {
                    let made = op.and_then(|op| self.ops.recall(op)).map(<[i64]>::to_vec);
                    let result = match made {
                        Some(counters) => Ok((Outcome::Written { version: 1, counters }, BTreeSet::new())),
                        None => self.stores.write(clock, now.wall, &writes),
                    };
                    answers.push(match result {
                        Ok((outcome, names)) => {
                            if let (Some(op), false, Outcome::Written { counters, .. }) =
                                (op, names.is_empty(), &outcome)
                            {
                                ops.push(self.ops.remember(self.cell, op, counters.clone()));
                            }
                            taken += self.stores.bytes_of(&names);
                            changed.extend(names);
                            Output::Applied { request, applied: Applied { index: 0, outcome } }
                        }
                        Err(refusal) => Output::Refuse { request, refusal },
                    });
                }
                Work::Delta { from, basis, entries, upto, more } => {
                    let merged = self.stores.merge(clock, now.wall, &basis, entries, &upto);
                    if let Some((names, follows)) = merged {
                        taken += self.stores.bytes_of(&names);
                        changed.extend(names);
                        let peer = self.peers.get_mut(&from);
                        if let Some(peer) = peer {
                            // Either it goes on from here, or it must hear from where.
                            peer.asks |= more || !follows || !head.filled || self.company.former.contains_key(&from);
                            if let Some(has) = &mut peer.has {
                                has.join(&upto);
                            }
                        }
                    }
                }
                Work::Anew { seen } => {
                    changed.extend(self.stores.begin_anew(slots.fresh(), &seen));
                    self.opened = now.instant;
                }
                Work::Head => dirty = true,
            }
        }
        later.append(&mut self.work);
        self.work = later;
        if !dirty && changed.is_empty() && ops.is_empty() && head == self.stores.head {
            for answer in answers {
                outbox.push(answer);
            }
            return;
        }
        if head.seen != self.stores.head.seen {
            self.tell_at = self.tell_at.or(Some(now.instant + TELL_AFTER));
            for peer in self.peers.values_mut() {
                (peer.patience, peer.ask_at) = (ASK_AFTER, now.instant + ASK_AFTER);
            }
        }
        self.last_write = WriteId(self.last_write.0 + 1);
        let mut batch = keep::ops(self.cell, &self.stores, &self.company, &changed);
        batch.extend(ops);
        self.under_way = Some((self.last_write, answers));
        outbox.push(Output::Persist { cell: self.cell, write: self.last_write, batch: WriteBatch { ops: batch } });
    }

    fn read(&self, request: RequestId, guest: bool, queries: &[Query], description: &Description) -> Output {
        let answer = |query: &Query| match query {
            Query::Describe => Ok(Answer::Description(Box::new(description.clone()))),
            Query::Get { .. } | Query::List { .. } | Query::Capture | Query::Piece { .. } => self.stores.answer(query),
        };
        let answers = queries.iter().map(answer).collect::<Result<_, _>>();
        match answers {
            Ok(answers) if guest => Output::GuestRead { request, answered: Answered { index: 0, answers } },
            Ok(answers) => Output::Answered { request, answered: Answered { index: 0, answers } },
            Err(refusal) => Output::Refuse { request, refusal },
        }
    }

    /// Whether all that a member has is here by now.
    fn fill(&mut self, now: Now) {
        if self.stores.head.filled {
            return;
        }
        let peers: Vec<Option<&Peer>> = self.company.members.iter().map(|node| self.peers.get(node)).collect();
        let covered = |peer: &Peer| peer.has.as_ref().is_some_and(|has| self.stores.head.seen.covers(has));
        let from_one = peers.iter().flatten().any(|peer| peer.filled && covered(peer));
        // An app that begins: nobody has anything that this node has not.
        let none_has = peers.iter().all(|peer| peer.is_some_and(|peer| !peer.filled && covered(peer)));
        if from_one || none_has || now.instant >= self.opened + FILL_MAX {
            self.stores.fill();
            self.push_work(Work::Head);
        }
    }

    /// Tombstones that every member has, and whoever was one, are not needed.
    fn forget(&mut self, now: Now) -> BTreeSet<Name> {
        let peers = &self.peers;
        self.company.former.retain(|node, since| {
            let gone = peers.get(node).is_some_and(|peer| peer.gone);
            !gone && now.wall.since(*since) < FORMER_KEPT
        });
        if !self.stores.head.filled || !self.stores.has_tombstones() {
            return BTreeSet::new();
        }
        let mut all = self.company.members.iter().chain(self.company.former.keys());
        let seen_by_all = all.try_fold(self.stores.head.seen.clone(), |seen, node| {
            let has = peers.get(node)?.has.as_ref()?;
            Some(seen.meet(has))
        });
        // While somebody is away nothing new is seen by all, and tombstones may be many.
        let Some(seen_by_all) = seen_by_all.filter(|seen| *seen != self.seen_by_all) else { return BTreeSet::new() };
        self.seen_by_all = seen_by_all;
        self.stores.forget(&self.seen_by_all)
    }

    /// All of it is durable now: what others lack goes to them, and who is to be told is told.
    fn speak(&mut self, now: Now, outbox: &mut Outbox<Output>) {
        let (cell, seen, filled) = (self.cell, &self.stores.head.seen, self.stores.head.filled);
        let tell = self.tell_at.is_some_and(|at| at <= now.instant);
        if tell {
            self.tell_at = None;
        }
        for (node, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.linked && !peer.gone) {
            let mut send = |message| outbox.push(Output::Send { to: *node, cell, message });
            let asks_again = !peer.is_in_step(seen) && peer.ask_at <= now.instant;
            let news = peer.told.as_ref() != Some(seen) && (tell || peer.told.is_none());
            if news || asks_again || peer.asks {
                let ask = asks_again || peer.told.is_none();
                send(Message::Have { seen: seen.clone(), filled, ask });
                peer.told = Some(seen.clone());
                peer.asks = false;
            }
            if asks_again {
                peer.patience = (peer.patience * 2).min(ASK_MAX);
                peer.ask_at = now.instant + peer.patience;
            }
            let heard = std::mem::take(&mut peer.heard);
            let Some(has) = peer.has.as_ref().filter(|has| heard && !has.covers(seen)) else { continue };
            if now.instant < peer.resend_at {
                continue;
            }
            peer.resend_at = now.instant + RESEND_AFTER;
            if peer.filled && !has.covers(&self.stores.head.forgotten) {
                send(Message::Anew { seen: seen.clone() });
                continue;
            }
            let Piece { basis, entries, upto, more } = self.stores.lacking(has, None);
            peer.sent = has.clone();
            peer.sent.join(&upto);
            send(Message::Delta { basis, entries, upto, more });
        }
    }

    /// When it is to be stepped next though nothing comes. A quiet one never.
    pub(super) fn deadline(&self, now: Now) -> Option<Deadline> {
        if self.under_way.is_some() || self.failed.is_some() {
            return None;
        }
        let seen = &self.stores.head.seen;
        let unsettled = self.peers.iter().filter(|(_, peer)| peer.linked && !peer.gone && !peer.is_in_step(seen));
        let at = |at, reason| Deadline { at, reason };
        let asks = unsettled.map(|(_, peer)| at(peer.ask_at, "a member of a converging store that has not the same"));
        let tell = self.tell_at.map(|tell_at| at(tell_at, "members are told what is in a converging store"));
        let fill =
            (!self.stores.head.filled).then(|| at(self.opened + FILL_MAX, "a converging store waits to be filled"));
        let due = (!self.work.is_empty() && self.serves(now)).then(|| at(now.instant, "work of a converging store"));
        asks.chain(tell).chain(fill).chain(due).min()
    }

    /// Whom to tell that nothing of it is here any more.
    pub(super) fn farewell(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.iter().filter(|(_, peer)| peer.linked).map(|(node, _)| *node)
    }

    /// Forgets all of it on disk.
    pub(super) fn drop_all(&self) -> WriteBatch {
        WriteBatch { ops: keep::drop_all(self.cell, &self.stores, &self.ops) }
    }
}

impl Peer {
    fn new(now: Now) -> Self {
        Self {
            linked: false,
            has: None,
            filled: false,
            sent: Vector::default(),
            resend_at: now.instant,
            told: None,
            asks: false,
            heard: false,
            gone: false,
            ask_at: now.instant + ASK_AFTER,
            patience: ASK_AFTER,
        }
    }

    /// It is known to have the same.
    fn is_in_step(&self, seen: &Vector) -> bool {
        self.has.as_ref().is_some_and(|has| has.covers(seen) && seen.covers(has))
    }
}
