//! Convergence of real processes: one node asks another price, and all others are asked again and again whether they reckon
//! with it.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bocage_protocol::{codec, random::Rng};
use bocage_simulator::{
    Layout,
    validate::{PHASE, REST, policy_of_all, price_asked},
};
use bytes::Bytes;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{asker::Asker, nodes::Nodes, other_than};
use crate::failure::{Exit, Failure};

/// Nodes are asked for so long before the price changes.
const LOOKS_BEFORE: Duration = Duration::from_millis(200);
/// Who does not know by then never will.
const GIVE_UP: Duration = Duration::from_mins(1);

/// One answer, in milliseconds.
pub(super) fn ask(nodes: &Nodes, layout: &Layout, mut rng: Rng) -> Result<f64, Failure> {
    nodes.wait(tokio::task::LocalSet::new().run_until(changed(nodes, layout, &mut rng)))
}

async fn changed(nodes: &Nodes, layout: &Layout, rng: &mut Rng) -> Result<f64, Failure> {
    let count = layout.seats.len();
    let whose = other_than(count, count + 1, rng);
    let policy = policy_of_all(layout.seats[whose].jurisdiction, u32::try_from(count).unwrap_or(u32::MAX));
    let policy: Bytes = codec::encode(&policy).0;
    let mut own = Asker::new(&nodes.controls[whose].target).await?;
    let mut others = Vec::new();
    for control in (0..count).filter(|node| *node != whose).map(|node| &nodes.controls[node]) {
        others.push(Asker::new(&control.target).await?);
    }
    sleep(REST + rng.duration_below(PHASE)).await;
    let mut before = Vec::new();
    for other in &mut others {
        before.push(other.price(&policy).await?.0);
    }
    let (over, _) = watch::channel(false);
    let over = Arc::new(over);
    let mut looking = Vec::new();
    for (mut other, before) in others.into_iter().zip(before) {
        let (policy, every, over) = (policy.clone(), layout.look_every, Arc::clone(&over));
        let start = rng.duration_below(every);
        looking.push(tokio::task::spawn_local(async move {
            sleep(start).await;
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let (price, at) = other.price(&policy).await?;
                if price != before {
                    return Ok((other, before, at));
                }
                if *over.borrow() {
                    return Err(Failure::new(Exit::Usage, "no-answer", "a node never knew of the other price"));
                }
            }
        }));
    }
    sleep(LOOKS_BEFORE).await;
    let asked = own.offer(&offer(true)).await?;
    let stop = Arc::clone(&over);
    tokio::task::spawn_local(async move {
        sleep(GIVE_UP).await;
        stop.send_replace(true);
    });
    let (mut last, mut known): (Instant, Vec<(Asker, u64)>) = (asked, Vec::new());
    for looks in looking {
        let (other, before, at) = looks.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        last = last.max(at);
        known.push((other, before));
    }
    own.offer(&offer(false)).await?;
    for (mut other, before) in known {
        while other.price(&policy).await?.0 != before {
            sleep(layout.look_every).await;
            if last.elapsed() > GIVE_UP {
                return Err(Failure::new(Exit::Usage, "no-answer", "a node never knew of the old price again"));
            }
        }
    }
    Ok(last.duration_since(asked).as_secs_f64() * 1_000.0)
}

/// What a node offers at first, or the same for another price.
fn offer(other: bool) -> serde_json::Value {
    let terms = bocage_processes::offer().terms();
    let (total, price) = (terms.total, terms.price);
    let cpu_core_hour = if other { price_asked(price.cpu_core_hour) } else { price.cpu_core_hour };
    json!({
        "cpu_millis": total.cpu_millis,
        "memory_bytes": total.memory_bytes,
        "disk_bytes": total.disk_bytes,
        "currency": price.currency.to_string(),
        "cpu_core_hour_micro": cpu_core_hour,
        "memory_gib_hour_micro": price.memory_gib_hour,
        "disk_gib_hour_micro": price.disk_gib_hour,
    })
}
