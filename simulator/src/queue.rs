//! What happens when: a calendar of events in the total order (time, node, sequence).
//!
//! Near events lie in a ring of buckets, unsorted until their bucket's turn; far ones in a heap. So an event costs about
//! the same with a thousand pending or a million (R. Brown, *Calendar Queues*, 1988; the fixed bucket width is ours, for
//! a mesh's delays all lie between microseconds and seconds).
use std::{cmp::Ordering, collections::BinaryHeap};

/// A bucket is 2¹⁷ ns wide: 131 µs, well below a link's delay, so a bucket holds few events.
const WIDTH_BITS: u32 = 17;

/// So many buckets lie ahead: 0.54 s. What is due later waits in the heap.
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
    /// Of the bucket whose turn it is, and whatever was pushed for that time or before.
    current: BinaryHeap<Entry<E>>,
    ring: Vec<Vec<Entry<E>>>,
    far: BinaryHeap<Entry<E>>,
    /// The number of the current bucket since the start of time.
    turn: u64,
    in_ring: usize,
    sequence: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        let ring = (0..BUCKETS).map(|_| Vec::new()).collect();
        Self { current: BinaryHeap::new(), ring, far: BinaryHeap::new(), turn: 0, in_ring: 0, sequence: 0 }
    }
}

impl<E> Queue<E> {
    /// Adds an event of `node` at `at` nanoseconds, behind those of the same time and node.
    pub(crate) fn push(&mut self, at: u64, node: u32, event: E) {
        self.sequence += 1;
        let entry = Entry { at, node, sequence: self.sequence, event };
        let bucket = at >> WIDTH_BITS;
        if bucket <= self.turn {
            self.current.push(entry);
        } else if bucket < self.turn + BUCKETS {
            self.slot(bucket).push(entry);
            self.in_ring += 1;
        } else {
            self.far.push(entry);
        }
    }

    /// The earliest event with its time and node.
    pub(crate) fn pop(&mut self) -> Option<(u64, u32, E)> {
        while self.current.is_empty() {
            self.advance()?;
        }
        self.current.pop().map(|entry| (entry.at, entry.node, entry.event))
    }

    fn slot(&mut self, bucket: u64) -> &mut Vec<Entry<E>> {
        let index = usize::try_from(bucket % BUCKETS).expect("there are fewer buckets than addresses");
        &mut self.ring[index]
    }

    /// Goes on to the next bucket, or straight to the first far event when the ring is empty.
    fn advance(&mut self) -> Option<()> {
        let far = self.far.peek().map(|entry| entry.at >> WIDTH_BITS);
        self.turn = if self.in_ring > 0 { self.turn + 1 } else { far? };
        while let Some(entry) = self.far.peek() {
            let bucket = entry.at >> WIDTH_BITS;
            if bucket >= self.turn + BUCKETS {
                break;
            }
            let entry = self.far.pop().expect("it was there a line ago");
            self.slot(bucket).push(entry);
            self.in_ring += 1;
        }
        let due = std::mem::take(self.slot(self.turn));
        self.in_ring -= due.len();
        self.current.extend(due);
        Some(())
    }
}

impl<E> Ord for Entry<E> {
    /// Reversed, for std's heap gives the greatest first.
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
