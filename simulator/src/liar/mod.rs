//! Liars. A liar is an honest node whose frames are changed on their way out, swallowed on their way in, or joined by
//! others of its own making; it signs with its real key. So it knows all that an honest node knows, keeps to the protocol
//! wherever its lie does not concern it, and is as hard to tell from an honest one as it can be. One lie a file.
mod capacity;
mod verdicts;
mod equivocation;
mod withheld;
mod replay;
mod stale;
mod silence;
mod free_ride;
mod root;
mod sybil;
mod forgery;

use std::collections::BTreeSet;

use bocage_protocol::{
    frame::Frame,
    id::NodeId,
    identity::NodeIdentity,
    membership::{Message, Parcel},
    random::Rng,
    record::{Header, Known, Record, RecordBody, Shared},
    time::{Now, Timestamp},
};

use crate::scenario;

/// What a lie may know and use while it is told.
pub(crate) struct Stage<'a> {
    /// The liar's number.
    pub(crate) me: u32,
    /// The liar's own clocks.
    pub(crate) now: Now,
    /// It signs with this.
    pub(crate) identity: &'a NodeIdentity,
    /// All liars of this world, who stand together.
    pub(crate) ring: &'a BTreeSet<NodeId>,
    pub(crate) rng: &'a mut Rng,
    /// Frames and records that were changed, made or held back.
    pub(crate) touched: &'a mut u64,
}

/// What a liar does of its own accord.
#[derive(Debug)]
pub(crate) enum Act {
    Send(NodeId, Frame),
    Dial(NodeId),
}

/// One lie of one node.
pub(crate) trait Lie {
    /// A frame leaves for a peer: what goes instead. Left alone, it goes as it is.
    fn leaves(&mut self, stage: &mut Stage, to: NodeId, frame: Frame) -> Option<Frame> {
        let _ = (stage, to);
        Some(frame)
    }

    /// A frame came from a peer. `false`: the node inside never hears of it.
    fn arrives(&mut self, stage: &mut Stage, from: NodeId, frame: &Frame, acts: &mut Vec<Act>) -> bool {
        let _ = (stage, from, frame, acts);
        true
    }

    /// Once a second.
    fn tick(&mut self, stage: &mut Stage, peers: &[NodeId], acts: &mut Vec<Act>) {
        let _ = (stage, peers, acts);
    }
}

/// A lie as the scenario names it. `target`: of an eclipse.
pub(crate) fn of(what: scenario::Lie, target: Option<NodeId>) -> Box<dyn Lie> {
    use scenario::Lie as What;
    match what {
        What::FalseCapacity => Box::new(capacity::FalseCapacity),
        What::FalseVerdicts => Box::<verdicts::FalseVerdicts>::default(),
        What::Equivocation => Box::<equivocation::Equivocation>::default(),
        What::Withheld => Box::new(withheld::Withheld),
        What::Replay => Box::<replay::Replay>::default(),
        What::Stale => Box::<stale::Stale>::default(),
        What::Silence => Box::new(silence::Silence),
        What::FreeRide => Box::new(free_ride::FreeRide),
        What::FalseRoot => Box::new(root::FalseRoot::new()),
        What::Forgery => Box::new(forgery::Forgery),
        What::Sybil | What::Eclipse => Box::new(sybil::Sybil::of(target)),
    }
}

/// The records in a frame of gossip.
fn records(frame: &Frame) -> &[Parcel] {
    match frame {
        Frame::Gossip(Message::Records(parcels) | Message::Found(parcels)) => parcels,
        Frame::Gossip(Message::Watch(parcel)) => std::slice::from_ref(parcel),
        _ => &[],
    }
}

/// The same frame with other records, or without some.
fn with_records(mut frame: Frame, mut change: impl FnMut(&Parcel) -> Option<Parcel>) -> Frame {
    match &mut frame {
        Frame::Gossip(Message::Records(parcels) | Message::Found(parcels)) => {
            *parcels = parcels.iter().filter_map(change).collect();
        }
        Frame::Gossip(Message::Watch(parcel)) => {
            if let Some(changed) = change(parcel) {
                *parcel = changed;
            }
        }
        _ => {}
    }
    frame
}

/// The same frame with other headers, or without some.
fn with_headers(mut frame: Frame, change: impl FnMut(&Header) -> Option<Header>) -> Frame {
    if let Frame::Gossip(Message::Announce(headers) | Message::Have { headers, .. }) = &mut frame {
        *headers = headers.iter().filter_map(change).collect();
    }
    frame
}

fn is_by(parcel: &Parcel, node: NodeId) -> bool {
    parcel.signer().0 == node.0
}

/// A record with another body, signed by the liar.
fn signed(stage: &Stage, body: &RecordBody, with_certificate: bool) -> Parcel {
    let certificate = with_certificate.then(|| stage.identity.signed_certificate().clone());
    let record = Record { signed: stage.identity.seal(body), certificate };
    Parcel(Shared::new(Known::read(record).expect("what was just encoded can be read")))
}

/// Records of the liar's own making live so long.
fn expiry(now: Now) -> Timestamp {
    now.wall + std::time::Duration::from_mins(2)
}
