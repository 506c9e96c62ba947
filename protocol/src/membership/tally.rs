//! Counts verdicts. A node is down when a majority of the observers drawn inside its jurisdiction say so, each of another
//! operator; where fewer than two other operators are there, those outside count too. So a silent operator, or one that
//! lies, evicts nobody.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Membership,
    io::{Output, Presence},
    observe::inner_of,
    verdict::{Liveness, Verdict},
};
use crate::{
    id::{NodeId, OperatorId},
    identity::Signed,
    notice::Notice,
    planted::{self, Planted},
    record::{Kind, RecordBody, Shared, Subject, Tier},
    time::{Instant, Now},
};

/// Views of who is there differ for moments: so many more than drawn count as observers, in order of the draw.
const SLACK: usize = 2;

/// No quorum is smaller: one voice is not two.
const QUORUM_MIN: usize = 2;

/// One accuser is refuted so often. An honest one mostly hears this node again and takes its word back by itself; a liar
/// would otherwise have this node flood its jurisdiction with presences.
const REFUTED_EVERY: Duration = Duration::from_secs(30);

/// Accusers remembered as refuted; beyond it the one refuted first is forgotten.
const REFUTED_MAX: usize = 1_024;

/// The verdicts in force, and what they came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By whom they are about, then by observer.
    votes: BTreeMap<NodeId, BTreeMap<NodeId, Shared>>,
    /// Of those who are not alive.
    states: BTreeMap<NodeId, Liveness>,
    /// Who accused this node and was refuted, and until when it is not again.
    refuted: BTreeMap<NodeId, Instant>,
}

/// Who may judge a node, and how many of them there are.
struct Panel {
    inner: BTreeSet<NodeId>,
    inner_count: usize,
    /// `None`: any gate of another jurisdiction.
    outer: Option<BTreeSet<NodeId>>,
    outer_count: usize,
}

impl Tally {
    pub(super) fn is_down(&self, node: &NodeId) -> bool {
        self.states.contains_key(node)
    }

    /// Whether this accuser was not refuted lately.
    fn accused_anew(&mut self, now: Instant, by: NodeId) -> bool {
        self.refuted.retain(|_, until| *until > now);
        if self.refuted.len() >= REFUTED_MAX && !self.refuted.contains_key(&by) {
            let first = self.refuted.iter().min_by_key(|(_, until)| **until).map(|(node, _)| *node);
            first.map(|node| self.refuted.remove(&node));
        }
        let is_new = !self.refuted.contains_key(&by);
        if is_new {
            self.refuted.insert(by, now + REFUTED_EVERY);
        }
        is_new
    }

    pub(super) fn votes_about(&self, node: NodeId) -> impl Iterator<Item = &Shared> {
        self.votes.get(&node).into_iter().flat_map(BTreeMap::values)
    }
}

impl Membership {
    pub(super) fn on_verdict(&mut self, now: Now, record: &Shared) {
        let Some(verdict) = Verdict::read(record) else { return };
        self.tally.votes.entry(verdict.about).or_default().insert(verdict.observer, record.clone());
        if verdict.about != self.me {
            self.count(now, verdict.about);
        } else if verdict.state != Liveness::Alive
            && verdict.incarnation == self.own.incarnation
            && self.tally.accused_anew(now.instant, verdict.observer)
        {
            self.refute(now, verdict.incarnation);
        }
    }

    /// Refutes what still stands against this node though its accuser was refuted a while ago: who has restarted since, or was
    /// replaced as an observer, no longer knows what it said, and takes nothing back.
    pub(super) fn refute_what_stands(&mut self, now: Now) {
        let incarnation = self.own.incarnation;
        let stands = |record: &&Shared| {
            Verdict::read(record)
                .is_some_and(|verdict| verdict.incarnation == incarnation && verdict.state != Liveness::Alive)
        };
        let accusers: Vec<NodeId> =
            self.tally.votes_about(self.me).filter(stands).map(|record| NodeId(record.signer().0)).collect();
        let due = accusers.into_iter().filter(|by| self.tally.accused_anew(now.instant, *by)).count();
        if due > 0 {
            self.refute(now, incarnation);
        }
    }

    pub(super) fn verdict_expired(&mut self, now: Now, record: &Shared) {
        let Some(verdict) = Verdict::read(record) else { return };
        if let Some(votes) = self.tally.votes.get_mut(&verdict.about) {
            if votes.get(&verdict.observer).is_some_and(|vote| vote.hash == record.hash) {
                votes.remove(&verdict.observer);
            }
            if votes.is_empty() {
                self.tally.votes.remove(&verdict.about);
            }
        }
        self.count(now, verdict.about);
    }

    /// A node's presence is void: it is forgotten, and whoever counted it as down does so no more, for nobody says it any
    /// longer. If it comes back it is a newcomer.
    pub(super) fn forget_state(&mut self, now: Now, node: NodeId) {
        if self.tally.is_down(&node) {
            self.counted(now, node, Liveness::Alive, Vec::new());
        }
    }

