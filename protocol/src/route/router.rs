//! Keeps the table: from cells that have a replica here, from what voters of other cells say, from bindings that gossip
//! carries.
//!
//! An edge that is asked for an unknown host looks for its binding and subscribes to a voter, which sends an `Update` now
//! and on each change. A subscription lasts [`SUBSCRIPTION`] and is renewed at half of it.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    bindings::Bindings,
    names::Names,
    table::{AppRoute, RouteDelta, Target},
    wire::{Binding, Message, Update},
};
use crate::{
    agenda::Agenda,
    birth::host_of,
    cell::{Description, InstanceState},
    codec,
    command::AppShown,
    context::Context,
    id::{CellId, InstanceId, NodeId, RequestId, TenantId},
    machine::{Deadline, Machine, Outbox},
    membership::{Address, Draft},
    record::{Kind, Scope, Shared, Subject},
    refusal::{Code, Refusal},
    resources::Jurisdiction,
    ties::{Change, Ties},
    time::{Instant, Now},
};

/// Links to the instances of one app that an edge wants; more instances get their requests from other edges.
const LINKS_PER_APP_MAX: usize = 8;
/// How long a voter sends updates after it was asked to. Who loses the link to a voter asks again at once, so this only bounds
/// how long a voter remembers who went away.
const SUBSCRIPTION: Duration = Duration::from_mins(5);
/// Subscribers of one cell; of more, the one that asked first is forgotten.
const SUBSCRIBERS_MAX: usize = 4_096;
/// Cells of others that are followed; of more, the one resolved longest ago is forgotten.
const FOLLOWED_MAX: usize = 4_096;
/// Edges that wait for hosts; one more is refused.
const WAITING_MAX: usize = 4_096;
/// A binding lives so long and is renewed at half of it by the leader.
const BINDING_LIFETIME: Duration = Duration::from_hours(2);
/// A host without a binding is looked for so long: a fresh one may still be on its way.
const RESOLVE_MAX: Duration = Duration::from_secs(3);
/// Whoever a binding names as voters of a later line, so many of them are asked about it.
const LATER_ASKED: usize = 3;
/// A voter that did not answer a subscription is followed by the next one.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

/// Input of the router.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A cell with a replica here says how it is.
    Described(Arc<Description>),
    /// A cell's replica here is gone.
    Closed(CellId),
    /// A binding came or is void.
    Learned(Shared),
    /// A binding is void.
    Expired(Shared),
    /// Another router says something.
    Received {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// An edge asks for a host.
    Resolve {
        /// Until when; its request is answered.
        context: Context,
        /// Lower case, without port.
        host: String,
    },
    /// A call wants to know who votes in a cell.
    Locate(CellId),
    /// Whose each short name is from now on.
    Named(BTreeMap<String, TenantId>),
    /// A peer can be sent to.
    PeerUp(NodeId),
    /// It cannot.
    PeerDown(NodeId),
    /// Measured.
    RoundTrip(NodeId, Duration),
    /// An instance on this node serves, or no longer.
    Serving {
        /// Which.
        instance: InstanceId,
        /// It does.
        running: bool,
    },
}

/// Output of the router.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// To another router.
    Send {
        /// Where.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// A link to this node will be needed; it can be found there.
    Find {
        /// Who.
        peer: NodeId,
        /// Where.
        addresses: Vec<Address>,
    },
    /// Requests for this cell's app go to this node, or no longer.
    Want {
        /// Of which app.
        cell: CellId,
        /// Where an instance is.
        peer: NodeId,
        /// Whether a link to it is wanted.
        wanted: bool,
    },
    /// What the edge may route.
    Serve(RouteDelta),
    /// Who votes there and who leads: for the caller.
    Located {
        /// Which cell.
        cell: CellId,
        /// Nodes.
        voters: Vec<NodeId>,
        /// Who leads.
        leader: Option<NodeId>,
    },
    /// A voter elsewhere has news: for leases of that cell.
    News(CellId),
    /// A binding says that a cell with a replica here is on a later line, or on another one of the same number.
    Later {
        /// Which cell.
        cell: CellId,
        /// Which line.
        line: u64,
        /// Who votes there, as it says: they may say why.
        nodes: Vec<NodeId>,
    },
    /// Make this known.
    Publish(Draft),
    /// The host is in the table now, or not to be found.
    Resolved {
        /// Whose.
        request: RequestId,
        /// Why not.
        result: Result<(), Refusal>,
    },
}

