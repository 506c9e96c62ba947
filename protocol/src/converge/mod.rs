//! Converging state: key-value stores that every node of an app writes for itself, in a cut as well, and that are merged
//! whenever two of them can speak.
//!
//! ```text
//!   guest or person ──Asked──→ here? ──no──→ the cell (strong), as ever
//!                               │yes
//!                 to this node's disk ──durable──→ answer ──Delta──→ the app's other nodes
//!                                                            ⇅ Have, when links come up and after changes
//! ```
//!
//! What keys hold is a matter of [`value`] alone, in which order writes stand one of [`clock`]. `stores` is one app's state, `keep`
//! how it lies on disk, `sharing` when it is said to whom. The app's members, home and away, and the holders of its leases share
//! it, as this node last knew them: a cut changes nothing of that. See ADR 0018.
pub mod clock;
mod io;
mod keep;
mod sharing;
mod slots;
mod stores;
#[cfg(test)]
mod tests;
pub mod value;
pub mod vector;
pub mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use clock::Clock;
pub use io::{Input, Output};
use keep::Found;
pub use keep::OPS_MAX;
pub use sharing::{FILL_MAX, FORMER_KEPT};
use sharing::{Sharing, Work};
use slots::Slots;
pub use stores::{BYTES_MAX, MERGED_BYTES_MAX};
pub use wire::Message;

use crate::{
    agenda::Agenda,
    cell::{self, Description, Query, TenantAction, Write},
    codec::Blob,
    command::Command,
    context::Context,
    id::{CellId, DiskId, NodeId},
    machine::{Deadline, Machine, Outbox},
    random::Seed,
    refusal::{Code, Refusal},
    store::Rot,
    time::Now,
};

/// Stores of one app that converge.
pub const STORES_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Converge {
    me: NodeId,
    slots: Slots,
    clock: Clock,
    shared: BTreeMap<CellId, Sharing>,
    linked: BTreeSet<NodeId>,
    /// Of the cell that the next input is about.
    view: Option<Arc<Description>>,
    agenda: Agenda<CellId>,
    outbox: Outbox<Output>,
}

impl Converge {
    /// With what the disk holds of earlier.
    #[must_use]
    pub fn open(
        me: NodeId,
        seed: Seed,
        keyed: &BTreeMap<Blob, Blob>,
        rot: &Rot,
        (disk, boots): (DiskId, u64),
        now: Now,
    ) -> Self {
        let mut this = Self {
            me,
            slots: Slots::new(seed, me, disk, boots),
            clock: Clock::default(),
            shared: BTreeMap::new(),
            linked: BTreeSet::new(),
            view: None,
            agenda: Agenda::default(),
            outbox: Outbox::default(),
        };
        for (cell, mut found) in keep::found(keyed, &rot.keys) {
            found.doubtful |= rot.unnamed > 0;
            for (_, _, held) in found.stores.entries() {
                if let Some(latest) = held.latest() {
                    this.clock.hear(now.wall, latest);
                }
            }
            this.shared.insert(cell, Sharing::open(cell, found, this.slots.fresh(), now));
            this.step(now, cell);
        }
        this
    }

    /// The cell of which an input wants to know how it is here.
    #[must_use]
    pub fn concerns(input: &Input) -> Option<CellId> {
        match input {
            Input::Asked { command, .. } => match &**command {
                Command::Write { instance, .. } | Command::GuestRead { instance, .. } => Some(instance.cell),
                Command::Read { cell, .. } | Command::Submit { cell, .. } => Some(*cell),
                _ => None,
            },
            Input::Over(_)
            | Input::Described(_)
            | Input::Received { .. }
            | Input::PeerUp(_)
            | Input::PeerDown(_)
            | Input::Persisted { .. }
            | Input::PersistFailed { .. } => None,
        }
    }

    /// How the cell is that the next input concerns, if it has a replica or a lease here.
    pub fn look(&mut self, view: Option<Arc<Description>>) {
        self.view = view;
    }

    /// What this node holds of an app, for who compares: each key that there is, with its value.
    #[cfg(any(test, feature = "fixtures"))]
    #[must_use]
    pub fn shown(&self, cell: CellId) -> BTreeMap<(String, String), Blob> {
        let entries = self.shared.get(&cell).into_iter().flat_map(|it| it.stores.entries());
        entries.filter_map(|(store, key, held)| Some(((store.clone(), key.clone()), held.value()?))).collect()
    }

    fn asked(&mut self, now: Now, context: Context, command: Box<Command>) {
        let view = self.view.take();
        let Some(description) = view.filter(|it| !it.policy.converging.is_empty()) else {
            return self.outbox.push(Output::Elsewhere { context, command });
        };
        let stores = named(&command);
        let converges = |store: &String| description.policy.converges(store);
        if !stores.iter().any(converges) {
            return self.outbox.push(Output::Elsewhere { context, command });
        }
        let request = context.request;
        let refuse = |code, detail: &str| Output::Refuse { request, refusal: Refusal::definite(code, detail) };
        if !stores.iter().all(converges) {
            let detail = "one request names strong and converging stores: no batch is made in both at once";
            return self.outbox.push(refuse(Code::Invalid, detail));
        }
        if description.removed.is_some() {
            return self.outbox.push(refuse(Code::Expired, "its tenant has ended this app"));
        }
        let op = context.op;
        let cell = description.cell;
        let work = match *command {
            Command::Write { instance, generation, writes } => {
                let mine = |lease: &&cell::LeaseInfo| lease.instance == instance && lease.node == self.me;
                if description.leases.iter().find(mine).is_none_or(|lease| lease.generation != generation) {
                    return self.outbox.push(refuse(Code::Fenced, "this instance has no lease here any more"));
                }
                Work::Write { request, op, writes }
            }
            Command::Submit { command, .. } => {
                let Some(writes) = written(&command) else {
                    return self.outbox.push(refuse(Code::Invalid, "the tenant's command cannot be read"));
                };
                Work::Write { request, op, writes }
            }
            Command::GuestRead { queries, .. } => Work::Read { request, guest: true, queries, description },
            Command::Read { queries, .. } => Work::Read { request, guest: false, queries, description },
            _ => return,
        };
        let Some(sharing) = self.shared.get_mut(&cell) else {
            let detail = "this node has just come to this app and does not hold its stores yet; try again in a moment";
            return self.outbox.push(refuse(Code::Unreachable, detail));
        };
        sharing.ask(work, &mut self.outbox);
        self.step(now, cell);
    }

