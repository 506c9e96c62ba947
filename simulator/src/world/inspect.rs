//! Looking into a world that was stopped: what a node is like, and which frames led there. Nothing here is done while a run
//! goes on.
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::{self, Write as _},
};

use bocage_protocol::{
    command::{Command, Reply},
    context::Context,
    frame::Frame,
    id::{RequestId, TraceId},
    io::{Input, Output},
};
use serde::Serialize;

use super::{World, watch::ASK_MAX};
use crate::{
    host::{Daemon, State},
    measure::ms,
};

/// So many deliveries are remembered, the last ones.
const DELIVERIES_MAX: usize = 400_000;

/// So much is shown of a frame.
const HEAD_CHARS: usize = 100;

/// A frame that arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delivery {
    /// When it was sent, from the first node's start.
    pub sent_s: f64,
    /// When it arrived.
    pub at_s: f64,
    /// By whom, by number.
    pub from: u32,
    /// At whom.
    pub to: u32,
    /// How it begins.
    pub frame: String,
}

/// A node as it was when the run was stopped.
#[derive(Clone, Debug, Serialize)]
pub struct NodeShown {
    /// By number.
    pub node: u32,
    /// Its id.
    pub id: String,
    /// Whose.
    pub operator: String,
    /// Under which law.
    pub jurisdiction: String,
    /// `down`, `booting`, `up` or `gone`.
    pub state: String,
    /// Raised by each start and each death of the process.
    pub life: u32,
    /// Peers that it ever had a link with in this life.
    pub peers: Vec<u32>,
    /// Instances that run there.
    pub instances: Vec<String>,
    /// Its last steps, oldest first.
    pub last_steps: Vec<String>,
    /// What it says of itself.
    pub status: String,
    /// What it says of its cells.
    pub cells: Vec<String>,
}

/// Remembers what arrived.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// When the frames under way were sent, by slot.
    sent: HashMap<u32, u64>,
    deliveries: VecDeque<(u64, u64, u32, u32, String)>,
}

impl Recorder {
    pub(super) fn sent(&mut self, at: u64, slot: u32) {
        self.sent.insert(slot, at);
    }

    pub(super) fn arrived(&mut self, at: u64, slot: u32, from: u32, to: u32, frame: &Frame) {
        let sent = self.sent.remove(&slot).unwrap_or(at);
        if self.deliveries.len() == DELIVERIES_MAX {
            self.deliveries.pop_front();
        }
        self.deliveries.push_back((sent, at, from, to, head(frame)));
    }

    /// The last frames by which `node` could know anything, and those by which their senders could, oldest first.
    fn led_to(&self, node: u32, count: usize) -> Vec<Delivery> {
        // What a node knew until then matters.
        let mut until: BTreeMap<u32, u64> = [(node, u64::MAX)].into();
        let mut chain = VecDeque::new();
        for (sent, at, from, to, frame) in self.deliveries.iter().rev() {
            if chain.len() == count {
                break;
            }
            if until.get(to).is_none_or(|until| at > until) {
                continue;
            }
            let known = until.entry(*from).or_insert(*sent);
            *known = (*known).max(*sent);
            let [sent_s, at_s] = [*sent, *at].map(|at| ms(at) / 1_000.0);
            chain.push_front(Delivery { sent_s, at_s, from: *from, to: *to, frame: frame.clone() });
        }
        chain.into()
    }
}

/// How a frame begins, as it is shown; the rest of it is not even made into words.
fn head(frame: &Frame) -> String {
    struct Head(String);
    impl fmt::Write for Head {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let left = HEAD_CHARS.saturating_sub(self.0.chars().count());
            self.0.extend(text.chars().take(left));
            if left == 0 { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut head = Head(String::new());
    // It ends early, on purpose.
    let _ = write!(head, "{frame:?}");
    head.0
}

impl<D: Daemon> World<D> {
    /// A node, as it is now.
    pub(crate) fn inspect(&mut self, node: u32) -> Option<NodeShown> {
        let host = self.hosts.get(node as usize)?;
        let place = self.network.place(node);
        let state = match host.state {
            State::Down => "down",
            State::Booting => "booting",
            State::Up => "up",
            State::Gone => "gone",
        };
        let mut shown = NodeShown {
            node,
            id: format!("{:?}", host.id),
            operator: self.population.operator_name(place).to_owned(),
            jurisdiction: place.jurisdiction.to_string(),
            state: state.to_owned(),
            life: host.life,
            peers: host.peers.iter().copied().collect(),
            instances: host.instances.iter().map(|(id, running)| format!("{id:?} {running:?}")).collect(),
            last_steps: host.tail.steps().map(|(at, what)| format!("{what} at {:.6} s", ms(at) / 1_000.0)).collect(),
            status: String::new(),
            cells: Vec::new(),
        };
        if let Some(Reply::Status(status)) = self.ask_aside(node, Command::Status) {
            shown.status = format!("{status:#?}");
        }
        if let Some(Reply::Cells(cells)) = self.ask_aside(node, Command::Cells) {
            shown.cells = cells.iter().map(|cell| format!("{cell:#?}")).collect();
        }
        Some(shown)
    }

    /// Asks a node something of a run that is over; whatever else it then wants is not done.
    fn ask_aside(&mut self, node: u32, command: Command) -> Option<Reply> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let host = self.hosts.get_mut(node as usize)?;
        let now = host.clock.now(self.at);
        let daemon = host.daemon.as_mut()?;
        let deadline = now.instant + ASK_MAX;
        let context = Context { op: None, request, tenant: None, trace: TraceId([0; 16]), deadline };
        daemon.handle_input(now, Input::Command { context, command: Box::new(command) });
        let outputs: Vec<Output> = std::iter::from_fn(|| daemon.poll_output()).collect();
        outputs.into_iter().find_map(|output| match output {
            Output::Reply { request: answered, result } if answered == request => result.ok(),
            _ => None,
        })
    }

    /// The last frames that may have led to what a node is now.
    pub(crate) fn led_to(&self, node: u32, count: usize) -> Vec<Delivery> {
        self.recorder.as_ref().map(|recorder| recorder.led_to(node, count)).unwrap_or_default()
    }

    /// When it was stopped, from the first node's start.
    pub(crate) fn stopped_at(&self) -> u64 {
        self.at
    }

    /// Who votes in the cell of the first app, as far as it was described: who may know of what clients saw.
    pub(crate) fn some_voter(&self) -> Option<u32> {
        let app = self.apps.first()?;
        let newest = app.described.values().max_by_key(|(_, description)| (description.line, description.applied))?;
        newest.1.voters().find_map(|node| self.numbers.get(&node).copied().filter(|node| self.runs(*node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_known_leads_somewhere() {
        let mut recorder = Recorder::default();
        let mut add = |sent, at, from, to| recorder.deliveries.push_back((sent, at, from, to, String::new()));
        add(0, 10, 3, 2); // known to 2 before it sent
        add(15, 20, 2, 1);
        add(18, 30, 3, 2); // came to 2 after it had sent
        add(40, 50, 4, 5); // never came to 1
        let led: Vec<(u32, u32)> = recorder.led_to(1, 10).iter().map(|step| (step.from, step.to)).collect();
        assert_eq!(led, [(3, 2), (2, 1)]);
        assert_eq!(recorder.led_to(1, 1).len(), 1);
    }
}
