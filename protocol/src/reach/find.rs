//! Where is somebody of whom nobody here knows an address that works? Asks those linked nodes whose ids are closest to his
//! by exclusive or, then those whom they name, ever closer: [Kademlia]'s lookup, over the address book that is there anyway.
//!
//! It finds addresses and nothing else. It runs in the machine and not in libp2p's `kad`, for that dials whom it likes and
//! fills tables by itself, and what it decides no simulation would test. Answers are hints, like every word of others.
//!
//! [Kademlia]: https://pdos.csail.mit.edu/~petar/papers/maymounkov-kademlia-lncs.pdf
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minicbor::{Decode, Encode};

use crate::{id::NodeId, machine::Deadline, membership::Address, time::Instant};

/// Nodes that are looked for at once; one more waits for its next failed dial.
const FINDS_MAX: usize = 8;
/// Nodes that are asked at once for one.
const ASKING_MAX: usize = 3;
/// Nodes that are asked in all for one; then it is given up.
const ASKED_MAX: usize = 16;
/// Nodes in one answer; a longer one is not read.
pub(super) const PLACES_MAX: usize = 8;
/// Addresses of each in an answer; a longer one is not read.
pub(super) const PLACE_ADDRESSES_MAX: usize = 4;
/// Bytes of an address in an answer; with a longer one it is not read.
const ADDRESS_BYTES_MAX: usize = 256;
/// Who does not answer within this is passed over.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Somebody who was looked for in vain is not looked for again before; doubled each time up to [`REST_MAX`], for the dead stay
/// wanted for a while.
const REST: Duration = Duration::from_secs(30);
/// Somebody who is wanted is looked for at least so often.
const REST_MAX: Duration = Duration::from_mins(8);

/// A frame about where nodes are.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// Whom do you know that is close to this one?
    #[n(0)]
    Find(#[n(0)] NodeId),
    /// The answer: the closest, this one itself if it is known.
    #[n(1)]
    Found {
        /// Who is looked for.
        #[n(0)]
        target: NodeId,
        /// Unsigned: hints whom to dial, no more.
        #[n(1)]
        places: Vec<Place>,
    },
    /// Whether the sender needs this link. Until it says otherwise it does; two that do not hang up.
    #[n(2)]
    Needed(#[n(0)] bool),
    /// Are you there? Only to who said in its Hello that it lets cells sleep, like the next.
    #[n(3)]
    Probe,
    /// The answer.
    #[n(4)]
    Alive,
}

/// Somebody, and where he is said to be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// Who.
    #[n(0)]
    pub node: NodeId,
    /// Where, best first.
    #[n(1)]
    pub addresses: Vec<Address>,
}

impl Message {
    /// Whether every list in it is within its bound. A correct sender keeps them.
    pub(super) fn is_within_bounds(&self) -> bool {
        let fits = |place: &Place| {
            place.addresses.len() <= PLACE_ADDRESSES_MAX
                && place.addresses.iter().all(|address| address.len() <= ADDRESS_BYTES_MAX)
        };
        match self {
            Self::Find(_) | Self::Needed(_) | Self::Probe | Self::Alive => true,
            Self::Found { places, .. } => places.len() <= PLACES_MAX && places.iter().all(fits),
        }
    }
}

#[derive(Debug, Default)]
struct Find {
    /// By distance: who may be asked.
    candidates: BTreeMap<NodeId, NodeId>,
    asked: BTreeSet<NodeId>,
    awaited: BTreeMap<NodeId, Instant>,
}

/// Who is looked for.
#[derive(Debug, Default)]
pub(super) struct Finds {
    under_way: BTreeMap<NodeId, Find>,
    resting: BTreeMap<NodeId, Rest>,
}

/// Somebody was looked for in vain.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    times: u32,
}

impl Finds {
    /// Whether somebody may be looked for from now on: nobody does so already, nor did a moment ago.
    pub(super) fn may_begin(&mut self, target: NodeId, now: Instant) -> bool {
        if self.under_way.len() >= FINDS_MAX || self.under_way.contains_key(&target) {
            return false;
        }
        self.resting.retain(|_, rest| now < rest.until + REST_MAX);
        self.resting.get(&target).is_none_or(|rest| rest.until <= now)
    }

    /// Begins to look for somebody, from those who might know.
    pub(super) fn begin(&mut self, target: NodeId, known: impl Iterator<Item = NodeId>) {
        let find = self.under_way.entry(target).or_default();
        find.candidates = known.filter(|node| *node != target).map(|node| (node.distance(target), node)).collect();
        while find.candidates.len() > ASKED_MAX {
            find.candidates.pop_last();
        }
    }

    /// Whom to ask now. Who is awaited but has no link yet is asked again when it has: see [`Self::awaits`].
    pub(super) fn next(&mut self, target: NodeId, now: Instant) -> Vec<NodeId> {
        let Some(find) = self.under_way.get_mut(&target) else { return Vec::new() };
        find.awaited.retain(|_, until| now < *until);
        let mut ask = Vec::new();
        while find.awaited.len() < ASKING_MAX && find.asked.len() < ASKED_MAX {
            let Some((_, node)) = find.candidates.pop_first() else { break };
            find.asked.insert(node);
            find.awaited.insert(node, now + ANSWER_MAX);
            ask.push(node);
        }
        if find.awaited.is_empty() {
            self.end(target, now);
        }
        ask
    }

