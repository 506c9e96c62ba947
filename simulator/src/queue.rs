//! What happens when: a calendar of events in the total order (time, node, sequence).
//!
//! Near events lie in a ring of buckets, unsorted until their bucket's turn; far ones by the round of the ring that they are
//! due in. So an event costs about the same with a thousand pending or a million (R. Brown, *Calendar Queues*, 1988; the
//! fixed bucket width is ours, for a mesh's delays all lie between microseconds and seconds).
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    mem,
};

/// A bucket is 2¹⁷ ns wide: 131 µs, well below a link's delay, so a bucket holds few events.
const WIDTH_BITS: u32 = 17;

/// So many buckets lie ahead: 0.54 s, a round of the ring. What is due later waits for its round.
const BUCKETS: u64 = 4_096;

/// One event with its place in the order.
#[derive(Debug)]
struct Entry<E> {
    at: u64,
    node: u32,
    sequence: u64,
    event: E,
}

/// The calendar.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    /// The bucket whose turn it is, the earliest last.
    current: Vec<Entry<E>>,
    /// Pushed for the current bucket, or for one before.
    late: BinaryHeap<Entry<E>>,
    ring: Vec<Vec<Entry<E>>>,
    /// By round; of later ones than the current.
    far: BTreeMap<u64, Vec<Entry<E>>>,
    /// The number of the current bucket since the start of time.
    turn: u64,
    in_ring: usize,
    sequence: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        let ring = (0..BUCKETS).map(|_| Vec::new()).collect();
        Self {
            current: Vec::new(),
            late: BinaryHeap::new(),
            ring,
            far: BTreeMap::new(),
            turn: 0,
            in_ring: 0,
            sequence: 0,
        }
    }
}

impl<E> Queue<E> {
    /// Adds an event of `node` at `at` nanoseconds, behind those of the same time and node.
    pub(crate) fn push(&mut self, at: u64, node: u32, event: E) {
        self.sequence += 1;
        let entry = Entry { at, node, sequence: self.sequence, event };
        let bucket = at >> WIDTH_BITS;
        if bucket <= self.turn {
            self.late.push(entry);
        } else if bucket < self.turn + BUCKETS {
            self.ring[Self::index(bucket)].push(entry);
            self.in_ring += 1;
        } else {
            self.far.entry(bucket / BUCKETS).or_default().push(entry);
        }
    }

    /// The earliest event with its time and node.
    pub(crate) fn pop(&mut self) -> Option<(u64, u32, E)> {
        while self.current.is_empty() && self.late.is_empty() {
            self.advance()?;
        }
        // Both are ordered so that the earlier is the greater.
        let entry = if self.late.peek() > self.current.last() { self.late.pop() } else { self.current.pop() };
        entry.map(|entry| (entry.at, entry.node, entry.event))
    }

    fn index(bucket: u64) -> usize {
        usize::try_from(bucket % BUCKETS).expect("there are fewer buckets than addresses")
    }

    /// Goes on to the next bucket, or straight to the first round with an event when the ring is empty.
    fn advance(&mut self) -> Option<()> {
        let first_far = self.far.keys().next().map(|round| round * BUCKETS);
        self.turn = if self.in_ring > 0 { self.turn + 1 } else { first_far? };
        if self.turn.is_multiple_of(BUCKETS)
            && let Some(due) = self.far.remove(&(self.turn / BUCKETS))
        {
            self.in_ring += due.len();
            for entry in due {
                self.ring[Self::index(entry.at >> WIDTH_BITS)].push(entry);
            }
        }
        // The room of the bucket that is done goes to the one whose turn it is.
        mem::swap(&mut self.current, &mut self.ring[Self::index(self.turn)]);
        self.in_ring -= self.current.len();
        self.current.sort_unstable();
        Some(())
    }
}

impl<E> Ord for Entry<E> {
    /// Reversed: the earliest is the greatest, which std's heap gives first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.node, other.sequence).cmp(&(self.at, self.node, self.sequence))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use bocage_protocol::random::Seed;

    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_then_node_then_sequence() {
        let mut rng = Seed([3; 32]).rng();
        let mut queue = Queue::default();
        let mut expected = Vec::new();
        for number in 0..20_000_u64 {
            let reach = [1_000, 200_000, 30_000_000, 900_000_000_000][rng.index(4).unwrap()];
            let (at, node) = (rng.below(reach), u32::try_from(rng.below(3)).unwrap());
            queue.push(at, node, number);
            expected.push((at, node, number));
        }
        expected.sort_unstable();
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(popped, expected);
    }

    #[test]
    fn what_is_pushed_while_popping_keeps_its_place() {
        let mut rng = Seed([4; 32]).rng();
        let mut queue = Queue::default();
        queue.push(0, 0, ());
        let (mut last, mut popped) = (0, 0);
        while let Some((at, _, ())) = queue.pop() {
            assert!(last <= at, "time never goes backwards");
            last = at;
            popped += 1;
            for _ in 0..rng.below(3) {
                if popped < 5_000 {
                    queue.push(at + rng.below(2_000_000_000), 0, ());
                }
            }
        }
        assert!(popped > 1);
    }
}
