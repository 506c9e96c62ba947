//! What members say to each other. Every list has a bound; a longer one makes the whole message void.
use std::ops::Deref;

use minicbor::{
    Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};

use super::{io::Address, packed};
use crate::{
    frame::{FRAME_BYTES_MAX, Urgency},
    id::NodeId,
    identity::{Envelope, Envelopes},
    record::{BUCKETS, Header, Known, Record, Settled, Shared, Subject, Tier},
    resources::Jurisdiction,
    time::Timestamp,
    wire::Versioned,
};

/// Records in one message; the rest goes in the next.
pub(super) const RECORDS_MAX: usize = 512;

/// Bytes of records in one message, well inside a frame.
pub(super) const RECORDS_BYTES_MAX: usize = FRAME_BYTES_MAX / 8;

/// Headers in one message (some 30 bytes each); the rest goes in the next, or in the next repair.
pub(super) const HEADERS_MAX: usize = 4_096;

/// Contacts in one message.
pub(super) const CONTACTS_MAX: usize = 16;

/// Subjects in one subscription message.
pub(super) const SUBJECTS_MAX: usize = 1_024;

/// Addresses of one node.
pub(super) const ADDRESSES_MAX: usize = 8;

/// Bytes of one address.
pub(super) const ADDRESS_BYTES_MAX: usize = 256;

/// A record inside a message: read and hashed once where its bytes arrive, outside the machine, and shared from then on,
/// so that sending it to five peers copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel(pub Shared);

/// A node that somebody knows of. Unsigned: a hint whom to dial, no more.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Contact {
    /// Who.
    #[n(0)]
    pub node: NodeId,
    /// Where.
    #[n(1)]
    pub addresses: Vec<Address>,
    /// Under which law.
    #[n(2)]
    pub jurisdiction: Jurisdiction,
    /// When somebody last had a link to it.
    #[n(3)]
    pub seen: Timestamp,
}

