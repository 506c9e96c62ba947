//! Stories of clusters of detectors alone, a millisecond apart from each other.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bocage_protocol::{
    codec::Blob,
    id::NodeId,
    machine::Machine,
    membership::detector::{Input, Output},
    random::Seed,
    time::{Instant, Now, Timestamp},
};

use super::{Swim, machine::Machinery};

const APART: Duration = Duration::from_millis(1);

/// Detectors that know each other, and what is on its way.
struct Cluster {
    at: Instant,
    nodes: BTreeMap<NodeId, Machinery>,
    mail: BTreeMap<(Instant, u64), (NodeId, NodeId, Blob)>,
    posted: u64,
    dead: BTreeSet<NodeId>,
    /// What reaches these waits until then, and so do they.
    stalled: BTreeMap<NodeId, Instant>,
    /// Who counts whom as down.
    down: BTreeSet<(NodeId, NodeId)>,
    /// Who ever did.
    verdicts: Vec<(NodeId, NodeId)>,
    /// What is sent to these takes so much longer.
    late: BTreeMap<NodeId, Duration>,
}

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Cluster {
    fn new(swim: Swim, count: u8) -> Self {
        let make = |number| (node(number), Machinery::new(swim, node(number), Seed([number; 32]), Instant::START));
        let mut this = Self {
            at: Instant::START,
            nodes: (1..=count).map(make).collect(),
            mail: BTreeMap::new(),
            posted: 0,
            dead: BTreeSet::new(),
            stalled: BTreeMap::new(),
            down: BTreeSet::new(),
            verdicts: Vec::new(),
            late: BTreeMap::new(),
        };
        for me in 1..=count {
            (1..=count).for_each(|other| this.give(node(me), Input::Present { node: node(other), life: 1 }));
        }
        this
    }

    fn now(&self) -> Now {
        Now { instant: self.at, wall: Timestamp(1) }
    }

    fn give(&mut self, to: NodeId, input: Input) {
        let now = self.now();
        self.nodes.get_mut(&to).unwrap().handle_input(now, input);
        self.drain(to);
    }

    fn drain(&mut self, me: NodeId) {
        while let Some(output) = self.nodes.get_mut(&me).unwrap().poll_output() {
            match output {
                Output::Datagram { to, bytes } => {
                    self.posted += 1;
                    let late = self.late.get(&to).copied().unwrap_or_default();
                    self.mail.insert((self.at + APART + late, self.posted), (me, to, bytes));
                }
                Output::Down(about) => {
                    self.down.insert((me, about));
                    self.verdicts.push((me, about));
                }
                Output::Alive(about) => _ = self.down.remove(&(me, about)),
            }
        }
    }

    /// When a node can do what is due at `at`.
    fn awake(&self, node: NodeId, at: Instant) -> Instant {
        self.stalled.get(&node).map_or(at, |until| at.max(*until))
    }

    fn run(&mut self, time: Duration) {
        let end = self.at + time;
        loop {
            let mail = self.mail.iter().map(|(key, (_, to, _))| (self.awake(*to, key.0), *key)).min();
            let living = self.nodes.iter().filter(|(node, _)| !self.dead.contains(*node));
            let due = living.filter_map(|(node, machine)| Some((machine.poll_timeout()?.at, *node)));
            let wake = due.map(|(at, node)| (self.awake(node, at), node)).min();
            let next = mail.map(|(at, _)| at).into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.at = self.at.max(next);
            match (mail, wake) {
                (Some((at, key)), _) if at == next => {
                    let (from, to, bytes) = self.mail.remove(&key).unwrap();
                    if !self.dead.contains(&to) {
                        self.give(to, Input::Datagram { from, bytes });
                    }
                }
                (_, Some((_, node))) => {
                    let now = self.now();
                    self.nodes.get_mut(&node).unwrap().handle_timeout(now);
                    self.drain(node);
                }
                _ => unreachable!("one of the two is next"),
            }
        }
        self.at = end;
    }

    fn stall(&mut self, number: u8, time: Duration) {
        self.stalled.insert(node(number), self.at + time);
    }
}

