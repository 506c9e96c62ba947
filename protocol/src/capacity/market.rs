//! The machine that keeps the inventory, announces what this node offers, and takes its turn in summing up its
//! jurisdiction for the rest of the mesh.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Ask, Inventory, Named, Offer, Summary, rendezvous,
    summary::{GATE_ADDRESSES_MAX, GATES_MAX},
};
use crate::{
    cell::Candidate,
    codec,
    command::Terms,
    id::{MeshId, NodeId, OperatorId},
    identity::{Admitted, NodeCertificate, NodeIdentity},
    machine::{Deadline, Machine, Outbox},
    membership::{Address, Draft},
    notice::Notice,
    random::{Rng, Seed},
    record::{Keyring, Kind, Scope, Shared, Subject},
    resources::{Jurisdiction, Price, Resources},
    time::{Instant, Now, Timestamp},
};

/// How long an offer or summary lives. Renewed at half of it, so one lost renewal hurts nobody.
const LIFETIME: Duration = Duration::from_mins(2);

/// Changes closer together than this go out as one.
const SETTLE: Duration = Duration::from_millis(250);

/// How often this node looks whether it is its turn to sum up, and whether the sum has changed.
const SUMMARY_CHECK: Duration = Duration::from_secs(10);

/// Nodes that sum up one jurisdiction at a time: two, so that one death leaves another.
const SUMMARISERS: usize = 2;

/// Summaries known at once, of all jurisdictions; beyond it no newcomer is taken in.
const SUMMARIES_MAX: usize = 2_048;

/// Summaries of one operator known at once: districts and jurisdictions in which it has nodes. More are not taken in.
const SUMMARIES_PER_OPERATOR_MAX: usize = 32;

/// Gates told to the node for each jurisdiction: as many as two honest summarisers can disagree on.
const GATES_KNOWN_MAX: usize = 2 * GATES_MAX;

/// Per jurisdiction its gates, each with its addresses.
pub type Gates = Vec<(Jurisdiction, Vec<(NodeId, Vec<Address>)>)>;

/// Input of the market.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The operator changes what this node offers; `None` withdraws it.
    Terms(Option<Terms>),
    /// What this node's grants, votes and leases use changed.
    Used(Resources),
    /// A record is new here; other kinds than presences, offers and summaries are ignored.
    Learned(Shared),
    /// A record is void.
    Expired(Shared),
    /// The observers of a node agree.
    Verdict {
        /// Whom.
        about: NodeId,
        /// It is down; else it is back.
        down: bool,
    },
    /// A link measured a round trip to a peer.
    RoundTrip(NodeId, Duration),
    /// Who counts, and how many thousandths of what its jurisdiction offers one operator may hold.
    Counted {
        /// Who.
        admitted: Admitted,
        /// The charter's cap; `None`: no charter is known.
        dominance_permille: Option<u32>,
    },
    /// What is known of keys changed.
    Keys(Arc<Keyring>),
    /// A gate of another jurisdiction named these. Their signatures were checked on arrival.
    Gathered {
        /// Which gate.
        from: NodeId,
        /// Whom it named, and how they can be reached.
        candidates: Vec<(Candidate, Vec<Address>)>,
    },
}

/// Output of the market.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// For membership to sign and spread.
    Publish(Draft),
    /// The gates known, of all jurisdictions, changed: this is all of them.
    Gates(Gates),
    /// What happened.
    Notice(Notice),
}

/// See the file's head. Open it, then feed it records; nothing it does waits for anything.
#[derive(Debug)]
pub struct Market {
    identity: NodeIdentity,
    operator: OperatorId,
    inventory: Inventory,
    rng: Rng,
    terms: Option<Terms>,
    used: Resources,
    /// The last offer given to membership, and when.
    offered: Option<(Offer, Instant)>,
    /// `None`: nothing is offered, and nothing was that would have to be withdrawn.
    offer_due: Option<Instant>,
    /// The last summary given to membership, and when.
    summed: Option<(Summary, Instant)>,
    summary_due: Instant,
    /// The newest of each operator and jurisdiction: an operator with many nodes has one voice.
    summaries: BTreeMap<(Jurisdiction, u32, OperatorId), Heard>,
    /// The gates of each jurisdiction that summaries are known of.
    gates: BTreeMap<Jurisdiction, Vec<(NodeId, Vec<Address>)>>,
    outbox: Outbox<Output>,
}

