//! The shape of the broadcast trees. The root of a tier beats once a second. Every fourth beat is *wide*: it goes over every
//! overlay link, and each node takes the neighbour that brought it first for its parent. So each tree is one of shortest
//! paths, and mends itself with the next wide beat. The others go down the tree alone, and say that the root lives.
//!
//! Plumtree shapes its tree by the duplicates of the payload. With many senders at once that breaks it: two floods under
//! way prune by two different trees, and what is left is only what both have in common. One sender, one tree.
//!
//! The root is the node with the lowest rank that beats, as in spanning trees of bridges. Beats are not signed: a liar
//! bends the tree, and headers beside the tree make up for it, the sooner the more often the tree fails (`broadcast`). A
//! parent that passes on beats and no records is none for a while.
use std::{collections::BTreeMap, time::Duration};

use super::{Membership, Timer, wire::Message};
use crate::{
    id::NodeId,
    random::mix,
    record::Tier,
    time::{Instant, Now},
};

/// A parent that is later than the first by less stays the parent, so that jitter changes nothing.
const LATER_MAX: Duration = Duration::from_millis(20);

/// One beat of so many is wide. A power of two: the lowest bits of its number, which is a time in milliseconds, are all zero.
const WIDE_EVERY: u64 = 4;

/// Beats missed before the root counts as lost. More than lie between wide ones, so that whom its parent forgot still hears.
const MISSED_MAX: u32 = 5;

/// Records in a row that others announced and the parent did not bring: another takes its place.
const FAILURES_MAX: u32 = 3;

/// The next look comes so much after the last moment at which a beat could come.
const SOON: Duration = Duration::from_millis(1);

/// For so long nobody is a parent who failed as one, if there is any other.
const SHUNNED_FOR: Duration = Duration::from_mins(1);

/// One tier's tree as seen from here.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Option<NodeId>,
    number: u64,
    /// Links from the root to here, on the way of the first arrival.
    hops: u32,
    /// `None` at the root, or with no neighbour.
    parent: Option<NodeId>,
    /// Who brought the last wide beat, after how many links, when.
    brought: BTreeMap<NodeId, (u32, Instant)>,
    heard: Instant,
    /// Records in a row that the parent did not bring.
    failures: u32,
    /// At the root: beats since the last wide one.
    narrow: u64,
    /// Neighbours that failed as parents, until.
    shunned: BTreeMap<NodeId, Instant>,
}

/// Lower is better. Mixed, so that a low id earns nothing by being low.
fn rank(node: NodeId) -> (u64, NodeId) {
    let mut first = [0; 8];
    first.copy_from_slice(&node.0[..8]);
    (mix(u64::from_le_bytes(first)), node)
}

/// Whether a beat goes over every link.
const fn is_wide(number: u64) -> bool {
    number.is_multiple_of(WIDE_EVERY)
}

impl Tree {
    /// The number of the root's next beat, at `wall` or a few milliseconds later.
    fn next_number(&mut self, wall: u64) -> u64 {
        let least = wall.max(self.number.saturating_add(1));
        self.narrow += 1;
        if self.narrow < WIDE_EVERY {
            return least.saturating_add(u64::from(is_wide(least)));
        }
        self.narrow = 0;
        least.checked_next_multiple_of(WIDE_EVERY).unwrap_or(u64::MAX)
    }

    fn yields_to(&self, root: NodeId) -> bool {
        self.root.is_none_or(|ours| rank(root) < rank(ours))
    }

    /// Whoever brought the beat from nearer to the root than this node is: nobody below it.
    fn next_parent(&self) -> Option<NodeId> {
        let above =
            self.brought.iter().filter(|(node, (hops, _))| *hops <= self.hops && !self.shunned.contains_key(node));
        above.min_by_key(|(_, (hops, at))| (*hops == self.hops, *at)).map(|(node, _)| *node)
    }

