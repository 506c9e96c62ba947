//! Operators and tenants: identities that outlive their keys.
use minicbor::{Decode, Encode};

use super::{PublicKey, Statement};
use crate::{
    codec,
    id::{OperatorId, TenantId},
    time::Timestamp,
};

/// What kind of party a genesis statement founds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Party {
    /// Owns nodes.
    #[n(0)]
    Operator,
    /// Owns apps.
    #[n(1)]
    Tenant,
}

/// The first statement of an operator or tenant. Its hash is the party's id for ever; the keys succeed each other by
/// signed statements.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Genesis {
    /// Operator or tenant.
    #[n(0)]
    pub party: Party,
    /// What people call it, at most 63 bytes. Not unique; the id is.
    #[n(1)]
    pub name: String,
    /// The first key.
    #[n(2)]
    pub key: PublicKey,
    /// Keys that may replace it together. May be empty: then a lost key is a lost party.
    #[n(3)]
    pub recovery: Vec<PublicKey>,
    /// How many recovery keys must agree.
    #[n(4)]
    pub threshold: u32,
    /// When it was made.
    #[n(5)]
    pub created: Timestamp,
}

impl Statement for Genesis {
    const DOMAIN: &'static str = "bocage/v1/genesis";
}

impl Genesis {
    /// A party with one key and no recovery.
    #[must_use]
    pub fn new(party: Party, name: &str, key: PublicKey, created: Timestamp) -> Self {
        Self { party, name: name.to_owned(), key, recovery: Vec::new(), threshold: 0, created }
    }

    /// Its id as an operator.
    #[must_use]
    pub fn operator(&self) -> OperatorId {
        OperatorId::of(&codec::encode(self))
    }

    /// Its id as a tenant.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        TenantId::of(&codec::encode(self))
    }
}
