//! The asking side of placing: from a signed release, or from a cell's need, to grants, receipts and a founded cell.
//!
//! ```text
//!   Deploy  ─ gather ─ plan ─ grant ─ store ─ found ─→ Deployed
//!   Plan    ─ gather ─ plan ─────────────────────────→ Planned
//!   Seek    ─ gather ─ plan ─ grant ─────────────────→ Found, to the cell that needs it
//!   Release ─ describe ──────────── store ───────────→ Submit, to the cell
//! ```
//!
//! A sponsor can delay, but not forge: each step is signed by whom it concerns and checked again by every member.
mod project;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use project::Goal;
use project::{Project, Stage};

use super::wire::Message;
use crate::{
    agenda::Agenda,
    caller::{Answer, What},
    capacity::{Ask, Gates, Named},
    cell::{
        self, Barrier, Candidate, CellGenesis, Command, Description, Founder, Grant, Need, Query, Receipt, Role,
        Seeking, TenantAction, state::RULES_OF_CONVERGING,
    },
    command::{PlacedShown, PlanShown, Reply},
    context::Context,
    id::{CellId, MeshId, NodeId, RequestId},
    identity::{Admitted, NodeIdentity, Signed},
    machine::{Deadline, Machine, Outbox},
    membership::Address,
    placement::{self, Placing, Plan, Policy, Want},
    record::Keyring,
    refusal::{Code, Refusal},
    resources::{Jurisdiction, Resources},
    time::Now,
};

/// Projects under way at once; one more is refused `Full`.
const PROJECTS_MAX: usize = 1_024;
/// Candidates asked for in each jurisdiction.
const CANDIDATES: u32 = 16;
/// A jurisdiction that does not answer so long is planned without.
const GATHER_MAX: Duration = Duration::from_millis(1_500);
/// Grants that do not come so long count as a no.
const GRANT_MAX: Duration = Duration::from_secs(2);
/// Bytes are given so long to reach their hosts.
const STORE_MAX: Duration = Duration::from_secs(20);
/// A member that has not said that it started is told again after this.
const FOUND_AGAIN: Duration = Duration::from_secs(1);
/// How often a plan is made anew after somebody said no.
const ROUNDS_MAX: u32 = 5;
/// A cell's own search for a stand-in ends after this.
const SEEK_MAX: Duration = Duration::from_secs(15);

/// Input of the sponsor.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Somebody wants something placed.
    Start {
        /// Until when; its request is answered.
        context: Context,
        /// What.
        goal: Box<Goal>,
    },
    /// What is known of keys changed.
    Keys(Arc<Keyring>),
    /// Whom to ask in each other jurisdiction.
    Gates(Gates),
    /// Who counts: others' nodes are not asked, whoever names them.
    Counted(Admitted),
    /// Candidates, from this node's own market.
    Candidates {
        /// Which project.
        request: RequestId,
        /// Who, with addresses.
        named: Named,
    },
    /// A candidate answered: `Granted`, `Stored` or `Founded`.
    Received {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// The caller brought an answer.
    Called {
        /// To which project.
        call: u64,
        /// What.
        result: Result<Answer, Refusal>,
    },
}

/// Output of the sponsor.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Ask this node's own market. Answered by `Candidates`.
    AskHere {
        /// Which project.
        request: RequestId,
        /// What for.
        ask: Ask,
    },
    /// To a node, this one included.
    Send {
        /// To whom.
        to: NodeId,
        /// Where it was said to be.
        addresses: Vec<Address>,
        /// What.
        message: Message,
    },
    /// Bring a question to a cell; answered by `Called`.
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
    /// Bring a command to a cell; the person's request is answered.
    Submit {
        /// Whose.
        context: Context,
        /// Which cell.
        cell: CellId,
        /// What.
        command: Box<Command>,
    },
    /// To the cell that sought.
    Found {
        /// Which.
        cell: CellId,
        /// What it sought.
        need: Need,
        /// Who said yes.
        found: Option<(Candidate, Signed<Grant>)>,
    },
    /// To the person.
    Reply {
        /// Whose.
        request: RequestId,
        /// What became of it.
        result: Result<Reply, Refusal>,
    },
}