    /// Counts again, and says so if it came out otherwise. Where another detector says who is down there is nothing to count.
    pub(super) fn count(&mut self, now: Now, about: NodeId) {
        if self.detector.is_some() {
            return;
        }
        let (state, evidence) = self.outcome(about);
        let before = self.tally.states.get(&about).copied().unwrap_or(Liveness::Alive);
        if state != before {
            let evidence = evidence.iter().map(|record| record.record.signed.clone()).collect();
            self.counted(now, about, state, evidence);
        }
    }

    /// A node is in this state from now on.
    pub(super) fn counted(&mut self, now: Now, about: NodeId, state: Liveness, evidence: Vec<Signed<RecordBody>>) {
        match state {
            Liveness::Alive => self.tally.states.remove(&about),
            Liveness::Down | Liveness::UnreachableFrom(_) => self.tally.states.insert(about, state),
        };
        self.outbox.push(Output::Verdict { about, state, evidence });
        self.outbox.push(Output::Notice(Notice::Verdict { about, state }));
        self.redraw_soon(now);
    }

    fn outcome(&self, about: NodeId) -> (Liveness, Vec<Shared>) {
        let nothing = (Liveness::Alive, Vec::new());
        let Some(presence) = self.set.find_any(Kind::PRESENCE, Subject(about.0)) else { return nothing };
        let Some(Presence { incarnation, .. }) = Presence::read(presence) else { return nothing };
        let Some(of) = self.set.certificate(&about).map(|it| it.operator) else { return nothing };
        let guilty = |record: &&Shared| {
            Verdict::read(record)
                .is_some_and(|verdict| verdict.incarnation == incarnation && verdict.state != Liveness::Alive)
        };
        let votes: Vec<&Shared> = self.tally.votes_about(about).filter(guilty).collect();
        // One voice is not two, whoever is drawn: the draw need not be looked at.
        let voices: BTreeSet<OperatorId> = votes
            .iter()
            .filter_map(|vote| self.set.certificate(&NodeId(vote.signer().0)))
            .map(|by| by.operator)
            .collect();
        if planted::has(Planted::OneVoice) && !votes.is_empty() {
            return (Liveness::Down, votes.into_iter().cloned().collect());
        }
        if voices.len() < QUORUM_MIN {
            return nothing;
        }
        let Some(panel) = self.panel(about, of) else { return nothing };
        let (inner, outer) = self.sorted_votes(&votes, &panel, of);
        let quorum = |count: usize| QUORUM_MIN.max(count / 2 + 1);
        if panel.inner_count >= QUORUM_MIN {
            if inner.len() >= quorum(panel.inner_count) {
                return (Liveness::Down, inner.into_values().collect());
            }
            if outer.len() >= quorum(panel.outer_count) {
                return (unreachable_by(&outer), outer.into_values().collect());
            }
            return nothing;
        }
        let state = unreachable_by(&outer);
        let mut all = outer;
        all.extend(inner);
        if all.len() >= quorum(panel.inner_count + panel.outer_count) {
            return (state, all.into_values().collect());
        }
        nothing
    }

    /// The votes that count, one per operator, inner and outer apart.
    fn sorted_votes(
        &self,
        votes: &[&Shared],
        panel: &Panel,
        of: OperatorId,
    ) -> (BTreeMap<OperatorId, Shared>, BTreeMap<OperatorId, Shared>) {
        let (mut inner, mut outer) = (BTreeMap::new(), BTreeMap::new());
        for vote in votes {
            let observer = NodeId(vote.signer().0);
            let Some(by) = self.set.certificate(&observer) else { continue };
            if by.operator == of {
                continue;
            }
            let is_outer = panel.outer.as_ref().map_or_else(
                || {
                    let jurisdiction = by.certificate.jurisdiction;
                    jurisdiction != self.home && self.gates.may_be_gate(jurisdiction, observer)
                },
                |outer| outer.contains(&observer),
            );
            if panel.inner.contains(&observer) {
                inner.insert(by.operator, (*vote).clone());
            } else if is_outer {
                outer.insert(by.operator, (*vote).clone());
            }
        }
        (inner, outer)
    }

    /// Who may judge: of a node in this jurisdiction, whom everybody here draws alike; of another, whom it named.
    fn panel(&self, about: NodeId, of: OperatorId) -> Option<Panel> {
        let most = inner_of(self.config.observers);
        if self.set.find(Tier::Home, Kind::PRESENCE, Subject(about.0)).is_some() {
            let field = self.field();
            let inner_count = field.others(Some(of)).min(most);
            let inner = field.draw(about, Some(of), most + SLACK).into_iter().collect();
            let outer_count = self.outer_wanted(inner_count).min(self.outside().others(Some(of)));
            return Some(Panel { inner, inner_count, outer: None, outer_count });
        }
        let roster = self.subscriptions.rosters.get(&about)?;
        let (inner, outer): (BTreeSet<_>, BTreeSet<_>) =
            (roster.inner.iter().copied().collect(), roster.outer.iter().copied().collect());
        let (inner_count, outer_count) = (inner.len(), outer.len());
        Some(Panel { inner, inner_count, outer: Some(outer), outer_count })
    }
}

/// From where: the first jurisdiction of those who say so.
fn unreachable_by(votes: &BTreeMap<OperatorId, Shared>) -> Liveness {
    let states = votes.values().filter_map(|vote| Verdict::read(vote)).map(|verdict| verdict.state);
    states.min().unwrap_or(Liveness::Down)
}
