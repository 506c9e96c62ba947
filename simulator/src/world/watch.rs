//! The world's own clockwork: when it asks nodes what they know, when the faults are over, and how it ends.
use std::{collections::BTreeMap, time::Duration};

use bocage_protocol::{
    cell::{Answer, Answered, Barrier, Query},
    command::{Command, DrainStage, Reply},
    notice::Notice,
    refusal::Refusal,
};

use super::{
    Bug, Counts, Event, MILLI, SECOND, WORLD, World,
    clients::{COUNTER, ENTRIES, STORE, code_name, number},
    found::App,
    offers::OfferChange,
};
use crate::{
    check::{convergence::View, exactly_once::ExactlyOnce},
    host::Daemon,
    measure::{Measures, Samples, ms, ratio},
    report::{FaultShown, Property},
    scenario::{Sight, Sometimes},
};

/// Descriptions are asked for so often.
pub(super) const DESCRIBE_EVERY: u64 = 5 * SECOND;
/// Views are asked for so often once the faults are over.
const VIEWS_EVERY: u64 = SECOND;
/// What a node is asked by the world takes no longer.
pub(super) const ASK_MAX: Duration = Duration::from_secs(5);
/// The last reading of an app is tried so often.
const READ_AGAIN: u64 = 500 * MILLI;
/// After the clients' last operation began, what is still under way has so long to end; then they go.
const PATIENCE: u64 = 5 * SECOND;
/// So long after that no command of theirs can take effect any more, and what is there is read.
const QUIET: u64 = 7 * SECOND;

/// So many apps that are not writable are explained.
const EXPLAINED_MAX: usize = 10;

/// A longer word is a name, not a word.
const WORD_MAX: usize = 24;

/// A report holds no more different remarks.
const REMARKS_MAX: usize = 60;

/// What the clockwork does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// A tenant deploys.
    Deploy { app: u32 },
    /// The time to found the mesh is over.
    Stands,
    /// All nodes describe their cells.
    Describe,
    /// A node changes its offer.
    Offer,
    /// Liars act of their own accord.
    Lies,
    /// Verdicts that stand against honest nodes are looked for.
    Verdicts,
    /// The faults are over.
    Heal,
    /// All nodes say what they know.
    Views,
    /// A tenant looks again what is left of its app.
    Survey { app: u32, fork: bool, tries: u32 },
    /// Clients begin nothing new, and what is there is read.
    Stop,
    /// Clients let go of what is still under way.
    Abandon,
    /// An app is read whole.
    Read { app: u32 },
    /// A guest writes to an app's converging store.
    Share { app: u32 },
    /// All members of an app say what they hold of its converging store.
    Compare { app: u32 },
    /// One says it again.
    CompareAt { app: u32, node: u32 },
    /// What is asked of this world and of real processes.
    Probe(super::probe::Step),
    /// The end.
    Over,
}

/// Who waits for a reply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    Deploy { app: u32 },
    Resolve { client: u32, ticket: u32 },
    Guest { client: u32, ticket: u32 },
    Offered,
    Drained,
    Described,
    View,
    Counter { app: u32 },
    Keys { app: u32 },
    Shared { app: u32, write: i64 },
    Same { app: u32 },
    Reckoned { asked_at: u64 },
    Told,
    Left { app: u32, fork: bool, tries: u32 },
    Recovered { app: u32, fork: bool, tries: u32, newest_ms: u64 },
}

/// What is counted and measured on the way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Counts,
    remarks: BTreeMap<String, u64>,
    pub(super) clients_stopped: bool,
    /// Operations that clients let go of in the end.
    pub(super) abandoned: u64,
    /// Why the last deploy was refused.
    pub(super) refusal: Option<String>,
    pub(super) writes: Samples,
    pub(super) reads: Samples,
    pub(super) deploys: Samples,
    /// From a process's start after the mesh stood to its first peer.
    pub(super) rejoins: Samples,
    views: Vec<View>,
    pub(super) offers: Vec<OfferChange>,
    pub(super) offer_times: Samples,
    pub(super) payloads: u64,
    pub(super) payloads_new: u64,
    sent_frames: u64,
    sent_bytes: u64,
    received_frames: u64,
    lost_frames: u64,
    node_nanos: u64,
}

