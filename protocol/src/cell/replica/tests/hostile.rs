//! What a peer sends never panics a replica, and never even stops it.
use std::time::Duration;

use proptest::prelude::*;

use super::{
    super::letter::{self, Receiver},
    world::{COUNTER, Knobs, STORE, World},
};
use crate::{
    cell::{
        Command, Evidence, Input, Message, RaftMessage, Reached, Repair, SnapshotOffer,
        state::fixture::{self, FOUNDED},
    },
    codec::Blob,
    context::WireContext,
    id::{ContentHash, RequestId, TraceId},
    store::{LogEntry, SnapshotMeta},
};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..20_u64, Just(u64::MAX), Just(1 << 60), Just(u64::MAX - 1), any::<u64>()]
}

fn blob() -> impl Strategy<Value = Blob> {
    prop::collection::vec(any::<u8>(), 0..80).prop_map(Blob::from)
}

fn entry() -> impl Strategy<Value = LogEntry> {
    (number(), number(), 0..4_u8, blob(), blob()).prop_map(|(index, term, kind, data, context)| LogEntry {
        index,
        term,
        kind,
        data,
        context,
    })
}

fn offer() -> impl Strategy<Value = SnapshotOffer> {
    let ids = || prop::collection::vec(0..6_u64, 0..5);
    (number(), number(), ids(), ids(), ids(), ids(), any::<bool>(), number()).prop_map(
        |(index, term, voters, learners, voters_outgoing, learners_next, auto_leave, size_bytes)| SnapshotOffer {
            meta: SnapshotMeta { index, term, voters, learners, voters_outgoing, learners_next, auto_leave },
            content: ContentHash::of(b"?"),
            size_bytes,
        },
    )
}

fn message() -> impl Strategy<Value = RaftMessage> {
    let place = (0..20_u8, 0..5_u64, 0..5_u64, number(), number(), number());
    let rest = (
        prop::collection::vec(entry(), 0..4),
        number(),
        number(),
        prop::option::of(offer().prop_map(Box::new)),
        any::<bool>(),
        number(),
        prop_oneof![9 => Just(0), 1 => number()],
        any::<i64>(),
        prop_oneof![3 => Just(Blob::default()), 1 => blob()],
    );
    (place, rest).prop_map(|(place, rest)| {
        let (kind, to, from, term, log_term, index) = place;
        let (entries, commit, commit_term, snapshot, reject, reject_hint, request_snapshot, priority, context) = rest;
        RaftMessage {
            kind,
            to,
            from,
            term,
            log_term,
            index,
            entries,
            commit,
            commit_term,
            snapshot,
            reject,
            reject_hint,
            request_snapshot,
            priority,
            context,
        }
    })
}

/// A valid message of a running cell with one thing changed, or entries made to fit.
fn mutated() -> impl Strategy<Value = (RaftMessage, u8, u64)> {
    (message(), 0..12_u8, number())
}

/// A cell with some log; every message claims to be from a member, for that is all that the transport checks.
fn cell() -> World {
    let mut world = World::new(8, 3, 0, Knobs::default());
    world.run(Duration::from_millis(200));
    for seq in 1..6 {
        let leader = world.leader().unwrap();
        let command = world.write(seq, vec![fixture::set(STORE, COUNTER, "1")]);
        world.propose(leader, command, Duration::from_secs(1));
        world.run(Duration::from_millis(20));
    }
    world
}

fn throw(world: &mut World, site: usize, mut message: RaftMessage) {
    message.to = world.replica(site).replica().0;
    let from = world.state(site).node_of(crate::id::ReplicaId(message.from));
    let Some(from) = from else { return };
    let line = world.state(site).line();
    world.input(site, Input::Received { from, message: Message::Raft { line, message } });
    world.run(Duration::from_millis(3));
}

#[test]
fn a_repair_that_another_node_proposes_never_enters_the_log() {
    let mut world = cell();
    let leader = world.leader().unwrap();
    let (member, stranger) = (world.sites[(leader + 1) % 3].host.node(), fixture::hosts(6)[5].node());
    let lease = world.state(leader).leases().next().expect("a founded cell has a lease").clone();
    let repair =
        Repair::EndLease { instance: lease.instance, generation: lease.generation, evidence: Evidence::Policy };
    let before = world.replica(leader).raw.raft.raft_log.last_index();
    for from in [member, stranger] {
        let command = Box::new(Command::Repair(Box::new(repair.clone())));
        let (request, trace) = (RequestId(1), TraceId::default());
        let context = WireContext { op: None, request, tenant: None, trace, left: Duration::from_secs(1) };
        world.input(leader, Input::Received { from, message: Message::Propose { context, command } });
        world.run(Duration::from_millis(50));
    }
    assert_eq!(world.replica(leader).raw.raft.raft_log.last_index(), before);
}