    /// Whether the parent still is as good as any, by the beat that ends now.
    fn parent_keeps_up(&self) -> bool {
        let first = self.brought.values().map(|(_, at)| *at).min();
        let parents = self.parent.filter(|parent| !self.shunned.contains_key(parent));
        let parents = parents.and_then(|parent| self.brought.get(&parent));
        first.zip(parents).is_some_and(|(first, (hops, at))| *hops < self.hops && at.since(first) <= LATER_MAX)
    }
}

impl Membership {
    fn tree(&mut self, tier: Tier) -> &mut Tree {
        self.shape.entry(tier).or_default()
    }

    /// Beats where this node is the root, and takes the root's place where none is heard.
    pub(super) fn beat(&mut self, now: Now) {
        let every = self.config.beat;
        let mut next = now.instant + every * MISSED_MAX;
        for tier in [Tier::Mesh, Tier::Home] {
            let me = self.me;
            let tree = self.tree(tier);
            tree.shunned.retain(|_, until| *until > now.instant);
            let lost = tree.root != Some(me) && now.instant.since(tree.heard) > every * MISSED_MAX;
            if tree.root.is_none() || lost {
                tree.root = Some(me);
                // The first one is wide.
                (tree.hops, tree.brought, tree.narrow) = (0, BTreeMap::new(), WIDE_EVERY);
                self.set_parent(tier, None);
            }
            let tree = self.tree(tier);
            if tree.root == Some(me) {
                tree.number = tree.next_number(now.wall.0);
                tree.heard = now.instant;
                next = now.instant + every;
                self.pass_on(tier, None);
            } else {
                next = next.min(tree.heard + every * MISSED_MAX + SOON);
            }
        }
        self.wake(Timer::Beat, next, "beat");
    }

    fn pass_on(&mut self, tier: Tier, except: Option<NodeId>) {
        let wide = is_wide(self.tree(tier).number);
        let hears = |node: &NodeId| Some(*node) != except && (wide || self.trees.eager.contains(&(tier, *node)));
        let to: Vec<NodeId> = self.overlay.active.keys().copied().filter(hears).collect();
        for node in to {
            self.pass_on_to(tier, node);
        }
    }

    fn pass_on_to(&mut self, tier: Tier, node: NodeId) {
        let tree = self.tree(tier);
        let (Some(root), number, hops) = (tree.root, tree.number, tree.hops) else { return };
        if self.shares(tier, node) {
            self.send(node, Message::Beat { tier, root, number, hops });
        }
    }

    pub(super) fn on_beat(&mut self, now: Now, from: NodeId, tier: Tier, root: NodeId, number: u64, hops: u32) {
        // A root that beats ahead of time would outlive itself; numbers are its wall milliseconds.
        let ahead = number > now.wall.0.saturating_add(60_000);
        if root == self.me || ahead || !self.shares(tier, from) || !self.overlay.active.contains_key(&from) {
            return;
        }
        // Nobody takes a place in this jurisdiction's tree under a name that was never certified.
        if tier == Tier::Home && !self.present.contains_key(&root) {
            return;
        }
        let tree = self.tree(tier);
        let same = tree.root == Some(root);
        if same && number == tree.number {
            if is_wide(number) {
                tree.brought.entry(from).or_insert((hops, now.instant));
            }
            return;
        }
        if (same && number < tree.number) || (!same && !tree.yields_to(root)) {
            return;
        }
        if same && tree.parent.is_some() && !is_wide(number) {
            (tree.number, tree.heard) = (number, now.instant);
            self.pass_on(tier, Some(from));
            return;
        }
        let keeps = same && tree.parent_keeps_up();
        let successor = if same { tree.next_parent() } else { None };
        let parent = if keeps { tree.parent } else { successor.or(Some(from)) };
        (tree.root, tree.number, tree.heard) = (Some(root), number, now.instant);
        tree.hops = hops.saturating_add(1);
        tree.brought = BTreeMap::from([(from, (hops, now.instant))]);
        self.set_parent(tier, parent);
        self.pass_on(tier, Some(from));
    }

