//! Randomness that has a name. A node gets one seed from its driver; every part takes its own stream of it, by name, so
//! that a draw added in one part moves no draw of another.
use minicbor::{Decode, Encode};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// The seed of a node or of one of its parts.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Seed(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl Seed {
    /// The seed of the part called `name`.
    #[must_use]
    pub fn split(&self, name: &str) -> Self {
        Self(*blake3::keyed_hash(&self.0, name.as_bytes()).as_bytes())
    }

    /// The seed of one of many parts called `name`.
    #[must_use]
    pub fn split_for(&self, name: &str, of: &[u8]) -> Self {
        Self(*blake3::keyed_hash(&self.split(name).0, of).as_bytes())
    }

    /// The random stream of this seed.
    #[must_use]
    pub fn rng(&self) -> Rng {
        Rng(ChaCha8Rng::from_seed(self.0))
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A random stream. Integers only: a float that decides differs between machines.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// Uniform over all of `u64`.
    #[allow(clippy::should_implement_trait, reason = "an endless stream has no end to say")]
    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform below `bound` (bias under 2⁻⁶⁴, by multiplication); zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// True in `per_mille` of 1,000 draws.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// An index into a slice of `len` elements; `None` when it is empty.
    pub fn index(&mut self, len: usize) -> Option<usize> {
        if len == 0 {
            return None;
        }
        usize::try_from(self.below(len as u64)).ok()
    }

    /// Fisher and Yates's shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.index(last + 1).unwrap_or(0);
            items.swap(last, other);
        }
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A uniform duration below `bound`.
    pub fn duration_below(&mut self, bound: std::time::Duration) -> std::time::Duration {
        std::time::Duration::from_nanos(self.below(u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The finaliser of splitmix64: a cheap draw that depends on nothing but `x`.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
