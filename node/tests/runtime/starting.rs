//! What is started, refused, kept and found again.
use std::{fs, path::PathBuf};

use bocage_node::runtime::{RunError, Source, StartError};
use bocage_protocol::{
    cell::Workload,
    id::{ContentHash, InstanceId},
};

use crate::world::{EXERCISER, INSTANCE, World, bytes, order};

/// A component that imports the interface `name`, and nothing else.
fn importing(name: &str) -> Vec<u8> {
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    component.extend([7, 3, 1, 0x42, 0]); // types: an instance without anything in it
    let len = u8::try_from(name.len()).unwrap();
    component.extend([10, len + 5, 1, 0, len]); // imports: this name …
    component.extend(name.as_bytes());
    component.extend([5, 0]); // … is an instance of type 0
    component
}

async fn refusal(component: Vec<u8>) -> String {
    World::new().start(component.leak()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_its_reason() {
    let said = refusal(b"\0asm\x01\0\0\0".to_vec()).await;
    assert!(said.starts_with("it is a core module, not a component:"), "{said}");

    let said = refusal(importing("acme:weather/forecast@1.0.0")).await;
    assert!(said.contains("imports acme:weather/forecast@1.0.0, which this node does not provide"), "{said}");

    let said = refusal(importing("wasi:http/types@0.3.0")).await;
    assert!(said.contains("imports wasi:http/types@0.3.0"), "{said}");

    let said = refusal(b"\0asm\x0d\0\x01\0".to_vec()).await;
    assert!(said.contains("does not export wasi:http/incoming-handler"), "{said}");

    let mut broken = EXERCISER.to_vec();
    broken.truncate(20_000);
    let said = refusal(broken).await;
    assert!(said.starts_with("it does not compile:"), "{said}");
}

#[tokio::test]
async fn other_bytes_than_the_release_names_are_refused() {
    let world = World::new();
    let mut start = order(INSTANCE, EXERCISER);
    start.workload = Workload::Component { hash: ContentHash::of(b"something else"), size_bytes: 1 };
    let refused = world.runtime.start(start, bytes(EXERCISER)).await.unwrap_err();
    assert!(matches!(refused, StartError::Bytes(_)), "{refused}");
    assert_eq!(world.get("/hello").await, Err(RunError::NotRunning));
}

#[tokio::test]
async fn a_component_that_does_not_fit_in_its_memory_is_refused_at_the_start() {
    let world = World::new();
    let mut start = order(INSTANCE, EXERCISER);
    start.resources.memory_bytes = 64 << 10;
    let refused = world.runtime.start(start, bytes(EXERCISER)).await.unwrap_err();
    assert_eq!(refused, StartError::First(RunError::Memory { max_bytes: 64 << 10 }));
}

#[tokio::test]
async fn many_instances_of_one_component_compile_it_once() {
    let world = World::new();
    let starts = (1..=4).map(|number| {
        let instance = InstanceId { number, ..INSTANCE };
        world.runtime.start(order(instance, EXERCISER), bytes(EXERCISER))
    });
    for started in futures::future::join_all(starts).await {
        started.unwrap();
    }
    assert_eq!(world.runtime.compiled(), 1);
}

#[tokio::test]
async fn a_restarted_daemon_finds_its_code_again_without_the_components_bytes() {
    let mut world = World::new();
    world.start(EXERCISER).await.unwrap();
    world.restart();
    let gone = Source::Path(PathBuf::from("/nowhere"));
    world.runtime.start(order(INSTANCE, EXERCISER), gone).await.unwrap();
    assert_eq!(world.runtime.compiled(), 0);
    assert_eq!(world.get("/hello").await, Ok((200, "hello".into())));
}

#[tokio::test]
async fn spoilt_code_on_disk_is_never_run_but_compiled_anew() {
    let mut world = World::new();
    world.start(EXERCISER).await.unwrap();
    let files = || fs::read_dir(world.dir.path()).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let [file] = &files()[..] else { panic!("one file for one component") };

    let mut spoilt = fs::read(file).unwrap();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    // Another file than the one that the running instance has mapped.
    fs::remove_file(file).unwrap();
    fs::write(file, spoilt).unwrap();

    world.restart();
    world.start(EXERCISER).await.unwrap();
    assert_eq!(world.runtime.compiled(), 1);
    assert_eq!(world.get("/hello").await, Ok((200, "hello".into())));
    world.restart();
    world.start(EXERCISER).await.unwrap();
    assert_eq!(world.runtime.compiled(), 0, "what was compiled anew was kept");
}

#[tokio::test]
async fn a_stop_that_overtakes_its_start_wins_and_a_lower_generation_changes_nothing() {
    let world = World::new();
    let mut second = order(INSTANCE, EXERCISER);
    second.generation = 2;
    let starting = world.runtime.start(second.clone(), bytes(EXERCISER));
    world.runtime.stop(INSTANCE, 2);
    assert_eq!(starting.await, Err(StartError::Superseded));
    assert!(!world.runtime.runs(INSTANCE));

    world.runtime.start(second, bytes(EXERCISER)).await.unwrap();
    world.runtime.stop(INSTANCE, 1);
    assert!(world.runtime.runs(INSTANCE));
    assert_eq!(world.start(EXERCISER).await, Err(StartError::Superseded));
}