/// A frame of gossip.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(context_bound = "Versioned")]
pub enum Message {
    /// Down the broadcast tree. A receiver who does not count the link to the tree answers
    /// a duplicate with `Prune`.
    #[n(0)]
    Records(#[n(0)] Vec<Parcel>),
    /// Beside the tree: what the sender has. A receiver whom the tree does not bring it answers `Fetch`.
    #[n(1)]
    Announce(#[cbor(n(0), with = "packed::headers")] Vec<Header>),
    /// The receiver is the sender's parent in the tree of a tier.
    #[n(2)]
    Graft(#[n(0)] Tier),
    /// This link shall not be in the tree of a tier.
    #[n(3)]
    Prune(#[n(0)] Tier),
    /// Repair, first step: bucket sums of what the sender holds.
    #[n(4)]
    Digest {
        /// What is left out.
        #[n(0)]
        settled: Settled,
        /// One sum per bucket for each tier that both sides may hold.
        #[n(1)]
        sums: Vec<Sums>,
    },
    /// Repair, second step: all that the sender holds of the buckets that differ.
    #[n(5)]
    Have {
        /// As asked.
        #[n(0)]
        settled: Settled,
        /// Of which tier.
        #[n(1)]
        tier: Tier,
        /// Which buckets, complete.
        #[n(2)]
        buckets: Vec<u8>,
        /// All in them.
        #[cbor(n(3), with = "packed::headers")]
        headers: Vec<Header>,
    },
    /// What the sender lacks: of what was announced, or as the third step of repair.
    #[n(6)]
    Fetch(#[cbor(n(0), with = "packed::headers")] Vec<Header>),
    /// Records that were asked for or lacked. Known ones are no reason to prune.
    #[n(7)]
    Found(#[n(0)] Vec<Parcel>),
    /// Be my neighbour in the overlay.
    #[n(8)]
    Neighbour {
        /// The sender has too few: do not refuse for lack of room. The link becomes part of its trees.
        #[n(0)]
        urgent: bool,
        /// The sender.
        #[n(1)]
        me: Contact,
        /// Others that it knows.
        #[n(2)]
        contacts: Vec<Contact>,
    },
    /// The answer to `Neighbour`.
    #[n(9)]
    Welcome {
        /// Yes.
        #[n(0)]
        accepted: bool,
        /// The sender.
        #[n(1)]
        me: Contact,
        /// Others to try.
        #[n(2)]
        contacts: Vec<Contact>,
    },
    /// No longer neighbours; the link may stay.
    #[n(10)]
    Part,
    /// Some nodes that the sender knows; answered once with some that the receiver knows.
    #[n(11)]
    Shuffle {
        /// This is the answer.
        #[n(0)]
        answer: bool,
        /// Who.
        #[n(1)]
        contacts: Vec<Contact>,
    },
    /// Are you there?
    #[n(12)]
    Ping(#[n(0)] u64),
    /// I am; the number of the ping.
    #[n(13)]
    Ack(#[n(0)] u64),
    /// Ping this node for me: it does not answer here.
    #[n(14)]
    Probe(#[n(0)] NodeId),
    /// It answered here.
    #[n(15)]
    Probed(#[n(0)] NodeId),
    /// The sender, whose presence this is, draws the receiver as an observer from outside its jurisdiction.
    #[n(16)]
    Watch(#[n(0)] Parcel),
    /// The sender wants what is said about these subjects: records for subscribers; of a node, its presence and
    /// verdicts. Holds for 60 s.
    #[n(17)]
    Subscribe(#[n(0)] Vec<Subject>),
    /// To a subscriber of the sender itself: who watches it.
    #[n(18)]
    Observers {
        /// In its jurisdiction.
        #[n(0)]
        inner: Vec<Contact>,
        /// Outside.
        #[n(1)]
        outer: Vec<Contact>,
    },
    /// The root of a tier's tree beats; passed on once over every overlay link.
    #[n(19)]
    Beat {
        /// Of which tree.
        #[n(0)]
        tier: Tier,
        /// Who began it.
        #[n(1)]
        root: NodeId,
        /// Rises; at least the root's wall milliseconds.
        #[n(2)]
        number: u64,
        /// Links between the root and the sender.
        #[n(3)]
        hops: u32,
    },
}

/// The bucket sums of one tier.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sums {
    /// Which.
    #[n(0)]
    pub tier: Tier,
    /// [`BUCKETS`] of them.
    #[n(1)]
    pub buckets: Vec<u64>,
}

impl Message {
    /// How much its delay hurts: liveness goes ahead of records.
    #[must_use]
    pub const fn urgency(&self) -> Urgency {
        match self {
            Self::Ping(_) | Self::Ack(_) | Self::Probe(_) | Self::Probed(_) | Self::Beat { .. } => Urgency::Control,
            Self::Graft(_)
            | Self::Prune(_)
            | Self::Neighbour { .. }
            | Self::Welcome { .. }
            | Self::Part
            | Self::Watch(_)
            | Self::Subscribe(_)
            | Self::Observers { .. } => Urgency::Request,
            Self::Records(_)
            | Self::Announce(_)
            | Self::Digest { .. }
            | Self::Have { .. }
            | Self::Fetch(_)
            | Self::Found(_)
            | Self::Shuffle { .. } => Urgency::Bulk,
        }
    }

    /// Whether every list in it is within its bound. A correct sender keeps them.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        match self {
            Self::Records(records) | Self::Found(records) => records.len() <= RECORDS_MAX,
            Self::Announce(headers) | Self::Fetch(headers) => headers.len() <= HEADERS_MAX,
            Self::Digest { sums, .. } => {
                sums.len() <= 2 && sums.iter().all(|sums| sums.buckets.len() == usize::from(BUCKETS))
            }
            Self::Have { buckets, headers, .. } => {
                headers.len() <= HEADERS_MAX && buckets.len() <= usize::from(BUCKETS)
            }
            Self::Neighbour { me, contacts, .. } | Self::Welcome { me, contacts, .. } => {
                me.is_within_bounds() && within(contacts)
            }
            Self::Shuffle { contacts, .. } => within(contacts),
            Self::Observers { inner, outer } => within(inner) && within(outer),
            Self::Subscribe(subjects) => subjects.len() <= SUBJECTS_MAX,
            Self::Part
            | Self::Graft(_)
            | Self::Prune(_)
            | Self::Beat { .. }
            | Self::Ping(_)
            | Self::Ack(_)
            | Self::Probe(_)
            | Self::Probed(_)
            | Self::Watch(_) => true,
        }
    }
}

fn within(contacts: &[Contact]) -> bool {
    contacts.len() <= CONTACTS_MAX && contacts.iter().all(Contact::is_within_bounds)
}

impl Contact {
    fn is_within_bounds(&self) -> bool {
        addresses_within_bounds(&self.addresses)
    }
}

/// Whether these are as many and as long as a node's addresses may be.
pub(super) fn addresses_within_bounds(addresses: &[Address]) -> bool {
    addresses.len() <= ADDRESSES_MAX && addresses.iter().all(|address| address.len() <= ADDRESS_BYTES_MAX)
}

impl Envelopes for Message {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        match self {
            Self::Records(records) | Self::Found(records) => {
                for parcel in records {
                    parcel.0.envelopes(into);
                }
            }
            Self::Watch(parcel) => parcel.0.envelopes(into),
            Self::Announce(_)
            | Self::Graft(_)
            | Self::Prune(_)
            | Self::Digest { .. }
            | Self::Have { .. }
            | Self::Fetch(_)
            | Self::Neighbour { .. }
            | Self::Welcome { .. }
            | Self::Part
            | Self::Shuffle { .. }
            | Self::Ping(_)
            | Self::Ack(_)
            | Self::Probe(_)
            | Self::Probed(_)
            | Self::Subscribe(_)
            | Self::Beat { .. }
            | Self::Observers { .. } => {}
        }
    }
}

impl Deref for Parcel {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.0
    }
}

impl<C> Encode<C> for Parcel {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        self.0.record.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Parcel {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let record = Record::decode(d, ctx)?;
        let known = Known::read(record).ok_or_else(|| decode::Error::message("a record cannot be read"))?;
        Ok(Self(Shared::new(known)))
    }
}
