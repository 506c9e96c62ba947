//! What waits at a node's line: frames one behind the other, up and down, as many bytes as its buffers hold, and transfers
//! that share what it carries.
//!
//! A frame that finds no room in the node's own buffer is dropped, as the daemon's link drops it when its send queue is full.
//! On the provider's side nothing is dropped: a link is a stream, so what finds no room there is held back at its sender and
//! comes when the line has carried what is before it. So both directions are one queue each, known by when its line is free.
use crate::geo::Line;

/// The lines of all nodes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    nodes: Vec<Lane>,
    flows: Vec<Flow>,
    /// When flows were last moved on.
    moved_at: u64,
    /// Raised whenever flows begin, end or change: what was planned before is stale.
    pub(super) ticket: u32,
}

/// Of one node.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    line: Option<Line>,
    /// A fault lets it carry no more, in Mbit/s.
    throttled: Option<(usize, u64)>,
    /// When the line will have carried everything there is, up and down.
    free: [u64; 2],
    /// Transfers under way, up and down.
    flows: [u64; 2],
}

/// A transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Of the process that takes.
    pub(crate) life: u32,
    /// Where the world keeps it.
    pub(crate) slot: u32,
    /// What comes after the last byte, in nanoseconds.
    pub(crate) then: u64,
    bits_left: u64,
    kbit: u64,
    /// What its path carries at most.
    kbit_max: u64,
}

const UP: usize = 0;
const DOWN: usize = 1;

/// What waits at a node without a line that a fault throttles.
const BUFFER_KIB: u64 = 1_024;

/// Nobody carries less.
const KBIT_MIN: u64 = 8;

impl Lanes {
    pub(super) fn join(&mut self, line: Option<Line>) {
        self.nodes.push(Lane { line, ..Lane::default() });
    }

    /// A fault bounds what nodes carry, or no longer does.
    pub(super) fn throttle(&mut self, fault: usize, whom: impl Iterator<Item = u32>, mbit: u64, at: u64) {
        self.move_on(at);
        for node in whom {
            self.nodes[node as usize].throttled = Some((fault, mbit));
        }
        self.share();
    }

    pub(super) fn unthrottle(&mut self, fault: usize, at: u64) {
        self.move_on(at);
        for lane in self.nodes.iter_mut().filter(|lane| lane.throttled.is_some_and(|(by, _)| by == fault)) {
            lane.throttled = None;
        }
        self.share();
    }

    /// Whether a node's line has a bound at all.
    pub(super) fn bounds(&self, node: u32) -> bool {
        let lane = &self.nodes[node as usize];
        lane.line.is_some() || lane.throttled.is_some()
    }

    /// When a frame handed over at `at` has left its node; none if its buffer has no room.
    pub(super) fn leaves(&mut self, node: u32, at: u64, size_bytes: u64) -> Option<u64> {
        let lane = &mut self.nodes[node as usize];
        let Some(kbit) = lane.kbit(UP) else { return Some(at) };
        let waits = lane.free[UP].saturating_sub(at);
        let buffer = lane.buffer_bytes(UP).saturating_sub(size_bytes);
        // An idle line takes a frame of any size.
        if waits > 0 && waits > lane.takes(UP, kbit, buffer) {
            return None;
        }
        Some(lane.carry(UP, kbit, at, size_bytes))
    }

    /// When a frame that came to the far end of a node's line at `at` has come through, and whether it was held back.
    pub(super) fn comes(&mut self, node: u32, at: u64, size_bytes: u64) -> (u64, bool) {
        let lane = &mut self.nodes[node as usize];
        let Some(kbit) = lane.kbit(DOWN) else { return (at, false) };
        let waits = lane.free[DOWN].saturating_sub(at);
        let held = waits > lane.takes(DOWN, kbit, lane.buffer_bytes(DOWN));
        (lane.carry(DOWN, kbit, at, size_bytes), held)
    }

    /// A transfer begins.
    pub(super) fn begin(&mut self, at: u64, size_bytes: u64, kbit_max: u64, flow: Flow) {
        self.move_on(at);
        self.nodes[flow.from as usize].flows[UP] += 1;
        self.nodes[flow.to as usize].flows[DOWN] += 1;
        self.flows.push(Flow { bits_left: size_bytes * 8, kbit_max, ..flow });
        self.share();
    }

    /// Takes out those that have ended by now.
    pub(super) fn ended(&mut self, at: u64) -> Vec<Flow> {
        self.move_on(at);
        let (ended, under_way): (Vec<Flow>, Vec<Flow>) = self.flows.drain(..).partition(|flow| flow.bits_left == 0);
        self.flows = under_way;
        for flow in &ended {
            self.nodes[flow.from as usize].flows[UP] -= 1;
            self.nodes[flow.to as usize].flows[DOWN] -= 1;
        }
        self.share();
        ended
    }

    /// When the first of those under way ends if nothing changes.
    pub(super) fn next_end(&self) -> Option<u64> {
        let takes = |flow: &Flow| (flow.bits_left * NANOS_A_KBIT).div_ceil(flow.kbit);
        self.flows.iter().map(takes).min().map(|takes| self.moved_at + takes)
    }

    fn move_on(&mut self, at: u64) {
        let lasted = at - self.moved_at;
        self.moved_at = at;
        for flow in &mut self.flows {
            let bits = u128::from(flow.kbit) * u128::from(lasted) / u128::from(NANOS_A_KBIT);
            flow.bits_left = flow.bits_left.saturating_sub(u64::try_from(bits).unwrap_or(u64::MAX));
        }
    }

