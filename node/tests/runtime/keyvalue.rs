//! `wasi:keyvalue` as a guest meets it.
use std::time::Duration;

use bocage_node::runtime::Rested;

use crate::world::{EXERCISER, INSTANCE, World, context, request};

#[tokio::test]
async fn an_answer_says_how_old_the_state_may_be_that_it_rests_on() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    let rested = async || {
        let response = world.runtime.handle(INSTANCE, request("GET", "/reads", ""), context(None)).await.unwrap();
        response.extensions().get::<Rested>().copied()
    };
    assert_eq!(rested().await, None, "all that it read was current");
    world.cell.answer_aged(Duration::from_millis(61_500));
    assert_eq!(rested().await, Some(Rested(Duration::from_millis(61_500))));
}

#[tokio::test]
async fn a_request_pays_for_one_linear_read() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    assert_eq!(world.get("/reads").await, Ok((200, "true".into())));
    assert_eq!(world.cell.reads(), (1, 3));
}

#[tokio::test]
async fn a_lost_swap_hands_out_a_fresh_handle() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    assert_eq!(world.get("/conflict").await, Ok((200, "first then third".into())));
}

#[tokio::test]
async fn batches_are_bounded_and_pages_go_on() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    assert_eq!(world.get("/batch").await, Ok((200, "59 of 100; true".into())));
    assert_eq!(world.get("/pages").await, Ok((200, "1000 280 true".into())));
}

#[tokio::test]
async fn a_repeated_request_counts_once_and_the_same_write_twice_in_it_counts_twice() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    for _ in 0..3 {
        let answer = world.ask_of(INSTANCE, request("GET", "/tally", ""), Some("key")).await;
        assert_eq!(answer, Ok((200, "4".into())));
    }
    assert_eq!(world.ask_of(INSTANCE, request("GET", "/tally", ""), Some("other")).await, Ok((200, "8".into())));
    assert_eq!(world.get("/tally").await, Ok((200, "12".into())));
    assert_eq!(world.get("/tally").await, Ok((200, "16".into())));
}

#[tokio::test]
async fn a_no_says_whether_the_write_may_have_happened() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    let (_, said) = world.get("/errors").await.unwrap();
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said[..2], ["no such store", "definite: a key has 1 to 1,024 bytes"]);
    assert_eq!(said[2..4], ["access denied", "indefinite: who knows"]);
    assert!(said[4].starts_with("definite: a request holds at most 16"), "{said:?}");
}
