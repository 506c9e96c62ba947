//! Free riding: the liar asks nothing for what it has, so that everybody turns to it, and refuses whoever asks it for a vote
//! or a lease.
use bocage_protocol::{
    birth,
    capacity::Offer,
    codec,
    frame::Frame,
    id::NodeId,
    membership::Parcel,
    record::Kind,
    refusal::{Code, Refusal},
};

use super::{Act, Lie, Stage, is_by, signed, with_records};

pub(super) struct FreeRide;

impl Lie for FreeRide {
    fn leaves(&mut self, stage: &mut Stage, _: NodeId, frame: Frame) -> Option<Frame> {
        Some(with_records(frame, |parcel| Some(for_nothing(stage, parcel).unwrap_or_else(|| parcel.clone()))))
    }

    fn arrives(&mut self, stage: &mut Stage, from: NodeId, frame: &Frame, acts: &mut Vec<Act>) -> bool {
        let Frame::Birth(birth::Message::Grant { context, .. }) = frame else { return true };
        *stage.touched += 1;
        let result = Err(Refusal::definite(Code::Full, "this node hosts nothing"));
        let no = birth::Message::Granted { request: context.request, result };
        acts.push(Act::Send(from, Frame::Birth(no)));
        false
    }
}

/// Its own offer at no price. Whoever reads it was lied to.
fn for_nothing(stage: &mut Stage, parcel: &Parcel) -> Option<Parcel> {
    if !is_by(parcel, stage.identity.node()) || parcel.body.kind != Kind::OFFER {
        return None;
    }
    let mut body = parcel.body.clone();
    let mut offer: Offer = codec::decode("offer", &body.content).ok()?;
    (offer.price.cpu_core_hour, offer.price.memory_gib_hour, offer.price.disk_gib_hour) = (0, 0, 0);
    body.content = codec::encode(&offer);
    *stage.touched += 1;
    Some(signed(stage, &body, parcel.record.certificate.is_some()))
}
