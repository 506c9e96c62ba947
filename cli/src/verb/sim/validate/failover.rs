//! Failover of real processes: the leader of the app's cell is killed while a client writes through another node's edge.
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use bocage_links::Host;
use bocage_processes::EDGE;
use bocage_protocol::random::Rng;
use bocage_simulator::{
    Layout,
    validate::{PHASE, REST, WATCH, WRITES_BEFORE, pause},
};
use http::{HeaderValue, Method, header::HeaderName};
use tokio::time::sleep;

use super::{
    nodes::{App, Nodes, Served},
    other_than,
};
use crate::{
    connection::{self, Asked},
    failure::{Exit, Failure},
    target::Target,
};

/// A write that was not acknowledged by then never is.
const GIVE_UP: Duration = Duration::from_mins(1);
/// A client waits so long before it repeats, as the simulator's does.
const REPEAT_MS: [u64; 2] = [100, 500];

/// One answer, in milliseconds.
pub(super) fn ask(nodes: &Nodes, layout: &Layout, app: &App, run: u32, mut rng: Rng) -> Result<f64, Failure> {
    let instances = layout.app.as_ref().map_or(1, |app| app.min as usize);
    let Served { leader, voters } = nodes.until_served(app, instances)?;
    let edge = other_than(leader, layout.seats.len(), &mut rng);
    nodes.say.detail(format!("  node {leader} leads, nodes {voters:?} vote, the client is at node {edge}"));
    let before = WRITES_BEFORE + rng.duration_below(PHASE);
    let (over, told) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let client = Client { app: &app.host, think: layout.think, attempt_max: layout.attempt_max, run };
    let killed = thread::scope(|scope| {
        let writing = scope.spawn(|| client.writes(nodes.mesh.host(edge), rng, &over, &told));
        thread::sleep(before);
        let killed = nodes.mesh.kill(leader);
        thread::sleep(WATCH);
        while paused(killed, &told).is_none() && killed.elapsed() < GIVE_UP && !writing.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Relaxed);
        writing.join().expect("no client panics").map(|()| killed)
    })?;
    let pause = paused(killed, &told).ok_or_else(|| {
        Failure::new(Exit::Usage, "no-answer", format!("run {run}: no write was acknowledged after the leader died"))
    })?;
    nodes.restart(leader)?;
    nodes.until_served(app, instances)?;
    thread::sleep(REST);
    Ok(pause.as_secs_f64() * 1_000.0)
}

fn paused(killed: Instant, told: &Mutex<Vec<Instant>>) -> Option<Duration> {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    // What was told before the death counts for nothing.
    let since = |at: &Instant| {
        at.checked_duration_since(killed).map(|after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX))
    };
    let after: Vec<u64> = told.iter().filter_map(since).collect();
    pause(0, &after).map(Duration::from_nanos)
}

/// As the simulator's client: one write under way, repeated until it is acknowledged.
struct Client<'a> {
    app: &'a str,
    think: Duration,
    attempt_max: Duration,
    run: u32,
}

impl Client<'_> {
    fn writes(&self, host: &Host, mut rng: Rng, over: &AtomicBool, told: &Mutex<Vec<Instant>>) -> Result<(), Failure> {
        let inside = host.namespace.within(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let target = Target::Tcp(EDGE.to_owned());
            runtime.block_on(async {
                for number in 0_u64.. {
                    let key = format!("run {} write {number}", self.run);
                    while !over.load(Relaxed) && !self.is_acknowledged(&target, &key).await {
                        let [least, most] = REPEAT_MS;
                        sleep(Duration::from_millis(least + rng.below(most - least))).await;
                    }
                    if over.load(Relaxed) {
                        break;
                    }
                    told.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                    sleep(self.think / 2 + rng.duration_below(self.think)).await;
                }
            });
            Ok::<(), std::io::Error>(())
        });
        let done = inside.map_err(|error| Failure::new(Exit::Usage, "links", error.to_string()))?;
        done.map_err(|error| Failure::io("a client", &error))
    }

    async fn is_acknowledged(&self, edge: &Target, key: &str) -> bool {
        let key = HeaderValue::from_str(key).expect("a key is made of words and numbers");
        let headers = vec![(HeaderName::from_static("idempotency-key"), key)];
        let asked = Asked { method: Method::POST, host: Some(self.app), headers, ..Asked::get("/visits") };
        let answer = connection::exchange(edge, asked, self.attempt_max).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}
