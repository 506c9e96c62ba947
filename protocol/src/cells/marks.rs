//! Closed marks: "every sleeping cell that I lead to you is unchanged", said for a pair of nodes, however many cells sleep.
//!
//! ```text
//!   who follows ──Ask: asleep on your lead are these──→ who leads     (once a second)
//!               ←─Closed: these, proven so long ago───
//! ```
//!
//! *These* is a digest over cell, line, term and index of every cell that has copies and sleeps at the one on the lead of the
//! other. A voter that is still in the very sleep of a leader has given its vote to nobody since; so once a majority has said so,
//! nobody else can have agreed on anything up to when the oldest of these words was asked for. That is how long ago a leader
//! says its mark was true, and a copy takes that off the instant at which it asked.
//!
//! Nothing here is a promise: who wakes says nothing, and its next word differs.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minicbor::{Decode, Encode};

use crate::{
    agenda::Agenda,
    cell::Slumber,
    codec,
    id::{CellId, NodeId},
    machine::Deadline,
    time::{Instant, Now},
};

/// Who follows in a sleeping cell with copies asks its leader's node so often.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Of the messages of a pair, so many are remembered with the instant at which they left.
const STAMPS_MAX: usize = 4;
/// Nodes whose clocks differ in pace measure one span differently: no machine's is off by a thousandth.
const PACE_SHARE: u32 = 1_000;

/// What nodes of sleeping cells say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Mark {
    /// Of who follows: what sleeps here on your lead.
    #[n(0)]
    Ask {
        /// The sender's number of this message.
        #[n(0)]
        stamp: u64,
        /// The number of the last `Closed` that was heard before this was said; 0: none.
        #[n(1)]
        echo: u64,
        /// A digest over all cells that have copies and sleep here on the receiver's lead.
        #[cbor(n(2), with = "minicbor::bytes")]
        asleep: [u8; 16],
    },
    /// Of who leads: what sleeps there on my lead.
    #[n(1)]
    Closed {
        /// The number of the `Ask` that this answers.
        #[n(0)]
        echo: u64,
        /// The sender's number of this message.
        #[n(1)]
        stamp: u64,
        /// The same digest as the sender has it.
        #[cbor(n(2), with = "minicbor::bytes")]
        asleep: [u8; 16],
        /// All of them were unchanged so many milliseconds ago; left out: that is not proven.
        #[n(3)]
        age: Option<u64>,
    },
}

/// A sleeping cell here that has copies.
#[derive(Debug)]
struct Asleep {
    slumber: Slumber,
    key: u128,
}

/// What is kept of one other node.
#[derive(Debug, Default)]
struct Pair {
    /// Cells that sleep here on its lead, and the sum of their keys.
    follows: BTreeSet<CellId>,
    asleep_here: u128,
    /// Cells that it shares and that sleep here on this node's lead, and the sum of their keys.
    leads: BTreeSet<CellId>,
    asleep_there: u128,
    /// All of `leads` were asleep there then.
    confirmed: Option<Instant>,
    /// When the last messages to it left, by their numbers.
    stamps: BTreeMap<u64, Instant>,
    last_heard: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Marks {
    me: NodeId,
    asleep: BTreeMap<CellId, Asleep>,
    pairs: BTreeMap<NodeId, Pair>,
    /// Whom to ask when: those on whose lead something sleeps here.
    agenda: Agenda<NodeId>,
    last: u64,
}

impl Marks {
    pub(super) fn new(me: NodeId) -> Self {
        Self { me, asleep: BTreeMap::new(), pairs: BTreeMap::new(), agenda: Agenda::default(), last: 0 }
    }

