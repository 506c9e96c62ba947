//! What a tenant takes home of a cell, in pieces.
use std::time::Duration;

use super::world::{COUNTER, Knobs, STORE, World};
use crate::{
    cell::{Answer, Barrier, Capture, Input, PIECE_BYTES_MAX, Query, Reached, state::fixture},
    context::Context,
    id::{ContentHash, RequestId},
};

const PATIENCE: Duration = Duration::from_secs(3);

fn ask(world: &mut World, request: u64, query: Query) -> Answer {
    let leader = world.leader().expect("a founded cell elects");
    let request = RequestId(1_000 + request);
    let context = Context::until(request, world.now + PATIENCE);
    world.input(leader, Input::Read { context, barrier: Barrier::Linear, queries: vec![query] });
    world.run_until(PATIENCE, |world| world.answers.contains_key(&request));
    match world.answers.remove(&request) {
        Some(Reached::Yes(answered)) => answered.answers.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn captured(world: &mut World, request: u64) -> Option<(ContentHash, u64)> {
    match ask(world, request, Query::Capture) {
        Answer::Captured(captured) => captured,
        other => panic!("{other:?}"),
    }
}

fn piece(world: &mut World, request: u64, content: ContentHash, offset: u64) -> Option<Vec<u8>> {
    match ask(world, request, Query::Piece { content, offset }) {
        Answer::Piece(piece) => piece.map(|piece| piece.to_vec()),
        other => panic!("{other:?}"),
    }
}

fn write(world: &mut World, seq: u64, value: &str) {
    let leader = world.leader().expect("it has one");
    let command = world.write(seq, vec![fixture::set(STORE, COUNTER, value)]);
    let asked = world.propose(leader, command, PATIENCE);
    world.run_until(PATIENCE, |world| world.outcomes.contains_key(&asked));
    assert!(matches!(world.outcomes[&asked], Reached::Yes(_)), "{:?}", world.outcomes[&asked]);
}

#[test]
fn pieces_are_of_one_index_whatever_is_written_meanwhile() {
    let mut world = World::new(9, 3, 0, Knobs::default());
    world.run(Duration::from_millis(300));
    let large = "x".repeat(PIECE_BYTES_MAX + 1_000);
    write(&mut world, 1, &large);
    let (content, size_bytes) = captured(&mut world, 1).unwrap();
    let first = piece(&mut world, 2, content, 0).unwrap();
    assert_eq!(first.len(), PIECE_BYTES_MAX);
    write(&mut world, 2, "later");
    let rest = piece(&mut world, 3, content, first.len() as u64).unwrap();
    let bytes = [first, rest].concat();
    assert_eq!((bytes.len() as u64, ContentHash::of(&bytes)), (size_bytes, content));
    assert_eq!(piece(&mut world, 4, content, size_bytes), Some(Vec::new()), "its end");
    assert_eq!(piece(&mut world, 5, content, u64::MAX), Some(Vec::new()));
    let capture = Capture::decode(&bytes).unwrap();
    assert_eq!(capture.keys(), 1);
    assert_eq!(capture.stores[0].keys[0].1.as_ref(), large.as_bytes());
    assert_eq!(capture.release.app, world.state(0).description().app);
}

#[test]
fn a_later_capture_takes_the_place_of_one_and_none_is_kept_for_ever() {
    let mut world = World::new(10, 3, 0, Knobs::default());
    world.run(Duration::from_millis(300));
    write(&mut world, 1, "one");
    let (first, _) = captured(&mut world, 1).unwrap();
    assert_eq!(captured(&mut world, 2).map(|it| it.0), Some(first), "nothing has changed");
    write(&mut world, 2, "two");
    assert_eq!(captured(&mut world, 3), None, "too soon after the last");
    world.run(Duration::from_secs(1));
    let (second, _) = captured(&mut world, 4).unwrap();
    assert_ne!(second, first);
    assert_eq!(piece(&mut world, 5, first, 0), None);
    assert!(piece(&mut world, 6, second, 0).is_some());
    world.run(Duration::from_secs(31));
    assert_eq!(piece(&mut world, 7, second, 0), None);
}