/// What is known of one app.
#[derive(Debug)]
struct Known {
    tenant: TenantId,
    app: String,
    /// A replica here says all; then no voter is asked.
    local: Option<Arc<Description>>,
    update: Option<Update>,
    /// Voters by the binding, in the order in which they are asked.
    voters: Vec<NodeId>,
    /// Where in that order asking began: at a voter that is linked.
    first: usize,
    /// Voters asked since the last answer.
    asked: usize,
    subscribed_at: Option<Instant>,
    served: Option<AppRoute>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Subscribe(CellId),
    Publish(CellId),
    Waiting(u64),
}

#[derive(Debug)]
struct Waiting {
    context: Context,
    host: String,
    until: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Router {
    me: NodeId,
    law: Jurisdiction,
    zone: String,
    apps: BTreeMap<CellId, Known>,
    bindings: Bindings,
    names: Names,
    subscribers: BTreeMap<CellId, BTreeMap<NodeId, Instant>>,
    waiting: BTreeMap<u64, Waiting>,
    last_waiting: u64,
    published: BTreeMap<CellId, Binding>,
    /// Nodes of instances to which a link is wanted.
    ties: Ties,
    serving: BTreeSet<InstanceId>,
    peers: BTreeMap<NodeId, Option<Duration>>,
    agenda: Agenda<Due>,
    outbox: Outbox<Output>,
}

impl Router {
    /// A router on node `me` under this law, in a mesh whose self-certifying hosts end in `zone`.
    #[must_use]
    pub fn new(me: NodeId, law: Jurisdiction, zone: String) -> Self {
        Self {
            me,
            law,
            names: Names::new(zone.clone()),
            zone,
            apps: BTreeMap::new(),
            bindings: Bindings::default(),
            subscribers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_waiting: 0,
            published: BTreeMap::new(),
            ties: Ties::default(),
            serving: BTreeSet::new(),
            peers: BTreeMap::new(),
            agenda: Agenda::default(),
            outbox: Outbox::default(),
        }
    }

    fn hosts(&self, description: &Description) -> Vec<String> {
        let own = host_of(&description.app, description.tenant, &self.zone);
        std::iter::once(own).chain(description.domains.iter().cloned()).collect()
    }

    fn update_of(&self, description: &Description) -> Update {
        let running = |lease: &&crate::cell::LeaseInfo| lease.state == InstanceState::Running;
        Update {
            cell: description.cell,
            line: description.line,
            applied: description.applied,
            instances: description
                .leases
                .iter()
                .filter(running)
                .map(|lease| (lease.instance, lease.generation, lease.node))
                .collect(),
            voters: description.voters().collect(),
            leader: description.leader,
            hosts: self.hosts(description),
            removed: description.removed.is_some(),
        }
    }

    fn on_described(&mut self, now: Now, description: &Arc<Description>) {
        let cell = description.cell;
        let update = self.update_of(description);
        let known = self.known(cell, description.tenant, &description.app);
        known.local = Some(Arc::clone(description));
        let changed =
            known.update.as_ref().is_none_or(|before| Update { applied: update.applied, ..before.clone() } != update);
        known.update = Some(update.clone());
        self.agenda.set(Due::Subscribe(cell), None);
        if changed {
            self.located(cell);
            self.serve(cell);
            self.tell_subscribers(now, cell, &update);
        }
        if description.leader == Some(self.me) {
            self.publish(now, description, false);
        }
    }

    fn known(&mut self, cell: CellId, tenant: TenantId, app: &str) -> &mut Known {
        self.apps.entry(cell).or_insert_with(|| Known {
            tenant,
            app: app.to_owned(),
            local: None,
            update: None,
            voters: Vec::new(),
            first: 0,
            asked: 0,
            subscribed_at: None,
            served: None,
        })
    }

    fn tell_subscribers(&mut self, now: Now, cell: CellId, update: &Update) {
        let Some(subscribers) = self.subscribers.get_mut(&cell) else { return };
        subscribers.retain(|_, until| now.instant < *until);
        for to in subscribers.keys() {
            self.outbox.push(Output::Send { to: *to, message: Message::Update(update.clone()) });
        }
    }