    /// A cell sleeps so from now on, or with `None` does not, or has no copies.
    pub(super) fn note(&mut self, now: Instant, cell: CellId, slumber: Option<Slumber>) {
        self.forget(cell);
        let Some(slumber) = slumber else { return };
        let key = key(cell, &slumber);
        if slumber.leader == self.me {
            for node in others(&slumber, self.me) {
                let pair = self.pairs.entry(node).or_default();
                pair.leads.insert(cell);
                pair.asleep_there = pair.asleep_there.wrapping_add(key);
                // What was confirmed was another sum.
                pair.confirmed = None;
            }
        } else {
            let pair = self.pairs.entry(slumber.leader).or_default();
            if pair.follows.is_empty() {
                self.agenda.set(slumber.leader, Some(question(now + ASK_EVERY)));
            }
            pair.follows.insert(cell);
            pair.asleep_here = pair.asleep_here.wrapping_add(key);
        }
        self.asleep.insert(cell, Asleep { slumber, key });
    }

    /// A cell does not sleep here any more.
    pub(super) fn forget(&mut self, cell: CellId) {
        let Some(Asleep { slumber, key }) = self.asleep.remove(&cell) else { return };
        if slumber.leader == self.me {
            for node in others(&slumber, self.me) {
                let Some(pair) = self.pairs.get_mut(&node) else { continue };
                pair.leads.remove(&cell);
                pair.asleep_there = pair.asleep_there.wrapping_sub(key);
                self.drop_if_idle(node);
            }
        } else if let Some(pair) = self.pairs.get_mut(&slumber.leader) {
            pair.follows.remove(&cell);
            pair.asleep_here = pair.asleep_here.wrapping_sub(key);
            if pair.follows.is_empty() {
                self.agenda.set(slumber.leader, None);
            }
            self.drop_if_idle(slumber.leader);
        }
    }

    fn drop_if_idle(&mut self, node: NodeId) {
        if self.pairs.get(&node).is_some_and(|pair| pair.leads.is_empty() && pair.follows.is_empty()) {
            self.pairs.remove(&node);
        }
    }

    /// When the next question is due.
    pub(super) fn due(&self) -> Option<Deadline> {
        self.agenda.first()
    }

    /// The questions that are due.
    pub(super) fn ask(&mut self, now: Now) -> Vec<(NodeId, Mark)> {
        let mut asks = Vec::new();
        while let Some(node) = self.agenda.pop_due(now) {
            let Some(pair) = self.pairs.get_mut(&node) else { continue };
            self.agenda.set(node, Some(question(now.instant + ASK_EVERY)));
            self.last += 1;
            pair.sent(self.last, now.instant);
            let asleep = pair.asleep_here.to_be_bytes();
            asks.push((node, Mark::Ask { stamp: self.last, echo: pair.last_heard, asleep }));
        }
        asks
    }

    /// A node that follows said what sleeps there. What it is answered; nothing, where this node leads nothing to it.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        from: NodeId,
        stamp: u64,
        echo: u64,
        asleep: [u8; 16],
    ) -> Option<Mark> {
        let pair = self.pairs.get_mut(&from).filter(|pair| !pair.leads.is_empty())?;
        let mine = pair.asleep_there.to_be_bytes();
        // It said so after it had heard what this node said then.
        if asleep == mine
            && let Some(said) = pair.stamps.get(&echo)
        {
            pair.confirmed = pair.confirmed.max(Some(*said));
        }
        self.last += 1;
        let (last, age) = (self.last, self.age(now, from));
        self.pairs.get_mut(&from)?.sent(last, now);
        let age =
            age.map(|age| u64::try_from((age + age / PACE_SHARE).as_millis()).unwrap_or(u64::MAX).saturating_add(1));
        Some(Mark::Closed { echo: stamp, stamp: last, asleep: mine, age })
    }

    /// How long ago all cells that are led to a node are known to have been unchanged.
    fn age(&self, now: Instant, to: NodeId) -> Option<Duration> {
        let pair = self.pairs.get(&to)?;
        let copied = pair.leads.iter().filter_map(|cell| self.asleep.get(cell));
        let mut oldest = now;
        for asleep in copied.filter(|asleep| asleep.slumber.copies.contains(&to)) {
            oldest = oldest.min(self.unchanged(now, &asleep.slumber)?);
        }
        Some(now.since(oldest))
    }

