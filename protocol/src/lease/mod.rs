//! The right to run an instance, as its holder keeps it: fetch the bytes, start, renew, stop when the cell says so.
//!
//! A lease runs on the holder's own [`Instant`], from the moment at which it *asked* for the renewal: so it ends here
//! before the cell, which counts from the moment of the renewal's entry, gives it to anybody else. Silence ends nothing
//! here: an instance is stopped only because a cell says that the lease is over.
mod held;
mod search;
mod sleep;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use held::{Held, Phase};
use search::Searches;

use crate::{
    agenda::Agenda,
    caller::{Answer, What},
    cell::{self, Barrier, Command, DataBatch, Description, Outcome, Query, Renewal, Workload, Write},
    codec::{self, Blob},
    context::Context,
    id::{CellId, ContentHash, InstanceId, NodeId, RequestId, SessionId},
    identity::NodeIdentity,
    io::{InstanceChange, Order},
    machine::{Deadline, Machine, Outbox},
    notice::Notice,
    refusal::{Code, Refusal},
    resources::Resources,
    time::{Instant, Now},
};

/// Keys under which the last description of a cell with leases here is kept, so that a node that restarts while cut off
/// starts its instances from its own disk.
const KEEP_PREFIX: &[u8] = b"lease/";
/// A failed fetch, renewal or look is repeated after this.
const AGAIN: Duration = Duration::from_secs(1);
/// A renewal is asked for about three times before a lease would end.
const RENEWALS_PER_LEASE: u32 = 3;

/// Input of the leases.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A cell's head, from the replica here (`local`) or from a look at another's.
    Described {
        /// What it says.
        description: Arc<Description>,
        /// The replica is on this node, and will say every change.
        local: bool,
    },
    /// This node drains, or does not any more: what runs here lets go once others serve.
    Drain(bool),
    /// This node stops soon: what runs here takes nothing new.
    Depart,
    /// The replica here has left its cell: others say how it is.
    Closed(CellId),
    /// Another node's replica has news: look, if a lease of that cell is held here.
    News(CellId),
    /// The replica here sleeps from now on, or is awake.
    Sleeps {
        /// Of which cell.
        cell: CellId,
        /// It sleeps.
        asleep: bool,
    },
    /// A leader's word about sleep, where there is no replica.
    Received {
        /// The node that the transport authenticated.
        from: NodeId,
        /// Which cell.
        cell: CellId,
        /// What.
        message: cell::Message,
    },
    /// The link to a node is gone: whatever slept on its word is awake.
    PeerDown(NodeId),
    /// The runtime says.
    Instance {
        /// Which.
        id: InstanceId,
        /// Under which generation.
        generation: u64,
        /// What.
        change: InstanceChange,
    },
    /// A guest writes.
    Write {
        /// Whose, with its op.
        context: Context,
        /// Which instance.
        instance: InstanceId,
        /// Under which generation.
        generation: u64,
        /// All or none.
        writes: Vec<Write>,
    },
    /// The caller brought an answer.
    Called {
        /// To which call of ours.
        call: u64,
        /// What.
        result: Result<Answer, Refusal>,
    },
    /// Bytes asked for with `Fetch` are on disk here, or are not to be had from there.
    Fetched {
        /// Which.
        content: ContentHash,
        /// Here now.
        here: bool,
    },
}

