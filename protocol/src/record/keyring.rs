//! What is known here of keys: which key is each party's, which nodes their operators have revoked, which nodes have
//! contradicted themselves. A pure data structure that only ever learns from statements that prove themselves, so it does
//! not matter who brought them.
//!
//! A key that a known lineage has buried is dead: whatever it signed counts no more, whenever it says it was.
use std::{collections::BTreeMap, sync::Arc};

use super::{Contradiction, KeyWord};
use crate::{
    codec::{self, Blob},
    id::{NodeId, OperatorId, PartyId},
    identity::{Descent, FOR_EVER, Lineage, NodeCertificate, PublicKey, Ruled, Ruling, Standing, Void},
    time::Timestamp,
};

/// Parties known that have changed their key. Of further ones no succession is taken in: their old keys keep their power
/// at this node.
pub const LINEAGES_MAX: usize = 16_384;

/// Rulings known, of all operators. Further ones are not taken in.
pub const RULINGS_MAX: usize = 16_384;

/// Nodes known that contradicted themselves. Further ones go unnoticed here.
pub const CONTRADICTIONS_MAX: usize = 4_096;

/// Everything in the store under keys that begin so is a [`KeyWord`].
pub(super) const STORED: &str = "keys/";

/// See the top of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    lineages: BTreeMap<PartyId, Arc<Held>>,
    rulings: BTreeMap<(OperatorId, NodeId), Arc<HeldRuling>>,
    contradictions: BTreeMap<NodeId, Arc<Accused>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Held {
    lineage: Lineage,
    descent: Descent,
}

#[derive(Debug, PartialEq, Eq)]
struct HeldRuling {
    ruled: Ruled,
    ruling: Ruling,
}

#[derive(Debug, PartialEq, Eq)]
struct Accused {
    proof: Contradiction,
    version: u64,
}

/// What became of a word about keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It changes what counts.
    New,
    /// It is what is known.
    Known,
    /// It does not count, or something known here outranks it; why.
    Not(&'static str),
}

impl Keyring {
    /// What a store kept.
    #[must_use]
    pub fn recall(keyed: &BTreeMap<Blob, Blob>) -> Self {
        let mut this = Self::default();
        let stored = keyed.iter().filter(|(key, _)| key.starts_with(STORED.as_bytes()));
        // Lineages first: rulings lean on them.
        let mut words: Vec<KeyWord> =
            stored.filter_map(|(_, value)| codec::decode("word on keys", value).ok()).collect();
        words.sort_by_key(|word| !matches!(word, KeyWord::Lineage(_)));
        for word in words {
            this.learn(&word);
        }
        this
    }

    /// What `learn` would make of it.
    #[must_use]
    pub fn weigh(&self, word: &KeyWord) -> Learned {
        match word {
            KeyWord::Lineage(lineage) => match lineage.descent() {
                Ok(descent) => self.weigh_lineage(&descent),
                Err(_) => Learned::Not("the lineage does not count"),
            },
            KeyWord::Ruling(ruled) => match ruled.accept() {
                Ok((ruling, descent)) => self.weigh_ruling(&ruling, &descent),
                Err(_) => Learned::Not("the ruling does not count"),
            },
            KeyWord::Contradiction(proof) => match proof.accept() {
                Some((node, version)) => self.weigh_contradiction(node, version),
                None => Learned::Not("the two statements contradict nothing"),
            },
        }
    }

    fn weigh_lineage(&self, descent: &Descent) -> Learned {
        let Some(held) = self.lineages.get(&descent.party) else {
            return match descent.serial() {
                0 => Learned::Known,
                _ if self.lineages.len() >= LINEAGES_MAX => Learned::Not("too many lineages are known here"),
                _ => Learned::New,
            };
        };
        match descent.against(&held.descent) {
            Standing::Same => Learned::Known,
            Standing::Outranks => Learned::New,
            Standing::Outranked => Learned::Not("a later lineage of this party is known here"),
            Standing::Forked => Learned::Not("another succession of this party is known here: it must be recovered"),
        }
    }

    fn weigh_ruling(&self, ruling: &Ruling, descent: &Descent) -> Learned {
        if let Learned::Not(why) = self.weigh_lineage(descent) {
            return Learned::Not(why);
        }
        match self.rulings.get(&(ruling.operator, ruling.node)) {
            Some(known) if known.ruling == *ruling => Learned::Known,
            Some(known) if known.ruling.below > ruling.below || known.ruling.resolved > ruling.resolved => {
                Learned::Not("it takes back what an earlier ruling on this node said")
            }
            Some(known) if known.ruling.made >= ruling.made => {
                Learned::Not("a later ruling on this node is known here")
            }
            None if self.rulings.len() >= RULINGS_MAX => Learned::Not("too many rulings are known here"),
            Some(_) | None => Learned::New,
        }
    }

    fn weigh_contradiction(&self, node: NodeId, version: u64) -> Learned {
        match self.contradictions.get(&node) {
            Some(known) if known.version >= version => Learned::Known,
            None if self.contradictions.len() >= CONTRADICTIONS_MAX => {
                Learned::Not("too many contradictions are known")
            }
            Some(_) | None => Learned::New,
        }
    }

