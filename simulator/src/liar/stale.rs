//! Stale gossip: others' records go on twenty seconds after they came.
use std::{collections::VecDeque, time::Duration};

use bocage_protocol::{
    frame::Frame,
    id::NodeId,
    membership::{Message, Parcel},
    time::Instant,
};

use super::{Act, Lie, Stage, is_by, with_records};

const HELD_FOR: Duration = Duration::from_secs(20);

/// Records held at once; more are lost.
const HELD_MAX: usize = 16_384;

#[derive(Default)]
pub(super) struct Stale {
    held: VecDeque<(Instant, NodeId, Parcel)>,
}

impl Lie for Stale {
    fn leaves(&mut self, stage: &mut Stage, to: NodeId, frame: Frame) -> Option<Frame> {
        let me = stage.identity.node();
        let until = stage.now.instant + HELD_FOR;
        Some(with_records(frame, |parcel| {
            if is_by(parcel, me) {
                return Some(parcel.clone());
            }
            *stage.touched += 1;
            if self.held.len() < HELD_MAX {
                self.held.push_back((until, to, parcel.clone()));
            }
            None
        }))
    }

    fn tick(&mut self, stage: &mut Stage, _: &[NodeId], acts: &mut Vec<Act>) {
        while self.held.front().is_some_and(|(until, ..)| *until <= stage.now.instant) {
            let Some((_, to, parcel)) = self.held.pop_front() else { return };
            acts.push(Act::Send(to, Frame::Gossip(Message::Records(vec![parcel]))));
        }
    }
}