impl Tally {
    pub(super) fn count(&mut self, name: &'static str) {
        match name {
            "frames_received" => self.received_frames += 1,
            "frames_lost" => self.lost_frames += 1,
            other => *self.counts.entry(other).or_default() += 1,
        }
    }

    pub(super) fn sent(&mut self, size_bytes: u64) {
        self.sent_frames += 1;
        self.sent_bytes += size_bytes;
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        self.count(code_name(refusal.code));
        self.remark("refused", &refusal.detail);
    }

    /// Remembers what somebody said, names with digits aside, so that like remarks count as one.
    pub(super) fn remark(&mut self, what: &str, said: &str) {
        let plain = |word: &str| !word.contains(|letter: char| letter.is_ascii_digit()) && word.len() <= WORD_MAX;
        let words: Vec<&str> = said.split(' ').take(40).map(|word| if plain(word) { word } else { "#" }).collect();
        let remark = format!("{what}: {}", words.join(" "));
        if self.remarks.len() < REMARKS_MAX || self.remarks.contains_key(&remark) {
            *self.remarks.entry(remark).or_default() += 1;
        }
    }

    pub(super) fn notice(&mut self, notice: &Notice) {
        match notice {
            Notice::PeerRefused { reason, .. } => self.remark("peer refused", reason),
            Notice::RecordRefused { reason, .. } => self.remark("record refused", reason),
            Notice::Instance { what, .. } => self.remark("instance", what),
            Notice::CellQuarantined { reason, .. } => self.remark("cell quarantined", reason),
            Notice::RecoveryRefused { reason, .. } => self.remark("recovery refused", reason),
            Notice::Applied { .. }
            | Notice::PeerUp(_)
            | Notice::PeerDown(_)
            | Notice::PeerMoved { .. }
            | Notice::RelayLost { .. }
            | Notice::Verdict { .. }
            | Notice::Contradiction { .. }
            | Notice::Contradicted { .. }
            | Notice::Succeeded { .. }
            | Notice::Ruled { .. }
            | Notice::Doubled { .. }
            | Notice::PeerDoubled(_)
            | Notice::CellOpened { .. }
            | Notice::Recovered { .. }
            | Notice::Fenced { .. }
            | Notice::Leader { .. }
            | Notice::DiskFailed(_)
            | Notice::ClockOff { .. }
            | Notice::Operator { .. }
            | Notice::Charter { .. } => {}
        }
        self.count(match notice {
            Notice::Applied { .. } => "notice_applied",
            Notice::PeerUp(_) => "notice_peer_up",
            Notice::PeerDown(_) => "notice_peer_down",
            Notice::PeerMoved { .. } => "notice_peer_moved",
            Notice::RelayLost { .. } => "notice_relay_lost",
            Notice::PeerRefused { .. } => "notice_peer_refused",
            Notice::Verdict { .. } => "notice_verdict",
            Notice::RecordRefused { .. } => "notice_record_refused",
            Notice::Contradiction { .. } => "notice_contradiction",
            Notice::Contradicted { .. } => "notice_contradicted",
            Notice::Succeeded { .. } => "notice_succeeded",
            Notice::Ruled { .. } => "notice_ruled",
            Notice::Doubled { .. } => "notice_doubled",
            Notice::PeerDoubled(_) => "notice_peer_doubled",
            Notice::CellOpened { .. } => "notice_cell_opened",
            Notice::Recovered { .. } => "notice_recovered",
            Notice::RecoveryRefused { .. } => "notice_recovery_refused",
            Notice::Fenced { .. } => "notice_fenced",
            Notice::Leader { .. } => "notice_leader",
            Notice::CellQuarantined { .. } => "notice_cell_quarantined",
            Notice::Instance { .. } => "notice_instance",
            Notice::DiskFailed(_) => "notice_disk_failed",
            Notice::ClockOff { .. } => "notice_clock_off",
            Notice::Operator { .. } => "notice_operator",
            Notice::Charter { .. } => "notice_charter",
        });
    }
}

