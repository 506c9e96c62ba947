//! Convergence: once the faults are over, all nodes that live come to know the same within their scope, and every app
//! takes writes again; and they get there within the time that the scenario gives them. An app whose majority the faults
//! destroyed is excused.
use std::collections::{BTreeMap, BTreeSet};

use bocage_protocol::resources::Jurisdiction;

/// What one node knows when asked.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) node: u32,
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) known_nodes: usize,
    pub(crate) peers: usize,
}

/// The checker's memory: what still stands against convergence.
#[derive(Debug, Default)]
pub(crate) struct Convergence {
    silent: BTreeSet<String>,
    excused: BTreeSet<String>,
    apart: Option<String>,
    converged_at: Option<u64>,
}

impl Convergence {
    /// The faults are over: these apps must take a write.
    pub(crate) fn faults_over(&mut self, apps: impl Iterator<Item = String>) {
        self.silent = apps.collect();
        self.apart = Some("no node was asked".into());
    }

    /// An app took a write that began after the faults.
    pub(crate) fn wrote(&mut self, app: &str) {
        self.silent.remove(app);
    }

    /// The faults destroyed the majority of an app that owes a write.
    pub(crate) fn excuse(&mut self, app: &str) {
        if let Some(app) = self.silent.take(app) {
            self.excused.insert(app);
        }
    }

    /// Whether nothing is expected of an app.
    pub(crate) fn is_excused(&self, app: &str) -> bool {
        self.excused.contains(app)
    }

    /// So many apps owe nothing.
    pub(crate) fn excused(&self) -> u64 {
        self.excused.len() as u64
    }

    /// Whether an app still owes a write.
    pub(crate) fn is_silent(&self, app: &str) -> bool {
        self.silent.contains(app)
    }

    /// All honest nodes that live were asked. `living`: how many live in each jurisdiction. `alike`: nobody lies, so all
    /// must know exactly the same.
    pub(crate) fn views(&mut self, at: u64, views: &[View], living: &BTreeMap<Jurisdiction, usize>, alike: bool) {
        self.apart = apart(views, living, alike);
        if self.apart.is_none() && self.silent.is_empty() {
            self.converged_at.get_or_insert(at);
        }
    }

    /// When all agreed first.
    pub(crate) const fn converged_at(&self) -> Option<u64> {
        self.converged_at
    }

    /// What still stands against it when the time is over.
    pub(crate) fn ended(&self) -> Result<(), String> {
        if !self.silent.is_empty() {
            let some: Vec<&str> = self.silent.iter().take(10).map(String::as_str).collect();
            let count = self.silent.len();
            return Err(format!("{count} apps took no write after the faults were over: {} …", some.join(", ")));
        }
        self.apart.as_ref().map_or(Ok(()), |apart| Err(apart.clone()))
    }
}

/// How the views differ, if they do. Within a jurisdiction all know the same nodes, and those that live are among them.
fn apart(views: &[View], living: &BTreeMap<Jurisdiction, usize>, alike: bool) -> Option<String> {
    let mut first: BTreeMap<Jurisdiction, &View> = BTreeMap::new();
    for view in views {
        let View { node, jurisdiction, known_nodes, peers } = view;
        if *peers == 0 && views.len() > 1 {
            return Some(format!("node {node} has no peer"));
        }
        if known_nodes < living.get(jurisdiction).unwrap_or(&0) {
            let live = living[jurisdiction];
            return Some(format!("node {node} knows {known_nodes} nodes, and {live} live in {jurisdiction}"));
        }
        let other = first.entry(*jurisdiction).or_insert(view);
        if alike && other.known_nodes != *known_nodes {
            return Some(format!(
                "nodes {} and {node} of {jurisdiction} know {} and {known_nodes} nodes",
                other.node, other.known_nodes
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(node: u32, jurisdiction: &str, known_nodes: usize) -> View {
        View { node, jurisdiction: jurisdiction.parse().unwrap(), known_nodes, peers: 2 }
    }

    fn living() -> BTreeMap<Jurisdiction, usize> {
        [("DE", 1), ("FR", 2)].map(|(name, count)| (name.parse().unwrap(), count)).into()
    }

    #[test]
    fn agreeing_nodes_and_a_written_app_are_converged() {
        let mut checker = Convergence::default();
        checker.faults_over(["a".to_owned()].into_iter());
        assert!(checker.ended().is_err());
        checker.wrote("a");
        checker.views(7, &[view(0, "FR", 2), view(1, "FR", 2), view(2, "DE", 1)], &living(), true);
        assert_eq!((checker.converged_at(), checker.ended()), (Some(7), Ok(())));
    }

    #[test]
    fn an_app_without_its_majority_owes_no_write_and_one_that_wrote_is_not_excused() {
        let mut checker = Convergence::default();
        checker.faults_over(["a".to_owned(), "b".to_owned()].into_iter());
        checker.wrote("a");
        checker.excuse("a");
        checker.excuse("b");
        assert!(checker.is_excused("b") && !checker.is_excused("a"));
        assert_eq!(checker.excused(), 1);
        checker.views(7, &[view(0, "FR", 2), view(1, "FR", 2), view(2, "DE", 1)], &living(), true);
        assert_eq!((checker.converged_at(), checker.ended()), (Some(7), Ok(())));
    }

    #[test]
    fn a_silent_app_a_lonely_node_and_differing_views_are_not() {
        let mut checker = Convergence::default();
        checker.faults_over(["a".to_owned()].into_iter());
        let agreed = [view(0, "FR", 2), view(1, "FR", 2)];
        checker.views(7, &agreed, &living(), true);
        assert!(checker.ended().unwrap_err().contains("took no write"));
        checker.wrote("a");
        checker.views(8, &[view(0, "FR", 2), view(1, "FR", 3)], &living(), true);
        assert!(checker.ended().unwrap_err().contains("nodes 0 and 1"));
        checker.views(9, &[view(0, "FR", 1), view(1, "FR", 1)], &living(), true);
        assert!(checker.ended().unwrap_err().contains("knows 1 nodes"));
        checker.views(9, &[view(0, "FR", 2), view(1, "FR", 3)], &living(), false);
        assert_eq!(checker.ended(), Ok(()), "where somebody lies, honest nodes may have heard of more");
        let lonely = View { peers: 0, ..view(1, "FR", 2) };
        checker.views(10, &[view(0, "FR", 2), lonely], &living(), true);
        assert!(checker.ended().unwrap_err().contains("no peer"));
    }
}
