//! What a guest's request costs: computing time of the whole process per request, and memory.
//!
//!     cargo run --release -p bocage-node --example guest_cost
#[allow(dead_code)]
#[path = "../tests/runtime/world.rs"]
mod world;

use std::{fs, time::Instant};

use bocage_node::runtime::WasmRuntime;
use bocage_protocol::id::InstanceId;
use http_body_util::BodyExt;
use world::{EXERCISER, GUESTBOOK, INSTANCE, World, bytes, context, order, request};

const BOOK: InstanceId = InstanceId { number: 2, ..INSTANCE };
const REQUESTS: u32 = 20_000;
const ROUNDS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    memory("before");
    let world = World::with(|config| {
        config.requests_max = 128;
        config.requests_per_instance_max = 64;
    });
    memory("runtime open");
    let began = Instant::now();
    world.runtime.start(order(BOOK, GUESTBOOK), bytes(GUESTBOOK)).await.expect("the guestbook starts");
    println!("compiling the guestbook took {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    memory("guestbook compiled");
    world.start(EXERCISER).await.expect("the exerciser starts");
    memory("exerciser compiled");
    for n in 0..3 {
        let signed = world.ask_of(BOOK, request("POST", "/entries", &format!("entry {n}")), None).await;
        assert_eq!(signed.expect("the guestbook signs").0, 201);
    }
    ask(&world.runtime, BOOK, "/entries", 1_000).await;
    memory("1,000 requests, one after another");
    let at_once = (0..50).map(|_| ask(&world.runtime, BOOK, "/entries", 20));
    futures::future::join_all(at_once).await;
    memory("1,000 requests, 50 at once");

    for (what, instance, path) in
        [("trivial guest", INSTANCE, "/hello"), ("guestbook page", BOOK, "/"), ("guestbook list", BOOK, "/entries")]
    {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let (cpu, began) = (cpu_us(), Instant::now());
            ask(&world.runtime, instance, path, REQUESTS).await;
            let per = |us: f64| us / f64::from(REQUESTS);
            rounds.push((per(cpu_us() - cpu), per(began.elapsed().as_secs_f64() * 1e6)));
        }
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ((least, _), (median, wall), (most, _)) = (rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS - 1]);
        println!("{what}: {median:.1} CPU-µs a request ({least:.1} to {most:.1}), {wall:.1} µs by the clock");
    }
    memory("in the end");
    let idle = cpu_us();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    println!("idle for 5 s: {:.0} CPU-µs", cpu_us() - idle);
}

async fn ask(runtime: &WasmRuntime, instance: InstanceId, path: &str, times: u32) {
    for _ in 0..times {
        let response = runtime.handle(instance, request("GET", path, ""), context(None)).await.expect("it answers");
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.expect("all of it");
    }
}

/// Of this process so far, all threads.
fn cpu_us() -> f64 {
    fs::read_dir("/proc/self/task")
        .expect("Linux")
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse::<f64>().ok())
        .sum::<f64>()
        / 1e3
}

fn memory(when: &str) {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
    };
    println!("{when}: {:.1} MB resident, {:.1} of it anonymous", of("VmRSS:"), of("RssAnon:"));
}
