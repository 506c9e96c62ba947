//! How a party's keys succeed each other: by statements, each naming the one before, that the new key and either the key
//! before or enough recovery keys sign.
//!
//! ```text
//!   genesis ─1→ succession ─2→ succession        by the current key, with the new one
//!      └─────1→ recovery ─2→ …                   by `threshold` recovery keys, with the new one: outranks the above
//! ```
//!
//! A recovery outranks a succession of the same serial and all that follows it: a thief who holds the current key cannot
//! win by being quick. Between two successions of one serial nobody can tell who is the thief: each node keeps to the one
//! that it knew first (so that a key retired years ago cannot rewrite what came of it), says so, and a recovery decides.
//! Recovery keys are those of the genesis, for ever.
use minicbor::{Decode, Encode};

use super::{Endorsed, Envelope, Envelopes, Genesis, Keypair, Party, PublicKey, Statement};
use crate::{codec, id::PartyId, time::Timestamp};

/// Successions of one party. One that has had so many keys changes its key no more: it founds itself anew.
pub const SUCCESSIONS_MAX: usize = 16;

/// Recovery keys of one party; a genesis with more is void.
pub const RECOVERY_KEYS_MAX: usize = 16;

/// A party's name has at most so many bytes; a genesis with a longer one is void.
pub const PARTY_NAME_BYTES_MAX: usize = 63;

/// "From now on this key is mine." Signed by it, and by the key before or by recovery keys.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Succession {
    /// Whose.
    #[n(0)]
    pub party: PartyId,
    /// From 1 up, without gaps.
    #[n(1)]
    pub serial: u64,
    /// The key from now on.
    #[n(2)]
    pub key: PublicKey,
    /// Hash of the succession before; of the first: of the genesis, which is the party's id.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub previous: [u8; 32],
    /// When. For people: nothing follows from it.
    #[n(4)]
    pub made: Timestamp,
}

impl Statement for Succession {
    const DOMAIN: &'static str = "bocage/v1/succession";
}

/// A party's genesis and all its successions. Proves by itself which key is its; another may know a later one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lineage {
    /// Who it is.
    #[n(0)]
    pub genesis: Genesis,
    /// In order.
    #[n(1)]
    pub successions: Vec<Endorsed<Succession>>,
}

/// Why a lineage does not count. Nothing changed; whoever showed it is faulty, or its owner must make it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineageError {
    /// A bound of the genesis.
    #[error("its genesis has a name of more than {PARTY_NAME_BYTES_MAX} bytes, or recovery keys beyond their bounds")]
    Genesis,
    /// Too long.
    #[error("it has more than {SUCCESSIONS_MAX} successions")]
    TooLong,
    /// A statement in it cannot be read.
    #[error("a succession in it cannot be read")]
    Unreadable,
    /// A statement in it is of another party, or does not follow the one before.
    #[error("succession {0} in it does not follow the one before")]
    Gap(u64),
    /// The new key did not sign: nobody succeeds to a key that he does not hold.
    #[error("succession {0} in it is not signed by the key that it names")]
    NotHeld(u64),
    /// Neither the key before nor enough recovery keys signed.
    #[error("succession {0} in it is signed neither by the key before nor by enough recovery keys")]
    Unauthorised(u64),
    /// A key that was this party's before, or one of its recovery keys.
    #[error("succession {0} in it takes a key that is dead or set apart for recovery")]
    OldKey(u64),
}

/// What a lineage comes to, once checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descent {
    /// Whose.
    pub party: PartyId,
    /// Its keys, the first to the current one.
    keys: Vec<PublicKey>,
    /// Of each succession: its hash, and whether recovery keys signed it.
    steps: Vec<([u8; 32], bool)>,
}

/// How two lineages of one party stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The same.
    Same,
    /// The first one is in force: it goes on where the other ends, or a recovery in it undoes the other.
    Outranks,
    /// The other one is in force.
    Outranked,
    /// Two successions of one serial, by whoever holds the key before. Only a recovery can tell who is the thief.
    Forked,
}

impl Lineage {
    /// A party that still has its first key.
    #[must_use]
    pub const fn first(genesis: Genesis) -> Self {
        Self { genesis, successions: Vec::new() }
    }

