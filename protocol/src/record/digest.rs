//! What two nodes compare to find what one of them lacks: bucket sums first, then headers of the buckets that differ.
//!
//! Records that are still under way in the broadcast, and those about to expire, are left out: both sides would
//! otherwise differ all the time, and dead records would be passed round.
use std::{cmp::Ordering, time::Duration};

use minicbor::{Decode, Encode};

use super::{
    Kind, Known, Order, RecordSet, Shared, Subject,
    set::{Key, Tier},
};
use crate::time::Timestamp;

/// Buckets of a tier, by the first bits of the subject. More: longer digests of equal sets; fewer: longer lists of
/// unequal ones.
pub const BUCKETS: u8 = 64;

/// Younger records (by the version, which is at least their signer's wall clock) are left to the broadcast.
const YOUNG: Duration = Duration::from_secs(3);

/// Records that expire sooner are left to die.
const DYING: Duration = Duration::from_secs(10);

/// Names one version of one record, in some 30 bytes. Prefixes suffice: a collision delays repair by one record, and
/// what is fetched is checked in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Header {
    /// Of which tier.
    #[n(0)]
    pub tier: Tier,
    /// What it is about.
    #[n(1)]
    pub kind: Kind,
    /// First eight bytes of the subject.
    #[n(2)]
    pub subject: u64,
    /// Which version.
    #[n(3)]
    pub order: Order,
    /// First eight bytes of the hash.
    #[n(4)]
    pub hash: u64,
}

/// What both sides of a comparison look at, by the asking side's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Settled {
    /// Later versions are left to the broadcast.
    #[n(0)]
    newest: u64,
    /// What expires by then is left to die.
    #[n(1)]
    dying: Timestamp,
}

/// How this set stands to a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has none, or an older one.
    Lacking,
    /// It has this very one.
    Same,
    /// It has, or had, a newer one.
    Ahead,
}

fn prefix(bytes: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    u64::from_be_bytes(first)
}

impl Settled {
    /// For a repair at `wall`.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        Self { newest: (wall - YOUNG).0, dying: wall + DYING }
    }

    /// Leaves out only what is dying: for two nodes that have just met, whom no broadcast reached before.
    #[must_use]
    pub fn with_young(wall: Timestamp) -> Self {
        Self { newest: u64::MAX, dying: wall + DYING }
    }

    fn includes(self, known: &Known) -> bool {
        known.body.order.version <= self.newest && self.dying < known.body.expires
    }
}

impl Header {
    /// Of a record in a tier.
    #[must_use]
    pub fn of(tier: Tier, known: &Known) -> Self {
        let body = &known.body;
        let (subject, hash) = (prefix(&body.subject.0), prefix(&known.hash));
        Self { tier, kind: body.kind, subject, order: body.order, hash }
    }

    /// The same record, whatever its version.
    #[must_use]
    pub const fn slot(&self) -> (Tier, Kind, u64) {
        (self.tier, self.kind, self.subject)
    }

    /// Newer, or in force among equals: there the lower hash is.
    #[must_use]
    pub fn outranks(&self, other: &Self) -> bool {
        self.order.cmp(&other.order).then(other.hash.cmp(&self.hash)) == Ordering::Greater
    }
}

fn bucket(subject: &Subject) -> u8 {
    subject.0[0] / (u8::MAX / BUCKETS + 1)
}

impl RecordSet {
    /// The sum of each bucket of a tier. Equal sets have equal sums.
    #[must_use]
    pub fn digest(&self, tier: Tier, settled: Settled) -> Vec<u64> {
        let mut sums = vec![0_u64; usize::from(BUCKETS)];
        for known in self.of_tier(tier).filter(|known| settled.includes(known)) {
            let sum = &mut sums[usize::from(bucket(&known.body.subject))];
            *sum = sum.wrapping_add(crate::random::mix(prefix(&known.hash)));
        }
        sums
    }

    /// The records of some buckets of a tier.
    pub fn of_buckets<'a>(
        &'a self,
        tier: Tier,
        buckets: &'a [u8],
        settled: Settled,
    ) -> impl Iterator<Item = &'a Shared> + 'a {
        self.of_tier(tier)
            .filter(move |known| buckets.contains(&bucket(&known.body.subject)) && settled.includes(known))
    }

    /// The record in force in a header's slot.
    #[must_use]
    pub fn in_slot(&self, header: &Header) -> Option<&Shared> {
        self.slots(header).next().map(|(_, known)| known)
    }

    /// Whether this set needs what a header names.
    #[must_use]
    pub fn standing(&self, header: &Header) -> Standing {
        if let Some((key, known)) = self.slots(header).next() {
            let ours = Header::of(key.tier, known);
            return match () {
                () if ours.order == header.order && ours.hash == header.hash => Standing::Same,
                () if header.outranks(&ours) => Standing::Lacking,
                () => Standing::Ahead,
            };
        }
        let gone = self.floor_of(header.slot_range()).is_some_and(|floor| header.order <= floor);
        if gone { Standing::Ahead } else { Standing::Lacking }
    }

    fn slots(&self, header: &Header) -> impl Iterator<Item = (&Key, &Shared)> {
        self.range(header.slot_range())
    }
}

impl Header {
    fn slot_range(&self) -> std::ops::RangeInclusive<Key> {
        let key = |fill: u8| {
            let mut subject = [fill; 32];
            subject[..8].copy_from_slice(&self.subject.to_be_bytes());
            Key { tier: self.tier, kind: self.kind, subject: Subject(subject) }
        };
        key(0)..=key(u8::MAX)
    }
}