    /// Puts the link to the parent into the tree, and that to the one before out of it.
    fn set_parent(&mut self, tier: Tier, parent: Option<NodeId>) {
        let parent = parent.filter(|node| self.overlay.active.contains_key(node));
        let tree = self.tree(tier);
        let before = std::mem::replace(&mut tree.parent, parent);
        if before == parent {
            return;
        }
        tree.failures = 0;
        if let Some(parent) = parent {
            self.trees.eager.insert((tier, parent));
            self.send(parent, Message::Graft(tier));
        }
        if let Some(before) = before
            && self.trees.eager.remove(&(tier, before))
        {
            self.send(before, Message::Prune(tier));
        }
    }

    /// The parent did not bring what others announced.
    pub(super) fn parent_failed(&mut self, now: Now, tier: Tier) {
        let tree = self.tree(tier);
        let Some(parent) = tree.parent else { return };
        tree.failures += 1;
        if tree.failures < FAILURES_MAX {
            return;
        }
        tree.failures = 0;
        tree.shunned.insert(parent, now.instant + SHUNNED_FOR);
        if let Some(next) = tree.next_parent() {
            self.set_parent(tier, Some(next));
        }
    }

    /// A neighbour brought what somebody else said, as a parent does.
    pub(super) fn parent_brought(&mut self, tier: Tier, from: NodeId) {
        let tree = self.tree(tier);
        if tree.parent == Some(from) {
            tree.failures = 0;
        }
    }

    /// A child.
    pub(super) fn on_graft(&mut self, from: NodeId, tier: Tier) {
        if self.shares(tier, from) && self.overlay.active.contains_key(&from) {
            self.trees.eager.insert((tier, from));
        }
    }

    /// A child no more, or a link that was in the tree by mistake.
    pub(super) fn on_prune(&mut self, from: NodeId, tier: Tier) {
        if self.tree(tier).parent != Some(from) {
            self.trees.eager.remove(&(tier, from));
        }
    }

    /// A new neighbour hears the beat at once; without a parent, it is one until the next.
    pub(super) fn join_trees(&mut self, node: NodeId) {
        for tier in [Tier::Mesh, Tier::Home] {
            if !self.shares(tier, node) {
                continue;
            }
            let (me, tree) = (self.me, self.tree(tier));
            if tree.parent.is_none() && tree.root != Some(me) {
                self.set_parent(tier, Some(node));
            }
            self.pass_on_to(tier, node);
        }
    }

    /// A neighbour is gone: another that brought the last beat takes its place.
    pub(super) fn leave_trees(&mut self, node: NodeId) {
        self.trees.forget(node);
        for tier in [Tier::Mesh, Tier::Home] {
            let tree = self.tree(tier);
            tree.brought.remove(&node);
            tree.shunned.remove(&node);
            if tree.parent == Some(node) {
                tree.parent = None;
                let next = tree.next_parent();
                self.set_parent(tier, next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_beat_of_four_is_wide_the_first_among_them_and_numbers_only_rise() {
        let mut tree = Tree { narrow: WIDE_EVERY, ..Tree::default() };
        // A clock that stands, jumps ahead, is set back, and runs.
        let walls = [0, 0, 0, 0, 0, 7_001, 3, 3, 8_000, 9_000, 10_000, 11_000];
        let numbers: Vec<u64> = walls
            .map(|wall| {
                let number = tree.next_number(wall);
                assert!(number >= wall && number > tree.number && number - wall.max(tree.number) <= WIDE_EVERY);
                tree.number = number;
                number
            })
            .to_vec();
        let wide: Vec<usize> = (0..numbers.len()).filter(|at| is_wide(numbers[*at])).collect();
        assert_eq!(wide, [0, 4, 8], "{numbers:?}");
    }
}
