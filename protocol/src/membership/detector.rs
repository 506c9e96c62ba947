//! Another failure detector than the one that ships: the seam for experiments. What ships is `observe`, which probes, and
//! `tally`, which counts signed verdicts. With another one in its place nobody is probed as an observer and verdicts count
//! for nothing: a node is down for this node when its own detector says so. Cells are then told without evidence, and mend by
//! what their voters miss.
//!
//! A detector is a [`Machine`] like everything that acts here. It says what it has to say in datagrams of its own form, which
//! go past all links, may be lost, and may overtake each other. No daemon carries any.
use std::fmt::Debug;

use super::{Membership, Timer, io, verdict::Liveness};
use crate::{codec::Blob, id::NodeId, machine::Machine, random::Seed, time::Now};

/// A datagram is no longer than UDP allows; a longer one is not sent.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Makes the detector of each node.
pub trait Detection: Debug + Send + Sync {
    /// That of the node `me`, which starts now. All that it draws comes from `seed`.
    fn detector(&self, me: NodeId, seed: Seed, now: Now) -> Box<dyn Detector>;
}

/// Says who is down. Ask [`Detection`] for one.
pub trait Detector: Machine<Input = Input, Output = Output> + Debug + Send {}

impl<T: Machine<Input = Input, Output = Output> + Debug + Send> Detector for T {}

/// What may happen to a detector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A node of this jurisdiction is there, as it signed itself: this node too. Said again whenever its presence is renewed.
    Present {
        /// Who.
        node: NodeId,
        /// Higher after each start of its process.
        life: u64,
    },
    /// Its presence is void: it is no member of anything any more.
    Absent(NodeId),
    /// Another node's detector said something.
    Datagram {
        /// Who. The driver vouches for it.
        from: NodeId,
        /// What.
        bytes: Blob,
    },
}

/// What a detector asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this to the detector of another node, if it can be.
    Datagram {
        /// To whom.
        to: NodeId,
        /// What. At most [`DATAGRAM_BYTES_MAX`].
        bytes: Blob,
    },
    /// This node counts as down from now on.
    Down(NodeId),
    /// It counts as down no more.
    Alive(NodeId),
}

impl Membership {
    /// Has another detector than the one that ships say who is down. Call before the first input.
    pub fn detect_by(&mut self, now: Now, detector: Box<dyn Detector>) {
        self.detector = Some(detector);
        self.detected(now);
    }

    /// Something happened that another detector wants to know.
    pub(super) fn sense(&mut self, now: Now, input: Input) {
        if let Some(detector) = &mut self.detector {
            detector.handle_input(now, input);
            self.detected(now);
        }
    }

    /// It wanted waking.
    pub(super) fn wake_detector(&mut self, now: Now) {
        if let Some(detector) = &mut self.detector {
            detector.handle_timeout(now);
            self.detected(now);
        }
    }

    /// Does what it asks for.
    fn detected(&mut self, now: Now) {
        while let Some(output) = self.detector.as_mut().and_then(|detector| detector.poll_output()) {
            match output {
                Output::Datagram { to, bytes } if bytes.len() <= DATAGRAM_BYTES_MAX => {
                    self.outbox.push(io::Output::Datagram { to, bytes });
                }
                Output::Down(node) if !self.tally.is_down(&node) => {
                    self.counted(now, node, Liveness::Down, Vec::new());
                }
                Output::Alive(node) if self.tally.is_down(&node) => {
                    self.counted(now, node, Liveness::Alive, Vec::new());
                }
                // Longer than anything that travels, or nothing new.
                Output::Datagram { .. } | Output::Down(_) | Output::Alive(_) => {}
            }
        }
        let deadline = self.detector.as_ref().and_then(|detector| detector.poll_timeout());
        self.agenda.set(Timer::Detector, deadline);
    }
}
