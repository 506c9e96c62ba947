//! How to hold a policy of one's own against what ships: a failure detector and a placement, each under a name that scenarios
//! can choose. `cargo run --release -p bocage-simulator --example policies`.
//!
//! The detector is the simplest there is: every node tells every other one each second that it lives, and whoever was not heard
//! for five seconds is down. It needs n² datagrams a second, and who stands still for six seconds is called down by all.
use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use bocage_protocol::{
    capacity::Capacity,
    codec::Blob,
    id::NodeId,
    machine::{Deadline, Machine, Outbox},
    membership::detector::{Detection, Detector, Input, Output},
    placement::{Placing, Plan, Request, Unplaceable, plan_ranked},
    random::Seed,
    time::{Instant, Now},
};
use bocage_simulator::{
    Scenario,
    policy::{self, Policy},
    run,
};

/// A node says so often that it lives.
const EVERY: Duration = Duration::from_secs(1);

/// Who was not heard for so long is down.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Heartbeats;

impl Detection for Heartbeats {
    fn detector(&self, me: NodeId, seed: Seed, now: Now) -> Box<dyn Detector> {
        let next = now.instant + seed.rng().duration_below(EVERY);
        Box::new(Listener { me, next, heard: BTreeMap::new(), outbox: Outbox::default() })
    }
}

/// One node's detector. It is a machine like all others: one input in, all outputs out, and a time to be woken.
#[derive(Debug)]
struct Listener {
    me: NodeId,
    next: Instant,
    /// When each was heard last, and whether it counts as down. One a member.
    heard: BTreeMap<NodeId, (Instant, bool)>,
    outbox: Outbox<Output>,
}

impl Machine for Listener {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        self.outbox.begin_step();
        match input {
            Input::Present { node, .. } if node != self.me => {
                self.heard.entry(node).or_insert((now.instant, false));
            }
            Input::Present { .. } => {}
            Input::Absent(node) => _ = self.heard.remove(&node),
            Input::Datagram { from, .. } => {
                let Some((heard, down)) = self.heard.get_mut(&from) else { return };
                *heard = now.instant;
                if std::mem::take(down) {
                    self.outbox.push(Output::Alive(from));
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.outbox.begin_step();
        if now.instant < self.next {
            return;
        }
        self.next = now.instant + EVERY;
        for (node, (heard, down)) in &mut self.heard {
            self.outbox.push(Output::Datagram { to: *node, bytes: Blob::from("I live") });
            if !*down && now.instant.since(*heard) > PATIENCE {
                *down = true;
                self.outbox.push(Output::Down(*node));
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Some(Deadline { at: self.next, reason: "say that this node lives" })
    }
}

/// The nearest first, whatever they ask.
#[derive(Debug)]
struct Nearest;

impl Placing for Nearest {
    fn plan(&self, request: &Request, inventory: &[&Capacity]) -> Result<Plan, Unplaceable> {
        let micros = |capacity: &Capacity| {
            capacity.round_trip.map_or(u64::MAX, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        plan_ranked(request, inventory.iter().copied(), &micros)
    }
}

/// Twenty nodes, of which three die for ever and three stand still for eight seconds.
const SCENARIO: &str = r#"
name = "own"
duration_s = 60
settle_s = 60
[[population]]
jurisdiction = "FR"
operators = 20
[[app]]
name = "guestbook"
[[fault]]
at_s = 10
what = "leave"
who = { any = 3 }
[[fault]]
at_s = 30
for_s = 8
what = "stall"
who = { any = 3 }
[check]
eviction = false
"#;

fn main() -> ExitCode {
    let ours =
        [("heartbeats", Policy::Detector(Arc::new(Heartbeats))), ("nearest", Policy::Placement(Arc::new(Nearest)))];
    for (name, policy) in ours {
        policy::add(name, policy).expect("nobody else uses these names here");
    }
    let mut all_well = true;
    for (detector, placement) in [("bocage", "bocage"), ("swim-lifeguard", "random"), ("heartbeats", "nearest")] {
        let text = format!("{SCENARIO}[knobs]\ndetector = \"{detector}\"\nplacement = \"{placement}\"\n");
        let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let report = run(&scenario, 1);
        let measure = |name: &str| report.measures.get(name).copied().unwrap_or(f64::NAN);
        println!(
            "{detector:15} {placement:8} a death is known to the median node after {:5.0} ms, at {:6.0} B/s a node; the \
             stalled were called down {} times, the well {} times",
            measure("detect_p50_ms"),
            measure("sent_bytes_per_node_s"),
            report.counts["false_deaths_of_the_stalled"],
            report.counts["false_deaths_of_the_well"],
        );
        all_well &= report.violations.is_empty();
        report.violations.iter().for_each(|violation| println!("  {violation:?}"));
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