impl<D: Daemon> World<D> {
    /// The mesh stands: the clockwork begins.
    pub(super) fn plan_watch(&mut self) {
        let (duration, settle) = (self.scenario.duration_s * SECOND, self.scenario.settle_s * SECOND);
        let mut beat = |after: u64, beat: Beat| self.queue.push(self.at + after, WORLD, Event::Beat(beat));
        beat(DESCRIBE_EVERY, Beat::Describe);
        beat(duration, Beat::Heal);
        beat(SECOND, Beat::Verdicts);
        beat(duration + settle * 2 / 3, Beat::Stop);
        beat(duration + settle, Beat::Over);
        let per_minute = self.scenario.workload.offer_changes_per_minute;
        if let Some(every) = (60 * SECOND).checked_div(per_minute) {
            self.queue.push(self.at + every, WORLD, Event::Beat(Beat::Offer));
        }
        // What was sent while the mesh was founded is not counted.
        (self.tally.sent_frames, self.tally.sent_bytes, self.tally.payloads, self.tally.payloads_new) = (0, 0, 0, 0);
    }

    pub(super) fn beat(&mut self, beat: Beat) {
        let again = |this: &mut Self, after: u64| this.queue.push(this.at + after, WORLD, Event::Beat(beat));
        match beat {
            Beat::Deploy { app } => self.deploy(app),
            Beat::Stands => self.stands(),
            Beat::Describe => {
                self.tally.node_nanos += DESCRIBE_EVERY * self.running().len() as u64;
                if self.scenario.check.fencing {
                    self.ask_all(Waiting::Described, &Command::Cells);
                }
                again(self, DESCRIBE_EVERY);
            }
            Beat::Offer => {
                self.change_offer();
                if let Some(every) = (60 * SECOND).checked_div(self.scenario.workload.offer_changes_per_minute)
                    && self.healed.is_none()
                {
                    again(self, every);
                }
            }
            Beat::Lies => self.lie_on(),
            Beat::Verdicts => {
                self.look_at_verdicts();
                again(self, SECOND);
            }
            Beat::Heal => {
                self.heal_all();
                if self.scenario.check.convergence {
                    let founded = self.apps.iter().filter(|app| app.cell.is_some()).map(|app| app.name.clone());
                    let clients = self.scenario.workload.clients;
                    self.checks.convergence.faults_over(founded.filter(|_| clients > 0));
                    self.queue.push(self.at + VIEWS_EVERY, WORLD, Event::Beat(Beat::Views));
                }
            }
            Beat::Views => {
                self.look_at_views();
                self.ask_all(Waiting::View, &Command::Status);
                again(self, VIEWS_EVERY);
            }
            Beat::Survey { app, fork, tries } => self.survey(app, fork, tries),
            Beat::Stop => self.stop(),
            Beat::Abandon => self.clients_go(),
            Beat::Read { app } => self.read_whole(app),
            Beat::Share { app } => self.share(app),
            Beat::Compare { app } => self.compare(app),
            Beat::CompareAt { app, node } => self.compare_at(app, node),
            Beat::Probe(step) => self.probe(step),
            Beat::Over => self.end(),
        }
    }

    fn ask_all(&mut self, waiting: Waiting, command: &Command) {
        for node in self.running() {
            self.ask(node, waiting, None, command.clone(), ASK_MAX);
        }
    }