/// Where a host was said to be, and what it is asked to grant.
type Wanted = (Vec<Address>, Vec<(Role, Resources)>);

/// See the module.
#[derive(Debug)]
pub struct Sponsor {
    identity: NodeIdentity,
    mesh: MeshId,
    zone: String,
    /// Says where an app goes, in an experiment.
    placing: Option<Arc<dyn Placing>>,
    gates: BTreeMap<Jurisdiction, Vec<(NodeId, Vec<Address>)>>,
    admitted: Admitted,
    projects: BTreeMap<u64, Project>,
    agenda: Agenda<u64>,
    last: u64,
    keyring: Arc<Keyring>,
    outbox: Outbox<Output>,
}

impl Sponsor {
    /// A sponsor on this node; hosts are named `app.tenant.zone`. Without `placing`, apps go where what ships says.
    #[must_use]
    pub fn new(identity: NodeIdentity, mesh: MeshId, zone: String, placing: Option<Arc<dyn Placing>>) -> Self {
        Self {
            identity,
            mesh,
            zone,
            placing,
            gates: BTreeMap::new(),
            admitted: Admitted::everybody(),
            projects: BTreeMap::new(),
            agenda: Agenda::default(),
            last: 0,
            keyring: Arc::default(),
            outbox: Outbox::default(),
        }
    }

    fn start(&mut self, now: Now, context: Context, goal: Goal) {
        if self.projects.len() >= PROJECTS_MAX {
            let refusal = Refusal::definite(Code::Full, "this node places too much at once; try again in a moment");
            return self.answer(&context, &goal, Err(refusal));
        }
        self.last += 1;
        let id = self.last;
        let deadline = match goal {
            Goal::Seek { .. } => now.instant + SEEK_MAX,
            Goal::Deploy { .. } | Goal::Plan { .. } | Goal::Release { .. } => context.deadline,
        };
        let context = Context { deadline, ..context };
        let mut project = match Project::new(context, goal, self.mesh, self.keyring.clone()) {
            Ok(project) => project,
            Err(refused) => {
                let (goal, refusal) = *refused;
                return self.answer(&context, &goal, Err(refusal));
            }
        };
        project.count_only(self.admitted.clone());
        if let Goal::Release { cell, .. } = project.goal {
            project.stage = Stage::Describing;
            let what = What::Read { barrier: Barrier::AtLeast(0), queries: vec![Query::Describe] };
            self.outbox.push(Output::Call { call: id, context, cell, what });
            self.projects.insert(id, project);
            return self.arm(now, id, GRANT_MAX * 4);
        }
        self.projects.insert(id, project);
        self.gather(now, id);
    }

    /// Asks each jurisdiction that the policy names for candidates.
    fn gather(&mut self, now: Now, id: u64) {
        let (here, me) = (self.identity.certificate().jurisdiction, self.identity.node());
        let Some(project) = self.projects.get_mut(&id) else { return };
        let policy = &project.policy;
        let mut wanted: BTreeSet<Jurisdiction> = policy.home.iter().chain(&policy.away).copied().collect();
        if policy.home.is_empty() {
            wanted.extend(self.gates.keys());
            wanted.insert(here);
        }
        if let Some(law) = project.law() {
            wanted = BTreeSet::from([law]);
        }
        let need = project.need();
        let mut pending = BTreeSet::new();
        let mut asks = Vec::new();
        for jurisdiction in wanted {
            let ask = Ask { jurisdiction, need, count: CANDIDATES };
            if jurisdiction == here {
                asks.push(Output::AskHere { request: RequestId(id), ask });
                pending.insert((here, me));
                continue;
            }
            let gates = self.gates.get(&jurisdiction).map_or(&[][..], Vec::as_slice);
            for (to, addresses) in gates.iter().take(2) {
                let context = Context { request: RequestId(id), ..project.context }.to_wire(now);
                let message = Message::Candidates { context, ask: ask.clone() };
                asks.push(Output::Send { to: *to, addresses: addresses.clone(), message });
                pending.insert((jurisdiction, *to));
            }
        }
        project.stage = Stage::Gathering { pending };
        for ask in asks {
            self.outbox.push(ask);
        }
        self.arm(now, id, GATHER_MAX);
        self.plan_if_gathered(now, id);
    }