/// A gate, as summaries name it.
struct NamedGate<'a> {
    /// Whose summaries.
    by: BTreeSet<OperatorId>,
    /// Its best place in any of them.
    place: usize,
    newest: u64,
    /// As the newest of them says.
    addresses: &'a Vec<Address>,
}

#[derive(Debug)]
struct Heard {
    summary: Summary,
    version: u64,
    record: [u8; 32],
}

impl Market {
    /// Opens it. The first offer goes out at the first `handle_timeout`, which is due at once.
    #[must_use]
    pub fn open(seed: Seed, identity: NodeIdentity, mesh: MeshId, terms: Option<Terms>, now: Now) -> Self {
        Self {
            operator: identity.certificate().operator_id(),
            identity,
            inventory: Inventory::new(mesh, Arc::default()),
            rng: seed.split("market").rng(),
            offer_due: terms.map(|_| now.instant),
            terms,
            used: Resources::default(),
            offered: None,
            summed: None,
            summary_due: now.instant + Duration::from_secs(1),
            summaries: BTreeMap::new(),
            gates: BTreeMap::new(),
            outbox: Outbox::default(),
        }
    }

    /// Candidates known here.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What this node, as a gate, answers another jurisdiction.
    #[must_use]
    pub fn answer(&self, ask: &Ask) -> Named {
        self.inventory.answer(ask)
    }

    /// The summaries known, by jurisdiction.
    pub fn summaries(&self) -> impl Iterator<Item = &Summary> {
        self.summaries.values().map(|heard| &heard.summary)
    }

    /// What this node offers, and how much of it is used.
    #[must_use]
    pub fn offer(&self) -> Option<(Terms, Resources)> {
        self.terms.map(|terms| (terms, self.used))
    }

    fn jurisdiction(&self) -> Jurisdiction {
        self.identity.certificate().jurisdiction
    }

    // What this node offers.

    fn set_terms(&mut self, now: Now, terms: Option<Terms>) {
        if self.terms == terms {
            return;
        }
        self.terms = terms;
        self.announce_soon(now);
    }

    fn set_used(&mut self, now: Now, used: Resources) {
        self.used = used;
        let Some((offer, _)) = &self.offered else { return };
        if self.terms.is_some() && material(&offer.used, &used, &offer.total) {
            self.announce_soon(now);
        }
    }

    /// At once, unless something was announced just now: then the next changes go along.
    fn announce_soon(&mut self, now: Now) {
        let settled = self.offered.as_ref().map_or(now.instant, |(_, at)| now.instant.max(*at + SETTLE));
        self.offer_due = Some(self.offer_due.map_or(settled, |due| due.min(settled)));
    }

    fn announce(&mut self, now: Now) {
        let node = self.identity.node();
        let last_price = self.offered.as_ref().map(|(offer, _)| offer.price);
        let (total, price): (Resources, Price) = match (self.terms, last_price) {
            (Some(terms), _) => (terms.total, terms.price),
            (None, Some(price)) => (Resources::default(), price),
            (None, None) => {
                self.offer_due = None;
                return;
            }
        };
        let offer = Offer { node, total, used: self.used, price };
        self.outbox.push(Output::Publish(Draft {
            kind: Kind::OFFER,
            scope: Scope::Jurisdiction(self.jurisdiction()),
            subject: Subject(node.0),
            line: 0,
            generation: 0,
            lifetime: LIFETIME,
            content: codec::encode(&offer),
        }));
        self.offer_due = self.terms.map(|_| self.renewal(now));
        self.offered = Some((offer, now.instant));
    }

    /// Half of a lifetime from now, less up to a tenth: so that a mesh that started together does not renew together.
    fn renewal(&mut self, now: Now) -> Instant {
        now.instant + LIFETIME / 2 - self.rng.duration_below(LIFETIME / 20)
    }

    // What its jurisdiction offers.

    fn check_summary(&mut self, now: Now) {
        self.summary_due = now.instant + SUMMARY_CHECK + self.rng.duration_below(SUMMARY_CHECK / 10);
        if !self.summarisers(now.wall).contains(&self.identity.node()) {
            self.summed = None;
            return;
        }
        let summary = self.sum_up(now.wall);
        let stale = self
            .summed
            .as_ref()
            .is_none_or(|(last, at)| now.instant.since(*at) + SUMMARY_CHECK >= LIFETIME / 2 || differs(last, &summary));
        if !stale {
            return;
        }
        self.outbox.push(Output::Publish(Draft {
            kind: Kind::SUMMARY,
            scope: Scope::Mesh,
            subject: Summary::subject(summary.jurisdiction, summary.district, self.identity.node()),
            line: 0,
            generation: 0,
            lifetime: LIFETIME,
            content: codec::encode(&summary),
        }));
        self.summed = Some((summary, now.instant));
    }

