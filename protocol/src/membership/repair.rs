//! Repair: now and then two neighbours compare sums of what they hold, then headers where those differ, and each gets
//! what it lacks. It finds what broadcasts lost, brings newcomers up to date, and mends both sides of a healed cut.
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Membership, Timer,
    broadcast::GIVEN_MAX,
    wire::{HEADERS_MAX, Message, Parcel, Sums},
};
use crate::{
    id::NodeId,
    planted::{self, Planted},
    record::{BUCKETS, Header, Settled, Standing, Tier},
    time::Now,
};

impl Membership {
    /// Compares with one random neighbour, or with one of those who watch this node or are watched by it: whoever surrounds
    /// it in the overlay has not chosen these.
    pub(super) fn repair(&mut self, now: Now) {
        let drawn = self.watch.drawn.iter().filter(|node| self.links.contains_key(node));
        let neighbours: BTreeSet<NodeId> = self.overlay.active.keys().chain(drawn).copied().collect();
        let neighbours: Vec<NodeId> = neighbours.into_iter().collect();
        if let Some(chosen) = self.rng.index(neighbours.len()) {
            self.compare(neighbours[chosen], Settled::at(now.wall));
        }
        let wait = self.jittered(self.config.repair);
        self.wake(Timer::Repair, now.instant + wait, "compare with a neighbour");
    }

    /// Starts a repair with a peer.
    pub(super) fn compare(&mut self, with: NodeId, settled: Settled) {
        let sums = [Tier::Mesh, Tier::Home]
            .into_iter()
            .filter(|tier| self.shares(*tier, with))
            .map(|tier| Sums { tier, buckets: self.set.digest(tier, settled) })
            .collect();
        self.send(with, Message::Digest { settled, sums });
    }

    /// Answers with the headers of the buckets that differ.
    pub(super) fn on_digest(&mut self, from: NodeId, settled: Settled, sums: &[Sums]) {
        for Sums { tier, buckets: theirs } in sums {
            if planted::has(Planted::NoRepair) || !self.shares(*tier, from) {
                continue;
            }
            let ours = self.set.digest(*tier, settled);
            let differ: Vec<u8> =
                (0..BUCKETS).filter(|it| ours[usize::from(*it)] != theirs[usize::from(*it)]).collect();
            if differ.is_empty() {
                continue;
            }
            let (buckets, headers) = self.headers_of(*tier, differ, settled);
            self.send(from, Message::Have { settled, tier: *tier, buckets, headers });
        }
    }

    /// As many of these buckets as fit into one message, each whole.
    fn headers_of(&self, tier: Tier, mut buckets: Vec<u8>, settled: Settled) -> (Vec<u8>, Vec<Header>) {
        loop {
            let all = self.set.of_buckets(tier, &buckets, settled);
            let headers: Vec<Header> = all.map(|known| Header::of(tier, known)).collect();
            if headers.len() <= HEADERS_MAX {
                return (buckets, headers);
            }
            buckets.truncate(buckets.len() / 2);
        }
    }

    /// Gives what the peer lacks, fetches what this node lacks.
    pub(super) fn on_have(&mut self, from: NodeId, settled: Settled, tier: Tier, buckets: &[u8], headers: &[Header]) {
        if !self.shares(tier, from) {
            return;
        }
        let theirs: BTreeMap<_, &Header> =
            headers.iter().filter(|header| header.tier == tier).map(|header| (header.slot(), header)).collect();
        let lacked = |header: &Header| theirs.get(&header.slot()).is_none_or(|theirs| header.outranks(theirs));
        let given: Vec<Parcel> = self
            .set
            .of_buckets(tier, buckets, settled)
            .filter(|known| lacked(&Header::of(tier, known)))
            .take(GIVEN_MAX)
            .map(|known| Parcel(known.clone()))
            .collect();
        let wanted: Vec<Header> =
            theirs.values().filter(|it| self.set.standing(it) == Standing::Lacking).map(|it| **it).collect();
        self.send_found(from, given);
        if !wanted.is_empty() {
            self.send(from, Message::Fetch(wanted));
        }
    }
}
