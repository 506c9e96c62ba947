//! Whole parts of whole nodes, on links that carry everything at once and disks that are as fast as they are asked.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::super::{Converge, FILL_MAX, Input, Message, Output};
use crate::{
    cell::{Answer, Applied, Barrier, Description, Outcome, Query, State, Write, fixture, state::RULES_OF_CONVERGING},
    codec::Blob,
    command::Command,
    context::Context,
    id::{CellId, DiskId, InstanceId, NodeId, OpId, RequestId},
    machine::Machine,
    random::Seed,
    refusal::Code,
    store::{DiskFault, Rot, StoreOp, WriteBatch},
    time::{Instant, Now, Timestamp},
};

const STORE: &str = "visits";

struct World {
    now: Now,
    nodes: Vec<NodeId>,
    parts: Vec<Converge>,
    disks: Vec<BTreeMap<Blob, Blob>>,
    /// Pairs that cannot speak.
    cut: BTreeSet<(usize, usize)>,
    description: Arc<Description>,
    said: Vec<(RequestId, Result<Applied, Code>)>,
    /// Messages sent since somebody looked.
    sent: usize,
    /// A disk that takes its time: what was asked of it.
    held_back: Option<VecDeque<(usize, CellId, crate::id::WriteId)>>,
    requests: u64,
}

impl World {
    fn new() -> Self {
        let hosts = fixture::hosts(3);
        let mut founding = fixture::Founding::of(&hosts);
        founding.release.policy.converging = vec![STORE.to_owned()];
        let mut genesis = founding.genesis();
        genesis.rules = RULES_OF_CONVERGING;
        let mut description = State::found(&genesis).unwrap().description();
        let nodes: Vec<NodeId> = hosts.iter().map(fixture::Host::node).collect();
        let lease = description.leases[0].clone();
        let of = |(number, node): (u64, &NodeId)| crate::cell::LeaseInfo {
            instance: InstanceId { cell: description.cell, number },
            node: *node,
            ..lease.clone()
        };
        description.leases = (1..).zip(&nodes).map(of).collect();
        let description = Arc::new(description);
        let now = Now { instant: Instant::START, wall: fixture::FOUNDED };
        let mut this = Self {
            now,
            parts: Vec::new(),
            disks: vec![BTreeMap::new(); nodes.len()],
            cut: BTreeSet::new(),
            description,
            said: Vec::new(),
            sent: 0,
            held_back: None,
            requests: 0,
            nodes,
        };
        for at in 0..3 {
            this.parts.push(this.opened(at, 1, &Rot::default()));
        }
        for at in 0..3 {
            this.begin(at);
        }
        this.pass(Duration::from_secs(20));
        this
    }

    fn opened(&self, at: usize, boots: u64, rot: &Rot) -> Converge {
        let disk = DiskId([u8::try_from(at).unwrap(); 32]);
        Converge::open(self.nodes[at], Seed([7; 32]), &self.disks[at], rot, (disk, boots), self.now)
    }

    fn begin(&mut self, at: usize) {
        let mut queue = VecDeque::new();
        self.drain(at, &mut queue);
        for (at, input) in queue {
            self.give(at, input);
        }
        self.give(at, Input::Described(Arc::clone(&self.description)));
        let others = (0..self.parts.len()).filter(|other| *other != at && !self.is_cut(at, *other));
        for other in others.collect::<Vec<_>>() {
            self.give(at, Input::PeerUp(self.nodes[other]));
            self.give(other, Input::PeerUp(self.nodes[at]));
        }
    }

    /// The process dies and starts again from its disk.
    fn restart(&mut self, at: usize, boots: u64, rot: &Rot) {
        for other in (0..self.parts.len()).filter(|other| *other != at) {
            self.give(other, Input::PeerDown(self.nodes[at]));
        }
        self.parts[at] = self.opened(at, boots, rot);
        self.begin(at);
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert((a, b));
        self.give(a, Input::PeerDown(self.nodes[b]));
        self.give(b, Input::PeerDown(self.nodes[a]));
    }

