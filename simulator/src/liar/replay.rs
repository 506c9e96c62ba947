//! Replay: whatever frame ever came or went may come again, to anybody, and so may every record.
use bocage_protocol::{
    frame::Frame,
    id::NodeId,
    membership::{Message, Parcel},
};

use super::{Act, Lie, Stage, records};

/// Frames and records remembered: a random older one goes.
const REMEMBERED_MAX: usize = 1_024;

/// Sent again each second, of either.
const AGAIN: usize = 20;

#[derive(Default)]
pub(super) struct Replay {
    frames: Vec<Frame>,
    records: Vec<Parcel>,
}

fn remember<T>(stage: &mut Stage, memory: &mut Vec<T>, new: T) {
    if memory.len() < REMEMBERED_MAX {
        memory.push(new);
    } else if let Some(chosen) = stage.rng.index(REMEMBERED_MAX) {
        memory[chosen] = new;
    }
}

impl Replay {
    fn hear(&mut self, stage: &mut Stage, frame: &Frame) {
        remember(stage, &mut self.frames, frame.clone());
        for parcel in records(frame) {
            remember(stage, &mut self.records, parcel.clone());
        }
    }
}

impl Lie for Replay {
    fn leaves(&mut self, stage: &mut Stage, _: NodeId, frame: Frame) -> Option<Frame> {
        self.hear(stage, &frame);
        Some(frame)
    }

    fn arrives(&mut self, stage: &mut Stage, _: NodeId, frame: &Frame, _: &mut Vec<Act>) -> bool {
        self.hear(stage, frame);
        true
    }

    fn tick(&mut self, stage: &mut Stage, peers: &[NodeId], acts: &mut Vec<Act>) {
        for _ in 0..AGAIN {
            let (peer, other) = (stage.rng.index(peers.len()), stage.rng.index(peers.len()));
            let (frame, record) = (stage.rng.index(self.frames.len()), stage.rng.index(self.records.len()));
            if let (Some(peer), Some(frame)) = (peer, frame) {
                *stage.touched += 1;
                acts.push(Act::Send(peers[peer], self.frames[frame].clone()));
            }
            if let (Some(peer), Some(record)) = (other, record) {
                *stage.touched += 1;
                let again = Message::Records(vec![self.records[record].clone()]);
                acts.push(Act::Send(peers[peer], Frame::Gossip(again)));
            }
        }
    }
}
