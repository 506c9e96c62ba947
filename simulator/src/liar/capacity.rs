//! False capacity: a thousand times what is there, for nothing. Where the liar sums up its jurisdiction, it says the same
//! of all of it and names itself as the only gate.
use bocage_protocol::{
    capacity::{Offer, Summary},
    codec,
    frame::Frame,
    id::NodeId,
    membership::Parcel,
    record::Kind,
    resources::Resources,
};

use super::{Lie, Stage, is_by, signed, with_records};

pub(super) struct FalseCapacity;

impl Lie for FalseCapacity {
    fn leaves(&mut self, stage: &mut Stage, _: NodeId, frame: Frame) -> Option<Frame> {
        Some(with_records(frame, |parcel| Some(exaggerated(stage, parcel).unwrap_or_else(|| parcel.clone()))))
    }
}

fn exaggerated(stage: &mut Stage, parcel: &Parcel) -> Option<Parcel> {
    let me = stage.identity.node();
    if !is_by(parcel, me) {
        return None;
    }
    let mut body = parcel.body.clone();
    match body.kind {
        Kind::OFFER => {
            let mut offer: Offer = codec::decode("offer", &body.content).ok()?;
            (offer.total, offer.used) = (thousandfold(&offer.total), Resources::default());
            (offer.price.cpu_core_hour, offer.price.memory_gib_hour, offer.price.disk_gib_hour) = (0, 0, 0);
            body.content = codec::encode(&offer);
        }
        Kind::SUMMARY => {
            let mut summary: Summary = codec::decode("summary", &body.content).ok()?;
            (summary.total, summary.used) = (thousandfold(&summary.total), Resources::default());
            summary.gates.retain(|(gate, _)| *gate == me);
            body.content = codec::encode(&summary);
        }
        _ => return None,
    }
    *stage.touched += 1;
    Some(signed(stage, &body, parcel.record.certificate.is_some()))
}

fn thousandfold(of: &Resources) -> Resources {
    Resources {
        cpu_millis: of.cpu_millis.saturating_mul(1_000),
        memory_bytes: of.memory_bytes.saturating_mul(1_000),
        disk_bytes: of.disk_bytes.saturating_mul(1_000),
    }
}
