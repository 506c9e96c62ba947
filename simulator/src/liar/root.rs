//! A false root: beats are not signed, so the liar beats in the name of a node that does not exist and that nobody
//! outranks. It becomes the root of every tree around it, and pushes nothing down.
use bocage_protocol::{frame::Frame, id::NodeId, membership::Message, random::mix, record::Tier};

use super::{Act, Lie, Stage, is_by, with_records};

/// Names tried for one of low rank.
const TRIED: u64 = 20_000;

pub(super) struct FalseRoot {
    root: Option<NodeId>,
}

impl FalseRoot {
    pub(super) const fn new() -> Self {
        Self { root: None }
    }
}

/// The best-ranked of many names, as `membership` ranks them.
fn outranking() -> NodeId {
    let rank = |first: &u64| mix(*first);
    let first = (0..TRIED).min_by_key(rank).unwrap_or(0);
    let mut name = [0; 32];
    name[..8].copy_from_slice(&first.to_le_bytes());
    NodeId(name)
}

impl Lie for FalseRoot {
    fn leaves(&mut self, stage: &mut Stage, _: NodeId, frame: Frame) -> Option<Frame> {
        if matches!(frame, Frame::Gossip(Message::Beat { .. })) {
            return None;
        }
        let me = stage.identity.node();
        Some(with_records(frame, |parcel| {
            let mine = is_by(parcel, me);
            *stage.touched += u64::from(!mine);
            mine.then(|| parcel.clone())
        }))
    }

    fn tick(&mut self, stage: &mut Stage, peers: &[NodeId], acts: &mut Vec<Act>) {
        let root = *self.root.get_or_insert_with(outranking);
        for peer in peers {
            for tier in [Tier::Mesh, Tier::Home] {
                *stage.touched += 1;
                let beat = Message::Beat { tier, root, number: stage.now.wall.0, hops: 0 };
                acts.push(Act::Send(*peer, Frame::Gossip(beat)));
            }
        }
    }
}
