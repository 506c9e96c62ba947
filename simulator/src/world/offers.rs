//! Offers that change, and when which node hears of it; and what else honest nodes come to know or hold against others.
use bocage_protocol::{
    cell::Description, command::Command, id::NodeId, membership::Liveness, notice::Notice, record::Kind,
};

use super::{
    Bug, SECOND, World,
    watch::{ASK_MAX, Waiting},
};
use crate::{
    host::Daemon,
    measure::{Measures, ms, ratio},
    memo::Carried,
    population::terms,
    report::Property,
};

/// A node's offer changes no sooner again: the first change has reached all whom it will reach soon.
const APART: u64 = 2 * SECOND;

/// After a node came back, from wherever, verdicts against it may stand for so long.
pub(super) const WELL_AFTER: u64 = 15 * SECOND;

/// Who was well for so long is no reason to change a cell.
const STEADY_AFTER: u64 = 60 * SECOND;

/// A contradiction is named within this.
const NAMED_WITHIN: u64 = 20 * SECOND;

/// An offer that changed, on its way.
#[derive(Debug)]
pub(super) struct OfferChange {
    pub(super) node: u32,
    at: u64,
    /// The record that says so, once it was seen.
    record: Option<u32>,
    knowers: usize,
    pub(super) known_99: bool,
}

impl<D: Daemon> World<D> {
    pub(super) fn change_offer(&mut self) {
        let mut nodes = self.honest();
        let late = self.tally.offers.iter().rev().take_while(|change| change.at + APART > self.at);
        let just_now: Vec<u32> = late.map(|change| change.node).collect();
        nodes.retain(|node| !just_now.contains(node));
        let Some(node) = self.streams.runtime.index(nodes.len()).map(|index| nodes[index]) else { return };
        let mut terms = terms();
        terms.price.cpu_core_hour += 1 + self.streams.runtime.below(1_000_000);
        let change = OfferChange { node, at: self.at, record: None, knowers: 0, known_99: false };
        let law = self.network.place(node).jurisdiction;
        let mut listeners = self.honest();
        listeners.retain(|other| *other != node && self.network.place(*other).jurisdiction == law);
        self.checks.offers.changed(self.at, self.tally.offers.len(), node, listeners.into_iter());
        self.tally.offers.push(change);
        self.ask(node, Waiting::Offered, None, Command::Offer(Some(terms)), ASK_MAX);
    }

    /// A frame brought these records to a node.
    pub(super) fn carried_to(&mut self, node: u32, carried: &Carried) {
        for record in &carried.new {
            let seen = self.memo.records[*record as usize];
            if seen.kind == Kind::OFFER {
                let hosts = &self.hosts;
                let signed = |change: &OfferChange| hosts[change.node as usize].id.0 == seen.signer.0;
                let mut open = self.tally.offers.iter_mut().rev().take(64).filter(|change| change.record.is_none());
                if let Some(change) = open.find(|change| signed(change)) {
                    change.record = Some(*record);
                }
            }
        }
        let honest = self.liars.is_honest(node);
        for record in &carried.records {
            self.tally.payloads += 1;
            if !self.host(node).records.insert(*record) {
                continue;
            }
            self.tally.payloads_new += 1;
            let seen = self.memo.records[*record as usize];
            if seen.kind == Kind::OFFER {
                self.offer_known(node, NodeId(seen.signer.0), *record);
            }
            if honest
                && self.liars.are_there()
                && let Some(signer) = self.numbers.get(&NodeId(seen.signer.0))
            {
                self.checks.attribution.arrived(self.at, seen.slot, *record, *signer);
            }
        }
    }

    fn offer_known(&mut self, node: u32, signer: NodeId, record: u32) {
        let at = self.at;
        let Some(signer) = self.numbers.get(&signer).copied() else { return };
        // What comes later says what came before, too.
        let says = |change: &OfferChange| change.node == signer && change.record.is_some_and(|known| known <= record);
        let Some(index) = self.tally.offers.iter().rposition(says) else { return };
        self.checks.offers.came(at, index, node);
        if self.tally.offers[index].record != Some(record) {
            return;
        }
        let jurisdiction = self.network.place(signer).jurisdiction;
        let others =
            self.honest().iter().filter(|node| self.network.place(**node).jurisdiction == jurisdiction).count();
        let change = &mut self.tally.offers[index];
        change.knowers += 1;
        if !change.known_99 && change.knowers * 100 >= others.saturating_sub(1) * 99 {
            change.known_99 = true;
            let took = at - change.at;
            self.tally.offer_times.add(took);
        }
    }