    fn described(&mut self, now: Now, description: &Description) {
        let cell = description.cell;
        let belongs = description.members.iter().any(|member| member.node == self.me)
            || description.leases.iter().any(|lease| lease.node == self.me);
        let wanted = !description.policy.converging.is_empty() && description.removed.is_none();
        if !self.shared.contains_key(&cell) {
            if !belongs || !wanted {
                return;
            }
            let sharing = Sharing::open(cell, Found::default(), self.slots.fresh(), now);
            self.shared.insert(cell, sharing);
        }
        let Some(sharing) = self.shared.get_mut(&cell).filter(|_| belongs) else { return };
        if sharing.described(now, self.me, description, &self.linked) {
            self.outbox.push(Output::Want { cell, nodes: BTreeSet::new() });
        }
        self.step(now, cell);
    }

    fn over(&mut self, now: Now, description: &Description) {
        let (cell, removed) = (description.cell, description.removed.is_some());
        let Some(sharing) = self.shared.get_mut(&cell) else { return };
        let nodes = sharing.leave(removed);
        self.outbox.push(Output::Want { cell, nodes });
        self.step(now, cell);
    }

    fn step(&mut self, now: Now, cell: CellId) {
        let Some(sharing) = self.shared.get_mut(&cell) else { return };
        sharing.step(now, &mut self.clock, &mut self.slots, &mut self.outbox);
        if sharing.done {
            let batch = sharing.drop_all();
            for to in sharing.farewell() {
                self.outbox.push(Output::Send { to, cell, message: Message::Gone });
            }
            self.outbox.push(Output::Forget { cell, batch });
            self.outbox.push(Output::Want { cell, nodes: BTreeSet::new() });
            self.shared.remove(&cell);
            return self.agenda.set(cell, None);
        }
        self.agenda.set(cell, sharing.deadline(now));
    }
}

/// The stores that a request names.
fn named(command: &Command) -> BTreeSet<String> {
    let of_writes = |writes: &[Write]| writes.iter().map(|write| write.store().to_owned()).collect();
    match command {
        Command::Write { writes, .. } => of_writes(writes),
        Command::GuestRead { queries, .. } | Command::Read { queries, .. } => {
            queries.iter().filter_map(Query::store).map(str::to_owned).collect()
        }
        Command::Submit { command, .. } => written(command).map(|writes| of_writes(&writes)).unwrap_or_default(),
        _ => BTreeSet::new(),
    }
}

/// What a tenant's command writes, if that is what it does.
fn written(command: &cell::Command) -> Option<Vec<Write>> {
    let cell::Command::Tenant { signed, .. } = command else { return None };
    match signed.open().ok()?.action {
        TenantAction::Write(writes) => Some(writes),
        TenantAction::Release(_)
        | TenantAction::Rollback { .. }
        | TenantAction::Scale { .. }
        | TenantAction::Secrets(_)
        | TenantAction::Remove => None,
    }
}

impl Machine for Converge {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Asked { context, command } => self.asked(now, context, command),
            Input::Described(description) => self.described(now, &description),
            Input::Over(description) => self.over(now, &description),
            Input::Received { from, cell, message } => {
                if let Some(sharing) = self.shared.get_mut(&cell) {
                    sharing.received(now, from, message, &mut self.slots);
                    self.step(now, cell);
                } else if matches!(message, Message::Have { ask: true, .. }) {
                    self.outbox.push(Output::Send { to: from, cell, message: Message::Gone });
                }
            }
            Input::PeerUp(node) => self.link(now, node, true),
            Input::PeerDown(node) => self.link(now, node, false),
            Input::Persisted { cell, write } => {
                if let Some(sharing) = self.shared.get_mut(&cell) {
                    sharing.persisted(now, write, &mut self.outbox);
                    self.step(now, cell);
                }
            }
            Input::PersistFailed { cell, fault } => {
                if let Some(sharing) = self.shared.get_mut(&cell) {
                    sharing.persist_failed(&fault, &mut self.outbox);
                    self.agenda.set(cell, None);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(cell) = self.agenda.pop_due(now) {
            self.step(now, cell);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}

impl Converge {
    fn link(&mut self, now: Now, node: NodeId, up: bool) {
        if up {
            self.linked.insert(node);
        } else {
            self.linked.remove(&node);
        }
        for cell in self.shared.keys().copied().collect::<Vec<_>>() {
            if let Some(sharing) = self.shared.get_mut(&cell)
                && sharing.admits(node)
            {
                sharing.link(now, node, up);
                self.step(now, cell);
            }
        }
    }
}