/// Output of the leases.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To the runtime.
    Run(Order),
    /// Bring this to a cell; answered by `Called`.
    Call {
        /// Names the answer.
        call: u64,
        /// Until when.
        context: Context,
        /// Which cell.
        cell: CellId,
        /// What.
        what: What,
    },
    /// Bring a guest's write to a cell; the person's request is answered.
    Submit {
        /// Whose.
        context: Context,
        /// Which cell.
        cell: CellId,
        /// Signed.
        command: Box<Command>,
    },
    /// No.
    Refuse {
        /// Whose.
        request: RequestId,
        /// Why.
        refusal: Refusal,
    },
    /// Bytes are wanted from a node; from this one: are they here?
    Fetch {
        /// Who may have them.
        from: NodeId,
        /// Which.
        content: ContentHash,
        /// How many at most.
        size_bytes: u64,
    },
    /// Keep, or forget with `None`.
    Keep {
        /// Prefixed `lease/`.
        key: Blob,
        /// Replaces the one before.
        value: Option<Blob>,
    },
    /// What leases and replicas here use changed.
    Used(Resources),
    /// This instance serves here, or no longer.
    Serving {
        /// Which.
        instance: InstanceId,
        /// It does.
        running: bool,
    },
    /// A cell without a replica here, whose members this node must be able to reach.
    Distant(Arc<Description>),
    /// Nothing of a cell is here any more, and what was known of it last.
    Over(Arc<Description>),
    /// Best effort: to the leader of a cell without a replica here.
    Send {
        /// To which node.
        to: NodeId,
        /// Which cell.
        cell: CellId,
        /// What.
        message: cell::Message,
    },
    /// A cell without a replica here sleeps, as long as this node lives; `None`: it is awake.
    Sleeps {
        /// Which.
        cell: CellId,
        /// Whose word that is.
        on: Option<NodeId>,
    },
    /// What happened.
    Notice(Notice),
}

/// What a call that is under way is for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Renewal { instance: InstanceId, generation: u64, at: Instant },
    Look(CellId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A renewal.
    Instance(InstanceId),
    /// Bytes that nobody had are looked for again.
    Content(ContentHash),
}

/// What is known of a cell with leases or a replica here.
#[derive(Debug)]
struct Seen {
    description: Arc<Description>,
    /// The replica here says every change.
    local: bool,
    /// A look is under way.
    looking: bool,
    /// The cell sleeps, by the word of this node's replica or its leader's: leases are not renewed.
    asleep: Option<NodeId>,
}

/// See the module.
#[derive(Debug)]
pub struct Leases {
    identity: NodeIdentity,
    held: BTreeMap<InstanceId, Held>,
    cells: BTreeMap<CellId, Seen>,
    asked: BTreeMap<u64, Asked>,
    last_call: u64,
    used: Resources,
    draining: bool,
    departs: bool,
    searches: Searches,
    agenda: Agenda<Due>,
    outbox: Outbox<Output>,
}

impl Leases {
    /// The leases that `keyed` says this node held, to be started again from its own disk.
    #[must_use]
    pub fn open(identity: NodeIdentity, keyed: &BTreeMap<Blob, Blob>, now: Now) -> Self {
        let mut this = Self {
            identity,
            held: BTreeMap::new(),
            cells: BTreeMap::new(),
            asked: BTreeMap::new(),
            last_call: 0,
            used: Resources::default(),
            draining: false,
            departs: false,
            searches: Searches::default(),
            agenda: Agenda::default(),
            outbox: Outbox::default(),
        };
        let kept = keyed.range(Blob::from(KEEP_PREFIX)..).take_while(|(key, _)| key.starts_with(KEEP_PREFIX));
        for (_, value) in kept {
            if let Ok(description) = codec::decode::<Description>("kept description", value) {
                this.described(now, Arc::new(description), false);
            }
        }
        this
    }

    /// How many leases are held here.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// What leases and replicas here use.
    #[must_use]
    pub const fn used(&self) -> Resources {
        self.used
    }

    /// What is known of a cell with a replica or lease here.
    #[must_use]
    pub fn description(&self, cell: CellId) -> Option<Arc<Description>> {
        self.cells.get(&cell).map(|seen| Arc::clone(&seen.description))
    }

    /// What is known of every cell with a replica or lease here.
    pub fn descriptions(&self) -> impl Iterator<Item = Arc<Description>> {
        self.cells.values().map(|seen| Arc::clone(&seen.description))
    }