    pub(super) fn measure_offers(&self, measures: &mut Measures) {
        let offers = &self.checks.offers;
        measures.note("honest_offers_p99_ms", offers.p99_ns().map(ms));
        if let Some(quiet) = self.quiet_p99_ns {
            measures.note("quiet_offers_p99_ms", Some(ms(quiet)));
            let (pairs, in_time) = offers.in_time(2 * quiet);
            measures.note("honest_offers_in_time", ratio(in_time, pairs));
        }
        let targets = &self.liars.targets;
        let eclipsed = targets.iter().filter(|target| offers.eclipsed(self.at, **target)).count() as u64;
        measures.note("eclipsed", ratio(eclipsed, targets.len() as u64));
        let (told, named) = self.checks.attribution.shares();
        let honest = self.honest().len() as u64;
        let named: usize = named.into_iter().sum();
        measures.note("contradictions_known_to", ratio(named as u64, told * honest));
    }

    /// See `check::offers`.
    pub(crate) fn offers_p99_ns(&self) -> Option<u64> {
        self.checks.offers.p99_ns()
    }

    /// Whether a node is honest, a member whose key counts, runs, and has done so undisturbed for some time.
    pub(super) fn is_well(&self, node: u32, undisturbed: u64) -> bool {
        let host = &self.hosts[node as usize];
        self.liars.is_honest(node)
            && !self.deaths.of_nodes.contains_key(&node)
            && host.daemon.is_some()
            && self.network.is_whole()
            && host.disturbed_at + undisturbed <= self.at
            && self.last_cut_at + undisturbed <= self.at
    }

    /// An honest node noticed something about another.
    pub(super) fn noticed_of(&mut self, by: u32, notice: &Notice) {
        if !self.liars.is_honest(by) {
            return;
        }
        match notice {
            Notice::Verdict { about, state } if self.scenario.check.eviction => {
                let Some(about) = self.numbers.get(about).copied() else { return };
                let well = self.stood.is_some() && self.is_well(about, WELL_AFTER) && self.is_well(by, WELL_AFTER);
                let found = self.checks.eviction.counted(by, about, *state != Liveness::Alive, well);
                self.note(Property::Eviction, Some(by), found);
            }
            Notice::Contradiction { .. } | Notice::Contradicted { .. } if self.bug == Some(Bug::BlindEye) => {}
            Notice::Contradiction { signer } | Notice::Contradicted { node: signer } => {
                let against = self.numbers.get(signer).copied();
                if let Some(against) = against {
                    self.checks.attribution.named(by, against);
                }
                if self.scenario.check.blame {
                    let honest = against.is_some_and(|against| self.liars.is_honest(against));
                    let found = self.checks.blame.proven(against, honest);
                    self.note(Property::Blame, Some(by), found);
                }
            }
            Notice::PeerUp(_) => {
                if let Some(began) = self.host(by).rejoining.take() {
                    self.tally.rejoins.add(self.at - began);
                }
            }
            _ => {}
        }
    }

    /// Verdicts that stand against honest nodes.
    pub(super) fn look_at_verdicts(&mut self) {
        self.plant_injustice();
        if !self.scenario.check.eviction {
            return;
        }
        let mut eviction = std::mem::take(&mut self.checks.eviction);
        let found = eviction.look(|node| self.is_well(node, WELL_AFTER));
        self.checks.eviction = eviction;
        for (by, what) in found {
            self.violated(Property::Eviction, Some(by), what);
        }
    }

    /// Planted bugs: node 0 is told that node 1 is down, or holds a proof against it.
    fn plant_injustice(&mut self) {
        let Some(victim) = self.hosts.get(1).map(|host| host.id) else { return };
        let notice = match self.bug {
            Some(Bug::FalseQuorum) => Notice::Verdict { about: victim, state: Liveness::Down },
            Some(Bug::FalseProof) => Notice::Contradiction { signer: victim },
            _ => return,
        };
        self.noticed_of(0, &notice);
    }

    pub(super) fn described_to_eviction(&mut self, description: &Description) -> Result<(), String> {
        let mut eviction = std::mem::take(&mut self.checks.eviction);
        let steady = |node: NodeId| {
            self.numbers.get(&node).is_some_and(|node| self.stood.is_some() && self.is_well(*node, STEADY_AFTER))
        };
        let found = eviction.described(description, steady);
        self.checks.eviction = eviction;
        found
    }

    pub(super) fn end_attribution(&mut self) {
        if !self.scenario.check.attribution {
            return;
        }
        for (node, what) in self.checks.attribution.ended(self.at.saturating_sub(NAMED_WITHIN)) {
            self.violated(Property::Attribution, Some(node), what);
        }
    }
}
