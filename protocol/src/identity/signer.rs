//! Who signs as a node: its key; or, where a tape of the node is played, what its key signed then. So a tape plays bit for
//! bit, and the key is not on it.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Keypair, PublicKey, Signature};

/// Signs as a node.
#[derive(Clone, Debug)]
pub(super) enum Signer {
    /// Its key.
    Key(Arc<Keypair>),
    /// Its key, and what it signs is kept for a tape.
    Taped(Arc<Keypair>, Signatures),
    /// What it signed when the tape was recorded, in that order.
    Played(PublicKey, Signatures),
}

/// What a node has signed, oldest first. Shared with its identity: a tape takes it out after each step, and puts it back
/// before that step is played.
#[derive(Clone, Debug, Default)]
pub struct Signatures(Arc<Mutex<VecDeque<Signature>>>);

impl Signer {
    pub(super) fn public(&self) -> PublicKey {
        match self {
            Self::Key(keys) | Self::Taped(keys, _) => keys.public(),
            Self::Played(public, _) => *public,
        }
    }

    /// Signs bytes. A node that is played and signs more than it did gets a signature that is none: its outputs differ.
    pub(super) fn sign(&self, bytes: &[u8]) -> Signature {
        match self {
            Self::Key(keys) => keys.sign(bytes),
            Self::Taped(keys, made) => {
                let signature = keys.sign(bytes);
                made.queue().push_back(signature);
                signature
            }
            Self::Played(_, made) => made.queue().pop_front().unwrap_or(Signature([0; 64])),
        }
    }
}

impl Signatures {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Signature>> {
        // Whoever panicked held it for one push or pop: it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was signed since this was asked last; or, of a node that is played, what it has not signed again.
    #[must_use]
    pub fn take(&self) -> Vec<Signature> {
        self.queue().drain(..).collect()
    }

    /// What the node signs next, in this order.
    pub fn put(&self, signatures: impl IntoIterator<Item = Signature>) {
        self.queue().extend(signatures);
    }
}
