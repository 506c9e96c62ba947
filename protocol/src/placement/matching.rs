//! The best way to give votes to distinct operators at distinct sites, over as many jurisdictions as can be.
//!
//! Taking the best node again and again is not enough: the cheapest of an operator may stand at the only site of another,
//! and a plan that exists would not be found. So votes are units of flow: source → operator → site → jurisdiction →
//! sink, each operator and site passing one, each further vote in a jurisdiction costing more *crowding* than the last;
//! the cheapest flow (successive shortest paths: Ford and Fulkerson 1962, Busacker and Gowen 1961) is the answer, exact.
//!
//! It does not grow with the mesh. For `n` votes a [`Shortlist`] of fewer than 300 nodes always holds an answer as good
//! as any, and is filled best first from the ranked nodes, so an index in rank order makes a plan cost the same in a mesh
//! of any size.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::{Add, Neg},
};

use super::rank::{Ranked, Score};
use crate::{
    id::OperatorId,
    resources::{Jurisdiction, Site},
};

/// What a choice of voters must be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How many: small, for an answer's cost rises with its square.
    pub(super) votes: usize,
    /// Two voters may stand at one site.
    pub(super) sites_shared: bool,
    /// As many jurisdictions as possible, whatever it costs.
    pub(super) spread: bool,
    /// A majority stands there, if at all possible.
    pub(super) majority_in: Option<Jurisdiction>,
}

/// The best voters under `rules`, as many as there can be up to `rules.votes`, best first. `ranked` is best first.
pub(super) fn choose<'a>(ranked: &[Ranked<'a>], rules: Rules) -> Vec<Ranked<'a>> {
    let shortlist = Shortlist::of(ranked, rules.votes);
    let mut flow = Flow::through(&shortlist, rules);
    let mut votes = 0;
    while votes < rules.votes && flow.augment() {
        votes += 1;
    }
    let mut chosen: Vec<_> = flow.chosen().map(|at| shortlist.nodes[at]).collect();
    chosen.sort_by_key(|voter| (voter.score, voter.node()));
    assert!(chosen.len() == votes, "every unit of flow is one voter");
    chosen
}

type Place<'a> = (Jurisdiction, &'a Site);

/// The few nodes among which a best answer for `n` votes is sure to be.
///
/// Why so few suffice: take a best answer with a node that was left off. The other `n − 1` votes block at most `n − 1`
/// operators, sites and jurisdictions. If it was left off because its site had `n` better nodes of distinct operators,
/// one of these is of an operator that is not blocked: exchange them, and the answer is no worse. The same holds for the
/// `n` better sites of its operator in its jurisdiction, for `2n(n − 1) + 1` better nodes in its jurisdiction (a blocked
/// operator takes at most `n` of them away, a blocked site too), and so on for the two bounds across jurisdictions.
struct Shortlist<'a> {
    nodes: Vec<Ranked<'a>>,
}

impl<'a> Shortlist<'a> {
    fn of(ranked: &[Ranked<'a>], n: usize) -> Self {
        let others = n.saturating_sub(1);
        let of_jurisdiction_max = 2 * n * others + 1;
        let of_operator_max = n * n;
        let max = others * of_jurisdiction_max + others * of_operator_max + others * n + 1;

        let mut nodes = Vec::new();
        let mut seen = BTreeSet::<(OperatorId, Place<'a>)>::new();
        let mut at_site = BTreeMap::<Place<'a>, usize>::new();
        let mut of_operator = BTreeMap::<OperatorId, usize>::new();
        let mut of_operator_there = BTreeMap::<(OperatorId, Jurisdiction), usize>::new();
        let mut there = BTreeMap::<Jurisdiction, usize>::new();
        for node in ranked {
            let standing = &node.of.capacity.standing;
            let (operator, law) = (standing.operator, standing.jurisdiction);
            let place = (law, &standing.site);
            let full = at_site.get(&place).is_some_and(|count| *count >= n)
                || of_operator.get(&operator).is_some_and(|count| *count >= of_operator_max)
                || of_operator_there.get(&(operator, law)).is_some_and(|count| *count >= n)
                || there.get(&law).is_some_and(|count| *count >= of_jurisdiction_max);
            if full || !seen.insert((operator, place)) {
                continue;
            }
            *at_site.entry(place).or_default() += 1;
            *of_operator.entry(operator).or_default() += 1;
            *of_operator_there.entry((operator, law)).or_default() += 1;
            *there.entry(law).or_default() += 1;
            nodes.push(*node);
            if nodes.len() == max {
                break;
            }
        }
        Self { nodes }
    }
}

/// Compared field by field: what stands first may cost any amount of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Cost {
    /// Votes outside the jurisdiction that shall have the majority.
    off_side: i64,
    /// Votes that share a jurisdiction.
    crowding: i64,
    /// The sum of the scores.
    score: i128,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self {
            off_side: self.off_side + rhs.off_side,
            crowding: self.crowding + rhs.crowding,
            score: self.score + rhs.score,
        }
    }
}