    fn described(&mut self, now: Now, description: Arc<Description>, local: bool) {
        let cell = description.cell;
        let me = self.identity.node();
        let seen = self.cells.get(&cell);
        let local = local || seen.is_some_and(|seen| seen.local);
        let older = seen.is_some_and(|seen| {
            (description.line, description.applied) < (seen.description.line, seen.description.applied)
        });
        if older {
            return;
        }
        let mine: BTreeSet<InstanceId> =
            description.leases.iter().filter(|lease| lease.node == me).map(|lease| lease.instance).collect();
        let ended: Vec<InstanceId> =
            self.held.keys().filter(|held| held.cell == cell && !mine.contains(held)).copied().collect();
        for instance in ended {
            self.end(instance);
        }
        for lease in description.leases.iter().filter(|lease| lease.node == me) {
            let held = self.held.entry(lease.instance).or_insert_with(|| Held::new(now.instant));
            held.take(&description, lease);
        }
        let is_member = description.members.iter().any(|member| member.node == me);
        let content = description.release().and_then(|release| content_of(&release.workload));
        self.keep(&description, !mine.is_empty());
        let concerns = local || !mine.is_empty();
        if concerns && !local {
            self.outbox.push(Output::Distant(Arc::clone(&description)));
        }
        if concerns {
            let asleep = self.cells.get(&cell).and_then(|seen| seen.asleep);
            self.cells.insert(cell, Seen { description, local, looking: false, asleep });
        } else if let Some(seen) = self.cells.remove(&cell) {
            if seen.asleep.is_some() {
                self.outbox.push(Output::Sleeps { cell, on: None });
            }
            self.outbox.push(Output::Over(Arc::clone(&description)));
        }
        if let Some((content, size_bytes)) = content.filter(|_| is_member || !mine.is_empty()) {
            self.need(cell, content, size_bytes);
        }
        for instance in mine {
            self.let_go_if_others_serve(now, instance);
            self.arm(instance);
        }
        self.count_used();
    }

    /// An instance that is to be missed takes no new requests: its cell, and by it all edges, hear so with its next renewal.
    /// It still ends what it has begun.
    fn let_go_if_others_serve(&mut self, now: Now, instance: InstanceId) {
        let me = self.identity.node();
        let (Some(held), Some(seen)) = (self.held.get_mut(&instance), self.cells.get(&instance.cell)) else { return };
        let serves = |lease: &cell::LeaseInfo| lease.node != me && lease.state == cell::InstanceState::Running;
        let others = seen.description.leases.iter().any(serves);
        let lets_go = self.departs || (self.draining && others);
        if held.lets_go != lets_go {
            held.lets_go = lets_go;
            held.renew_at = now.instant;
        }
    }

    fn let_go_of_all(&mut self, now: Now) {
        for instance in self.held.keys().copied().collect::<Vec<_>>() {
            self.let_go_if_others_serve(now, instance);
            self.arm(instance);
        }
    }

    fn closed(&mut self, now: Now, cell: CellId) {
        let Some(seen) = self.cells.get_mut(&cell) else { return };
        seen.local = false;
        // Whether it sleeps was the replica's word.
        self.local_sleeps(now, cell, false);
        let Some(seen) = self.cells.get(&cell) else { return };
        let description = Arc::clone(&seen.description);
        self.described(now, description, false);
        self.look(now, cell);
    }

    fn keep(&mut self, description: &Description, concerns: bool) {
        let cell = description.cell;
        let head = |description: &Description| Description {
            applied: 0,
            time: crate::time::Timestamp(0),
            leader: None,
            progress: Vec::new(),
            leases: description.leases.iter().cloned().map(held::without_renewals).collect(),
            ..description.clone()
        };
        let before = self.cells.get(&cell).map(|seen| head(&seen.description));
        let key: Blob = [KEEP_PREFIX, &cell.0].concat().into();
        if concerns && before.as_ref() != Some(&head(description)) {
            self.outbox.push(Output::Keep { key, value: Some(codec::encode(description)) });
        } else if !concerns && before.is_some() {
            self.outbox.push(Output::Keep { key, value: None });
        }
    }

    fn end(&mut self, instance: InstanceId) {
        let Some(held) = self.held.remove(&instance) else { return };
        self.agenda.set(Due::Instance(instance), None);
        self.outbox.push(Output::Run(Order::Stop { instance, generation: held.generation }));
        if held.serving {
            self.outbox.push(Output::Serving { instance, running: false });
        }
        let what = "its lease is over".to_owned();
        self.outbox.push(Output::Notice(Notice::Instance { instance, what }));
    }

    fn count_used(&mut self) {
        let me = self.identity.node();
        let replicas = self.cells.values().filter(|seen| seen.description.members.iter().any(|m| m.node == me));
        let replicas = replicas.map(|seen| seen.description.policy.replica);
        let instances = self.held.keys().filter_map(|held| self.cells.get(&held.cell));
        let instances = instances.map(|seen| seen.description.policy.instance);
        let used = replicas.chain(instances).fold(Resources::default(), |sum, one| sum.plus(&one));
        if used != self.used {
            self.used = used;
            self.outbox.push(Output::Used(used));
        }
    }

