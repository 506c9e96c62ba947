//! How a world begins: its nodes start, find each other, and its tenants deploy. When all apps are founded the mesh
//! stands, and faults and clients begin.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bocage_protocol::{
    cell::{Description, Release, TenantAction, TenantCommand, Workload},
    codec::Blob,
    command::{Command, Reply},
    id::{CellId, ContentHash, NodeId, OpId, SessionId},
    identity::{Keypair, Signed},
    placement::Policy,
    refusal::Refusal,
    resources::Jurisdiction,
};

use super::{Beat, Event, MILLI, SECOND, WORLD, Waiting, World, clients::Client, shared::SHARED};
use crate::{
    check::{
        converge::Converge,
        cut_contract::{Contract, CutContract},
        exactly_once::ExactlyOnce,
    },
    host::{Component, Daemon},
    report::Property,
    scenario,
};

/// Nodes start one after the other, so far apart.
const START_APART: u64 = 10 * MILLI;

/// The first deploy comes so long after the last node's start.
const SETTLE: u64 = 8 * SECOND;

/// Deploys come one after the other, so far apart.
const DEPLOY_APART: u64 = 40 * MILLI;

/// A mesh that does not stand by then never will.
const STANDS_WITHIN: u64 = 180 * SECOND;

/// A deploy takes no longer.
const DEPLOY_MAX: Duration = Duration::from_secs(20);

/// An app of this world.
#[derive(Debug)]
pub(super) struct App {
    pub(super) name: String,
    spec: scenario::App,
    keys: Keypair,
    component: Component,
    pub(super) cell: Option<CellId>,
    pub(super) host: String,
    asked: u32,
    began: u64,
    /// As descriptions say.
    pub(super) line: u64,
    /// What each node with a replica said last, and when.
    pub(super) described: BTreeMap<u32, (u64, Arc<Description>)>,
    /// When it last acknowledged a write, and the longest time it did not.
    pub(super) acknowledged_at: u64,
    pub(super) silent_max: u64,
    /// What the last reading of everything has found so far.
    pub(super) counter: Option<i64>,
    pub(super) keys_found: BTreeSet<String>,
    pub(super) read_whole: bool,
}

impl<D: Daemon> World<D> {
    /// Settles everybody and has them start.
    pub(super) fn found(&mut self) {
        let places = self.population.places.clone();
        let mut last = 0;
        for (number, place) in (0u64..).zip(places) {
            let node = self.settle(place);
            last = number * START_APART;
            self.queue.push(last, node, Event::Start);
        }
        let specs = self.scenario.app.clone();
        for spec in specs {
            for number in 1..=spec.count {
                let name = if spec.count == 1 { spec.name.clone() } else { format!("{}-{number}", spec.name) };
                self.add_app(name, &spec);
            }
        }
        let begin = last + SETTLE;
        for app in 0..u32::try_from(self.apps.len()).expect("apps are fewer than numbers") {
            let at = begin + u64::from(app) * DEPLOY_APART;
            self.queue.push(at, WORLD, Event::Beat(Beat::Deploy { app }));
        }
        if self.apps.is_empty() {
            self.queue.push(begin, WORLD, Event::Beat(Beat::Stands));
        }
        self.queue.push(STANDS_WITHIN, WORLD, Event::Beat(Beat::Stands));
    }

    fn add_app(&mut self, name: String, spec: &scenario::App) {
        let mut bytes = vec![0; spec.component_bytes];
        self.seed.split_for("component", name.as_bytes()).rng().fill(&mut bytes);
        let component = Arc::new((ContentHash::of(&bytes), Blob::from(bytes)));
        let (keys, _) = self.population.tenant(&name);
        self.apps.push(App {
            name,
            spec: spec.clone(),
            keys,
            component,
            cell: None,
            host: String::new(),
            asked: 0,
            began: 0,
            line: 0,
            described: BTreeMap::new(),
            acknowledged_at: 0,
            silent_max: 0,
            counter: None,
            keys_found: BTreeSet::new(),
            read_whole: false,
        });
        self.checks.exactly_once.push(ExactlyOnce::default());
        self.checks.cut_contract.push(CutContract::default());
        self.checks.converge.push(Converge::default());
    }

    /// Whom a node dials first: while the mesh is founded its first nodes, later some that run.
    pub(super) fn bootstrap(&mut self, node: u32) -> Vec<(u32, NodeId)> {
        let chosen: Vec<u32> = if (node as usize) < self.population.places.len() {
            (0..3).filter(|number| *number != node && (*number as usize) < self.hosts.len()).collect()
        } else {
            let mut running = self.members();
            self.streams.runtime.shuffle(&mut running);
            running.into_iter().take(3).collect()
        };
        chosen.into_iter().map(|number| (number, self.hosts[number as usize].id)).collect()
    }

