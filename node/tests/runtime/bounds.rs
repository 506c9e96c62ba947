//! Guests that behave badly, and their neighbours.
use std::time::{Duration, Instant};

use bocage_node::runtime::{RunError, Stream};
use bocage_protocol::id::{CellId, InstanceId};
use http_body_util::{BodyExt, Full};

use crate::world::{EXERCISER, INSTANCE, World, bytes, context, order, request};

const NEIGHBOUR: InstanceId = InstanceId { cell: CellId([8; 32]), number: 1 };

#[tokio::test]
async fn an_endless_loop_is_stopped_while_its_neighbours_are_served() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    world.runtime.start(order(NEIGHBOUR, EXERCISER), bytes(EXERCISER)).await.unwrap();

    // More of them than the instance may run at once, on the one thread of this test.
    let loops = futures::future::join_all((0..12).map(|_| world.get("/loop")));
    let neighbour = async {
        for _ in 0..10 {
            let answer = world.ask_of(NEIGHBOUR, request("GET", "/hello", ""), None).await;
            assert_eq!(answer, Ok((200, "hello".into())));
        }
        Instant::now()
    };
    let (stopped, served) = tokio::join!(async { (loops.await, Instant::now()) }, neighbour);
    assert!(served < stopped.1, "the neighbour was served while the loops ran");
    for answer in stopped.0 {
        assert_eq!(answer, Err(RunError::Cpu { max_ms: 200 }));
    }
    assert_eq!(world.get("/hello").await, Ok((200, "hello".into())));
}

#[tokio::test]
async fn a_memory_hog_is_refused_at_its_policys_bound() {
    let world = World::with(|config| config.cpu_max = Duration::from_secs(20));
    world.start(EXERCISER).await.unwrap();
    assert_eq!(world.get("/hog").await, Err(RunError::Memory { max_bytes: 32 << 20 }));
    let readings = world.runtime.take_readings();
    assert!(readings[0].memory_bytes > 16 << 20 && readings[0].memory_bytes <= 32 << 20, "{readings:?}");
    assert_eq!(world.get("/hello").await, Ok((200, "hello".into())));
}

#[tokio::test]
async fn a_guest_that_fails_says_so_and_takes_nobody_with_it() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    let Err(RunError::Trapped(why)) = world.get("/panic").await else { panic!("it trapped") };
    assert!(why.contains("unreachable"), "{why}");
    assert_eq!(world.get("/silent").await, Err(RunError::NoAnswer));
    let Err(RunError::Refused(why)) = world.get("/refuse").await else { panic!("it refused") };
    assert!(why.contains("LoopDetected"), "{why}");
    let said: Vec<_> = world.logs.tail(INSTANCE.cell).into_iter().map(|line| line.text).collect();
    assert!(said.iter().any(|line| line.contains("as asked")), "{said:?}");
}

#[tokio::test]
async fn a_deadline_ends_a_guest_that_waits() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    let mut soon = context(None);
    soon.deadline = Instant::now() + Duration::from_millis(100);
    let response = world.runtime.handle(INSTANCE, request("GET", "/stall", ""), soon).await.unwrap();
    let broken = response.into_body().collect().await.unwrap_err();
    assert!(broken.to_string().contains("did not answer in time"), "{broken}");

    soon.deadline = Instant::now() + Duration::from_millis(20);
    let late = world.runtime.handle(INSTANCE, request("GET", "/loop", ""), soon).await;
    assert_eq!(late.err(), Some(RunError::Deadline));
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    let long = "0123456789abcdef".repeat(40_000);
    let (status, echoed) = world.ask(request("POST", "/echo", &long)).await.unwrap();
    assert_eq!((status, echoed.len()), (200, long.len()));
    assert_eq!(echoed, long);

    let response = world.runtime.handle(INSTANCE, request("GET", "/stream", ""), context(None)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 8 << 20);
    assert_eq!(body.last(), Some(&127));
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    let response = world.runtime.handle(INSTANCE, request("GET", "/break", ""), context(None)).await.unwrap();
    let broken = response.into_body().collect().await.unwrap_err();
    assert!(broken.to_string().contains("the answer broke off: the app failed"), "{broken}");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_instance() {
    let world = World::with(|config| config.requests_per_instance_max = 1);
    world.start(EXERCISER).await.unwrap();
    for path in ["/stall", "/stream"] {
        let response = world.runtime.handle(INSTANCE, request("GET", path, ""), context(None)).await.unwrap();
        drop(response);
        assert_eq!(world.get("/hello").await, Ok((200, "hello".into())));
    }
}

/// Seen with fifty requests in one task: the executor's share ran out between the answer and the look for it, and the
/// answer was taken for missing.
#[tokio::test]
async fn many_requests_in_one_task_are_all_answered() {
    let world = World::with(|config| {
        config.requests_max = 64;
        config.requests_per_instance_max = 64;
    });
    world.start(EXERCISER).await.unwrap();
    let many = (0..25).map(async |n| {
        // Answers of which each takes another share of the executor, so that it runs out at every point of a request.
        let (path, said) = [("/hello", "hello"), ("/setting", "good evening"), ("/reads", "true")][n % 3];
        for _ in 0..20 {
            assert_eq!(world.get(path).await, Ok((200, said.into())));
        }
    });
    futures::future::join_all(many).await;
}

#[tokio::test]
async fn beyond_its_bounds_the_runtime_says_that_it_is_busy() {
    let world = World::with(|config| {
        config.requests_per_instance_max = 1;
        config.waiting_max = 0;
    });
    world.start(EXERCISER).await.unwrap();
    let held = world.runtime.handle(INSTANCE, request("GET", "/stall", ""), context(None)).await.unwrap();
    let refused = world.get("/hello").await.unwrap_err();
    assert!(matches!(refused, RunError::Busy { .. }) && refused.is_untouched(), "{refused}");
    drop(held);
}

#[tokio::test]
async fn a_request_without_a_host_is_malformed() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    let request = http::Request::get("/hello").body(Full::default()).unwrap();
    assert!(matches!(world.ask(request).await, Err(RunError::Malformed(_))));
}

#[tokio::test]
async fn what_a_guest_prints_goes_to_its_apps_logs_in_lines() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    world.get("/log").await.unwrap();
    let lines = world.logs.tail(INSTANCE.cell);
    let said: Vec<_> = lines.iter().map(|line| (line.stream, &line.text[..line.text.len().min(14)])).collect();
    let long = "e".repeat(14);
    assert!(said.contains(&(Stream::Stdout, "first line")), "{said:?}");
    assert!(said.contains(&(Stream::Stdout, "without an end")), "{said:?}");
    assert_eq!(said.iter().filter(|line| **line == (Stream::Stderr, long.as_str())).count(), 2, "{said:?}");
    assert!(lines.iter().all(|line| line.instance == INSTANCE && line.release == 3));
}

#[tokio::test]
async fn a_guest_gets_its_settings() {
    let world = World::new();
    world.start(EXERCISER).await.unwrap();
    assert_eq!(world.get("/setting").await, Ok((200, "good evening".into())));
}
