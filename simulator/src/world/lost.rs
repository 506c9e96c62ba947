//! Apps that nothing can bring back: the faults destroyed a majority of a cell's disks, and whoever ran there never returns.
//! Only recovery could help, which the protocol does not know yet; so no run is held to account for them, and the report
//! counts them.
use super::{World, found::App, watch::DESCRIBE_EVERY};
use crate::host::{Daemon, State};

impl<D: Daemon> World<D> {
    pub(super) fn excuse_lost_apps(&mut self) {
        let lost: Vec<String> = self.apps.iter().filter(|app| self.is_lost(app)).map(|app| app.name.clone()).collect();
        for app in lost {
            self.checks.convergence.excuse(&app);
        }
    }

    /// Whether most voters of its cell are gone for ever, by the newest that was heard of it. Whoever survives was asked
    /// again since the last fault, so that what is held against the app is not an old list.
    fn is_lost(&self, app: &App) -> bool {
        let newest = app.described.values().max_by_key(|(_, description)| (description.line, description.applied));
        let Some(((at, description), healed)) = newest.zip(self.healed) else { return false };
        let voters: Vec<bool> = description
            .voters()
            .map(|node| self.numbers.get(&node).is_some_and(|number| self.hosts[*number as usize].state == State::Gone))
            .collect();
        let survivors = voters.iter().filter(|gone| !**gone).count();
        survivors * 2 <= voters.len() && (survivors == 0 || *at >= healed + DESCRIBE_EVERY)
    }
}