    /// A reply came to whoever waits for it.
    pub(super) fn answered(&mut self, node: u32, waiting: Waiting, result: Result<Reply, Refusal>) {
        match waiting {
            Waiting::Deploy { app } => self.deployed(app, result),
            Waiting::Resolve { client, ticket } => self.resolved(client, ticket, result),
            Waiting::Guest { client, ticket } => self.guest_answered(client, ticket, result),
            Waiting::Offered => {}
            Waiting::Drained => self.drained(node, result),
            Waiting::Told => {
                if let Err(refusal) = result {
                    self.tally.remark("a word about keys refused", &refusal.detail);
                }
            }
            Waiting::Described => self.described(node, result),
            Waiting::View => {
                if let Ok(Reply::Status(status)) = result {
                    self.deals(node, &status);
                    if self.deaths.of_nodes.contains_key(&node) || !self.liars.is_honest(node) {
                        return;
                    }
                    let (jurisdiction, known_nodes) = (status.jurisdiction, status.known_nodes);
                    self.tally.views.push(View { node, jurisdiction, known_nodes, peers: status.peers.len() });
                }
            }
            Waiting::Counter { app } => self.counter_read(app, result),
            Waiting::Keys { app } => self.keys_read(app, result),
            Waiting::Shared { app, write } => self.shared(app, write, result),
            Waiting::Same { app } => self.compared(app, node, result),
            Waiting::Reckoned { asked_at } => self.reckoned(node, asked_at, result),
            Waiting::Left { app, fork, tries } => self.surveyed(node, (app, fork, tries), result),
            Waiting::Recovered { app, fork, tries, newest_ms } => {
                self.recovered((app, fork, tries), newest_ms, result);
            }
        }
    }

    /// What a drained node still holds, it had time enough to hand over.
    fn drained(&mut self, node: u32, result: Result<Reply, Refusal>) {
        let Ok(Reply::Drained(shown)) = result else { return };
        if shown.stage == DrainStage::Empty {
            return;
        }
        for held in shown.held {
            let what = format!("it was drained and still holds a part of {}: {held:?}", held.app);
            self.violated(Property::Fault, Some(node), what);
        }
    }

    fn described(&mut self, node: u32, result: Result<Reply, Refusal>) {
        let Ok(Reply::Cells(descriptions)) = result else { return };
        for description in descriptions {
            let found = self.checks.fencing.described(&description);
            self.note(Property::Fencing, Some(node), found);
            if self.scenario.check.eviction && self.liars.is_honest(node) {
                let found = self.described_to_eviction(&description);
                self.note(Property::Eviction, Some(node), found);
            }
            if let Some(app) = self.apps.iter_mut().find(|app| app.cell == Some(description.cell)) {
                app.line = app.line.max(description.line);
                app.described.insert(node, (self.at, description));
            }
        }
    }

    fn look_at_views(&mut self) {
        self.excuse_lost_apps();
        let views = std::mem::take(&mut self.tally.views);
        let mut living = BTreeMap::new();
        for node in self.honest() {
            *living.entry(self.network.place(node).jurisdiction).or_default() += 1;
        }
        if !views.is_empty() {
            let alike = !self.liars.are_there();
            self.checks.convergence.views(self.at, &views, &living, alike);
        }
    }

    /// A planted bug: whether this node is deaf now.
    pub(super) fn deaf(&self, node: u32) -> bool {
        self.bug == Some(Bug::DeafNode) && node == 0 && self.healed.is_some()
    }