    /// The leader makes known which cell answers for the app's hosts.
    fn publish(&mut self, now: Now, description: &Description, again: bool) {
        if description.removed.is_some() {
            self.agenda.set(Due::Publish(description.cell), None);
            return;
        }
        let voters = description.members.iter().filter(|member| member.votes);
        // Copies know who serves too: in a cut they are the only ones that those on their side can ask.
        let is_copy = |member: &&crate::cell::Member| !member.votes && description.policy.is_away(member.jurisdiction);
        let copies = description.members.iter().filter(is_copy);
        let voters: Vec<_> = voters.chain(copies).map(|member| (member.node, member.jurisdiction)).collect();
        let (cell, tenant) = (description.cell, description.tenant);
        let binding = |host: String| Binding {
            host,
            cell,
            tenant,
            app: description.app.clone(),
            voters: voters.clone(),
            addresses: Vec::new(),
        };
        let first = binding(host_of(&description.app, tenant, &self.zone));
        if !again && self.published.get(&cell) == Some(&first) {
            return;
        }
        for host in self.hosts(description) {
            let draft = Draft {
                kind: Kind::BINDING,
                scope: Scope::Mesh,
                subject: Subject::of(host.as_bytes()),
                line: description.line,
                generation: description.applied,
                lifetime: BINDING_LIFETIME,
                content: codec::encode(&binding(host)),
            };
            self.outbox.push(Output::Publish(draft));
        }
        self.published.insert(cell, first);
        let at = now.instant + BINDING_LIFETIME / 2;
        self.agenda.set(Due::Publish(cell), Some(Deadline { at, reason: "renew a binding" }));
    }

    fn located(&mut self, cell: CellId) {
        let Some(known) = self.apps.get(&cell) else { return };
        let (voters, leader) = match &known.update {
            Some(update) => (update.voters.clone(), update.leader),
            None => (known.voters.clone(), None),
        };
        if !voters.is_empty() {
            self.outbox.push(Output::Located { cell, voters, leader });
        }
    }

    /// Brings the edge's table up to date, if anything that it shows has changed.
    fn serve(&mut self, cell: CellId) {
        self.want_instances(cell);
        let Some(known) = self.apps.get(&cell) else { return };
        let Some(update) = &known.update else { return };
        if update.removed {
            let was = self.apps.get_mut(&cell).and_then(|known| known.served.take());
            if was.is_some() {
                self.outbox.push(Output::Serve(RouteDelta::Remove(cell)));
            }
            return self.answer_waiting(cell);
        }
        let mut targets: Vec<Target> = update
            .instances
            .iter()
            .map(|(instance, generation, node)| {
                let local = *node == self.me;
                let link = self.peers.get(node);
                Target {
                    instance: *instance,
                    generation: *generation,
                    node: *node,
                    local,
                    up: if local { self.serving.contains(instance) } else { link.is_some() },
                    round_trip: link.copied().flatten().unwrap_or(if local { Duration::ZERO } else { ASSUMED }),
                }
            })
            .collect();
        targets.sort_by_key(|target| (!target.local, target.round_trip, target.instance));
        let hosts = self.names.hosts(&known.app, known.tenant, &update.hosts);
        let route = AppRoute { cell, tenant: known.tenant, app: known.app.clone(), hosts, targets };
        if known.served.as_ref() != Some(&route) {
            self.outbox.push(Output::Serve(RouteDelta::Put(route.clone())));
            if let Some(known) = self.apps.get_mut(&cell) {
                known.served = Some(route);
            }
        }
        self.answer_waiting(cell);
    }

    /// An edge reaches instances only over links: it wants some to each app's, other edges to others.
    fn want_instances(&mut self, cell: CellId) {
        let update = self.apps.get(&cell).and_then(|known| known.update.as_ref()).filter(|update| !update.removed);
        let nodes = update.into_iter().flat_map(|update| &update.instances).map(|(_, _, node)| *node);
        let mut nodes: BTreeSet<NodeId> = nodes.filter(|node| *node != self.me).collect();
        if nodes.len() > LINKS_PER_APP_MAX {
            let by_distance: BTreeMap<NodeId, NodeId> =
                nodes.iter().map(|node| (node.distance(self.me), *node)).collect();
            nodes = by_distance.into_values().take(LINKS_PER_APP_MAX).collect();
        }
        for Change { node: peer, needed: wanted, .. } in self.ties.keep(cell, nodes) {
            self.outbox.push(Output::Want { cell, peer, wanted });
        }
    }