    fn arm(&mut self, now: Now, id: u64, step: Duration) {
        let due = self.projects.get(&id).map(|project| {
            let at = (now.instant + step).min(project.context.deadline);
            Deadline { at, reason: "a step of placing" }
        });
        self.agenda.set(id, due);
    }

    fn on_candidates(&mut self, now: Now, from: NodeId, request: RequestId, named: Named) {
        let Some(project) = self.projects.get_mut(&request.0) else { return };
        project.gathered(now, from, named);
        self.plan_if_gathered(now, request.0);
    }

    fn plan_if_gathered(&mut self, now: Now, id: u64) {
        let Some(project) = self.projects.get(&id) else { return };
        if matches!(&project.stage, Stage::Gathering { pending } if pending.is_empty()) {
            self.plan(now, id);
        }
    }

    fn plan(&mut self, now: Now, id: u64) {
        let Some(project) = self.projects.get_mut(&id) else { return };
        project.rounds += 1;
        let plan = match project.plan(now, self.placing.as_deref()) {
            Ok(plan) => plan,
            Err(unplaceable) => {
                return self.end(id, Err(unplaceable.into()));
            }
        };
        match &project.goal {
            Goal::Plan { .. } => self.end(id, Ok(Reply::Planned(Box::new(shown(&plan))))),
            Goal::Deploy { .. } | Goal::Seek { .. } => self.ask_grants(now, id, plan),
            Goal::Release { .. } => unreachable!("a release of a living cell is placed where the cell is"),
        }
    }

    fn ask_grants(&mut self, now: Now, id: u64, plan: Plan) {
        let Some(project) = self.projects.get_mut(&id) else { return };
        let mut roles: BTreeMap<NodeId, Wanted> = BTreeMap::new();
        let vote = if matches!(project.goal, Goal::Seek { .. }) { Role::Learn } else { Role::Vote };
        let (replica, instance) = (project.policy.replica, project.policy.instance);
        for placed in &plan.voters {
            let entry = roles.entry(placed.node).or_insert_with(|| (placed.addresses.clone(), Vec::new()));
            entry.1.push((vote, replica));
        }
        for placed in &plan.instances {
            let entry = roles.entry(placed.node).or_insert_with(|| (placed.addresses.clone(), Vec::new()));
            entry.1.push((Role::Instance, instance));
        }
        let context = Context { request: RequestId(id), ..project.context }.to_wire(now);
        let (purpose, tenant) = (project.purpose, project.tenant);
        let pending = roles.keys().copied().collect();
        project.stage = Stage::Granting { plan, pending, grants: BTreeMap::new() };
        for (to, (addresses, roles)) in roles {
            let message = Message::Grant { context, purpose, tenant, roles };
            self.outbox.push(Output::Send { to, addresses, message });
        }
        self.arm(now, id, GRANT_MAX);
    }

    fn on_granted(&mut self, now: Now, from: NodeId, id: u64, result: Result<Vec<Signed<Grant>>, Refusal>) {
        let Some(project) = self.projects.get_mut(&id) else { return };
        let Stage::Granting { pending, grants, .. } = &mut project.stage else { return };
        if !pending.remove(&from) {
            return;
        }
        match result {
            Ok(given) => {
                grants.insert(from, given);
                if pending.is_empty() {
                    self.granted(now, id);
                }
            }
            Err(refusal) => {
                project.exclude.insert(from, refusal.detail);
                self.plan_anew(now, id);
            }
        }
    }