    fn sum_up(&self, wall: Timestamp) -> Summary {
        let here = self.jurisdiction();
        let present: BTreeMap<_, _> = self.present_here().map(|(node, addresses, _)| (node, addresses)).collect();
        let reachable = self.present_here().filter(|(_, addresses, _)| !addresses.is_empty());
        let reachable = reachable.map(|(node, _, operator)| (node, operator));
        let gate = |node: NodeId| (node, present[&node].iter().take(GATE_ADDRESSES_MAX).cloned().collect());
        let gates = rendezvous::chosen("gate", here, wall, reachable, GATES_MAX).into_iter().map(gate).collect();
        Summary::of(here, present.len(), gates, self.inventory.candidates())
    }

    /// Who sums up now: among the present, and this node even before its own presence came back to it.
    fn summarisers(&self, wall: Timestamp) -> Vec<NodeId> {
        let own = (self.identity.node(), self.operator);
        let others = self.present_here().map(|(node, _, operator)| (node, operator));
        let all = std::iter::once(own).chain(others.filter(|(node, _)| *node != own.0));
        rendezvous::chosen("summarise", self.jurisdiction(), wall, all, SUMMARISERS)
    }

    // What others say.

    fn learn(&mut self, now: Now, known: &Shared) {
        let newcomer = known.body.kind == Kind::PRESENCE && !self.inventory.is_present(NodeId(known.signer().0));
        let learned = match known.body.kind {
            Kind::SUMMARY => self.learn_summary(now, known),
            _ => self.inventory.learn(known, now.wall).map_err(|unusable| unusable.to_string()),
        };
        if let Err(reason) = learned {
            let from = NodeId(known.signer().0);
            self.outbox.push(Output::Notice(Notice::RecordRefused { from, reason }));
            return;
        }
        // A jurisdiction's gates should be known soon.
        if newcomer {
            self.summary_due = self.summary_due.min(now.instant + 2 * SETTLE);
        }
    }

    fn learn_summary(&mut self, now: Now, known: &Shared) -> Result<(), String> {
        let papers = known.record.certificate.as_ref().ok_or("a summary without a certificate")?;
        let certificate =
            NodeCertificate::accept(papers, self.inventory.mesh(), now.wall).map_err(|e| e.to_string())?;
        let summary: Summary = codec::decode("summary", &known.body.content).map_err(|error| error.to_string())?;
        let signer = NodeId(known.signer().0);
        if certificate.node != signer || certificate.jurisdiction != summary.jurisdiction {
            return Err("a summary of another jurisdiction than its signer's".into());
        }
        if let Some(fault) = summary.fault() {
            return Err(fault.into());
        }
        let key = (summary.jurisdiction, summary.district, certificate.operator_id());
        let version = known.body.order.version;
        if self.summaries.get(&key).is_some_and(|heard| heard.version > version) {
            return Ok(());
        }
        let newcomer = !self.summaries.contains_key(&key);
        if self.summaries.len() >= SUMMARIES_MAX && newcomer {
            return Err(format!("{SUMMARIES_MAX} summaries are known, no more are taken in"));
        }
        let of_operator = self.summaries.keys().filter(|(_, _, operator)| *operator == key.2).count();
        if of_operator >= SUMMARIES_PER_OPERATOR_MAX && newcomer {
            return Err(format!(
                "{SUMMARIES_PER_OPERATOR_MAX} summaries of its operator are known, no more are taken in"
            ));
        }
        let jurisdiction = summary.jurisdiction;
        self.summaries.insert(key, Heard { summary, version, record: known.hash });
        self.tell_gates(jurisdiction);
        Ok(())
    }

    fn expire(&mut self, known: &Shared) {
        if known.body.kind != Kind::SUMMARY {
            self.inventory.expire(known);
            return;
        }
        let gone: Vec<_> =
            self.summaries.iter().filter(|(_, heard)| heard.record == known.hash).map(|(key, _)| *key).collect();
        for key in gone {
            self.summaries.remove(&key);
            self.tell_gates(key.0);
        }
    }