impl Neg for Cost {
    type Output = Self;

    fn neg(self) -> Self {
        Self { off_side: -self.off_side, crowding: -self.crowding, score: -self.score }
    }
}

/// An arc of capacity one. Arc `i ^ 1` is its way back.
#[derive(Clone, Copy, Debug)]
struct Arc {
    to: usize,
    open: bool,
    cost: Cost,
    /// The shortlisted node that a unit through here gives a vote.
    gives: Option<usize>,
}

const SOURCE: usize = 0;
const SINK: usize = 1;

struct Flow {
    arcs: Vec<Arc>,
    /// Arcs that leave each vertex, in the order in which they were added: best ranked first.
    leaving: Vec<Vec<usize>>,
}

impl Flow {
    fn through(shortlist: &Shortlist<'_>, rules: Rules) -> Self {
        let mut flow = Self { arcs: Vec::new(), leaving: vec![Vec::new(), Vec::new()] };
        let mut operators = BTreeMap::<OperatorId, usize>::new();
        let mut sites = BTreeMap::<Place<'_>, usize>::new();
        let mut laws = BTreeMap::<Jurisdiction, usize>::new();
        for (at, node) in shortlist.nodes.iter().enumerate() {
            let standing = &node.of.capacity.standing;
            let law = standing.jurisdiction;
            let operator = *operators.entry(standing.operator).or_insert_with(|| {
                let vertex = flow.vertex();
                flow.arc(SOURCE, vertex, Cost::default(), None);
                vertex
            });
            let jurisdiction = *laws.entry(law).or_insert_with(|| {
                let vertex = flow.vertex();
                for nth in 0..rules.votes {
                    flow.arc(vertex, SINK, nth_vote(law, nth, rules), None);
                }
                vertex
            });
            let site = *sites.entry((law, &standing.site)).or_insert_with(|| {
                let vertex = flow.vertex();
                for _ in 0..if rules.sites_shared { rules.votes } else { 1 } {
                    flow.arc(vertex, jurisdiction, Cost::default(), None);
                }
                vertex
            });
            flow.arc(operator, site, Cost { score: signed(node.score), ..Cost::default() }, Some(at));
        }
        flow
    }

    fn vertex(&mut self) -> usize {
        self.leaving.push(Vec::new());
        self.leaving.len() - 1
    }

    fn arc(&mut self, from: usize, to: usize, cost: Cost, gives: Option<usize>) {
        for (from, to, open, cost, gives) in [(from, to, true, cost, gives), (to, from, false, -cost, None)] {
            self.leaving[from].push(self.arcs.len());
            self.arcs.push(Arc { to, open, cost, gives });
        }
    }

    /// Sends one more unit along the cheapest way, taking votes back where that helps. False when there is no way.
    fn augment(&mut self) -> bool {
        let mut best: Vec<Option<(Cost, usize)>> = vec![None; self.leaving.len()];
        let mut waiting = VecDeque::from([SOURCE]);
        let mut queued = vec![false; self.leaving.len()];
        while let Some(vertex) = waiting.pop_front() {
            queued[vertex] = false;
            let so_far = best[vertex].map_or(Cost::default(), |(cost, _)| cost);
            for &index in &self.leaving[vertex] {
                let arc = self.arcs[index];
                let cost = so_far + arc.cost;
                let better = arc.to != SOURCE && best[arc.to].is_none_or(|(known, _)| cost < known);
                if !arc.open || !better {
                    continue;
                }
                best[arc.to] = Some((cost, index));
                if !std::mem::replace(&mut queued[arc.to], true) {
                    waiting.push_back(arc.to);
                }
            }
        }
        if best[SINK].is_none() {
            return false;
        }
        let mut vertex = SINK;
        while let Some((_, index)) = best[vertex] {
            self.arcs[index].open = false;
            self.arcs[index ^ 1].open = true;
            vertex = self.arcs[index ^ 1].to;
        }
        true
    }

    fn chosen(&self) -> impl Iterator<Item = usize> {
        self.arcs.iter().filter(|arc| !arc.open).filter_map(|arc| arc.gives)
    }
}

/// What the vote after `nth` others in the same jurisdiction costs beside its score. Never falls with `nth`, so that the
/// cheapest flow is exact.
fn nth_vote(law: Jurisdiction, nth: usize, rules: Rules) -> Cost {
    let majority = rules.votes / 2 + 1;
    let on_side = rules.majority_in.is_none_or(|side| side == law && nth < majority);
    let wanted_there = rules.majority_in == Some(law) && nth < majority;
    let crowding = if rules.spread && !wanted_there { i64::try_from(nth).unwrap_or(i64::MAX) } else { 0 };
    Cost { off_side: i64::from(!on_side), crowding, score: 0 }
}

fn signed(score: Score) -> i128 {
    i128::try_from(score).expect("a score is at most 2⁹⁷")
}