    fn plan_anew(&mut self, now: Now, id: u64) {
        let Some(project) = self.projects.get(&id) else { return };
        if project.rounds < ROUNDS_MAX {
            return self.plan(now, id);
        }
        let reasons: Vec<&str> = project.exclude.values().map(String::as_str).collect();
        let detail = format!("the hosts that fit said no: {}", reasons.join("; "));
        self.end(id, Err(Refusal::definite(Code::Unplaceable, detail)));
    }

    fn granted(&mut self, now: Now, id: u64) {
        let Some(project) = self.projects.get_mut(&id) else { return };
        match &project.goal {
            Goal::Seek { .. } => {
                let found = project.found();
                self.end_seek(id, found);
            }
            Goal::Deploy { .. } => {
                let Stage::Granting { plan, .. } = &project.stage else { return };
                let placed = plan.voters.iter().chain(&plan.instances);
                let hosts = placed.map(|placed| (placed.node, placed.addresses.clone())).collect();
                self.store(now, id, hosts);
            }
            Goal::Plan { .. } | Goal::Release { .. } => {}
        }
    }

    /// Has the release's bytes put on `hosts`.
    fn store(&mut self, now: Now, id: u64, hosts: BTreeMap<NodeId, Vec<Address>>) {
        let holder = self.identity.node();
        let Some(project) = self.projects.get_mut(&id) else { return };
        let Some((content, size_bytes)) = project.content else {
            let detail = "this kind of workload does not run on this mesh yet: deploy a component";
            return self.end(id, Err(Refusal::definite(Code::Unsupported, detail)));
        };
        let context = Context { request: RequestId(id), ..project.context }.to_wire(now);
        project.stage.store(hosts.keys().copied().collect());
        for (to, addresses) in hosts {
            let message = Message::Store { context, content, size_bytes, holder };
            self.outbox.push(Output::Send { to, addresses, message });
        }
        self.arm(now, id, STORE_MAX);
    }

    fn on_stored(&mut self, now: Now, from: NodeId, id: u64, result: Result<Signed<Receipt>, Refusal>) {
        let Some(project) = self.projects.get_mut(&id) else { return };
        let Some((pending, receipts)) = project.stage.storing() else { return };
        if !pending.remove(&from) {
            return;
        }
        match result {
            Ok(receipt) => receipts.push(receipt),
            Err(refusal) => {
                project.exclude.insert(from, refusal.detail.clone());
                // A living cell is content with a majority; a plan for a new one is made anew.
                if matches!(project.goal, Goal::Deploy { .. }) {
                    return self.plan_anew(now, id);
                }
            }
        }
        if pending.is_empty() {
            self.stored(now, id);
        }
    }

    fn stored(&mut self, now: Now, id: u64) {
        let Some(project) = self.projects.get_mut(&id) else { return };
        if let Goal::Release { cell, signed } = &project.goal {
            let receipts = project.stage.storing().map(|(_, receipts)| std::mem::take(receipts)).unwrap_or_default();
            let command = Box::new(Command::Tenant { signed: signed.clone(), receipts });
            let (context, cell) = (project.context, *cell);
            self.forget(id);
            return self.outbox.push(Output::Submit { context, cell, command });
        }
        let Some(genesis) = project.genesis(self.mesh, now.wall) else { return };
        let genesis = Arc::new(genesis);
        let members: BTreeMap<NodeId, Vec<Address>> = project.hosts();
        project.stage = Stage::Founding {
            cell: genesis.cell(),
            genesis,
            pending: members,
            started: BTreeSet::new(),
            refused: Vec::new(),
            answered: false,
        };
        self.tell_founded(now, id);
    }

    fn tell_founded(&mut self, now: Now, id: u64) {
        let Some(project) = self.projects.get(&id) else { return };
        let Stage::Founding { genesis, pending, .. } = &project.stage else { return };
        let context = Context { request: RequestId(id), ..project.context }.to_wire(now);
        let sends: Vec<Output> = pending
            .iter()
            .map(|(to, addresses)| {
                let message = Message::Found { context, genesis: Box::new((**genesis).clone()) };
                Output::Send { to: *to, addresses: addresses.clone(), message }
            })
            .collect();
        for send in sends {
            self.outbox.push(send);
        }
        self.arm(now, id, FOUND_AGAIN);
    }