    /// Each gate once: those that most operators name first, then one of each operator's in turn, so that who names many
    /// for itself has no more of them than others.
    fn tell_gates(&mut self, jurisdiction: Jurisdiction) {
        let mut named: BTreeMap<NodeId, NamedGate> = BTreeMap::new();
        let (first, last) = (OperatorId([0; 32]), OperatorId([u8::MAX; 32]));
        for ((_, _, operator), heard) in self.summaries.range((jurisdiction, 0, first)..=(jurisdiction, u32::MAX, last))
        {
            for (place, (node, addresses)) in heard.summary.gates.iter().enumerate() {
                let gate = named.entry(*node).or_insert_with(|| NamedGate {
                    by: BTreeSet::new(),
                    place,
                    newest: 0,
                    addresses,
                });
                gate.by.insert(*operator);
                gate.place = gate.place.min(place);
                if heard.version >= gate.newest {
                    (gate.newest, gate.addresses) = (heard.version, addresses);
                }
            }
        }
        let mut best: Vec<_> = named.into_iter().collect();
        best.sort_by_key(|(node, gate)| (Reverse(gate.by.len()), gate.place, *node));
        best.truncate(GATES_KNOWN_MAX);
        let mut gates: Vec<_> = best.into_iter().map(|(node, gate)| (node, gate.addresses.clone())).collect();
        gates.sort();
        let before =
            if gates.is_empty() { self.gates.remove(&jurisdiction) } else { self.gates.insert(jurisdiction, gates) };
        if before.as_ref() != self.gates.get(&jurisdiction) {
            self.outbox.push(Output::Gates(self.gates.clone().into_iter().collect()));
        }
    }

    fn gather(&mut self, now: Now, from: NodeId, candidates: Vec<(Candidate, Vec<Address>)>) {
        self.inventory.sweep(now.wall);
        let mut refused = None;
        for (candidate, addresses) in candidates.into_iter().take(super::ANSWER_MAX) {
            if let Err(unusable) = self.inventory.gather(candidate, &addresses, now.wall) {
                refused = Some(unusable.to_string());
            }
        }
        if let Some(reason) = refused {
            self.outbox.push(Output::Notice(Notice::RecordRefused { from, reason }));
        }
    }

    fn present_here(&self) -> impl Iterator<Item = (NodeId, &[Address], OperatorId)> {
        let here = self.jurisdiction();
        let stands_here = self.inventory.present().filter(move |(_, standing, _)| standing.jurisdiction == here);
        stands_here.map(|(node, standing, addresses)| (node, addresses, standing.operator))
    }
}

impl Machine for Market {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Terms(terms) => self.set_terms(now, terms),
            Input::Used(used) => self.set_used(now, used),
            Input::Learned(known) => self.learn(now, &known),
            Input::Expired(known) => self.expire(&known),
            Input::Verdict { about, down } => {
                self.inventory.judge(about, down);
                self.summary_due = self.summary_due.min(now.instant + 2 * SETTLE);
            }
            Input::RoundTrip(node, round_trip) => self.inventory.measure(node, round_trip),
            Input::Counted { admitted, dominance_permille } => {
                self.inventory.count_only(admitted, dominance_permille);
            }
            Input::Keys(keyring) => self.inventory.heed(keyring),
            Input::Gathered { from, candidates } => self.gather(now, from, candidates),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        if self.offer_due.is_some_and(|due| due <= now.instant) {
            self.announce(now);
        }
        if self.summary_due <= now.instant {
            self.inventory.sweep(now.wall);
            self.check_summary(now);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let summary = Deadline { at: self.summary_due, reason: "sum up the jurisdiction" };
        let offer = self.offer_due.map(|at| Deadline { at, reason: "announce the offer" });
        Some(offer.map_or(summary, |offer| offer.min(summary)))
    }
}

/// Whether any dimension changed by more than a tenth of `total`: worth telling before the next renewal.
fn material(before: &Resources, after: &Resources, total: &Resources) -> bool {
    let changed = |before: u64, after: u64, total: u64| u128::from(before.abs_diff(after)) * 10 > u128::from(total);
    changed(before.cpu_millis, after.cpu_millis, total.cpu_millis)
        || changed(before.memory_bytes, after.memory_bytes, total.memory_bytes)
        || changed(before.disk_bytes, after.disk_bytes, total.disk_bytes)
}

fn differs(before: &Summary, after: &Summary) -> bool {
    before.gates != after.gates
        || before.cheapest != after.cheapest
        || before.nodes.abs_diff(after.nodes) > before.nodes / 10
        || material(&before.total, &after.total, &before.total)
        || material(&before.used, &after.used, &before.total)
}

#[cfg(test)]
#[path = "market_tests.rs"]
mod tests;
