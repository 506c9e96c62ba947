//! Equivocation: every presence and offer of the liar's has a twin under the same version, and which of the two a peer
//! gets depends on the peer.
use std::collections::BTreeMap;

use bocage_protocol::{
    capacity::Offer,
    codec,
    frame::Frame,
    id::NodeId,
    membership::{Parcel, Presence},
    record::{Header, Kind},
};

use super::{Lie, Stage, is_by, signed, with_headers, with_records};

/// Twins remembered; older ones are made again, and are then the same.
const TWINS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Equivocation {
    /// By the header of the original.
    twins: BTreeMap<Header, Parcel>,
}

/// Whether a peer gets the twins.
fn gets_twins(peer: NodeId) -> bool {
    peer.0[0] % 2 == 1
}

impl Equivocation {
    fn twin(&mut self, stage: &mut Stage, parcel: &Parcel) -> Option<Parcel> {
        let header = Header::of(bocage_protocol::record::Tier::Home, parcel);
        if let Some(twin) = self.twins.get(&header) {
            return Some(twin.clone());
        }
        let mut body = parcel.body.clone();
        body.content = match body.kind {
            Kind::PRESENCE => {
                let mut presence = Presence::read(parcel)?;
                presence.addresses.push("/sim/nowhere".into());
                codec::encode(&presence)
            }
            Kind::OFFER => {
                let mut offer: Offer = codec::decode("offer", &body.content).ok()?;
                offer.price.cpu_core_hour /= 2;
                codec::encode(&offer)
            }
            _ => return None,
        };
        let twin = signed(stage, &body, parcel.record.certificate.is_some());
        if self.twins.len() >= TWINS_MAX {
            self.twins.pop_first();
        }
        self.twins.insert(header, twin.clone());
        Some(twin)
    }
}

impl Lie for Equivocation {
    fn leaves(&mut self, stage: &mut Stage, to: NodeId, frame: Frame) -> Option<Frame> {
        if !gets_twins(to) {
            return Some(frame);
        }
        let me = stage.identity.node();
        let frame = with_records(frame, |parcel| {
            let twin = is_by(parcel, me).then(|| self.twin(stage, parcel)).flatten();
            *stage.touched += u64::from(twin.is_some());
            Some(twin.unwrap_or_else(|| parcel.clone()))
        });
        Some(with_headers(frame, |header| {
            let twin = self.twins.get(header);
            Some(twin.map_or(*header, |twin| Header::of(header.tier, twin)))
        }))
    }
}