    /// Until when nobody but this leader can have agreed on anything: a majority, itself included, slept on.
    fn unchanged(&self, now: Instant, slumber: &Slumber) -> Option<Instant> {
        let confirmed = |node: &NodeId| self.pairs.get(node).and_then(|pair| pair.confirmed);
        let voters = slumber.voters.iter().filter(|node| **node != self.me);
        let mut heard: Vec<Option<Instant>> = voters.map(confirmed).collect();
        heard.sort_unstable_by(|one, other| other.cmp(one));
        let others_needed = slumber.voters.len() / 2;
        if others_needed == 0 { Some(now) } else { heard.get(others_needed - 1).copied().flatten() }
    }

    /// A leader's mark: as of when all cells that sleep here on its lead are proven current, if the two agree on them.
    pub(super) fn heard(
        &mut self,
        from: NodeId,
        echo: u64,
        stamp: u64,
        asleep: [u8; 16],
        age: Option<u64>,
    ) -> Option<Instant> {
        let pair = self.pairs.get_mut(&from).filter(|pair| !pair.follows.is_empty())?;
        pair.last_heard = pair.last_heard.max(stamp);
        let asked = *pair.stamps.get(&echo)?;
        let age = Duration::from_millis(age?);
        (asleep == pair.asleep_here.to_be_bytes() && age <= asked.since(Instant::START)).then(|| asked - age)
    }

    /// The cells that sleep here on that node's lead.
    pub(super) fn asleep_on(&self, leader: NodeId) -> impl Iterator<Item = &CellId> {
        self.pairs.get(&leader).into_iter().flat_map(|pair| &pair.follows)
    }
}

impl Pair {
    fn sent(&mut self, stamp: u64, now: Instant) {
        self.stamps.insert(stamp, now);
        while self.stamps.len() > STAMPS_MAX {
            self.stamps.pop_first();
        }
    }
}

fn question(at: Instant) -> Deadline {
    Deadline { at, reason: "ask whether sleeping cells are unchanged" }
}