    fn heal(&mut self) {
        for (a, b) in std::mem::take(&mut self.cut) {
            self.give(a, Input::PeerUp(self.nodes[b]));
            self.give(b, Input::PeerUp(self.nodes[a]));
        }
    }

    fn give(&mut self, at: usize, input: Input) {
        let mut queue = VecDeque::from([(at, input)]);
        while let Some((at, input)) = queue.pop_front() {
            // As the node does: whoever asks is told how the cell is.
            let view = Converge::concerns(&input).map(|_| Arc::clone(&self.description));
            self.parts[at].look(view);
            self.parts[at].handle_input(self.now, input);
            self.drain(at, &mut queue);
        }
    }

    fn drain(&mut self, at: usize, queue: &mut VecDeque<(usize, Input)>) {
        while let Some(output) = self.parts[at].poll_output() {
            match output {
                Output::Send { to, cell, message } => {
                    self.sent += 1;
                    assert!(message.is_lawful(), "{message:?}");
                    let to = self.nodes.iter().position(|node| *node == to).unwrap();
                    if !self.is_cut(at, to) {
                        queue.push_back((to, Input::Received { from: self.nodes[at], cell, message }));
                    }
                }
                Output::Persist { cell, write, batch } => {
                    if let Some(held_back) = &mut self.held_back {
                        held_back.push_back((at, cell, write));
                        continue;
                    }
                    self.keep(at, batch);
                    queue.push_back((at, Input::Persisted { cell, write }));
                }
                Output::Forget { batch, .. } => self.keep(at, batch),
                Output::Applied { request, applied } => self.said.push((request, Ok(applied))),
                Output::Refuse { request, refusal } => self.said.push((request, Err(refusal.code))),
                Output::GuestRead { .. } | Output::Answered { .. } | Output::Want { .. } => {}
                Output::Elsewhere { .. } => panic!("it is about a converging store"),
            }
        }
    }

