//! Playing a capsule back: the run up to a moment, what a node was like then, and which frames led there.
use std::fmt::Write as _;

use bocage_protocol::node::Node;
use serde::Serialize;

use crate::{
    Options, Violation,
    capsule::Capsule,
    world::{Delivery, NodeShown, World},
};

/// So many frames are shown.
const FRAMES_SHOWN: usize = 40;

/// A violation seen so long after the moment asked for is the one that was asked for: the world goes on by events.
const SLACK_NS: u64 = 1;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The run was stopped then, from the first node's start.
    pub stopped_at_s: f64,
    /// What was violated until then.
    pub violations: Vec<Violation>,
    /// Of the run until then.
    pub trace_hash: String,
    /// The capsule's violation was seen again, at the same time. Unknown where the run was stopped before.
    pub same: Option<bool>,
    /// The node that was asked for, or on which it was violated, or that votes in the first app's cell.
    pub node: Option<NodeShown>,
    /// The last frames that may have led to that, oldest first.
    pub frames: Vec<Delivery>,
}

/// Plays a capsule back until a moment, or until what it is about was violated.
#[must_use]
pub fn replay(capsule: &Capsule, until_s: Option<f64>, node: Option<u32>) -> Replayed {
    let options = Options { bug: capsule.bug, recorded: true, until_ns: until_s.map(nanos), ..Options::default() };
    #[cfg(feature = "planted")]
    let _planted = crate::Bug::plant(options.bug);
    let mut world = World::<Node>::new(&capsule.scenario, capsule.seed, &options);
    world.run();
    let stopped_at = world.stopped_at();
    let violations = world.violations().to_vec();
    let again = violations.iter().find(|violation| violation.property == capsule.property);
    let same = again.is_some_and(|violation| (violation.at_s - capsule.at_s).abs() < 1e-6);
    let reached = until_s.is_none_or(|until| nanos(until) + SLACK_NS >= nanos(capsule.at_s));
    let node = node.or(capsule.node).or_else(|| world.some_voter());
    Replayed {
        stopped_at_s: crate::measure::ms(stopped_at) / 1_000.0,
        violations,
        trace_hash: world.trace_hash(),
        same: reached.then_some(same),
        frames: node.map(|node| world.led_to(node, FRAMES_SHOWN)).unwrap_or_default(),
        node: node.and_then(|node| world.inspect(node)),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of day; a negative one is none")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl Replayed {
    /// One JSON document.
    ///
    /// # Panics
    /// Never: it holds nothing that JSON cannot.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("it holds nothing that JSON cannot")
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("stopped at {:.6} s, trace {}\n", self.stopped_at_s, self.trace_hash);
        let mut line = |shown: std::fmt::Arguments| writeln!(text, "{shown}").expect("a String takes every line");
        match self.same {
            Some(true) => line(format_args!("the same as in the capsule")),
            Some(false) => line(format_args!("NOT the same as in the capsule: another build of the program made it")),
            None => line(format_args!("before what the capsule is about")),
        }
        for Violation { property, at_s, node, what } in &self.violations {
            let node = node.map(|node| format!(" on node {node}")).unwrap_or_default();
            line(format_args!("VIOLATED {property:?} at {at_s:.3} s{node}: {what}"));
        }
        if let Some(node) = &self.node {
            let NodeShown {
                node,
                id,
                operator,
                jurisdiction,
                state,
                life,
                peers,
                instances,
                last_steps,
                status,
                cells,
            } = node;
            line(format_args!("\nnode {node} of {operator} in {jurisdiction}: {state}, life {life}, {id}"));
            line(format_args!("peers: {peers:?}"));
            for instance in instances {
                line(format_args!("instance: {instance}"));
            }
            line(format_args!("last steps: {}", last_steps.join(", ")));
            line(format_args!("{status}"));
            for cell in cells {
                line(format_args!("{cell}"));
            }
            line(format_args!("\nthe frames that led there:"));
        }
        for Delivery { sent_s, at_s, from, to, frame } in &self.frames {
            line(format_args!("{at_s:>14.6} s  {from} → {to}, sent {:.3} ms before  {frame}", (at_s - sent_s) * 1e3));
        }
        text
    }
}