#[test]
fn a_dead_node_is_dead_for_all_within_seconds_and_nobody_else_is() {
    for swim in [Swim::LAN, Swim::PLAIN] {
        let mut cluster = Cluster::new(swim, 10);
        cluster.run(seconds(20));
        assert_eq!(cluster.verdicts, []);
        cluster.dead.insert(node(7));
        // One round of probes at most, four seconds of suspicion that others confirm, and news take no second.
        cluster.run(seconds(30));
        let expected: BTreeSet<_> = (1..=10).filter(|me| *me != 7).map(|me| (node(me), node(7))).collect();
        assert_eq!(cluster.down, expected);
        assert_eq!(cluster.verdicts.len(), 9);
    }
}

#[test]
fn a_node_that_starts_again_lives_again_for_all() {
    let mut cluster = Cluster::new(Swim::LAN, 6);
    cluster.dead.insert(node(3));
    cluster.run(seconds(40));
    assert_eq!(cluster.down.len(), 5);
    cluster.dead.clear();
    let again = Machinery::new(Swim::LAN, node(3), Seed([33; 32]), cluster.at);
    cluster.nodes.insert(node(3), again);
    (1..=6)
        .for_each(|other| cluster.give(node(3), Input::Present { node: node(other), life: 1 + u64::from(other == 3) }));
    // One node hears of the new presence; the others hear it from that one.
    cluster.give(node(1), Input::Present { node: node(3), life: 2 });
    cluster.run(seconds(20));
    assert_eq!(cluster.down, BTreeSet::new());
}

#[test]
fn who_stands_still_for_a_moment_is_suspected_and_refutes_it() {
    let mut cluster = Cluster::new(Swim::LAN, 10);
    cluster.run(seconds(20));
    cluster.stall(4, seconds(3));
    cluster.run(seconds(60));
    assert_eq!(cluster.verdicts, []);
    assert!(cluster.nodes[&node(1)].refuted(node(4)), "nobody suspected it: the test shows nothing");
}

#[test]
fn nodes_that_stood_still_together_probe_out_of_step_as_before() {
    let mut cluster = Cluster::new(Swim::LAN, 6);
    let phases = |cluster: &Cluster| cluster.nodes.values().map(Machinery::phase).collect::<Vec<_>>();
    let before = phases(&cluster);
    cluster.run(seconds(20));
    (1..=3).for_each(|number| cluster.stall(number, seconds(3)));
    cluster.run(seconds(20));
    assert_eq!(phases(&cluster), before);
}

#[test]
fn a_node_that_hears_late_takes_others_for_dead_and_with_lifeguard_it_doubts_itself() {
    let mistakes = |swim: Swim| {
        let mut cluster = Cluster::new(swim, 16);
        cluster.run(seconds(20));
        // Later than a suspicion of plain SWIM lasts, and sooner than one that nobody confirms.
        cluster.late.insert(node(1), seconds(6));
        cluster.run(seconds(60));
        cluster.verdicts.iter().filter(|(by, _)| *by == node(1)).count()
    };
    assert_eq!(mistakes(Swim::LAN), 0);
    let plain = mistakes(Swim::PLAIN);
    assert!(plain > 10, "only {plain}");
}

#[test]
fn a_letter_that_cannot_be_read_and_a_stranger_change_nothing() {
    let mut cluster = Cluster::new(Swim::LAN, 2);
    for (from, bytes) in [(node(2), vec![0xff, 0x00]), (node(9), vec![0x82])] {
        cluster.give(node(1), Input::Datagram { from, bytes: Blob::from(bytes) });
    }
    cluster.run(seconds(30));
    assert_eq!(cluster.verdicts, []);
}