/// All nodes of a cell but this one.
fn others(slumber: &Slumber, me: NodeId) -> Vec<NodeId> {
    slumber
        .voters
        .iter()
        .chain(&slumber.copies)
        .copied()
        .filter(|node| *node != me)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// What a cell adds to a digest: a sum, so that a cell that wakes is taken off again without looking at the others.
fn key(cell: CellId, slumber: &Slumber) -> u128 {
    let hash = blake3::hash(&codec::encode(&(cell, slumber.line, slumber.term, slumber.index)));
    hash.as_bytes().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn cell(n: u8) -> CellId {
        CellId([n; 32])
    }

    fn now(instant: Instant) -> Now {
        Now { instant, ..Now::default() }
    }

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    /// Led by node 1, with voters 1 to 3 and a copy at node 4.
    fn slumber(index: u64) -> Slumber {
        let voters = [1, 2, 3].map(node).into();
        Slumber { leader: node(1), line: 1, term: 2, index, voters, copies: [node(4)].into() }
    }

    /// Nodes 1 to 4 and the messages between them, which take no time. Their clocks are one.
    struct Pairs(Vec<Marks>);

    impl Pairs {
        fn asleep(cells: &[u8]) -> Self {
            let mut this = Self((1..=4).map(|n| Marks::new(node(n))).collect());
            for n in cells {
                this.0.iter_mut().for_each(|marks| marks.note(at(0), cell(*n), Some(slumber(7))));
            }
            this
        }

        /// One round of questions from those who are not `mute`; as of when the copy's cells are proven.
        fn round(&mut self, at: Instant, mute: &[u8]) -> Option<Instant> {
            let mut proven = None;
            for n in [2, 3, 4] {
                let from = node(n);
                for (to, ask) in self.0[usize::from(n) - 1].ask(now(at)) {
                    let Mark::Ask { stamp, echo, asleep } = ask else { panic!("{ask:?}") };
                    assert_eq!(to, node(1));
                    if mute.contains(&n) {
                        continue;
                    }
                    let Some(answer) = self.0[0].answer(at, from, stamp, echo, asleep) else { continue };
                    let Mark::Closed { echo, stamp, asleep, age } = answer else { panic!("{answer:?}") };
                    let heard = self.0[usize::from(n) - 1].heard(to, echo, stamp, asleep, age);
                    proven = if n == 4 { heard } else { proven };
                }
            }
            proven
        }
    }

    #[test]
    fn a_copy_learns_as_of_when_a_majority_was_last_known_to_sleep_on() {
        let mut pairs = Pairs::asleep(&[1, 2, 3]);
        assert_eq!(pairs.round(at(1_000), &[]), None, "the leader has heard of nobody what follows on its own word");
        let proven = pairs.round(at(2_000), &[]).unwrap();
        assert!(proven <= at(1_000) && proven > at(990), "{proven:?}: what was said at one second was echoed at two");
        let proven = pairs.round(at(3_000), &[3]).unwrap();
        assert!(proven > at(1_990), "one of the others is enough for a majority");
        let proven = pairs.round(at(4_000), &[2, 3]).unwrap();
        assert!(proven <= at(2_000), "without them time stands still: {proven:?}");
        let proven = pairs.round(at(60_000), &[2, 3]).unwrap();
        assert!(proven <= at(2_000), "{proven:?}");
    }

    #[test]
    fn who_has_woken_counts_no_more_and_a_copy_believes_no_mark_of_other_cells() {
        let mut pairs = Pairs::asleep(&[1, 2]);
        pairs.round(at(1_000), &[]);
        let proven = pairs.round(at(2_000), &[]);
        assert!(proven.is_some());
        for voter in [1, 2] {
            pairs.0[voter].forget(cell(2));
        }
        let stale = pairs.round(at(9_000), &[]).unwrap();
        assert!(stale <= at(1_000), "two voters have woken of whom the leader has not heard: {stale:?}");
        let mut pairs = Pairs::asleep(&[1, 2]);
        pairs.0[3].note(at(500), cell(2), Some(slumber(8)));
        pairs.round(at(1_500), &[]);
        assert_eq!(pairs.round(at(2_500), &[]), None, "the copy sleeps another sleep than its leader");
        pairs.0[3].note(at(2_600), cell(2), Some(slumber(7)));
        assert!(pairs.round(at(3_600), &[]).is_some());
    }

    #[test]
    fn an_answer_that_comes_late_proves_the_less_and_one_that_was_never_asked_for_nothing() {
        let mut pairs = Pairs::asleep(&[1]);
        pairs.round(at(1_000), &[]);
        pairs.round(at(2_000), &[]);
        let copy = &mut pairs.0[3];
        let [(_, Mark::Ask { stamp, asleep, .. })] = copy.ask(now(at(3_000)))[..] else { panic!("it is time to ask") };
        assert_eq!(copy.heard(node(1), stamp + 9, 99, asleep, Some(1)), None);
        assert_eq!(copy.heard(node(2), stamp, 99, asleep, Some(1)), None, "it does not lead here");
        assert_eq!(copy.heard(node(1), stamp, 99, asleep, None), None);
        let proven = copy.heard(node(1), stamp, 99, asleep, Some(400)).unwrap();
        assert_eq!(proven, at(2_600), "whenever it comes");
        assert_eq!(copy.heard(node(1), stamp, 99, asleep, Some(u64::MAX)), None);
    }

    #[test]
    fn a_pair_without_such_cells_says_nothing_and_is_forgotten() {
        let mut pairs = Pairs::asleep(&[1]);
        pairs.0.iter_mut().for_each(|marks| marks.forget(cell(1)));
        for marks in &mut pairs.0 {
            assert_eq!((marks.due(), marks.ask(now(at(9_000))).len(), marks.pairs.len()), (None, 0, 0));
        }
        assert_eq!(pairs.0[0].answer(at(9_000), node(4), 1, 0, [0; 16]), None);
    }
}