    /// Each transfer gets an equal share of either line, and no more than its path carries.
    fn share(&mut self) {
        self.ticket += 1;
        for flow in &mut self.flows {
            let share = |node: u32, way: usize| {
                let lane = &self.nodes[node as usize];
                lane.kbit(way).map_or(u64::MAX, |kbit| kbit / lane.flows[way].max(1))
            };
            flow.kbit = share(flow.from, UP).min(share(flow.to, DOWN)).min(flow.kbit_max).max(KBIT_MIN);
        }
    }
}

/// A bit at one kbit/s takes a millisecond.
const NANOS_A_KBIT: u64 = 1_000_000;

impl Lane {
    /// What it carries; none if it has no bound.
    fn kbit(&self, way: usize) -> Option<u64> {
        let of_line = self.line.map(|line| if way == UP { line.up_mbit } else { line.down_mbit });
        let mbit = match (of_line, self.throttled) {
            (Some(line), Some((_, throttled))) => line.min(throttled),
            (Some(line), None) => line,
            (None, Some((_, throttled))) => throttled,
            (None, None) => return None,
        };
        Some(mbit * 1_000)
    }

    fn buffer_bytes(&self, way: usize) -> u64 {
        let kib =
            self.line.map_or(BUFFER_KIB, |line| if way == UP { line.up_buffer_kib } else { line.down_buffer_kib });
        kib << 10
    }

    /// How long the line takes for so many bytes: all frames together are one more among its transfers.
    fn takes(&self, way: usize, kbit: u64, size_bytes: u64) -> u64 {
        size_bytes * 8 * NANOS_A_KBIT * (1 + self.flows[way]) / kbit
    }

    fn carry(&mut self, way: usize, kbit: u64, at: u64, size_bytes: u64) -> u64 {
        self.free[way] = self.free[way].max(at) + self.takes(way, kbit, size_bytes);
        self.free[way]
    }
}

impl Flow {
    pub(crate) const fn new(from: u32, to: u32, life: u32, slot: u32, then: u64) -> Self {
        Self { from, to, life, slot, then, bits_left: 0, kbit: KBIT_MIN, kbit_max: KBIT_MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Access;

    const MILLI: u64 = 1_000_000;

    /// Node 0 has a home's line, nodes 1 and 2 a server's, node 3 none.
    fn lanes() -> Lanes {
        let mut lanes = Lanes::default();
        let classes = [Some(Access::Dsl), Some(Access::Datacentre), Some(Access::Datacentre), None];
        for class in classes {
            lanes.join(class.map(Access::line));
        }
        lanes
    }

    #[test]
    fn a_line_is_slower_up_than_down_and_carries_one_frame_after_the_other() {
        let mut lanes = lanes();
        // 12,500 bytes are 100,000 bits: 10 ms at 10 Mbit/s, 2 ms at 50.
        assert_eq!(lanes.leaves(0, 0, 12_500), Some(10 * MILLI));
        assert_eq!(lanes.leaves(0, 0, 12_500), Some(20 * MILLI));
        assert_eq!(lanes.leaves(0, 60 * MILLI, 12_500), Some(70 * MILLI));
        assert_eq!(lanes.comes(0, 0, 12_500), (2 * MILLI, false));
        assert_eq!(lanes.leaves(3, 5, 1 << 30), Some(5), "a node without a line waits for nothing");
    }

    #[test]
    fn a_full_buffer_up_drops_and_a_full_one_down_holds_back() {
        let mut lanes = lanes();
        let sent = (0..100).filter(|_| lanes.leaves(0, 0, 8 << 10).is_some()).count();
        assert_eq!(sent, 64, "512 KiB, one after the other");
        let came: Vec<(u64, bool)> = (0..200).map(|_| lanes.comes(0, 0, 8 << 10)).collect();
        assert!(came.is_sorted() && !came[100].1 && came[199].1);
        let mut idle = super::tests::lanes();
        assert!(idle.leaves(0, 0, 4 << 20).is_some(), "an idle line takes any frame");
    }

    #[test]
    fn transfers_share_a_line_and_whoever_is_left_gets_what_others_leave() {
        let mut lanes = lanes();
        // From two servers to the home at 50 Mbit/s: 25 each.
        lanes.begin(0, 3_125_000, 200_000, Flow::new(1, 0, 1, 7, 0));
        assert_eq!(lanes.next_end(), Some(500 * MILLI));
        lanes.begin(0, 6_250_000, 200_000, Flow::new(2, 0, 1, 8, 0));
        assert_eq!(lanes.next_end(), Some(1_000 * MILLI));
        let ended = lanes.ended(1_000 * MILLI);
        assert_eq!(ended.iter().map(|flow| flow.slot).collect::<Vec<_>>(), [7]);
        // Half of the second is left, and has the whole line now.
        assert_eq!(lanes.next_end(), Some(1_500 * MILLI));
        // A frame beside it has half of the line.
        assert_eq!(lanes.comes(0, 1_000 * MILLI, 12_500).0, 1_004 * MILLI);
        assert_eq!(lanes.ended(1_500 * MILLI).len(), 1);
        assert_eq!(lanes.next_end(), None);
    }

    #[test]
    fn a_throttled_node_is_slow_until_its_fault_is_over() {
        let mut lanes = lanes();
        lanes.throttle(4, [3, 1].into_iter(), 1, 0);
        assert_eq!(lanes.leaves(3, 0, 12_500), Some(100 * MILLI));
        assert!(lanes.bounds(3));
        lanes.unthrottle(4, 100 * MILLI);
        assert_eq!(lanes.leaves(3, 0, 12_500), Some(0));
        assert!(!lanes.bounds(3));
        assert_eq!(lanes.leaves(1, 200 * MILLI, 12_500), Some(200_100_000));
    }
}
