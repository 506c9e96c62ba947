//! Silence to some: half of the peers hear nothing any more, though the link stands.
use bocage_protocol::{frame::Frame, id::NodeId};

use super::{Lie, Stage};

pub(super) struct Silence;

impl Lie for Silence {
    fn leaves(&mut self, stage: &mut Stage, to: NodeId, frame: Frame) -> Option<Frame> {
        if to.0[1].is_multiple_of(2) || matches!(frame, Frame::Hello(_)) {
            return Some(frame);
        }
        *stage.touched += 1;
        None
    }
}