    /// What is known of the cells of apps that are not writable: who should vote, and what each of them is doing.
    fn explain(&self, app: &App) -> String {
        let Some((_, newest)) = app.described.values().max_by_key(|(_, description)| description.applied) else {
            return format!("{}: nobody has a replica", app.name);
        };
        let member = |member: &bocage_protocol::cell::Member| {
            let Some(number) = self.numbers.get(&member.node) else { return "?".to_owned() };
            let state = self.hosts[*number as usize].state;
            let votes = if member.votes { "votes" } else { "learns" };
            let said = app.described.get(number).map_or("said nothing".to_owned(), |(at, description)| {
                let leader = description.leader.and_then(|leader| self.numbers.get(&leader));
                let leader = leader.map_or("nobody leads".to_owned(), |leader| format!("{leader} leads"));
                format!("said at {} s: applied {}, {leader}", at / SECOND, description.applied)
            });
            format!("{} on node {number} ({votes}, {state:?}) {said}", member.replica.0)
        };
        let members: Vec<String> = newest.members.iter().map(member).collect();
        let leases: Vec<String> = newest
            .leases
            .iter()
            .map(|lease| {
                let number = self.numbers.get(&lease.node).copied().unwrap_or(WORLD);
                format!("instance {} on node {number}, {:?}", lease.instance.number, lease.state)
            })
            .collect();
        let numbers: Vec<u32> =
            newest.members.iter().filter_map(|member| self.numbers.get(&member.node).copied()).collect();
        let open = |a: u32, b: u32| self.network.known(a, b).is_some_and(|link| link.up == [true; 2]);
        let apart: Vec<String> = numbers
            .iter()
            .flat_map(|a| numbers.iter().map(move |b| (*a, *b)))
            .filter(|(a, b)| a < b && self.runs(*a) && self.runs(*b) && !open(*a, *b))
            .map(|(a, b)| format!("; no link between {a} and {b}: {:?}", self.network.known(a, b)))
            .collect();
        format!("{}: replicas {}; {}{}", app.name, members.join("; "), leases.join("; "), apart.concat())
    }

    fn stop(&mut self) {
        self.tally.clients_stopped = true;
        self.queue.push(self.at + PATIENCE, WORLD, Event::Beat(Beat::Abandon));
        for app in 0..u32::try_from(self.apps.len()).expect("apps are fewer than numbers") {
            if self.apps[app as usize].cell.is_some() && self.scenario.check.exactly_once {
                self.queue.push(self.at + PATIENCE + QUIET, WORLD, Event::Beat(Beat::Read { app }));
            }
            if self.apps[app as usize].shares() && self.scenario.check.converge {
                self.queue.push(self.at + PATIENCE + QUIET, WORLD, Event::Beat(Beat::Compare { app }));
            }
        }
    }

    /// Asks for all of an app, of one node after the other until somebody answers.
    fn read_whole(&mut self, app: u32) {
        let this = &mut self.apps[app as usize];
        let Some(cell) = this.cell.filter(|_| !this.read_whole) else { return };
        let (waiting, query) = if this.counter.is_none() {
            (Waiting::Counter { app }, Query::Get { store: STORE.into(), key: COUNTER.into() })
        } else {
            let after = this.keys_found.last().map(|key| format!("{ENTRIES}{key}"));
            (Waiting::Keys { app }, Query::List { store: STORE.into(), prefix: ENTRIES.into(), after, limit: 1_000 })
        };
        let running = self.members();
        let seen: Vec<u32> =
            self.apps[app as usize].described.keys().copied().filter(|node| running.contains(node)).collect();
        let askable = if seen.is_empty() { &running } else { &seen };
        let Some(index) = self.streams.runtime.index(askable.len()) else { return };
        let node = askable[index];
        let command = Command::Read { cell, barrier: Barrier::Linear, queries: vec![query] };
        self.ask(node, waiting, None, command, ASK_MAX);
    }

    fn read_later(&mut self, app: u32, after: u64) {
        self.queue.push(self.at + after, WORLD, Event::Beat(Beat::Read { app }));
    }

    fn counter_read(&mut self, app: u32, result: Result<Reply, Refusal>) {
        let Ok(Reply::Answered(Answered { answers, .. })) = result else { return self.read_later(app, READ_AGAIN) };
        if let Some(Answer::Value(value)) = answers.first() {
            let value = value.as_ref().map_or(Some(0), |value| number(&value.value));
            self.apps[app as usize].counter = value;
        }
        self.read_later(app, 0);
    }

    fn keys_read(&mut self, app: u32, result: Result<Reply, Refusal>) {
        let Ok(Reply::Answered(Answered { answers, .. })) = result else { return self.read_later(app, READ_AGAIN) };
        let Some(Answer::Keys { keys, more }) = answers.into_iter().next() else {
            return self.read_later(app, READ_AGAIN);
        };
        let this = &mut self.apps[app as usize];
        this.keys_found.extend(keys.iter().filter_map(|key| key.strip_prefix(ENTRIES)).map(str::to_owned));
        this.read_whole = !more;
        if more {
            self.read_later(app, 0);
        }
    }