    fn answer_waiting(&mut self, cell: CellId) {
        let Some(hosts) = self.apps.get(&cell).and_then(|known| known.update.as_ref()).map(|update| &update.hosts)
        else {
            return;
        };
        let served: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| hosts.contains(&waiting.host)).map(|(id, _)| *id).collect();
        for id in served {
            self.resolved(id, Ok(()));
        }
    }

    fn resolved(&mut self, id: u64, result: Result<(), Refusal>) {
        self.agenda.set(Due::Waiting(id), None);
        if let Some(waiting) = self.waiting.remove(&id) {
            self.outbox.push(Output::Resolved { request: waiting.context.request, result });
        }
    }

    fn resolve(&mut self, now: Now, context: Context, host: &str) {
        let host = self.names.certifying(host);
        let request = context.request;
        let served = self.apps.values().any(|known| known.served.as_ref().is_some_and(|r| r.hosts.contains(&host)));
        if served {
            return self.outbox.push(Output::Resolved { request, result: Ok(()) });
        }
        if self.waiting.len() >= WAITING_MAX {
            let detail = format!("{WAITING_MAX} requests for unknown hosts wait already; try again in a moment");
            let result = Err(Refusal::definite(Code::Full, detail));
            return self.outbox.push(Output::Resolved { request, result });
        }
        self.last_waiting += 1;
        let id = self.last_waiting;
        let until = context.deadline.min(now.instant + RESOLVE_MAX);
        let binding = self.bindings.of_host(&host);
        self.waiting.insert(id, Waiting { context, host, until });
        self.agenda.set(Due::Waiting(id), Some(Deadline { at: until, reason: "a host is not found" }));
        if let Some(binding) = binding {
            self.follow(now, &binding);
        }
    }

    /// Follows the cell of a binding from now on.
    fn follow(&mut self, now: Now, binding: &Binding) {
        for (peer, addresses) in binding.addresses.iter().take(8) {
            self.outbox.push(Output::Find { peer: *peer, addresses: addresses.clone() });
        }
        if self.apps.len() >= FOLLOWED_MAX && !self.apps.contains_key(&binding.cell) {
            let oldest = self
                .apps
                .iter()
                .filter(|(_, known)| known.local.is_none())
                .min_by_key(|(_, known)| known.subscribed_at);
            if let Some(oldest) = oldest.map(|(cell, _)| *cell) {
                self.unfollow(oldest);
            }
        }
        // In a cut only those on this side can be asked, and all are asked in turn: they come first.
        let (near, far): (Vec<_>, Vec<_>) = binding.voters.iter().partition(|(_, law)| *law == self.law);
        let known = self.known(binding.cell, binding.tenant, &binding.app);
        if known.local.is_some() {
            return;
        }
        known.voters = near.into_iter().chain(far).map(|(node, _)| node).collect();
        self.located(binding.cell);
        self.subscribe(now, binding.cell);
    }

    fn unfollow(&mut self, cell: CellId) {
        self.agenda.set(Due::Subscribe(cell), None);
        if self.apps.remove(&cell).is_some_and(|known| known.served.is_some()) {
            self.outbox.push(Output::Serve(RouteDelta::Remove(cell)));
        }
        self.want_instances(cell);
    }

    /// Nobody here says how the cell is any more: a voter elsewhere is asked, by this router and by all who followed it here.
    fn on_closed(&mut self, now: Now, cell: CellId) {
        for to in self.subscribers.remove(&cell).unwrap_or_default().into_keys() {
            self.outbox.push(Output::Send { to, message: Message::Unknown { cell } });
        }
        let Some(known) = self.apps.get_mut(&cell) else { return };
        known.local = None;
        known.asked = 0;
        known.voters = known.update.as_ref().map(|update| update.voters.clone()).unwrap_or_default();
        self.subscribe(now, cell);
    }

    fn subscribe(&mut self, now: Now, cell: CellId) {
        let Some(known) = self.apps.get_mut(&cell).filter(|known| known.local.is_none()) else { return };
        let voters = match &known.update {
            Some(update) if !update.voters.is_empty() => &update.voters,
            Some(_) | None => &known.voters,
        };
        if known.asked == 0 {
            known.first = voters.iter().position(|voter| self.peers.contains_key(voter)).unwrap_or(0);
        }
        let at = (known.first + known.asked).checked_rem(voters.len());
        let Some(to) = at.and_then(|at| voters.get(at)).copied() else { return };
        known.asked += 1;
        known.subscribed_at = Some(now.instant);
        self.outbox.push(Output::Send { to, message: Message::Subscribe { cell } });
        let deadline = Deadline { at: now.instant + SUBSCRIBE_AGAIN, reason: "a voter did not answer" };
        self.agenda.set(Due::Subscribe(cell), Some(deadline));
    }