    fn arm(&mut self, instance: InstanceId) {
        let awake = self.held.get(&instance).filter(|_| !self.sleeps(instance.cell));
        self.agenda.set(Due::Instance(instance), awake.map(Held::deadline));
    }

    /// These bytes must be here: what waits for them starts when they are.
    fn need(&mut self, cell: CellId, content: ContentHash, size_bytes: u64) {
        if self.searches.is_here(content) {
            self.start_all(content);
        } else if self.searches.begin(cell, content, size_bytes) {
            self.outbox.push(Output::Fetch { from: self.identity.node(), content, size_bytes });
        }
    }

    fn start_all(&mut self, content: ContentHash) {
        for (instance, held) in self.held.iter_mut().filter(|(_, held)| held.wants(content)) {
            let Some(seen) = self.cells.get(&instance.cell) else { continue };
            if let Some(start) = held.start(&seen.description, *instance) {
                self.outbox.push(Output::Run(Order::Start(Box::new(start))));
            }
        }
    }

    fn on_fetched(&mut self, now: Now, content: ContentHash, here: bool) {
        if here {
            self.searches.found(content);
            self.agenda.set(Due::Content(content), None);
            return self.start_all(content);
        }
        let me = self.identity.node();
        let Some(seen) = self.searches.cell(content).and_then(|cell| self.cells.get(&cell)) else {
            return self.searches.forget(content);
        };
        if let Some((from, size_bytes)) = self.searches.next(now, content, &seen.description, me) {
            self.outbox.push(Output::Fetch { from, content, size_bytes });
        }
        let again = self.searches.again_at(content).map(|at| Deadline { at, reason: "bytes that nobody had" });
        self.agenda.set(Due::Content(content), again);
    }

    fn on_instance(&mut self, now: Now, id: InstanceId, generation: u64, change: InstanceChange) {
        let Some(held) = self.held.get_mut(&id).filter(|held| held.generation == generation) else { return };
        let (phase, what) = match change {
            InstanceChange::Started => (Phase::Running, "serves".to_owned()),
            InstanceChange::Failed(why) => (Phase::Failed(why.clone()), why),
            InstanceChange::Stopped => return,
        };
        let running = phase == Phase::Running;
        held.phase = phase;
        held.serving = running;
        held.renew_at = now.instant;
        self.outbox.push(Output::Notice(Notice::Instance { instance: id, what }));
        self.outbox.push(Output::Serving { instance: id, running });
        self.renew(now, id);
    }

    fn call(&mut self, asked: Asked, deadline: Instant, cell: CellId, what: What) {
        self.last_call += 1;
        self.asked.insert(self.last_call, asked);
        let context = Context::until(RequestId(self.last_call), deadline);
        self.outbox.push(Output::Call { call: self.last_call, context, cell, what });
    }

    fn renew(&mut self, now: Now, instance: InstanceId) {
        let Some(held) = self.held.get_mut(&instance) else { return };
        held.serial = (held.serial + 1).max(now.wall.0);
        held.renew_at = now.instant + held::until_renewal(now.wall, instance.cell, held.duration / RENEWALS_PER_LEASE);
        let renewal = Renewal {
            instance,
            generation: held.generation,
            line: held.line,
            state: held.state(),
            serial: held.serial,
        };
        let generation = held.generation;
        let deadline = now.instant + held.duration;
        let command = Command::Renew(self.identity.seal(&renewal));
        let asked = Asked::Renewal { instance, generation, at: now.instant };
        self.call(asked, deadline, instance.cell, What::Submit(Box::new(command)));
        self.arm(instance);
        if self.cells.get(&instance.cell).is_some_and(|seen| !seen.local) {
            self.look(now, instance.cell);
        }
    }

    fn look(&mut self, now: Now, cell: CellId) {
        let Some(seen) = self.cells.get_mut(&cell).filter(|seen| !seen.local && !seen.looking) else { return };
        seen.looking = true;
        let barrier = Barrier::AtLeast(0);
        let what = What::Read { barrier, queries: vec![Query::Describe] };
        self.call(Asked::Look(cell), now.instant + AGAIN * 5, cell, what);
    }