    /// Checks all but the signatures.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn descent(&self) -> Result<Descent, LineageError> {
        self.genesis.check()?;
        if self.successions.len() > SUCCESSIONS_MAX {
            return Err(LineageError::TooLong);
        }
        let party = self.genesis.party_id();
        let mut descent = Descent { party, keys: vec![self.genesis.key], steps: Vec::new() };
        for (serial, endorsed) in (1..).zip(&self.successions) {
            let succession = endorsed.open().map_err(|_| LineageError::Unreadable)?;
            let previous = descent.steps.last().map_or(party.0, |(hash, _)| *hash);
            if succession.party != party || succession.serial != serial || succession.previous != previous {
                return Err(LineageError::Gap(serial));
            }
            if descent.keys.contains(&succession.key) || self.genesis.recovery.contains(&succession.key) {
                return Err(LineageError::OldKey(serial));
            }
            let signed = |key: &PublicKey| endorsed.keys().any(|by| by == *key);
            if !signed(&succession.key) {
                return Err(LineageError::NotHeld(serial));
            }
            let recovered = self.genesis.threshold > 0
                && self.genesis.recovery.iter().filter(|key| signed(key)).count() >= self.genesis.threshold as usize;
            if !recovered && !signed(&descent.key()) {
                return Err(LineageError::Unauthorised(serial));
            }
            descent.keys.push(succession.key);
            descent.steps.push((endorsed.hash(), recovered));
        }
        Ok(descent)
    }

    /// Checks all of it, signatures included.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in words.
    pub fn verify(&self) -> Result<Descent, String> {
        let descent = self.descent().map_err(|error| error.to_string())?;
        let mut envelopes = self.successions.iter().flat_map(Endorsed::envelopes);
        envelopes.try_for_each(Envelope::check).map_err(|error| error.to_string())?;
        Ok(descent)
    }

    /// The statement by which `key` takes over after the first `after` successions of this lineage: signed by nobody yet.
    ///
    /// # Errors
    /// When it does not count as it is.
    pub fn next(&self, after: usize, key: PublicKey, made: Timestamp) -> Result<Succession, LineageError> {
        let party = self.descent()?.party;
        if after >= SUCCESSIONS_MAX {
            return Err(LineageError::TooLong);
        }
        let previous = after.checked_sub(1).and_then(|at| self.successions.get(at)).map_or(party.0, Endorsed::hash);
        Ok(Succession { party, serial: after as u64 + 1, key, previous, made })
    }

    /// The lineage with `new` as its key from now on; `current` is the key until now.
    ///
    /// # Errors
    /// When `current` is not its key, or it has had its last one.
    pub fn succeed(&self, current: &Keypair, new: &Keypair, made: Timestamp) -> Result<Self, LineageError> {
        self.extended(self.successions.len(), new, &[current], made)
    }

    /// The lineage with `new` as its key after `after` successions, by recovery keys: what followed is undone.
    ///
    /// # Errors
    /// When the keys are not enough.
    pub fn recover(
        &self,
        after: usize,
        recovery: &[&Keypair],
        new: &Keypair,
        made: Timestamp,
    ) -> Result<Self, LineageError> {
        self.extended(after, new, recovery, made)
    }

    fn extended(&self, after: usize, new: &Keypair, by: &[&Keypair], made: Timestamp) -> Result<Self, LineageError> {
        let after = after.min(self.successions.len());
        let statement = self.next(after, new.public(), made)?;
        let endorsed = by.iter().fold(Endorsed::draft(&statement).with(new), |endorsed, key| endorsed.with(key));
        let mut successions = self.successions[..after].to_vec();
        successions.push(endorsed);
        let lineage = Self { genesis: self.genesis.clone(), successions };
        lineage.descent()?;
        Ok(lineage)
    }
}

impl Genesis {
    /// Its id, whatever kind of party it is.
    #[must_use]
    pub fn party_id(&self) -> PartyId {
        PartyId::of(&codec::encode(self))
    }

    /// Checks its bounds.
    fn check(&self) -> Result<(), LineageError> {
        let Self { name, recovery, threshold, key, party: Party::Operator | Party::Tenant, .. } = self;
        let distinct = recovery.iter().enumerate().all(|(at, one)| !recovery[..at].contains(one) && one != key);
        let within = name.len() <= PARTY_NAME_BYTES_MAX && recovery.len() <= RECOVERY_KEYS_MAX;
        let reachable = *threshold as usize <= recovery.len() && (*threshold > 0 || recovery.is_empty());
        if within && distinct && reachable { Ok(()) } else { Err(LineageError::Genesis) }
    }
}

impl Descent {
    /// The key that is the party's, as far as this lineage says.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        *self.keys.last().expect("a party has its first key")
    }

    /// How often the key was changed.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.steps.len() as u64
    }

    /// Whether this key was the party's and is no more.
    #[must_use]
    pub fn has_buried(&self, key: PublicKey) -> bool {
        self.keys[..self.keys.len() - 1].contains(&key)
    }

    /// How many successions there are up to the last recovery, that one included: a new recovery undoes what followed.
    #[must_use]
    pub fn last_recovery(&self) -> usize {
        self.steps.iter().rposition(|(_, recovered)| *recovered).map_or(0, |at| at + 1)
    }

    /// How it stands to another one of the same party: decided at the first serial in which they differ.
    #[must_use]
    pub fn against(&self, other: &Self) -> Standing {
        for (ours, theirs) in self.steps.iter().zip(&other.steps) {
            if ours.0 == theirs.0 {
                continue;
            }
            return match (ours.1, theirs.1) {
                (true, false) => Standing::Outranks,
                (false, true) => Standing::Outranked,
                // Two recoveries: whoever holds enough recovery keys has said two things. All nodes keep to the same.
                (true, true) => {
                    if ours.0 < theirs.0 {
                        Standing::Outranks
                    } else {
                        Standing::Outranked
                    }
                }
                (false, false) => Standing::Forked,
            };
        }
        match self.steps.len().cmp(&other.steps.len()) {
            std::cmp::Ordering::Greater => Standing::Outranks,
            std::cmp::Ordering::Less => Standing::Outranked,
            std::cmp::Ordering::Equal => Standing::Same,
        }
    }

    /// Two numbers that order lineages as [`Descent::against`] does, but for forks: which of its serials are recoveries,
    /// the first one the most significant; and how many there are.
    #[must_use]
    pub fn rank(&self) -> (u64, u64) {
        let recovered = self.steps.iter().zip(0..64).filter(|((_, recovered), _)| *recovered);
        (recovered.fold(0, |bits, (_, at)| bits | (1 << (63 - at))), self.serial())
    }
}

impl Envelopes for Lineage {
    fn envelopes<'a>(&'a self, into: &mut Vec<&'a Envelope>) {
        into.extend(self.successions.iter().flat_map(Endorsed::envelopes));
    }
}

#[cfg(test)]
#[path = "lineage_tests.rs"]
mod tests;