    fn on_update(&mut self, now: Now, from: NodeId, update: Update) {
        let cell = update.cell;
        let Some(known) = self.apps.get_mut(&cell).filter(|known| known.local.is_none()) else { return };
        let voters = known.update.as_ref().map_or(&known.voters, |update| &update.voters);
        if !(voters.contains(&from) || known.voters.contains(&from)) {
            return;
        }
        let older =
            known.update.as_ref().filter(|before| (update.line, update.applied) < (before.line, before.applied));
        // A voter counts what it applied when it last had news: without any, the same news may come with an older count.
        let no_news = older.is_some_and(|before| Update { applied: before.applied, ..update.clone() } == *before);
        if older.is_some() && !no_news {
            return;
        }
        known.asked = 0;
        let deadline = Deadline { at: now.instant + SUBSCRIPTION / 2, reason: "renew a subscription" };
        self.agenda.set(Due::Subscribe(cell), Some(deadline));
        if no_news {
            return;
        }
        known.update = Some(update);
        self.located(cell);
        self.serve(cell);
        self.outbox.push(Output::News(cell));
    }

    fn on_subscribe(&mut self, now: Now, from: NodeId, cell: CellId) {
        let local = self.apps.get(&cell).filter(|known| known.local.is_some()).and_then(|known| known.update.clone());
        let Some(update) = local else {
            return self.outbox.push(Output::Send { to: from, message: Message::Unknown { cell } });
        };
        let subscribers = self.subscribers.entry(cell).or_default();
        if subscribers.len() >= SUBSCRIBERS_MAX {
            let oldest = subscribers.iter().min_by_key(|(_, until)| **until).map(|(node, _)| *node);
            oldest.map(|node| subscribers.remove(&node));
        }
        subscribers.insert(from, now.instant + SUBSCRIPTION);
        self.outbox.push(Output::Send { to: from, message: Message::Update(update) });
    }

    /// A voter knows no such cell: the next one is asked, until each was asked once; then after [`SUBSCRIBE_AGAIN`].
    fn on_unknown(&mut self, now: Now, cell: CellId) {
        let unasked = self.apps.get(&cell).is_some_and(|known| known.asked < known.voters.len());
        if unasked {
            self.subscribe(now, cell);
        }
    }

    fn on_learned(&mut self, now: Now, record: Shared) {
        let line = record.body.order.line;
        let Some(binding) = self.bindings.learn(record) else { return };
        let here = self.apps.get(&binding.cell).and_then(|known| known.local.as_ref());
        let is_strange =
            |of: &Description| of.voters().all(|voter| binding.voters.iter().all(|(node, _)| *node != voter));
        let later = |of: &Arc<Description>| of.line < line || (of.line == line && line > 1 && is_strange(of));
        if here.is_some_and(later) {
            let nodes = binding.voters.iter().take(LATER_ASKED).map(|(node, _)| *node).collect();
            self.outbox.push(Output::Later { cell: binding.cell, line, nodes });
        }
        let waited_for = self.waiting.values().any(|waiting| waiting.host == binding.host);
        let followed = self.apps.get(&binding.cell).is_some_and(|known| known.local.is_none());
        let sought = self.bindings.found(now.instant, binding.cell);
        if waited_for || followed || sought {
            self.follow(now, &binding);
        }
    }

    fn locate(&mut self, now: Now, cell: CellId) {
        if self.apps.contains_key(&cell) {
            self.located(cell);
        } else if let Some(binding) = self.bindings.of_cell(cell) {
            self.follow(now, &binding);
        } else {
            self.bindings.seek(now.instant, cell);
        }
    }