    fn end(&mut self) {
        self.over = true;
        if self.scenario.check.convergence {
            self.look_at_views();
            let found = self.checks.convergence.ended();
            self.note(Property::Convergence, None, found);
            let silent: Vec<String> = self
                .apps
                .iter()
                .filter(|app| self.checks.convergence.is_silent(&app.name))
                .take(EXPLAINED_MAX)
                .map(|app| self.explain(app))
                .collect();
            for what in silent {
                self.violated(Property::Convergence, None, what);
            }
        }
        if self.scenario.check.exactly_once {
            self.end_exactly_once();
        }
        if self.scenario.check.converge {
            self.end_sharing();
        }
        self.check_lines();
        self.check_deaths();
        self.end_attribution();
        self.idle_liars();
        self.check_expectations();
        self.check_sights();
    }

    fn end_exactly_once(&mut self) {
        for app in 0..self.apps.len() {
            let this = &self.apps[app];
            if this.cell.is_none() || self.checks.convergence.is_excused(&this.name) {
                continue;
            }
            let (property, found) = match (this.read_whole, this.counter) {
                (true, Some(counter)) => {
                    (Property::ExactlyOnce, self.checks.exactly_once[app].ended(counter, &this.keys_found))
                }
                _ => (Property::Convergence, Err("it could not be read in the end".to_owned())),
            };
            let name = this.name.clone();
            self.note(property, None, found.map_err(|what| format!("app {name}: {what}")));
        }
    }

    fn check_expectations(&mut self) {
        let measures = self.measures();
        let expected: Vec<_> = self.scenario.expect.iter().map(|expect| expect.get_ref().clone()).collect();
        for expect in expected {
            let Some(value) = measures.0.get(expect.measure.as_str()).copied() else {
                let what = format!("{} was not measured", expect.measure);
                self.violated(Property::Expectation, None, what);
                continue;
            };
            if expect.at_most.is_some_and(|most| value > most) || expect.at_least.is_some_and(|least| value < least) {
                let (name, most, least) = (&expect.measure, expect.at_most, expect.at_least);
                let bounds =
                    [most.map(|most| format!("at most {most}")), least.map(|least| format!("at least {least}"))];
                let bounds = bounds.into_iter().flatten().collect::<Vec<_>>().join(" and ");
                self.violated(Property::Expectation, None, format!("{name} is {value}, expected {bounds}"));
            }
        }
    }

    /// What must be seen and was not.
    fn check_sights(&mut self) {
        let counts = self.counts();
        let writes = self.scenario.workload.clients > 0 && self.scenario.workload.reads_per_mille < 1_000;
        let owes = |app: &App| app.cell.is_some() && !self.checks.convergence.is_excused(&app.name);
        let mut expected = self.scenario.sometimes.clone();
        if writes && self.apps.iter().any(owes) {
            expected.push(Sometimes { what: Sight::WriteAcknowledged, at_least: std::num::NonZero::<u64>::MIN });
        }
        for Sometimes { what, at_least } in expected {
            let seen = counts.get(what.count()).copied().unwrap_or(0);
            if seen < at_least.get() {
                let what =
                    format!("{what:?} was seen {seen} times, and should be at least {at_least}: the run shows less");
                self.violated(Property::Sometimes, None, what);
            }
        }
    }