    fn on_founded(&mut self, from: NodeId, id: u64, result: Result<(), Refusal>) {
        let Some(project) = self.projects.get_mut(&id) else { return };
        let context = project.context;
        let Stage::Founding { cell, genesis, pending, started, refused, answered } = &mut project.stage else { return };
        if pending.remove(&from).is_none() {
            return;
        }
        match result {
            Ok(()) => drop(started.insert(from)),
            Err(refusal) => refused.push(refusal),
        }
        let voters = genesis.voters.len();
        let is_voter = |node: &&NodeId| genesis.replica_of(**node).is_some();
        let up = started.iter().filter(is_voter).count();
        if up > voters / 2 && !*answered {
            *answered = true;
            let host = host_of(&project.app, project.tenant, &self.zone);
            let reply = Reply::Deployed { cell: *cell, genesis: Arc::clone(genesis), host };
            self.outbox.push(Output::Reply { request: context.request, result: Ok(reply) });
        }
        if pending.is_empty() {
            let answered = *answered;
            let refusal = refused.first().cloned();
            let why = || Refusal::indefinite(Code::Unreachable, "too few members started the cell");
            if !answered {
                let result = Err(refusal.unwrap_or_else(why));
                self.outbox.push(Output::Reply { request: context.request, result });
            }
            self.forget(id);
        }
    }

    fn on_called(&mut self, now: Now, id: u64, result: Result<Answer, Refusal>) {
        let description = match result {
            Ok(Answer::Answered(answered)) => answered.answers.into_iter().find_map(|answer| match answer {
                cell::Answer::Description(description) => Some(description),
                cell::Answer::Value(_)
                | cell::Answer::Keys { .. }
                | cell::Answer::Captured(_)
                | cell::Answer::Piece(_) => None,
            }),
            Ok(Answer::Applied(_)) => None,
            Err(refusal) => return self.end(id, Err(refusal)),
        };
        let Some(description) = description else { return };
        let converges = self.projects.get(&id).is_some_and(|project| !project.policy.converging.is_empty());
        if converges && description.rules < RULES_OF_CONVERGING {
            let detail = format!(
                "a store of this release converges, and not all voters of the app know of such stores: the cell is on rules {}, \
                 and {RULES_OF_CONVERGING} are needed; deploy it once their hosters have upgraded",
                description.rules
            );
            return self.end(id, Err(Refusal::definite(Code::Unsupported, detail)));
        }
        let members = description.members.iter().map(|member| member.node);
        let nodes = members.chain(description.leases.iter().map(|lease| lease.node));
        let hosts = nodes.map(|node| (node, Vec::new())).collect();
        self.store(now, id, hosts);
    }

    fn on_timeout(&mut self, now: Now, id: u64) {
        let Some(project) = self.projects.get_mut(&id) else { return };
        let over = project.context.deadline <= now.instant;
        match &mut project.stage {
            Stage::Founding { answered, .. } if over => {
                let (answered, request) = (*answered, project.context.request);
                self.forget(id);
                if !answered {
                    let detail = "too few members started the cell in time; it may still come up";
                    let refusal = Refusal::indefinite(Code::Timeout, detail);
                    self.outbox.push(Output::Reply { request, result: Err(refusal) });
                }
            }
            Stage::Founding { .. } => self.tell_founded(now, id),
            _ if over => self.end(id, Err(Refusal::definite(Code::Timeout, "placing took too long; try again"))),
            Stage::Gathering { pending } => {
                pending.clear();
                self.plan(now, id);
            }
            Stage::Granting { pending, .. } => {
                let silent = std::mem::take(pending);
                let reason = |node: NodeId| (node, format!("node {} did not answer", node.short()));
                project.exclude.extend(silent.into_iter().map(reason));
                self.plan_anew(now, id);
            }
            Stage::Storing { pending, .. } => {
                let silent = std::mem::take(pending);
                let reason = |node: NodeId| (node, format!("node {} did not store the bytes in time", node.short()));
                project.exclude.extend(silent.into_iter().map(reason));
                match project.goal {
                    Goal::Deploy { .. } => self.plan_anew(now, id),
                    Goal::Release { .. } => self.stored(now, id),
                    Goal::Plan { .. } | Goal::Seek { .. } => {}
                }
            }
            Stage::Describing => {
                let refusal = Refusal::definite(Code::Unreachable, "the cell could not be asked where it is");
                self.end(id, Err(refusal));
            }
        }
    }