    /// A tenant deploys at some node, another one each time it is refused.
    pub(super) fn deploy(&mut self, app: u32) {
        let running = self.members();
        let at = self.at;
        let this = &mut self.apps[app as usize];
        if this.cell.is_some() || self.stood.is_some() {
            return;
        }
        let sponsor = (app as usize).wrapping_mul(7).wrapping_add(this.asked as usize);
        let Some(sponsor) = running.get(sponsor % running.len().max(1)).copied() else { return };
        if this.asked == 0 {
            this.began = at;
        }
        this.asked += 1;
        let wall = self.hosts[sponsor as usize].clock.now(at).wall;
        let release = this.release();
        let (_, tenant) = self.population.tenant(&this.name);
        let session = SessionId::of(format!("deploy {} {}", this.name, this.asked).as_bytes());
        let tenant_id = tenant.open().expect("made by this world").tenant();
        let statement = TenantCommand {
            tenant: tenant_id,
            cell: None,
            op: OpId { session, seq: 1 },
            issued: wall,
            action: TenantAction::Release(Box::new(release)),
        };
        let release = Signed::seal(&this.keys, &statement);
        let (hash, bytes) = &*this.component;
        self.hosts[sponsor as usize].content.insert(*hash, bytes.clone());
        let command = Command::Deploy { tenant, successions: Vec::new(), release };
        self.ask(sponsor, Waiting::Deploy { app }, Some(statement.op), command, DEPLOY_MAX);
    }

    pub(super) fn deployed(&mut self, app: u32, result: Result<Reply, Refusal>) {
        let at = self.at;
        match result {
            Ok(Reply::Deployed { cell, host, .. }) => {
                let this = &mut self.apps[app as usize];
                if this.cell.is_some() {
                    return;
                }
                this.cell = Some(cell);
                this.host = host;
                this.acknowledged_at = at;
                self.tally.deploys.add(at - this.began);
                self.add_clients(app);
                self.share_later(app);
                if self.apps.iter().all(|app| app.cell.is_some()) {
                    self.stands();
                }
            }
            Ok(other) => self.violated(Property::Founding, None, format!("a deploy was answered by {other:?}")),
            Err(refusal) => {
                self.tally.count("deploys_refused");
                self.tally.remark("deploy refused", &refusal.detail);
                self.tally.refusal = Some(refusal.detail);
                self.queue.push(at + 2 * SECOND, WORLD, Event::Beat(Beat::Deploy { app }));
            }
        }
    }

    /// Faults and clients begin. Called once all apps are founded, and when the time for that is over.
    pub(super) fn stands(&mut self) {
        if self.stood.is_some() {
            return;
        }
        self.stood = Some(self.at);
        let missing: Vec<&str> =
            self.apps.iter().filter(|app| app.cell.is_none()).map(|app| app.name.as_str()).collect();
        if !missing.is_empty() {
            let some = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let why = self.tally.refusal.clone().unwrap_or_else(|| "no node answered".into());
            let what = format!("{} apps were not deployed: {some} …; the last refusal: {why}", missing.len());
            self.violated(Property::Founding, None, what);
        }
        let at = self.at;
        self.observer.iter_mut().for_each(|observer| observer.begin(at));
        self.plan_faults();
        self.plan_watch();
        self.plan_probe();
    }

    fn add_clients(&mut self, app: u32) {
        // The probe brings its own.
        if self.probe.is_some() {
            return;
        }
        for number in 0..self.scenario.workload.clients {
            let client = u32::try_from(self.clients.len()).expect("clients are fewer than numbers");
            self.clients.push(Client::new(app, number));
            let after = self.streams.clients.below(self.scenario.workload.think_ms * MILLI + 1);
            self.client_later(client, after);
        }
    }
}

impl App {
    /// Whether its copies stand there, and not its quorum.
    pub(super) fn is_away(&self, law: Jurisdiction) -> bool {
        self.spec.away.contains(&law) && !self.spec.home.contains(&law)
    }

    /// Whether its quorum may stand there.
    pub(super) fn is_home(&self, law: Jurisdiction) -> bool {
        if self.spec.home.is_empty() { !self.is_away(law) } else { self.spec.home.contains(&law) }
    }

    /// Whether it has a converging store.
    pub(super) const fn shares(&self) -> bool {
        self.spec.converging
    }

    /// What it promises to who reads away.
    pub(super) const fn contract(&self) -> Contract {
        let spec = &self.spec;
        Contract {
            max_staleness: Duration::from_secs(spec.max_staleness_s),
            away: spec.cut_away,
            stale_for_max: Duration::from_secs(spec.stale_for_max_s),
        }
    }

    fn release(&self) -> Release {
        let spec = &self.spec;
        let mut policy = Policy {
            home: spec.home.clone(),
            away: spec.away.clone(),
            voters: spec.voters,
            allow_degraded: spec.allow_degraded,
            ..Policy::default()
        };
        if spec.converging {
            policy.converging = vec![SHARED.to_owned()];
        }
        policy.max_staleness = Duration::from_secs(spec.max_staleness_s);
        policy.cut.away = spec.cut_away;
        policy.cut.stale_for_max = Duration::from_secs(spec.stale_for_max_s);
        policy.cut.home_cut = spec.home_cut;
        policy.scale.min = spec.min;
        policy.scale.max = spec.max;
        let (hash, bytes) = (self.component.0, &self.component.1);
        Release {
            app: self.name.clone(),
            workload: Workload::Component { hash, size_bytes: bytes.len() as u64 },
            env: Vec::new(),
            policy,
            domains: Vec::new(),
        }
    }
}