    /// What was measured so far.
    pub(crate) fn measures(&self) -> Measures {
        let tally = &self.tally;
        let mut measures = Measures::default();
        measures.note("write_p50_ms", tally.writes.percentile_ms(500));
        measures.note("write_p99_ms", tally.writes.percentile_ms(990));
        measures.note("write_max_ms", tally.writes.percentile_ms(1_000));
        measures.note("read_p50_ms", tally.reads.percentile_ms(500));
        measures.note("read_p99_ms", tally.reads.percentile_ms(990));
        measures.note("silent_app_max_ms", self.apps.iter().map(|app| app.silent_max).max().map(ms));
        measures.note("deploy_p50_ms", tally.deploys.percentile_ms(500));
        measures.note("deploy_max_ms", tally.deploys.percentile_ms(1_000));
        measures.note("offer_known_99_p50_ms", tally.offer_times.percentile_ms(500));
        measures.note("offer_known_99_max_ms", tally.offer_times.percentile_ms(1_000));
        let deaths = self.deaths.samples();
        measures.note("key_dead_p50_ms", deaths.percentile_ms(500));
        measures.note("key_dead_max_ms", deaths.percentile_ms(1_000));
        let lasting = tally.offers.iter().filter(|change| self.runs(change.node) || change.known_99).count() as u64;
        measures.note("offer_changes_known_within_1s", ratio(tally.offer_times.within(SECOND) as u64, lasting));
        self.measure_offers(&mut measures);
        self.detection.measures(&mut measures);
        measures.note("rejoin_max_ms", tally.rejoins.percentile_ms(1_000));
        measures.note("payload_redundancy", ratio(tally.payloads, tally.payloads_new));
        let node_seconds = tally.node_nanos / SECOND;
        measures.note("sent_bytes_per_node_s", ratio(tally.sent_bytes, node_seconds));
        measures.note("sent_frames_per_node_s", ratio(tally.sent_frames, node_seconds));
        let running = self.running();
        let links: usize = running.iter().map(|node| self.hosts[*node as usize].peers.len()).sum();
        measures.note("links_per_node", ratio(links as u64, running.len() as u64));
        let converged = self.checks.convergence.converged_at().zip(self.healed);
        let deployed = self.apps.iter().filter(|app| app.cell.is_some()).count() as u64;
        measures.note("apps_lost_with_their_majority", ratio(self.checks.convergence.excused(), deployed));
        measures.note("converged_after_ms", converged.map(|(at, healed)| ms(at - healed)));
        measures
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.tally.counts.clone();
        let checks = &self.checks;
        let sum = |of: fn(&ExactlyOnce) -> usize| checks.exactly_once.iter().map(of).sum::<usize>() as u64;
        counts.insert("writes_begun", sum(ExactlyOnce::operations));
        counts.insert("writes_acknowledged", sum(ExactlyOnce::acknowledged));
        counts.insert("operations_abandoned", self.tally.abandoned);
        counts.insert("reads_answered", self.tally.reads.len() as u64);
        counts.insert("agreements_compared", checks.agreement.compared());
        counts.insert(
            "reads_away_looked_at",
            checks.cut_contract.iter().map(crate::check::cut_contract::CutContract::looked_at).sum(),
        );
        let shared = checks.converge.iter().map(crate::check::converge::Converge::counts);
        let (begun, answered) = shared.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        counts.insert("shared_writes_begun", begun);
        counts.insert("shared_writes_acknowledged", answered);
        counts.insert("fenced_writes_looked_at", checks.fencing.looked_at());
        counts.insert("verdicts_of_honest_quorums", checks.eviction.looked_at());
        counts.insert("proofs_held_by_honest_nodes", checks.blame.looked_at());
        counts.insert("contradicted_themselves", checks.attribution.shares().0);
        counts.extend(self.detection.mistakes());
        counts.insert("frames_sent", self.tally.sent_frames);
        counts.insert("frames_received", self.tally.received_frames);
        counts.insert("frames_lost", self.tally.lost_frames);
        counts.insert("offers_changed", self.tally.offers.len() as u64);
        counts.insert("nodes_ever", self.hosts.len() as u64);
        counts.insert("nodes_running", self.running().len() as u64);
        counts.insert("apps_deployed", self.apps.iter().filter(|app| app.cell.is_some()).count() as u64);
        counts
    }

    /// What nodes said.
    pub(crate) fn remarks(&self) -> BTreeMap<String, u64> {
        self.tally.remarks.clone()
    }

    /// What befell the world.
    pub(crate) fn faults_shown(&self) -> Vec<FaultShown> {
        self.shown.clone()
    }
}
