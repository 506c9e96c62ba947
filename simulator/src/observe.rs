//! The observer: writes down what goes on in a world, for papers. It is told, never asked, and draws nothing: a run that is
//! observed is the same run, event by event.
use std::collections::BTreeMap;

use bocage_protocol::resources::Jurisdiction;

use crate::{
    measure::{ms, ratio},
    results::Row,
    scenario::What,
};

/// No run keeps more rows; later ones are counted only.
const ROWS_MAX: usize = 20_000_000;

/// See the module. Until the mesh stands it notes nothing.
#[derive(Debug)]
pub(crate) struct Observer {
    seed: u64,
    every: u64,
    /// When the mesh stood.
    stood: Option<u64>,
    /// The end of the interval under way.
    next: u64,
    rows: Vec<Row>,
    left_out: u64,
    /// Operations answered within the interval, by kind and jurisdiction of their edge.
    acknowledged: BTreeMap<(&'static str, Jurisdiction), u64>,
    failed: BTreeMap<Jurisdiction, u64>,
    /// Attempts by when they began, in intervals, and where: answered, and all.
    attempts: BTreeMap<(u64, Jurisdiction), (u64, u64)>,
    /// Frames and bytes that each node sent: in all, and until the interval began.
    sent: Vec<[(u64, u64); 2]>,
}

/// How much each party has of something.
pub(crate) type Shares = BTreeMap<String, u64>;

impl Observer {
    pub(crate) fn new(seed: u64, every: u64) -> Self {
        Self {
            seed,
            every,
            stood: None,
            next: u64::MAX,
            rows: Vec::new(),
            left_out: 0,
            acknowledged: BTreeMap::new(),
            failed: BTreeMap::new(),
            attempts: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    /// The rows, and how many more there were.
    pub(crate) fn into_rows(self) -> (Vec<Row>, u64) {
        (self.rows, self.left_out)
    }

    /// The mesh stands at `at`: from now on it is measured.
    pub(crate) fn begin(&mut self, at: u64) {
        self.stood = Some(at);
        self.next = at + self.every;
        self.sent.iter_mut().for_each(|sent| *sent = [(0, 0); 2]);
    }

    /// When the interval under way ends.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// That all nodes sent since the mesh stood.
    pub(crate) fn frames(&self) -> u64 {
        self.sent.iter().map(|[(frames, _), _]| *frames).sum()
    }

    /// Intervals that are over at `at`, of the last twenty seconds and two at least: when each ended after the mesh stood, in
    /// seconds, and the share of the attempts begun in it that was answered so far.
    pub(crate) fn available(&self, at: u64) -> Vec<(f64, BTreeMap<String, f64>)> {
        /// An attempt that was not answered within this time is late enough to be seen as failed.
        const RECENT: u64 = 20_000_000_000;
        let Some(since) = self.stood.and_then(|stood| at.checked_sub(stood)) else { return Vec::new() };
        let now = since / self.every;
        let first = (since.saturating_sub(RECENT) / self.every).min(now.saturating_sub(2));
        let mut intervals: BTreeMap<u64, BTreeMap<String, f64>> = BTreeMap::new();
        for ((interval, law), (well, all)) in self.attempts.iter().rev().take_while(|((it, _), _)| *it >= first) {
            if let Some(share) = ratio(*well, *all).filter(|_| *interval < now) {
                intervals.entry(*interval).or_default().insert(law.to_string(), share);
            }
        }
        let ended = |interval: u64| ms((interval + 1) * self.every) / 1_000.0;
        intervals.into_iter().map(|(interval, shares)| (ended(interval), shares)).collect()
    }

    fn row(&self, at: u64, measure: &'static str, value: f64) -> Row {
        Row::new(self.seed, ms(at.saturating_sub(self.stood.unwrap_or(0))) / 1_000.0, measure, value)
    }

    fn keep(&mut self, row: Row) {
        if self.stood.is_none() {
            return;
        }
        if self.rows.len() == ROWS_MAX {
            self.left_out += 1;
            return;
        }
        self.rows.push(row);
    }

    /// A client has its answer, from an edge there. `tried_at`: when the attempt began that was answered.
    pub(crate) fn acknowledged(&mut self, at: u64, kind: &'static str, law: Jurisdiction, began: u64, tried_at: u64) {
        self.keep(self.row(at, "operation_ms", ms(at - began)).of(kind).within(law));
        *self.acknowledged.entry((kind, law)).or_default() += 1;
        self.tried(tried_at, law, true);
    }

    /// An attempt failed that began then, at an edge there.
    pub(crate) fn failed(&mut self, law: Jurisdiction, tried_at: u64) {
        *self.failed.entry(law).or_default() += 1;
        self.tried(tried_at, law, false);
    }

    fn tried(&mut self, tried_at: u64, law: Jurisdiction, well: bool) {
        let Some(interval) = self.stood.and_then(|stood| tried_at.checked_sub(stood)) else { return };
        let (answered, all) = self.attempts.entry((interval / self.every, law)).or_default();
        *answered += u64::from(well);
        *all += 1;
    }

    pub(crate) fn sent(&mut self, node: u32, size_bytes: u64) {
        if self.sent.len() <= node as usize {
            self.sent.resize(node as usize + 1, [(0, 0); 2]);
        }
        let [(frames, bytes), _] = &mut self.sent[node as usize];
        *frames += 1;
        *bytes += size_bytes;
    }

    pub(crate) fn died(&mut self, at: u64, node: u32, law: Jurisdiction) {
        self.keep(self.row(at, "death", 1.0).on(node).within(law));
    }

    /// Another node counts a dead one as down, so long after its death.
    pub(crate) fn detected(&mut self, at: u64, about: u32, law: Jurisdiction, took: u64, first: bool) {
        if first {
            self.keep(self.row(at, "detect_first_ms", ms(took)).on(about).within(law));
        }
        self.keep(self.row(at, "detect_ms", ms(took)).on(about).within(law));
    }

    /// Another node counts a living one as down, which is well or stands still.
    pub(crate) fn falsely_down(&mut self, at: u64, about: u32, law: Jurisdiction, kind: &'static str) {
        self.keep(self.row(at, "false_death", 1.0).of(kind).on(about).within(law));
    }

    /// A cell elected a leader anew.
    pub(crate) fn leader_changed(&mut self, at: u64) {
        self.keep(self.row(at, "leader_change", 1.0));
    }

    /// A replica was opened to mend a cell.
    pub(crate) fn repaired(&mut self, at: u64, node: u32, law: Jurisdiction) {
        self.keep(self.row(at, "repair", 1.0).on(node).within(law));
    }

    pub(crate) fn fault(&mut self, at: u64, what: What, touched: Option<u64>) {
        let measure = if touched.is_some() { "fault_begins" } else { "fault_heals" };
        #[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
        let value = touched.unwrap_or(1) as f64;
        self.keep(self.row(at, measure, value).of(what.name()));
    }

    /// A sample that somebody else took.
    pub(crate) fn sample(&mut self, at: u64, measure: &'static str, nanos: u64) {
        self.keep(self.row(at, measure, ms(nanos)));
    }

    /// The interval is over. `living`: nodes that run there, with their numbers.
    pub(crate) fn interval(
        &mut self,
        living: &BTreeMap<Jurisdiction, Vec<u32>>,
        shares: &[(&'static str, &'static str, Shares)],
    ) {
        let at = self.next;
        for ((kind, law), count) in std::mem::take(&mut self.acknowledged) {
            self.keep(self.row(at, "acknowledged", count_of(count)).of(kind).within(law));
        }
        for (law, count) in std::mem::take(&mut self.failed) {
            self.keep(self.row(at, "failed", count_of(count)).within(law));
        }
        for (law, nodes) in living {
            let now = nodes.iter().filter_map(|node| self.sent.get(*node as usize));
            let (frames, bytes) = now
                .fold((0, 0), |(frames, bytes), [all, before]| (frames + all.0 - before.0, bytes + all.1 - before.1));
            self.keep(self.row(at, "live_nodes", count_of(nodes.len() as u64)).within(*law));
            let by_node_and_second = |sum: u64| {
                ratio(sum, nodes.len() as u64).map(|sum| sum / (ms(self.every) / 1_000.0)).unwrap_or_default()
            };
            let (frames, bytes) = (by_node_and_second(frames), by_node_and_second(bytes));
            self.keep(self.row(at, "sent_bytes_per_node_s", bytes).within(*law));
            self.keep(self.row(at, "sent_frames_per_node_s", frames).within(*law));
        }
        self.sent.iter_mut().for_each(|sent| sent[1] = sent[0]);
        for (kind, by, shares) in shares {
            let Some(concentration) = Concentration::of(shares) else { continue };
            let Concentration { largest, herfindahl, nakamoto } = concentration;
            let values = [("largest_share", largest), ("herfindahl", herfindahl), ("nakamoto", count_of(nakamoto))];
            for (measure, value) in values {
                self.keep(self.row(at, measure, value).of(*kind).by(by));
            }
        }
        self.next = at + self.every;
    }

    /// The run is over: what is known only now. `laws`: of all nodes, by number.
    pub(crate) fn end(&mut self, at: u64, laws: &[Jurisdiction]) {
        let every = self.every;
        let stood = self.stood.unwrap_or(0);
        for ((interval, law), (answered, all)) in std::mem::take(&mut self.attempts) {
            let until = stood + (interval + 1) * every;
            if let Some(share) = ratio(answered, all) {
                self.keep(self.row(until, "availability", share).within(law));
            }
        }
        let sent = std::mem::take(&mut self.sent);
        for ((node, [(frames, bytes), _]), law) in (0..).zip(sent).zip(laws) {
            self.keep(self.row(at, "sent_frames", count_of(frames)).on(node).within(*law));
            self.keep(self.row(at, "sent_bytes", count_of(bytes)).on(node).within(*law));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, who need no 16th digit")]
fn count_of(count: u64) -> f64 {
    count as f64
}

/// How much of something lies in few hands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Concentration {
    pub(crate) largest: f64,
    /// The sum of the squared shares.
    pub(crate) herfindahl: f64,
    /// How few parties hold more than half.
    pub(crate) nakamoto: u64,
}

impl Concentration {
    /// `None` where nobody has anything.
    pub(crate) fn of(shares: &Shares) -> Option<Self> {
        let all: u64 = shares.values().sum();
        let mut sorted: Vec<u64> = shares.values().copied().collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let mut held = 0;
        let majority = sorted.iter().take_while(|share| {
            let goes_on = held * 2 <= all;
            held += **share;
            goes_on
        });
        let nakamoto = majority.count() as u64;
        let share = |part: u64| ratio(part, all);
        let herfindahl = sorted.iter().map(|part| share(*part).map(|share| share * share)).sum::<Option<f64>>()?;
        Some(Self { largest: share(*sorted.first()?)?, herfindahl, nakamoto })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(of: &[u64]) -> Shares {
        of.iter().enumerate().map(|(number, share)| (number.to_string(), *share)).collect()
    }

    #[test]
    fn concentration_says_who_could_decide_alone_and_how_few_together() {
        let of = |numbers: &[u64]| Concentration::of(&shares(numbers)).unwrap();
        assert_eq!(of(&[5]), Concentration { largest: 1.0, herfindahl: 1.0, nakamoto: 1 });
        let four = of(&[1, 1, 1, 1]);
        assert_eq!((four.largest, four.herfindahl, four.nakamoto), (0.25, 0.25, 3), "two of four are no majority");
        assert_eq!(of(&[51, 49]).nakamoto, 1);
        assert_eq!(of(&[40, 30, 20, 10]).nakamoto, 2);
        assert_eq!(Concentration::of(&shares(&[])), None);
        assert_eq!(Concentration::of(&shares(&[0, 0])), None);
    }
}