    fn keep(&mut self, at: usize, batch: WriteBatch) {
        for op in batch.ops {
            match op {
                StoreOp::Put { key, value } => drop(self.disks[at].insert(key, value)),
                StoreOp::Delete { key } => drop(self.disks[at].remove(&key)),
                other => panic!("only keyed state is kept: {other:?}"),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now.instant + time;
        loop {
            let due = self.parts.iter().enumerate().filter_map(|(at, part)| Some((part.poll_timeout()?.at, at))).min();
            let Some((instant, at)) = due.filter(|(instant, _)| *instant <= until) else { break };
            self.now.instant = instant.max(self.now.instant);
            self.parts[at].handle_timeout(self.now);
            let mut queue = VecDeque::new();
            self.drain(at, &mut queue);
            while let Some((at, input)) = queue.pop_front() {
                self.give(at, input);
            }
        }
        self.now = Now { instant: until, wall: self.now.wall + time };
    }

    fn ask(&mut self, at: usize, op: Option<OpId>, write: Write) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        let context = Context { op, ..Context::until(request, self.now.instant + Duration::from_secs(5)) };
        let lease = self.description.leases.iter().find(|lease| lease.node == self.nodes[at]);
        let (instance, generation) =
            lease.map_or((InstanceId { cell: self.cell(), number: 99 }, 0), |lease| (lease.instance, lease.generation));
        let command = Box::new(Command::Write { instance, generation, writes: vec![write] });
        self.give(at, Input::Asked { context, command });
        request
    }

    fn add(&mut self, at: usize) {
        let request = self.ask(at, None, Write::Increment { store: STORE.into(), key: "n".into(), delta: 1 });
        let said = self.said.iter().find(|(of, _)| *of == request);
        assert!(
            matches!(said, Some((_, Ok(applied))) if matches!(applied.outcome, Outcome::Written { .. })),
            "{said:?}"
        );
    }

    fn cell(&self) -> CellId {
        self.description.cell
    }

    fn counts(&self) -> Vec<Option<String>> {
        let key = (STORE.to_owned(), "n".to_owned());
        let count =
            |part: &Converge| part.shown(self.cell()).get(&key).map(|it| String::from_utf8_lossy(it).into_owned());
        self.parts.iter().map(count).collect()
    }

    fn all_count(&self, count: u64) {
        assert_eq!(self.counts(), vec![Some(count.to_string()); self.parts.len()]);
    }
}

#[test]
fn what_one_member_writes_the_others_have_and_then_nobody_says_anything() {
    let mut world = World::new();
    world.add(0);
    world.add(1);
    world.all_count(2);
    world.pass(Duration::from_secs(10));
    world.sent = 0;
    world.pass(Duration::from_hours(2));
    assert_eq!(world.sent, 0, "a quiet store costs nothing");
    assert!(world.parts.iter().all(|part| part.poll_timeout().is_none()));
}

#[test]
fn both_sides_of_a_cut_count_and_come_to_the_sum() {
    let mut world = World::new();
    world.add(0);
    world.cut(0, 1);
    world.cut(0, 2);
    (0..5).for_each(|_| world.add(0));
    (0..3).for_each(|_| world.add(2));
    world.pass(Duration::from_mins(20));
    assert_eq!(world.counts(), [Some("6".to_owned()), Some("4".to_owned()), Some("4".to_owned())]);
    world.heal();
    world.pass(Duration::from_secs(5));
    world.all_count(9);
}

#[test]
fn who_cannot_speak_to_the_writer_hears_of_it_from_others() {
    let mut world = World::new();
    world.cut(0, 2);
    world.add(0);
    assert_eq!(world.counts()[2], None);
    world.pass(Duration::from_secs(5));
    world.all_count(1);
}

#[test]
fn a_retry_that_reaches_the_same_node_counts_once_also_after_a_restart() {
    let mut world = World::new();
    let op = fixture::op("visitor", 1);
    let write = || Write::Increment { store: STORE.into(), key: "n".into(), delta: 1 };
    let first = world.ask(0, Some(op), write());
    world.restart(0, 2, &Rot::default());
    let again = world.ask(0, Some(op), write());
    world.all_count(1);
    let counters = |request| {
        world.said.iter().find(|(of, _)| *of == request).map(|(_, said)| match said {
            Ok(Applied { outcome: Outcome::Written { counters, .. }, .. }) => counters.clone(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!((counters(first), counters(again)), (Some(vec![1]), Some(vec![1])));
}

#[test]
fn nothing_is_told_or_answered_before_it_is_durable() {
    let mut world = World::new();
    world.pass(Duration::from_secs(10));
    world.held_back = Some(VecDeque::new());
    world.sent = 0;
    let write = |delta| Write::Increment { store: STORE.into(), key: "n".into(), delta };
    let first = world.ask(0, None, write(1));
    let second = world.ask(0, None, write(1));
    world.pass(Duration::from_mins(1));
    assert!(world.said.iter().all(|(request, _)| *request != first && *request != second));
    assert_eq!((world.sent, world.counts()[1].clone()), (0, None));
    // The power goes: nothing of it ever was.
    world.held_back = None;
    world.restart(0, 2, &Rot::default());
    world.add(0);
    world.pass(Duration::from_secs(5));
    world.all_count(1);
}

#[test]
fn what_a_failed_disk_took_is_no_answer_and_nobody_hears_of_it() {
    let mut world = World::new();
    world.held_back = Some(VecDeque::new());
    let add = || Write::Increment { store: STORE.into(), key: "n".into(), delta: 1 };
    let (under_way, waiting) = (world.ask(0, None, add()), world.ask(0, None, add()));
    world.sent = 0;
    let (cell, fault) = (world.cell(), DiskFault::Full);
    world.give(0, Input::PersistFailed { cell, fault });
    let later = world.ask(0, None, add());
    let failed: Vec<_> = [under_way, waiting, later].map(|of| (of, Err(Code::DiskFailed))).into();
    assert_eq!(world.said.iter().filter(|(of, _)| failed.iter().any(|(it, _)| it == of)).count(), 3);
    assert!(failed.iter().all(|it| world.said.contains(it)), "{:?}", world.said);
    world.held_back = None;
    world.pass(Duration::from_mins(1));
    assert_eq!(world.sent, 0);
}

#[test]
fn whose_a_store_is_stands_beside_what_it_holds() {
    let mut world = World::new();
    world.add(1);
    let context = Context::until(RequestId(900), world.now.instant + Duration::from_secs(5));
    let queries = vec![Query::Describe, Query::Get { store: STORE.into(), key: "n".into() }];
    let command = Box::new(Command::Read { cell: world.cell(), barrier: Barrier::Linear, queries });
    world.parts[0].look(Some(Arc::clone(&world.description)));
    world.parts[0].handle_input(world.now, Input::Asked { context, command });
    let Some(Output::Answered { answered, .. }) = world.parts[0].poll_output() else { panic!("it is not answered") };
    let [Answer::Description(description), Answer::Value(Some(value))] = &answered.answers[..] else {
        panic!("{answered:?}")
    };
    assert_eq!((description.tenant, &value.value[..]), (world.description.tenant, &b"1"[..]));
}

#[test]
fn a_wiped_disk_is_filled_before_it_serves_and_reuses_no_number() {
    let mut world = World::new();
    (0..4).for_each(|_| world.add(0));
    world.disks[0].clear();
    world.restart(0, 1, &Rot::default());
    world.add(0);
    world.pass(Duration::from_secs(5));
    world.all_count(5);
}

#[test]
fn a_disk_that_is_an_older_copy_of_itself_reuses_no_number() {
    let mut world = World::new();
    world.add(0);
    let older = world.disks[0].clone();
    (0..3).for_each(|_| world.add(0));
    world.pass(Duration::from_secs(5));
    world.disks[0] = older;
    world.restart(0, 2, &Rot::default());
    world.pass(Duration::from_secs(5));
    world.add(0);
    world.pass(Duration::from_secs(5));
    world.all_count(5);
}

#[test]
fn what_a_disk_lost_comes_back_from_others() {
    let mut world = World::new();
    (0..3).for_each(|_| world.add(0));
    world.pass(Duration::from_secs(5));
    let lost: BTreeSet<Blob> =
        world.disks[0].keys().filter(|key| key[b"converge/".len() + 32] == b'k').cloned().collect();
    assert_eq!(lost.len(), 1);
    world.disks[0].retain(|key, _| !lost.contains(key));
    world.restart(0, 2, &Rot { keys: lost, ..Rot::default() });
    world.add(0);
    world.pass(Duration::from_secs(5));
    world.all_count(4);
}

#[test]
fn a_newcomer_that_can_ask_nobody_serves_after_a_while() {
    let mut world = World::new();
    world.add(1);
    world.disks[0].clear();
    world.cut(0, 1);
    world.cut(0, 2);
    world.restart(0, 1, &Rot::default());
    let write = Write::Increment { store: STORE.into(), key: "n".into(), delta: 1 };
    let request = world.ask(0, None, write);
    assert!(world.said.iter().all(|(of, _)| *of != request), "it waits to be filled");
    world.pass(FILL_MAX + Duration::from_secs(1));
    assert!(world.said.iter().any(|(of, said)| *of == request && said.is_ok()));
    world.heal();
    world.pass(Duration::from_secs(5));
    world.all_count(2);
}

/// Seed 6 of `counts_of_one_writer_that_are_added_up` in `simulator/tests/planted.rs`: it took itself for filled at once, again and again.
#[test]
fn a_newcomer_that_served_alone_begins_anew_and_waits_for_what_the_others_have() {
    let mut world = World::new();
    world.add(1);
    world.ask(1, None, Write::Delete { store: STORE.into(), key: "n".into() });
    world.pass(Duration::from_secs(10));
    world.add(1);
    world.pass(Duration::from_secs(5));
    world.disks[0].clear();
    world.cut(0, 1);
    world.cut(0, 2);
    world.restart(0, 1, &Rot::default());
    world.pass(FILL_MAX + Duration::from_secs(1));
    world.add(0);
    world.heal();
    world.pass(Duration::from_secs(10));
    world.all_count(2);
}

#[test]
fn who_leaves_hands_over_what_only_it_has_and_forgets_the_rest() {
    let mut world = World::new();
    world.add(0);
    world.cut(0, 1);
    world.cut(0, 2);
    world.add(0);
    // The others go on without it.
    let mut without = (*world.description).clone();
    let gone = world.nodes[0];
    without.members.retain(|member| member.node != gone);
    without.leases.retain(|lease| lease.node != gone);
    for at in 1..3 {
        world.give(at, Input::Described(Arc::new(without.clone())));
    }
    world.give(0, Input::Over(Arc::new(without)));
    assert!(!world.disks[0].is_empty(), "nobody else has it");
    world.heal();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.counts(), [None, Some("2".to_owned()), Some("2".to_owned())]);
    assert!(world.disks[0].is_empty());
}

#[test]
fn whoever_is_no_member_is_not_heard_and_an_instance_without_a_lease_writes_nothing() {
    let mut world = World::new();
    let stranger = NodeId([42; 32]);
    let seen = super::super::vector::Vector::default();
    let message = Message::Have { seen, filled: true, ask: true };
    let cell = world.cell();
    world.sent = 0;
    world.give(0, Input::Received { from: stranger, cell, message });
    assert_eq!(world.sent, 0);
    let context = Context::until(RequestId(900), world.now.instant + Duration::from_secs(5));
    let writes = vec![Write::Increment { store: STORE.into(), key: "n".into(), delta: 1 }];
    let instance = InstanceId { cell, number: 77 };
    let command = Box::new(Command::Write { instance, generation: 1, writes });
    world.give(0, Input::Asked { context, command });
    assert!(world.said.contains(&(RequestId(900), Err(Code::Fenced))));
}

#[test]
fn one_batch_is_not_made_in_strong_and_converging_stores() {
    let mut world = World::new();
    let context = Context::until(RequestId(900), world.now.instant + Duration::from_secs(5));
    let get = |store: &str| Query::Get { store: store.to_owned(), key: "n".to_owned() };
    let queries = vec![get(STORE), get("default")];
    let cell = world.cell();
    let command = Box::new(Command::Read { cell, barrier: Barrier::Linear, queries });
    world.give(0, Input::Asked { context, command });
    assert!(world.said.contains(&(RequestId(900), Err(Code::Invalid))));
}

#[test]
fn a_deletion_is_forgotten_once_all_have_it_and_nothing_comes_back() {
    let mut world = World::new();
    world.add(0);
    world.cut(0, 2);
    world.cut(1, 2);
    world.ask(1, None, Write::Delete { store: STORE.into(), key: "n".into() });
    world.pass(Duration::from_mins(1));
    assert_eq!(world.counts(), [None, None, Some("1".to_owned())]);
    world.heal();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.counts(), [None, None, None]);
    let keys = |disk: &BTreeMap<Blob, Blob>| disk.keys().filter(|key| key[b"converge/".len() + 32] == b'k').count();
    assert_eq!(world.disks.iter().map(keys).collect::<Vec<_>>(), [0, 0, 0], "no tombstone is left");
    world.now.wall = Timestamp(world.now.wall.0 - 3_600_000);
    world.add(2);
    world.pass(Duration::from_secs(10));
    world.all_count(1);
}
