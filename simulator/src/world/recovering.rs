//! Tenants whose apps have lost their majority have them recovered from what survivors hold: they look, they sign, and they
//! have it carried out, as a person does. What a survey promises is held against it: nothing is lost that was acknowledged
//! before the newest entry that the survivor holds.
use std::time::Duration;

use bocage_protocol::{
    cell::{Recovery, RecoveryPapers},
    command::{Command, Reply},
    identity::{Endorsed, Lineage},
    refusal::Refusal,
    survey::Findings,
};

use super::{SECOND, Waiting, World};
use crate::{
    clock::EPOCH_MS,
    host::Daemon,
    report::Property,
    world::{MILLI, watch::DESCRIBE_EVERY},
};

/// A survey, or a recovery, is answered within this.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// A tenant that was refused looks again after so long.
const AGAIN: u64 = 10 * SECOND;
/// A tenant tries so often.
const TRIES_MAX: u32 = 6;
/// The stamp of an entry and the moment at which its client heard of it may be so far apart: clocks of this world's nodes, an
/// election, and the way.
const STAMPS_DIFFER_MAX: u64 = 8 * SECOND;
/// Whoever is of an ended line knows it so long after everything has healed.
const KNOWN_WITHIN: u64 = 20 * SECOND;

impl<D: Daemon> World<D> {
    /// All tenants look what is left of their apps. How many there are.
    pub(super) fn recover_apps(&mut self, fork: bool) -> u64 {
        let apps = u32::try_from(self.apps.len()).expect("apps are fewer than numbers");
        (0..apps).for_each(|app| self.survey(app, fork, 0));
        u64::from(apps)
    }

    pub(super) fn survey(&mut self, app: u32, fork: bool, tries: u32) {
        let running = self.members();
        let this = &self.apps[app as usize];
        let member = this.described.keys().copied().find(|node| running.contains(node));
        let (Some(cell), Some(node)) = (this.cell, member.or(running.first().copied())) else { return };
        self.ask(node, Waiting::Left { app, fork, tries }, None, Command::Survey { cell }, ANSWERED_WITHIN);
    }

    /// What is left of an app was found.
    pub(super) fn surveyed(&mut self, node: u32, (app, fork, tries): (u32, bool, u32), result: Result<Reply, Refusal>) {
        let Ok(Reply::Surveyed(found)) = result else { return self.survey_later(app, fork, tries) };
        if found.has_majority() {
            return self.tally.count("surveys_with_a_majority");
        }
        let Some(papers) = self.papers(app, &found, fork) else {
            self.tally.count("surveys_without_a_survivor");
            return self.survey_later(app, fork, tries);
        };
        let waiting = Waiting::Recovered { app, fork, tries, newest_ms: found.loss.newest.0 };
        self.ask(node, waiting, None, Command::Recover(Box::new(papers)), ANSWERED_WITHIN);
    }

    fn papers(&self, app: u32, found: &Findings, fork: bool) -> Option<RecoveryPapers> {
        let this = &self.apps[app as usize];
        let (base, made) = (found.best()?.base, found.at);
        let until = made + Duration::from_hours(1);
        let recovery = Recovery { mesh: found.mesh, cell: found.cell, line: found.line, base, fork, made, until };
        let (keys, tenant) = self.population.tenant(&this.name);
        let tenant = Lineage::first(tenant.open().expect("made by this world"));
        Some(RecoveryPapers { statement: Endorsed::draft(&recovery).with(&keys), tenant, operators: Vec::new() })
    }

    /// A recovery was carried out, or not.
    pub(super) fn recovered(
        &mut self,
        (app, fork, tries): (u32, bool, u32),
        newest_ms: u64,
        result: Result<Reply, Refusal>,
    ) {
        match result {
            Ok(Reply::Recovered { line }) => {
                let this = &mut self.apps[app as usize];
                this.line = this.line.max(line);
                self.tally.count("apps_recovered");
                let kept_until = newest_ms.saturating_sub(EPOCH_MS).saturating_mul(MILLI);
                let kept_until = kept_until.saturating_sub(STAMPS_DIFFER_MAX);
                let (floor, excused) = self.checks.exactly_once[app as usize].recovered(kept_until);
                for _ in 0..excused {
                    self.tally.count("acknowledged_writes_that_may_be_lost");
                }
                self.lower_floors(app, floor);
            }
            Ok(other) => self.violated(Property::ExactlyOnce, None, format!("a recovery was answered by {other:?}")),
            Err(refusal) => {
                self.tally.count("recoveries_refused");
                self.tally.remark("a recovery refused", &refusal.detail);
                self.survey_later(app, fork, tries);
            }
        }
    }

    fn survey_later(&mut self, app: u32, fork: bool, tries: u32) {
        if tries + 1 < TRIES_MAX && self.healed.is_none() {
            let beat = super::watch::Beat::Survey { app, fork, tries: tries + 1 };
            self.queue.push(self.at + AGAIN, super::WORLD, super::Event::Beat(beat));
        }
    }

    /// Once all has healed, nobody goes on with a line that has ended.
    pub(super) fn check_lines(&mut self) {
        let Some(healed) = self.healed else { return };
        let late = healed + KNOWN_WITHIN;
        let mut behind = Vec::new();
        for app in &self.apps {
            let said =
                app.described.iter().filter(|(_, (at, _))| *at >= late.max(self.at.saturating_sub(2 * DESCRIBE_EVERY)));
            for (node, (_, description)) in said.filter(|(_, (_, description))| description.line < app.line) {
                behind
                    .push((*node, format!("{} is on line {}, and it is on {}", app.name, app.line, description.line)));
            }
        }
        for (node, what) in behind {
            self.violated(Property::Fencing, Some(node), what);
        }
    }
}
