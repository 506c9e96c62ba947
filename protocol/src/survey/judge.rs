//! What an inquiry comes to: who holds most, whether a majority is there after all, and what would be lost. Pure.
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cell::{Holding, KeptLine, Recovery, Report},
    id::{CellId, MeshId, NodeId, TenantId},
    placement::Recovery as Recoverers,
    refusal::{Code, Refusal},
    resources::Jurisdiction,
    time::Timestamp,
};

/// What is left of a cell, as those that could be asked say.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// In which mesh.
    pub mesh: MeshId,
    /// Which.
    pub cell: CellId,
    /// Whose app it is, and what it is called; `None`: nobody holds anything.
    pub of: Option<(TenantId, String)>,
    /// The highest line that anybody holds; 0: nobody holds anything.
    pub line: u64,
    /// Who holds something, best first.
    pub held: Vec<(NodeId, Holding)>,
    /// Members, or nodes that were, which did not answer, or hold nothing.
    pub missing: Vec<Missing>,
    /// What is kept of lines that have ended, and where.
    pub kept: Vec<(NodeId, KeptLine)>,
    /// Voters of that line, and how many of them answered.
    pub voters: (usize, usize),
    /// Home jurisdictions from which nobody answers.
    pub cut_off: Vec<Jurisdiction>,
    /// What a recovery now would lose.
    pub loss: Loss,
    /// Who must sign beside the tenant.
    pub recoverers: Recoverers,
    /// When it was found.
    pub at: Timestamp,
}

/// A member from which nothing is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where it is.
    pub node: NodeId,
    /// Under which law.
    pub law: Jurisdiction,
    /// It votes.
    pub votes: bool,
    /// It answered: it holds nothing, or nothing of use, and why.
    pub empty: Option<String>,
}

/// What a recovery from the best survivor would lose at worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Entries that somebody has heard of and the best survivor lacks. More may be lost of which nobody heard.
    pub entries: u64,
    /// Whatever was acknowledged in this long before now may be lost: so long ago the best survivor last was one of a majority.
    /// `None`: it has restarted since, and cannot know.
    pub window_ms: Option<u64>,
    /// The stamp of the newest entry that the best survivor holds: nothing acknowledged before it is lost.
    pub newest: Timestamp,
}

impl Findings {
    /// What these reports come to; `asked` did not all answer.
    pub(super) fn of(
        (mesh, cell): (MeshId, CellId),
        answers: &BTreeMap<NodeId, Report>,
        reached: &BTreeSet<Jurisdiction>,
        at: Timestamp,
    ) -> Self {
        let mut held: Vec<(NodeId, Holding)> =
            answers.iter().filter_map(|(node, report)| Some((*node, report.holding.clone()?))).collect();
        held.sort_by_key(|(node, holding)| (std::cmp::Reverse(rank(holding)), *node));
        let kept = answers.iter().flat_map(|(node, report)| report.kept.iter().map(|line| (*node, line.clone())));
        let mut found = Self {
            mesh,
            cell,
            of: None,
            line: 0,
            held: Vec::new(),
            missing: Vec::new(),
            kept: kept.collect(),
            voters: (0, 0),
            cut_off: Vec::new(),
            loss: Loss::default(),
            recoverers: Recoverers::default(),
            at,
        };
        let Some((_, best)) = held.first() else { return found };
        found.line = best.line;
        found.of = Some((best.tenant, best.app.clone()));
        found.recoverers = best.recoverers.clone();
        let of_use = |node: &NodeId| {
            let holding = answers.get(node)?.holding.as_ref()?;
            (holding.line == best.line && holding.stopped.is_none()).then_some(holding)
        };
        for (node, law, votes) in &best.members {
            let there = of_use(node);
            found.voters.0 += usize::from(*votes);
            found.voters.1 += usize::from(*votes && there.is_some_and(|holding| holding.votes));
            if there.is_none() {
                let (node, law, votes) = (*node, *law, *votes);
                let empty = answers.get(&node).map(|report| why_empty(report, best.line));
                found.missing.push(Missing { node, law, votes, empty });
            }
        }
        let home: BTreeSet<Jurisdiction> = if best.home.is_empty() {
            best.members.iter().filter(|(_, _, votes)| *votes).map(|(_, law, _)| *law).collect()
        } else {
            best.home.iter().copied().collect()
        };
        found.cut_off = home.difference(reached).copied().collect();
        let heard = answers.values().filter_map(|report| report.heard).filter(|(line, _)| *line == best.line);
        let committed = held.iter().filter(|(_, holding)| holding.line == best.line).map(|(_, it)| it.committed);
        let heard = heard.map(|(_, index)| index).chain(committed).max().unwrap_or(0);
        found.loss =
            Loss { entries: heard.saturating_sub(best.base.index), window_ms: best.alone_ms, newest: best.stamp };
        found.held = held;
        found
    }

    /// From whom a recovery would go on.
    #[must_use]
    pub fn best(&self) -> Option<&Holding> {
        self.held.first().map(|(_, holding)| holding).filter(|best| best.stopped.is_none())
    }

    /// Whether nothing is lost: a majority of the voters is there.
    #[must_use]
    pub const fn has_majority(&self) -> bool {
        self.voters.1 > self.voters.0 / 2
    }

    /// Whether this recovery may be carried out, as things are.
    ///
    /// # Errors
    /// Why not: always definite, nothing has changed.
    pub fn allows(&self, recovery: &Recovery) -> Result<(), Refusal> {
        let no = |code, detail: String| Err(Refusal::definite(code, detail));
        let Some(best) = self.best() else {
            return no(Code::NotFound, "nobody who could be asked holds anything of this cell".to_owned());
        };
        if recovery.line != self.line {
            let detail = format!("this recovery ends line {}, and the cell is on line {}", recovery.line, self.line);
            return no(Code::Fenced, detail);
        }
        if self.has_majority() {
            let (all, there) = self.voters;
            let detail = format!("{there} of {all} voters are there: nothing is lost, and the cell goes on by itself");
            return no(Code::Conflict, detail);
        }
        let own = self.held.iter().find(|(node, _)| *node == recovery.base.node).map(|(_, holding)| holding);
        if own.is_none_or(|own| own.base != recovery.base) {
            let detail = "the survivor holds something else than when the recovery was made: look again";
            return no(Code::Conflict, detail.to_owned());
        }
        if own.is_some_and(|own| rank(own) < rank(best)) {
            let (node, index) = (best.base.node.short(), best.base.index);
            let detail = format!("node {node} holds more, up to index {index}: look again");
            return no(Code::Conflict, detail);
        }
        if !self.cut_off.is_empty() && !recovery.fork {
            let laws: Vec<String> = self.cut_off.iter().map(ToString::to_string).collect();
            let detail = format!(
                "nobody answers from {}, where this app is at home: it may go on there. Wait until the cut heals; or accept \
                 a fork, then both go on, and of the other only an export is kept",
                laws.join(", ")
            );
            return no(Code::Conflict, detail);
        }
        Ok(())
    }
}

/// Of two survivors the one with the higher rank may hold what the other lacks, and never the other way round.
fn rank(holding: &Holding) -> (u64, bool, u64, u64) {
    (holding.line, holding.stopped.is_none(), holding.base.term, holding.base.index)
}

fn why_empty(report: &Report, line: u64) -> String {
    match &report.holding {
        None => "it holds nothing".to_owned(),
        Some(Holding { stopped: Some(why), .. }) => why.chars().take(200).collect(),
        Some(holding) => format!("it is on line {}, and line {line} has begun", holding.line),
    }
}