#[test]
fn a_panic_inside_a_replica_stops_it_alone_and_whoever_waits_is_told() {
    let mut world = cell();
    let broken = world.leader().unwrap();
    let command = world.write(100, vec![fixture::set(STORE, COUNTER, "2")]);
    let request = world.propose(broken, command, Duration::from_secs(5));
    assert!(!world.outcomes.contains_key(&request), "it waits for a majority");
    world.break_down(broken, "planted");
    assert!(matches!(world.outcomes.get(&request), Some(Reached::No(_))), "{:?}", world.outcomes.get(&request));
    assert_eq!(world.quarantined.len(), 1);
    assert!(world.quarantined[0].contains("planted"));
    assert!(world.replica(broken).stopped().is_some() && !world.replica(broken).is_leader());
    // It answers nobody any more and breaks nothing; the others go on.
    let command = world.write(101, vec![fixture::set(STORE, COUNTER, "3")]);
    let refused = world.propose(broken, command, Duration::from_secs(1));
    assert!(matches!(world.outcomes.get(&refused), Some(Reached::No(_) | Reached::NotLeader(_))));
    world.run(Duration::from_secs(10));
    let leader = world.leader().expect("the other two elect one of them");
    assert_ne!(leader, broken);
    let command = world.write(102, vec![fixture::set(STORE, COUNTER, "4")]);
    let request = world.propose(leader, command, Duration::from_secs(5));
    world.run(Duration::from_secs(1));
    assert!(matches!(world.outcomes.get(&request), Some(Reached::Yes(_))), "{:?}", world.outcomes.get(&request));
    assert_eq!(world.quarantined.len(), 1, "nobody else was harmed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_message_stops_a_replica(messages in prop::collection::vec((0..3_usize, message()), 1..30)) {
        let mut world = cell();
        for (site, message) in messages {
            throw(&mut world, site, message);
        }
        world.run(Duration::from_secs(1));
        prop_assert!(world.quarantined.is_empty(), "{:?}", world.quarantined);
    }

    #[test]
    fn no_message_that_nearly_fits_stops_a_replica(
        messages in prop::collection::vec((0..3_usize, mutated(), 0..3_u64), 1..30),
    ) {
        let mut world = cell();
        for (site, (mut message, change, value), ahead) in messages {
            let raft = &world.replica(site).raw.raft;
            let last = raft.raft_log.last_index();
            // As a peer at the same point of the log would say it, then one field changed.
            message.term = raft.term + ahead;
            message.index = last.saturating_sub(value % 4);
            message.log_term = raft.raft_log.term(message.index).unwrap_or(1).max(1);
            message.commit = raft.raft_log.committed.min(last);
            message.commit_term = message.log_term;
            message.request_snapshot = 0;
            message.context = Blob::default();
            let (index, term) = (message.index, message.log_term);
            for (at, entry) in (1..).zip(&mut message.entries) {
                *entry = LogEntry { index: index + at, term, kind: 2 * (entry.kind % 2), context: Blob::default(), ..entry.clone() };
            }
            match change {
                0 => message.term = value,
                1 => message.index = value,
                2 => message.log_term = value,
                3 => message.commit = value,
                4 => message.commit_term = value,
                5 => message.reject_hint = value,
                6 => message.request_snapshot = value,
                7 => message.entries.iter_mut().for_each(|entry| entry.term = value),
                8 => message.entries.iter_mut().for_each(|entry| entry.index = value),
                _ => {}
            }
            throw(&mut world, site, message);
        }
        world.run(Duration::from_secs(1));
        prop_assert!(world.quarantined.is_empty(), "{:?}", world.quarantined);
    }
}

/// A node that lost its disk may be taken for a newcomer under its old id: by a leader that has just come, and while the node expects to be
/// brought in.
#[test]
fn a_newcomer_takes_no_first_state_in_which_it_votes_already() {
    let receiver = Receiver {
        id: 3,
        term: 0,
        last: 0,
        asked_for_votes: false,
        newcomer: true,
        room: true,
        wall: FOUNDED,
        leader: 0,
        heir: 0,
        installing: false,
    };
    let offered = |voters: &[u64], learners: &[u64], voters_outgoing: &[u64]| {
        let sets = (voters.to_vec(), learners.to_vec(), voters_outgoing.to_vec());
        let meta = SnapshotMeta {
            index: 9,
            term: 2,
            voters: sets.0,
            learners: sets.1,
            voters_outgoing: sets.2,
            ..SnapshotMeta::default()
        };
        let offer = SnapshotOffer { meta, content: ContentHash::of(b"state"), size_bytes: 5 };
        let message =
            RaftMessage { kind: 7, to: 3, from: 1, term: 2, snapshot: Some(Box::new(offer)), ..Default::default() };
        letter::admit(message, &receiver).is_ok()
    };
    assert!(offered(&[1, 2], &[3], &[]));
    assert!(!offered(&[1, 2, 3], &[], &[]));
    assert!(!offered(&[1, 2, 4], &[], &[1, 2, 3]));
}