    /// Takes in a word whose signatures were checked. A lineage that is new also ends the rulings of keys it buried.
    pub fn learn(&mut self, word: &KeyWord) -> Learned {
        let weighed = self.weigh(word);
        if weighed != Learned::New {
            return weighed;
        }
        match word {
            KeyWord::Lineage(lineage) => self.take_lineage(lineage),
            KeyWord::Ruling(ruled) => {
                let Ok((ruling, _)) = ruled.accept() else { return weighed };
                self.take_lineage(&ruled.lineage);
                let held = HeldRuling { ruled: ruled.clone(), ruling: ruling.clone() };
                self.rulings.insert((ruling.operator, ruling.node), Arc::new(held));
            }
            KeyWord::Contradiction(proof) => {
                if let Some((node, version)) = proof.accept() {
                    self.contradictions.insert(node, Arc::new(Accused { proof: proof.clone(), version }));
                }
            }
        }
        weighed
    }

    fn take_lineage(&mut self, lineage: &Lineage) {
        let Ok(descent) = lineage.descent() else { return };
        if self.weigh_lineage(&descent) != Learned::New {
            return;
        }
        let party = descent.party;
        let key = descent.key();
        self.lineages.insert(party, Arc::new(Held { lineage: lineage.clone(), descent }));
        self.rulings.retain(|(operator, _), held| PartyId::from(*operator) != party || held.ruled.signed.key() == key);
    }

    /// Whether a certificate counts that is signed and in time.
    ///
    /// # Errors
    /// When its operator has replaced the key that signed, or revoked it.
    pub fn counts(&self, certificate: &NodeCertificate, signer: PublicKey) -> Result<(), Void> {
        let operator = certificate.operator_id();
        if let Some(held) = self.lineages.get(&PartyId::from(operator))
            && held.descent.key() != signer
        {
            // A later lineage than the one known here comes along in the certificate itself.
            let later = certificate.descent().is_some_and(|shown| shown.against(&held.descent) == Standing::Outranks);
            if !later {
                return Err(Void::Superseded { serial: held.descent.serial() });
            }
        }
        self.stands(operator, certificate.node, certificate.serial)
    }

    /// Whether no ruling of its operator voids a certificate of this serial.
    ///
    /// # Errors
    /// When one does.
    pub fn stands(&self, operator: OperatorId, node: NodeId, serial: u64) -> Result<(), Void> {
        match self.rulings.get(&(operator, node)) {
            Some(held) if serial < held.ruling.below || held.ruling.below == FOR_EVER => Err(Void::Revoked),
            Some(_) | None => Ok(()),
        }
    }

    /// What is known of a party's keys; `None`: nothing but that it exists, if it does.
    #[must_use]
    pub fn descent(&self, party: PartyId) -> Option<&Descent> {
        self.lineages.get(&party).map(|held| &held.descent)
    }

    /// The lineage of a party that has changed its key.
    #[must_use]
    pub fn lineage(&self, party: PartyId) -> Option<&Lineage> {
        self.lineages.get(&party).map(|held| &held.lineage)
    }

    /// How often a party has changed its key.
    #[must_use]
    pub fn serial(&self, party: PartyId) -> u64 {
        self.descent(party).map_or(0, Descent::serial)
    }

    /// Whether this key speaks for the party that shows this lineage: it is the lineage's last, and nothing known here
    /// outranks it.
    #[must_use]
    pub fn speaks_for(&self, shown: &Descent, key: PublicKey) -> bool {
        shown.key() == key && !matches!(self.weigh_lineage(shown), Learned::Not(_))
    }

    /// What an operator has ruled about its node.
    #[must_use]
    pub fn ruling(&self, operator: OperatorId, node: NodeId) -> Option<(&Ruling, &Ruled)> {
        self.rulings.get(&(operator, node)).map(|held| (&held.ruling, &held.ruled))
    }

    /// The proof that a node contradicted itself, unless its operator has explained it: until then it gets no new votes
    /// and leases.
    #[must_use]
    pub fn barred(&self, operator: OperatorId, node: NodeId) -> Option<&Contradiction> {
        let accused = self.contradictions.get(&node)?;
        let resolved = self.rulings.get(&(operator, node)).map_or(0, |held| held.ruling.resolved);
        (accused.version > resolved).then_some(&accused.proof)
    }

    /// Nodes that contradicted themselves, and the version of the records in which they did.
    pub fn contradicted(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.contradictions.iter().map(|(node, accused)| (*node, accused.version))
    }

    /// Every word known here that is in force, each under the key that names it in the store.
    pub fn words(&self) -> impl Iterator<Item = KeyWord> {
        let lineages = self.lineages.values().map(|held| KeyWord::Lineage(held.lineage.clone()));
        let rulings = self.rulings.values().map(|held| KeyWord::Ruling(held.ruled.clone()));
        let contradictions = self.contradictions.values().map(|held| KeyWord::Contradiction(held.proof.clone()));
        lineages.chain(rulings).chain(contradictions)
    }

    /// How many words are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lineages.len() + self.rulings.len() + self.contradictions.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a ruling is from the future, which would bar the operator's next one.
    #[must_use]
    pub fn is_ahead(word: &KeyWord, wall: Timestamp) -> bool {
        let KeyWord::Ruling(ruled) = word else { return false };
        ruled.signed.open().is_ok_and(|ruling| ruling.made > wall + super::authority::AHEAD_MAX)
    }
}
