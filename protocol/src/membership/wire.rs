//! What members say to each other.
use minicbor::{Decode, Encode};

use crate::{
    identity::{Envelope, Envelopes},
    record::Record,
};

/// A frame of gossip.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// Records in full.
    #[n(0)]
    Records(#[n(0)] Vec<Record>),
}

impl Message {
    /// How much its delay hurts: liveness goes ahead of records.
    #[must_use]
    pub const fn urgency(&self) -> crate::frame::Urgency {
        match self {
            Self::Records(_) => crate::frame::Urgency::Bulk,
        }
    }
}

impl Envelopes for Message {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        match self {
            Self::Records(records) => records.iter().for_each(|record| record.envelopes(into)),
        }
    }
}