    /// A tenant's apps, as bindings and the cells here say.
    #[must_use]
    pub fn apps(&self, tenant: TenantId, app: Option<&str>) -> Vec<AppShown> {
        let wanted = |name: &str| app.is_none_or(|app| app == name);
        let mut found: BTreeMap<CellId, AppShown> = BTreeMap::new();
        for binding in self.bindings.iter() {
            if binding.tenant == tenant && wanted(&binding.app) {
                let shown = || AppShown { app: binding.app.clone(), cell: binding.cell, hosts: Vec::new() };
                found.entry(binding.cell).or_insert_with(shown).hosts.push(binding.host.clone());
            }
        }
        for (cell, known) in self.apps.iter().filter(|(_, known)| known.tenant == tenant && wanted(&known.app)) {
            let Some(update) = &known.update else { continue };
            if update.removed {
                found.remove(cell);
                continue;
            }
            let hosts = self.names.hosts(&known.app, tenant, &update.hosts);
            found.insert(*cell, AppShown { app: known.app.clone(), cell: *cell, hosts });
        }
        let mut apps: Vec<AppShown> = found.into_values().collect();
        apps.sort();
        apps
    }

    /// Apps of tenants that are called otherwise from now on are served under their new hosts too.
    fn on_named(&mut self, names: BTreeMap<String, TenantId>) {
        let touched = self.names.change(names);
        let cells = self.apps.iter().filter(|(_, known)| touched.contains(&known.tenant));
        for cell in cells.map(|(cell, _)| *cell).collect::<Vec<_>>() {
            self.serve(cell);
        }
    }

    fn on_link(&mut self, now: Now, peer: NodeId) {
        let touched: Vec<CellId> = self
            .apps
            .iter()
            .filter(|(_, known)| {
                known.update.as_ref().is_some_and(|update| update.instances.iter().any(|(_, _, node)| *node == peer))
            })
            .map(|(cell, _)| *cell)
            .collect();
        for cell in touched {
            self.serve(cell);
        }
        let lost_voter: Vec<CellId> = self
            .apps
            .iter()
            .filter(|(_, known)| known.local.is_none() && !self.peers.contains_key(&peer))
            .filter(|(_, known)| known.update.as_ref().is_some_and(|update| update.voters.contains(&peer)))
            .map(|(cell, _)| *cell)
            .collect();
        for cell in lost_voter {
            self.subscribe(now, cell);
        }
    }
}

/// Of a link that was not measured yet.
const ASSUMED: Duration = Duration::from_secs(1);

impl Machine for Router {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Described(description) => self.on_described(now, &description),
            Input::Closed(cell) => {
                self.published.remove(&cell);
                self.agenda.set(Due::Publish(cell), None);
                self.on_closed(now, cell);
            }
            Input::Learned(record) => self.on_learned(now, record),
            Input::Expired(record) => self.bindings.forget(&record),
            Input::Received { from, message } => match message {
                Message::Subscribe { cell } => self.on_subscribe(now, from, cell),
                Message::Update(update) => self.on_update(now, from, update),
                Message::Unknown { cell } => self.on_unknown(now, cell),
            },
            Input::Resolve { context, host } => self.resolve(now, context, &host),
            Input::Named(names) => self.on_named(names),
            Input::Locate(cell) => self.locate(now, cell),
            Input::PeerUp(peer) => {
                self.peers.entry(peer).or_insert(None);
                self.on_link(now, peer);
            }
            Input::PeerDown(peer) => {
                self.peers.remove(&peer);
                self.on_link(now, peer);
            }
            Input::RoundTrip(peer, round_trip) => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    let before = known.replace(round_trip);
                    let differs = before.is_none_or(|before| differs(before, round_trip));
                    if differs {
                        self.on_link(now, peer);
                    } else {
                        *known = before;
                    }
                }
            }
            Input::Serving { instance, running } => {
                let changed = if running { self.serving.insert(instance) } else { self.serving.remove(&instance) };
                if changed {
                    self.serve(instance.cell);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(due) = self.agenda.pop_due(now) {
            match due {
                Due::Subscribe(cell) => self.subscribe(now, cell),
                Due::Publish(cell) => {
                    let local = self.apps.get(&cell).and_then(|known| known.local.clone());
                    if let Some(description) = local.filter(|local| local.leader == Some(self.me)) {
                        self.publish(now, &description, true);
                    }
                }
                Due::Waiting(id) => {
                    let Some(waiting) = self.waiting.get(&id) else { continue };
                    debug_assert!(waiting.until <= now.instant, "only what is due is popped");
                    let detail = format!("no app answers for {} in this mesh", waiting.host);
                    self.resolved(id, Err(Refusal::definite(Code::NotFound, detail)));
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

/// Whether a round trip changed so much that the order of targets may: by more than a quarter and a millisecond.
fn differs(before: Duration, after: Duration) -> bool {
    let by = before.abs_diff(after);
    by > Duration::from_millis(1) && by > before.max(after) / 4
}
