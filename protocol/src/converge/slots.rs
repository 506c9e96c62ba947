//! Names for writers that nobody ever had: drawn, and bound to node, disk and start, so that not even a seed that comes again
//! gives one a second time.
use super::clock::Slot;
use crate::{
    id::{DiskId, NodeId},
    random::{Rng, Seed},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Slots {
    born: [u8; 32],
    rng: Rng,
}

impl Slots {
    pub(super) fn new(seed: Seed, me: NodeId, disk: DiskId, boots: u64) -> Self {
        let born = *blake3::hash(&[&me.0[..], &disk.0, &boots.to_be_bytes()].concat()).as_bytes();
        Self { born, rng: seed.rng() }
    }

    pub(super) fn fresh(&mut self) -> Slot {
        let mut drawn = [0; 32];
        self.rng.fill(&mut drawn);
        let hash = blake3::hash(&[self.born, drawn].concat());
        let mut slot = [0; 16];
        slot.copy_from_slice(&hash.as_bytes()[..16]);
        Slot(slot)
    }
}
