//! Free riding: the liar offers like everybody, and refuses whoever asks it for a vote or a lease.
use bocage_protocol::{
    birth,
    frame::Frame,
    id::NodeId,
    refusal::{Code, Refusal},
};

use super::{Act, Lie, Stage};

pub(super) struct FreeRide;

impl Lie for FreeRide {
    fn arrives(&mut self, stage: &mut Stage, from: NodeId, frame: &Frame, acts: &mut Vec<Act>) -> bool {
        let Frame::Birth(birth::Message::Grant { context, .. }) = frame else { return true };
        *stage.touched += 1;
        let result = Err(Refusal::definite(Code::Full, "this node hosts nothing"));
        let no = birth::Message::Granted { request: context.request, result };
        acts.push(Act::Send(from, Frame::Birth(no)));
        false
    }
}