    /// For whom this node is awaited.
    pub(super) fn awaits(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.under_way.iter().filter(move |(_, find)| find.awaited.contains_key(&node)).map(|(target, _)| *target)
    }

    /// Somebody answered; false: it was not asked. Those it names are asked next if they are close.
    pub(super) fn answered(&mut self, from: NodeId, target: NodeId, named: impl Iterator<Item = NodeId>) -> bool {
        let Some(find) = self.under_way.get_mut(&target) else { return false };
        if find.awaited.remove(&from).is_none() {
            return false;
        }
        let reached = from.distance(target);
        let closer = |node: &NodeId| *node != target && !find.asked.contains(node) && node.distance(target) < reached;
        let fresh: Vec<NodeId> = named.filter(closer).collect();
        find.candidates.extend(fresh.into_iter().map(|node| (node.distance(target), node)));
        while find.candidates.len() > ASKED_MAX {
            find.candidates.pop_last();
        }
        true
    }

    /// It is found: there is a link.
    pub(super) fn found(&mut self, target: NodeId) {
        self.under_way.remove(&target);
        self.resting.remove(&target);
    }

    /// Nobody knows.
    fn end(&mut self, target: NodeId, now: Instant) {
        if self.under_way.remove(&target).is_some() {
            let times = self.resting.get(&target).map_or(0, |rest| rest.times);
            let wait = REST.saturating_mul(1 << times.min(8)).min(REST_MAX);
            self.resting.insert(target, Rest { until: now + wait, times: times + 1 });
        }
    }

    /// Whether somebody is looked for now.
    pub(super) fn is_under_way(&self, target: NodeId) -> bool {
        self.under_way.contains_key(&target)
    }

    /// Who is looked for now.
    pub(super) fn targets(&self) -> Vec<NodeId> {
        self.under_way.keys().copied().collect()
    }

    /// When somebody will have been silent for too long.
    pub(super) fn next_due(&self) -> Option<Deadline> {
        let at = self.under_way.values().flat_map(|find| find.awaited.values()).min()?;
        Some(Deadline { at: *at, reason: "find" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    fn later(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_closest_are_asked_first_and_then_whom_they_name() {
        let mut finds = Finds::default();
        let target = node(0b1000);
        assert!(finds.may_begin(target, Instant::START));
        finds.begin(target, [1, 2, 4, 9, 10].map(node).into_iter());
        assert_eq!(finds.next(target, Instant::START), [9, 10, 1].map(node), "1, 2 and 9 away");
        assert!(finds.answered(node(10), target, [node(9), node(11), node(0b1100)].into_iter()));
        assert_eq!(finds.next(target, Instant::START), [node(2)], "9 was asked, 11 and 12 are no closer than 10");
        assert!(!finds.answered(node(3), target, [node(7)].into_iter()), "it was not asked");
    }

    #[test]
    fn the_silent_are_passed_over_and_a_search_in_vain_ends_and_rests() {
        let mut finds = Finds::default();
        let target = node(1);
        finds.begin(target, [2, 3, 4, 5].map(node).into_iter());
        assert_eq!(finds.next(target, Instant::START).len(), ASKING_MAX);
        assert_eq!(finds.next(target, finds.next_due().unwrap().at).len(), 1);
        assert_eq!(finds.next(target, later(60)), []);
        assert!(finds.targets().is_empty());
        assert!(!finds.may_begin(target, later(61)), "not so soon again");
        let mut now = later(60) + REST;
        for _ in 0..8 {
            assert!(finds.may_begin(target, now));
            finds.begin(target, std::iter::empty());
            assert_eq!(finds.next(target, now), [], "nobody to ask");
            assert!(!finds.may_begin(target, now + REST), "each time it rests longer");
            now = now + REST_MAX;
        }
        finds.found(target);
        assert!(finds.may_begin(target, now), "a found one may be lost again");
    }

    #[test]
    fn who_names_ever_more_nodes_makes_no_more_than_a_few_be_asked() {
        let mut finds = Finds::default();
        let target = NodeId([0; 32]);
        let far = |distance: u16| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&distance.to_be_bytes());
            NodeId(id)
        };
        finds.begin(target, [far(60_000)].into_iter());
        let (mut asked, mut next) = (0, 50_000);
        loop {
            let ask = finds.next(target, Instant::START);
            if ask.is_empty() {
                break;
            }
            asked += ask.len();
            for one in ask {
                // Each names eight that are a little closer, for ever.
                let named: Vec<NodeId> = (0..8).map(|step| far(next - step)).collect();
                next -= 8;
                finds.answered(one, target, named.into_iter());
            }
        }
        assert_eq!(asked, ASKED_MAX);
    }
}