    fn end(&mut self, id: u64, result: Result<Reply, Refusal>) {
        let Some(project) = self.projects.get(&id) else { return };
        let (context, goal) = (project.context, project.goal.clone());
        self.forget(id);
        self.answer(&context, &goal, result);
    }

    fn answer(&mut self, context: &Context, goal: &Goal, result: Result<Reply, Refusal>) {
        self.outbox.push(match goal {
            Goal::Seek { description, need, .. } => {
                Output::Found { cell: description.cell, need: need.clone(), found: None }
            }
            Goal::Deploy { .. } | Goal::Plan { .. } | Goal::Release { .. } => {
                Output::Reply { request: context.request, result }
            }
        });
    }

    fn end_seek(&mut self, id: u64, found: Option<(Candidate, Signed<Grant>)>) {
        let Some(project) = self.projects.get(&id) else { return };
        let Goal::Seek { description, need } = &project.goal else { return };
        let output = Output::Found { cell: description.cell, need: need.clone(), found };
        self.forget(id);
        self.outbox.push(output);
    }

    fn forget(&mut self, id: u64) {
        self.projects.remove(&id);
        self.agenda.set(id, None);
    }
}

impl Machine for Sponsor {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Start { context, goal } => self.start(now, context, *goal),
            Input::Keys(keyring) => self.keyring = keyring,
            Input::Gates(gates) => self.gates = gates.into_iter().collect(),
            Input::Counted(admitted) => self.admitted = admitted,
            Input::Candidates { request, named } => {
                self.on_candidates(now, self.identity.node(), request, named);
            }
            Input::Received { from, message } => match message {
                Message::Granted { request, result } => self.on_granted(now, from, request.0, result),
                Message::Stored { request, result } => self.on_stored(now, from, request.0, result),
                Message::Founded { request, result } => self.on_founded(from, request.0, result),
                Message::CandidatesFound { request, candidates, withheld } => {
                    let named = Named { candidates, withheld: withheld.unwrap_or_default() };
                    self.on_candidates(now, from, request, named);
                }
                Message::Candidates { .. } | Message::Grant { .. } | Message::Store { .. } | Message::Found { .. } => {}
            },
            Input::Called { call, result } => self.on_called(now, call, result),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        while let Some(id) = self.agenda.pop_due(now) {
            self.on_timeout(now, id);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.agenda.first()
    }
}

/// The self-certifying host of an app.
#[must_use]
pub fn host_of(app: &str, tenant: crate::id::TenantId, zone: &str) -> String {
    format!("{app}.{tenant}.{zone}")
}

fn shown(plan: &Plan) -> PlanShown {
    let placed = |role: &'static str, placed: &placement::Placed| PlacedShown {
        role,
        node: placed.node,
        operator: placed.standing.operator,
        operator_name: placed.operator_name.clone(),
        jurisdiction: placed.standing.jurisdiction,
        site: placed.standing.site.clone(),
        why: placed.why.clone(),
    };
    let voters = plan.voters.iter().map(|one| placed("voter", one));
    let instances = plan.instances.iter().map(|one| placed("instance", one));
    PlanShown {
        placed: voters.chain(instances).collect(),
        grade: plan.grade,
        price_per_hour: plan.price_per_hour,
        rejected: plan.rejected.iter().map(|(node, reason)| (*node, reason.to_string())).collect(),
    }
}

#[cfg(test)]
mod tests;