    fn on_called(&mut self, now: Now, call: u64, result: Result<Answer, Refusal>) {
        match self.asked.remove(&call) {
            Some(Asked::Look(cell)) => {
                if let Some(seen) = self.cells.get_mut(&cell) {
                    seen.looking = false;
                }
                if let Ok(Answer::Answered(answered)) = result
                    && let Some(cell::Answer::Description(description)) = answered.answers.into_iter().next()
                {
                    self.described(now, Arc::from(description), false);
                }
            }
            Some(Asked::Renewal { instance, generation, at }) => {
                let Some(held) = self.held.get_mut(&instance).filter(|held| held.generation == generation) else {
                    return;
                };
                match result {
                    Ok(Answer::Applied(applied)) if applied.outcome == Outcome::Done => {
                        held.valid_until = Some(at + held.duration);
                    }
                    // The cell says that this lease is not: a look will say so too, and only then is it ended.
                    Ok(_) => self.look(now, instance.cell),
                    Err(_) => held.renew_at = held.renew_at.min(now.instant + AGAIN),
                }
                self.arm(instance);
            }
            None => {}
        }
    }

    fn write(&mut self, now: Now, context: Context, instance: InstanceId, generation: u64, writes: Vec<Write>) {
        let request = context.request;
        let refuse = |code, detail: &str| Output::Refuse { request, refusal: Refusal::definite(code, detail) };
        let output = match (self.held.get(&instance), context.op) {
            (Some(held), Some(op)) if held.generation == generation => {
                let batch = DataBatch {
                    cell: instance.cell,
                    line: held.line,
                    writer: held.writer,
                    instance,
                    generation,
                    op,
                    writes,
                };
                let command = Box::new(Command::Data(self.identity.seal(&batch)));
                Output::Submit { context, cell: instance.cell, command }
            }
            (Some(_), Some(_)) | (None, _) => refuse(Code::Fenced, "this instance has no lease here any more"),
            (Some(_), None) => refuse(Code::Invalid, "a write needs an op"),
        };
        let _ = now;
        self.outbox.push(output);
    }
}

impl Machine for Leases {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Described { description, local } => self.described(now, description, local),
            Input::Drain(draining) => {
                self.draining = draining;
                self.let_go_of_all(now);
            }
            Input::Depart => {
                self.departs = true;
                self.let_go_of_all(now);
            }
            Input::Closed(cell) => self.closed(now, cell),
            Input::News(cell) => self.look(now, cell),
            Input::Sleeps { cell, asleep } => self.local_sleeps(now, cell, asleep),
            Input::Received { from, cell, message } => self.hear(now, from, cell, &message),
            Input::PeerDown(peer) => self.wake_without(now, peer),
            Input::Instance { id, generation, change } => self.on_instance(now, id, generation, change),
            Input::Write { context, instance, generation, writes } => {
                self.write(now, context, instance, generation, writes);
            }
            Input::Called { call, result } => self.on_called(now, call, result),
            Input::Fetched { content, here } => self.on_fetched(now, content, here),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(due) = self.agenda.pop_due(now) {
            match due {
                Due::Instance(instance) => {
                    if self.held.get(&instance).is_some_and(|held| held.renew_at <= now.instant) {
                        self.renew(now, instance);
                    }
                    self.arm(instance);
                }
                Due::Content(content) => {
                    if let Some(size_bytes) = self.searches.again(content) {
                        self.outbox.push(Output::Fetch { from: self.identity.node(), content, size_bytes });
                    }
                }
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}

/// The bytes that a workload needs on its host.
fn content_of(workload: &Workload) -> Option<(ContentHash, u64)> {
    match workload {
        Workload::Component { hash, size_bytes } | Workload::Site { hash, size_bytes } => Some((*hash, *size_bytes)),
        Workload::Container { .. } => None,
    }
}

/// The session under which an `Idempotency-Key` of a tenant's client is remembered.
#[must_use]
pub fn session_of_key(cell: CellId, key: &str) -> SessionId {
    SessionId::of(&[&cell.0[..], key.as_bytes()].concat())
}
